"""What `swarm` remembers of one wanted content, of one node, and of a place in a queue."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf

from attrs import define, field

from twistedp2p import limits

__all__ = ["FIRST_WINDOW", "Asked", "Entry", "Load", "Wanted"]

FIRST_WINDOW = limits.RUN_BYTES
"""In flight with a holder that has not shown its speed yet, bytes."""


@define(eq=False)
class Asked:
    """A piece that was asked for: since when, and of whom."""

    since: float
    nodes: set[bytes]


@define(eq=False)
class Wanted:
    """One content that is wanted, and what is known of its pieces."""

    content: bytes
    size: int
    manifest: bytes
    manifest_bytes: int
    priority: int
    order: int
    holders: dict[bytes, frozenset[int] | None]
    others: set[bytes]
    lengths: tuple[int, ...] | None
    offsets: list[int] = field(factory=list)
    todo: set[int] = field(factory=set)
    lowest: list[int] = field(factory=list)  # a heap over `todo`, with leftovers
    asked: dict[int, Asked] = field(factory=dict)
    left: int = 0
    missing: int = 0
    retry: dict[bytes, float] = field(factory=dict)
    queued: set[bytes] = field(factory=set)
    look_at: float = inf

    def put_back(self, piece: int) -> None:
        """Ask for a piece (again)."""
        self.todo.add(piece)
        heappush(self.lowest, piece)

    def next_piece(self, have: frozenset[int] | None) -> int | None:
        """Return the lowest piece to ask for that a holder with these pieces (None: with all) has."""
        if have is not None:
            return min(self.todo & have, default=None)
        while self.lowest and self.lowest[0] not in self.todo:
            heappop(self.lowest)
        return self.lowest[0] if self.lowest else None


@define(eq=False)
class Load:
    """What is in flight with one node, and how far it is trusted."""

    requests: int = 0
    size: int = 0
    window: int = FIRST_WINDOW
    strikes: int = 0
    banned: float = 0.0
    down: float = 0.0


@define(order=True)
class Entry:
    """A place in a node's queue: the smallest is asked for first."""

    priority: int
    large: bool
    rank: int
    order: int
    content: bytes
