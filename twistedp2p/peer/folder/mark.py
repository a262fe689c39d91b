"""The state folder inside a shared folder, and the mark in it which says that the folder is really there.

No mark, no sync: a disk that is not mounted is not a million deletions.
"""

from __future__ import annotations

import contextlib

from twistedp2p.disk.seam import Disk, FileKind, Lock, Name
from twistedp2p.errors import FolderBusy, FolderUnusable

__all__ = ["MARK", "PARTS", "STATE", "TRASH", "create", "has_mark", "lock", "prepare", "require"]

STATE: Name = (b".twistedp2p",)
"""The state folder: private, never shared, never watched."""
PARTS: Name = (*STATE, b"parts")
"""Where contents are assembled."""
TRASH: Name = (*STATE, b"trash")
"""Where displaced and deleted files are kept."""
MARK: Name = (*STATE, b"mark")
_NEW_MARK: Name = (*STATE, b"mark.new")
_LOCK: Name = (*STATE, b"lock")
_PRIVATE = 0o700
_MARK_BYTES = 4096


def prepare(disk: Disk) -> None:
    """Make the state folder and the folders in it, where they are missing; raises `FolderUnusable`."""
    for name in (STATE, PARTS, TRASH):
        try:
            with contextlib.suppress(FileExistsError):
                disk.make_folder(name, _PRIVATE)
            kind = disk.stat(name).kind
        except OSError as error:
            raise FolderUnusable(
                f"The folder can not be used: {_shown(name)} can not be made in it ({error.strerror})."
            ) from error
        if kind is not FileKind.FOLDER:
            raise FolderUnusable(f"{_shown(name)} is {kind.value} where a folder must be: move it away.")


def create(disk: Disk, content: bytes) -> None:
    """Put the mark into the folder, at most 4,096 bytes; a mark that is there is kept and must be the same.

    Raises:
        FolderUnusable: the folder can not be written to, or has another mark.
    """
    prepare(disk)
    try:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(_NEW_MARK)
        with disk.create(_NEW_MARK, 0o600) as mark:
            mark.write_at(0, content)
            mark.sync()
        try:
            disk.rename(_NEW_MARK, MARK)
        except FileExistsError:
            disk.unlink(_NEW_MARK)
        disk.sync_folder(STATE)
    except OSError as error:
        raise FolderUnusable(f"The folder can not be written to ({error.strerror}).") from error
    if require(disk) != content:
        raise FolderUnusable("The folder is part of another share already: leave that first, or use another folder.")


def has_mark(disk: Disk) -> bool:
    """Return whether the folder has a mark, that is, was made part of a share."""
    try:
        return disk.stat(MARK).kind is FileKind.FILE
    except OSError:
        return False


def require(disk: Disk) -> bytes:
    """Return the mark; raises `FolderUnusable` if it is missing, or the folder is not where it was."""
    if not disk.in_place():
        raise FolderUnusable("The folder was moved, removed or unmounted: nothing is synchronised until it is back.")
    try:
        with disk.open(MARK) as mark:
            return mark.read_at(0, _MARK_BYTES)
    except FileNotFoundError:
        raise FolderUnusable(
            f"The mark {_shown(MARK)} is missing: is the disk of the folder not mounted? Nothing is synchronised."
        ) from None
    except OSError as error:
        raise FolderUnusable(f"The mark {_shown(MARK)} can not be read ({error.strerror}).") from error


def lock(disk: Disk) -> Lock:
    """Keep other processes from serving this folder, until the lock is released or this process ends.

    Raises:
        FolderBusy: another process has it.
        FolderUnusable: the state folder is missing or can not be written to.
    """
    try:
        return disk.lock(_LOCK)
    except BlockingIOError:
        raise FolderBusy("Another process serves this folder: stop that one first, or let it go on.") from None
    except OSError as error:
        raise FolderUnusable(f"The folder can not be locked ({error.strerror}).") from error


def _shown(name: Name) -> str:
    return b"/".join(name).decode()
