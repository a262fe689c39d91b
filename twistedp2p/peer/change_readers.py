"""Who reads the changes of a folder: several at a time, each at its own pace and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from weakref import WeakSet

from twisted.internet.defer import Deferred

from twistedp2p.limits import CHANGES_WAITING
from twistedp2p.peer.changes import LOST, Change, What

__all__ = ["ChangeReaders", "Changes"]


class Changes:
    """What changes from now on, for one reader: `async for change in changes`, or `next` again and again.

    A reader that is `CHANGES_WAITING` behind gets one `LOST` in place of what waits for it. It ends when the peer
    does, or with `close`; one that nobody has any more is forgotten.
    """

    def __init__(self, readers: ChangeReaders) -> None:
        self._readers = readers
        self._unread: deque[Change] = deque()
        self._waiting: deque[Deferred[Change | None]] = deque()
        self._ended = False

    def next(self) -> Deferred[Change | None]:
        """Return a Deferred of the next change; None when there are no more. Cancelling it loses nothing."""
        result: Deferred[Change | None] = Deferred(self._waits_no_more)
        if self._unread:
            result.callback(self._unread.popleft())
        elif self._ended:
            result.callback(None)
        else:
            self._waiting.append(result)
            self._readers._waiting.add(self)
        return result

    def close(self) -> None:
        """Read no more: what waits is forgotten, and whoever waits hears the end."""
        self._unread.clear()
        self._end()

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        change = await self.next()
        if change is None:
            raise StopAsyncIteration
        return change

    def _waits_no_more(self, result: Deferred[Change | None]) -> None:
        self._waiting.remove(result)
        self._mind()

    def _mind(self) -> None:
        if not self._waiting:
            self._readers._waiting.discard(self)

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if self._ended:  # whoever was told a moment ago has closed it
                return
            if self._waiting:
                waiting = self._waiting.popleft()
                self._mind()
                waiting.callback(change)
            elif len(self._unread) < CHANGES_WAITING:
                self._unread.append(change)
            else:
                self._unread.clear()
                self._unread.append(LOST)
                if change.what is not What.LOST:
                    self._unread.append(change)

    def _end(self) -> None:
        self._ended = True
        self._readers._all.discard(self)
        waiting, self._waiting = self._waiting, deque()
        self._mind()
        for one in waiting:
            one.callback(None)


class ChangeReaders:
    """All readers of one folder; it outlives the peers that follow each other there."""

    def __init__(self) -> None:
        # Who waits is kept; who does not is kept by the program that reads, or by nobody.
        self._all: WeakSet[Changes] = WeakSet()
        self._waiting: set[Changes] = set()
        self.ended = False
        """Whether nothing changes any more."""

    def __len__(self) -> int:
        return len(self._all)

    def new(self) -> Changes:
        """Return a reader of what changes from now on; it has ended already if the peer has."""
        changes = Changes(self)
        self._all.add(changes)
        if self.ended:
            changes.close()
        return changes

    def tell(self, changes: Iterable[Change]) -> None:
        """Hand changes on to all readers."""
        changes = tuple(changes)
        if changes:
            for reader in list(self._all):
                reader._tell(changes)

    def end(self) -> None:
        """Nothing changes any more; what waits can still be read."""
        self.ended = True
        for reader in list(self._all):
            reader._end()
