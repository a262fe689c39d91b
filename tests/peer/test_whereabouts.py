"""A machine that moves, sleeps or loses its network is noticed within seconds."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.limits import WHEREABOUTS
from twistedp2p.messages.tracker import Address
from twistedp2p.peer.whereabouts import Whereabouts

HOME, OFFICE, NOWHERE = Address("192.168.0.5", 1), Address("10.1.1.7", 1), Address("127.0.0.1", 1)


class WhereaboutsTests(SynchronousTestCase):
    """One machine, by two clocks."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slept = 0.0
        self.here = [HOME]
        self.events: list[str] = []
        self.whereabouts = Whereabouts(
            self.clock,
            wall=lambda: 1e9 + self.clock.seconds() + self.slept,
            addresses=self.addresses,
            moved=lambda: self.events.append("moved"),
            returned=lambda: self.events.append("returned"),
        )
        self.whereabouts.start()

    def tearDown(self) -> None:
        self.whereabouts.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def addresses(self) -> list[Address]:
        """Return where the machine is."""
        if not self.here:
            raise OSError(24, "Too many open files")
        return list(self.here)

    def looks(self, count: int = 1) -> None:
        """Let so many looks be taken."""
        self.clock.pump([WHEREABOUTS] * count)

    def test_still_here(self) -> None:
        """As long as nothing changes nothing is told."""
        self.looks(100)
        self.assertEqual(self.events, [])

    def test_moved(self) -> None:
        """Another address is told once."""
        self.here = [OFFICE]
        self.looks(3)
        self.assertEqual(self.events, ["moved"])

    def test_network_gone_and_back(self) -> None:
        """While there is no network nothing is told; then, whether the address is the same or another."""
        self.here = [NOWHERE]
        self.looks(3)
        self.assertEqual(self.events, [])
        self.here = [HOME]
        self.looks(2)
        self.assertEqual(self.events, ["returned"])
        self.here = [NOWHERE]
        self.looks()
        self.here = [OFFICE]
        self.looks(2)
        self.assertEqual(self.events, ["returned", "moved"])

    def test_a_network_that_comes_first(self) -> None:
        """A machine that was started without a network has moved when there is one."""
        self.whereabouts.stop()
        self.here = [NOWHERE]
        self.whereabouts.start()
        self.here = [HOME]
        self.looks(2)
        self.assertEqual(self.events, ["moved"])

    def test_slept(self) -> None:
        """A sleep shows by the time: by the wall clock if the other one stood still, or by a look that came late."""
        self.slept = 3600.0
        self.looks(3)
        self.assertEqual(self.events, ["returned"])
        self.clock.advance(3600.0)
        self.looks(3)
        self.assertEqual(self.events, ["returned"] * 2)

    def test_a_moment_is_no_sleep(self) -> None:
        """A look that comes a little late is nothing, nor is a wall clock that is set back."""
        self.clock.advance(2.9 * WHEREABOUTS)
        self.slept = -3600.0
        self.looks(3)
        self.assertEqual(self.events, [])

    def test_an_error(self) -> None:
        """An error of the system is logged and ends nothing."""
        self.here = []
        self.looks()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.here = [OFFICE]
        self.looks()
        self.assertEqual(self.events, ["moved"])
