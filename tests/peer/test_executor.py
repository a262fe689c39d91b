"""Carrying out a plan on a real folder: what is published, what is kept, and what a user may do meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from tests.peer.bench import Bench, BenchTestCase, content_id
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
