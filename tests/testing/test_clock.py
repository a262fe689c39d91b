"""Virtual time: order, cancelling, moving, waiting, and the clock of a process that is killed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twistedp2p.testing.clock import ProcessClock, SimClock, Stuck


class ClockTests(SynchronousTestCase):
    """Calls happen in order, at their time."""

    def setUp(self) -> None:
        self.clock = SimClock()
        self.events: list[tuple[float, object]] = []

    def note(self, what: object) -> None:
        self.events.append((self.clock.seconds(), what))

    def test_interface(self) -> None:
        """Both clocks provide IReactorTime."""
        verifyObject(IReactorTime, self.clock)
        verifyObject(IReactorTime, ProcessClock(self.clock))

    def test_order(self) -> None:
        """The soonest call comes first; of one moment, the one that was made first."""
        for delay, what in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (0.0, "now")):
            self.clock.callLater(delay, self.note, what)
        self.clock.advance(3)
        self.assertEqual([(0, "now"), (1, "a"), (1, "b"), (2, "c")], self.events)
        self.assertEqual(3, self.clock.seconds())

    def test_arguments(self) -> None:
        """A call gets its arguments, by position and by name."""
        self.clock.callLater(1, lambda *args, **kw: self.note((args, kw)), 1, two=2)
        self.clock.advance(1)
        self.assertEqual([(1, ((1,), {"two": 2}))], self.events)

    def test_cancel(self) -> None:
        """A call that is cancelled does not happen, and can not be cancelled again."""
        call = self.clock.callLater(1, self.note, "never")
        call.cancel()
        self.assertFalse(call.active())
        self.clock.advance(2)
        self.assertEqual([], self.events)
        self.assertRaises(AlreadyCancelled, call.cancel)

    def test_called(self) -> None:
        """A call that has happened can be neither cancelled nor moved."""
        call = self.clock.callLater(1, self.note, "once")
        self.clock.advance(1)
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.reset, 1)

    def test_move(self) -> None:
        """A call can be moved to later and to sooner, and happens once."""
        later, sooner = self.clock.callLater(1, self.note, "later"), self.clock.callLater(9, self.note, "sooner")
        later.delay(2)
        sooner.reset(2)
        self.assertEqual([2, 3], [call.getTime() for call in self.clock.getDelayedCalls()])
        self.clock.advance(20)
        self.assertEqual([(2, "sooner"), (3, "later")], self.events)

    def test_looping_call(self) -> None:
        """Twisted's LoopingCall runs on it."""
        loop = LoopingCall(self.note, "tick")
        loop.clock = self.clock
        loop.start(10, now=False)
        self.clock.advance(35)
        loop.stop()
        self.assertEqual([(10, "tick"), (20, "tick"), (30, "tick")], self.events)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_run_until(self) -> None:
        """Waiting goes on no further than to what is waited for, and says how long it took."""
        for delay in (1, 2, 3):
            self.clock.callLater(delay, self.note, delay)
        self.assertEqual(2, self.clock.run_until(lambda: len(self.events) == 2, 10))
        self.assertEqual(2, self.clock.seconds())

    def test_waiting_in_vain(self) -> None:
        """Waiting longer than the limit, or for what can not happen any more, is an error that names it."""
        self.clock.callLater(5, self.note, "late")
        error = self.assertRaises(Stuck, self.clock.run_until, lambda: bool(self.events), 4, "the tide")
        self.assertIn("the tide", str(error))
        self.clock.advance(5)
        self.assertRaises(Stuck, self.clock.run_until, lambda: False, 4)

    def test_circles(self) -> None:
        """Calls that go round in circles without time going by are found out."""
        clock = SimClock(most_calls=100)

        def again() -> None:
            clock.callLater(0, again)

        again()
        self.assertRaises(Stuck, clock.advance, 1)

    def test_shortest_delay(self) -> None:
        """However short a delay is, time goes by: who waits for a moment in small steps reaches it."""
        self.clock.advance(147.0)
        moment = self.clock.seconds() + 4e-14

        def wait() -> None:
            left = moment - self.clock.seconds()
            if left > 0:
                self.clock.callLater(left / 4, wait)

        wait()
        self.clock.run_until(lambda: self.clock.seconds() >= moment, 1)
        self.assertLess(self.clock.calls_made, 100)

    def test_no_moment_lasts(self) -> None:
        """Who looks at the clock again and again in one moment sees it move in the end."""

        def wait() -> None:
            if self.clock.seconds() <= 5.0:
                self.clock.callLater(0, wait)

        self.clock.callLater(5.0, wait)
        self.clock.callLater(6.0, self.note, "later")
        self.clock.advance(10)
        self.assertEqual([(6, "later")], self.events)
        self.assertLess(self.clock.calls_made, 5000)

    def test_no_past(self) -> None:
        """Nothing can be called in the past."""
        self.assertRaises(ValueError, self.clock.callLater, -0.1, self.note)

    def test_killed(self) -> None:
        """Nothing of a killed process happens any more; other processes go on."""
        one, other = ProcessClock(self.clock), ProcessClock(self.clock)
        one.callLater(1, self.note, "one")
        other.callLater(1, self.note, "other")
        one.kill()
        one.callLater(1, self.note, "one, later")
        self.clock.advance(5)
        self.assertEqual([(1, "other")], self.events)


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["keep", "cancel", "move"])), max_size=200))
def test_any_order(calls: list[tuple[int, str]]) -> None:
    """Whatever is cancelled and moved, the rest happens once each, in the order of time."""
    clock = SimClock()
    happened: list[tuple[float, int]] = []
    expected = []
    for number, (delay, fate) in enumerate(calls):
        call = clock.callLater(delay, lambda number=number: happened.append((clock.seconds(), number)))
        if fate == "cancel":
            call.cancel()
        elif fate == "move":
            call.reset(delay + 7)
        if fate != "cancel":
            expected.append((delay + 7 if fate == "move" else delay, number))
    clock.advance(100)
    assert [at for at, _ in happened] == sorted(at for at, _ in happened)
    assert sorted(happened) == sorted(expected)
