"""What a peer remembers: the seam to its index, and a view through which one transaction reads and writes.

`index` implements `Store` on SQLite; the model test implements it on dictionaries. Everything that is decided
about versions goes through a `View`: it reads what is committed with its own changes on top, and commits them all
at once, because records, rows and intents that are not committed together lose data (docs/design.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import Factory, define

from twistedp2p.peer.values import Intent, Row
from twistedp2p.versions import Live, Register, winner

__all__ = ["Change", "Store", "View"]


@define
class Change:
    """What one transaction writes; a value of None removes."""

    counter: int | None = None
    records: dict[str, Register] = Factory(dict)
    rows: dict[str, Row | None] = Factory(dict)
    intents: dict[str, Intent | None] = Factory(dict)
    cursor: tuple[bytes, int] | None = None
    numbers: dict[bytes, int] = Factory(dict)

    def paths(self) -> set[str]:
        """Return the paths whose record or row this changes: what may have to be announced."""
        return self.records.keys() | self.rows.keys()

    def __bool__(self) -> bool:
        return bool(
            self.counter is not None
            or self.records
            or self.rows
            or self.intents
            or self.cursor is not None
            or self.numbers
        )


class Store(Protocol):
    """What is committed."""

    rid: bytes
    counter: int
    epoch: bytes
    cursor: int

    def record(self, path: str) -> Register:
        """Return the register of `path`, empty if nothing is known of it."""

    def row(self, path: str) -> Row | None:
        """Return what this peer put or saw on its disk at `path`."""

    def intent(self, path: str) -> Intent | None:
        """Return the publish under way at `path`."""

    def intents(self) -> list[Intent]:
        """Return all publishes under way."""

    def live_below(self, path: str) -> Iterable[str]:
        """Return the paths strictly below `path` whose winner is live, lazily: most callers look at one."""

    def absent_winners(self, content: bytes) -> Iterable[str]:
        """Return the paths that have no row and whose winner is a file of this content."""

    def apply(self, change: Change) -> None:
        """Commit `change`, whole or not at all; durable when it returns, as the mode of durability promises."""

    def reset(self, rid: bytes) -> None:
        """Forget everything and begin a new index under a new replica id."""


class View:
    """One transaction: reads through to `store`, collects its changes, commits them once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.change = Change()
        self.rows_changed: tuple[tuple[str, Row | None, Row | None], ...] = ()
        """The rows that the last commit changed: path, the row before, the row now."""
        self._rows_before: dict[str, Row | None] = {}
        self.rescued: set[bytes] = set()
        """Contents for which planning in this view has seen to it that no path lacks what is here (`plan`)."""

    def record(self, path: str) -> Register:
        """Return the register of `path` as of this transaction."""
        found = self.change.records.get(path)
        return self.store.record(path) if found is None else found

    def row(self, path: str) -> Row | None:
        """Return the row of `path` as of this transaction."""
        rows = self.change.rows
        return rows[path] if path in rows else self.store.row(path)

    def intent(self, path: str) -> Intent | None:
        """Return the intent of `path` as of this transaction."""
        intents = self.change.intents
        return intents[path] if path in intents else self.store.intent(path)

    def has_live_below(self, path: str) -> bool:
        """Whether anything strictly below `path` has a live winner."""
        prefix = path + "/"
        changed = self.change.records
        for other, register in changed.items():
            if other.startswith(prefix) and isinstance(winner(register)[1], Live):
                return True
        return any(other not in changed for other in self.store.live_below(path))

    def absent_winners(self, content: bytes) -> list[str]:
        """Return the paths without a row whose winner is a file of this content, sorted."""
        change = self.change
        found = {
            path
            for path in self.store.absent_winners(content)
            if path not in change.records and change.rows.get(path) is None
        }
        for path in change.paths():
            if self.row(path) is None:
                value = winner(self.record(path))[1]
                if isinstance(value, Live) and value.content == content and not value.is_folder:
                    found.add(path)
        return sorted(found)

    def set_record(self, path: str, register: Register) -> None:
        """Replace the register of `path`; nothing happens if it is equal."""
        if register != self.record(path):
            self.change.records[path] = register

    def set_row(self, path: str, row: Row | None) -> None:
        """Replace the row of `path`; None removes it."""
        before = self.row(path)
        if row != before:
            self._rows_before.setdefault(path, before)
            self.change.rows[path] = row

    def set_intent(self, path: str, intent: Intent | None) -> None:
        """Replace the intent of `path`; None removes it."""
        self.change.intents[path] = intent

    def mint(self) -> int:
        """Return the next number of this index: no two versions of this replica share one."""
        number = (self.store.counter if self.change.counter is None else self.change.counter) + 1
        self.change.counter = number
        return number

    def commit(self) -> set[str]:
        """Commit what was changed, if anything; return the paths that may have to be announced."""
        change, self.change = self.change, Change()
        before, self._rows_before = self._rows_before, {}
        if change:
            self.store.apply(change)
        self.rows_changed = tuple((path, before[path], row) for path, row in change.rows.items())
        return change.paths()
