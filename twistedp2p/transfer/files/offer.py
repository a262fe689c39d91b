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

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import FileKind
from twistedp2p.errors import BadPath, NoSuchFile, TwistedP2PError
from twistedp2p.paths import from_disk
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.messages import FileEntry, ListFolder
from twistedp2p.transfer.files.on_disk import InThread, in_words
from twistedp2p.transfer.files.pattern import Pattern
from twistedp2p.transfer.files.source import OpenedFile, SmallFile

__all__ = ["Offer", "OfferedTop"]


@frozen
class OfferedTop:
    """One file or folder that is offered: the folder that it is read from, and what it is called in there."""

    served: ServedFolder
    inside: str
    """The name of a file in that folder; "" for the folder itself."""
    folder: bool
    mtime_ns: int


class Offer:
    """A `FileSource` of some files and folders.

    Args:
        clock: tells the time.
        in_thread: runs what blocks.
        key: 32 bytes for tokens.
        received: told what the other side says that it has: files, bytes, and whether it wants them at all.
    """

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: InThread,
        key: bytes,
        received: Callable[[int, int, bool], object] = lambda *_: None,
    ) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._key = key
        self._received = received
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
            above = RealDisk(os.fsencode(path.parent))
            stat = above.stat((component,))
            if stat.kind is FileKind.FILE:
                self._tops[name] = OfferedTop(self._serve(above), name, False, stat.mtime_ns)
            elif stat.kind is FileKind.FOLDER:
                above.close()
                self._tops[name] = OfferedTop(self._serve(RealDisk(os.fsencode(path))), "", True, stat.mtime_ns)
            else:
                raise NoSuchFile(f"{path} is {stat.kind.value}; only files and folders can be sent.")
        return name

    async def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """See `FileSource.listing`."""
        if asked.path:
            name, top, inside = self._find(asked.path)
            async for page in self._below(name, top, inside, asked, asked.after):
                yield page
            return
        pattern = Pattern(asked.pattern)
        first = asked.after.partition("/")[0]
        for name, top in sorted(self._tops.items(), key=lambda item: item[0].encode()):
            if name.encode() < first.encode():
                continue
            after = asked.after if name == first else ""
            if top.folder:
                if not after and pattern.matches(name):
                    yield [FileEntry(name, True, mtime_ns=top.mtime_ns)]
                if asked.deep:
                    async for page in self._below(name, top, "", asked, after):
                        yield page
            elif not after:
                async for page in self._below(name, top, top.inside, asked, ""):
                    yield page

    def open(self, path: str, token: bytes) -> Deferred[OpenedFile]:
        """See `FileSource.open`."""
        try:
            _, top, inside = self._find(path)
        except TwistedP2PError as error:
            return fail(error)
        return top.served.open(inside, token)

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
        return top.served.content_of(inside, token, progress)

    def received(self, files: int, size: int, accepted: bool) -> None:
        """See `FileSource.received`."""
        self._received(files, size, accepted)

    def _serve(self, disk: RealDisk) -> ServedFolder:
        return ServedFolder(disk, self._clock, self._in_thread, self._key)

    def _find(self, path: str) -> tuple[str, OfferedTop, str]:
        """Return the offered name, what it is, and the path inside of its folder; raises `NoSuchFile`."""
        name, _, rest = path.partition("/")
        top = self._tops.get(name)
        if top is None or (rest and not top.folder):
            raise NoSuchFile(f"{path} is not offered.")
        return name, top, rest if top.folder else top.inside

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
