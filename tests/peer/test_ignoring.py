"""The list in force, and going over to another one, on a real folder without a network."""

from __future__ import annotations

import shutil

from tests.peer.bench import Bench, BenchTestCase
from twistedp2p.limits import IGNORE_BYTES
from twistedp2p.peer import relisting
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.look import LEFT_OVER
from twistedp2p.versions import Kind


class IgnoringCase(BenchTestCase):
    """One peer."""

    def setUp(self) -> None:
        self.it = self.bench()

    def relist(self, it: Bench) -> set[str]:
        """Judge every path by the list in force; return what is planned after the scan."""
        shown: set[str] = set()
        while it.steps.ignores.under_way:
            outcome = it.steps.relist()
            it.pending |= outcome.plan
            shown |= outcome.plan_after_scan or frozenset()
        return shown

    def ignore(self, text: bytes) -> set[str]:
        """Save a list, take it in and go over to it."""
        self.it.save(IGNORE_NAME, text)
        self.it.take_in()
        return self.relist(self.it)


class ListTests(IgnoringCase):
    """Which list is in force."""

    def test_follows_the_index(self) -> None:
        """A list is in force when it was taken in, not before; the same text again changes nothing."""
        self.it.save(IGNORE_NAME, b"x\n")
        self.assertFalse(self.it.ignoring("x", Kind.FILE))
        self.it.take_in()
        self.assertTrue(self.it.ignoring("x", Kind.FILE))
        before = self.it.ignoring.list
        self.it.save(IGNORE_NAME, b"x\n")
        self.it.take_in()
        self.assertIs(before, self.it.ignoring.list)

    def test_at_start(self) -> None:
        """At start the file counts as it lies there; if it is missing for the moment, the last one."""
        self.ignore(b"x\n")
        self.it.save(IGNORE_NAME, b"y\n")
        self.it.restart()
        self.assertEqual(b"y\n", self.it.ignoring.list.text)
        (self.it.root / IGNORE_NAME).unlink()
        self.it.restart()
        self.assertEqual(b"x\n", self.it.ignoring.list.text)
        self.it.take_in()
        self.assertEqual(b"", self.it.ignoring.list.text)

    def test_beyond_its_limits(self) -> None:
        """A file that can not be used leaves the last list in force, also at the next start, and says so."""
        self.ignore(b"x\n")
        self.ignore(b"#" * (IGNORE_BYTES + 1))
        for _ in range(2):
            self.assertEqual(b"x\n", self.it.ignoring.list.text)
            self.assertIn("make it shorter", self.it.ignoring.troubles()[0].text)
            self.it.restart()
        self.ignore(b"y\n")
        self.assertEqual((b"y\n", []), (self.it.ignoring.list.text, self.it.ignoring.troubles()))

    def test_a_folder(self) -> None:
        """A folder of that name leaves the last list in force."""
        self.ignore(b"x\n")
        (self.it.root / IGNORE_NAME).unlink()
        (self.it.root / IGNORE_NAME).mkdir()
        self.it.take_in()
        self.assertEqual(b"x\n", self.it.ignoring.list.text)
        self.assertIn("folder", self.it.ignoring.troubles()[0].text)
        self.it.restart()
        self.assertEqual(b"x\n", self.it.ignoring.list.text)

    def test_bad_lines_are_told_once(self) -> None:
        """Lines that are not used are one trouble, whatever their number."""
        self.ignore(b"[a\n[b\nx\n")
        trouble, = self.it.ignoring.troubles()
        self.assertIn("Line 1 is not used, and 1 other lines are not", trouble.text)


class TakingTests(IgnoringCase):
    """What is ignored and what becomes a version."""

    def test_between_look_and_save(self) -> None:
        """What was seen, or is gone, and became ignored since is not taken."""
        self.it.save("d/old", b"1")
        self.it.take_in()
        (self.it.root / "d/old").unlink()
        self.it.save("d/new", b"2")
        looks = self.it.scan()
        self.it.save(IGNORE_NAME, b"d/\n")
        self.it.steps.take([self.it.look(IGNORE_NAME)])
        self.it.steps.take(looks)
        self.assertEqual({IGNORE_NAME, "d", "d/old"}, set(self.it.live()))

    def test_never_missing(self) -> None:
        """What is ignored is missing at no look: at none of it, of its folder, of everything; nor if it was renamed."""
        self.it.save("d/x", b"1")
        self.it.save("y", b"2")
        self.it.take_in()
        self.ignore(b"d/\ny\n")
        shutil.rmtree(self.it.root / "d")
        (self.it.root / "y").rename(self.it.root / "z")
        for looked in (self.it.look("d", "d/x", "y", "z", confirm=True), *self.it.scan()):
            self.assertEqual(([], []), (looked.gone, looked.missing))
        self.it.settle()
        self.assertEqual({IGNORE_NAME, "d", "d/x", "y", "z"}, set(self.it.live()))

    def test_rows_not_dropped_yet(self) -> None:
        """A row that is still there when its path became ignored is neither missing nor gone."""
        self.it.save("d/x", b"1")
        self.it.save("y", b"2")
        self.it.take_in()
        self.it.save(IGNORE_NAME, b"d/\ny\n")
        self.it.take_in()
        self.assertTrue(self.it.steps.ignores.under_way)
        (self.it.root / "d/x").unlink()
        (self.it.root / "d").rmdir()
        (self.it.root / "y").rename(self.it.root / "z")
        for looked in (self.it.look("d", "d/x", "y", "z", confirm=True), *self.it.scan()):
            self.assertEqual(([], []), (looked.gone, looked.missing))
        self.it.settle()
        self.assertEqual({IGNORE_NAME, "d", "d/x", "y", "z"}, set(self.it.live()))


class RelistingTests(IgnoringCase):
    """Every path is judged anew, in slices."""

    def test_slices(self) -> None:
        """Rows go and come in as many steps as it takes, without a version; the totals follow."""
        names = [f"d/{number}" for number in range(7)]
        for name in names:
            self.it.save(name, name.encode())
        self.it.save("x", b"x")
        self.it.take_in()
        self.patch(relisting, "SLICE", 3)
        counter = self.it.index.counter
        self.it.save(IGNORE_NAME, b"d/\n")
        self.it.take_in()
        steps = 0
        while self.it.steps.ignores.under_way:
            self.it.steps.relist()
            steps += 1
        self.assertEqual(5, steps)
        self.assertEqual({"x", IGNORE_NAME}, {path for path, _ in self.it.index.rows_below("")})
        self.assertEqual((2, 8), (self.it.index.totals().files, self.it.index.totals().ignored))
        self.assertEqual(counter + 1, self.it.index.counter)
        self.assertEqual({"d", *names}, self.ignore(b""))
        self.it.take_in()
        self.assertEqual(counter + 2, self.it.index.counter)
        self.assertEqual((9, 0), (self.it.index.totals().files, self.it.index.totals().ignored))
        self.assertEqual([], self.it.index.unsettled(10))

    def test_killed_in_between(self) -> None:
        """A peer that ended in between begins again; one that did not, does not."""
        self.it.save("d/x", b"1")
        self.it.take_in()
        self.it.save(IGNORE_NAME, b"d/\n")
        self.it.take_in()
        self.it.restart()
        self.assertTrue(self.it.steps.ignores.under_way)
        self.relist(self.it)
        self.assertIsNone(self.it.index.row("d/x"))
        self.it.restart()
        self.assertFalse(self.it.steps.ignores.under_way)

    def test_sound_afterwards(self) -> None:
        """An index with ignored paths passes its own check after a kill."""
        self.it.save("d/x", b"1")
        self.it.take_in()
        self.ignore(b"d/\n")
        self.it.index._db.proven = False  # as after a kill
        self.it.index._check()

    def test_publishes_under_way(self) -> None:
        """Content for a path that became ignored is neither put there nor fetched."""
        self.it.theirs("d/x", b"theirs")
        self.it.supply(*self.it.held)
        self.ignore(b"d/\n")
        outcome = self.it.plan("d", "d/x")
        self.assertEqual((), outcome.wants)
        self.assertNotIn("d/x", self.it.tree())

    def test_left_over(self) -> None:
        """A folder that others removed and that is not empty here stays, and it is said why, at every look."""
        self.it.save("d/x", b"1")
        self.it.save("d/y.o", b"2")
        self.it.save(IGNORE_NAME, b"*.o\n")
        self.it.restart()
        self.it.settle()
        self.it.theirs("d", None)
        self.it.theirs("d/x", None)
        self.it.settle()
        self.assertEqual({"d": None, "d/y.o": b"2"}, self.it.tree())
        self.assertIn(("d", LEFT_OVER), self.it.look("d").hidden)
        self.assertIn(("d", LEFT_OVER), [hidden for looked in self.it.scan() for hidden in looked.hidden])
        self.assertEqual({}, self.it.errors)
