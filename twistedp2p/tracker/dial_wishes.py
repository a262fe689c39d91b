"""Who asked to be dialled by whom, so that no member makes the others dial without end. Pure: `now` is an argument."""

from __future__ import annotations

from collections import Counter, deque

from twistedp2p import limits

__all__ = ["DialWishes"]


class DialWishes:
    """The wishes to be dialled that were passed on in one share in the last `limits.DIAL_ME_WINDOW` seconds.

    They are counted by node, not by session: who comes back has no more of them.
    """

    def __init__(self) -> None:
        self._passed_on: deque[tuple[float, bytes, bytes]] = deque()
        self._of: Counter[bytes] = Counter()
        self._last: dict[tuple[bytes, bytes], float] = {}

    def __len__(self) -> int:
        return len(self._passed_on)

    def allow(self, asking: bytes, asked: bytes, now: float) -> bool:
        """Return whether this wish may be passed on now, and count it if so."""
        self._forget(now)
        last = self._last.get((asking, asked))
        if last is not None and 0 <= now - last < limits.DIAL_ME_PAIR:
            return False
        if self._of[asking] >= limits.DIAL_ME_MOST:
            return False
        self._passed_on.append((now, asking, asked))
        self._of[asking] += 1
        self._last[asking, asked] = now
        return True

    def _forget(self, now: float) -> None:
        while self._passed_on and self._passed_on[0][0] <= now - limits.DIAL_ME_WINDOW:
            when, asking, asked = self._passed_on.popleft()
            self._of[asking] -= 1
            if not self._of[asking]:
                del self._of[asking]
            if self._last.get((asking, asked)) == when:
                del self._last[asking, asked]
