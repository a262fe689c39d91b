"""``twistedp2p join --dry-run``: what joining a share with a folder would do. Writes nothing.

First a guest takes all that the members know from the tracker, and leaves. Then, when nobody sees this process any
more, the folder is read, and joining is tried out in an index that has no name on the disk.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import SystemRandom
from typing import Any, TextIO

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner

from twistedp2p.cli.folders import is_member
from twistedp2p.cli.forecast import as_json, lines_of
from twistedp2p.cli.words import count, size
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Space
from twistedp2p.errors import FolderUnusable, TwistedP2PError
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import Invite
from twistedp2p.paths import NameRules
from twistedp2p.peer.guest import hear
from twistedp2p.peer.ignore import IGNORE_NAME, Ignores
from twistedp2p.peer.ignoring import list_in
from twistedp2p.peer.member import RID_BYTES
from twistedp2p.peer.rehearsal import Rehearsal
from twistedp2p.peer.survey import Survey, survey
from twistedp2p.peer.workers import ThreadWorkers
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["dry_run"]

_NAMED = 20
"""Paths that are named in each list, unless all are asked for."""
_OTHER_LIST = (
    f"The share has a {IGNORE_NAME} of its own, which nobody can read before joining: what it names and lies here is "
    "counted below as sent or copied, and would stay local."
)
_PROGRESS = 0.2
"""The line of progress is written this often, seconds."""


def dry_run(folder: Path, invite: Invite, *, whole_list: bool, as_object: bool) -> None:
    """Print what joining the share of `invite` with `folder` would do; raises `TwistedP2PError`."""
    if is_member(folder):
        raise FolderUnusable(f"{folder} is a member of a share already: `twistedp2p status` says how it is.")
    if folder.exists() and not folder.is_dir():
        raise FolderUnusable(f"{folder} is no folder.")
    most = None if whole_list else _NAMED
    ignores = list_in(folder)
    with closing(Rehearsal(invite.keys(), os.urandom(RID_BYTES), most, ignores.ignored)) as rehearsal:
        members = _hear(rehearsal, invite)
        if not members:
            raise TwistedP2PError(
                "No member of the share is running now, so nobody can say what it holds: start one, and try again."
            )
        surveyed = Survey()
        rules = NameRules.PORTABLE if invite.portable else NameRules.POSIX
        space = _see(rehearsal, folder, rules, surveyed, ignores)
        other_list = rehearsal.content_of(IGNORE_NAME) not in (None, content_id_of(ignores.text))
        forecast = rehearsal.play()
    if other_list:
        click.echo(_OTHER_LIST, err=True)
    if as_object:
        click.echo(json.dumps(as_json(str(folder), members, forecast, surveyed.hidden[:most], space), indent=2))
    else:
        click.echo("\n".join(lines_of(str(folder), members, forecast, surveyed.hidden, space, most)))


def _hear(rehearsal: Rehearsal, invite: Invite) -> int:
    """Take in what the members of the share know; return how many are alive. The reactor runs only in here."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    threads: list[ThreadWorkers] = []
    outcome: list[int | TwistedP2PError] = []

    async def main(reactor: Any) -> None:
        workers = ThreadWorkers(reactor)
        workers.start()
        threads.append(workers)
        network = TLSNetwork(reactor, DeviceKey.generate(os.urandom))
        random = SystemRandom().random
        try:
            hearing = hear(rehearsal, invite, network=network, workers=workers, entropy=os.urandom, random=random)
            outcome.append(await Deferred.fromCoroutine(hearing))
        except TwistedP2PError as error:
            outcome.append(error)

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    finally:
        for workers in threads:  # else they keep the process from ending
            workers.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not outcome:
        raise click.Abort  # somebody ended it
    if isinstance(outcome[0], TwistedP2PError):
        raise outcome[0]
    return outcome[0]


def _see(rehearsal: Rehearsal, folder: Path, rules: NameRules, surveyed: Survey, ignores: Ignores) -> Space:
    """Let the rehearsal see all that lies in `folder`; return the room on its disk."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    with closing(RealDisk(os.fsencode(existing))) as disk:
        if existing == folder.absolute():
            progress = _Progress(sys.stderr, surveyed, time.monotonic)
            for path, seen in survey(disk, rules, surveyed, time.sleep, ignores.of):
                rehearsal.see(path, seen)
                progress.show()
            progress.end()
        return disk.space()


class _Progress:
    """A line on a terminal that says how much was read; nothing elsewhere."""

    def __init__(self, stream: TextIO, surveyed: Survey, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._surveyed = surveyed
        self._clock = clock
        self._on = stream.isatty()
        self._next = 0.0

    def show(self) -> None:
        """Write the line, if it is time."""
        if self._on and self._clock() >= self._next:
            self._next = self._clock() + _PROGRESS
            self._stream.write(f"\r\x1b[Kreading: {count(self._surveyed.files, 'file')}, {size(self._surveyed.bytes)}")
            self._stream.flush()

    def end(self) -> None:
        """Remove the line."""
        if self._on:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
