"""The files of an index, apart from what SQLite does in them: what lies in their place, and whether it is still ours.

An index that was closed leaves the hash of its file beside it, and the next start compares: SQLite keeps no checksum
of its own, so a changed byte in the middle of a record would pass for the record. The hash goes before the
first write. After a kill there is none, and the index is checked by what it says (`index_check`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from blake3 import blake3

from twistedp2p.errors import IndexUnusable
from twistedp2p.home import write_private

__all__ = ["IndexDamaged", "forget_sum", "has_sum_of_closing", "is_as_closed", "note_sum", "set_aside"]

_COMPANIONS = ("-wal", "-shm", "-journal", "-sum")
_LOGS = ("-wal", "-journal")
_SHORTEST = 512
"""The shortest page of SQLite: what is shorter it takes for nothing, and writes over it."""
_READ_BYTES = 1024 * 1024


class IndexDamaged(IndexUnusable):
    """The file is there but is not (any more) an index; it can be set aside and a new one begun."""


def is_as_closed(path: str) -> bool:
    """Return whether the index at `path` is, byte for byte, what was closed last; False if nobody can tell.

    A log of changes beside such an index is of another one, and is set aside before SQLite takes it in.
    Raises `IndexDamaged` if it is not what was closed, or no file at all.
    """
    try:
        found = os.stat(path)
    except OSError:
        found = None
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise IndexDamaged(f"The index {path} is not a file.")
    if found is None or not found.st_size:
        if any(_size(path + log) for log in _LOGS):
            raise IndexDamaged(f"The index {path} is gone, and a log of its last changes is left.")
        return False
    if found.st_size < _SHORTEST:
        raise IndexDamaged(f"The index {path} is cut off.")
    as_closed = has_sum_of_closing(path)
    if as_closed is None:
        return False
    if not as_closed:
        raise IndexDamaged(f"The index {path} is not what it was when it was closed.")
    for log in _LOGS:
        if _size(path + log):
            set_aside(path + log)
    return True


def has_sum_of_closing(path: str) -> bool | None:
    """Return whether the file at `path` has the hash that was left when it was closed; None if none was left."""
    try:
        with open(path + "-sum", "rb") as kept:
            return kept.read(256).decode("ascii", "replace").strip() == _sum(path)
    except OSError:
        return None


def note_sum(path: str) -> None:
    """Note the hash of the index at `path`, which is closed: `is_as_closed` holds from now on."""
    with contextlib.suppress(OSError):
        if not any(_size(path + log) for log in _LOGS):
            write_private(Path(path + "-sum"), f"{_sum(path)}\n".encode())


def forget_sum(path: str) -> None:
    """Let nobody take the index at `path` for what was closed: it is about to change. Durable; raises `OSError`."""
    try:
        os.unlink(path + "-sum")
    except FileNotFoundError:
        return
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def set_aside(path: str) -> str:
    """Rename the index at `path`, whatever it is, with its companions, and return its new name.

    Nothing is overwritten; what is not there is left out. Raises `OSError`.
    """
    number = 1
    while any(os.path.lexists(f"{path}.damaged-{number}{suffix}") for suffix in ("", *_COMPANIONS)):
        number += 1
    aside = f"{path}.damaged-{number}"
    # The index first: a log without its index can not be taken for anything else, an index without its log can.
    for suffix in ("", *_COMPANIONS):
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    return aside


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _sum(path: str) -> str:
    hasher = blake3()
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
    return hasher.hexdigest()
