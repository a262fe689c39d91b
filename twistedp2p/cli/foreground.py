"""From the words of a command line to a running peer: the reactor, the display and the log of the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twistedp2p.cli.household import Household
from twistedp2p.cli.logs import begin_showing
from twistedp2p.cli.options import LogWish
from twistedp2p.cli.running import Running, in_one_sentence
from twistedp2p.cli.serving import Wish
from twistedp2p.disk.memory import give_back_memory
from twistedp2p.errors import FolderUnusable
from twistedp2p.framing.steady import keep_steady
from twistedp2p.home import Home, write_private
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.options import PeerOptions

__all__ = ["run", "run_all"]


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
    log: LogWish,
) -> None:
    """Run a peer of `folder` until it is ended, and the process with it; raises SystemExit."""
    give_back_memory()
    display, _ = begin_showing(log, [folder])
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
            display.tell(f"The invite is in {invite_file}.")

    wish = Wish(options, begins, names, print_invite if begins or invite_file is not None else None)

    def main(reactor: Any) -> Deferred[None]:
        keep_steady(reactor)
        return Deferred.fromCoroutine(in_one_sentence(Running(reactor, wish, display).run(), display))

    react(main)


def run_all(home: Home, log: LogWish, *, waits: bool) -> None:
    """Run a peer for each folder that `home` knows until it is ended, and the process with it; raises SystemExit."""
    give_back_memory()
    display, speakers = begin_showing(log, (member.folder for member in home.members()), named=True)

    def main(reactor: Any) -> Deferred[None]:
        keep_steady(reactor)
        household = Household(reactor, home, display, speakers, waits=waits)
        return Deferred.fromCoroutine(in_one_sentence(household.run(), display))

    react(main)


def _write_invite(file: Path, text: str) -> None:
    try:
        write_private(file.absolute(), f"{text}\n".encode())
    except OSError as error:
        raise FolderUnusable(f"The invite can not be written to {file} ({error.strerror}).") from error
