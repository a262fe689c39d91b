"""Whether an index says what it said when it was written: SQLite checks its pages, this checks what is on them.

Each record has the key of its item, a hash of it; the totals have the sum of all keys; where a path stands follows
from its record and its row. So a byte that changed in a record, and a page of another index, show.
"""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p.peer.index_codec import Unreadable, intent_of, register_of, row_of
from twistedp2p.peer.index_schema import Database
from twistedp2p.peer.index_tally import Standing, Tally, needs, standing
from twistedp2p.peer.index_write import ROW_COLUMNS
from twistedp2p.records import encode_record

__all__ = ["wrong"]

_SLICE = 1000
_ROW = ", ".join(f"rows.{column}" for column in ROW_COLUMNS.split(", "))
_ALL = (
    f"SELECT records.path, register, key, records.kind, records.size, siblings, holds, settled, ignored, {_ROW} "  # noqa: S608
    "FROM records LEFT JOIN rows ON rows.path = records.path WHERE records.path > ? ORDER BY records.path LIMIT ?"
)


def wrong(db: Database, rid: bytes, counter: int, tally: Tally, item_key: Callable[[bytes], bytes]) -> str | None:
    """Return what is wrong with the records, rows and intents of this index, None if nothing is.

    `rid`, `counter` and `tally` are those that it says it has; `item_key` gives the key for the bytes of a record.
    Blocks for about 19 s for a million records.
    """
    try:
        return _records(db, rid, counter, tally, item_key) or _lists(db)
    except Unreadable as error:
        return f"{error} is unreadable"


def _records(db: Database, rid: bytes, counter: int, tally: Tally, item_key: Callable[[bytes], bytes]) -> str | None:
    found = Tally()
    needed = 0
    last = ""
    while answers := db.all(_ALL, (last, _SLICE)):
        for path, packed, key, kind, size, siblings, holds, settled, ignored, *columns in answers:
            register = register_of(packed)
            row = None if columns[2] is None else row_of(columns)
            stands = Standing(kind, size, siblings, bool(holds), bool(settled), bool(ignored))
            if item_key(encode_record(path, register)) != key or standing(register, row, bool(ignored)) != stands:
                return "a record is not what was written"
            if register.seen(rid) > counter:
                return "the counter of versions went back"
            found.add(key, stands)
            needs_now = needs(register, row)
            needed += len(needs_now)
            if not _needed(db, path, needs_now):
                return "a content that is needed is not listed"
        last = answers[-1][0]
    if found.text() != tally.text():
        return "the totals are not those of the records"
    return None if db.one("SELECT count(*) FROM needed")[0] == needed else "the list of needed contents is wrong"


def _needed(db: Database, path: str, contents: dict[bytes, bool]) -> bool:
    sql = "SELECT absent FROM needed WHERE content = ? AND path = ?"
    return all(db.one(sql, (content, path)) == (int(absent),) for content, absent in contents.items())


def _lists(db: Database) -> str | None:
    """Check what hangs on the records: their items, and the rows and intents, which must be readable."""
    astray = db.one("SELECT count(*) FROM records LEFT JOIN items USING (key) WHERE items.path IS NOT records.path")[0]
    count = "SELECT (SELECT count(*) FROM items) - (SELECT count(*) FROM records)"
    if astray or db.one(count)[0]:
        return "the list of items is not that of the records"
    last = ""
    while answers := db.all(f"SELECT path, {_ROW} FROM rows WHERE path > ? ORDER BY path LIMIT ?", (last, _SLICE)):  # noqa: S608
        for _, *columns in answers:
            row_of(columns)
        last = answers[-1][0]
    for path, intent in db.all("SELECT path, intent FROM intents"):
        intent_of(path, intent)
    return None
