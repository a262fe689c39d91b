"""From the words of a command line to a running peer: the reactor, the display and the log of the process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner

from twistedp2p.cli.display import display_on, log_observer
from twistedp2p.cli.running import run_in_foreground
from twistedp2p.cli.serving import Wish
from twistedp2p.errors import FolderUnusable
from twistedp2p.home import Home, write_private
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.options import PeerOptions

__all__ = ["run"]


def run(
    folder: Path,
    invite: Invite | None,
    tracker: TrackerAddress | None,
    *,
    begins: bool,
    home: Home,
    listen: tuple[str, ...],
    advertise: str | None,
    name: str | None,
    names: str | None,
    durability: str | None,
    defaults: bool,
    invite_file: Path | None,
    trash_days: int | None,
) -> None:
    """Run a peer of `folder` until it is ended, and the process with it; raises SystemExit."""
    display = display_on(sys.stderr, os.environ)
    globalLogBeginner.beginLoggingTo([log_observer(display)], redirectStandardIO=False)
    options = PeerOptions(
        folder=folder,
        home=home,
        invite=invite,
        tracker=tracker,
        portable=names == "portable",
        listen=listen,
        advertise=advertise,
        name=name,
        durable=None if durability is None else durability == "durable",
        defaults=defaults,
        trash_days=trash_days,
    )

    def print_invite(text: str) -> None:
        if invite_file is None:
            click.echo(text)
        else:
            _write_invite(invite_file, text)
            display.say(f"The invite is in {invite_file}.")

    wish = Wish(options, begins, names, print_invite if begins or invite_file is not None else None)

    def main(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(run_in_foreground(reactor, wish, display))

    react(main)


def _write_invite(file: Path, text: str) -> None:
    try:
        write_private(file.absolute(), f"{text}\n".encode())
    except OSError as error:
        raise FolderUnusable(f"The invite can not be written to {file} ({error.strerror}).") from error
