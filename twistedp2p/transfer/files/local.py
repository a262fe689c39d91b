"""Where fetched files go on this disk: their names, what has them already, and what the disk says in words. Blocks.

A part is called `.NAME.tp2p-FILE-STATE.part`, where FILE stands for the server, the path there and the name here, and
STATE for the state of the file there. Its length says how much is here, in order: whoever fetches the same file again
goes on from there. Of one FILE every other STATE is of no use any more, see `old_parts`.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen
from blake3 import blake3

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, FileKind, Name
from twistedp2p.errors import AlreadyThere, NoSpace, NoSuchFile, NotWritable
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.on_disk import make_folders
from twistedp2p.transfer.hashing import hasher_of

__all__ = [
    "Source",
    "free_name",
    "hash_of",
    "in_local_words",
    "in_the_way",
    "make_local_folder",
    "mark_of",
    "numbered_names",
    "part_name",
    "put_in_place",
    "sizes_of",
    "source_of",
]

_PART = re.compile(rb"\.tp2p-([0-9a-f]{16})-[0-9a-f]{16}\.part\Z")


@frozen
class Source:
    """One state of a file of a server."""

    file: bytes
    """What stands for the server and the path there."""
    state: bytes


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


def part_name(target: Name, source: Source) -> Name:
    """Return the name of the part of `target`; `source` is what is fetched."""
    file = blake3(target[-1] + b"\0" + source.file).hexdigest(8)
    mark = f".tp2p-{file}-{blake3(source.state).hexdigest(8)}.part".encode()
    name = b"." + target[-1] + mark
    if len(name) > limits.COMPONENT_BYTES:
        name = mark
    return (*target[:-1], name)


def mark_of(component: bytes) -> bytes | None:
    """Return what the parts of one file of one server, for one target, have in common; None if it is no part."""
    found = _PART.search(component) if component.startswith(b".") else None
    return None if found is None else found[1]


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


def hash_of(disk: Disk, target: Name) -> bytes:
    """Return the content id of a file."""
    with in_local_words(target), disk.open(target) as opened:
        return hasher_of(opened, opened.stat().size).digest()


def source_of(server: bytes, entry: FileEntry) -> Source:
    """Return what is listed, as a state of a file of a server, which `FilesClient.source` names."""
    return Source(server + b"\0" + entry.path.encode(), entry.token)


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


def in_the_way(shown: Name, is_file: bool) -> AlreadyThere:
    """Return what to say when the name of a file is taken: by another file, or by what nobody replaces."""
    there = b"/".join(shown).decode(errors="replace")
    if is_file:
        return AlreadyThere(f"{there} is there already with other content; --overwrite replaces it.")
    return AlreadyThere(f"{there} is there already, and is no file; move it away, or fetch to another folder.")


def put_in_place(disk: Disk, name: Name, target: Name, overwrite: bool, shown: Name) -> None:
    """Give a whole file its name; raises `AlreadyThere`, of `shown`, unless it is free or a file to be replaced."""
    try:
        disk.rename(name, target)
    except FileExistsError as error:
        is_file = disk.stat(target).kind is FileKind.FILE
        if not (overwrite and is_file):
            raise in_the_way(shown, is_file) from error
        disk.replace(name, target)
