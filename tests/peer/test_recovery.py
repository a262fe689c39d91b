"""What an interrupted publish leaves, at whatever moment the process ends or the disk fails: nothing is lost."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from tests.peer.bench import EARLY, Bench, BenchTestCase, Killed
from twistedp2p.disk.seam import Name
from twistedp2p.versions import Kind

Story = Callable[[Bench], None]


def new_file(bench: Bench) -> None:
    """A file in a new folder, and two more that are equal."""
    for path in ("d/new", "e1", "e2"):
        bench.theirs(path, b"theirs" if path == "d/new" else b"")


def replaced(bench: Bench) -> None:
    """A newer version of a file."""
    bench.save("f", b"old")
    bench.take_in()
    bench.theirs("f", b"theirs")


def removed(bench: Bench) -> None:
    """A folder with a file in it is removed."""
    bench.save("d/f", b"old")
    bench.take_in()
    bench.theirs("d/f", None)
    bench.theirs("d", None)


def moved(bench: Bench) -> None:
    """A file is renamed into another folder."""
    bench.save("f", b"old")
    bench.take_in()
    bench.theirs("f", None)
    bench.theirs("d/g", b"old")
    del bench.held[next(iter(bench.held))]


def won(bench: Bench) -> None:
    """A concurrent version that wins: mine becomes a copy."""
    bench.save("f", b"mine")
    bench.take_in()
    bench.theirs("f", b"theirs", over=False)


def displaced(bench: Bench) -> None:
    """A concurrent version that wins and is here already: mine is only in the trash before it becomes a copy."""
    won(bench)
    bench.supply(*bench.held)


def lost(bench: Bench) -> None:
    """A concurrent version that loses: theirs becomes a copy."""
    bench.save("f", b"mine")
    bench.take_in()
    bench.theirs("f", b"theirs", over=False, mtime_ns=EARLY)


def to_folder(bench: Bench) -> None:
    """A file becomes a folder with a file in it."""
    bench.save("f", b"old")
    bench.take_in()
    bench.theirs("f", b"", kind=Kind.FOLDER)
    bench.theirs("f/g", b"theirs")


def to_file(bench: Bench) -> None:
    """A folder becomes a file."""
    bench.save("f/g", b"old")
    bench.take_in()
    bench.theirs("f/g", None)
    bench.theirs("f", b"theirs")


STORIES: list[tuple[Story, dict[str, bytes | None], list[bytes]]] = [
    (new_file, {"d": None, "d/new": b"theirs", "e1": b"", "e2": b""}, []),
    (replaced, {"f": b"theirs"}, [b"old"]),
    (removed, {}, [b"old"]),
    (moved, {"d": None, "d/g": b"old"}, []),
    (won, {"f": b"theirs"}, [b"mine"]),
    (displaced, {"f": b"theirs"}, [b"mine"]),
    (lost, {"f": b"mine"}, [b"theirs"]),
    (to_folder, {"f": None, "f/g": b"theirs"}, [b"old"]),
    (to_file, {"f": b"theirs"}, [b"old"]),
]

CHANGING = ("create", "make_folder", "remove_folder", "unlink", "rename", "exchange", "sync_folder", "sync_all")


class _Nth:
    """Raises an error at the n-th time that something is changed on the disk."""

    def __init__(self, n: int, error: BaseException) -> None:
        self.left = n
        self.error = error

    def __call__(self, verb: str, name: Name) -> None:
        if verb in CHANGING:
            self.left -= 1
            if self.left == 0:
                raise self.error


def _through(bench: Bench) -> None:
    """Plan, fetch and publish for as long as there is something to do, and never look at the folder."""
    for _ in range(6):
        bench.plan(*(bench.pending | set(bench.index.unsettled(100))))


class SweepTests(BenchTestCase):
    """One story is interrupted at each of its moments."""

    def sweep(self, make: Callable[[int], BaseException], *, after: bool, exchange: bool = True) -> None:
        """Interrupt every story at every moment, begin a new life, and see what becomes of it."""
        for story, tree, kept in STORIES:
            n = 0
            while self.interrupted(story, tree, kept, _Nth(n := n + 1, make(n)), after, exchange):
                self.assertLess(n, 100)
            self.assertGreater(n, 3)

    def interrupted(
        self, story: Story, tree: dict[str, bytes | None], kept: list[bytes], nth: _Nth, after: bool, exchange: bool
    ) -> bool:
        """Tell the story and interrupt it; return whether there was that moment."""
        bench = Bench(exchange=exchange)
        n = nth.left
        try:
            story(bench)
            setattr(bench.disk, "after" if after else "before", nth)
            with contextlib.suppress(Killed, OSError):
                _through(bench)
            if isinstance(nth.error, Killed):
                bench.restart()
            bench.settle()
            at = f"{story.__name__}, moment {n}, {'after' if after else 'before'}"
            shown = bench.tree()
            copies = [data for path, data in shown.items() if "(conflict " in path]
            self.assertEqual({path: data for path, data in shown.items() if "(conflict " not in path}, tree, at)
            safe = copies if story in (won, displaced, lost) else bench.trashed()
            for data in kept:
                self.assertIn(data, safe, at)
            self.assertLessEqual(len(copies), 1, at)
            self.assertPeace(bench)
            return nth.left <= 0
        finally:
            bench.close()

    def test_killed_before_each_change(self) -> None:
        """A process that ends before any change of the disk, after all commits before it, is gone on with."""
        self.sweep(lambda n: Killed(), after=False)

    def test_killed_after_each_change(self) -> None:
        """A process that ends after any change of the disk, before the commit that follows, is gone on with."""
        self.sweep(lambda n: Killed(), after=True)

    def test_killed_without_exchange(self) -> None:
        """The same on a disk that can not exchange two names."""
        self.sweep(lambda n: Killed(), after=False, exchange=False)
        self.sweep(lambda n: Killed(), after=True, exchange=False)

    def test_each_change_fails_once(self) -> None:
        """A disk that refuses any one change costs nothing but another try."""
        self.sweep(lambda n: OSError(errno.EIO, "failing"), after=False)
        self.sweep(lambda n: OSError(errno.ENOSPC, "full"), after=False, exchange=False)


class TrashTests(BenchTestCase):
    """What becomes of displaced files."""

    def setUp(self) -> None:
        self.it = self.bench()

    def displace(self) -> Path:
        """Have a file replaced; return where it is now."""
        self.it.save("f", b"old")
        self.it.take_in()
        self.it.theirs("f", b"theirs")
        self.it.settle()
        (entry,) = self.it.index.trash_entries()
        return self.it.root / ".twistedp2p/trash" / entry.name

    def test_what_is_written_to_the_trash_comes_back(self) -> None:
        """A program that goes on writing to a displaced file makes a version beside the new one, once."""
        with self.displace().open("ab") as opened:
            opened.write(b" and more")
        self.it.settle()
        self.assertEqual(sorted(data for data in self.it.tree().values() if data), [b"old and more", b"theirs"])
        counter = self.it.index.counter
        self.it.settle()
        self.assertEqual(self.it.index.counter, counter)
        self.assertPeace(self.it)

    def test_only_the_entries_asked_for(self) -> None:
        """A check of some entries leaves the others for the next."""
        with self.displace().open("ab") as opened:
            opened.write(b" and more")
        counter = self.it.index.counter
        self.it.steps.recheck_trash(("20000101/0000000000000000.x",))
        self.assertEqual(self.it.index.counter, counter)

    def test_a_touched_file_is_read_once(self) -> None:
        """A displaced file with another mtime and the same bytes is no version, and is not read again."""
        there = self.displace()
        os.utime(there, ns=(EARLY, EARLY))
        counter, opened = self.it.index.counter, []
        self.it.disk.before = lambda verb, name: opened.append(name) if verb == "open" else None
        for _ in range(2):
            self.it.steps.recheck_trash(None)
        self.assertEqual((self.it.index.counter, len(opened)), (counter, 1))
