"""Some files and folders of this disk, offered under their own names: what a sender lets the other side fetch.

Nothing else can be reached: a file is offered by itself, a folder with all that is served of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import FileKind
from twistedp2p.errors import BadPath, FileChanged, NoSuchFile, TwistedP2PError
from twistedp2p.paths import from_disk
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.messages import FileEntry, ListFolder
from twistedp2p.transfer.files.on_disk import InThread, in_words
from twistedp2p.transfer.files.pattern import Pattern
from twistedp2p.transfer.files.source import OpenedFile, SmallFile
from twistedp2p.transfer.files.walk import look

__all__ = ["Offer", "OfferedTop"]

_TOLD = 20
"""Paths that trouble is told of."""


@frozen
class OfferedTop:
    """One file or folder that is offered: the folder that it is read from, and what it is called in there."""

    served: ServedFolder
    disk: RealDisk
    """What `served` serves."""
    inside: str
    """The name of a file in that folder; "" for the folder itself."""
    folder: bool
    mtime_ns: int

    def is_there(self) -> bool:
        """Return whether it still is what it was when it was offered: a file, or that very folder. Blocks."""
        if self.folder:
            return self.disk.in_place()
        try:
            return look(self.disk, self.inside).stat.kind is FileKind.FILE
        except (OSError, TwistedP2PError):
            return False


class Offer:
    """A `FileSource` of some files and folders.

    Args:
        clock: tells the time.
        in_thread: runs what blocks.
        key: 32 bytes for tokens.
        received: told what the other side says that it has: files, bytes, and whether it wants them at all.
        trouble: told in a sentence, once each, what is offered and can not be had; only of the first of very many.
    """

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        key: bytes,
        received: Callable[[int, int, bool], object] = lambda *_: None,
        trouble: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._key = key
        self._received = received
        self._trouble = trouble
        self._told: set[str] = set()
        self._above: dict[str, tuple[RealDisk, ServedFolder]] = {}
        self._tops: dict[str, OfferedTop] = {}

    def add(self, path: Path) -> str:
        """Offer a file or folder; return its name. Blocks.

        Raises `NoSuchFile`, `BadPath` for a name that can not travel, or that is offered already.
        """
        path = path.absolute()
        component = os.fsencode(path.name)
        if not component:
            raise BadPath(f"{path} has no name; name a folder in it.")
        name = from_disk((component,)).text
        if name in self._tops:
            raise BadPath(f"Two of these are called {name}; rename one, or send them one after the other.")
        with in_words(str(path)):
            disk, served = self._folder_of(path)
            stat = disk.stat((component,))
            if stat.kind is FileKind.FILE:
                self._tops[name] = OfferedTop(served, disk, name, False, stat.mtime_ns)
            elif stat.kind is FileKind.FOLDER:
                disk, served = self._serve(path)
                self._tops[name] = OfferedTop(served, disk, "", True, stat.mtime_ns)
            else:
                raise NoSuchFile(f"{path} is {stat.kind.value}; only files and folders can be sent.")
        return name

    async def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """See `FileSource.listing`; raises `NoSuchFile` at the end if some of what was offered is gone by now."""
        if asked.path:
            name, top, inside = self._find(asked.path)
            async for page in self._below(name, top, inside, asked, asked.after):
                yield page
            return
        tops = sorted(self._tops.items(), key=lambda item: item[0].encode())
        gone = await self._in_thread(lambda: [name for name, top in tops if not top.is_there()])
        first = asked.after.partition("/")[0]
        for name, top in tops:
            if name.encode() < first.encode() or name in gone:
                continue
            try:
                async for page in self._top(name, top, asked, asked.after if name == first else ""):
                    yield page
            except NoSuchFile:
                gone.append(name)
        if gone:
            for name in gone:
                self._tell(name, f"{name} is gone, and can not be sent any more.")
            raise NoSuchFile(_are_gone(gone))

    def open(self, path: str, token: bytes) -> Deferred[OpenedFile]:
        """See `FileSource.open`."""
        try:
            _, top, inside = self._find(path)
        except TwistedP2PError as error:
            return fail(error)
        return top.served.open(inside, token).addErrback(self._failed, path)

    def read_range(self, path: str, token: bytes, offset: int, length: int) -> Deferred[bytes]:
        """See `FileSource.read_range`."""
        try:
            _, top, inside = self._find(path)
        except TwistedP2PError as error:
            return fail(error)
        return top.served.read_range(inside, token, offset, length).addErrback(self._failed, path)

    def read_small(self, files: Sequence[tuple[str, bytes]]) -> Deferred[list[SmallFile | TwistedP2PError]]:
        """See `FileSource.read_small`."""
        by_top: dict[str, list[tuple[int, str, bytes]]] = {}
        found: list[SmallFile | TwistedP2PError] = [NoSuchFile("It is not offered.")] * len(files)
        for position, (path, token) in enumerate(files):
            try:
                name, _, inside = self._find(path)
            except TwistedP2PError as error:
                found[position] = error
            else:
                by_top.setdefault(name, []).append((position, inside, token))
        reading: list[Deferred[None]] = []
        for name, asked in by_top.items():

            def sort(read: list[SmallFile | TwistedP2PError], asked: list[tuple[int, str, bytes]] = asked) -> None:
                for (position, _, _), one in zip(asked, read, strict=True):
                    found[position] = one
                    if not isinstance(one, SmallFile):
                        self._tell_why(files[position][0], one)

            some = [(inside, token) for _, inside, token in asked]
            reading.append(self._tops[name].served.read_small(some).addCallback(sort))
        if not reading:
            return succeed(found)
        return gatherResults(reading, consumeErrors=True).addCallback(lambda _: found)

    def content_of(self, path: str, token: bytes, progress: Callable[[int], object]) -> Deferred[bytes]:
        """See `FileSource.content_of`."""
        try:
            _, top, inside = self._find(path)
        except TwistedP2PError as error:
            return fail(error)
        return top.served.content_of(inside, token, progress).addErrback(self._failed, path)

    def received(self, files: int, size: int, accepted: bool) -> None:
        """See `FileSource.received`."""
        self._received(files, size, accepted)

    def _failed(self, failure: Failure, path: str) -> Failure:
        """Tell why a file that is offered can not be read."""
        if isinstance(failure.value, TwistedP2PError):
            self._tell_why(path, failure.value)
        return failure

    def _tell_why(self, path: str, error: TwistedP2PError) -> None:
        if isinstance(error, FileChanged):
            self._tell(path, f"{path} changed after it was listed, and was not sent as it is now.")
        elif isinstance(error, NoSuchFile):
            self._tell(path, f"{path} is gone, and can not be sent any more.")
        else:
            self._tell(path, f"{path} can not be sent: {error}")

    def _tell(self, path: str, text: str) -> None:
        """Tell of one path, once: the other side may ask for things that are not there as often as it likes."""
        if path not in self._told and len(self._told) < _TOLD:
            self._told.add(path)
            self._trouble(text if len(self._told) < _TOLD else f"{text} There is more; it is not named here.")

    def _folder_of(self, path: Path) -> tuple[RealDisk, ServedFolder]:
        """Return the folder that a file is read from: one for all files that lie there."""
        above = str(path.parent)
        if above not in self._above:
            self._above[above] = self._serve(path.parent)
        return self._above[above]

    def _serve(self, folder: Path) -> tuple[RealDisk, ServedFolder]:
        disk = RealDisk(os.fsencode(folder))
        return disk, ServedFolder(disk, self._clock, self._in_thread, self._key)

    def _find(self, path: str) -> tuple[str, OfferedTop, str]:
        """Return the offered name, what it is, and the path inside of its folder; raises `NoSuchFile`."""
        name, _, rest = path.partition("/")
        top = self._tops.get(name)
        if top is None or (rest and not top.folder):
            raise NoSuchFile(f"{path} is not offered.")
        return name, top, rest if top.folder else top.inside

    async def _top(
        self, name: str, top: OfferedTop, asked: ListFolder, after: str
    ) -> AsyncIterator[Sequence[FileEntry]]:
        """List one offered file, or a folder and, if that was asked for, what is in it."""
        if not top.folder:
            if not after:
                async for page in self._below(name, top, top.inside, asked, ""):
                    yield page
            return
        if not after and Pattern(asked.pattern).matches(name):
            yield [FileEntry(name, True, mtime_ns=top.mtime_ns)]
        if asked.deep:
            async for page in self._below(name, top, "", asked, after):
                yield page

    async def _below(
        self, name: str, top: OfferedTop, inside: str, asked: ListFolder, after: str
    ) -> AsyncIterator[Sequence[FileEntry]]:
        """List inside of one offered file or folder; paths there begin with its name."""
        after = after[len(name) + 1 :] if top.folder else ""
        # The pattern is about whole paths, which the folder does not know.
        pattern = Pattern(asked.pattern)
        async for page in top.served.listing(ListFolder(asked.request, inside, asked.deep, "", after)):
            named = [evolve(entry, path=f"{name}/{entry.path}" if top.folder else name) for entry in page]
            yield [entry for entry in named if pattern.matches(entry.path)]


def _are_gone(names: Sequence[str]) -> str:
    """Return a sentence about things that were offered and are gone."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"The sender has {shown} no more; ask for a new code for that."
