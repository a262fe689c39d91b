"""Contents being assembled, each in a file of its own that nobody else sees, until they are whole and verified."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from twistedp2p.disk.seam import Disk, FileKind, Name, OpenFile
from twistedp2p.errors import CorruptContent, NoSpace
from twistedp2p.limits import (
    FREE_SPACE_BYTES,
    PART_ORPHAN_SECONDS,
    READ_BYTES,
    SYNC_FOLDERS_ONE_BY_ONE,
)
from twistedp2p.peer.folder.mark import PARTS
from twistedp2p.peer.folder.part import Part, full_disk
from twistedp2p.transfer.chunking import Manifest
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["PartStore"]

_NAME = re.compile(rb"[0-9a-f]{64}")


class PartStore:
    """All contents under way of one shared folder, and those that are whole and not yet published.

    `clock` gives monotonic seconds. Methods may be called from several threads for different contents.
    """

    def __init__(self, disk: Disk, clock: Callable[[], float]) -> None:
        self._disk = disk
        self._clock = clock
        self._whole: set[bytes] = set()
        self._unsynced: set[bytes] = set()

    @staticmethod
    def locate(content: bytes) -> Name:
        """Return where the part of a content lies: whole, if `has` says so."""
        return (*PARTS, content.hex().encode())

    def has(self, content: bytes) -> bool:
        """Return whether the content is whole, verified and not published yet."""
        return content in self._whole

    def put_small(self, contents: Iterable[tuple[bytes, bytes]]) -> None:
        """Store small contents (content id, bytes), as many as there are, each verified.

        Raises:
            CorruptContent: bytes without the hash they are named by; those before them were stored.
            NoSpace: the disk is full, or nearly.
        """
        self.require_space(0)
        for content, data in contents:
            if content in self._whole:
                continue
            if content_id_of(data) != content:
                raise CorruptContent("A file is not the one that was asked for: ask another holder.")
            name = self.locate(content)
            try:
                opened = self._disk.create(name)
            except FileExistsError:  # left by an earlier life, perhaps torn
                self._disk.unlink(name)
                opened = self._disk.create(name)
            with opened, full_disk():
                opened.write_at(0, data)
            self._finished(content)

    def open(self, content: bytes, size: int, manifest: Manifest | None) -> Part:
        """Return the part of a content, begun anew or gone on with: then what lies there is hashed first.

        Raises:
            NoSpace: there is not enough room for it.
        """
        name = self.locate(content)
        begun = True
        try:
            opened = self._disk.open_part(name)
        except FileNotFoundError:
            begun = False
            self.require_space(size)
            opened = self._disk.create(name)
        part = Part(opened, content, size, manifest, self._clock)
        try:
            if begun:
                part.recover()
                self.require_space(part.lacking())
            with full_disk():
                opened.resize(size)
        except BaseException:
            opened.close()
            raise
        return part

    def finish(self, part: Part) -> None:
        """Verify `part` as a whole: then `has` says so. One that is corrupt is removed, and CorruptContent raised."""
        try:
            part.finish()
        except CorruptContent:
            part.close()
            self.drop(part.content)
            raise
        self._finished(part.content)

    def take_copy(self, source: Name, content: bytes) -> bool:
        """Make the content whole by copying the file `source` of this disk.

        False if that has other bytes by now, or can not be opened.

        Raises:
            NoSpace: there is not enough room for it.
            OSError: the copy can not be made.
        """
        if content in self._whole:
            return True
        name = self.locate(content)
        try:
            opened = self._disk.open(source)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # of no source a copy can be made now
            return False
        with opened as original:
            size = original.stat().size
            self.require_space(size)
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(name)
            with self._disk.create(name) as copy:
                with full_disk():
                    copy.copy_from(original, 0, 0, size)
                digest = blake3()
                for data in _pieces(copy, size):
                    digest.update(data)
        if digest.digest() != content:
            self.drop(content)
            return False
        self._finished(content)
        return True

    def published(self, content: bytes) -> None:
        """Take note that the part was moved away: put in place, or kept in the trash."""
        self._whole.discard(content)
        self._unsynced.discard(content)

    def drop(self, content: bytes) -> None:
        """Give a content up: what lies there is removed."""
        self._whole.discard(content)
        self._unsynced.discard(content)
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(self.locate(content))

    def sync(self) -> None:
        """Return when all contents that became whole since the last call are on stable storage: before publishing.

        Raises:
            OSError: the disk failed. All of these contents are given up: what it would say of them later is not true.
        """
        contents = []
        while self._unsynced:
            contents.append(self._unsynced.pop())
        try:
            if len(contents) > SYNC_FOLDERS_ONE_BY_ONE:
                self._disk.sync_all()
                return
            for content in contents:
                with self._disk.open_part(self.locate(content)) as opened:
                    opened.sync()
        except OSError:
            for content in contents:
                self.drop(content)
            raise

    def remove_orphans(self) -> int:
        """Remove parts that were not written to for `limits.PART_ORPHAN_SECONDS`; return how many. At start only."""
        removed = 0
        oldest = self._disk.now_ns() - int(PART_ORPHAN_SECONDS * 1e9)
        for component, stat in self._disk.entries(PARTS):
            mine = stat.kind is FileKind.FILE and _NAME.fullmatch(component)
            if mine and stat.mtime_ns < oldest and bytes.fromhex(component.decode()) not in self._whole:
                self._disk.unlink((*PARTS, component))
                removed += 1
        return removed

    def require_space_for(self, content: bytes, size: int) -> None:
        """Raise `NoSpace` unless there is room to fetch a content; of one that was begun, as much as can be told."""
        try:
            self._disk.stat(self.locate(content))
        except FileNotFoundError:
            self.require_space(size)
        else:
            self.require_space(0)

    def require_space(self, size: int) -> None:
        """Raise `NoSpace` unless `size` bytes more leave the floor free: `FREE_SPACE_BYTES`, or 1 % if that is less."""
        space = self._disk.space()
        if space.free - size < min(FREE_SPACE_BYTES, space.total // 100):
            kept = min(FREE_SPACE_BYTES, space.total // 100)
            raise NoSpace(
                f"The disk of the shared folder has {space.free >> 20} MiB free, and {kept >> 20} MiB are kept free; "
                f"that is not enough for {max(size >> 20, 1)} MiB more: make room, and it goes on by itself."
            )

    def _finished(self, content: bytes) -> None:
        self._whole.add(content)
        self._unsynced.add(content)


def _pieces(opened: OpenFile, size: int) -> Iterator[bytes]:
    for offset in range(0, size, READ_BYTES):
        yield opened.read_at(offset, READ_BYTES)
