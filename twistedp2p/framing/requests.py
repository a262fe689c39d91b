"""Requests and replies over one connection, whatever they are about.

    asking side (`Requests`)                       answering side (`Answers`)
    1. a request, with a number of its own  -->    begins to answer, at once or when its turn comes
    2. hears parts, in order                <--    parts of the reply
    3. the Deferred fires                   <--    the end: done, or failed with a code
    4. a cancel, at any time before 3       -->    stops; the end comes all the same

The asking side chooses the numbers, and a number is free again after its end. Many requests are under way at the
same time, in both directions. The messages themselves belong to the conversation that uses this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import PeerTimeout, ProtocolViolation
from twistedp2p.framing.alarm import Alarm

__all__ = ["Answers", "Requests"]

_STARVED = 10
"""A request that gets nothing for this many timeouts, while others do, has failed all the same."""


@define(eq=False)
class _Request:
    """A request that waits for its turn (`number` None), for its reply, or, `wanted` no more, for its end."""

    message_of: Callable[[int], object]
    on_part: Callable[[Any], None]
    result: Deferred[None]
    number: int | None = None
    heard: float = 0.0
    wanted: bool = True


class Requests:
    """What one side of a connection has asked for; every Deferred fires: reply, failure, timeout or loss.

    Args:
        clock: tells the time.
        send: sends a message.
        cancel_of: makes the message that cancels the request of a number.
        silent: called after all requests failed, if nothing was heard for `timeout` seconds: drop the connection.
        heard_at: tells when the last byte came, of whatever: a part of a reply may take longer than `timeout` to come.
        timeout: seconds.
        most: requests that may be unanswered; further ones wait here.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        send: Callable[[object], object],
        cancel_of: Callable[[int], object],
        silent: Callable[[], object],
        heard_at: Callable[[], float],
        timeout: float = limits.REPLY,
        most: int = limits.REQUESTS_IN_FLIGHT,
    ) -> None:
        self._clock = clock
        self._send = send
        self._cancel_of = cancel_of
        self._silent = silent
        self._heard_at = heard_at
        self._timeout = timeout
        self._most = most
        self._numbers = count()
        self._sent: dict[int, _Request] = {}
        self._waiting: deque[_Request] = deque()
        self._lost: Failure | None = None
        self._overdue = Alarm(clock, self._look)

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    def ask(self, message_of: Callable[[int], object], on_part: Callable[[Any], None]) -> Deferred[None]:
        """Send a request, now or when others have ended.

        Args:
            message_of: makes the message, given its number.
            on_part: called with each part of the reply; may raise ProtocolViolation.

        Returns:
            A Deferred that fires after the last part; cancelling it cancels the request. It fails with what the
            other side says, with `PeerTimeout`, or with the reason for which the connection was lost.
        """
        result: Deferred[None] = Deferred(lambda _: self._cancel(request))
        request = _Request(message_of, on_part, result)
        if self._lost is not None:
            request.wanted = False
            result.errback(self._lost)
            return result
        self._waiting.append(request)
        self._send_waiting()
        return result

    def part(self, number: int, part: object) -> None:
        """A part of a reply arrived; raises ProtocolViolation if nothing of that number was asked."""
        request = self._sent.get(number)
        if request is None:
            raise ProtocolViolation("a reply to nothing that was asked")
        request.heard = self._clock.seconds()
        if request.wanted:
            request.on_part(part)

    def done(self, number: int) -> None:
        """The reply of that number is complete; raises ProtocolViolation if nothing of that number was asked."""
        request = self._end(number)
        if request.wanted:
            request.wanted = False
            request.result.callback(None)

    def failed(self, number: int, error: Exception) -> None:
        """The other side gave up; raises ProtocolViolation if nothing of that number was asked."""
        request = self._end(number)
        if request.wanted:
            request.wanted = False
            request.result.errback(Failure(error))

    def lost(self, reason: Failure) -> None:
        """The connection is gone: everything fails, and so does whatever is asked from now on."""
        self._lost = reason
        self._overdue.stop()
        self._fail_all(reason)

    def _end(self, number: int) -> _Request:
        request = self._sent.pop(number, None)
        if request is None:
            raise ProtocolViolation("the end of a reply to nothing that was asked")
        if not self._sent:
            self._overdue.stop()
        self._send_waiting()
        return request

    def _send_waiting(self) -> None:
        while self._waiting and len(self._sent) < self._most and self._lost is None:
            request = self._waiting.popleft()
            request.number = next(number for number in self._numbers if number % 2**32 not in self._sent) % 2**32
            request.heard = self._clock.seconds()
            self._sent[request.number] = request
            if not self._overdue.is_set:
                self._overdue.set(self._timeout)
            self._send(request.message_of(request.number))

    def _cancel(self, request: _Request) -> None:
        if not request.wanted:
            return
        request.wanted = False
        if request.number is None:
            self._waiting.remove(request)
        elif self._lost is None:
            self._send(self._cancel_of(request.number))

    def _look(self) -> None:
        """Fail what is overdue, and come back when something else may be."""
        now = self._clock.seconds()
        newest = max(self._heard_at(), *(request.heard for request in self._sent.values()))
        left = self._timeout - (now - newest)
        if left <= 0:
            self._fail_all(Failure(PeerTimeout("The other side does not answer any more.")))
            self._silent()
            return
        for request in list(self._sent.values()):
            if now - request.heard >= self._timeout * _STARVED:
                if not request.wanted:  # not even the end of what was cancelled
                    self._silent()
                    return
                request.heard = now
                self._cancel(request)
                request.result.errback(Failure(PeerTimeout("The other side does not get round to answering.")))
        if self._sent:
            self._overdue.set(left)

    def _fail_all(self, reason: Failure) -> None:
        requests = [*self._sent.values(), *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for request in requests:
            if request.wanted:
                request.wanted = False
                request.result.errback(reason)


@define(order=True)
class _Answer:
    priority: int
    order: int
    number: int = field(order=False)
    work: Callable[[], Coroutine[Any, Any, None]] = field(order=False)


class Answers:
    """What the other side of a connection has asked for: a few are answered at a time, the most urgent first.

    Args:
        end: called with the number and None or the Failure, once for each request, unless the connection is lost;
            a cancelled one fails with CancelledError.
        most: requests that the other side may have unanswered.
        at_once: requests that are worked on at the same time.
    """

    def __init__(
        self,
        end: Callable[[int, Failure | None], object],
        *,
        most: int = limits.REQUESTS_IN_FLIGHT,
        at_once: int = limits.ANSWERS_AT_ONCE,
    ) -> None:
        self._end = end
        self._most = most
        self._at_once = at_once
        self._orders = count()
        self._waiting: list[_Answer] = []
        self._active: dict[int, Deferred[None]] = {}
        self._numbers: set[int] = set()
        self._lost = False

    def __len__(self) -> int:
        return len(self._numbers)

    def begin(self, number: int, priority: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Answer a request by running `work`, now or when its turn comes; a smaller priority is sooner.

        Raises:
            ProtocolViolation: its number is in use, or too many requests are unanswered.
        """
        if number in self._numbers:
            raise ProtocolViolation("two requests with one number")
        if len(self._numbers) >= self._most:
            raise ProtocolViolation("too many requests at once")
        self._numbers.add(number)
        heappush(self._waiting, _Answer(priority, next(self._orders), number, work))
        self._start()

    def cancel(self, number: int) -> None:
        """Stop answering a request; one that has ended already is no offence."""
        if number in self._active:
            self._active[number].cancel()
        elif number in self._numbers:
            self._waiting = [answer for answer in self._waiting if answer.number != number]
            heapify(self._waiting)
            self._ended(number, Failure(CancelledError()))

    def lost(self) -> None:
        """The connection is gone: stop everything, and say nothing more."""
        self._lost = True
        self._waiting.clear()
        for result in list(self._active.values()):
            result.cancel()

    def _start(self) -> None:
        while self._waiting and len(self._active) < self._at_once and not self._lost:
            answer = heappop(self._waiting)
            result = Deferred.fromCoroutine(answer.work())
            self._active[answer.number] = result
            result.addBoth(self._worked, answer.number)

    def _worked(self, result: Failure | None, number: int) -> None:
        del self._active[number]
        self._ended(number, result)
        self._start()

    def _ended(self, number: int, result: Failure | None) -> None:
        self._numbers.discard(number)
        if not self._lost:
            self._end(number, result)
