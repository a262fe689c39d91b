"""Wishes to be dialled are passed on within limits for each pair and for each member."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.tracker.dial_wishes import DialWishes


class DialWishesTests(SynchronousTestCase):
    """One share's wishes."""

    def setUp(self) -> None:
        self.wishes = DialWishes()

    def test_pair(self) -> None:
        """The same wish is passed on again after the interval, not sooner; what others wish does not matter."""
        self.assertTrue(self.wishes.allow(b"a", b"b", 0.0))
        self.assertFalse(self.wishes.allow(b"a", b"b", limits.DIAL_ME_PAIR - 0.001))
        self.assertTrue(self.wishes.allow(b"b", b"a", 0.0))
        self.assertTrue(self.wishes.allow(b"a", b"c", 0.0))
        self.assertTrue(self.wishes.allow(b"a", b"b", limits.DIAL_ME_PAIR))

    def test_refused_wishes_do_not_count(self) -> None:
        """Who asks without end is passed on as often as who asks in time."""
        passed_on = [when for when in range(100) if self.wishes.allow(b"a", b"b", when / 10)]
        self.assertEqual(passed_on, [0, 50])

    def test_member(self) -> None:
        """So many wishes of one member are passed on within the window, and none more; the others have their own."""
        asked = [b"%d" % number for number in range(limits.DIAL_ME_MOST)]
        self.assertTrue(all(self.wishes.allow(b"a", one, 1.0) for one in asked))
        self.assertFalse(self.wishes.allow(b"a", b"x", limits.DIAL_ME_WINDOW + 0.999))
        self.assertTrue(self.wishes.allow(b"b", b"x", 1.0))
        self.assertTrue(self.wishes.allow(b"a", b"x", limits.DIAL_ME_WINDOW + 1.0))

    def test_memory(self) -> None:
        """What is older than the window is forgotten."""
        for number in range(1000):
            self.wishes.allow(b"%d" % number, b"x", 0.0)
        self.assertTrue(self.wishes.allow(b"a", b"b", limits.DIAL_ME_WINDOW))
        self.assertEqual((len(self.wishes), len(self.wishes._of), len(self.wishes._last)), (1, 1, 1))

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back locks nobody out."""
        self.assertTrue(self.wishes.allow(b"a", b"b", 1000.0))
        self.assertTrue(self.wishes.allow(b"a", b"b", 10.0))
