"""Where fetched files go on this disk: parts beside their targets, verified, then renamed. Blocks: for worker threads.

A part is called `.NAME.tp2p-HASH.part`, where HASH stands for the server, the path and the state of the file there, and
its length says how much is here, in order: whoever fetches the same file again goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from itertools import groupby
from threading import Lock

from attrs import frozen
from blake3 import blake3

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, FileKind, Name, OpenFile
from twistedp2p.errors import AlreadyThere, CorruptContent, NoSpace, NoSuchFile, NotWritable, TwistedP2PError
from twistedp2p.transfer.chunking import content_id_of
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.on_disk import make_folders
from twistedp2p.transfer.files.uploads import reserve
from twistedp2p.transfer.hashing import hasher_of

__all__ = [
    "LocalPart",
    "Small",
    "flush",
    "free_name",
    "hash_of",
    "in_local_words",
    "make_local_folder",
    "make_part",
    "numbered_names",
    "part_name",
    "place_small",
    "sizes_of",
    "small_here",
    "source_of",
]


@contextlib.contextmanager
def in_local_words(name: Name) -> Iterator[None]:
    """Turn what this disk says into sentences."""
    shown = b"/".join(name).decode(errors="replace")
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The disk is full; there is no room for {shown}.") from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EINVAL, errno.ENAMETOOLONG):
            raise NoSuchFile(f"{shown} can not be used here ({error.strerror}).") from error
        if error.errno in (errno.EEXIST, errno.EISDIR):
            raise AlreadyThere(f"{shown} is there already.") from error
        raise NotWritable(f"{shown} can not be read or written here ({error.strerror}).") from error


def part_name(target: Name, source: bytes) -> Name:
    """Return the name of the part of `target`; `source` stands for what is fetched."""
    mark = f".tp2p-{blake3(source).hexdigest(8)}.part".encode()
    name = b"." + target[-1] + mark
    if len(name) > limits.COMPONENT_BYTES:
        name = mark
    return (*target[:-1], name)


def sizes_of(disk: Disk, targets: Sequence[Name]) -> list[int | None]:
    """Return the size of the file at each target, None where nothing is; -1 for what is no file."""
    found: list[int | None] = []
    for folder, some in groupby(targets, key=lambda target: target[:-1]):
        together = list(some)
        try:
            with contextlib.closing(disk.enter(folder)) as inside:
                found += [_size_of(inside, target[-1:]) for target in together]
        except OSError:
            found += [None] * len(together)
    return found


def _size_of(disk: Disk, target: Name) -> int | None:
    try:
        stat = disk.stat(target)
    except OSError:
        return None
    return stat.size if stat.kind is FileKind.FILE else -1


def small_here(disk: Disk, files: Sequence[tuple[Name, int]]) -> list[tuple[int | None, bytes | None]]:
    """Return for each target what `sizes_of` does, and the content id if that is the size that is given with it."""
    found: list[tuple[int | None, bytes | None]] = []
    for (target, wanted), size in zip(files, sizes_of(disk, [target for target, _ in files]), strict=True):
        content = None
        if size == wanted:
            with contextlib.suppress(TwistedP2PError):  # whoever needs it asks again, and hears why
                content = hash_of(disk, target)
        found.append((size, content))
    return found


def hash_of(disk: Disk, target: Name) -> bytes:
    """Return the content id of a file."""
    with in_local_words(target), disk.open(target) as opened:
        return hasher_of(opened, opened.stat().size).digest()


def source_of(server: bytes, entry: FileEntry) -> bytes:
    """Return what stands for one state of a file of a server, which `FilesClient.source` names."""
    return server + entry.path.encode() + b"\0" + entry.token


def numbered_names(target: Name) -> Iterator[Name]:
    """Yield NAME (2), NAME (3), ... up to a thousand."""
    stem, dot, extension = target[-1].rpartition(b".")
    if not stem:
        stem, dot, extension = target[-1], b"", b""
    for number in range(2, 1000):
        mark = b" (%d)" % number
        room = limits.COMPONENT_BYTES - len(mark) - len(dot) - len(extension)
        cut = stem[: max(room, 1)].decode(errors="ignore").encode()
        yield (*target[:-1], cut + mark + dot + extension)


def free_name(disk: Disk, target: Name, size: int, content: bytes) -> tuple[Name, bool]:
    """Return the first of NAME (2), NAME (3), ... that is free, or has that very content: then True comes with it.

    Raises `AlreadyThere` if none of the first thousand is.
    """
    for name in numbered_names(target):
        (here,) = sizes_of(disk, [name])
        if here is None:
            return name, False
        if here == size and hash_of(disk, name) == content:
            return name, True
    raise AlreadyThere(f"{target[-1].decode(errors='replace')} is there a thousand times; make room for it.")


def make_local_folder(disk: Disk, name: Name) -> None:
    """Make a folder and those above it, as far as they are missing."""
    with in_local_words(name):
        make_folders(disk, name)


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
            joined = b"".join(data)
            self._file.write_at(self.offset, joined)
            self._hasher.update(joined)
            self.offset += len(joined)
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


def make_part(disk: Disk, target: Name, source: bytes, size: int) -> LocalPart:
    """Return the part of `target`, begun anew or gone on with; raises `NoSpace`."""
    with in_local_words(target):
        make_folders(disk, target[:-1])
        name = part_name(target, source)
        try:
            file = disk.open_part(name)
        except FileNotFoundError:
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


@frozen
class Small:
    """A small file that came whole."""

    target: Name
    content: bytes
    """The content id that it should have."""
    data: bytes
    mtime_ns: int
    executable: bool


def flush(disk: Disk) -> None:
    """Return when what `place_small` placed is on stable storage."""
    try:
        disk.sync_all()
    except OSError as error:
        why = error.strerror
        raise NotWritable(f"The disk could not store all that was fetched ({why}); look after it.") from error


def place_small(disk: Disk, files: Sequence[Small], overwrite: bool) -> list[TwistedP2PError | None]:
    """Verify small files, write them and put them in place; return for each why that was not possible, or None.

    They are not flushed one by one: `Disk.sync_all` does it for all.
    """
    outcomes: list[TwistedP2PError | None] = []
    for folder, some in groupby(files, key=lambda file: file.target[:-1]):
        together = list(some)
        try:
            with in_local_words(together[0].target):
                make_folders(disk, folder)
                inside = disk.enter(folder)
        except TwistedP2PError as error:
            outcomes += [error] * len(together)
            continue
        with contextlib.closing(inside):
            outcomes += [_place(inside, file, overwrite) for file in together]
    return outcomes


def _place(folder: Disk, file: Small, overwrite: bool) -> TwistedP2PError | None:
    """Write a small file into its folder; return why that is not possible, or None."""
    try:
        with in_local_words(file.target):
            _write_small(folder, file, overwrite)
    except TwistedP2PError as error:
        return error
    return None


def _write_small(folder: Disk, file: Small, overwrite: bool) -> None:
    if content_id_of(file.data) != file.content:
        raise CorruptContent("What came is not what the server has.")
    target = file.target[-1:]
    name = part_name(target, file.content)
    mode = 0o777 if file.executable else 0o666
    try:
        opened = folder.create(name, mode)
    except FileExistsError:  # left by an earlier try
        folder.unlink(name)
        opened = folder.create(name, mode)
    with opened:
        opened.write_at(0, file.data)
        opened.set_mtime(file.mtime_ns)
    try:
        put_in_place(folder, name, target, overwrite, file.target)
    except AlreadyThere:
        folder.unlink(name)
        raise


def put_in_place(disk: Disk, name: Name, target: Name, overwrite: bool, shown: Name) -> None:
    """Give a whole file its name; raises `AlreadyThere`, of `shown`, unless it is free or a file to be replaced."""
    try:
        disk.rename(name, target)
    except FileExistsError as error:
        if not overwrite or disk.stat(target).kind is not FileKind.FILE:
            there = b"/".join(shown).decode(errors="replace")
            raise AlreadyThere(f"{there} is there already with other content; --overwrite replaces it.") from error
        disk.replace(name, target)
