"""What this peer holds and knows: its index, a `Store` on SQLite.

Every commit is whole or not at all, also after a kill. What others need often is kept up with each commit and never
counted anew: the sealed item of each record, the totals, which paths are not settled, which contents must not be
thrown away. Iterators read in slices and hold nobody up; what changes while they run may or may not be seen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from attrs import frozen

from twistedp2p.errors import IndexUnusable
from twistedp2p.messages.tracker import SetDigest
from twistedp2p.peer.index_check import wrong
from twistedp2p.peer.index_codec import (
    Unreadable,
    inode_columns,
    intent_of,
    pack_intent,
    register_of,
    row_of,
)
from twistedp2p.peer.index_file import IndexDamaged, set_aside
from twistedp2p.peer.index_schema import STEPS, Contradiction, Database, Step
from twistedp2p.peer.index_tally import DEAD, Tally, Totals
from twistedp2p.peer.index_write import ROW_COLUMNS, Writer
from twistedp2p.peer.store import Change
from twistedp2p.peer.values import Intent, Row
from twistedp2p.records import encode_record
from twistedp2p.versions import EMPTY, Kind, Register

__all__ = ["Index", "Totals", "Trash"]

_RID_BYTES = 8
_SLICE = 256
_TRASH = "name, path, content, size, time_ns, kept"
_META = {
    "rid": bytes, "counter": int, "epoch": bytes, "cursor": int, "life": int, "stamp": bytes, "share_id": bytes,
    "tally": str,
}  # fmt: skip
_AFTER_ALL = b"\xff"  # SQLite orders every blob after every text


@frozen
class Trash:
    """A file in the trash: `name` there, the `path` it had, its content, the size in bytes and the mtime (ns
    since 1970) with which it has that, and whether it was `kept` as the only copy of a version."""

    name: str
    path: str
    content: bytes
    size: int
    mtime_ns: int
    kept: bool


class Index:
    """One peer's index.

    `seal` turns the canonical bytes of a record into the tracker's item, `key_of` gives the key of that. Made by
    `open`; `fresh` says that there was no usable index, `lost` that there was one, which lies beside it now.
    `ignored` says what is not shared here by choice; when it answers differently, `judge` every path anew.
    """

    def __init__(
        self,
        path: str,
        rid: bytes,
        *,
        seal: Callable[[bytes], bytes],
        key_of: Callable[[bytes], bytes],
        durable: bool = True,
        steps: Sequence[Step] = STEPS,
    ) -> None:
        """Open the index at `path`, or begin one under `rid`; raises as `Database` does."""
        self._db = Database(path, durable=durable, steps=steps)
        self._seal = seal
        self._key_of = key_of
        self._replaced: OrderedDict[bytes, bytes] = OrderedDict()
        self.ignored: Callable[[str, Kind], bool] = lambda path, kind: False
        self.fresh = self._db.one("SELECT 1 FROM meta") is None and self._db.one("SELECT 1 FROM records") is None
        self.lost = False
        try:
            if self.fresh:
                with self._db.transaction():
                    self._begin(rid)
                    self._set_meta(stamp=b"", share_id=b"")
            self._load()
            if not (self.fresh or self._db.proven):
                self._check()
            self._db.sound = True
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def open(
        cls,
        path: str,
        *,
        seal: Callable[[bytes], bytes],
        key_of: Callable[[bytes], bytes],
        entropy: Callable[[int], bytes],
        durable: bool = True,
    ) -> Index:
        """Open the index at `path`; a damaged one is set aside and a new one begun under a new replica id.

        Raises `FolderBusy` if another process has it, `IndexUnusable` if there is no way to have one here.
        """
        try:
            return cls(path, entropy(_RID_BYTES), seal=seal, key_of=key_of, durable=durable)
        except IndexDamaged as error:
            try:
                set_aside(path)
            except OSError as trouble:
                raise IndexUnusable(f"{error} It can not be renamed ({trouble.strerror}): move it away.") from trouble
        index = cls(path, entropy(_RID_BYTES), seal=seal, key_of=key_of, durable=durable)
        index.lost = True
        return index

    def close(self) -> None:
        """Close the file; nothing else may be called afterwards."""
        self._db.close()

    # -- one value each ------------------------------------------------------

    def _load(self) -> None:
        meta = dict(self._db.all("SELECT name, value FROM meta"))
        for name, kind in _META.items():
            if not isinstance(meta.get(name), kind):
                raise self._db.damaged(f"its {name} is unreadable")
        try:
            self._tally = Tally.parse(meta["tally"])
        except ValueError as error:
            raise self._db.damaged("its totals are unreadable") from error
        self.rid: bytes = meta["rid"]
        self.counter: int = meta["counter"]
        self.epoch: bytes = meta["epoch"]
        self.cursor: int = meta["cursor"]
        self._life: int = meta["life"]
        self._stamp: bytes = meta["stamp"]
        self._share_id: bytes = meta["share_id"]
        self._ignore_text: bytes = _kept(meta.get("ignore_text"))
        self._judged: bytes = _kept(meta.get("judged"))
        self._listed: bool = meta.get("listed") == 1

    def _check(self) -> None:
        """Check an index that was not closed, all that can be: it may have been changed by others since."""
        found = wrong(self._db, self.rid, self.counter, self._tally, self._item_key)
        if found is not None:
            raise self._db.damaged(found)

    def _register(self, data: bytes) -> Register:
        try:
            return register_of(data)
        except Unreadable as error:
            raise self._db.damaged(f"{error} is unreadable") from error

    def _row(self, columns: Any) -> Row:
        try:
            return row_of(columns)
        except Unreadable as error:
            raise self._db.damaged(f"{error} is unreadable") from error

    def _intent(self, path: str, data: bytes) -> Intent:
        try:
            return intent_of(path, data)
        except Unreadable as error:
            raise self._db.damaged(f"{error} is unreadable") from error

    def _set_meta(self, **values: object) -> None:
        self._db.many("REPLACE INTO meta (name, value) VALUES (?, ?)", values.items())

    def _begin(self, rid: bytes) -> None:
        self._set_meta(rid=rid, counter=0, epoch=b"", cursor=0, life=0, tally=Tally().text(), judged=b"", listed=0)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything that is written inside one commit, or undo all of it; other threads wait meanwhile."""
        with self._db.lock:
            before = (self.rid, self.counter, self.epoch, self.cursor, self._life, self._stamp, self._share_id)
            tally = self._tally
            try:
                with self._db.transaction():
                    yield
            except BaseException:
                self.rid, self.counter, self.epoch, self.cursor, self._life, self._stamp, self._share_id = before
                self._tally = tally
                raise

    @property
    def stamp(self) -> bytes:
        """What the state folder outside the share must have too, or this index is an old or a copied one."""
        return self._stamp

    @stamp.setter
    def stamp(self, stamp: bytes) -> None:
        with self.transaction():
            self._set_meta(stamp=stamp)
            self._stamp = stamp

    @property
    def share_id(self) -> bytes:
        """The share that this is an index of; empty in a fresh one."""
        return self._share_id

    @share_id.setter
    def share_id(self, share_id: bytes) -> None:
        with self.transaction():
            self._set_meta(share_id=share_id)
            self._share_id = share_id

    @property
    def ignore_text(self) -> bytes:
        """The text of the last good `.twistedp2pignore`; it outlives `reset`, as the file does."""
        return self._ignore_text

    @ignore_text.setter
    def ignore_text(self, text: bytes) -> None:
        with self.transaction():
            self._set_meta(ignore_text=text)
        self._ignore_text = text

    @property
    def judged(self) -> bytes:
        """The digest of the list by which every path was last judged; empty if some were not."""
        return self._judged

    @judged.setter
    def judged(self, digest: bytes) -> None:
        with self.transaction():
            self._set_meta(judged=digest)
        self._judged = digest

    @property
    def listed(self) -> bool:
        """Whether this index was ever up to date with the share's list of what is ignored."""
        return self._listed

    @listed.setter
    def listed(self, listed: bool) -> None:
        with self.transaction():
            self._set_meta(listed=int(listed))
        self._listed = listed

    def totals(self) -> Totals:
        """Return how much is known and how much of it is missing here; reads no disk and waits for nobody."""
        return self._tally.totals()

    def own_digests(self) -> tuple[SetDigest, SetDigest]:
        """Return count and digest of the items that are known here, and of those that are held."""
        return self._tally.digests()

    # -- records, rows, intents (`Store`) --------------------------------------

    def record(self, path: str) -> Register:
        """Return the register of `path`, empty if nothing is known of it."""
        found = self._db.one("SELECT register FROM records WHERE path = ?", (path,))
        return EMPTY if found is None else self._register(found[0])

    def row(self, path: str) -> Row | None:
        """Return what this peer put or saw on its disk at `path`."""
        found = self._db.one(f"SELECT {ROW_COLUMNS} FROM rows WHERE path = ?", (path,))  # noqa: S608
        return None if found is None else self._row(found)

    def intent(self, path: str) -> Intent | None:
        """Return the publish under way at `path`."""
        found = self._db.one("SELECT intent FROM intents WHERE path = ?", (path,))
        return None if found is None else self._intent(path, found[0])

    def intents(self) -> list[Intent]:
        """Return all publishes under way."""
        return [self._intent(*found) for found in self._db.all("SELECT path, intent FROM intents ORDER BY path")]

    def live_below(self, path: str) -> Iterator[str]:
        """Yield the paths strictly below `path` whose winner is live."""
        low, high = _span(path)
        sql = f"SELECT path FROM records WHERE path > ? AND path < ? AND kind < {DEAD} ORDER BY path"  # noqa: S608
        for (found,) in self._slices(sql, low, high):
            yield found

    def absent_winners(self, content: bytes) -> Iterator[str]:
        """Yield the paths that have no row and whose winner is a file of this content."""
        for (path,) in self._slices(
            "SELECT path FROM needed WHERE path > ? AND content = ? AND absent ORDER BY path", "", content
        ):
            yield path

    def _slices(self, sql: str, low: str, *values: object) -> Iterator[Any]:
        """Yield the answer to `sql`, which orders by its first column and begins after its first parameter."""
        while True:
            found = self._db.all(f"{sql} LIMIT {_SLICE}", (low, *values))
            yield from found
            if len(found) < _SLICE:
                return
            low = found[-1][0]

    def apply(self, change: Change) -> None:
        """Commit `change`, whole or not at all; durable when it returns, as the mode of durability promises."""
        try:
            self._apply(change)
        except Contradiction:
            self._check()
            raise

    def _apply(self, change: Change) -> None:
        with self.transaction():
            meta: dict[str, object] = {}
            if change.cursor is not None:
                if change.cursor[0] != self.epoch:
                    self._life += 1  # the numbers of another epoch mean nothing in this one
                    meta["life"] = self._life
                self.epoch, self.cursor = change.cursor
                meta.update(epoch=self.epoch, cursor=self.cursor)
            if change.counter is not None:
                self.counter = meta["counter"] = change.counter
            if change.records or change.rows:
                self._apply_paths(change)
                meta["tally"] = self._tally.text()
            intents = change.intents.items()
            self._db.many("DELETE FROM intents WHERE path = ?", [(path,) for path, intent in intents if intent is None])
            self._db.many(
                "REPLACE INTO intents VALUES (?, ?)",
                [(path, pack_intent(intent)) for path, intent in intents if intent is not None],
            )
            numbers = [(number, self._life, key) for key, number in change.numbers.items()]
            self._db.many("UPDATE items SET number = ?, life = ? WHERE key = ?", numbers)
            self._set_meta(**meta)

    def _apply_paths(self, change: Change) -> None:
        writer = self._writer()
        paths = iter(sorted(change.paths()))
        while piece := list(islice(paths, _SLICE)):
            try:
                writer.write(piece, change.records, change.rows)
            except Unreadable as error:
                raise self._db.damaged(f"{error} is unreadable") from error

    def _writer(self) -> Writer:
        self._tally = self._tally.copy()
        return Writer(self._db, self._tally, self._life, self._item_key, self._replaced, self.ignored)

    def judge(self, paths: Sequence[str]) -> tuple[list[str], list[str]]:
        """Ask anew which of `paths` are ignored; return those that became so, and those that are not any more."""
        with self.transaction():
            try:
                found = self._writer().judge(paths)
            except Unreadable as error:
                raise self._db.damaged(f"{error} is unreadable") from error
            self._set_meta(tally=self._tally.text())
        return found

    def _item_key(self, record: bytes) -> bytes:
        return self._key_of(self._seal(record))

    def reset(self, rid: bytes) -> None:
        """Forget everything but the trash and the manifests, and begin a new index under a new replica id.

        One that is damaged is set aside, and forgets these too. Raises `IndexUnusable`; may be called again then.
        """
        try:
            if not self._db.damage:
                self._forget(rid)
        except IndexDamaged:
            pass
        if self._db.damage:
            self._renew(rid)
        self._replaced.clear()

    def _forget(self, rid: bytes) -> None:
        with self.transaction():
            for table in ("records", "rows", "intents", "items", "needed"):
                self._db.many(f"DELETE FROM {table}", [()])  # noqa: S608 - the names of tables
            self._begin(rid)
            self._load()

    def _renew(self, rid: bytes) -> None:
        with self._db.lock:  # nobody may read the empty file before it is an index
            self._db.renew()
            with self._db.transaction():
                self._begin(rid)
                self._set_meta(stamp=self._stamp, share_id=self._share_id)
            self._load()
            self._db.sound = True
        self.fresh = self.lost = True

    # -- items: records as the tracker knows them ------------------------------

    def item(self, path: str) -> tuple[bytes, bool] | None:
        """Return the key of the sealed record of `path` and whether it is held here, or None if nothing is known."""
        found = self._db.one("SELECT key, holds FROM records WHERE path = ?", (path,))
        return None if found is None else (found[0], bool(found[1]))

    def number_of(self, key: bytes) -> int | None:
        """Return the number that the tracker gave this item in this epoch."""
        found = self._db.one("SELECT number FROM items WHERE key = ? AND life = ?", (key, self._life))
        return None if found is None else found[0]

    def paths(self) -> Iterator[str]:
        """Yield all paths that have a record, sorted."""
        for (path,) in self._slices("SELECT path FROM records WHERE path > ? ORDER BY path", ""):
            yield path

    def paths_after(self, path: str, limit: int) -> list[str]:
        """Return up to `limit` paths greater than `path` that have a record or a row, sorted."""
        sql = (
            "SELECT path FROM (SELECT path FROM records WHERE path > ?1 ORDER BY path LIMIT ?2) UNION "
            "SELECT path FROM (SELECT path FROM rows WHERE path > ?1 ORDER BY path LIMIT ?2) ORDER BY path LIMIT ?2"
        )
        return [found for (found,) in self._db.all(sql, (path, limit))]

    def blobs(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the sealed records of these keys, in their order.

        Raises KeyError for one that is not known any more: then only a full announce says what is.
        """
        return [self._blob(key) for key in keys]

    def forget_replaced(self) -> None:
        """Drop the records that were replaced: nothing that was announced is asked for any more."""
        self._replaced.clear()

    def _blob(self, key: bytes) -> bytes:
        with self._db.lock:
            found = self._db.one(
                "SELECT path, register FROM records WHERE path = (SELECT path FROM items WHERE key = ?)", (key,)
            )
            record = self._replaced[key] if found is None else encode_record(found[0], self._register(found[1]))
        blob = self._seal(record)
        if self._key_of(blob) != key:
            raise self._db.damaged("a record is not what was written")
        return blob

    def is_settled(self, path: str) -> bool:
        """Return whether planning has nothing to do about a path of which there is a record."""
        return self._db.one("SELECT 1 FROM records WHERE path = ? AND settled = 1", (path,)) is not None

    def unsettled(self, limit: int, after: str = "") -> list[str]:
        """Return up to `limit` paths, sorted and greater than `after`, that planning has something to do about."""
        found = self._db.all(
            "SELECT path FROM records WHERE settled = 0 AND path > ? ORDER BY path LIMIT ?", (after, limit)
        )
        return [path for (path,) in found]

    def needed(self, content: bytes) -> bool:
        """Whether a version waits for these bytes: a losing one for its copy, or a winner not published here yet."""
        return self._db.one("SELECT 1 FROM needed WHERE content = ?", (content,)) is not None

    # -- rows: what is on this disk ----------------------------------------------

    def rows_below(self, path: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows strictly below `path`, or all if it is empty, sorted by path."""
        low, high = _span(path)
        sql = f"SELECT path, {ROW_COLUMNS} FROM rows WHERE path > ? AND path < ? ORDER BY path"  # noqa: S608
        for found in self._slices(sql, low, high):
            yield found[0], self._row(found[1:])

    def rows_in(self, folder: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of the direct children of `folder` (empty: the shared folder itself), sorted by path."""
        low, high = _span(folder)
        compare, depth = ">", len(low)
        while True:
            sql = f"SELECT path, {ROW_COLUMNS} FROM rows WHERE path {compare} ? AND path < ? ORDER BY path LIMIT 64"  # noqa: S608
            found = self._db.all(sql, (low, high))
            if not found:
                return
            for path, *columns in found:
                cut = path.find("/", depth)
                if cut >= 0:  # on past everything below this child
                    compare, low = ">=", path[:cut] + "0"
                    break
                yield path, self._row(columns)
                compare, low = ">", path

    def row_by_inode(self, device: int, inode: int) -> list[tuple[str, Row]]:
        """Return the paths whose row has this device and inode."""
        return self._rows_where("device = ? AND inode = ?", inode_columns(device, inode))

    def paths_with_content(self, content: bytes) -> Iterator[tuple[str, Row]]:
        """Yield the rows that have this content, sorted by path."""
        sql = f"SELECT path, {ROW_COLUMNS} FROM rows WHERE path > ? AND content = ? ORDER BY path"  # noqa: S608
        for found in self._slices(sql, "", content):
            yield found[0], self._row(found[1:])

    def _rows_where(self, condition: str, values: Sequence[object]) -> list[tuple[str, Row]]:
        found = self._db.all(f"SELECT path, {ROW_COLUMNS} FROM rows WHERE {condition} ORDER BY path", values)  # noqa: S608
        return [(path, self._row(columns)) for path, *columns in found]

    # -- trash and manifests -------------------------------------------------------

    def add_trash(self, name: str, path: str, content: bytes, size: int, mtime_ns: int, kept: bool) -> None:
        """Note that the file `name` in the trash is what `path` had."""
        mtime_ns = max(-(2**63), min(mtime_ns, 2**63 - 1))  # ext4 has later times than SQLite has numbers
        with self.transaction():
            self._db.many("REPLACE INTO trash VALUES (?, ?, ?, ?, ?, ?)", [(name, path, content, size, mtime_ns, kept)])

    def drop_trash(self, name: str) -> None:
        """Forget a file of the trash; nothing happens if it is not known."""
        with self.transaction():
            self._db.many("DELETE FROM trash WHERE name = ?", [(name,)])

    def trash_totals(self) -> tuple[int, int]:
        """Return how many files are in the trash, and their size in bytes."""
        count, size = self._db.one("SELECT count(*), coalesce(sum(size), 0) FROM trash")
        return count, size

    def trash_with_content(self, content: bytes) -> list[Trash]:
        """Return the files in the trash that have this content."""
        found = self._db.all(f"SELECT {_TRASH} FROM trash WHERE content = ? ORDER BY name", (content,))  # noqa: S608
        return [_trash(columns) for columns in found]

    def trash_entries(self) -> Iterator[Trash]:
        """Yield all files that are known to be in the trash, sorted by name."""
        sql = f"SELECT {_TRASH} FROM trash WHERE name > ? ORDER BY name"  # noqa: S608
        for columns in self._slices(sql, ""):
            yield _trash(columns)

    def trash_before(self, name: str | None, limit: int) -> list[Trash]:
        """Return up to `limit` files of the trash whose names are less than `name` (None: all), the greatest first."""
        low = _AFTER_ALL if name is None else name
        sql = f"SELECT {_TRASH} FROM trash WHERE name < ? ORDER BY name DESC LIMIT ?"  # noqa: S608
        return [_trash(columns) for columns in self._db.all(sql, (low, limit))]

    def has_trash(self, name: str) -> bool:
        """Whether a file in the trash is known here."""
        return self._db.one("SELECT 1 FROM trash WHERE name = ?", (name,)) is not None

    def oldest_trash(self) -> str | None:
        """Return the name of the oldest file that is known to be in the trash, None if there is none."""
        found = self._db.one("SELECT min(name) FROM trash")[0]
        return None if found is None else str(found)

    def put_manifest(self, manifest_id: bytes, manifest: bytes) -> None:
        """Keep an encoded manifest."""
        with self.transaction():
            self._db.many("REPLACE INTO manifests VALUES (?, ?)", [(manifest_id, manifest)])

    def manifest(self, manifest_id: bytes) -> bytes | None:
        """Return an encoded manifest, None if it was never put here."""
        found = self._db.one("SELECT manifest FROM manifests WHERE id = ?", (manifest_id,))
        return None if found is None else found[0]


def _span(path: str) -> tuple[str, str | bytes]:
    """Return what the paths strictly below `path` are greater than, and less than; "0" is what follows "/"."""
    return (path + "/", path + "0") if path else ("", _AFTER_ALL)


def _kept(value: object) -> bytes:
    """Return what was kept about the list of what is ignored; one that is unreadable is made anew."""
    return value if isinstance(value, bytes) else b""


def _trash(columns: Any) -> Trash:
    name, path, content, size, mtime_ns, kept = columns
    return Trash(name, path, content, size, mtime_ns, bool(kept))
