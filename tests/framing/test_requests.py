"""Requests get their replies, ends, timeouts and cancels; answers come a few at a time, the urgent first."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.errors import NotHeld, PeerTimeout, ProtocolViolation
from twistedp2p.framing.requests import Answers, Requests


class RequestsTests(SynchronousTestCase):
    """The side that asks."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[object] = []
        self.silences = 0
        self.heard_at = 0.0
        self.requests = Requests(
            self.clock,
            send=self.sent.append,
            cancel_of=lambda number: ("cancel", number),
            silent=self.fall_silent,
            heard_at=lambda: self.heard_at,
            timeout=10.0,
            most=2,
        )

    def tearDown(self) -> None:
        self.requests.lost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def fall_silent(self) -> None:
        """Count how often the connection was given up."""
        self.silences += 1

    def ask(self, label: str = "ask") -> tuple[Deferred[None], list[object]]:
        """Send one request; return its result and the parts that it hears."""
        parts: list[object] = []
        return self.requests.ask(lambda number: (label, number), parts.append), parts

    def test_reply(self) -> None:
        """Parts are heard in order, by the request that they belong to, before its end."""
        first, first_parts = self.ask("a")
        second, second_parts = self.ask("b")
        self.assertEqual(self.sent, [("a", 0), ("b", 1)])
        for number, part in ((1, "x"), (0, "y"), (1, "z")):
            self.requests.part(number, part)
        self.requests.done(1)
        self.successResultOf(second)
        self.assertNoResult(first)
        self.assertEqual((first_parts, second_parts), (["y"], ["x", "z"]))
        self.requests.failed(0, NotHeld("no"))
        self.failureResultOf(first, NotHeld)
        self.assertEqual(len(self.requests), 0)

    def test_most(self) -> None:
        """No more than the limit is unanswered; the next is sent as soon as one has ended."""
        results = [self.ask(label)[0] for label in "abc"]
        self.assertEqual(self.sent, [("a", 0), ("b", 1)])
        self.requests.done(0)
        self.assertEqual(self.sent, [("a", 0), ("b", 1), ("c", 2)])
        results[1].addErrback(lambda _: None)
        results[2].addErrback(lambda _: None)

    def test_replies_to_nothing(self) -> None:
        """Parts and ends of what was never asked, or has ended, are violations."""
        result, _ = self.ask()
        self.requests.done(0)
        self.successResultOf(result)
        for number in (0, 7):
            self.assertRaises(ProtocolViolation, self.requests.part, number, "x")
            self.assertRaises(ProtocolViolation, self.requests.done, number)
            self.assertRaises(ProtocolViolation, self.requests.failed, number, NotHeld("no"))

    def test_cancel(self) -> None:
        """A cancelled request says so to the other side, hears nothing more, and keeps its number until the end."""
        result, parts = self.ask()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.sent, [("ask", 0), ("cancel", 0)])
        self.requests.part(0, "late")
        self.assertEqual((parts, len(self.requests)), ([], 1))
        self.requests.failed(0, NotHeld("cancelled"))
        self.assertEqual(len(self.requests), 0)

    def test_cancel_before_its_turn(self) -> None:
        """A request that was not sent yet is never sent."""
        results = [self.ask(label)[0].addErrback(lambda _: None) for label in "abc"]
        results[2].cancel()
        self.requests.done(0)
        self.assertEqual(self.sent, [("a", 0), ("b", 1)])

    def test_silence(self) -> None:
        """Nothing at all for the timeout fails everything and gives the connection up; not a moment earlier."""
        result, _ = self.ask()
        self.clock.advance(5.0)
        second, _ = self.ask()
        third, _ = self.ask()
        self.clock.pump([1.0] * 9)
        self.requests.part(0, "alive")
        self.clock.advance(9.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        for each in (result, second, third):
            self.failureResultOf(each, PeerTimeout)
        self.assertEqual(self.silences, 1)

    def test_a_part_that_takes_long(self) -> None:
        """Bytes that arrive are a sign of life, although they do not make up a part yet."""
        result, parts = self.ask()
        for _ in range(6):
            self.clock.advance(9.0)
            self.heard_at = self.clock.seconds()
        self.requests.part(0, "x")
        self.assertNoResult(result)
        self.clock.advance(9.9)
        self.assertNoResult(result)
        self.clock.advance(0.1)
        self.failureResultOf(result, PeerTimeout)
        self.assertEqual((parts, self.silences), (["x"], 1))

    def test_starved(self) -> None:
        """While others are answered a request may wait, but not for ever."""
        starved, _ = self.ask()
        served, _ = self.ask()
        for _ in range(19):
            self.clock.advance(5.0)
            self.requests.part(1, "x")
        self.assertNoResult(starved)
        self.clock.pump([5.0] * 2)
        self.failureResultOf(starved, PeerTimeout)
        self.assertEqual((self.sent[-1], self.silences), (("cancel", 0), 0))
        served.addErrback(lambda _: None)

    def test_a_cancel_without_an_end(self) -> None:
        """Whoever does not even end what was cancelled, but talks on, is given up in the end."""
        cancelled, _ = self.ask()
        cancelled.addErrback(lambda _: None)
        cancelled.cancel()
        served, _ = self.ask()
        served.addErrback(lambda _: None)
        for _ in range(25):
            self.clock.advance(5.0)
            self.requests.part(1, "x")
        self.assertEqual(self.silences, 1)

    def test_lost(self) -> None:
        """When the connection is lost everything fails, sent or not, and so does what is asked later."""
        results = [self.ask()[0] for _ in range(3)]
        self.requests.lost(Failure(ConnectionDone()))
        for result in (*results, self.ask()[0]):
            self.failureResultOf(result, ConnectionDone)
        self.assertEqual(len(self.sent), 2)

    def test_numbers_in_use_are_not_given_again(self) -> None:
        """Numbers wrap around and skip those of requests that are still unanswered."""
        first, _ = self.ask()
        self.requests._numbers = iter([2**32, 2**32 + 1])  # type: ignore[assignment]
        second, _ = self.ask()
        self.assertEqual(self.sent, [("ask", 0), ("ask", 1)])
        for result in (first, second):
            result.addErrback(lambda _: None)


class AnswersTests(SynchronousTestCase):
    """The side that answers."""

    def setUp(self) -> None:
        self.ended: list[tuple[int, object]] = []
        self.begun: list[int] = []
        self.results: dict[int, Deferred[Any]] = {}
        self.answers = Answers(self.end, most=5, at_once=2)

    def end(self, number: int, failure: Failure | None) -> None:
        """Write down how a request ended."""
        self.ended.append((number, failure and failure.type))

    def begin(self, number: int, priority: int = 0) -> None:
        """Ask for something that takes until its result is given."""
        self.results[number] = Deferred()

        async def work() -> None:
            self.begun.append(number)
            await self.results[number]

        self.answers.begin(number, priority, work)

    def test_a_few_at_a_time_and_the_urgent_first(self) -> None:
        """Of what waits, the smallest priority comes next, then the oldest."""
        for number, priority in ((1, 9), (2, 9), (3, 5), (4, 1), (5, 5)):
            self.begin(number, priority)
        self.assertEqual(self.begun, [1, 2])
        for number in (2, 4, 3):
            self.results[number].callback(None)
        self.assertEqual(self.begun, [1, 2, 4, 3, 5])
        self.assertEqual(self.ended, [(2, None), (4, None), (3, None)])

    def test_failures(self) -> None:
        """A failed answer ends its own request only."""
        self.begin(1)
        self.begin(2)
        self.results[1].errback(NotHeld("no"))
        self.assertEqual(self.ended, [(1, NotHeld)])
        self.assertEqual(len(self.answers), 1)

    def test_limits(self) -> None:
        """A number in use and one request too many are violations; an ended number is free again."""
        for number in range(5):
            self.begin(number)
        self.assertRaises(ProtocolViolation, self.begin, 9)
        self.answers.cancel(4)
        self.assertRaises(ProtocolViolation, self.begin, 3)
        self.begin(4)

    def test_cancel(self) -> None:
        """A cancelled request ends at once, whether it was begun or waited; one that has ended is no offence."""
        for number in (1, 2, 3):
            self.begin(number)
        self.answers.cancel(3)
        self.answers.cancel(1)
        self.answers.cancel(1)
        self.answers.cancel(77)
        self.assertEqual(self.ended, [(3, CancelledError), (1, CancelledError)])

    def test_lost(self) -> None:
        """When the connection is lost, work stops, and nobody is told."""
        for number in (1, 2, 3):
            self.begin(number)
        self.answers.lost()
        self.assertEqual((self.ended, self.begun), ([], [1, 2]))

    def test_limits_of_both_sides_agree(self) -> None:
        """What one side sends at most, the other takes at most."""
        sent: list[object] = []
        requests = Requests(Clock(), send=sent.append, cancel_of=str, silent=list, heard_at=float)
        for _ in range(limits.REQUESTS_IN_FLIGHT + 1):
            requests.ask(str, sent.append).addErrback(lambda _: None)
        answers = Answers(self.end)

        async def work() -> None:
            await Deferred()

        for number in range(len(sent)):
            answers.begin(number, 0, work)
        self.assertEqual(len(answers), limits.REQUESTS_IN_FLIGHT)
        self.assertRaises(ProtocolViolation, answers.begin, 1000, 0, work)
        answers.lost()
        requests.lost(Failure(ConnectionDone()))
