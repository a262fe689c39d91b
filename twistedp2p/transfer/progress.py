"""How far fetching has come, and how fast it goes.  Pure: `now` is an argument, in seconds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from attrs import frozen

__all__ = ["Meter", "Progress"]

_WINDOW = 10


class Meter:
    """Counts bytes, in all and by node, and knows the speed over the last ten seconds."""

    def __init__(self) -> None:
        self.total = 0
        self.by_node: Counter[bytes] = Counter()
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, node: bytes, size: int, now: float) -> None:
        """Count `size` bytes that came from a node."""
        self.total += size
        self.by_node[node] += size
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + size)
        else:
            self._seconds.append((second, size))
        self._forget(now)

    def speed(self, now: float) -> float:
        """Return the bytes per second of the last ten seconds."""
        self._forget(now)
        return sum(size for _, size in self._seconds) / _WINDOW

    def _forget(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - _WINDOW:
            self._seconds.popleft()


@frozen
class Progress:
    """What is being fetched at one instant: contents, their bytes, and how many of those are not here yet.

    `received` counts since the start, in all and by node; `speed` is in bytes per second.
    """

    contents: int
    wanted: int
    missing: int
    received: int
    speed: float
    by_node: Mapping[bytes, int]
