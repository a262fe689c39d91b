"""Batches: the atomic, numbered units in which a peer says what it knows and holds; whole, and in pieces. Pure.

A batch may be far longer than a frame, so it travels as several `Announce` messages (`announcements`), and is
put together again (`Assembly`) before anything of it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.messages.tracker import Announce, SetDigest
from twistedp2p.ranges import count_of, from_ranges, to_ranges
from twistedp2p.wire import pack

__all__ = ["Assembly", "Batch", "ItemRef", "announcements"]

ItemRef = bytes | int
"""An item: its number if the peer has it, else its key (16 bytes)."""

_RANGE_SIZE = 20
_KEY_SIZE = 18
_SIZES = {
    "known": lambda _: _RANGE_SIZE,
    "held": lambda _: _RANGE_SIZE,
    "gone": lambda _: _RANGE_SIZE,
    "known_keys": lambda _: _KEY_SIZE,
    "held_keys": lambda _: _KEY_SIZE,
    "gone_keys": lambda _: _KEY_SIZE,
}


@frozen
class Batch:
    """One snapshot of what changed since the batch before, or, if `full`, of everything.

    `number` counts within one start of the peer's process, from 1. `held` items are known and held; `known` ones
    are known only; `gone` ones are known no more. `reference`: the digests of all that is known and of all that
    is held, by which a directory may recognise a full batch without seeing it.
    """

    number: int
    full: bool
    known: tuple[ItemRef, ...] = ()
    held: tuple[ItemRef, ...] = ()
    gone: tuple[ItemRef, ...] = ()
    reference: tuple[SetDigest, SetDigest] | None = None

    def new_keys(self) -> list[bytes]:
        """Return the keys of the items that are named by key, in canonical order: that of their new numbers."""
        return sorted(item for item in (*self.known, *self.held) if isinstance(item, bytes))


def announcements(batch: Batch, *, reference_only: bool = False) -> Iterator[Announce]:
    """Yield the messages that carry `batch`; with `reference_only`, the one that carries just its reference."""
    if reference_only:
        yield Announce(batch.number, batch.full, True, reference=batch.reference)
        return
    fields: dict[str, Any] = {}
    for name in ("known", "held", "gone"):
        items = getattr(batch, name)
        fields[name] = to_ranges(sorted(item for item in items if isinstance(item, int)))
        fields[name + "_keys"] = sorted(item for item in items if isinstance(item, bytes))
    before: dict[str, Any] = {}
    for piece in pack(fields, _SIZES):
        if before:
            yield Announce(batch.number, batch.full, False, **before)
        before = piece
    yield Announce(batch.number, batch.full, True, **before, reference=batch.reference)


class Assembly:
    """Puts the pieces of one batch together; nothing of it counts before the last."""

    def __init__(self, most: int = limits.ITEMS_PER_PEER) -> None:
        self._most = most
        self._number: int | None = None
        self._full = False
        self._count = 0
        self._items: dict[str, list[ItemRef]] = {"known": [], "held": [], "gone": []}

    def add(self, piece: Announce) -> Batch | None:
        """Take one piece; return the batch if it was the last.

        Raises `ProtocolViolation` if it does not continue the batch, names an item twice, or the batch has more
        than `most` items.
        """
        if self._number is None:
            self._number, self._full = piece.batch, piece.full
        if (piece.batch, piece.full) != (self._number, self._full):
            raise ProtocolViolation("a batch was begun before the last one was ended")
        if not piece.last and (piece.reference is not None or not self._grows(piece)):
            raise ProtocolViolation("a piece of a batch says nothing")
        for name, items in self._items.items():
            ranges, keys = getattr(piece, name), getattr(piece, name + "_keys")
            self._count += count_of(ranges, self._most) + len(keys)
            if self._count > self._most * (1 if self._full else 2):
                raise ProtocolViolation(f"a batch has more than {self._most} items")
            items += from_ranges(ranges, self._most)
            items += keys
        return self._whole(piece.reference) if piece.last else None

    @staticmethod
    def _grows(piece: Announce) -> bool:
        return any((piece.known, piece.held, piece.gone, piece.known_keys, piece.held_keys, piece.gone_keys))

    def _whole(self, reference: tuple[SetDigest, SetDigest] | None) -> Batch:
        known, held, gone = (tuple(self._items[name]) for name in ("known", "held", "gone"))
        if len({*known, *held}) != len(known) + len(held) or len(set(gone)) != len(gone):
            raise ProtocolViolation("a batch names an item twice")
        if not self._full and reference is not None:
            raise ProtocolViolation("only a full batch can be a reference")
        if self._full and gone:
            raise ProtocolViolation("a full batch can not name items that are gone")
        assert self._number is not None
        return Batch(self._number, self._full, known, held, gone, reference)
