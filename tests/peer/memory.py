"""A `Store` on dictionaries: for tests of what is decided about versions, and the second witness of the contract."""

from __future__ import annotations

from collections.abc import Iterator

from twistedp2p.peer.store import Change
from twistedp2p.peer.values import Intent, Row
from twistedp2p.versions import EMPTY, Live, Register, winner

__all__ = ["MemoryStore"]

RID = b"rid-of-a"


class MemoryStore:
    """What is committed, in memory; `commits` counts the changes that were applied."""

    def __init__(self, rid: bytes = RID) -> None:
        self.commits = 0
        self.reset(rid)

    def reset(self, rid: bytes) -> None:
        """Forget everything and begin a new index under a new replica id."""
        self.rid = rid
        self.counter = 0
        self.epoch = b""
        self.cursor = 0
        self.records: dict[str, Register] = {}
        self.rows: dict[str, Row] = {}
        self.noted: dict[str, Intent] = {}
        self.numbers: dict[bytes, int] = {}

    def record(self, path: str) -> Register:
        """Return the register of `path`, empty if nothing is known of it."""
        return self.records.get(path, EMPTY)

    def row(self, path: str) -> Row | None:
        """Return what this peer put or saw on its disk at `path`."""
        return self.rows.get(path)

    def intent(self, path: str) -> Intent | None:
        """Return the publish under way at `path`."""
        return self.noted.get(path)

    def intents(self) -> list[Intent]:
        """Return all publishes under way."""
        return [self.noted[path] for path in sorted(self.noted)]

    def live_below(self, path: str) -> Iterator[str]:
        """Yield the paths strictly below `path` whose winner is live."""
        for other, register in sorted(self.records.items()):
            if other.startswith(path + "/" if path else "") and isinstance(winner(register)[1], Live):
                yield other

    def absent_winners(self, content: bytes) -> Iterator[str]:
        """Yield the paths that have no row and whose winner is a file of this content."""
        for path, register in sorted(self.records.items()):
            value = winner(register)[1]
            if isinstance(value, Live) and not value.is_folder and value.content == content and path not in self.rows:
                yield path

    def apply(self, change: Change) -> None:
        """Take in `change`."""
        self.commits += 1
        if change.cursor is not None:
            self.epoch, self.cursor = change.cursor
        if change.counter is not None:
            self.counter = change.counter
        self.records.update(change.records)
        self.numbers.update(change.numbers)
        for path, row in change.rows.items():
            if row is None:
                self.rows.pop(path, None)
            else:
                self.rows[path] = row
        for path, intent in change.intents.items():
            if intent is None:
                self.noted.pop(path, None)
            else:
                self.noted[path] = intent
