"""``twistedp2p send``: sends files and folders once, by a code."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, react

from twistedp2p.cli.reaching import INTERRUPTED
from twistedp2p.cli.sending import Offered, Sending
from twistedp2p.cli.words import count, shown, size
from twistedp2p.errors import HomeUnusable, TwistedP2PError
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home
from twistedp2p.identity.invite import TrackerAddress

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
    where = _tracker(tracker)
    told = _Told(as_json, quiet)
    interrupted: list[bool] = []

    async def main(reactor: Any) -> None:
        keep_steady(reactor)
        sending = Sending(
            reactor,
            listen=listen,
            advertise=None if advertise is None else Advertised.parse(advertise),
            tracker=where,
            many=many,
        )
        offered = await sending.add([path.expanduser() for path in paths])
        told.begin(sending, offered, (await sending.start()).text())
        ticking = LoopingCall(told.tick)
        ticking.clock = reactor
        ticking.start(_EVERY)
        try:
            delivered = await sending.ended
        finally:
            ticking.stop()
            told.end(sending)
            await sending.stop()
        if not delivered:
            raise SystemExit(1)

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(_in_words(main(reactor), interrupted))

        def interrupt(*_: object) -> None:
            interrupted.append(True)
            reactor.callFromThread(running.cancel)

        def hear() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, interrupt)

        # Once more when the reactor has put in its own.
        hear()
        reactor.callWhenRunning(hear)
        return running

    try:
        react(begin)
    except SystemExit as end:
        sys.exit(end.code if not interrupted or (many and told.delivered) else INTERRUPTED)


async def _in_words(work: Any, interrupted: list[bool]) -> None:
    try:
        await work
    except CannotListenError as error:
        click.echo(f"twistedp2p: Can not listen ({error.socketError}); name another endpoint with --listen.", err=True)
        raise SystemExit(1) from error
    except TwistedP2PError as error:
        click.echo(f"twistedp2p: {error}", err=True)
        raise SystemExit(1) from error
    except CancelledError:
        if not interrupted:
            raise


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
        self.delivered = False

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
        self.delivered = sending.deliveries > 0
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)
        sent = f"{size(sending.bytes_sent)} sent"
        if self.delivered:
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
