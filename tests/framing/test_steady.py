"""A reactor with time of its own."""

from __future__ import annotations

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.framing.steady import keep_steady, since_boot


class SteadyTests(SynchronousTestCase):
    """A real reactor that is never run."""

    def setUp(self) -> None:
        self.reactor = SelectReactor()
        self.addCleanup(self._close)
        self.now = 1000.0

    def _close(self) -> None:
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)
        for waker in list(self.reactor._internalReaders):
            self.reactor.removeReader(waker)
            waker.connectionLost(None)

    def seconds(self) -> float:
        """Return the time."""
        return self.now

    def test_timers(self) -> None:
        """A timer rings after its seconds of that time, whatever the clock on the wall says."""
        seconds = self.seconds
        self.assertTrue(keep_steady(self.reactor, seconds))
        rung: list[float] = []
        self.reactor.callLater(5, lambda: rung.append(self.now))
        self.now += 4.9
        self.reactor.runUntilCurrent()
        self.assertEqual([], rung)
        self.now += 0.2
        self.reactor.runUntilCurrent()
        self.assertEqual([self.now], rung)

    def test_again(self) -> None:
        """Asking for it twice is harmless, also when timers are pending by then."""
        seconds = self.seconds
        keep_steady(self.reactor, seconds)
        call = self.reactor.callLater(1, lambda: None)
        self.assertTrue(keep_steady(self.reactor, seconds))
        call.cancel()

    def test_since_boot(self) -> None:
        """The time that is taken by itself is at least that of a clock that stands still while the machine sleeps."""
        before = time.monotonic()
        self.assertGreaterEqual(since_boot() + 1, before)
        self.assertLessEqual(since_boot(), since_boot())

    def test_pending(self) -> None:
        """A reactor on which somebody waits already keeps its time."""
        call = self.reactor.callLater(1, lambda: None)
        self.assertFalse(keep_steady(self.reactor))
        self.assertLess(abs(self.reactor.seconds() - time.time()), 60)
        call.cancel()
