"""What this package asks of a file system: the seam that a real and a simulated disk stand behind.

A disk is one folder and what is below it. A name is a tuple of components, bytes as the disk has them; the
empty tuple is the folder itself. Every verb finds the parent of a name component by component and follows
no symbolic link on the way, so no name leads out of the folder, also while somebody swaps folders for links.

Failures are `OSError`. Every verb may raise, beside what it names itself:

- `FileNotFoundError`: the name, or a folder above it, is not there;
- `NotADirectoryError`: something above the name is a file or a link;
- `OtherDevice`: something above the name is another file system, mounted there;
- any other `OSError` (no permission, no space, a failing disk): nothing was changed.

Every verb blocks: it is for worker threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol

from attrs import frozen

__all__ = [
    "Abilities",
    "Disk",
    "FileKind",
    "Lock",
    "Name",
    "NotRegular",
    "OpenFile",
    "OtherDevice",
    "Space",
    "Stat",
]

Name = tuple[bytes, ...]


class FileKind(Enum):
    """What lies at a name."""

    FILE = "a file"
    FOLDER = "a folder"
    SYMLINK = "a symbolic link"
    OTHER = "a device, socket or pipe"


@frozen
class Stat:
    """What the disk says of a name without following it: size in bytes, mtime in ns, the permission bits."""

    kind: FileKind
    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int


@frozen
class Space:
    """Room on the file system, bytes: `free` for this process, `total` in all."""

    free: int
    total: int


@frozen
class Abilities:
    """What a file system can do, as tried out on it by `Disk.probe`.

    `exchange`: two names swap in one step; `noreplace`: a rename that never overwrites;
    `hard_links`: a second name for a file; `case_sensitive`: ``a`` and ``A`` are two names;
    `normalises`: a name is given back in another Unicode form than it was made with;
    `mtime_granularity_ns`: mtimes are kept to a multiple of this.
    """

    exchange: bool
    noreplace: bool
    hard_links: bool
    case_sensitive: bool
    normalises: bool
    mtime_granularity_ns: int


class OtherDevice(OSError):
    """A name that lies on another file system than the folder; what is mounted inside is not part of it."""

    def __init__(self, name: bytes) -> None:
        super().__init__(errno.EXDEV, os.strerror(errno.EXDEV), name)


class NotRegular(OSError):
    """A name that was to be opened as a file, but is what `kind` says."""

    def __init__(self, name: bytes, kind: FileKind) -> None:
        super().__init__(errno.EINVAL, f"Not a file but {kind.value}", name)
        self.kind = kind


class OpenFile(Protocol):
    """A regular file that is open; renaming it changes nothing for the holder. Close it, or use ``with``."""

    def stat(self) -> Stat:
        """Return what the disk says of this file now."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`; fewer only where the file ends."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of `data` at `offset`; what lies between the old end and `offset` reads as zeros."""

    def copy_from(self, source: OpenFile, source_offset: int, offset: int, size: int) -> int:
        """Copy a range of `source` to `offset` here, sharing blocks where the disk can; return how many bytes."""

    def resize(self, size: int) -> None:
        """Make the file `size` bytes long; what is added reads as zeros."""

    def set_mode(self, mode: int) -> None:
        """Set the permission bits."""

    def set_mtime(self, mtime_ns: int) -> None:
        """Set the mtime, ns; the disk keeps it as exactly as it can."""

    def sync(self) -> None:
        """Return when the content is on stable storage. After an error the file must be given up."""

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""

    def __enter__(self) -> OpenFile:
        """Return this file."""

    def __exit__(self, *_: object) -> None:
        """Close it."""


class Lock(Protocol):
    """A lock that this process holds until it ends or releases it."""

    def release(self) -> None:
        """Let others take the lock; a second time does nothing."""


class Disk(Protocol):
    """One folder and what is below it."""

    def enter(self, folder: Name) -> Disk:
        """Return a folder as a disk of its own, to be closed: it is looked up once, however many names in it follow.

        It stays that folder, whatever becomes of its name meanwhile.
        """

    def in_place(self) -> bool:
        """Return whether the path by which the folder was opened still leads to it: not moved, not unmounted."""

    def stat(self, name: Name) -> Stat:
        """Return what lies at `name`."""

    def entries(self, folder: Name) -> list[tuple[bytes, Stat]]:
        """Return all that is in `folder`, sorted by name: complete, or an error. Mount points are included."""

    def names(self, folder: Name, after: bytes, most: int, form: Callable[[bytes], bytes] = bytes) -> list[bytes]:
        """Return the first `most` names in `folder` that come after the name `after`: for folders of any length.

        They are sorted by their forms; of several of one form the name that is its own form comes first. `after` need
        not be there; b"" comes before all.
        """

    def stats(self, folder: Name, names: Sequence[bytes]) -> list[tuple[bytes, Stat]]:
        """Return what lies at these names of `folder`, in their order; those that are not there are left out."""

    def open(self, name: Name) -> OpenFile:
        """Open a file for reading; raises `NotRegular` for anything else, which is not touched."""

    def open_part(self, name: Name) -> OpenFile:
        """Open a file of our own for reading and writing; raises `NotRegular`."""

    def create(self, name: Name, mode: int = 0o666) -> OpenFile:
        """Make a file for reading and writing, less the umask; raises `FileExistsError`."""

    def make_folder(self, name: Name, mode: int = 0o777) -> None:
        """Make one folder, less the umask; raises `FileExistsError`."""

    def remove_folder(self, name: Name) -> None:
        """Remove an empty folder; raises `OSError` (ENOTEMPTY) if it is not."""

    def unlink(self, name: Name) -> None:
        """Remove a file for good: for files of our own only."""

    def rename(self, source: Name, target: Name) -> None:
        """Rename; raises `FileExistsError` when there is anything at `target`, which is never replaced."""

    def replace(self, source: Name, target: Name) -> None:
        """Rename, and let what is at `target` be gone: only for what a person asked to overwrite."""

    def exchange(self, one: Name, other: Name) -> None:
        """Swap what lies at two names in one step. Only where `Abilities.exchange`."""

    def link(self, source: Name, target: Name) -> None:
        """Give a file a second name; raises `FileExistsError`. Only where `Abilities.hard_links`."""

    def sync_folder(self, folder: Name) -> None:
        """Return when the names in `folder` are on stable storage."""

    def sync_all(self) -> None:
        """Return when everything written to this file system is on stable storage."""

    def space(self) -> Space:
        """Return how much room there is."""

    def now_ns(self) -> int:
        """Return the time by which this disk stamps its files, ns since 1970: only to be compared with an mtime."""

    def lock(self, name: Name) -> Lock:
        """Lock the file `name`, made if missing; raises `BlockingIOError` while another process has it."""

    def probe(self, scratch: Name) -> Abilities:
        """Try out in the folder `scratch` what this file system can do; leaves nothing behind."""

    def close(self) -> None:
        """Let go of the folder."""
