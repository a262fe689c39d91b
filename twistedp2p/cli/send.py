"""``twistedp2p send``: sends files and folders once, by a code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.task import LoopingCall

from twistedp2p.cli.interruptible import run_to_end
from twistedp2p.cli.sending import Offered, Sending
from twistedp2p.cli.words import count, shown, size
from twistedp2p.disk.memory import keep_free_memory
from twistedp2p.errors import HomeUnusable
from twistedp2p.framing.addresses import Advertised
from twistedp2p.home import Home
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.limits import MOVING_BLOCK_BYTES

__all__ = ["command"]

_EVERY = 0.25


@click.command("send")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--many", is_flag=True, help="Go on after the first receiver, until Ctrl-C.")
@click.option(
    "--listen",
    metavar="ENDPOINT",
    multiple=True,
    help="Where to listen, like tcp:17414; may repeat. Without it, a free port on all interfaces.",
)
@click.option("--advertise", metavar="HOST[:PORT]", help="The address for the code, if this machine's own is not it.")
@click.option(
    "--tracker",
    metavar="HOST:PORT:PIN",
    help="Meet a receiver that can not reach this machine at that tracker; 'own' is this person's own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what happens as one JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Show only the code, and what failed.")
def command(
    paths: tuple[Path, ...],
    many: bool,
    listen: tuple[str, ...],
    advertise: str | None,
    tracker: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send files and folders to somebody, by a code that you give them.

    The code is one line on standard output: `twistedp2p receive CODE` takes it, sees names and sizes, and agrees. It
    works once; this command ends when everything has arrived. What was cut off goes on when the receiver comes again.
    Everything is encrypted and verified.
    """
    wish = _Wish(
        [path.expanduser() for path in paths],
        listen,
        None if advertise is None else Advertised.parse(advertise),
        _tracker(tracker),
        many,
    )
    told = _Told(as_json, quiet)
    keep_free_memory(MOVING_BLOCK_BYTES)
    run_to_end(lambda reactor: _send(reactor, wish, told))


@frozen
class _Wish:
    """What is to be sent, and how."""

    paths: Sequence[Path]
    listen: Sequence[str]
    advertise: Advertised | None
    tracker: TrackerAddress | None
    many: bool


async def _send(reactor: Any, wish: _Wish, told: _Told) -> int:
    """Send it until it was received; return the exit status."""
    sending = Sending(reactor, listen=wish.listen, advertise=wish.advertise, tracker=wish.tracker, many=wish.many)
    offered = await sending.add(wish.paths)
    told.begin(sending, offered, (await sending.start()).text())
    ticking = LoopingCall(told.tick)
    ticking.clock = reactor
    ticking.start(_EVERY)
    try:
        await sending.ended
    except CancelledError:
        # Who sends to many says by it that they were enough.
        if not (wish.many and sending.deliveries):
            raise
    finally:
        ticking.stop()
        told.end(sending)
        await sending.stop()
    return 0 if sending.deliveries else 1


def _tracker(text: str | None) -> TrackerAddress | None:
    if text != "own":
        return None if text is None else TrackerAddress.parse(text)
    found = Home.find(os.environ).tracker_address()
    if found is None:
        raise HomeUnusable("You have no tracker of your own; start `twistd -n tracker`, or name one.")
    return found


class _Told:
    """What a person or a script sees of sending."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._json = as_json
        self._live = not as_json and not quiet and sys.stderr.isatty()
        self._quiet = quiet
        self._sending: Sending | None = None
        self._offered = Offered((), 0, 0)
        self._said = -1
        self._receiver = ""

    def begin(self, sending: Sending, offered: Offered, code: str) -> None:
        """Print the code, and what it is for."""
        self._sending, self._offered = sending, offered
        sending.news.joined, sending.news.left = self._joined, self._left
        sending.news.trouble = lambda text: self._say({"event": "trouble", "text": text}, f"twistedp2p: {text}")
        names = ", ".join(shown(name) for name in offered.names[:5])
        if len(offered.names) > 5:
            names += f" and {len(offered.names) - 5} more"
        what = f"{names}: {count(offered.files, 'file')}, {size(offered.bytes)}"
        self._say(
            {"event": "code", "code": code, "names": offered.names, "files": offered.files, "bytes": offered.bytes},
            f"Sending {what}. On the other machine:\n    twistedp2p receive CODE",
        )
        if not self._json:
            # Alone on standard output, and never wrapped, so that it can be copied and piped.
            sys.stdout.write(f"{code}\n")
            sys.stdout.flush()

    def tick(self) -> None:
        """Show how far it is."""
        assert self._sending is not None
        sent = self._sending.bytes_sent
        if sent == self._said or not self._receiver:
            return
        self._said = sent
        if self._json:
            self._say({"event": "sent", "bytes": sent}, "")
        elif self._live:
            share = f" of {size(self._offered.bytes)}" if self._offered.bytes else ""
            click.echo(f"\r\x1b[K{size(sent)}{share} to {self._receiver}", err=True, nl=False)

    def end(self, sending: Sending) -> None:
        """Say how it ended."""
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)
        sent = f"{size(sending.bytes_sent)} sent"
        if sending.deliveries:
            text = f"Received, {sent}." if sending.deliveries == 1 else f"Received {sending.deliveries} times, {sent}."
        else:
            text = f"It was not received; {sent}."
        self._say({"event": "end", "deliveries": sending.deliveries, "bytes": sending.bytes_sent}, text)

    def _joined(self, name: str) -> None:
        self._receiver = shown(name)
        self._say({"event": "connected", "name": name}, f"{shown(name)} is here.")

    def _left(self, name: str) -> None:
        self._say({"event": "disconnected", "name": name}, f"{shown(name)} is gone.")

    def _say(self, event: dict[str, object], text: str) -> None:
        if self._json:
            click.echo(json.dumps(event))
        elif text and (not self._quiet or text.startswith("twistedp2p:")):
            lead = "\r\x1b[K" if self._live else ""
            click.echo(f"{lead}{text}", err=True)
