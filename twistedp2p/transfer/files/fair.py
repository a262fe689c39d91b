"""Whose turn it is: weighted fair queueing of bytes, as start-time fair queueing does it (Goyal, Vin, Cheng 1996).

Everything that waits has a weight and a virtual time, which advances by bytes / weight whenever some of its bytes are
asked for; the one that is furthest behind is next. What comes newly begins at the virtual time of those that are being
served, so that it neither catches up for the time before, nor waits for others to do so.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from attrs import define

__all__ = ["Fair", "Priority", "Said", "is_below"]

K = TypeVar("K", bound=Hashable)


class Priority(IntEnum):
    """How urgent a file is; the value is its share of the bytes."""

    CRITICAL = 64
    HIGH = 16
    NORMAL = 4
    LOW = 1

    @property
    def word(self) -> str:
        """What a person calls it."""
        return self.name.lower()

    @classmethod
    def named(cls, word: str) -> Priority:
        """Return the priority of that name; raises KeyError."""
        return cls[word.strip().upper()]


def is_below(path: str, top: str) -> bool:
    """Whether a path is `top`, or in that folder; "" is the folder of all."""
    return not top or path == top or path.startswith(f"{top}/")


class Said:
    """The priorities that were said of files and folders: what is said of a folder holds for all that is in it."""

    def __init__(self) -> None:
        self._said: dict[str, Priority] = {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def say(self, path: str, priority: Priority) -> None:
        """Say it of a path, and of all below it, whatever was said of that before."""
        for other in [other for other in self._said if is_below(other, path)]:
            del self._said[other]
        self._said[path] = priority

    def add(self, path: str, priority: Priority) -> None:
        """Say it of a path, but of nothing below it of which something was said before."""
        self._said[path] = priority

    def of(self, path: str) -> Priority | None:
        """Return what was said of a path, or of the nearest folder above it; None if nothing was."""
        while path not in self._said and path:
            path = path.rpartition("/")[0]
        return self._said.get(path)


@define
class _Turn:
    weight: int
    virtual: float
    order: int


class Fair(Generic[K]):
    """Those that wait for their turn."""

    def __init__(self) -> None:
        self._turns: dict[K, _Turn] = {}
        self._now = 0.0
        self._orders = 0

    def __len__(self) -> int:
        return len(self._turns)

    def __contains__(self, key: object) -> bool:
        return key in self._turns

    def add(self, key: K, weight: int) -> None:
        """Let `key` wait for its turns, with a weight above 0; KeyError if it does already."""
        if key in self._turns:
            raise KeyError(key)
        self._orders += 1
        self._turns[key] = _Turn(weight, self._now, self._orders)

    def remove(self, key: K) -> None:
        """`key` wants nothing more; harmless if it did not wait."""
        self._turns.pop(key, None)

    def set_weight(self, key: K, weight: int) -> None:
        """Change a weight, from the next turn on; harmless if `key` does not wait."""
        if key in self._turns:
            self._turns[key].weight = weight

    def next(self) -> K | None:
        """Return whose turn it is; None if nobody waits."""
        if not self._turns:
            return None
        key = min(self._turns, key=lambda key: (self._turns[key].virtual, self._turns[key].order))
        self._now = max(self._now, self._turns[key].virtual)
        return key

    def charge(self, key: K, size: int) -> None:
        """`size` bytes of `key` were asked for."""
        turn = self._turns.get(key)
        if turn is not None:
            turn.virtual += size / turn.weight
