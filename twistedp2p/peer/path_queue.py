"""Paths that wait to be planned: each once, the parents before what is in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

__all__ = ["PathQueue"]


class PathQueue:
    """A set of paths from which the smallest are taken first."""

    def __init__(self) -> None:
        self._waiting: set[str] = set()
        self._heap: list[str] = []

    def __contains__(self, path: str) -> bool:
        return path in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def update(self, paths: Iterable[str]) -> None:
        """Add these paths; one that waits already stays where it is."""
        for path in paths:
            if path not in self._waiting:
                self._waiting.add(path)
                heapq.heappush(self._heap, path)

    def take(self, most: int) -> list[str]:
        """Return, and forget, up to `most` paths, sorted."""
        taken = [heapq.heappop(self._heap) for _ in range(min(most, len(self._heap)))]
        self._waiting.difference_update(taken)
        return taken

    def take_only(self, path: str) -> bool:
        """Forget `path`, and return whether it waited."""
        if path not in self._waiting:
            return False
        self._waiting.remove(path)
        self._heap.remove(path)
        heapq.heapify(self._heap)
        return True

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._heap.clear()
