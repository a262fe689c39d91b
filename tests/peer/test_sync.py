"""The loop of a peer: the order of its steps, what it does about one that fails, and when it has nothing left to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import FolderUnusable, NoSpace
from twistedp2p.limits import FULL_SCAN, INDEX_AGAIN, RETRY_FIRST, TRASH_AGAIN
from twistedp2p.messages.tracker import Entry, PeerInfo, Welcome
from twistedp2p.peer.changes import Change, What
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.index_file import IndexDamaged
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.purging import Purged, Wish
from twistedp2p.peer.replica import IndexLost
from twistedp2p.peer.steps import Outcome, Steps
from twistedp2p.peer.sync import Sync
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Want
from twistedp2p.peer.workers import InlineWorkers
from twistedp2p.tracker.batch import Batch
from twistedp2p.versions import Dot

WELCOME = Welcome(1, "192.0.2.1", 30.0, 100.0, b"e" * 16, 5, 0, False)
BATCH = Batch(1, full=True)
IN_THE_WAY = Trouble(Code.OBSTRUCTED, "It is in the way.")


class FakeSteps:
    """Steps that only note that they were taken; `results` holds what the next ones of a name leave, or raise."""

    def __init__(self) -> None:
        self.caught = self.may_act = self.settled = True
        self.trash_days = 30
        self.ignores = FakeRelisting()
        self.calls: list[tuple[Any, ...]] = []
        self.results: dict[str, deque[object]] = {}

    def leave(self, name: str, *results: object) -> None:
        """Let the next steps of this name leave these."""
        self.results.setdefault(name, deque()).extend(results)

    def __getattr__(self, name: str) -> Callable[..., object]:
        def step(*args: object) -> object:
            self.calls.append((name, *args))
            waiting = self.results.get(name)
            result = waiting.popleft() if waiting else ([] if name in ("stage", "blobs") else Outcome())
            if isinstance(result, Exception):
                raise result
            return result

        return step

    def names(self) -> list[str]:
        """Return the names of the steps taken, in order."""
        return [call[0] for call in self.calls]


class FakeRelisting:
    """Whether another list of what is ignored is being gone over to, and whether the share's is waited for."""

    def __init__(self) -> None:
        self.under_way = self.waits = self.first = False


class FakeNeighbours:
    """The tracker client, the observer and the fetcher: each call is noted."""

    def __init__(self) -> None:
        self.idle = True
        self.calls: list[tuple[Any, ...]] = []
        self.fetches: list[Deferred[None]] = []

    def announce(self, batch: Batch) -> None:
        self.calls.append(("announce", batch))

    def reconnect(self) -> None:
        self.calls.append(("reconnect",))

    def look(self, paths: Iterable[str]) -> None:
        self.calls.append(("look", *sorted(paths)))

    def scan(self) -> None:
        self.calls.append(("scan",))

    def want(self, content: bytes, size: int, manifest: bytes, **who: object) -> Deferred[None]:
        self.calls.append(("want", content))
        self.fetches.append(Deferred())
        return self.fetches[-1]

    def update_holders(self, content: bytes, holders: set[bytes], others: set[bytes]) -> None:
        self.calls.append(("update", content, holders, others))

    def cancel(self, content: bytes) -> None:
        self.calls.append(("cancel", content))


class HeldWorkers(InlineWorkers):
    """Workers whose state thread finishes a step only when it is told to."""

    def __init__(self) -> None:
        self.held: deque[tuple[Deferred[Any], Callable[[], Any]]] = deque()

    def state(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.held.append((done, lambda: work(*args, **kwargs)))
        return done

    def finish(self) -> None:
        """Run the step that waits longest."""
        done, work = self.held.popleft()
        try:
            result = work()
        except Exception:  # as a thread pool does, whatever it is
            done.errback()
        else:
            done.callback(result)


def want(path: str, content: bytes = b"c" * 32) -> Want:
    """Return the want of a content for a path."""
    return Want(path, Dot(b"r" * 8, 1), content, 10, b"")


def saw(path: str) -> Looked:
    """Return a look that found that a path is gone."""
    return Looked(gone=[path])


class SyncTestCase(SynchronousTestCase):
    """Builds a loop among fakes; in the end no timer may be left once it is stopped."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.steps = FakeSteps()
        self.near = FakeNeighbours()
        self.build(InlineWorkers())

    def build(self, workers: InlineWorkers) -> None:
        """Make the loop anew, on these workers."""
        self.sync = Sync(
            clock=self.clock,
            workers=workers,
            steps=cast(Steps, self.steps),
            holdings=Holdings(),
            new_rid=lambda: b"new-rid!",
        )
        self.sync.tracker = self.sync.observer = self.near
        self.sync.wants.fetcher = self.near

    def tearDown(self) -> None:
        self.sync.stop()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turn(self) -> None:
        """Let the loop run until it waits."""
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            self.clock.advance(0)


class LoopTests(SyncTestCase):
    """In which order what waits is taken up."""

    def test_saves_are_taken_before_anything_is_planned(self) -> None:
        """What the user did becomes versions first; all that was seen meanwhile goes into one step."""
        self.steps.leave("end_delta", Outcome(plan=frozenset({"b", "a"})))
        self.sync.delta_end(5)
        self.sync.looked(saw("x"))
        self.sync.looked(saw("y"))
        self.turn()
        self.assertEqual(self.steps.calls, [("end_delta", 5), ("take", [saw("x"), saw("y")]), ("plan", ["a", "b"])])

    def test_nothing_is_taken_before_others_were_heard(self) -> None:
        """A look waits until the first target is reached, and is not in sync meanwhile."""
        self.steps.caught = False
        self.sync.looked(saw("x"))
        self.turn()
        self.assertEqual((self.steps.calls, self.sync.in_sync), ([], False))
        self.steps.caught = True
        self.sync.delta_end(5)
        self.turn()
        self.assertEqual(self.steps.names(), ["end_delta", "take"])

    def test_nothing_is_planned_inside_a_delta(self) -> None:
        """Paths wait as long as planning is not allowed."""
        self.steps.may_act = False
        self.steps.leave("end_delta", Outcome(plan=frozenset({"a"})))
        self.sync.delta_end(5)
        self.turn()
        self.assertEqual((self.steps.names(), self.sync.in_sync), (["end_delta"], False))
        self.steps.may_act = True
        self.sync.delta_end(6)
        self.turn()
        self.assertEqual(self.steps.calls[-1], ("plan", ["a"]))

    def test_the_loop_has_one_step_under_way(self) -> None:
        """What comes while a step runs waits for it, and is then taken in one step."""
        workers = HeldWorkers()
        self.build(workers)
        for path in ("x", "y", "z"):
            self.sync.looked(saw(path))
            self.turn()
        self.assertEqual(len(workers.held), 1)
        workers.finish()
        self.turn()
        self.assertEqual(len(workers.held), 1)
        workers.finish()
        self.turn()
        self.assertEqual(self.steps.calls, [("take", [saw("x")]), ("take", [saw("y"), saw("z")])])

    def test_what_a_step_leaves_goes_where_it_belongs(self) -> None:
        """Batches are announced, paths are looked at again, contents are fetched."""
        left = Outcome((BATCH,), look=frozenset({"l"}), planned=("w",), wants=(want("w"),))
        self.steps.leave("take", left)
        self.sync.looked(saw("x"))
        self.turn()
        self.assertEqual(self.near.calls, [("announce", BATCH), ("look", "l"), ("want", b"c" * 32)])
        self.near.fetches[0].callback(None)
        self.turn()
        self.assertEqual(self.steps.calls[-1], ("plan", ["w"]))

    def test_news_of_peers_and_holders_reaches_the_fetches(self) -> None:
        """A new member is offered to every fetch, and a new holder of an item to the fetch for its path."""
        self.steps.leave("take", Outcome(planned=("w",), wants=(want("w"),)))
        self.steps.leave("stage", [("w", 7, ())])
        self.sync.looked(saw("x"))
        self.sync.delta_entries((Entry(7, b"blob"),))
        self.turn()
        self.sync.peers([PeerInfo(2, b"n" * 20, "shelf", (1,), ())], [])
        self.sync.holders(2, iter([7]), [])
        self.assertEqual(
            self.near.calls[-2:],
            [("update", b"c" * 32, set(), {b"n" * 20}), ("update", b"c" * 32, {b"n" * 20}, set())],
        )

    def test_what_the_tracker_says_becomes_steps(self) -> None:
        """Each message of the conversation is one step, in the order of arrival."""
        self.sync.welcomed(WELCOME)
        self.sync.announced(3, (8, 9))
        self.sync.say_all(True)
        self.assertEqual(self.successResultOf(self.sync.need((b"k",))), [])
        self.sync.disconnected()
        self.assertEqual(
            self.steps.calls,
            [
                ("welcome", WELCOME),
                ("acknowledged", 3, (8, 9)),
                ("say_all", True),
                ("blobs", (b"k",)),
                ("disconnected",),
            ],
        )

    def test_displaced_files_are_looked_at_again(self) -> None:
        """A program that had a displaced file open may write to it; so it is looked at once more, later."""
        self.steps.leave("take", Outcome(displaced=("t",)))
        self.sync.looked(saw("x"))
        self.turn()
        self.assertTrue(self.sync.in_sync)
        self.clock.advance(TRASH_AGAIN)
        self.assertEqual(self.steps.calls[-1], ("recheck_trash", ("t",)))

    def test_the_trash_waits_for_others(self) -> None:
        """What was written to in the trash is a save: it waits until others have been heard, and is not forgotten."""
        self.steps.caught = False
        self.sync.recheck_trash(("t",))
        self.turn()
        self.assertEqual(self.steps.calls, [])
        self.steps.caught = True
        self.sync.delta_end(7)
        self.turn()
        self.assertEqual(self.steps.calls, [("end_delta", 7), ("recheck_trash", ("t",))])

    def test_the_trash_is_emptied_in_steps(self) -> None:
        """After a full scan all of the trash is looked at, and what is over its time goes, some files in each step."""
        self.steps.leave("purge_trash", Purged(1, 1, (), (), "place"), Purged(0, 0, (), (), None))
        self.sync.recheck_trash()
        self.turn()
        self.assertEqual(
            self.steps.calls[-3:],
            [("recheck_trash", None), ("purge_trash", Wish(30), None), ("purge_trash", Wish(30), "place")],
        )
        self.assertTrue(self.sync.in_sync)

    def test_no_days_at_all(self) -> None:
        """With no days to stay, displaced files go as soon as they were looked at again."""
        self.steps.trash_days = 0
        self.steps.leave("purge_trash", Purged(1, 1, (), (), None))
        self.sync.recheck_trash(("t",))
        self.turn()
        self.assertEqual(self.steps.calls[-2:], [("recheck_trash", ("t",)), ("purge_trash", Wish(0), None)])

    def test_what_was_written_to_is_brought_back(self) -> None:
        """What a person's purge found to be written to is looked at at once."""
        self.steps.leave("purge_trash", Purged(0, 0, (), ("t",), None))
        self.assertEqual(self.successResultOf(self.sync.purge_trash(Wish(0), "place")).written, ("t",))
        self.turn()
        self.assertEqual(self.steps.calls[-2:], [("purge_trash", Wish(0), "place"), ("recheck_trash", ("t",))])


class FailureTests(SyncTestCase):
    """A step that fails forgets nothing."""

    def test_what_was_seen_is_looked_at_again(self) -> None:
        """After a failed take the paths are looked at once more, and until then nothing is in sync."""
        self.steps.leave("take", OSError("no space"))
        self.sync.looked(saw("x"))
        self.turn()
        self.assertFalse(self.sync.in_sync)
        self.assertEqual(self.near.calls, [])
        self.clock.advance(RETRY_FIRST)
        self.assertEqual(self.near.calls, [("look", "x")])

    def test_paths_are_planned_again(self) -> None:
        """After a failed plan the same paths are planned once more, and until then nothing is in sync."""
        self.steps.leave("take", Outcome(plan=frozenset({"a", "b"})))
        self.steps.leave("plan", OSError("no space"))
        self.sync.looked(saw("x"))
        self.turn()
        self.assertFalse(self.sync.in_sync)
        waiting = self.sync.when_in_sync()
        self.clock.advance(RETRY_FIRST)
        self.turn()
        self.assertEqual(self.steps.calls[1:], [("plan", ["a", "b"])] * 2)
        self.assertIsNone(self.successResultOf(waiting))

    def test_the_loop_goes_on_after_a_failure(self) -> None:
        """A failing step does not keep what comes later from being taken."""
        self.steps.leave("take", FolderUnusable("The mark is missing."))
        self.sync.looked(saw("x"))
        self.turn()
        self.sync.looked(saw("y"))
        self.turn()
        self.assertEqual(self.steps.calls[-1], ("take", [saw("y")]))

    def test_a_delta_that_was_not_joined_is_asked_for_again(self) -> None:
        """When a delta can not be committed the session is given up, and nothing more of it is taken before."""
        self.steps.leave("end_delta", OSError("no space"))
        joined = self.sync.delta_end(5)
        self.turn()
        self.assertNoResult(joined)
        self.assertFalse(self.sync.in_sync)
        self.clock.advance(RETRY_FIRST)
        self.turn()
        self.assertEqual(self.near.calls, [("reconnect",)])
        self.assertIsNone(self.successResultOf(joined))
        self.assertTrue(self.sync.in_sync)

    def test_an_obstacle_is_said_once_and_tried_again(self) -> None:
        """A path that can not be published is planned again; its reason is logged once and goes when it works."""
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        failed = Outcome(planned=("a",), errors=(("a", IN_THE_WAY),))
        self.steps.leave("take", Outcome(plan=frozenset({"a"})))
        self.steps.leave("plan", failed, failed, Outcome(planned=("a",)))
        self.sync.looked(saw("x"))
        self.turn()
        for again in range(2):
            self.assertEqual((self.sync.errors, self.sync.in_sync), ({"a": IN_THE_WAY}, False))
            self.clock.advance(RETRY_FIRST * 2**again)
            self.turn()
        self.assertEqual((self.sync.errors, self.sync.in_sync), ({}, True))
        self.assertEqual(len([event for event in events if event.get("text") == "a: It is in the way."]), 1)

    def test_a_failed_fetch_is_an_error_of_its_paths(self) -> None:
        """The sentence of a failed fetch stands at its path, which is planned again."""
        self.steps.leave("take", Outcome(planned=("w",), wants=(want("w"),)))
        self.sync.looked(saw("x"))
        self.turn()
        self.near.fetches[0].errback(FolderUnusable("Nobody has it."))
        self.assertEqual(self.sync.errors, {"w": Trouble(Code.FOLDER_UNUSABLE, "Nobody has it.")})
        self.clock.advance(RETRY_FIRST)
        self.turn()
        self.assertEqual(self.steps.calls[-1], ("plan", ["w"]))


class LostIndexTests(SyncTestCase):
    """Others know more of this peer's versions than its index does."""

    def test_a_new_index_begins(self) -> None:
        """The index is begun anew under a new id, in a new session, and the folder is scanned."""
        self.steps.caught = False
        self.sync.looked(saw("x"))
        self.steps.leave("stage", IndexLost("others know more"))
        self.sync.delta_entries((Entry(7, b"blob"),))
        self.turn()
        self.assertEqual(self.steps.calls[1:], [("lose_index", b"new-rid!")])
        self.assertEqual(self.near.calls, [("reconnect",), ("scan",)])
        self.steps.caught = True
        self.sync.delta_end(5)
        self.turn()
        self.assertNotIn("take", self.steps.names())

    def test_nothing_more_of_the_old_session_is_taken(self) -> None:
        """The next message waits until the index is new and the session over: it would be joined by the new index."""
        workers = HeldWorkers()
        self.build(workers)
        self.steps.leave("stage", IndexLost("others know more"))
        staged = self.sync.delta_entries((Entry(7, b"blob"),))
        workers.finish()
        self.assertNoResult(staged)
        workers.finish()
        self.assertEqual(self.near.calls[0], ("reconnect",))
        self.assertIsNone(self.successResultOf(staged))

    def test_losing_it_is_tried_until_it_works(self) -> None:
        """Nothing can go on with an index that is lost, so a failure to begin anew is not the end of it."""
        self.steps.leave("lose_index", OSError("no space"))
        self.sync.lose_index()
        self.turn()
        self.assertEqual((self.near.calls, self.sync.in_sync), ([], False))
        self.clock.advance(RETRY_FIRST)
        self.turn()
        self.assertEqual(self.near.calls, [("reconnect",), ("scan",)])
        self.assertTrue(self.sync.in_sync)


class DamagedIndexTests(SyncTestCase):
    """The index can not be read any more."""

    DAMAGED = IndexDamaged("The index is damaged.")

    def test_a_new_index_begins(self) -> None:
        """Whichever step meets the damage, the index is begun anew at once, in a new session, and all is looked at."""
        steps: dict[str, Callable[[], object]] = {
            "stage": lambda: self.sync.delta_entries((Entry(7, b"blob"),)),
            "acknowledged": lambda: self.sync.announced(1, ()),
            "take": lambda: self.sync.looked(saw("x")),
            "plan": lambda: self.sync._arrived(["x"]),
        }
        for name, step in steps.items():
            self.setUp()
            self.steps.leave(name, self.DAMAGED)
            step()
            self.turn()
            self.assertEqual(self.steps.calls[1:], [("lose_index", b"new-rid!")], name)
            self.assertEqual(self.near.calls, [("reconnect",), ("scan",)], name)

    def test_the_session_waits(self) -> None:
        """What comes in the session is not taken before the new index is there and the session over."""
        self.steps.leave("end_delta", self.DAMAGED)
        ended = self.sync.delta_end(5)
        self.assertNoResult(ended)
        self.turn()
        self.assertIsNone(self.successResultOf(ended))

    def test_once(self) -> None:
        """Damage that several steps meet before it is mended makes one new index."""
        for _ in range(3):
            self.steps.leave("acknowledged", self.DAMAGED)
            self.sync.announced(1, ())
        self.turn()
        self.assertEqual(self.steps.names().count("lose_index"), 1)

    def test_not_hot(self) -> None:
        """The next ones come later and later; a disk that was well for long is trusted again."""
        moments = []
        for wait in (0.0, INDEX_AGAIN, 2 * INDEX_AGAIN, 4 * INDEX_AGAIN):
            self.sync.index_damaged("damaged")
            self.assertFalse(self.sync.in_sync)
            self.clock.advance(wait)
            self.turn()
            moments.append(self.steps.names().count("lose_index"))
        self.assertEqual(moments, [1, 2, 3, 4])
        self.clock.advance(3 * FULL_SCAN)
        self.sync.index_damaged("damaged")
        self.turn()
        self.assertEqual(self.steps.names().count("lose_index"), 5)

    def test_no_room_for_a_new_one(self) -> None:
        """A new index that can not be made is tried again."""
        self.steps.leave("lose_index", NoSpace("The disk is full."))
        done = self.sync.index_damaged("damaged")
        self.turn()
        self.assertNoResult(done)
        self.clock.advance(RETRY_FIRST)
        self.turn()
        self.assertIsNone(self.successResultOf(done))


class InSyncTests(SyncTestCase):
    """When there is nothing left to do, and who is told."""

    def test_only_when_all_is_quiet(self) -> None:
        """The index must be announced, the observer idle, and no content wanted."""
        waiting = []
        self.steps.settled = False
        waiting.append(self.sync.when_in_sync())
        self.assertNoResult(waiting[0])
        self.steps.settled = True
        self.near.idle = False
        self.sync.settle()
        self.assertNoResult(waiting[0])
        self.near.idle = True
        self.sync.wants.replace(["w"], [want("w")])
        self.sync.settle()
        self.assertNoResult(waiting[0])
        self.sync.wants.replace(["w"], [])
        self.sync.settle()
        self.assertIsNone(self.successResultOf(waiting[0]))

    def test_a_step_under_way_is_waited_for(self) -> None:
        """An acknowledgement that is being noted keeps this peer from being in sync; its end tells those who wait."""
        workers = HeldWorkers()
        self.build(workers)
        self.sync.announced(1, ())
        waiting = self.sync.when_in_sync()
        self.turn()
        self.assertNoResult(waiting)
        workers.finish()
        self.turn()
        self.assertIsNone(self.successResultOf(waiting))

    def test_at_once(self) -> None:
        """Who asks a peer that is in sync hears it at once."""
        self.assertIsNone(self.successResultOf(self.sync.when_in_sync()))

    def test_one_who_waits_no_more(self) -> None:
        """A question that is taken back is not answered, and the others still are."""
        self.near.idle = False
        first, second = self.sync.when_in_sync(), self.sync.when_in_sync()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.near.idle = True
        self.sync.settle()
        self.assertIsNone(self.successResultOf(second))


class StopTests(SyncTestCase):
    """The end of a loop."""

    def test_nothing_is_taken_up_any_more(self) -> None:
        """After the end no step begins, no timer is left, and those who wait are told so."""
        self.near.idle = False
        self.steps.leave(
            "take",
            Outcome(displaced=("t",), planned=("w", "e"), wants=(want("w"),), errors=(("e", IN_THE_WAY),)),
        )
        self.sync.looked(saw("x"))
        self.turn()
        waiting = self.sync.when_in_sync()
        self.sync.stop()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.near.calls[-1], ("cancel", b"c" * 32))
        self.sync.looked(saw("y"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.steps.names(), ["take"])

    def test_a_step_that_ends_after_the_end_leaves_nothing(self) -> None:
        """What the last step displaced or wants is for the next start: no timer, no fetch."""
        for name, result in (
            ("good", Outcome(displaced=("t",), planned=("w",), wants=(want("w"),))),
            ("bad", OSError()),
        ):
            with self.subTest(name):
                workers = HeldWorkers()
                self.build(workers)
                self.steps.leave("take", result)
                self.sync.looked(saw("x"))
                self.turn()
                self.sync.stop()
                workers.finish()
                self.assertEqual((self.near.calls, self.clock.getDelayedCalls()), ([], []))

    def test_changes_of_a_step_that_ends_after_the_end_are_told(self) -> None:
        """The index has them by then: no later start would tell of them."""
        workers = HeldWorkers()
        self.build(workers)
        told: list[Change] = []
        self.sync.changed = told.extend
        change = Change(What.ADDED, "x")
        self.steps.leave("take", Outcome(changes=(change,)))
        self.sync.looked(saw("x"))
        self.turn()
        self.sync.stop()
        workers.finish()
        self.assertEqual(told, [change])
