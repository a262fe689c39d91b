"""A connection whose other side is silent is tried, and ends if there is no answer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.transfer.liveness import Liveness


class LivenessTests(SynchronousTestCase):
    """One connection, by the clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.busy = False
        self.heard_at = 0.0
        self.liveness = Liveness(
            self.clock,
            heard_at=lambda: self.heard_at,
            ping=lambda: self.events.append("ping"),
            dead=lambda: self.events.append("dead"),
            busy=lambda: self.busy,
        )
        self.liveness.start()

    def tearDown(self) -> None:
        self.liveness.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def word(self) -> None:
        """A message arrives."""
        self.heard_at = self.clock.seconds()
        self.liveness.heard()

    def test_silence(self) -> None:
        """After the interval without a word the other side is asked; without an answer in time it is dead."""
        self.clock.pump([1.0] * int(limits.LINK_IDLE - 1))
        self.assertEqual(self.events, [])
        self.clock.advance(1.0)
        self.assertEqual(self.events, ["ping"])
        self.clock.pump([1.0] * int(limits.REPLY - 1))
        self.assertEqual(self.events, ["ping"])
        self.clock.advance(1.0)
        self.assertEqual(self.events, ["ping", "dead"])

    def test_words(self) -> None:
        """Who says something is not asked before it was silent for the whole interval; an answer is enough."""
        self.clock.pump([1.0] * 20)
        self.word()
        self.clock.pump([1.0] * int(limits.LINK_IDLE - 1))
        self.assertEqual(self.events, [])
        self.clock.advance(1.0)
        self.word()
        self.clock.pump([1.0] * int(limits.LINK_IDLE - 1))
        self.assertEqual(self.events, ["ping"])

    def test_who_reads_need_not_speak(self) -> None:
        """While an answer is on its way to the other side, silence is nothing."""
        self.busy = True
        self.clock.pump([1.0] * 300)
        self.assertEqual(self.events, [])
        self.busy = False
        self.clock.pump([1.0] * int(limits.LINK_IDLE))
        self.assertEqual(self.events, ["ping"])

    def test_check(self) -> None:
        """A check asks at once, all checks share one question, and a word from the other side answers them."""
        results = [self.liveness.check(), self.liveness.check()]
        self.assertEqual(self.events, ["ping"])
        self.clock.advance(limits.LINK_CHECK - 0.1)
        self.word()
        self.assertEqual([self.successResultOf(result) for result in results], [True, True])
        self.clock.advance(1.0)
        self.assertEqual(self.events, ["ping"])

    def test_check_of_a_dead_one(self) -> None:
        """Without a word in the time of a check the other side is dead."""
        result = self.liveness.check()
        self.clock.advance(limits.LINK_CHECK)
        self.assertFalse(self.successResultOf(result))
        self.assertEqual(self.events, ["ping", "dead"])

    def test_an_answer_behind_something_long(self) -> None:
        """Bytes that come after the question are an answer, although no message has ended in time."""
        result = self.liveness.check()
        self.clock.advance(1.0)
        self.heard_at = self.clock.seconds()
        self.clock.advance(limits.LINK_CHECK - 1.0)
        self.assertTrue(self.successResultOf(result))
        late = self.liveness.check()
        self.heard_at = self.clock.seconds()
        self.clock.advance(limits.LINK_CHECK)
        self.assertFalse(self.successResultOf(late))
        self.assertEqual(self.events, ["ping", "ping", "dead"])

    def test_bytes_without_an_end(self) -> None:
        """Nobody is asked while a message is arriving, however long that takes."""
        for _ in range(100):
            self.clock.advance(limits.LINK_IDLE / 2)
            self.heard_at = self.clock.seconds()
        self.assertEqual(self.events, [])

    def test_check_behind_an_answer(self) -> None:
        """The question waits behind what is on its way, so it has longer then."""
        self.busy = True
        result = self.liveness.check()
        self.clock.advance(limits.LINK_CHECK + 1.0)
        self.assertNoResult(result)
        self.clock.advance(limits.REPLY)
        self.assertFalse(self.successResultOf(result))

    def test_lost(self) -> None:
        """A connection that ends while it is checked does not live."""
        result = self.liveness.check()
        self.liveness.stop()
        self.assertFalse(self.successResultOf(result))
        self.assertEqual(self.events, ["ping"])
