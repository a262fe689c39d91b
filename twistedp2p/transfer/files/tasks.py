"""Work that nobody waits for by itself: all of it is done, or the first error that is not about one file ends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

__all__ = ["Room", "Tasks"]


class Tasks:
    """What is under way.

    Args:
        next_: called whenever some of it ended: begins what has room now.
        broke: called once, when everything ends too early: lets go of what is held.
    """

    def __init__(self, next_: Callable[[], object], broke: Callable[[], object]) -> None:
        self._next = next_
        self._broke = broke
        self._under_way: set[Deferred[None]] = set()
        self._failure: Failure | None = None
        self._finished: Deferred[None] | None = None

    @property
    def broken(self) -> bool:
        """Whether everything ended too early."""
        return self._failure is not None

    @property
    def at_end(self) -> bool:
        """Whether somebody waits for the end, and nothing is under way any more."""
        waited_for = self._finished is not None and not self._finished.called
        return waited_for and self._failure is None and not self._under_way

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something; an error that comes out of it ends everything."""
        task = Deferred.fromCoroutine(work)
        self._under_way.add(task)

        def ended(result: object) -> None:
            self._under_way.discard(task)
            if isinstance(result, Failure):
                self._break(result)
            self._next()

        task.addBoth(ended)

    def go_on(self) -> None:
        """Begin what has room now."""
        self._next()

    def check(self) -> None:
        """Raise if everything ended too early, because of an error or because of `stop`."""
        if self._failure is not None:
            self._failure.raiseException()

    def finished(self) -> Deferred[None]:
        """Return what `end` fires, or what fails if everything ends too early; to cancel it is to `stop`."""
        self._finished = Deferred(lambda _: self.stop())
        if self._failure is not None:
            self._finished.errback(self._failure)
        return self._finished

    def end(self) -> None:
        """Everything is done: say so to who waits for it; only `at_end`."""
        assert self._finished is not None
        self._finished.callback(None)

    def stop(self) -> None:
        """End everything now."""
        self._break(Failure(CancelledError()))

    def _break(self, failure: Failure) -> None:
        if self._failure is not None:
            return
        self._failure = failure
        for task in list(self._under_way):
            task.cancel()
        self._broke()
        if self._finished is not None and not self._finished.called:
            self._finished.errback(failure)


class Room:
    """A door that opens one by one to those who wait until there is room for more.

    Args:
        full: says whether there is no room.
    """

    def __init__(self, full: Callable[[], bool]) -> None:
        self._full = full
        self._waiting: deque[Deferred[None]] = deque()
        self._open = False

    async def wait(self) -> None:
        """Return when there is room."""
        while self._full() and not self._open:
            freed: Deferred[None] = Deferred()
            self._waiting.append(freed)
            await freed

    def freed(self) -> None:
        """There may be room now."""
        while self._waiting and (self._open or not self._full()):
            self._waiting.popleft().callback(None)

    def open(self) -> None:
        """Nobody waits any more, now or later."""
        self._open = True
        self.freed()
