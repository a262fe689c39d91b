"""What changes in a folder is told to programs that read it: what, where, by whom, and never more than fits."""

from __future__ import annotations

import gc

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.bench import EARLY, BenchTestCase, content_id
from twistedp2p.limits import CHANGES_WAITING
from twistedp2p.peer.change_readers import ChangeReaders, Changes
from twistedp2p.peer.changes import LOST, By, Change, What, changes_of
from twistedp2p.peer.steps import Outcome
from twistedp2p.peer.store import View
from twistedp2p.peer.values import FOLDER_CONTENT, Intent, Row, Signature
from twistedp2p.versions import Dot, Kind

FILE = Row(Dot(b"rid-mine", 1), Kind.FILE, b"c" * 32, signature=Signature(1, 2, 30, 4))
FOLDER = Row(None, Kind.FOLDER, FOLDER_CONTENT, signature=Signature(1, 3, 4096, 4))


def said(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Return what an outcome says of the folder: what, path, by whom."""
    return [(change.what.value, change.path, change.by.value) for change in outcome.changes]


class RowsTests(SynchronousTestCase):
    """What a change of a row means."""

    def test_each(self) -> None:
        """A row that comes, goes or is another, and one of which only the base or the signature is."""
        for before, after, expected in (
            (None, FILE, Change(What.ADDED, "p", By.OTHERS, False, 30)),
            (None, FOLDER, Change(What.ADDED, "p", By.OTHERS, True, 0)),
            (FILE, evolve(FILE, content=b"d" * 32), Change(What.CHANGED, "p", By.OTHERS, False, 30)),
            (FILE, evolve(FILE, executable=True), Change(What.CHANGED, "p", By.OTHERS, False, 30)),
            (FILE, FOLDER, Change(What.CHANGED, "p", By.OTHERS, True, 0)),
            (FILE, None, Change(What.REMOVED, "p", By.OTHERS, False, 0)),
            (FOLDER, None, Change(What.REMOVED, "p", By.OTHERS, True, 0)),
            (FILE, evolve(FILE, base=None), None),
            (FILE, evolve(FILE, signature=None), None),
            (None, None, None),
        ):
            found = changes_of([("p", before, after)], lambda _: By.OTHERS)
            self.assertEqual(found, () if expected is None else (expected,))

    def test_ignored(self) -> None:
        """What comes to be ignored has not gone."""
        self.assertEqual(changes_of([("p", FILE, None)], lambda _: By.OTHERS, lambda path, kind: path == "p"), ())

    def test_renamed(self) -> None:
        """A file that left one path and is at another, as it was, is one change; what it replaced there is not told."""
        other = Row(None, Kind.FILE, b"o" * 32, signature=Signature(1, 9, 5, 6))
        told = (Change(What.RENAMED, "new", By.HERE, False, 30, "old"),)
        rebased = evolve(FILE, base=None)
        for before in (None, other):
            rows = [("new", before, rebased), ("old", FILE, None)]
            for given in (rows, rows[::-1]):
                self.assertEqual(changes_of(given, lambda path: By.HERE if path == "new" else By.OTHERS), told)

    def test_not_known_to_be_renamed(self) -> None:
        """What is not the same file in all, or left no path, is added and removed."""
        signature = FILE.signature
        assert signature is not None
        for new in (
            evolve(FILE, content=b"d" * 32),
            evolve(FILE, executable=True),
            evolve(FILE, signature=None),
            evolve(FILE, signature=evolve(signature, inode=7)),
            evolve(FILE, signature=evolve(signature, device=7)),
        ):
            found = changes_of([("new", None, new), ("old", FILE, None)], lambda _: By.HERE)
            self.assertEqual([(each.what, each.old_path) for each in found], [(What.ADDED, ""), (What.REMOVED, "")])
        linked = changes_of([("new", None, FILE), ("old", FILE, evolve(FILE, base=None))], lambda _: By.HERE)
        self.assertEqual([(each.what, each.path) for each in linked], [(What.ADDED, "new")])
        folders = changes_of([("new", None, FOLDER), ("old", FOLDER, None)], lambda _: By.HERE)
        self.assertEqual([each.what for each in folders], [What.ADDED, What.REMOVED])
        instead = changes_of([("new", FOLDER, FILE), ("old", FILE, None)], lambda _: By.HERE)
        self.assertEqual([each.what for each in instead], [What.CHANGED, What.REMOVED])

    def test_renames_of_linked_files(self) -> None:
        """Of one file with several names, each old name is told once, with what came of it."""
        rows = [("a", FILE, None), ("b", FILE, None), ("c", None, FILE)]
        found = changes_of(rows, lambda _: By.HERE)
        self.assertEqual(
            [(each.what, each.path, each.old_path) for each in found],
            [(What.REMOVED, "b", ""), (What.RENAMED, "c", "a")],
        )
        found = changes_of([("a", FILE, None), ("b", None, FILE), ("c", None, FILE)], lambda _: By.HERE)
        self.assertEqual(
            [(each.what, each.path, each.old_path) for each in found],
            [(What.RENAMED, "b", "a"), (What.ADDED, "c", "")],
        )

    def test_renamed_to_an_ignored_name(self) -> None:
        """A file that has an ignored name now has left the share, whatever is known of it."""
        rows = [("new", None, FILE), ("old", FILE, None)]
        found = changes_of(rows, lambda _: By.HERE, lambda path, kind: path == "new")
        self.assertEqual([(each.what, each.path) for each in found], [(What.REMOVED, "old")])


class StepsTests(BenchTestCase):
    """What each step says."""

    def test_rows_of_a_view(self) -> None:
        """A view knows of each row that its last commit changed what it was before the first change."""
        view = View(self.bench().index)
        view.set_row("p", FILE)
        view.commit()
        second = evolve(FILE, executable=True)
        view.set_row("p", None)
        view.set_row("p", second)
        view.commit()
        self.assertEqual(view.rows_changed, (("p", FILE, second),))
        view.commit()
        self.assertEqual(view.rows_changed, ())

    def test_saved_here(self) -> None:
        """What a person saves and deletes here, with the folders; looking again at the same says nothing."""
        bench = self.bench()
        bench.save("folder/file", b"mine")
        first = bench.steps.take(bench.scan())
        self.assertEqual(sorted(said(first)), [("added", "folder", "here"), ("added", "folder/file", "here")])
        self.assertEqual([change.size for change in first.changes if not change.is_folder], [4])
        self.assertEqual(said(bench.steps.take(bench.scan())), [])
        bench.save("folder/file", b"again")
        self.assertEqual(said(bench.steps.take(bench.scan())), [("changed", "folder/file", "here")])
        (bench.root / "folder" / "file").unlink()
        self.assertEqual(said(bench.steps.take(bench.scan())), [("removed", "folder/file", "here")])

    def test_put_here(self) -> None:
        """What others saved is told when it is in place, not when it is known; so is what they changed and deleted."""
        bench = self.bench()
        bench.theirs("file", b"theirs")
        self.assertEqual(said(bench.plan("file")), [])
        done = bench.plan("file")
        self.assertEqual(said(done), [("added", "file", "others")])
        self.assertEqual((done.changes[0].size, (bench.root / "file").read_bytes()), (6, b"theirs"))
        bench.theirs("file", b"new")
        bench.plan("file")
        self.assertEqual(said(bench.plan("file")), [("changed", "file", "others")])
        bench.theirs("file", None)
        self.assertEqual(said(bench.plan("file")), [("removed", "file", "others")])
        self.assertEqual(said(bench.plan("file")), [])

    def test_renamed_by_others(self) -> None:
        """A file that others renamed is told with both names; one that they saved anew under a new name is not."""
        bench = self.bench()
        bench.theirs("old", b"theirs")
        bench.plan("old")
        bench.plan("old")
        bench.theirs("folder/new", b"theirs")
        bench.theirs("old", None)
        done = bench.plan("folder/new", "old")
        self.assertEqual(said(done), [("added", "folder", "others"), ("renamed", "folder/new", "others")])
        self.assertEqual((done.changes[1].old_path, done.changes[1].size), ("old", 6))
        bench.theirs("other", b"other")
        bench.theirs("folder/new", None)
        told = sorted([*said(bench.plan("folder/new", "other")), *said(bench.plan("other"))])
        self.assertEqual(told, [("added", "other", "others"), ("removed", "folder/new", "others")])

    def test_renamed_here(self) -> None:
        """A file that a person renames is told with both names, over another file too; a folder file by file."""
        bench = self.bench()
        bench.save("old", b"mine")
        bench.save("over", b"other")
        bench.steps.take(bench.scan())
        for old, new in (("old", "new"), ("new", "over")):
            (bench.root / old).rename(bench.root / new)
            done = bench.steps.take(bench.scan())
            self.assertEqual(said(done), [("renamed", new, "here")])
            self.assertEqual((done.changes[0].old_path, done.changes[0].size), (old, 4))
        bench.save("a/file", b"in a folder")
        bench.steps.take(bench.scan())
        (bench.root / "a").rename(bench.root / "b")
        done = bench.steps.take(bench.scan())
        self.assertEqual(
            sorted(said(done)), [("added", "b", "here"), ("removed", "a", "here"), ("renamed", "b/file", "here")]
        )

    def test_renamed_and_edited_here(self) -> None:
        """A file that is edited as it gets a new name is another file: removed and added."""
        bench = self.bench()
        bench.save("old", b"mine")
        bench.steps.take(bench.scan())
        (bench.root / "old").rename(bench.root / "new")
        (bench.root / "new").write_bytes(b"edited")
        self.assertEqual(
            sorted(said(bench.steps.take(bench.scan()))), [("added", "new", "here"), ("removed", "old", "here")]
        )

    def test_conflict(self) -> None:
        """The copy of a version that lost its name is added by this peer."""
        bench = self.bench()
        bench.theirs("file", b"theirs", mtime_ns=EARLY)
        bench.save("file", b"mine")
        bench.steps.take(bench.scan())
        told: list[tuple[str, str, str]] = []
        for _ in range(6):
            told += said(bench.plan())
        copies = [path for path in bench.tree() if path != "file"]
        self.assertEqual(len(copies), 1)
        self.assertIn(("added", copies[0], "others"), told)

    def test_new_index(self) -> None:
        """Who begins a new index does not know what changed meanwhile."""
        self.assertEqual(self.bench().steps.lose_index(b"rid-new!").changes, (LOST,))

    def test_finished_after_a_crash(self) -> None:
        """What an earlier life of this process had put in place, and not noted, is told as what others did."""
        bench = self.bench()
        dot = bench.theirs("file", b"theirs")
        view = View(bench.index)
        view.set_intent("file", Intent("file", None, dot, Kind.FILE, content_id(b"theirs"), False, ""))
        view.commit()
        (bench.root / "file").write_bytes(b"theirs")
        bench.restart()
        self.assertEqual(said(bench.steps.take(bench.scan())), [("added", "file", "others")])


def change(number: int) -> Change:
    """Return one of many changes."""
    return Change(What.ADDED, str(number))


class ReadersTests(SynchronousTestCase):
    """Several readers, fast and slow."""

    def setUp(self) -> None:
        self.readers = ChangeReaders()

    def read(self, changes: Changes) -> list[str]:
        """Return the paths of what a reader has to read now; "-" for what it lost."""
        found: list[str] = []
        while True:
            result = changes.next()
            if not result.called:
                result.addErrback(lambda _: None).cancel()
                return found
            value = self.successResultOf(result)
            if value is None:
                return found
            found.append("-" if value is LOST else value.path)

    def test_order(self) -> None:
        """Each reader hears all changes since it was made, in order, whether it waits or not."""
        first = self.readers.new()
        waiting = first.next()
        self.readers.tell((change(1), change(2)))
        second = self.readers.new()
        self.readers.tell((change(3),))
        self.assertEqual(self.successResultOf(waiting), change(1))
        self.assertEqual((self.read(first), self.read(second)), (["2", "3"], ["3"]))

    def test_async(self) -> None:
        """`async for` hears what comes, and ends when the peer does; also if nobody else keeps what it runs in."""
        heard: list[str] = []

        async def listen() -> None:
            async for each in self.readers.new():
                heard.append(each.path)
            heard.append("over")

        Deferred.fromCoroutine(listen())
        gc.collect()
        self.readers.tell((change(1), change(2)))
        self.readers.tell((change(3),))
        self.assertEqual(heard, ["1", "2", "3"])
        self.readers.end()
        self.assertEqual(heard, ["1", "2", "3", "over"])

    def test_cancel(self) -> None:
        """A program that is cancelled while it waits loses nothing of what comes later."""
        changes = self.readers.new()
        first, second = changes.next(), changes.next()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.readers.tell((change(1), change(2)))
        self.assertEqual(self.successResultOf(second), change(1))
        self.assertEqual(self.read(changes), ["2"])

    def test_slow(self) -> None:
        """As many as may wait do; with one more they are all gone, and the reader is told so, once."""
        slow, fast = self.readers.new(), self.readers.new()
        for number in range(CHANGES_WAITING):
            self.readers.tell((change(number),))
            self.assertEqual(self.read(fast), [str(number)])
        self.assertEqual(len(slow._unread), CHANGES_WAITING)
        self.readers.tell((change(-1), change(-2)))
        self.assertEqual((self.read(slow), self.read(fast)), (["-", "-1", "-2"], ["-1", "-2"]))
        self.readers.tell([change(number) for number in range(3 * CHANGES_WAITING)])
        self.assertEqual(self.read(slow).count("-"), 1)
        self.assertLessEqual(len(slow._unread), CHANGES_WAITING)

    def test_end(self) -> None:
        """After the end what waits is still read, then there is no more; who comes later hears the end at once."""
        changes = self.readers.new()
        self.readers.tell((change(1),))
        self.readers.end()
        self.assertEqual(self.successResultOf(changes.next()), change(1))
        self.assertIsNone(self.successResultOf(changes.next()))
        self.assertIsNone(self.successResultOf(self.readers.new().next()))

    def test_close(self) -> None:
        """A closed reader hears nothing more; closing it out of its own callback is fine."""
        changes = self.readers.new()
        heard: list[Change | None] = []
        changes.next().addCallback(heard.append).addCallback(lambda _: changes.close())
        other = changes.next()
        self.readers.tell((change(1), change(2)))
        self.assertEqual((heard, len(self.readers)), ([change(1)], 0))
        self.assertIsNone(self.successResultOf(other))

    def test_forgotten(self) -> None:
        """A reader that nobody has any more is forgotten."""
        self.readers.new()
        gc.collect()
        self.assertEqual(len(self.readers), 0)
