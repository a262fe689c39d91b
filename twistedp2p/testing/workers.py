"""The threads of a simulated process: blocking work is done in line, but takes its time."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from typing_extensions import ParamSpec

from twistedp2p.testing.faults import Crashed

__all__ = ["SimWorkers"]

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 0.003
"""Work takes up to this long, seconds: people and messages come in between."""


class SimWorkers:
    """See `peer.workers.Workers`: work is done at one moment between its call and its answer, `random` decides which.

    What goes round in circles is seen, because every call takes a turn of the clock. Work of a process that is
    killed is either done or not.
    """

    def __init__(self, clock: IReactorTime, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._free_at = 0.0

    def state(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do work after all that was asked for before."""
        begin = max(self._free_at, self._clock.seconds())
        return self._at(begin, lambda: execute(work, *args, **kwargs), in_order=True)

    def bulk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do work, whatever else is done."""
        return self._at(self._clock.seconds(), lambda: execute(work, *args, **kwargs), in_order=False)

    def _at(self, begin: float, work: Callable[[], Deferred[T]], *, in_order: bool) -> Deferred[T]:
        done_at = begin + self._random.random() * LONGEST
        answer_at = done_at + self._random.random() * LONGEST
        if in_order:
            self._free_at = answer_at
        answer: Deferred[T] = Deferred(lambda _: None)

        def do() -> None:
            result = work().addErrback(died)
            self._clock.callLater(answer_at - done_at, tell, result)

        def died(failure: Failure) -> Failure | None:
            return None if failure.check(Crashed) else failure  # nobody is left to hear of it

        def tell(result: Deferred[T]) -> None:
            if answer.called:
                result.addErrback(lambda _: None)  # nobody waits for it any more
            else:
                result.chainDeferred(answer)

        self._clock.callLater(done_at - self._clock.seconds(), do)
        return answer
