"""When a path that the watch hinted at is worth a look: once nobody seems to write to it any more. Pure."""

from __future__ import annotations

import heapq

from twistedp2p.limits import QUIET_AFTER_CLOSE, QUIET_AFTER_WRITE
from twistedp2p.peer.folder.hints import Hint, What

__all__ = ["Quiet"]

_UNFINISHED = (What.MODIFIED, What.CREATED)


class Quiet:
    """Paths that wait to be quiet.

    A path is due `limits.QUIET_AFTER_CLOSE` after it was closed, renamed or removed, and `limits.QUIET_AFTER_WRITE`
    after any other change; each change begins that anew. One that is closed again and again, as a log is by a
    shell, is due after the longer time at the latest.
    """

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def add(self, hint: Hint, now: float) -> None:
        """Take a hint that came at `now`, seconds; a rename makes its two paths due together."""
        for path in (hint.path, hint.moved_from):
            if path is not None:
                self._add(path.text, hint.what, now)

    def is_waiting(self, path: str) -> bool:
        """Return whether `path` is not quiet yet: somebody may still be writing to it."""
        return path in self._due

    def waiting(self) -> list[str]:
        """Return the paths that are not quiet yet."""
        return list(self._due)

    def due(self, now: float) -> list[str]:
        """Return, and forget, the paths that are quiet at `now`, the longest waiting first."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, path = heapq.heappop(self._heap)
            if self._due.get(path) == at:
                self._forget(path)
                found.append(path)
        return found

    def next_at(self) -> float | None:
        """Return when the next path will be quiet if nothing more happens, None if none waits."""
        while self._heap:
            at, path = self._heap[0]
            if self._due.get(path) == at:
                return at
            heapq.heappop(self._heap)  # put off since
        return None

    def _add(self, path: str, what: What, now: float) -> None:
        if what in _UNFINISHED:
            self._latest.pop(path, None)
            at = now + QUIET_AFTER_WRITE
        elif what is What.ATTRIB and path in self._due:
            return  # a chmod in the midst of a save does not finish it
        else:
            at = min(now + QUIET_AFTER_CLOSE, self._latest.setdefault(path, now + QUIET_AFTER_WRITE))
        if self._due.get(path) != at:
            self._due[path] = at
            heapq.heappush(self._heap, (at, path))

    def _forget(self, path: str) -> None:
        del self._due[path]
        self._latest.pop(path, None)
