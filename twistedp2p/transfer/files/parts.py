"""The part of a file that is being fetched: beside its target, verified as a whole, then renamed. Blocks."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from blake3 import blake3

from twistedp2p.disk.seam import Disk, Name, OpenFile
from twistedp2p.errors import CorruptContent, NoSpace
from twistedp2p.transfer.files.local import Source, in_local_words, part_name, put_in_place
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.on_disk import make_folders
from twistedp2p.transfer.files.uploads import reserve
from twistedp2p.transfer.hashing import hasher_of

__all__ = ["LocalPart", "make_part"]


class LocalPart:
    """A file that is being fetched; made by `make_part`. One thread at a time."""

    def __init__(self, disk: Disk, target: Name, name: Name, file: OpenFile, size: int) -> None:
        self.target = target
        self.size = size
        self.offset = 0
        """How much is here."""
        self._disk = disk
        self._name = name
        self._file: OpenFile | None = file
        self._hasher = blake3()
        self._busy = Lock()

    def recover(self) -> None:
        """Hash what an earlier try left."""
        assert self._file is not None
        here = self._file.stat().size
        if here > self.size:
            self._file.resize(0)
            here = 0
        self._hasher = hasher_of(self._file, here)
        self.offset = here

    def write(self, data: Sequence[bytes | memoryview]) -> int:
        """Append bytes, unless it was closed meanwhile; return how much is here now."""
        with in_local_words(self.target), self._busy:
            if self._file is None:
                return self.offset
            for piece in data:
                self._file.write_at(self.offset, piece)
                self._hasher.update(piece)
                self.offset += len(piece)
            return self.offset

    @property
    def content(self) -> bytes:
        """The content id of what is here."""
        return self._hasher.digest()

    def finish(self, content: bytes, mtime_ns: int, executable: bool, overwrite: bool) -> None:
        """Verify the whole and put it in place; raises CorruptContent, and removes it, if it is not that content.

        Raises `AlreadyThere` if something else took the name; then the part stays.
        """
        with in_local_words(self.target), self._busy:
            assert self._file is not None
            if self.content != content:
                self._close()
                self._disk.unlink(self._name)
                raise CorruptContent("What came is not what the server has; it is fetched anew.")
            if executable:
                self._file.set_mode(self._file.stat().mode | (self._file.stat().mode & 0o444) >> 2)
            self._file.set_mtime(mtime_ns)
            self._file.sync()
            self._close()
            put_in_place(self._disk, self._name, self.target, overwrite, self.target)
            self._disk.sync_folder(self.target[:-1])

    def close(self) -> None:
        """Let go of it; what is here stays."""
        with self._busy:
            if self._file is not None:
                self._close()
                if not self.offset:
                    self._disk.unlink(self._name)

    def drop(self) -> None:
        """Let go of it, and remove what is here."""
        with self._busy:
            if self._file is not None:
                self._close()
                self._disk.unlink(self._name)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def make_part(disk: Disk, target: Name, source: Source, size: int, old: OldParts) -> LocalPart:
    """Return the part of `target`, begun anew or gone on with; raises `NoSpace`.

    One that is begun anew takes the place of what is left of earlier states of that file.
    """
    with in_local_words(target):
        make_folders(disk, target[:-1])
        name = part_name(target, source)
        try:
            file = disk.open_part(name)
        except FileNotFoundError:
            old.make_way(name)
            file = disk.create(name)
        part = LocalPart(disk, target, name, file, size)
        try:
            part.recover()
            if disk.space().free - reserve(disk) < size - part.offset:
                shown = b"/".join(target).decode(errors="replace")
                raise NoSpace(f"There is not enough room here for {shown}: {size - part.offset:,} bytes are missing.")
        except BaseException:
            part.close()
            raise
        return part
