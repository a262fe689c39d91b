"""A peer that rests: what is changed meanwhile waits."""

from __future__ import annotations

from tests.simulation.test_scenarios import WorldCase, contents
from twistedp2p.limits import EXPIRY


class PauseTests(WorldCase):
    """A paused peer, and the others."""

    def test_nothing_travels(self) -> None:
        """What is changed on either side while a peer is paused stays there; it travels when the peer goes on."""
        anna, ben = self.couple({"old": b"1", "gone": b"2"})
        ben.pause()
        anna.write("from anna", b"a")
        anna.delete("gone")
        ben.write("from ben", b"b")
        self.world.settle()
        self.world.clock.advance(10 * EXPIRY)
        self.assertEqual(contents(anna), {"old": b"1", "from anna": b"a"})
        self.assertEqual(contents(ben), {"old": b"1", "gone": b"2", "from ben": b"b"})
        ben.resume()
        self.settle()
        self.assertEqual(contents(ben), {"old": b"1", "from anna": b"a", "from ben": b"b"})

    def test_goodbye(self) -> None:
        """A peer that is paused is gone for the others at once."""
        _, ben = self.couple()
        ben.pause()
        self.assertEqual(self.tracker.service.counters.peers, 1)

    def test_both_saved(self) -> None:
        """A file that is saved on both sides of a pause is kept twice."""
        anna, ben = self.couple({"letter": b"before"})
        ben.pause()
        anna.write("letter", b"from Anna")
        ben.write("letter", b"from Ben")
        self.world.settle()
        ben.resume()
        self.settle()
        self.assertEqual(set(contents(anna).values()), {b"from Anna", b"from Ben"})

    def test_in_the_middle(self) -> None:
        """A peer that is paused while much arrives, again and again, has it all in the end."""
        anna, ben = self.couple()
        for number in range(60):
            anna.write(f"{number}", bytes([number]) * 50_000)
        for _ in range(5):
            self.world.clock.advance(0.05)
            ben.pause()
            ben.resume()
        self.settle()
        self.assertEqual(len(contents(ben)), 60)
