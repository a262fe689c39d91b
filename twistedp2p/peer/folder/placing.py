"""Putting watches on folders, and what has to be looked up on the disk for that: runs in worker threads."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from attrs import frozen

from twistedp2p.disk.seam import Disk, FileKind, Name, OtherDevice
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.inotify import Notifier
from twistedp2p.peer.folder.names import DiskNames

__all__ = ["Placed", "learn_name", "place_watches"]

_FULL = (errno.ENOSPC, errno.ENOMEM)


@frozen
class Placed:
    """What came of placing a watch: its number, -1 if there is none; the folders in the folder, listed after that.

    `full`: the system allows no more watches. `again`: it is there, and may be watched later. Else a folder without a
    watch is gone, or another disk.
    """

    watch: int = -1
    folders: tuple[bytes, ...] = ()
    full: bool = False
    again: bool = False


def place_watches(notifier: Notifier, disk: Disk, folders: Iterable[Name]) -> list[Placed]:
    """Watch each of `folders`, and return what came of it, in order."""
    return [_place_watch(notifier, disk, folder) for folder in folders]


def _place_watch(notifier: Notifier, disk: Disk, folder: Name) -> Placed:
    try:
        watch = notifier.add(folder)
    except (FileNotFoundError, NotADirectoryError, OtherDevice):
        return Placed()
    except OSError as error:
        return Placed(full=error.errno in _FULL, again=True)
    try:
        entries = disk.entries(folder)
    except OSError:
        return Placed(watch)
    return Placed(watch, tuple(name for name, stat in entries if stat.kind is FileKind.FOLDER))


def learn_name(disk: Disk, names: DiskNames, path: RelPath, folder: Name, component: bytes) -> None:
    """Let `path` be called `component` on the disk, unless the name that it has had until now is there too."""
    try:
        disk.stat((*folder, names.component(path)))
    except FileNotFoundError:
        names.learn(path, component)
