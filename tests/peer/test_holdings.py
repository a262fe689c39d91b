"""Who is alive and who holds what, as far as the tracker told."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.limits import LIST_ITEMS
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.values import Want
from twistedp2p.versions import Dot

ME, ANNA, BEN = b"m" * 20, b"a" * 20, b"b" * 20
PLACES = (Address("192.0.2.1", 1), Address("192.0.2.2", 2))
WANT = Want("p", Dot(b"r" * 8, 1), b"c" * 32, 10, b"")


class HoldingsTests(SynchronousTestCase):
    """What a fetch is told about its sources."""

    def setUp(self) -> None:
        self.holdings = Holdings()
        self.holdings.new_session(1)
        self.anna = PeerInfo(2, ANNA, "anna", (1,), PLACES)
        self.holdings.change_peers([PeerInfo(1, ME, "me", (1,), ()), self.anna, PeerInfo(3, BEN, "ben", (1,), ())], [])

    def test_holders_and_others(self) -> None:
        """Live members that hold one of the path's items come first; this peer itself is no source."""
        self.holdings.learn([("p", 7, (1, 2, 9)), ("q", 8, (3,))])
        self.assertEqual(self.holdings.sources(WANT), ({ANNA}, {BEN}))
        self.holdings.learn([("p", 12, (3,))])
        self.assertEqual(self.holdings.sources(WANT), ({ANNA, BEN}, set()))

    def test_changes_of_holders(self) -> None:
        """A member that takes or drops an item changes the sources, also before the item itself is known."""
        self.holdings.change_holders(3, [7], [])
        self.holdings.learn([("p", 7, (2,))])
        self.assertEqual(self.holdings.sources(WANT), ({ANNA, BEN}, set()))
        self.holdings.change_holders(2, [], [7, 99])
        self.assertEqual(self.holdings.sources(WANT), ({BEN}, {ANNA}))

    def test_who_is_gone_is_not_asked(self) -> None:
        """A member that went is no source, and has no address or name any more."""
        self.holdings.learn([("p", 7, (2,))])
        self.assertEqual(self.holdings.listed(ANNA), self.anna)
        self.assertEqual(self.holdings.name_of(ANNA), "anna")
        self.holdings.change_peers([], [2, 77])
        self.assertEqual(self.holdings.sources(WANT), (set(), {BEN}))
        self.assertEqual((self.holdings.listed(ANNA), self.holdings.name_of(ANNA)), (None, ""))

    def test_who_comes_back_is_asked_under_its_new_number(self) -> None:
        """A member that is told of again replaces what was known of it."""
        self.holdings.change_peers([evolve(self.anna, addresses=(PLACES[1],))], [])
        self.assertEqual(self.holdings.listed(ANNA), evolve(self.anna, addresses=(PLACES[1],)))
        self.assertEqual(len(self.holdings.peers), 2)

    def test_the_end_of_an_old_session(self) -> None:
        """That an older session of a node is over does not take it off the list, in whatever order that is told."""
        again = evolve(self.anna, member=9, addresses=(PLACES[1],))
        self.holdings.change_peers([again], [])
        self.holdings.change_peers([], [self.anna.member])
        self.assertEqual(self.holdings.listed(ANNA), again)
        self.assertEqual(self.holdings.sources(WANT), (set(), {ANNA, BEN}))

    def test_paths_of_numbers(self) -> None:
        """A number stands for a path until that is forgotten; an unknown one for none."""
        self.holdings.learn([("p", 7, ()), ("p", 8, ()), ("q", 9, ())])
        self.assertEqual(self.holdings.paths_of([7, 8, 9, 10]), {"p", "q"})
        self.holdings.forget("p")
        self.holdings.forget("unknown")
        self.assertEqual(self.holdings.paths_of([7, 8, 9]), {"q"})

    def test_what_is_forgotten_takes_no_memory(self) -> None:
        """Once a path has its content nothing of it is kept, and any live member may be asked again."""
        self.holdings.learn([("p", 7, (2,))])
        self.holdings.forget("p")
        self.assertEqual(self.holdings.sources(WANT), (set(), {ANNA, BEN}))
        self.holdings.learn([("p", 7, ())])
        self.assertEqual(self.holdings.sources(WANT), (set(), {ANNA, BEN}))

    def test_news_of_what_is_here_takes_no_memory(self) -> None:
        """What members hold is only noted of what is looked for, or of what a delta may still bring."""
        self.holdings.learn([("p", 7, ()), ("q", 8, ())])
        self.holdings.heard(9)
        self.holdings.forget("p")
        self.holdings.change_holders(2, [3, 7, 8], [])
        self.assertEqual(self.holdings.noted, 1)
        self.assertEqual(self.holdings.sources(evolve(WANT, path="q")), ({ANNA}, {BEN}))
        self.holdings.change_holders(2, [9], [])
        self.holdings.change_holders(3, [9], [9])
        self.assertEqual(self.holdings.noted, 2)
        self.holdings.learn([("p", 9, ())])
        self.assertEqual(self.holdings.sources(WANT), ({ANNA}, {BEN}))
        self.holdings.change_holders(2, [10], [])
        self.holdings.forget("p")
        self.holdings.heard(11)
        self.assertEqual(self.holdings.noted, 1)
        self.assertEqual(self.holdings.sources(evolve(WANT, path="q")), ({ANNA}, {BEN}))

    def test_news_before_its_delta_is_bounded(self) -> None:
        """Of items that no delta brought yet only so many are noted, whatever a tracker says."""
        self.holdings.change_holders(2, range(LIST_ITEMS), [])
        self.holdings.change_holders(3, range(2 * LIST_ITEMS), [])
        self.assertEqual(self.holdings.noted, LIST_ITEMS)
        self.holdings.learn([("p", LIST_ITEMS - 1, ()), ("q", LIST_ITEMS, ())])
        self.assertEqual(self.holdings.sources(WANT), ({ANNA, BEN}, set()))
        self.assertEqual(self.holdings.sources(evolve(WANT, path="q")), (set(), {ANNA, BEN}))

    def test_a_new_session_knows_nothing(self) -> None:
        """Numbers of members and items have another meaning in another session."""
        self.holdings.learn([("p", 7, (2,))])
        self.holdings.new_session(2)
        self.assertEqual((self.holdings.sources(WANT), self.holdings.paths_of([7])), ((set(), set()), set()))
        self.holdings.change_peers([evolve(self.anna, node=ME), evolve(self.anna, member=1)], [])
        self.assertEqual(self.holdings.sources(WANT), (set(), {ANNA}))
        self.holdings.learn([("q", 7, (1,))])
        self.assertEqual(self.holdings.sources(WANT), (set(), {ANNA}))
