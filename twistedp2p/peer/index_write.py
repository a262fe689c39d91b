"""Writing a change into the index: records and rows, and with them all that is kept up about each path."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twistedp2p.limits import REPLACED_RECORDS
from twistedp2p.peer.index_codec import pack_register, register_of, row_columns, row_of
from twistedp2p.peer.index_schema import Database
from twistedp2p.peer.index_tally import DEAD, Standing, Tally, needs, standing
from twistedp2p.peer.values import Row
from twistedp2p.records import encode_record
from twistedp2p.versions import EMPTY, Kind, Register

__all__ = ["ROW_COLUMNS", "Writer"]

ROW_COLUMNS = "rid, n, kind, content, executable, device, inode, size, mtime_ns, was_executable"

_OLD = "SELECT register, key, kind, size, siblings, holds, settled, ignored FROM records WHERE path = ?"
_ROW = f"SELECT {ROW_COLUMNS} FROM rows WHERE path = ?"  # noqa: S608 - a constant
_PUT_RECORD = "REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_ITEM = "INSERT INTO items (key, path) VALUES (?, ?)"
_PUT_ROW = f"REPLACE INTO rows (path, {ROW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_STAND = "UPDATE records SET holds = ?, settled = ?, ignored = ? WHERE path = ?"


class Writer:
    """Collects what a transaction writes about some paths, and writes it table by table.

    `tally` is changed as it goes. What the tracker may still ask for of a record that is replaced goes to `replaced`.
    `ignored` says what is not shared here by choice.
    """

    def __init__(
        self,
        db: Database,
        tally: Tally,
        life: int,
        item_key: Callable[[bytes], bytes],
        replaced: OrderedDict[bytes, bytes],
        ignored: Callable[[str, Kind], bool],
    ) -> None:
        self._db = db
        self._tally = tally
        self._life = life
        self._item_key = item_key
        self._replaced = replaced
        self._ignored = ignored
        self._writes: dict[str, list[Sequence[object]]] = {}

    def write(self, paths: Sequence[str], records: Mapping[str, Register], rows: Mapping[str, Row | None]) -> None:
        """Write the new `records` and `rows` of `paths`."""
        for path in paths:
            self._path(path, records.get(path), rows)
        self._flush()

    def judge(self, paths: Sequence[str]) -> tuple[list[str], list[str]]:
        """Judge anew which of `paths` are ignored; return those that became so, and those that are not any more."""
        hidden: list[str] = []
        shown: list[str] = []
        for path in paths:
            old = self._db.one(_OLD, (path,))
            if old is None or self._is_ignored(path, old[2]) == bool(old[7]):
                continue
            found = self._db.one(_ROW, (path,))
            self._stand(path, old, self._standing(path, register_of(old[0]), None if found is None else row_of(found)))
            (shown if old[7] else hidden).append(path)
        self._flush()
        return hidden, shown

    def _flush(self) -> None:
        for sql, values in self._writes.items():
            self._db.many(sql, values)
        self._writes.clear()

    def _is_ignored(self, path: str, kind: int) -> bool:
        return kind != DEAD and self._ignored(path, Kind(kind))

    def _standing(self, path: str, register: Register, row: Row | None) -> Standing:
        now = standing(register, row)
        return standing(register, row, True) if self._is_ignored(path, now.kind) else now

    def _stand(self, path: str, old: Any, now: Standing) -> None:
        self._put(_STAND, now.holds, now.settled, now.ignored, path)
        self._recount(old[1], old, now)

    def _put(self, sql: str, *values: object) -> None:
        self._writes.setdefault(sql, []).append(values)

    def _path(self, path: str, register: Register | None, rows: Mapping[str, Row | None]) -> None:
        old = self._db.one(_OLD, (path,))
        if path in rows:
            row = rows[path]
            self._put_row(path, row)
        elif old is None and register is None:
            return
        else:
            found = self._db.one(_ROW, (path,))
            row = None if found is None else row_of(found)
        before: Register | None = None
        if old is not None and (register is None or not old[6] or old[7]):
            before = register_of(old[0])
        if register is not None:
            self._put_record(path, register, row, old)
        elif old is not None:
            register = before or EMPTY
            now = self._standing(path, register, row)
            if (now.holds, now.settled, now.ignored) != (bool(old[5]), bool(old[6]), bool(old[7])):
                self._stand(path, old, now)
        self._put_needs(path, before, register or EMPTY, row)

    def _put_row(self, path: str, row: Row | None) -> None:
        if row is None:
            self._put("DELETE FROM rows WHERE path = ?", path)
        else:
            self._put(_PUT_ROW, path, *row_columns(row))

    def _put_record(self, path: str, register: Register, row: Row | None, old: Any) -> None:
        key = self._item_key(encode_record(path, register)) if register.context else b""
        if old is not None and old[1] != key:
            self._remember(path, old)
            self._put("DELETE FROM items WHERE key = ?", old[1])
        if not key:
            if old is not None:
                self._put("DELETE FROM records WHERE path = ?", path)
                self._recount(key, old, None)
            return
        now = self._standing(path, register, row)
        packed = pack_register(register)
        self._put(_PUT_RECORD, path, packed, key, now.kind, now.size, now.siblings, now.holds, now.settled, now.ignored)
        if old is None or old[1] != key:
            self._put(_PUT_ITEM, key, path)
        self._recount(key, old, now)

    def _recount(self, key: bytes, old: Any, now: Standing | None) -> None:
        if old is not None:
            was = Standing(old[2], old[3], old[4], bool(old[5]), bool(old[6]), bool(old[7]))
            self._tally.add(old[1], was, -1)
        if now is not None:
            self._tally.add(key, now)

    def _put_needs(self, path: str, before: Register | None, now: Register, row: Row | None) -> None:
        new = needs(now, row)
        if before is not None:
            for content in needs(before, None).keys() - new.keys():
                self._put("DELETE FROM needed WHERE content = ? AND path = ?", content, path)
        for content, absent in new.items():
            self._put("REPLACE INTO needed VALUES (?, ?, ?)", content, path, absent)

    def _remember(self, path: str, old: Any) -> None:
        """Keep a record that was perhaps announced by its key, so that the tracker can still have it.

        What was announced before this start of the process is announced anew, so memory is enough.
        """
        if self._db.one("SELECT 1 FROM items WHERE key = ? AND life = ?", (old[1], self._life)) is None:
            self._replaced[old[1]] = encode_record(path, register_of(old[0]))
            if len(self._replaced) > REPLACED_RECORDS:
                self._replaced.popitem(last=False)
