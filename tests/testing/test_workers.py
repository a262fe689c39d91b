"""The threads of a simulated process: work takes time, in order where that is promised, and dies with the process."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.testing.clock import ProcessClock, SimClock
from twistedp2p.testing.workers import LONGEST, SimWorkers


class WorkersTests(SynchronousTestCase):
    """Work is done later, once."""

    def setUp(self) -> None:
        self.clock = SimClock()
        self.process = ProcessClock(self.clock)
        self.workers = SimWorkers(self.process, Random(1))
        self.done: list[int] = []

    def test_takes_time(self) -> None:
        """Neither the work nor its answer happens at once."""
        answer = self.workers.bulk(self.done.append, 1)
        self.assertNoResult(answer)
        self.assertEqual([], self.done)
        self.clock.advance(2 * LONGEST)
        self.successResultOf(answer)
        self.assertEqual([1], self.done)

    def test_order(self) -> None:
        """Work of the state thread is done in order; other work in any."""
        for number in range(20):
            self.workers.state(self.done.append, number)
        self.clock.advance(1)
        self.assertEqual(list(range(20)), self.done)
        for number in range(20, 40):
            self.workers.bulk(self.done.append, number)
        self.clock.advance(1)
        self.assertEqual(list(range(40)), sorted(self.done))
        self.assertNotEqual(list(range(40)), self.done)

    def test_failure(self) -> None:
        """What work raises is its answer."""
        answer = self.workers.state(lambda: 1 / 0)
        self.clock.advance(1)
        self.failureResultOf(answer, ZeroDivisionError)

    def test_not_waited_for(self) -> None:
        """Work whose answer nobody waits for any more is done all the same, and its failure is nobody's."""
        good, bad = self.workers.state(self.done.append, 1), self.workers.state(lambda: 1 / 0)
        for answer in (good, bad):
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
        self.clock.advance(1)
        self.assertEqual([1], self.done)

    def test_killed(self) -> None:
        """Work of a killed process is not done any more."""
        self.workers.state(self.done.append, 1)
        self.process.kill()
        self.clock.advance(1)
        self.assertEqual([], self.done)
