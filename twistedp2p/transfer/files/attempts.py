"""Several ways to one server: which is gone next, and which counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import Unreachable
from twistedp2p.framing.alarm import Alarm
from twistedp2p.transfer.files.connection import FilesConnection

__all__ = ["Attempts"]


class Attempts:
    """Several ways to the same end: the next begins when one fails or takes long, and the first that works counts.

    As RFC 8305 (happy eyeballs) does it with addresses.
    """

    def __init__(self, clock: IReactorTime, ways: Sequence[Callable[[], Deferred[FilesConnection]]]) -> None:
        self._left = list(ways)
        self._under_way: list[Deferred[FilesConnection]] = []
        self._failures: list[Failure] = []
        self._over = False
        self._next = Alarm(clock, self._begin)
        self._result: Deferred[FilesConnection] = Deferred(lambda _: self._stop())

    def first(self) -> Deferred[FilesConnection]:
        """Return what the first way leads to; fails as the most telling of all did."""
        self._begin()
        return self._result

    def _begin(self) -> None:
        if not self._left:
            return
        if len(self._left) > 1:
            self._next.set(limits.NEXT_ADDRESS)
        way = self._left.pop(0)()
        self._under_way.append(way)
        way.addCallbacks(self._worked, self._failed, callbackArgs=(way,), errbackArgs=(way,))

    def _worked(self, connection: FilesConnection, way: Deferred[FilesConnection]) -> None:
        self._under_way.remove(way)
        if not self._over:
            self._stop()
            self._result.callback(connection)

    def _failed(self, failure: Failure, way: Deferred[FilesConnection]) -> None:
        self._under_way.remove(way)
        self._failures.append(failure)
        if self._over:
            return
        if self._left:
            self._begin()
        elif not self._under_way:
            self._next.stop()
            # "Another server answers there" says more than "nobody answers".
            telling = [one for one in self._failures if type(one.value) is not Unreachable]
            self._result.errback((telling or self._failures)[0])

    def _stop(self) -> None:
        self._over = True
        self._next.stop()
        self._left.clear()
        for way in list(self._under_way):
            way.cancel()
