"""System calls that Python's `os` does not have, by ctypes: renameat2, syncfs and inotify.

Each raises `OSError` as the functions of `os` do; where the C library lacks one, with ENOSYS.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

__all__ = [
    "RENAME_EXCHANGE",
    "RENAME_NOREPLACE",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    "renameat2",
    "syncfs",
]

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, *argtypes: Any) -> Callable[..., int]:
    """Return the C function `name`, made to raise `OSError`; with ENOSYS if there is none."""
    found = getattr(_libc, name, None)
    if found is None:

        def missing(*_: Any) -> int:
            raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")

        return missing
    found.argtypes = argtypes
    found.restype = ctypes.c_int

    def call(*args: Any) -> int:
        result: int = found(*args)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), *(arg for arg in args if isinstance(arg, bytes)))
        return result

    return call


_renameat2 = _function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_syncfs = _function("syncfs", ctypes.c_int)
_inotify_init1 = _function("inotify_init1", ctypes.c_int)
_inotify_add_watch = _function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_inotify_rm_watch = _function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)


def renameat2(source_folder: int, source: bytes, target_folder: int, target: bytes, flags: int) -> None:
    """Rename `source` in one open folder to `target` in another; `flags` as in renameat2(2)."""
    try:
        _renameat2(source_folder, source, target_folder, target, flags)
    except OSError as error:
        raise OSError(error.errno, error.strerror, source, None, target) from None


def syncfs(fd: int) -> None:
    """Return when all of the file system that `fd` is on is stored: syncfs(2), or sync(2) where there is none."""
    try:
        _syncfs(fd)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        os.sync()


def inotify_init1() -> int:
    """Return a new inotify instance, non-blocking and closed on exec."""
    return _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)


def inotify_add_watch(fd: int, path: bytes, mask: int) -> int:
    """Watch `path`; return the number of the watch, which is the same for the same inode."""
    return _inotify_add_watch(fd, path, mask)


def inotify_rm_watch(fd: int, watch: int) -> None:
    """End a watch."""
    _inotify_rm_watch(fd, watch)
