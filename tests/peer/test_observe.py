"""The observer: when it looks at what, and what it does with what it saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import cast

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import FolderUnusable
from twistedp2p.limits import DELETE_SECOND_LOOK_LIVE, DELETE_SECOND_LOOK_SCAN, FULL_SCAN, RETRY_FIRST, RETRY_MOST
from twistedp2p.peer.look import Eye
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.observe import CHANGING_AGAIN, CHANGING_MOST, Observer
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Observed
from twistedp2p.peer.workers import InlineWorkers
from twistedp2p.versions import Kind

FILE = Observed(Kind.FILE, b"c" * 32)
SEEN = Looked(seen=[("a", FILE, b"")])
UNREADABLE = Trouble(Code.UNREADABLE, "It can not be read.")
TROUBLE = FolderUnusable("The mark is missing.")


class FakeEye:
    """Notes each look with its time; a look sees what `sees` says of the path, a scan the slices in `everywhere`.

    What can be called in `everywhere` happens while the next slice is read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.calls: list[tuple[float, str, tuple[str, ...]]] = []
        self.enough: Callable[[], None] = lambda: None
        self.sees: dict[str, Looked | Exception] = {}
        self.everywhere: list[Looked | Exception | Callable[[], None]] = []

    def look(self, paths: Iterable[str], confirm: bool = False) -> Looked:
        paths = tuple(paths)
        self._note("confirm" if confirm else "look", *paths)
        found = Looked()
        for path in paths:
            one = self.sees.get(path, Looked())
            if isinstance(one, Exception):
                raise one
            missing = [] if confirm else one.missing
            gone = [*one.gone, *one.missing] if confirm else one.gone
            found.missing += missing
            found.gone += gone
            found.seen += one.seen
            found.changing += one.changing
            found.hidden += one.hidden
            found.fine += one.fine
            found.unreadable += one.unreadable
        return found

    def look_everywhere(self) -> Iterator[Looked]:
        self._note("scan")
        for one in self.everywhere:
            if isinstance(one, Exception):
                raise one
            if isinstance(one, Looked):
                yield one
                self._note("slice")
            else:
                one()

    def _note(self, what: str, *paths: str) -> None:
        if len(self.calls) >= 100:  # without an end
            self.enough()
        self.calls.append((round(self._clock.seconds(), 6), what, paths))

    def since(self) -> list[tuple[float, str, tuple[str, ...]]]:
        """Return the looks since this was asked last."""
        calls, self.calls = self.calls, []
        return calls


class FakeQuiet:
    """Paths with the moment at which they are quiet."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    def due(self, now: float) -> list[str]:
        found = [path for path, at in self.at.items() if at <= now]
        for path in found:
            del self.at[path]
        return found

    def next_at(self) -> float | None:
        return min(self.at.values(), default=None)

    def waiting(self) -> list[str]:
        return list(self.at)


class ObserverTestCase(SynchronousTestCase):
    """Builds an observer of an empty folder."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.eye = FakeEye(self.clock)
        self.quiet = FakeQuiet()
        self.found: list[Looked] = []
        self.settled: list[float] = []
        self.scans: list[float] = []
        self.observer = Observer(
            clock=self.clock,
            workers=InlineWorkers(),
            eye=cast(Eye, self.eye),
            quiet=self.quiet,
            found=self.found.append,
            settled=lambda: self.settled.append(self.clock.seconds()),
            scanned=lambda: self.scans.append(self.clock.seconds()),
        )
        self.eye.enough = self.observer.stop

    def tearDown(self) -> None:
        self.observer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turn(self) -> None:
        """Do all that is due now."""
        self.clock.advance(0)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, stopping at each moment at which something is due."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and min(call.getTime() for call in calls) <= end:
            self.clock.advance(max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()))
            self.turn()
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def begin(self) -> None:
        """Start, and let the first scan end."""
        self.observer.start()
        self.turn()
        self.eye.since()
        self.assertTrue(self.observer.idle)


class ScanTests(ObserverTestCase):
    """Looking at the whole folder."""

    def test_it_begins_with_a_scan(self) -> None:
        """What the scan finds is handed on slice by slice, and only its end makes the observer idle."""
        self.eye.everywhere = [SEEN, Looked(), Looked(gone=["b"], fine=["c", "d"])]
        self.assertFalse(self.observer.idle)
        self.observer.start()
        self.assertTrue(self.observer.scanning)
        self.turn()
        self.assertEqual(self.found, [SEEN, Looked(gone=["b"], fine=["c", "d"])])
        self.assertEqual((self.observer.scanned, self.observer.idle), (3, True))
        self.assertEqual((self.settled, self.scans), ([0.0], [0.0]))

    def test_it_scans_once_an_hour(self) -> None:
        """The next scan begins an hour after the end of the one before."""
        self.begin()
        self.pass_time(2 * FULL_SCAN)
        self.assertEqual(self.eye.since(), [(FULL_SCAN, "scan", ()), (2 * FULL_SCAN, "scan", ())])

    def test_a_scan_that_is_asked_for_puts_the_hourly_one_off(self) -> None:
        """An hour is counted from the end of the last scan, whatever its reason was."""
        self.begin()
        self.pass_time(1000)
        self.observer.scan()
        self.turn()
        self.pass_time(FULL_SCAN)
        self.assertEqual(self.eye.since(), [(1000.0, "scan", ()), (FULL_SCAN + 1000, "scan", ())])

    def test_what_is_due_comes_between_two_slices(self) -> None:
        """A save during a long scan does not wait for its end."""
        self.eye.everywhere = [Looked(), lambda: self.observer.look(["a"]), Looked(), Looked()]
        self.observer.start()
        self.turn()
        self.assertEqual([what for _, what, _ in self.eye.since()], ["scan", "slice", "look", "slice", "slice"])

    def test_what_a_scan_misses_is_looked_at_after_two_seconds(self) -> None:
        """A path that a scan did not find counts as deleted only after a second look."""
        self.eye.everywhere = [Looked(missing=["a"])]
        self.eye.sees["a"] = Looked(missing=["a"])
        self.observer.start()
        self.turn()
        self.assertEqual((self.found, self.observer.idle), ([], False))
        self.eye.since()
        self.pass_time(DELETE_SECOND_LOOK_SCAN)
        self.assertEqual(self.eye.since(), [(DELETE_SECOND_LOOK_SCAN, "confirm", ("a",))])
        self.assertEqual(self.found, [Looked(gone=["a"])])
        self.assertTrue(self.observer.idle)

    def test_a_save_ends_the_waiting_for_a_deletion(self) -> None:
        """A path that a scan finds again is not looked at for a deletion any more."""
        self.begin()
        self.eye.sees["a"] = Looked(missing=["a"])
        self.observer.look(["a"])
        self.turn()
        self.eye.everywhere = [SEEN]
        self.observer.scan()
        self.turn()
        self.eye.since()
        self.pass_time(10)
        self.assertEqual(self.eye.since(), [])


class HintTests(ObserverTestCase):
    """Looking at single paths."""

    def test_a_path_is_looked_at_once_it_is_quiet(self) -> None:
        """A hint leads to a look at the moment at which the path is quiet, not before."""
        self.begin()
        self.quiet.at = {"a": 1.5, "b": 3.0}
        self.eye.sees["a"] = SEEN
        self.observer.hinted()
        self.assertFalse(self.observer.idle)
        self.pass_time(2.0)
        self.assertEqual(self.eye.since(), [(1.5, "look", ("a",))])
        self.assertEqual(self.found, [SEEN])

    def test_a_missing_path_is_looked_at_twice(self) -> None:
        """After a hint the second look, 200 ms later, confirms a deletion."""
        self.begin()
        self.eye.sees["a"] = Looked(missing=["a"])
        self.observer.look(["a"])
        self.turn()
        self.assertEqual(self.found, [])
        self.pass_time(DELETE_SECOND_LOOK_LIVE)
        self.assertEqual(self.eye.since(), [(0.0, "look", ("a",)), (DELETE_SECOND_LOOK_LIVE, "confirm", ("a",))])
        self.assertEqual(self.found, [Looked(gone=["a"])])

    def test_a_path_that_is_back_is_not_deleted(self) -> None:
        """A file that a program replaced between the two looks has no second look to come."""
        self.begin()
        self.eye.sees["a"] = Looked(missing=["a"])
        self.observer.look(["a"])
        self.turn()
        self.eye.sees["a"] = SEEN
        self.observer.look(["a"])
        self.turn()
        self.assertTrue(self.observer.idle)
        self.pass_time(10)
        self.assertEqual(self.found, [SEEN])

    def test_a_file_that_changes_is_tried_again_later_and_later(self) -> None:
        """The wait doubles with each look that met a writer, up to a minute, and begins anew once it was read."""
        self.begin()
        self.eye.sees["a"] = Looked(changing=["a"])
        self.observer.look(["a"])
        self.pass_time(1000)
        times = [at for at, _, _ in self.eye.since()]
        waits = [round(after - before, 6) for before, after in pairwise(times)]
        self.assertEqual(waits[:4], [CHANGING_AGAIN, CHANGING_AGAIN * 2, CHANGING_AGAIN * 4, CHANGING_AGAIN * 8])
        self.assertEqual(set(waits[11:]), {CHANGING_MOST})
        self.assertFalse(self.observer.idle)
        self.eye.sees["a"] = SEEN
        self.pass_time(CHANGING_MOST)
        self.assertTrue(self.observer.idle)
        self.eye.sees["a"] = Looked(changing=["a"])
        self.eye.since()
        self.observer.look(["a"])
        self.pass_time(CHANGING_AGAIN)
        self.assertEqual(len(self.eye.since()), 2)

    def test_a_file_that_came_and_went_is_forgotten(self) -> None:
        """A temporary file that was being written and is gone by the next look needs no further one."""
        self.begin()
        self.eye.sees["a"] = Looked(changing=["a"])
        self.observer.look(["a"])
        self.turn()
        self.eye.sees["a"] = Looked()
        self.pass_time(CHANGING_AGAIN)
        self.assertTrue(self.observer.idle)
        self.eye.since()
        self.pass_time(100)
        self.assertEqual(self.eye.since(), [])

    def test_what_is_not_shared_is_told_until_it_is_otherwise(self) -> None:
        """The reason why something is not shared goes when a look finds it shareable, or gone."""
        self.begin()
        for after in (SEEN, Looked(fine=["a"]), Looked()):
            with self.subTest(after=after):
                self.eye.sees["a"] = Looked(hidden=[("a", "It is a link.")])
                self.observer.look(["a"])
                self.turn()
                self.assertEqual(self.observer.hidden, {"a": "It is a link."})
                self.eye.sees["a"] = after
                self.observer.look(["a"])
                self.turn()
                self.assertEqual(self.observer.hidden, {})

    def test_many_paths_are_looked_at_in_pieces(self) -> None:
        """A burst of hints becomes several looks, so that none of them takes long."""
        self.begin()
        self.observer.look(f"{number:05}" for number in range(4500))
        self.turn()
        looks = [paths for _, _, paths in self.eye.since()]
        self.assertEqual([len(paths) for paths in looks], [2000, 2000, 500])
        self.assertEqual(len({path for paths in looks for path in paths}), 4500)


class TroubleTests(ObserverTestCase):
    """The folder can not be looked at."""

    def said(self) -> EventLoggingObserver:
        """Collect what is logged."""
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        return events

    def test_it_is_said_once_and_tried_again(self) -> None:
        """A folder without its mark is scanned again until it is back; the reason is logged once, and told."""
        events = self.said()
        self.eye.everywhere = [TROUBLE]
        self.observer.start()
        self.pass_time(100)
        self.assertEqual(len(self.eye.since()), 11)
        self.assertEqual(self.observer.trouble, Trouble(Code.FOLDER_UNUSABLE, "The mark is missing."))
        self.assertEqual(len([event for event in events if event.get("text") == "The mark is missing."]), 1)
        self.eye.everywhere = [SEEN]
        self.pass_time(10)
        self.assertEqual((self.observer.trouble, self.found), (None, [SEEN]))

    def test_it_is_not_idle_meanwhile(self) -> None:
        """What could not be looked at may hold anything: only a whole scan makes the observer idle again."""
        self.begin()
        self.eye.everywhere = [TROUBLE]
        self.observer.scan()
        self.turn()
        self.assertFalse(self.observer.idle)
        self.observer.look(["a"])
        self.turn()
        self.assertEqual((self.observer.trouble, self.observer.idle), (None, False))
        self.eye.everywhere = []
        self.pass_time(10)
        self.assertTrue(self.observer.idle)

    def test_a_look_that_fails_is_made_good_by_a_scan(self) -> None:
        """The paths of a failed look are not named again: the whole folder is looked at instead."""
        self.begin()
        self.eye.sees["a"] = OSError(5, "Input/output error")
        self.observer.look(["a"])
        self.turn()
        assert self.observer.trouble is not None
        self.assertEqual(self.observer.trouble.code, Code.DISK_FAILING)
        self.eye.since()
        self.eye.everywhere = [SEEN]
        self.pass_time(10)
        self.assertEqual(self.eye.since()[0], (10.0, "scan", ()))
        self.assertEqual(self.found, [SEEN])

    def test_what_can_not_be_read_is_looked_at_again(self) -> None:
        """A file that can not be read is said once, and looked at after a while that grows, until it can be."""
        events = self.said()
        self.begin()
        self.eye.sees["a"] = Looked(unreadable=[("a", UNREADABLE)])
        self.observer.look(["a"])
        self.turn()
        self.assertEqual((self.observer.unreadable, self.observer.idle), ({"a": UNREADABLE}, True))
        self.eye.since()
        moments = [RETRY_FIRST]
        while len(moments) < 6:
            moments.append(moments[-1] + min(RETRY_MOST, RETRY_FIRST * 2 ** len(moments)))
        self.pass_time(int(moments[-1]))
        self.assertEqual([at for at, what, _ in self.eye.since() if what == "look"], moments)
        self.assertEqual([event["text"] for event in events if "text" in event], ["a: It can not be read."])
        self.eye.sees["a"] = SEEN
        self.pass_time(int(RETRY_MOST))
        self.assertEqual((self.observer.unreadable, self.found), ({}, [SEEN]))
        self.eye.since()
        self.pass_time(int(2 * RETRY_MOST))
        self.assertEqual(self.eye.since(), [])

    def test_what_can_not_be_read_and_goes_away(self) -> None:
        """A file that is removed, or seen by a scan, is no trouble any more."""
        self.begin()
        self.eye.sees["a"] = Looked(unreadable=[("a", UNREADABLE)])
        self.eye.sees["b"] = Looked(unreadable=[("b", UNREADABLE)])
        self.observer.look(["a", "b"])
        self.turn()
        self.eye.sees["b"] = Looked()
        self.eye.everywhere = [Looked(fine=["a"])]
        self.observer.scan()
        self.turn()
        self.assertEqual([*self.observer.unreadable], ["b"])
        self.pass_time(int(RETRY_FIRST))
        self.assertEqual(self.observer.unreadable, {})

    def test_a_mistake_of_ours_is_no_end(self) -> None:
        """An unforeseen failure is logged with its traceback, and looking goes on."""
        self.eye.everywhere = [ZeroDivisionError()]
        self.observer.start()
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        assert self.observer.trouble is not None
        self.assertIn("log", self.observer.trouble.text)
        self.eye.everywhere = []
        self.pass_time(10)
        self.assertEqual((self.observer.trouble, self.observer.idle), (None, True))


class StopTests(ObserverTestCase):
    """The end of an observer."""

    def test_a_scan_is_left_where_it_is(self) -> None:
        """After the end nothing is looked at, whatever was asked for before or is asked for later."""
        stop = self.observer.stop
        self.eye.everywhere = [Looked(missing=["a"], changing=["b"]), stop, SEEN, Looked(missing=["d"])]
        self.observer.start()
        self.turn()
        self.assertEqual([what for _, what, _ in self.eye.since()], ["scan", "slice"])
        self.observer.look(["c"])
        self.observer.scan()
        self.observer.hinted()
        self.assertEqual((self.clock.getDelayedCalls(), self.found), ([], []))

    def test_a_look_under_way_is_not_reported(self) -> None:
        """What a look finds that ends after the end goes nowhere."""
        self.begin()
        self.eye.sees["a"] = SEEN
        whole = self.eye.look

        def look(paths: Iterable[str], confirm: bool = False) -> Looked:
            self.observer.stop()
            return whole(paths, confirm)

        self.eye.look = look  # type: ignore[method-assign]
        self.observer.look(["a"])
        self.turn()
        self.assertEqual([what for _, what, _ in self.eye.since()], ["look"])
        self.assertEqual(self.found, [])
