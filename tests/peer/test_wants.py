"""What is wanted: one fetch for each content, for as long as some path waits for it."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import NotHeld
from twistedp2p.messages.tracker import PeerInfo
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Want
from twistedp2p.peer.wants import Wants
from twistedp2p.versions import Dot

X, Y = b"x" * 32, b"y" * 32
ANNA, BEN = b"a" * 20, b"b" * 20


class FakeFetcher:
    """Notes what it is asked; `fetches` has the fetches under way."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.fetches: dict[bytes, Deferred[None]] = {}
        self.here: set[bytes] = set()

    def want(
        self, content: bytes, size: int, manifest: bytes, *, holders: set[bytes], others: set[bytes], priority: int
    ) -> Deferred[None]:
        self.calls.append(("want", content, size, manifest, holders, others, priority))
        if content in self.here:
            return succeed(None)
        self.fetches[content] = Deferred()
        return self.fetches[content]

    def update_holders(self, content: bytes, holders: set[bytes], others: set[bytes]) -> None:
        self.calls.append(("update", content, holders, others))

    def cancel(self, content: bytes) -> None:
        self.calls.append(("cancel", content))
        self.fetches.pop(content).errback(CancelledError())

    def since(self) -> list[tuple[object, ...]]:
        """Return what was asked since this was called last, without the sizes and sources of fetches."""
        calls, self.calls = self.calls, []
        return [call[:2] for call in calls]


def want(path: str, content: bytes = X, losing: bool = False) -> Want:
    """Return the want of a content for a path."""
    return Want(path, Dot(b"r" * 8, 1), content, 10, b"m" * 32, losing)


class WantsTests(SynchronousTestCase):
    """Fetches begin, end and are given up with the wants of paths."""

    def setUp(self) -> None:
        self.holdings = Holdings()
        self.holdings.change_peers([PeerInfo(1, ANNA, "anna", (1,), ()), PeerInfo(2, BEN, "ben", (1,), ())], [])
        self.holdings.learn([("p", 7, (1,))])
        self.fetcher = FakeFetcher()
        self.arrived: list[set[str]] = []
        self.failed: list[tuple[set[str], Trouble]] = []
        self.wants = Wants(self.holdings, self._arrived, self._failed)
        self.wants.fetcher = self.fetcher

    def _arrived(self, paths: Iterable[str]) -> None:
        self.arrived.append(set(paths))

    def _failed(self, paths: Iterable[str], trouble: Trouble) -> None:
        self.failed.append((set(paths), trouble))

    def test_who_holds_it_is_asked_first(self) -> None:
        """A fetch begins with the item's holders, all others that are alive, and the small before the large."""
        self.wants.replace(["p"], [want("p")])
        self.assertEqual(self.fetcher.calls, [("want", X, 10, b"m" * 32, {ANNA}, {BEN}, 10)])
        self.assertEqual((len(self.wants), self.wants.all()), (1, [want("p")]))

    def test_one_fetch_for_a_content(self) -> None:
        """Paths that wait for one content share its fetch, and all of them are planned when it is here."""
        self.wants.replace(["p", "q"], [want("p"), want("q")])
        self.wants.replace(["r"], [want("r")])
        self.assertEqual(self.fetcher.since(), [("want", X)])
        self.assertEqual(set(self.wants.paths_of(X)), {"p", "q", "r"})
        self.fetcher.fetches[X].callback(None)
        self.assertEqual(self.arrived, [{"p", "q", "r"}])

    def test_a_want_lasts_until_its_path_is_planned(self) -> None:
        """An arrival alone does not end a want: only a plan that needs nothing more does, and gives up nothing."""
        self.wants.replace(["p"], [want("p")])
        self.fetcher.fetches[X].callback(None)
        self.assertEqual(len(self.wants), 1)
        self.wants.replace(["p"], [])
        self.assertEqual((len(self.wants), self.wants.paths_of(X)), (0, ()))
        self.assertEqual(self.fetcher.since(), [("want", X)])

    def test_a_content_that_is_here_already(self) -> None:
        """A fetch that is complete at once has its path planned again at once."""
        self.fetcher.here.add(X)
        self.wants.replace(["p"], [want("p")])
        self.assertEqual(self.arrived, [{"p"}])

    def test_a_fetch_ends_when_nobody_wants_it(self) -> None:
        """It is given up with the last path that waits for it, not before, and that is no failure."""
        self.wants.replace(["p", "q"], [want("p"), want("q")])
        self.wants.replace(["p"], [])
        self.assertEqual(self.fetcher.since(), [("want", X)])
        self.wants.replace(["q"], [want("q", Y)])
        self.assertEqual(self.fetcher.since(), [("want", Y), ("cancel", X)])
        self.assertEqual((self.failed, self.arrived, self.wants.paths_of(X)), ([], [], ()))

    def test_a_fetch_that_is_wanted_on_goes_on(self) -> None:
        """Planning a path again, or another path taking over the want, does not touch the fetch."""
        self.wants.replace(["p"], [want("p")])
        self.wants.replace(["p"], [want("p")])
        self.wants.replace(["p", "q"], [want("q")])
        self.assertEqual(self.fetcher.since(), [("want", X)])
        self.assertEqual(self.wants.paths_of(X), ("q",))

    def test_a_path_may_want_several_contents(self) -> None:
        """Its winner and each loser have a fetch of their own; a new plan of the path replaces them all."""
        self.wants.replace(["p"], [want("p"), want("p", Y, losing=True)])
        self.assertEqual((len(self.wants), len(self.wants.all())), (1, 2))
        self.wants.replace(["p"], [want("p", Y)])
        self.assertEqual(self.fetcher.since(), [("want", X), ("want", Y), ("cancel", X)])

    def test_a_content_wanted_again_is_fetched_again(self) -> None:
        """After a fetch that was given up, arrived or failed, a new want begins a new one."""
        self.wants.replace(["p"], [want("p")])
        self.wants.replace(["p"], [])
        self.wants.replace(["p"], [want("p")])
        self.fetcher.fetches[X].callback(None)
        self.wants.replace(["p"], [want("p")])
        self.fetcher.fetches[X].errback(NotHeld("Nobody has it."))
        self.wants.replace(["p"], [want("p")])
        self.assertEqual(self.fetcher.since(), [("want", X), ("cancel", X), ("want", X), ("want", X), ("want", X)])

    def test_a_failure_is_a_sentence(self) -> None:
        """What a fetch failed with is told for each path that waits for it."""
        self.wants.replace(["p", "q"], [want("p"), want("q")])
        self.fetcher.fetches[X].errback(NotHeld("Nobody has it."))
        self.assertEqual(self.failed, [({"p", "q"}, Trouble(Code.ERROR, "Nobody has it."))])

    def test_an_unforeseen_failure_is_logged(self) -> None:
        """A mistake of ours is no sentence: its traceback is in the log, which the sentence names."""
        self.wants.replace(["p"], [want("p")])
        self.fetcher.fetches[X].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.failed[0][0], {"p"})
        self.assertIn("the log", self.failed[0][1].text)

    def test_new_holders_are_offered(self) -> None:
        """Who holds an item since is told to the fetch for its path, and to no other."""
        self.wants.replace(["p", "q"], [want("p"), want("q", Y)])
        self.holdings.change_holders(2, [7], [])
        self.fetcher.calls.clear()
        self.wants.reoffer(["p", "unknown"])
        self.assertEqual(self.fetcher.calls, [("update", X, {ANNA, BEN}, set())])
        self.wants.reoffer()
        self.assertEqual(self.fetcher.calls[1:], [("update", X, {ANNA, BEN}, set()), ("update", Y, set(), {ANNA, BEN})])

    def test_what_is_here_needs_no_holders(self) -> None:
        """Who holds a path is kept while it is wanted, and no longer."""
        self.wants.replace(["p"], [want("p")])
        self.assertEqual(self.holdings.paths_of([7]), {"p"})
        self.wants.replace(["p"], [])
        self.assertEqual(self.holdings.paths_of([7]), set())

    def test_stop(self) -> None:
        """At the end every fetch is given up."""
        self.wants.replace(["p", "q"], [want("p"), want("q", Y)])
        self.wants.stop()
        self.assertEqual((self.fetcher.fetches, self.failed), ({}, []))
