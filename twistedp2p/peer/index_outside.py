"""What an index looks like to somebody who must not change it: for a person who asks what is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from attrs import frozen

from twistedp2p.peer.index_file import has_sum_of_closing

__all__ = ["Seen", "look_at"]

_COPIED_BYTES = 256 * 1024 * 1024
"""An index that was not closed is looked at in a copy, if it is no larger than this."""


@frozen
class Seen:
    """An index from outside.

    Its size in bytes, the version of its schema (0: not known), what is `wrong` with it ("": nothing was found),
    whether a process has it `open`, and whether it was `closed`: one that was not is checked when a peer opens it.
    """

    size: int
    version: int = 0
    wrong: str = ""
    open: bool = False
    closed: bool = True


def look_at(path: str) -> Seen:
    """Look at the index at `path`; raises `OSError` if there is none. Blocks for seconds if it is large."""
    size = os.stat(path).st_size
    if not os.path.isfile(path):
        return Seen(size, wrong="it is no file")
    if _is_open(path):
        return Seen(size, open=True)
    log = path + "-wal"
    if not (os.path.exists(log) and os.path.getsize(log)):
        # Nobody writes to it, and it is complete in itself.
        seen = _checked(size, f"{Path(path).absolute().as_uri()}?immutable=1", closed=True)
        differs = not seen.wrong and has_sum_of_closing(path) is False
        return Seen(size, seen.version, "it is not what it was when it was closed") if differs else seen
    if size + os.path.getsize(log) > _COPIED_BYTES:
        return Seen(size, closed=False)
    with tempfile.TemporaryDirectory(prefix="twistedp2p-") as folder:
        copy = Path(folder) / "index"
        shutil.copyfile(path, copy)
        shutil.copyfile(log, f"{copy}-wal")
        return _checked(size, copy.as_uri(), closed=False)


def _is_open(path: str) -> bool:
    """Return whether another process has the lock that a peer has for as long as it runs."""
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        return "locked" in str(error)
    return False


def _checked(size: int, uri: str, closed: bool) -> Seen:
    version, wrong = 0, ""
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            wrong = "" if answer == "ok" else answer
    except sqlite3.DatabaseError as error:
        wrong = str(error)
    return Seen(size, version, wrong, closed=closed)
