"""Where blocking work runs: one thread that owns the index and the folder's names, a few for bulk bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["InlineWorkers", "ThreadWorkers", "Workers"]

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Protocol):
    """The seam: what blocks is handed here, so that a simulation can run it in line."""

    def state(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run `work` in the one thread that changes the index and publishes: calls run in order, one at a time."""

    def bulk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run `work` in a thread for reading, hashing and writing: calls may run at the same time."""


class ThreadWorkers:
    """Real threads, started and stopped with the peer."""

    def __init__(self, reactor: IReactorFromThreads, bulk_threads: int = 2) -> None:
        self._reactor = reactor
        self._state = ThreadPool(1, 1, "state")
        self._bulk = ThreadPool(0, bulk_threads, "bulk")
        self._reading = 0
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Start the threads."""
        self._state.start()
        self._bulk.start()

    def stop(self) -> None:
        """Let what is under way finish, and end the threads; blocks until they have ended."""
        self._bulk.stop()
        self._state.stop()

    def state(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run in the state thread."""
        return deferToThreadPool(self._reactor, self._state, work, *args, **kwargs)

    def bulk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run in one of the bulk threads."""
        self._reading += 1

        def counted() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                self._reactor.callFromThread(self._read)

        return deferToThreadPool(self._reactor, self._bulk, counted)

    def when_read(self) -> Deferred[None]:
        """Return a Deferred that fires when nothing runs in the bulk threads, or waits for one.

        Also work whose result nobody waits for any more, as it can not be interrupted.
        """
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    def _read(self) -> None:
        self._reading -= 1
        self._tell()

    def _tell(self) -> None:
        if not self._reading:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)


class InlineWorkers:
    """Everything at once in the calling thread: for simulations and tests."""

    def state(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run now."""
        return execute(work, *args, **kwargs)

    def bulk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run now."""
        return execute(work, *args, **kwargs)
