"""Linux's inotify as plain values: a seam to the kernel, and the decoding of what is read from it.

A binding of our own, because the usual library tells nobody of an overflow, delays what follows a move out of the
tree by half a second, and wakes for the state folder too. See inotify(7).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

from twistedp2p.disk import syscalls
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Name
from twistedp2p.limits import FULL_SCAN

__all__ = [
    "ATTRIB",
    "CLOSE_WRITE",
    "CREATE",
    "DELETE",
    "DELETE_SELF",
    "IGNORED",
    "ISDIR",
    "MODIFY",
    "MOVED_FROM",
    "MOVED_TO",
    "MOVE_SELF",
    "Q_OVERFLOW",
    "UNMOUNT",
    "Event",
    "Notifier",
    "RealNotifier",
    "decode",
    "no_queue",
    "no_watches",
]

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000
EXCL_UNLINK = 0x4000000
ISDIR = 0x40000000

_MASK = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
    | ONLYDIR | EXCL_UNLINK
)  # fmt: skip
_HEADER = struct.Struct("=iIII")
_BUFFER_BYTES = 256 * 1024


@frozen
class Event:
    """One event: the number of the watch, what happened, the number that a rename's two halves share, the name."""

    watch: int
    mask: int
    cookie: int
    name: bytes


def decode(buffer: bytes) -> Iterator[Event]:
    """Yield the events in `buffer`, which the kernel fills with whole events only."""
    offset = 0
    while offset + _HEADER.size <= len(buffer):
        watch, mask, cookie, length = _HEADER.unpack_from(buffer, offset)
        offset += _HEADER.size
        yield Event(watch, mask, cookie, buffer[offset : offset + length].rstrip(b"\0"))
        offset += length


_MEANWHILE = f"until then only a scan sees them, every {FULL_SCAN / 60:.0f} minutes"


def no_watches() -> str:
    """Return what to tell a person when the system allows no more watches."""
    return (
        "The system lets no more folders be watched, so changes in some of them are not seen at once: raise "
        f"fs.inotify.max_user_watches with sysctl, and it goes on by itself; {_MEANWHILE}."
    )


def no_queue(error: OSError) -> str:
    """Return what to tell a person when the system gives no queue of events at all."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            "The system lets this user watch nothing more, so changes in the folder are not seen at once: raise "
            "fs.inotify.max_user_instances with sysctl, or the limit of open files (ulimit -n), and it goes on by "
            f"itself; {_MEANWHILE}."
        )
    return f"The folder can not be watched for changes ({error.strerror}): {_MEANWHILE}."


class Notifier(Protocol):
    """One queue of events of the kernel."""

    def fileno(self) -> int:
        """Return what to wait on for events."""

    def read(self) -> bytes:
        """Return events for `decode`, b"" if there are none now. Never blocks."""

    def add(self, folder: Name) -> int:
        """Watch a folder; return the number of the watch, one and the same for the same folder. May block.

        Raises `OSError`: ENOSPC or ENOMEM when the system allows no more watches, else that it is no folder now.
        """

    def remove(self, watch: int) -> None:
        """End a watch; one that has ended already is no error."""

    def close(self) -> None:
        """Let go of the queue."""


class RealNotifier:
    """inotify on the folders of `disk`; raises `OSError` (EMFILE) if the system allows no more queues."""

    def __init__(self, disk: RealDisk) -> None:
        self._disk = disk
        self._fd = syscalls.inotify_init1()

    def fileno(self) -> int:
        """See `Notifier.fileno`."""
        return self._fd

    def read(self) -> bytes:
        """See `Notifier.read`."""
        try:
            return os.read(self._fd, _BUFFER_BYTES)
        except BlockingIOError:
            return b""

    def add(self, folder: Name) -> int:
        """See `Notifier.add`."""
        # By the descriptor of a walk, as everything else: a path could lead through a link out of the folder.
        fd = self._disk.open_folder(folder)
        try:
            return syscalls.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, _MASK)
        finally:
            os.close(fd)

    def remove(self, watch: int) -> None:
        """See `Notifier.remove`."""
        try:
            syscalls.inotify_rm_watch(self._fd, watch)
        except OSError:
            return

    def close(self) -> None:
        """See `Notifier.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
