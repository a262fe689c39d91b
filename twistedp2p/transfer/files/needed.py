"""How much of a file is still to come: what is here of it, under its name or in a part. Blocks: for worker threads."""

from __future__ import annotations

from twistedp2p.disk.seam import Disk, FileKind, Name, Stat
from twistedp2p.transfer.files.local import numbered_names, part_name, source_of
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.present import Taken

__all__ = ["bytes_to_come", "stat_here"]


def stat_here(disk: Disk, target: Name) -> Stat | None:
    """Return what is at a name, None if that is nothing, or can not be seen."""
    try:
        return disk.stat(target)
    except OSError:
        return None


def bytes_to_come(disk: Disk, target: Name, entry: FileEntry, here: Stat | None, *, server: bytes, taken: Taken) -> int:
    """Return how many bytes of a file will be written here, or less: what is as long as it may be that very file.

    `here` is what `stat_here` says of `target`, `server` what stands for the server, as `FilesClient.source` does, and
    `taken` what is done where another file is.
    """
    if here is None:
        return _rest(disk, target, entry, server)
    if here.kind is FileKind.FILE and here.size == entry.size:
        return 0
    if taken is Taken.OVERWRITE and here.kind is FileKind.FILE:
        return _rest(disk, target, entry, server)
    if taken is Taken.RENAME:
        for name in numbered_names(target):
            other = stat_here(disk, name)
            if other is None:
                return _rest(disk, name, entry, server)
            if other.kind is FileKind.FILE and other.size == entry.size:
                return 0
    return 0


def _rest(disk: Disk, target: Name, entry: FileEntry, server: bytes) -> int:
    """Return what a part lacks, all if there is none."""
    part = stat_here(disk, part_name(target, source_of(server, entry)))
    if part is None or part.kind is not FileKind.FILE or part.size > entry.size:
        return entry.size
    return entry.size - part.size
