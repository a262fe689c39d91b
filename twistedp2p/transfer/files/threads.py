"""Worker threads for what blocks: begun when there is work, and ended once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

__all__ = ["Threads"]

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Threads of their own for one purpose; as `on_disk.InThread` has it.

    Args:
        reactor: hears what comes of the work.
        most: how many there are at a time.
        name: what they are called.
    """

    def __init__(self, reactor: Any, most: int, name: str) -> None:
        self._reactor = reactor
        self._most = most
        self._name = name
        self._pool: ThreadPool | None = None
        self._over = False

    def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Return what `work` returns, or fails with what it raises."""
        if self._over:
            # Somebody lets go of a file late: threads that began now would never be ended.
            return execute(work, *args, **kwargs)
        if self._pool is None:
            self._pool = ThreadPool(0, self._most, self._name)
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)

    def end(self) -> None:
        """End them when what is under way is done, which is waited for; what comes later is done at once."""
        self._over = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
