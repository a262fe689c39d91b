"""Virtual time for a whole network in one process: nothing happens unless the clock is told to go on.

Calls are kept in a heap, because a network of nodes has thousands of them. Calls of the same moment run in the order
in which they were made, so that one run is like the next. A process that is killed takes its calls along, and those
of one that is suspended wait for it: see `ProcessClock`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf, nextafter
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

__all__ = ["ProcessClock", "SimClock", "Stuck"]

MOST_CALLS = 5_000_000
"""Calls after which a run counts as stuck: something goes round in circles without time going by."""


CALLS_IN_A_MOMENT = 1000
"""After so many calls time goes by, if only a little: no real clock stands still for that long, and who has rounded
the time that is left to nothing must not look at it for ever."""


class Stuck(AssertionError):
    """What was waited for did not happen in time; a simulation that says so has found a bug."""


@implementer(IDelayedCall)
class _Call:
    """One delayed call; its place in the heap is void once `turn` has moved on."""

    __slots__ = ("_arguments", "_call", "_clock", "_keywords", "_over", "_owner", "at", "turn")

    def __init__(
        self,
        owner: SimClock | ProcessClock,
        clock: SimClock,
        at: float,
        call: Callable[..., object],
        arguments: Any,
        keywords: Any,
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._call = call
        self._arguments = arguments
        self._keywords = keywords
        self._over: type[Exception] | None = None
        self.at = at
        self.turn = 0

    def getTime(self) -> float:
        """Return the moment at which it happens."""
        return self.at

    def active(self) -> bool:
        """Return whether it is still going to happen."""
        return self._over is None

    def cancel(self) -> None:
        """Let it not happen; raises `AlreadyCalled` or `AlreadyCancelled`."""
        if self._still():
            self._end(AlreadyCancelled)

    def reset(self, secondsFromNow: float) -> None:
        """Let it happen that many seconds from now instead."""
        if self._still():
            self._clock._put(self, self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        """Let it happen that much later than it would."""
        if self._still():
            self._clock._put(self, self.at + secondsLater)

    def run(self) -> None:
        """Let it happen, if its process lives; if that is suspended, when it goes on."""
        if self._owner.hold(self):
            return
        call, arguments, keywords = self._call, self._arguments, self._keywords
        self._end(AlreadyCalled)
        if self._owner.alive:
            call(*arguments, **keywords)

    def _still(self) -> bool:
        """Return whether it is still going to happen; a killed process is told of no mistake."""
        if self._over is not None and self._owner.alive:
            raise self._over
        return self._over is None

    def _end(self, how: type[Exception]) -> None:
        self._over = how
        del self._call, self._arguments, self._keywords
        self._clock._ended()


@implementer(IReactorTime)
class SimClock:
    """The time of a simulation, seconds from 0; `most_calls` is after how many calls it counts as `Stuck`."""

    alive = True

    def __init__(self, most_calls: int = MOST_CALLS) -> None:
        self.calls_made = 0
        self._now = 0.0
        self._turn = 0
        self._waiting = 0
        self._in_this_moment = 0
        self._most_calls = most_calls
        self._heap: list[tuple[float, int, _Call]] = []

    def hold(self, call: _Call) -> bool:
        """Return whether a call that is due has to wait: only those of a suspended process do."""
        return False

    def seconds(self) -> float:
        """Return the time."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """Call in `delay` seconds; not before other calls that are due then already."""
        return self.call_for(self, delay, callable, args, kw)

    def call_for(
        self,
        owner: SimClock | ProcessClock,
        delay: float,
        callable: Callable[..., object],
        args: tuple[object, ...],
        kw: dict[str, object],
    ) -> IDelayedCall:
        """Call in `delay` seconds if `owner` is alive then."""
        if delay < 0:
            raise ValueError(f"a call can not be {-delay} seconds ago")
        at = self._now + delay
        if delay > 0 and at <= self._now:
            # A delay that is lost in rounding would let a caller who waits for a moment wait at this one for ever.
            at = nextafter(self._now, inf)
        call = _Call(owner, self, at, callable, args, kw)
        self._waiting += 1
        self._put(call, call.at)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Return what is going to happen, the soonest first."""
        return [call for _, turn, call in sorted(self._heap) if call.active() and call.turn == turn]

    @property
    def next_at(self) -> float | None:
        """When the next call is due; None if nothing waits."""
        while self._heap:
            at, turn, call = self._heap[0]
            if call.active() and call.turn == turn:
                return at
            heapq.heappop(self._heap)
        return None

    def step(self) -> bool:
        """Go to the next call and make it; return False if there is none."""
        if self.next_at is None:
            return False
        at, _, call = heapq.heappop(self._heap)
        self._in_this_moment = 0 if at > self._now else self._in_this_moment + 1
        self._now = max(self._now, at)
        if self._in_this_moment > CALLS_IN_A_MOMENT:
            self._now = nextafter(self._now, inf)
        self.calls_made += 1
        if self.calls_made > self._most_calls:
            raise Stuck(f"{self.calls_made} calls were made until {self._now:.3f} s: something goes round in circles")
        call.run()
        return True

    def advance(self, seconds: float) -> None:
        """Let that much time go by, with all that happens in it."""
        end = self._now + seconds
        while (at := self.next_at) is not None and at <= end:
            self.step()
        self._now = end

    def run_until(self, happened: Callable[[], bool], limit: float, what: str = "what was waited for") -> float:
        """Go on, call by call, until `happened`; return how many seconds it took.

        Raises `Stuck`, naming `what`, if it has not happened after `limit` seconds, or if nothing more can happen.
        """
        begin = self._now
        while not happened():
            at = self.next_at
            if at is None or at > begin + limit:
                raise Stuck(f"{what} did not happen within {limit:g} s (now {self._now:.3f} s)")
            self.step()
        return self._now - begin

    def put_again(self, call: _Call, turn: int) -> None:
        """Let a call that was held happen now, unless it was put off or given up since."""
        if call.active() and call.turn == turn:
            self._put(call, self._now)

    def _put(self, call: _Call, at: float) -> None:
        self._turn += 1
        call.at, call.turn = max(at, self._now), self._turn
        heapq.heappush(self._heap, (call.at, call.turn, call))

    def _ended(self) -> None:
        """Note that a call is over; places in the heap that are void are removed when most of them are."""
        self._waiting -= 1
        if len(self._heap) > 64 and len(self._heap) > 2 * self._waiting:
            self._heap = [entry for entry in self._heap if entry[2].active() and entry[2].turn == entry[1]]
            heapq.heapify(self._heap)


@implementer(IReactorTime)
class ProcessClock:
    """The clock of one process of a simulation: when the process is killed, none of its calls happen any more.

    Time goes by for a process that is suspended, but what is due then happens only when it goes on, all at once.
    """

    def __init__(self, clock: SimClock) -> None:
        self.alive = True
        self.suspended = False
        self._clock = clock
        self._held: list[tuple[_Call, int]] = []

    def seconds(self) -> float:
        """Return the time."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """Call in `delay` seconds, if the process still lives then."""
        return self._clock.call_for(self, delay, callable, args, kw)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Return what is going to happen, in all processes."""
        return self._clock.getDelayedCalls()

    def kill(self) -> None:
        """Let nothing happen any more that this process wanted."""
        self.alive = False
        self.resume()

    def suspend(self) -> None:
        """Let nothing happen that this process wanted, until it goes on."""
        self.suspended = True

    def resume(self) -> None:
        """Let happen what was due meanwhile, in its order."""
        self.suspended = False
        held, self._held = self._held, []
        for call, turn in held:
            self._clock.put_again(call, turn)

    def hold(self, call: _Call) -> bool:
        """Return whether a call that is due has to wait."""
        if self.suspended:
            self._held.append((call, call.turn))
        return self.suspended
