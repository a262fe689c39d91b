"""Serving a folder that can only be read: its index is a copy, in the person's state folder meanwhile. Blocks.

Others go on to fetch what is in the folder, and what changes in it is shared. What others change waits until it can be
written to again: then the copy takes the place of the index. If that never happens, as when this process is killed, the
index in the folder is an old one, and the peer finds out from what others know, as with a restored backup.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

from twistedp2p.disk.seam import Abilities

__all__ = ["ABILITIES", "borrow", "drop", "give_back", "why_unwritable"]

ABILITIES = Abilities(
    exchange=False,
    noreplace=False,
    hard_links=False,
    case_sensitive=True,
    normalises=False,
    mtime_granularity_ns=1,
)
"""What is taken for true of a file system on which nothing can be tried out."""
_INDEX = "index.sqlite"
_LOGS = ("-wal", "-journal")
_COMPANIONS = (*_LOGS, "-shm", "-sum")


def why_unwritable(state: Path) -> OSError | None:
    """Return why nothing can be made in the state folder `state`, as far as that is a matter of permission.

    Another error than that of a read-only disk, or of a missing permission, says nothing of the folder.
    """
    try:
        with tempfile.TemporaryFile(dir=state):
            return None
    except OSError as error:
        return error if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else None


def borrow(state: Path, place: Path) -> Path:
    """Copy the index of the state folder `state` into the private folder `place`; return the path of the copy.

    What an earlier process left there goes. Nobody may write to the index meanwhile. Raises `OSError`.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)
    copy = place / _INDEX
    for end in ("", *_LOGS, "-sum"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(state / f"{_INDEX}{end}", f"{copy}{end}")
    return copy


def give_back(copy: Path, state: Path) -> None:
    """Let the copy, closed, take the place of the index of `state`, durably; raises `OSError`, and the copy stays.

    The old log goes first: beside another index it would be taken for that one's.
    """
    index = state / _INDEX
    handle, new = tempfile.mkstemp(prefix=f".{_INDEX}.", dir=state)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as target, copy.open("rb") as source:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        for end in _COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{index}{end}")
        os.replace(new, index)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    drop(copy)


def drop(copy: Path) -> None:
    """Remove the copy, closed, and its folder."""
    shutil.rmtree(copy.parent, ignore_errors=True)
