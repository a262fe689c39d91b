"""Who began or ceased to hold what, for members that still look for a content. Pure.

One log for all members of a share, each with a place in it, so that what came while a member was not ready to
be told is told at once and merged, and no queue is kept for anyone.
"""

from __future__ import annotations

from collections import deque

from attrs import frozen

from twistedp2p.tracker.numbers import NumberSet

__all__ = ["HolderLog", "HolderNews"]

_MOST = 4096
"""Changes that are kept for the slowest member; it can ask who holds an item when it matters."""


@frozen
class HolderNews:
    """The items that one member (a session number) holds now, and those that it holds no more."""

    member: int
    held: NumberSet
    lost: NumberSet

    def then(self, later: HolderNews) -> HolderNews:
        """Return both changes as one."""
        held, lost = self.held.minus(later.lost), self.lost.minus(later.held)
        held.update(later.held)
        lost.update(later.lost)
        return HolderNews(self.member, held, lost)

    def without(self, numbers: NumberSet) -> HolderNews:
        """Return the part of this that is not about `numbers`."""
        return HolderNews(self.member, self.held.minus(numbers), self.lost.minus(numbers))

    def __bool__(self) -> bool:
        return bool(self.held or self.lost)


class HolderLog:
    """The last changes of holds in one share; a place in it is a count of changes."""

    def __init__(self) -> None:
        self.end = 0
        self._news: deque[HolderNews] = deque(maxlen=_MOST)

    def tell(self, news: HolderNews) -> None:
        """Add one change."""
        self._news.append(news)
        self.end += 1

    def since(self, place: int) -> dict[int, HolderNews]:
        """Return what changed since `place`, merged by member."""
        merged: dict[int, HolderNews] = {}
        for index in range(max(0, len(self._news) - (self.end - place)), len(self._news)):
            news = self._news[index]
            before = merged.get(news.member)
            merged[news.member] = news if before is None else before.then(news)
        return merged

    def forget(self, place: int) -> None:
        """Drop what came before `place`: everybody has read it."""
        while self._news and self.end - len(self._news) < place:
            self._news.popleft()
