"""The watch: every change is hinted at, the state folder never, and nothing is missed while watches are placed."""

from __future__ import annotations

import errno
import os
import select
import shutil
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from zope.interface.verify import verifyObject

from tests.peer.folder.shared import FolderTestCase
from twistedp2p.disk.seam import Name
from twistedp2p.limits import EARLY_EVENTS, RENAME_PAIR, WATCH_AGAIN, WATCH_SLICE
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder import inotify
from twistedp2p.peer.folder.hints import Hint, What
from twistedp2p.peer.folder.inotify import RealNotifier
from twistedp2p.peer.folder.watch import Watch


class Told:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.events: list[str] = []

    def hint(self, hint: Hint) -> None:
        self.hints.append(hint)

    def overflow(self) -> None:
        self.events.append("overflow")

    def limited(self, reason: str) -> None:
        self.events.append(reason)

    def root_gone(self) -> None:
        self.events.append("root gone")


class FedNotifier(RealNotifier):
    """The kernel's queue, to which a test adds events of its own, and limits."""

    def __init__(self, disk: Any) -> None:
        super().__init__(disk)
        self.fed = b""
        self.most = 1 << 30
        self.forbidden: Name | None = None
        self.watched: list[Name] = []
        self.closed = False

    def read(self) -> bytes:
        fed, self.fed = self.fed, b""
        return super().read() + fed

    def add(self, folder: Name) -> int:
        if len(self.watched) >= self.most:
            raise OSError(errno.ENOSPC, "No space left on device")
        if folder == self.forbidden:
            raise PermissionError(errno.EACCES, "Permission denied")
        self.watched.append(folder)
        return super().add(folder)

    def close(self) -> None:
        self.closed = True
        super().close()

    def feed(self, watch: int, mask: int, name: bytes = b"", cookie: int = 0) -> None:
        """Add one event, as the kernel writes it."""
        self.fed += struct.pack("=iIII", watch, mask, cookie, 16 if name else 0) + (
            name.ljust(16, b"\0") if name else b""
        )


class Threads:
    """Worker threads of which the test says when they work."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] = []
        self.holding = False

    def __call__(self, work: Callable[..., object], *args: object) -> Deferred[Any]:
        if not self.holding:
            return maybeDeferred(work, *args)
        result: Deferred[Any] = Deferred()

        def run() -> None:
            done = work(*args)
            self.held.append(lambda: result.callback(done))

        self.held.append(run)
        return result

    def step(self) -> None:
        """Let the oldest work run, or what it has done be reported."""
        self.held.pop(0)()

    def release(self) -> None:
        """Let everything run."""
        self.holding = False
        while self.held:
            self.step()


class WatchTestCase(FolderTestCase):
    """A watch on a real folder with the real inotify; only the reactor is a fake, and time."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.reactor = MemoryReactor()
        self.told = Told()
        self.threads = Threads()
        self.notifiers: list[FedNotifier] = []
        self.watch = Watch(
            reactor=self.reactor,
            clock=self.clock,
            new_notifier=self.new_notifier,
            disk=self.disk,
            names=self.names,
            rules=NameRules.POSIX,
            in_thread=self.threads,
            listener=self.told,
            ignored=lambda path, kind: path.name in self.ignored,
        )
        self.addCleanup(self.watch.stop)
        self.ignored: set[str] = set()

    def new_notifier(self) -> FedNotifier:
        """Make a queue, and remember it."""
        self.notifiers.append(FedNotifier(self.disk))
        return self.notifiers[-1]

    def started(self) -> None:
        """Start the watch."""
        self.successResultOf(self.watch.start())

    def heard(self) -> list[tuple[str, What, str | None]]:
        """Return what was hinted since the last call, alone halves of renames included."""
        self.watch.doRead()
        self.clock.advance(RENAME_PAIR)
        hints, self.told.hints = self.told.hints, []
        return [(hint.path.text, hint.what, hint.moved_from.text if hint.moved_from else None) for hint in hints]

    def kinds(self, path: str) -> set[What]:
        """Return what was hinted of `path` since the last call."""
        return {what for name, what, _ in self.heard() if name == path}


class EventTests(WatchTestCase):
    """What is hinted at for each thing that users and programs do."""

    def test_is_what_the_reactor_expects(self) -> None:
        """It is waited on after the start, and not any more when stopped."""
        verifyObject(IReadDescriptor, self.watch)
        self.started()
        self.assertEqual(self.reactor.getReaders(), [self.watch])
        self.assertEqual(self.watch.fileno(), self.notifiers[0].fileno())
        self.watch.stop()
        self.watch.stop()
        self.assertEqual((self.reactor.getReaders(), self.watch.fileno()), ([], -1))
        self.assertTrue(self.notifiers[0].closed)
        self.watch.doRead()

    def test_a_save_is_readable_at_once(self) -> None:
        """The descriptor is ready the moment a file was written: no delay is built in."""
        self.started()
        self.save("f")
        self.assertEqual(select.select([self.watch], [], [], 0)[0], [self.watch])
        self.assertEqual(self.kinds("f"), {What.CREATED, What.MODIFIED, What.CLOSED})

    def test_a_file_being_written(self) -> None:
        """Until it is closed, a file is only said to be modified."""
        file = self.save("d/f")
        self.started()
        with file.open("ab", buffering=0) as writing:
            writing.write(b"1")
            self.assertEqual(self.heard(), [("d/f", What.MODIFIED, None)])
        self.assertEqual(self.heard(), [("d/f", What.CLOSED, None)])

    def test_removals_and_permissions(self) -> None:
        """A removed file is gone; a chmod is hinted at, for the x bit is shared."""
        file = self.save("f")
        self.started()
        file.chmod(0o755)
        self.assertEqual(self.heard(), [("f", What.ATTRIB, None)])
        file.unlink()
        self.assertEqual(self.heard()[-1], ("f", What.GONE, None))

    def test_a_rename_is_one_hint(self) -> None:
        """Inside the share both paths come together, also onto another file and into another folder."""
        self.save("a")
        self.save("d/b")
        self.started()
        os.replace(self.root / "a", self.root / "d/b")
        self.assertEqual(self.heard(), [("d/b", What.MOVED_IN, "a")])

    def test_moves_across_the_border(self) -> None:
        """A file that leaves the share for the trash is gone after a moment; one that comes is told at once."""
        self.save("f")
        self.started()
        (self.root / "f").rename(self.root / ".twistedp2p/f")
        self.watch.doRead()
        self.assertEqual(self.told.hints, [])
        self.assertEqual(self.heard(), [("f", What.MOVED_AWAY, None)])
        (self.root / ".twistedp2p/f").rename(self.root / "g")
        self.watch.doRead()
        self.assertEqual(self.told.hints, [Hint(RelPath("g"), What.MOVED_IN)])

    def test_the_state_folder_is_never_watched(self) -> None:
        """Nothing that happens in a state folder, of this share or another inside it, wakes anybody."""
        self.save("inner/.twistedp2p/index")
        self.started()
        self.save(".twistedp2p/parts/x")
        self.save("inner/.twistedp2p/index", b"2")
        self.assertEqual(select.select([self.watch], [], [], 0)[0], [])
        self.assertEqual(sorted(self.notifiers[0].watched), [(), (b"inner",)])

    def test_names_that_are_not_shared_are_not_hinted_at(self) -> None:
        """A name that is no UTF-8 has no path, and its folder no watch."""
        self.started()
        os.mkdir(os.fsencode(self.root) + b"/\xff")
        (self.root / "f\nn").touch()
        self.assertEqual({path for path, _, _ in self.heard()}, {"f\nn"})
        self.assertEqual(self.notifiers[0].watched, [()])

    def test_a_decomposed_name_is_learned(self) -> None:
        """A hint for a name in another Unicode form leads to the file, unless the composed one is there."""
        self.started()
        self.save("e\u0301")
        self.assertEqual(self.kinds("\u00e9"), {What.CREATED, What.MODIFIED, What.CLOSED})
        self.assertEqual(self.names.of(RelPath("\u00e9")), ("e\u0301".encode(),))
        self.save("\u00f3")
        self.save("o\u0301")
        self.heard()
        self.assertEqual(self.names.of(RelPath("\u00f3")), ("\u00f3".encode(),))

    def test_the_share_itself_vanishes(self) -> None:
        """Moving or removing the shared folder is told apart from everything in it being removed."""
        self.started()
        moved = self.root.with_name(self.root.name + "-moved")
        self.root.rename(moved)
        self.addCleanup(moved.rename, self.root)
        self.watch.doRead()
        self.assertEqual(self.told.events, ["root gone"])


class FolderEventTests(WatchTestCase):
    """New folders, renamed folders, and races with both."""

    def test_a_new_tree_is_watched_at_once(self) -> None:
        """Folders made in one go are hinted at, and what happens in the deepest is seen from then on."""
        self.started()
        self.save("a/b/c/f")
        self.assertIn(("a", What.FOLDER, None), self.heard())
        self.save("a/b/c/g")
        self.assertEqual(self.kinds("a/b/c/g"), {What.CREATED, What.MODIFIED, What.CLOSED})

    def test_a_tree_that_is_moved_in_is_watched(self) -> None:
        """It is hinted at when all of it is watched."""
        self.save(".twistedp2p/x/y/f")
        self.started()
        (self.root / ".twistedp2p/x").rename(self.root / "x")
        self.assertEqual(self.heard(), [("x", What.FOLDER, None)])
        (self.root / "x/y/f").write_bytes(b"2")
        self.assertIn(What.CLOSED, self.kinds("x/y/f"))

    def test_a_folder_that_is_moved_in_over_an_empty_one(self) -> None:
        """The new one is watched, the old one not any more."""
        (self.root / "x").mkdir()
        self.save(".twistedp2p/x/f")
        self.started()
        (self.root / ".twistedp2p/x").rename(self.root / "x")
        self.assertEqual(self.heard(), [("x", What.FOLDER, None)])
        (self.root / "x/f").write_bytes(b"2")
        self.assertIn(What.CLOSED, self.kinds("x/f"))
        self.assertEqual(self.told.events, [])

    def test_a_tree_that_is_moved_away_is_not(self) -> None:
        """After it left the share, nothing in it is hinted at any more."""
        self.save("x/y/f")
        self.started()
        (self.root / "x").rename(self.root / ".twistedp2p/x")
        self.assertEqual(self.heard(), [("x", What.MOVED_AWAY, None)])
        (self.root / ".twistedp2p/x/y/f").write_bytes(b"2")
        self.assertEqual(self.heard(), [])

    def test_a_renamed_folder_keeps_its_watches(self) -> None:
        """What happens below is hinted at under the new name, and nothing is watched anew."""
        self.save("a/b/f")
        self.save("c/f")
        self.started()
        (self.root / "a").rename(self.root / "c/d")
        self.assertEqual(self.heard(), [("c/d", What.MOVED_IN, "a")])
        (self.root / "c/d/b/f").write_bytes(b"2")
        self.assertIn(What.CLOSED, self.kinds("c/d/b/f"))
        self.assertEqual(len(self.notifiers[0].watched), 4)

    def test_events_before_and_after_a_rename_in_one_reading(self) -> None:
        """A file below is hinted at under the name that its folder had at that moment."""
        self.save("a/f")
        self.started()
        (self.root / "a/f").write_bytes(b"2")
        (self.root / "a").rename(self.root / "z")
        (self.root / "z/f").write_bytes(b"3")
        hints = [(path, what) for path, what, _ in self.heard() if what in (What.CLOSED, What.MOVED_IN)]
        self.assertEqual(hints, [("a/f", What.CLOSED), ("z", What.MOVED_IN), ("z/f", What.CLOSED)])

    def test_a_removed_folder_can_come_again(self) -> None:
        """Removed and made again, it is watched again."""
        self.save("a/f")
        self.started()
        for _ in range(3):
            shutil.rmtree(self.root / "a")
            self.assertIn(("a", What.GONE, None), self.heard())
            (self.root / "a").mkdir()
            self.assertEqual(self.heard(), [("a", What.FOLDER, None)])
            self.save("a/f")
            self.assertIn(What.CLOSED, self.kinds("a/f"))

    def test_what_happens_before_the_watch_is_covered(self) -> None:
        """Files and folders made in a new folder before it is watched are below a folder that is hinted at after."""
        self.started()
        self.threads.holding = True
        (self.root / "a").mkdir()
        self.assertEqual(self.heard(), [])
        self.save("a/b/f")
        self.threads.release()
        self.assertEqual(self.heard(), [("a", What.FOLDER, None)])
        self.save("a/b/g")
        self.assertIn(What.CLOSED, self.kinds("a/b/g"))

    def test_what_happens_between_watch_and_report_is_not_lost(self) -> None:
        """Events of a watch that the worker thread placed, but has not reported yet, are kept."""
        self.started()
        self.threads.holding = True
        (self.root / "a").mkdir()
        self.heard()
        self.threads.step()  # the watch is placed, and the folder listed
        self.save("a/f")
        (self.root / "a/b").mkdir()
        self.assertEqual(self.heard(), [])
        self.threads.release()
        hints = self.heard()
        self.assertIn(("a/f", What.CLOSED, None), hints)
        self.assertIn(("a/b", What.FOLDER, None), hints)
        self.save("a/b/g")
        self.assertIn(What.CLOSED, self.kinds("a/b/g"))

    def test_a_folder_both_listed_and_told_of_is_watched_once(self) -> None:
        """A folder made between the watch on its parent and the listing causes no doubt."""
        self.started()
        self.threads.holding = True
        (self.root / "a").mkdir()
        self.heard()
        self.disk.before["entries"] = (self.root / "a/b").mkdir
        self.threads.step()
        self.heard()
        self.threads.release()
        self.assertIn(("a/b", What.FOLDER, None), self.heard())
        self.assertEqual((self.told.events, self.notifiers[0].watched), ([], [(), (b"a",), (b"a", b"b")]))
        self.save("a/b/f")
        self.assertIn(What.CLOSED, self.kinds("a/b/f"))

    def test_a_folder_that_leaves_while_it_is_placed(self) -> None:
        """A folder that was moved away before its watch was reported is not watched any more."""
        self.started()
        self.threads.holding = True
        (self.root / "a").mkdir()
        self.heard()
        self.threads.step()
        (self.root / "a").rename(self.root / ".twistedp2p/a")
        self.heard()
        self.threads.release()
        self.heard()
        self.save(".twistedp2p/a/f")
        self.assertEqual(self.heard(), [])

    def test_a_rename_while_watches_are_placed_begins_anew(self) -> None:
        """Then it is in doubt which folder a watch is on: all are placed again, and a scan is asked for."""
        self.save("a/b/c/f")
        self.threads.holding = True
        started = self.watch.start()
        for _ in range(4):  # the top, then `a`, are placed and reported
            self.threads.step()
        (self.root / "a").rename(self.root / "z")
        self.watch.doRead()
        self.assertNoResult(started)
        self.threads.release()
        self.successResultOf(started)
        self.assertEqual((self.told.events, len(self.notifiers)), (["overflow"], 2))
        self.assertTrue(self.notifiers[0].closed)
        self.heard()
        (self.root / "z/b/c/f").write_bytes(b"2")
        self.assertIn(What.CLOSED, self.kinds("z/b/c/f"))

    def test_too_many_early_events_begin_anew(self) -> None:
        """Events that can not be attributed yet are kept up to a limit, then a scan replaces them."""
        self.started()
        self.threads.holding = True
        (self.root / "a").mkdir()
        self.heard()
        for number in range(EARLY_EVENTS + 1):
            self.notifiers[0].feed(999, inotify.CLOSE_WRITE, b"f%d" % number)
        self.heard()
        self.threads.release()
        self.assertEqual(self.told.events, ["overflow"])

    def test_many_folders_are_placed_in_slices(self) -> None:
        """No worker thread is busy with more than a slice at a time, and all folders are watched in the end."""
        for number in range(WATCH_SLICE + 50):
            (self.root / f"d{number}").mkdir()
        self.threads.holding = True
        started = self.watch.start()
        turns = 0
        while self.threads.held:
            self.threads.step()
            turns += 1
        self.successResultOf(started)
        self.assertEqual(turns, 2 * 3)
        self.assertEqual(len(self.notifiers[0].watched), WATCH_SLICE + 51)


class LimitTests(WatchTestCase):
    """Overflows, limits of the system, and stopping at any moment."""

    def test_an_overflow_begins_anew(self) -> None:
        """Lost events make all watches be placed again; then, and only then, a scan is asked for."""
        self.started()
        self.notifiers[0].feed(-1, inotify.Q_OVERFLOW)
        self.save("a/f")  # its event is among the lost
        self.notifiers[0].read()
        self.notifiers[0].feed(-1, inotify.Q_OVERFLOW)
        self.threads.holding = True
        self.watch.doRead()
        self.assertEqual(self.told.events, [])
        self.threads.release()
        self.assertEqual(self.told.events, ["overflow"])
        self.heard()
        self.save("a/f", b"2")
        self.assertIn(What.CLOSED, self.kinds("a/f"))
        self.assertEqual(self.reactor.getReaders(), [self.watch])

    def test_the_limit_of_watches_is_told_once(self) -> None:
        """Folders beyond the limit are not watched, the others are, and one sentence says so."""
        for name in "abc":
            (self.root / name).mkdir()

        def limited() -> FedNotifier:
            notifier = FedNotifier(self.disk)
            notifier.most = 2
            self.notifiers.append(notifier)
            return notifier

        self.watch._new_notifier = limited
        self.started()
        self.assertEqual(len(self.told.events), 1)
        self.assertIn("max_user_watches", self.told.events[0])
        self.save("a/f")
        self.save("c/f")
        self.assertEqual({path for path, _, _ in self.heard()}, {"a/f"})

    def test_a_limit_that_was_raised(self) -> None:
        """Folders beyond the limit are tried again; each is hinted at when it is watched, and then it is over."""
        for name in "abc":
            (self.root / name).mkdir()
        (self.root / "c/d").mkdir()

        def limited() -> FedNotifier:
            notifier = FedNotifier(self.disk)
            notifier.most = 2
            self.notifiers.append(notifier)
            return notifier

        self.watch._new_notifier = limited
        self.started()
        self.clock.advance(WATCH_AGAIN)
        self.assertEqual((len(self.told.events), self.heard()), (1, []))
        self.notifiers[0].most = 100
        self.clock.advance(WATCH_AGAIN)
        self.assertEqual(self.told.events[1:], [""])
        self.assertEqual([path for path, what, _ in self.heard() if what is What.FOLDER], ["b", "c"])
        self.save("c/d/f")
        self.assertEqual({path for path, _, _ in self.heard()}, {"c/d/f"})
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_folder_that_may_be_read_again(self) -> None:
        """A folder that can not be watched for want of permission is no limit, and is tried again."""
        (self.root / "a").mkdir()

        def forbidding() -> FedNotifier:
            notifier = FedNotifier(self.disk)
            notifier.forbidden = (b"a",)
            self.notifiers.append(notifier)
            return notifier

        self.watch._new_notifier = forbidding
        self.started()
        self.notifiers[0].forbidden = None
        self.clock.advance(WATCH_AGAIN)
        self.assertEqual(self.told.events, [])
        self.assertEqual(self.heard(), [("a", What.FOLDER, None)])

    def test_a_system_without_queues_is_told(self) -> None:
        """If there is no queue to be had, the start succeeds and one sentence says so; it is tried again."""

        def refuse() -> FedNotifier:
            raise OSError(errno.EMFILE, "Too many open files")

        usual = self.watch._new_notifier
        self.watch._new_notifier = refuse
        self.started()
        self.clock.advance(WATCH_AGAIN)
        self.assertEqual(len(self.told.events), 1)
        self.assertIn("max_user_instances", self.told.events[0])
        self.assertEqual(self.reactor.getReaders(), [])
        self.watch._new_notifier = usual
        self.clock.advance(WATCH_AGAIN)
        self.assertEqual(self.told.events[1:], ["overflow", ""])
        self.assertEqual(self.reactor.getReaders(), [self.watch])

    def test_stopping_while_a_thread_works(self) -> None:
        """The queue is closed when the thread that uses it is done, and nothing is told any more."""
        self.threads.holding = True
        self.watch.start()
        self.watch.stop()
        self.assertFalse(self.notifiers[0].closed)
        self.threads.release()
        self.assertTrue(self.notifiers[0].closed)
        self.assertEqual((self.told.events, self.told.hints), ([], []))

    def test_stopping_between_the_halves_of_a_rename(self) -> None:
        """No timer is left behind."""
        self.save("f")
        self.started()
        (self.root / "f").rename(self.root / ".twistedp2p/f")
        self.watch.doRead()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failing_descriptor_ends_the_watch(self) -> None:
        """When the reactor gives it up, the watch has stopped."""
        self.started()
        self.watch.connectionLost(None)  # type: ignore[arg-type]
        self.assertEqual(self.watch.fileno(), -1)


class IgnoredTests(WatchTestCase):
    """Folders that are ignored are not watched: they may be many, and watches are few."""

    def test_not_watched(self) -> None:
        """Neither those that are there, nor new ones, nor what is in them; a rename out of one is seen."""
        self.ignored = {"build"}
        self.save("build/x/1")
        self.started()
        (self.root / "d/build/y").mkdir(parents=True)
        self.heard()
        (self.root / "build/x").rename(self.root / "x")
        self.assertIn(What.FOLDER, self.kinds("x"))
        self.assertEqual({(), (b"d",), (b"x",)}, set(self.notifiers[0].watched))

    def test_renewed(self) -> None:
        """When others are ignored the watches are placed anew, and everything is scanned; not if it was stopped."""
        self.ignored = {"build"}
        self.save("build/1")
        self.save("d/1")
        self.started()
        self.ignored = {"d"}
        self.watch.renew()
        self.assertEqual([(), (b"build",)], self.notifiers[1].watched)
        self.assertEqual(["overflow"], self.told.events)
        self.watch.stop()
        self.watch.renew()
        self.assertEqual(2, len(self.notifiers))
