"""The file of the index: one SQLite database, its tables, how it is opened, checked, and brought up to date.

Only this module, and `index_outside`, talk to `sqlite3`. Every call takes one lock, so that threads may share a
`Database`; long reads are done in slices by the caller, so that nobody waits for long.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

from twistedp2p.errors import FolderBusy, IndexUnusable, NoSpace
from twistedp2p.peer.index_file import IndexDamaged, forget_sum, is_as_closed, note_sum, set_aside

__all__ = ["STEPS", "Contradiction", "Database", "Step"]

Step = Callable[[sqlite3.Connection], None]
"""Brings the tables from one version of the schema to the next, inside a transaction."""

Contradiction = sqlite3.IntegrityError
"""A change that the tables can not take: a bug of ours, or they are not what was written."""

_SIGNS_OF_DAMAGE = ("malformed", "not decode", "no such table", "no such column")
"""In texts of errors that SQLite gives for other reasons too."""
_APPLICATION = 0x74703270  # "tp2p": says whose database this is
_CACHE_KIB = 16 * 1024
_WAL_BYTES = 16 * 1024 * 1024

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE records (
    path TEXT PRIMARY KEY, register BLOB NOT NULL, key BLOB NOT NULL,
    kind INTEGER NOT NULL, size INTEGER NOT NULL, siblings INTEGER NOT NULL,
    holds INTEGER NOT NULL, settled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX unsettled ON records (path) WHERE settled = 0;
CREATE TABLE items (key BLOB PRIMARY KEY, path TEXT NOT NULL, number INTEGER, life INTEGER) WITHOUT ROWID;
CREATE TABLE needed (
    content BLOB NOT NULL, path TEXT NOT NULL, absent INTEGER NOT NULL, PRIMARY KEY (content, path)
) WITHOUT ROWID;
CREATE TABLE rows (
    path TEXT PRIMARY KEY, rid BLOB, n INTEGER, kind INTEGER NOT NULL, content BLOB NOT NULL,
    executable INTEGER NOT NULL, device, inode, size, mtime_ns, was_executable INTEGER
) WITHOUT ROWID;
CREATE INDEX rows_by_content ON rows (content);
CREATE INDEX rows_by_inode ON rows (inode, device);
CREATE TABLE intents (path TEXT PRIMARY KEY, intent BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE trash (
    name TEXT PRIMARY KEY, path TEXT NOT NULL, content BLOB NOT NULL, size INTEGER NOT NULL, time_ns,
    kept INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX trash_by_content ON trash (content);
CREATE TABLE manifests (id BLOB PRIMARY KEY, manifest BLOB NOT NULL);
"""


def _first_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        connection.execute(statement)


def _ignored_records(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE records ADD COLUMN ignored INTEGER NOT NULL DEFAULT 0")


STEPS: tuple[Step, ...] = (_first_tables, _ignored_records)
"""One for each version of the schema; a database of version n has had the first n of them."""


class Database:
    """One open connection, shared by threads under a lock.

    `durable`: a commit is on the disk when it returns; otherwise it survives the end of the process, and a power
    cut may undo the last commits, but damages nothing. `steps` are the versions of the schema.

    Once damage was met, every call raises `IndexDamaged`, until `renew` sets the file aside and begins an empty one.
    `proven`: the file was what had been closed. Whoever opened it says `sound` when it has checked what it reads:
    only then it may count as proven the next time.

    Raises `IndexDamaged` if the file is not a sound index, `FolderBusy` if another process has it, `IndexUnusable` if
    it can not be opened or was made by a later version.
    """

    def __init__(self, path: str, *, durable: bool, steps: Sequence[Step] = STEPS) -> None:
        self.lock = RLock()
        self.proven = False
        self.sound = False
        self.damage = ""
        self._path = path
        self._durable = durable
        self._steps = steps
        self._inode: tuple[int, int] | None = None
        self._has_log = False
        self._aside = False
        self._depth = 0
        self._doomed = False
        self._open()

    def _open(self) -> None:
        self._inode, self._has_log = None, False
        self.proven = is_as_closed(self._path)
        try:
            self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            self._prepare(self._durable)
            self._bring_up_to_date(self._steps)
            self._inode = self._inode_now()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self._error(error) from error
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, durable: bool) -> None:
        run = self._connection.execute
        # Nobody else reads this file: holding its lock saves two system calls a read.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL").fetchone()
        run(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        run(f"PRAGMA fullfsync = {int(durable)}")  # macOS: fsync alone does not flush the drive
        run(f"PRAGMA checkpoint_fullfsync = {int(durable)}")
        run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        run(f"PRAGMA cache_size = -{_CACHE_KIB}")
        run("PRAGMA temp_store = MEMORY")
        # Unlike quick_check it compares the tables with their indexes, so that a path or a content that changed shows.
        answer = run("PRAGMA integrity_check(1)").fetchone()[0]
        if answer != "ok":
            raise IndexDamaged(f"The index {self._path} is damaged ({answer}).")

    def _bring_up_to_date(self, steps: Sequence[Step]) -> None:
        run = self._connection.execute
        version = run("PRAGMA user_version").fetchone()[0]
        owner = run("PRAGMA application_id").fetchone()[0]
        empty = run("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if owner != _APPLICATION and not empty:
            raise IndexDamaged(f"The file {self._path} is a database, but not an index.")
        if version > len(steps):
            raise IndexUnusable(
                f"The index {self._path} was made by a later version of twistedp2p ({version}; this one knows "
                f"{len(steps)}): update this one."
            )
        try:
            forget_sum(self._path)
        except OSError as error:
            raise IndexUnusable(f"The index {self._path} can not be opened ({error.strerror}).") from error
        if version == len(steps):
            return
        with self.transaction():
            for step in steps[version:]:
                step(self._connection)
            run(f"PRAGMA application_id = {_APPLICATION}")
            run(f"PRAGMA user_version = {len(steps)}")

    def one(self, sql: str, values: Sequence[object] = ()) -> Any:
        """Return the first row of the answer, or None."""
        with self.lock:
            self._refuse_damage()
            try:
                return self._connection.execute(sql, values).fetchone()
            except sqlite3.DatabaseError as error:
                raise self._error(error) from error

    def all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all rows of the answer: keep it small with a LIMIT."""
        with self.lock:
            self._refuse_damage()
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._error(error) from error

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each of `rows`; only inside a transaction."""
        assert self._depth, "a change outside of a transaction"
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            raise self._error(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock and commit at the end, or undo all of it; one inside another is part of the outer one."""
        with self.lock:
            if self._depth:
                try:
                    yield
                except BaseException:
                    self._doomed = True
                    raise
                return
            self._refuse_damage()
            self._refuse_removal()
            self._run("BEGIN IMMEDIATE")
            self._depth, self._doomed = 1, False
            try:
                yield
                if self._doomed:
                    raise RuntimeError("a part of this transaction failed, so none of it is committed")
                self._run("COMMIT")
            except BaseException:
                # After an I/O error SQLite has rolled back by itself.
                with suppress(sqlite3.DatabaseError):
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def _run(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.DatabaseError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Write everything into the one file and close it; safe to call again."""
        with self.lock:
            self._connection.close()
            # Another file in its place was not closed by us.
            if self.sound and not self.damage and self._inode == self._inode_now():
                note_sum(self._path)
            self.sound = False

    def renew(self) -> None:
        """Set the file aside and open an empty one in its place; raises as opening does. May be called again then."""
        with self.lock:
            assert not self._depth, "a new index inside a transaction"
            self._connection.close()
            self.sound = False
            if not self._aside:
                try:
                    set_aside(self._path)
                except OSError as error:
                    raise IndexUnusable(
                        f"The index {self._path} is damaged and can not be renamed ({error.strerror}): move it away."
                    ) from error
            # Until there is a new one, another try must not rename what this one has begun.
            self._aside = True
            damage, self.damage = self.damage, ""
            try:
                self._open()
            except BaseException as error:
                self._aside = not isinstance(error, IndexDamaged)
                self.damage = damage
                raise
            self._aside = False

    def damaged(self, text: str) -> IndexDamaged:
        """Return the error for damage that was met, to be raised; nothing of this file is used any more."""
        self.damage = self.damage or f"The index {self._path} is damaged ({text})."
        return IndexDamaged(self.damage)

    def _refuse_damage(self) -> None:
        if self.damage:
            raise IndexDamaged(self.damage)

    def _refuse_removal(self) -> None:
        """Notice that somebody removed the file: what is committed now would be gone with the end of this process."""
        if self._inode is None:
            return
        log = os.path.exists(self._path + "-wal")
        if os.path.exists(self._path) and (log or not self._has_log):
            self._has_log = log
        elif os.path.isdir(os.path.dirname(self._path) or "."):
            raise self.damaged("somebody removed it")
        # Without its folder it was not removed: that one was moved, or is not mounted.

    def _inode_now(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _error(self, error: sqlite3.Error) -> Exception:
        """Return what a caller can understand for an error of SQLite; one that is our own bug stays as it is."""
        text = str(error)
        if isinstance(error, (sqlite3.ProgrammingError, Contradiction, sqlite3.DataError)):
            return error
        if "locked" in text:
            return FolderBusy(f"Another process has opened the index {self._path}: stop it first.")
        if "full" in text:
            return NoSpace(f"The disk is full ({self._path}): free some space.")
        if type(error) is sqlite3.DatabaseError or any(sign in text for sign in _SIGNS_OF_DAMAGE):
            return self.damaged(text)
        return IndexUnusable(f"The index {self._path} can not be used ({text}): look at its disk and its permissions.")
