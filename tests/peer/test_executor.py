"""Carrying out a plan on a real folder: what is published, what is kept, and what a user may do meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from tests.peer.bench import EARLY, Bench, BenchTestCase, content_id
from tests.peer.test_recovery import Story, lost, moved, removed, replaced, to_folder, won
from twistedp2p.disk.seam import Name

OLD, MORE = b"of the user before", b"of the user meanwhile"


class _Moment:
    """Does something once, at the n-th moment of a disk."""

    def __init__(self, n: int, action: Callable[[], None]) -> None:
        self.left = n
        self.action = action

    def __call__(self, verb: str, name: Name) -> None:
        self.left -= 1
        if self.left == 0:
            with contextlib.suppress(OSError):  # the user's program says that it can not save there
                self.action()


class _User:
    """A user who does one thing to a file; `found` is what was there at that moment, None if nothing was."""

    def __init__(self, bench: Bench, path: str) -> None:
        self.bench = bench
        self.path = path
        self.there = bench.root / path
        self.found: bytes | None = None
        self.saved = b""
        self.opened = os.open(self.there, os.O_RDWR | os.O_APPEND)

    def _look(self) -> None:
        self.found = self.there.read_bytes() if self.there.is_file() else None

    def save(self) -> None:
        """Put a new file in place of it."""
        self._look()
        self.bench.save(self.path, MORE)
        self.saved = MORE

    def write(self) -> None:
        """Go on writing into the file that was opened at first, wherever it is now."""
        before = os.pread(self.opened, 1000, 0)
        os.write(self.opened, MORE)
        self.saved = before + MORE

    def remove(self) -> None:
        """Remove it."""
        self._look()
        self.there.unlink()

    def rename(self) -> None:
        """Give it another name."""
        self._look()
        self.there.rename(self.bench.root / "renamed")
        self.saved = self.found or b""

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.opened)


class RaceTests(BenchTestCase):
    """A user does something at each moment of a publish."""

    def race(self, action: Callable[[_User], None], *stories: Story, exchange: bool = True) -> None:
        """Tell each story with that action at each moment; the user's bytes and those of others are all there."""
        for story in stories:
            for after in (False, True):
                n = 0
                while self.raced(story, action, n := n + 1, after, exchange):
                    self.assertLess(n, 400)
                self.assertGreater(n, 5)

    def raced(self, story: Story, action: Callable[[_User], None], n: int, after: bool, exchange: bool) -> bool:
        """Tell one story; return whether there was that moment."""
        bench = Bench(exchange=exchange)
        try:
            story(bench)
            bench.held[content_id(b"old")] = b"old"
            path = "d/f" if story is removed else "f"
            user = _User(bench, path)
            moment = _Moment(n, lambda: action(user))
            setattr(bench.disk, "after" if after else "before", moment)
            for _ in range(3):
                bench.plan(*(bench.pending | set(bench.index.unsettled(100))))
            bench.disk.before = bench.disk.after = lambda verb, name: None
            user.close()
            bench.settle()
            at = f"{story.__name__}, moment {n}, {'after' if after else 'before'}, found {user.found!r}"
            everything = [data for data in bench.tree().values() if data is not None]
            if moment.left <= 0 and user.saved:
                self.assertIn(user.saved, everything, at)
            if user.found != b"theirs":
                for theirs in (data for data in bench.held.values() if data and data != b"old"):
                    self.assertIn(theirs, everything, at)
            self.assertPeace(bench)
            return moment.left <= 0
        finally:
            bench.close()

    def test_a_save_at_any_moment(self) -> None:
        """What an editor puts in place at any moment of a publish is kept, and so is what was published."""
        self.race(_User.save, replaced, removed, won, lost, to_folder, moved)

    def test_a_write_at_any_moment(self) -> None:
        """What a program writes into the old file at any moment, also in the trash, is kept as a version."""
        self.race(_User.write, replaced, removed, won, lost, to_folder, moved)

    def test_a_removal_at_any_moment(self) -> None:
        """Removing the old file does not remove the version that takes its place."""
        self.race(_User.remove, replaced, removed, won, lost)

    def test_a_rename_at_any_moment(self) -> None:
        """A file that is renamed at any moment has its new name, and the version for the old name is there."""
        self.race(_User.rename, replaced, removed, won, lost)

    def test_races_without_exchange(self) -> None:
        """The same on a disk that can not exchange two names."""
        self.race(_User.save, replaced, won, exchange=False)
        self.race(_User.write, replaced, won, exchange=False)


class ExecutorTests(BenchTestCase):
    """What carrying out leaves."""

    def setUp(self) -> None:
        self.it = self.bench()

    def test_equal_contents_in_one_batch(self) -> None:
        """Many equal files of one batch need one part; none of it is left over."""
        for number in range(20):
            self.it.theirs(f"d/{number}", b"")
        self.it.settle()
        self.assertEqual(len(self.it.tree()), 21)
        self.assertPeace(self.it)
        self.assertEqual(os.listdir(self.it.root / ".twistedp2p/parts"), [])

    def test_a_move_copies_nothing(self) -> None:
        """A file whose content goes to another name is renamed: the same inode, and nothing is in the trash."""
        there = self.it.save("f", b"old", executable=True)
        self.it.take_in()
        inode = there.stat().st_ino
        self.it.theirs("f", None)
        self.it.theirs("d/g", b"old", executable=True)
        made: list[Name] = []
        self.it.disk.before = lambda verb, name: made.append(name) if verb == "create" else None
        self.it.plan()
        self.assertEqual((self.it.root / "d/g").stat().st_ino, inode)
        self.assertEqual((made, self.it.trashed()), ([], []))
        self.assertPeace(self.it)

    def test_something_unknown_is_in_the_way(self) -> None:
        """A file that nobody has looked at yet stays, is looked at, and both are there in the end."""
        self.it.theirs("f", b"theirs")
        self.it.supply(content_id(b"theirs"))
        self.it.save("f", b"mine")
        outcome = self.it.plan()
        self.assertEqual((outcome.look, [path for path, _ in outcome.errors]), ({"f"}, ["f"]))
        self.assertEqual(self.it.tree(), {"f": b"mine"})
        self.it.settle()
        self.assertEqual(sorted(data for data in self.it.tree().values() if data), [b"mine", b"theirs"])
        self.assertPeace(self.it)

    def test_a_change_before_the_commit_is_looked_at(self) -> None:
        """Who saves after the name was changed and before the row is committed is seen by a look afterwards."""
        self.it.theirs("f", b"theirs")
        self.it.supply(content_id(b"theirs"))

        def save(verb: str, name: Name) -> None:
            if verb == "sync_folder" and (self.it.root / "f").exists():
                self.it.save("f", b"saved at once")

        self.it.disk.before = save
        self.assertEqual(self.it.plan().look, {"f"})

    def test_the_executable_bit(self) -> None:
        """A version that differs in its x bit only changes that; nothing is displaced."""
        there = self.it.save("run", b"#!")
        self.it.take_in()
        inode = there.stat().st_ino
        self.it.theirs("run", b"#!", executable=True)
        self.it.plan()
        self.assertEqual((there.stat().st_mode & 0o100, there.stat().st_ino), (0o100, inode))
        self.assertFalse(self.it.scan()[0])
        self.assertPeace(self.it)

    def test_folders_are_removed_from_the_deepest_up(self) -> None:
        """A whole tree goes in one batch."""
        self.it.save("a/b/c/f", b"1")
        self.it.take_in()
        for path in ("a", "a/b", "a/b/c", "a/b/c/f"):
            self.it.theirs(path, None)
        self.it.plan()
        self.assertEqual((self.it.tree(), self.it.trashed()), ({}, [b"1"]))

    def test_a_folder_with_something_in_it_stays(self) -> None:
        """What a user put into a folder that others removed keeps that folder."""
        self.it.save("d/f", b"1")
        self.it.take_in()
        self.it.theirs("d/f", None)
        self.it.theirs("d", None)
        self.it.save("d/new", b"2")
        self.it.plan()
        self.assertEqual(self.it.tree(), {"d": None, "d/new": b"2"})
        self.it.settle()
        self.assertEqual(self.it.tree(), {"d": None, "d/new": b"2"})
        self.assertPeace(self.it)

    def test_a_copy_is_safe_before_its_version_is_dropped(self) -> None:
        """At the moment at which a losing version leaves the record, its bytes are listed in the trash."""
        self.it.save("f", b"mine")
        self.it.take_in()
        self.it.theirs("f", b"theirs", over=False, mtime_ns=EARLY)
        self.it.supply(content_id(b"theirs"))
        self.it.plan()
        self.assertEqual(len(self.it.index.record("f").siblings), 1)
        self.assertEqual(self.it.trashed(), [b"theirs"])
        self.assertTrue(self.it.index.trash_with_content(content_id(b"theirs"))[0].kept)
        self.it.settle()
        self.assertEqual((len(self.it.tree()), self.it.trashed()), (2, []))
