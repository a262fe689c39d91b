"""The index of a simulated peer: `Store` on dictionaries, and the items that registers travel as."""

from __future__ import annotations

from collections.abc import Iterator

from twistedp2p.identity.seal import item_key
from twistedp2p.peer.store import Change
from twistedp2p.peer.values import Intent, Row
from twistedp2p.records import decode_record, encode_record
from twistedp2p.tracker.digest import Digest
from twistedp2p.versions import EMPTY, Live, Register, winner

__all__ = ["Items", "MemoryStore"]


class Items:
    """Every item of a world by its key; a register is decoded from the bytes that it was encoded to."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self._keys: dict[tuple[str, Register], bytes] = {}
        self._decoded: dict[bytes, tuple[str, Register]] = {}

    def key(self, path: str, register: Register) -> bytes:
        """Return the key of the item of `path`."""
        found = self._keys.get((path, register))
        if found is None:
            blob = encode_record(path, register)
            found = item_key(blob)
            self.blobs[found] = blob
            self._keys[path, register] = found
        return found

    def decode(self, blob: bytes, key: bytes) -> tuple[str, Register]:
        """Return the path and the register of an item."""
        found = self._decoded.get(key)
        if found is None:
            record = decode_record(blob)
            found = self._decoded[key] = (record.path, record.register)
        return found


class MemoryStore:
    """A committed index; `minted` and `dropped` tell the ledger what the last commits superseded."""

    def __init__(self, rid: bytes, items: Items) -> None:
        self.rid = rid
        self.counter = 0
        self.epoch = b""
        self.cursor = 0
        self.stamp = b""
        self.records: dict[str, Register] = {}
        self.rows: dict[str, Row] = {}
        self.numbers: dict[bytes, int] = {}
        self.keys: dict[str, bytes] = {}
        self._live: dict[str, None] = {}
        self._intents: dict[str, Intent] = {}
        self._items = items
        self.minted: list[tuple[str, Register, Register]] = []

    def copy(self) -> MemoryStore:
        """Return a backup."""
        twin = MemoryStore(self.rid, self._items)
        twin.counter, twin.epoch, twin.cursor, twin.stamp = self.counter, self.epoch, self.cursor, self.stamp
        twin.records, twin.rows = self.records.copy(), self.rows.copy()
        twin.numbers, twin.keys = self.numbers.copy(), self.keys.copy()
        twin._live, twin._intents = self._live.copy(), self._intents.copy()
        return twin

    def record(self, path: str) -> Register:
        """Return the register of `path`."""
        return self.records.get(path, EMPTY)

    def row(self, path: str) -> Row | None:
        """Return the row of `path`."""
        return self.rows.get(path)

    def intent(self, path: str) -> Intent | None:
        """Return the publish under way at `path`."""
        return self._intents.get(path)

    def intents(self) -> list[Intent]:
        """Return all publishes under way."""
        return list(self._intents.values())

    def live_below(self, path: str) -> Iterator[str]:
        """Yield the paths below `path` whose winner is live."""
        prefix = path + "/"
        return (other for other in self._live if other.startswith(prefix))

    def absent_winners(self, content: bytes) -> list[str]:
        """Return the paths without a row whose winner is a file of this content."""
        found = []
        for path in self._live:
            if path not in self.rows:
                value = winner(self.records[path])[1]
                if isinstance(value, Live) and value.content == content and not value.is_folder:
                    found.append(path)
        return found

    def apply(self, change: Change) -> None:
        """Commit `change`."""
        for path, register in change.records.items():
            if change.counter is not None:
                self.minted.append((path, self.record(path), register))
            self.records[path] = register
            self.keys[path] = self._items.key(path, register)
            if isinstance(winner(register)[1], Live):
                self._live[path] = None
            else:
                self._live.pop(path, None)
        for path, row in change.rows.items():
            if row is None:
                self.rows.pop(path, None)
            else:
                self.rows[path] = row
        for path, intent in change.intents.items():
            if intent is None:
                self._intents.pop(path, None)
            else:
                self._intents[path] = intent
        if change.counter is not None:
            self.counter = change.counter
        if change.cursor is not None:
            if change.cursor[0] != self.epoch:
                self.numbers.clear()
            self.epoch, self.cursor = change.cursor
        self.numbers.update(change.numbers)

    def reset(self, rid: bytes) -> None:
        """Forget everything and begin a new index."""
        fresh = MemoryStore(rid, self._items)
        fresh.stamp = self.stamp
        self.__dict__.update(fresh.__dict__)

    def digest(self) -> Digest:
        """Return the digest of all items that are known."""
        return Digest(self.keys.values())
