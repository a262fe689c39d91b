"""The log of one share: every item that some live member knows, in the order in which they came. Pure.

The log is compacted: what nobody knows any more leaves it, and a number is never given twice in one epoch. A cursor
is a number too: it stands before the first item that its owner has not read.
"""

from __future__ import annotations

from twistedp2p.tracker.digest import Digest

__all__ = ["Item", "ShareLog"]


class Item:
    """One sealed record: its number in this epoch, its key and the blob; and how many members know and hold it."""

    __slots__ = ("blob", "holders", "key", "knowers", "number")

    def __init__(self, number: int, key: bytes, blob: bytes) -> None:
        self.number = number
        self.key = key
        self.blob = blob
        self.knowers = 0
        self.holders = 0


class ShareLog:
    """The items of one share by number and by key; it counts who knows an item, and forgets it when nobody does."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}  # in ascending order of numbers, because numbers are given ascending
        self._by_key: dict[bytes, Item] = {}
        self.end = 0
        self.bytes = 0
        self.digest = Digest()

    def __len__(self) -> int:
        return len(self._items)

    def find(self, reference: bytes | int) -> Item | None:
        """Return the item of this number or key, None if there is none (any more)."""
        if isinstance(reference, int):
            return self._items.get(reference)
        return self._by_key.get(reference)

    def append(self, key: bytes, blob: bytes) -> Item:
        """Give an item that nobody knows the next number; the caller makes a member know it at once."""
        item = Item(self.end, key, blob)
        self.end += 1
        self._items[item.number] = item
        self._by_key[key] = item
        self.bytes += len(blob)
        self.digest.add(key)
        return item

    def release(self, item: Item) -> None:
        """Note that one member less knows `item`; forget it if that was the last."""
        item.knowers -= 1
        if item.knowers == 0:
            del self._items[item.number]
            del self._by_key[item.key]
            self.bytes -= len(item.blob)
            self.digest.remove(item.key)

    def since(self, cursor: int) -> list[Item]:
        """Return the items from `cursor` to the end of the log, in order."""
        if cursor <= 0:
            return list(self._items.values())
        found: list[Item] = []
        for item in reversed(self._items.values()):
            if item.number < cursor:
                break
            found.append(item)
        found.reverse()
        return found
