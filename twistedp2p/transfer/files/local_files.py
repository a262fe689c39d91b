"""What of this disk is to be put onto a server: found, opened, hashed and read. What blocks is for worker threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

from attrs import frozen

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Disk, FileKind, Name, OpenFile, Stat
from twistedp2p.errors import BadPath, FileChanged, NoSuchFile, TwistedP2PError
from twistedp2p.paths import RelPath, from_disk
from twistedp2p.transfer.files.local import in_local_words
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.walk import Found, LeftOut, walk
from twistedp2p.transfer.hashing import hasher_of

__all__ = ["LocalFile", "local_files", "open_and_hash", "read_piece"]

_FOUND_AT_ONCE = 500


@frozen
class LocalFile:
    """A file or folder of this disk, and the path that it gets at the server."""

    disk: Disk
    name: Name
    path: str
    stat: Stat

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.stat.kind is FileKind.FOLDER


async def local_files(top: Path, below: str, in_thread: InThread, left_out: LeftOut) -> AsyncIterator[LocalFile]:
    """Yield the file `top`, or that folder and all files and folders in it, with their paths below `below`.

    What is neither is left out. `left_out` hears of what should not be and is, with its path: what is not there or
    may not be read, and names that can not travel.
    """
    try:
        last = from_disk((os.fsencode(top.name),)).text
        path = RelPath(f"{below}/{last}" if below else last).text
        kind, disk, name = await in_thread(_open_top, top)
    except TwistedP2PError as error:
        left_out(str(top), error)
        return
    yield LocalFile(disk, name, path, kind)
    if kind.kind is FileKind.FOLDER:
        out: list[tuple[str, TwistedP2PError]] = []
        found = walk(disk, Found("", (), kind), deep=True, left_out=lambda path, why: out.append((path, why)))
        while some := await in_thread(_next_some, top, found):
            for one in some:
                try:
                    yield LocalFile(disk, one.name, RelPath(f"{path}/{one.path}").text, one.stat)
                except BadPath as error:
                    out.append((one.path, error))
            while out:
                where, why = out.pop(0)
                left_out(f"{path}/{where}" if where else path, why)
        for where, why in out:
            left_out(f"{path}/{where}" if where else path, why)


def _next_some(top: Path, found: Iterator[Found]) -> list[Found]:
    with in_local_words((os.fsencode(top),)):
        return list(islice(found, _FOUND_AT_ONCE))


def _open_top(top: Path) -> tuple[Stat, Disk, Name]:
    with in_local_words((os.fsencode(top),)):
        above = RealDisk(os.fsencode(top.parent))
        stat = above.stat((os.fsencode(top.name),))
        if stat.kind is FileKind.FILE:
            return stat, above, (os.fsencode(top.name),)
        above.close()
        if stat.kind is not FileKind.FOLDER:
            raise NoSuchFile(f"{top} is {stat.kind.value}; only files and folders can be put.")
        return stat, RealDisk(os.fsencode(top)), ()


def read_piece(local: LocalFile, opened: OpenFile, offset: int, length: int) -> bytes:
    """Return bytes of an open file; fewer only where it ends."""
    with in_local_words((os.fsencode(local.path),)):
        return opened.read_at(offset, length)


def open_and_hash(local: LocalFile) -> tuple[OpenFile, Stat, bytes]:
    """Return the open file, what the disk says of it, and its content id; raises `FileChanged`."""
    with in_local_words((os.fsencode(local.path),)):
        opened = local.disk.open(local.name)
        try:
            stat = opened.stat()
            content = hasher_of(opened, stat.size).digest()
            now = opened.stat()
            if (now.size, now.mtime_ns) != (stat.size, stat.mtime_ns):
                raise FileChanged(f"{local.path} changes while it is read; put it again when it is quiet.")
        except BaseException:
            opened.close()
            raise
        return opened, stat, content
