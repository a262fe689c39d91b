"""Fetching what a person names into a folder: files, folders, and what is said about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from twistedp2p.cli.interruptible import NOTHING
from twistedp2p.cli.moving import Moving
from twistedp2p.cli.reaching import Session
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Name
from twistedp2p.errors import FolderUnusable, NoSuchFile
from twistedp2p.paths import RelPath
from twistedp2p.transfer.files.downloads import Downloads, Taken
from twistedp2p.transfer.files.fair import Priority, Said, is_below
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.progress import FileEvent, What

__all__ = ["Fetching"]


class Fetching:
    """What is fetched into the folder `to`, which is made if it is missing; raises `FolderUnusable`.

    `as_listed`: a file that changes at the server fails, instead of being taken as it is then.
    """

    def __init__(self, session: Session, to: Path, moving: Moving, *, taken: Taken, as_listed: bool = False) -> None:
        to = to.expanduser().absolute()
        try:
            to.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderUnusable(f"The folder {to} can not be made ({error.strerror}); choose another --to.") from error
        self.disk = RealDisk(os.fsencode(to))
        self._session = session
        self._moving = moving
        self._missing = 0
        self._said = Said()
        self._changed = False
        self._listing: list[str] = []
        self._ended = False
        self._downloads = Downloads(
            session.client, self.disk, session.in_thread, heard=self._heard, taken=taken, as_listed=as_listed
        )

    @property
    def status(self) -> int:
        """The exit status for what happened so far."""
        totals = self._downloads.totals
        if totals.files_failed:
            return 1
        return NOTHING if self._missing else 0

    @property
    def idle(self) -> bool:
        """Whether something became of everything that was added."""
        return not self._listing and self._downloads.totals.ended

    def check(self) -> None:
        """Raise if the server is lost for good."""
        self._downloads.check()

    async def add(self, path: str, priority: Priority) -> None:
        """Fetch a file, a folder with all that is in it, or, "", everything; returns when all of it is listed."""
        try:
            await self.find(path, (self._changed and self._said.of(path)) or priority)
        except NoSuchFile as error:
            self.missing(path, error)

    async def add_entries(self, entries: Sequence[FileEntry]) -> None:
        """Fetch these files, and make these folders, under their own paths."""
        for entry in entries:
            await self._downloads.add(entry, _target(entry.path))

    async def find(self, path: str, priority: Priority) -> None:
        """Do as `add` does; raises `NoSuchFile` if there is nothing of that name."""
        self._said.add(path, priority)
        self._listing.append(path)
        try:
            await self._add(path, priority)
        finally:
            self._listing.remove(path)

    def missing(self, path: str, error: NoSuchFile) -> None:
        """There is nothing of that name: say so, also by the exit status."""
        self._missing += 1
        self._moving.event(FileEvent(What.FAILED, path, 0, 0, error), self._downloads.totals)

    def set_priority(self, path: str, priority: Priority) -> bool:
        """Change the priority of a file, or of all that is still to come of a folder; return whether any may be."""
        self._said.say(path, priority)
        self._changed = True
        listed = any(is_below(top, path) or is_below(path, top) for top in self._listing)
        return self._downloads.set_priority(path, priority) or listed

    async def finish(self) -> None:
        """Return when something became of every file."""
        await self._downloads.finish()

    def close(self) -> None:
        """Say what was done, and let go of the folder."""
        if not self._ended:
            self._ended = True
            self._downloads.stop()
            self._moving.end(self._downloads.totals)

    async def _add(self, path: str, priority: Priority) -> None:
        above = len(path) - len(path.rpartition("/")[2])
        is_file = False
        async for entries in self._session.entries(path, deep=True):
            for entry in entries:
                is_file = is_file or entry.path == path
                now = priority if not self._changed else self._said.of(entry.path) or priority
                await self._downloads.add(entry, _target(entry.path[above:]), now)
        if path and not is_file:
            # Also one that has nothing in it.
            await self._downloads.add(FileEntry(path, True), _target(path[above:]))

    def _heard(self, event: FileEvent) -> None:
        self._moving.event(event, self._downloads.totals)


def _target(path: str) -> Name:
    return tuple(part.encode() for part in RelPath(path).parts)
