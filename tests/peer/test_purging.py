"""What is in the trash, until when, and what can go: what a version waits for never does."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peer.bench import EARLY, BenchTestCase, content_id
from twistedp2p.disk.seam import Name
from twistedp2p.errors import FolderUnusable
from twistedp2p.limits import TRASH_DAYS
from twistedp2p.peer import purging
from twistedp2p.peer.purging import Item, Purged, Wish, matches

ALL = Wish(everything=True)


class MatchingTests(SynchronousTestCase):
    """Which files a pattern means."""

    def test_patterns(self) -> None:
        """A pattern is like a path, a folder above it, or its last part; without one, all are meant."""
        for pattern in (None, "a/b.txt", "*.txt", "b.*", "a", "a/", "a/*", "?", "[ab].txt"):
            self.assertTrue(matches("a/b.txt", pattern), pattern)
        for pattern in ("", "b", "*.TXT", "a/b", "/a", "a.txt", "c*"):
            self.assertFalse(matches("a/b.txt", pattern), pattern)

    def test_pattern_that_takes_long_elsewhere(self) -> None:
        """A pattern with many stars is answered at once."""
        self.assertFalse(matches("a" * 200, "*a" * 50 + "b"))


class PurgeCase(BenchTestCase):
    """A folder in which something was displaced."""

    def setUp(self) -> None:
        self.it = self.bench()
        self.purger = self.it.purger

    def displace(self, path: str = "f", data: bytes = b"old") -> str:
        """Have a file replaced, and looked at again; return its name in the trash."""
        self.it.save(path, data)
        self.it.take_in()
        self.it.theirs(path, b"theirs " + data)
        self.it.plan()
        self.it.plan()
        (name,) = [entry.name for entry in self.it.index.trash_entries() if entry.content == content_id(data)]
        self.it.steps.recheck_trash((name,))
        return name

    def lose(self) -> str:
        """Hear of a version that loses, and bring its bytes into the trash; its copy is not published yet."""
        self.it.save("g", b"mine")
        self.it.take_in()
        self.it.theirs("g", b"loser", over=False, mtime_ns=EARLY)
        self.it.supply(content_id(b"loser"))
        self.it.plan()
        return next(entry.name for entry in self.it.index.trash_entries() if entry.content == content_id(b"loser"))

    def there(self, name: str) -> Path:
        """Return where an entry of the trash lies."""
        return self.it.root / ".twistedp2p/trash" / name

    def stray(self, data: bytes = b"stray", name: str = "20200101/0000000000000000.letter") -> str:
        """Put a file into the trash that the index knows nothing of."""
        self.there(name).parent.mkdir(exist_ok=True)
        self.there(name).write_bytes(data)
        os.utime(self.there(name), ns=(EARLY, EARLY))
        return name

    def purge(self, wish: Wish, most: int = 1000) -> Purged:
        """Remove in steps of `most` files; return the sum."""
        steps = [self.purger.purge(wish, most=most)]
        while steps[-1].next is not None:
            steps.append(self.purger.purge(wish, steps[-1].next, most))
        kept = tuple(item for step in steps for item in step.kept)
        written = tuple(name for step in steps for name in step.written)
        return Purged(sum(step.removed for step in steps), sum(step.bytes for step in steps), kept, written, None)

    def items(self, pattern: str | None = None, most: int = 1000) -> list[Item]:
        """Return all that is listed, page by page."""
        pages = [self.purger.page(None, pattern, most)]
        while pages[-1].next is not None:
            pages.append(self.purger.page(pages[-1].next, pattern, most))
        return [item for page in pages for item in page.items]


class ListingTests(PurgeCase):
    """What a person is told."""

    def test_what_it_was(self) -> None:
        """A file is told of with its path, its size, when it came and when it goes."""
        name = self.displace("d/f")
        (item,) = self.items()
        self.assertEqual((item.name, item.path, item.size, item.listed, item.why), (name, "d/f", 3, True, ""))
        self.assertTrue(0 <= self.it.wall() - item.since < 60)
        self.assertEqual(item.until, item.since + TRASH_DAYS * 86_400)

    def test_why_it_stays(self) -> None:
        """What a version waits for, and what the index does not know, says so and goes by itself never."""
        lost, stray = self.lose(), self.stray()
        self.assertEqual(
            [(item.name, item.path, item.until, item.why) for item in self.items()],
            [(lost, "g", None, purging.WAITED_FOR), (stray, "letter", None, purging.UNLISTED)],
        )

    def test_pages(self) -> None:
        """Whatever the size of a page, all files come once, the newest first, those that are not known last."""
        for number in range(5):
            self.displace(f"f{number}", b"old %d" % number)
        for number in range(5):
            self.stray(name=f"2020010{number % 2 + 1}/000000000000000{number}.x")
        names = [item.name for item in self.items()]
        self.assertEqual(names[:5], sorted(names[:5], reverse=True))
        self.assertEqual(names[5:], sorted(names[5:], reverse=True))
        self.assertEqual(len(set(names)), 10)
        for most in range(1, 12):
            self.assertEqual([item.name for item in self.items(most=most)], names, most)
        self.assertEqual([item.path for item in self.items("f1", 2)], ["f1"])

    def test_what_is_gone(self) -> None:
        """A file that somebody took out of the trash is not told of, and a purge forgets it."""
        self.there(self.displace()).unlink()
        self.assertEqual(self.items(), [])
        self.assertEqual(self.purge(Wish(0)), Purged(0, 0, (), (), None))
        self.assertEqual(self.it.index.trash_totals(), (0, 0))


class PurgingTests(PurgeCase):
    """What goes, and what stays whatever is asked."""

    def test_after_its_time(self) -> None:
        """What nobody needs goes after its days, from the disk and from the list, and not a day before."""
        there = self.there(self.displace())
        for days, left in ((TRASH_DAYS - 1, True), (TRASH_DAYS + 1, False)):
            self.it.days = days
            self.it.steps.purge_trash(Wish(self.it.steps.trash_days))
            self.assertEqual(there.exists(), left)
        self.assertEqual(list(self.it.index.trash_entries()), [])
        self.assertFalse(there.parent.exists())

    def test_what_a_version_waits_for(self) -> None:
        """The only copy of a losing version stays, whatever is asked, for as long as its copy is not published."""
        there = self.there(self.lose())
        self.it.days = 1000
        for wish in (Wish(0), ALL, Wish(pattern="g")):
            purged = self.purge(wish)
            self.assertEqual((purged.removed, [item.why for item in purged.kept]), (0, [purging.WAITED_FOR]))
        self.assertEqual(there.read_bytes(), b"loser")
        self.it.settle()
        self.assertEqual(sorted(data for data in self.it.tree().values() if data), [b"loser", b"mine"])

    def test_unknown_to_the_index(self) -> None:
        """What the index does not know stays whatever its age, until everything is meant and its bytes were read."""
        self.displace()
        stray, needed = self.stray(), self.stray(b"loser", "20200101/0000000000000001.loser")
        self.it.save("g", b"mine")
        self.it.take_in()
        self.it.theirs("g", b"loser", over=False, mtime_ns=EARLY)
        self.assertEqual(self.purge(Wish(0)).removed, 1)
        self.assertEqual(self.purge(Wish(pattern="l*")).kept, ())
        self.assertTrue(self.there(stray).exists())
        purged = self.purge(ALL)
        self.assertEqual([(item.name, item.why) for item in purged.kept], [(needed, purging.WAITED_FOR)])
        self.assertFalse(self.there(stray).exists())
        self.assertEqual(self.there(needed).read_bytes(), b"loser")

    def test_a_new_index(self) -> None:
        """An index that has heard nothing yet can not tell what is needed: nothing goes."""
        there, stray = self.there(self.displace()), self.there(self.stray())
        self.it.index.reset(b"another ")
        self.it.days = 1000
        purged = self.purge(ALL)
        self.assertEqual((purged.removed, {item.why for item in purged.kept}), (0, {purging.NOT_HEARD}))
        self.assertTrue(there.exists() and stray.exists())

    def test_what_just_came(self) -> None:
        """What was displaced a moment ago stays until it was looked at again: a program may have it open."""
        self.it.save("f", b"old")
        self.it.take_in()
        self.it.theirs("f", b"theirs")
        self.it.plan()
        displaced = self.it.plan("f").displaced or tuple(self.purger.unchecked)
        self.assertEqual([item.why for item in self.purge(ALL).kept], [purging.JUST_CAME])
        self.it.steps.recheck_trash(displaced)
        self.assertEqual(self.purge(ALL).removed, 1)

    def test_what_was_written_to(self) -> None:
        """What a program wrote into since it came stays, and is named so that it is brought back."""
        name = self.displace()
        with self.there(name).open("ab") as opened:
            opened.write(b" and more")
        purged = self.it.steps.purge_trash(ALL)
        self.assertEqual((purged.removed, purged.written), (0, (name,)))
        self.it.steps.recheck_trash(purged.written)
        self.it.settle()
        self.assertIn(b"old and more", self.it.tree().values())

    def test_in_steps(self) -> None:
        """A purge in steps of any size removes all of it, and what stays is told once."""
        for most in (1, 2, 3, 7):
            names = [self.displace(f"f{most}{number}", b"old %d%d" % (most, number)) for number in range(6)]
            self.stray()
            with self.there(names[2]).open("ab") as opened:
                opened.write(b"!")
            purged = self.purge(ALL, most)
            self.assertEqual((purged.removed, [item.name for item in purged.kept]), (6, [names[2]]), most)
            self.it.settle()

    def test_what_is_meant(self) -> None:
        """Age and pattern are both to be met; the sum is that of what went."""
        self.displace("a.txt", b"12")
        self.displace("b.txt", b"345")
        self.it.days = 2
        self.assertEqual(self.purge(Wish(3)).removed, 0)
        purged = self.purge(Wish(1, "a*"))
        self.assertEqual((purged.removed, purged.bytes), (1, 2))
        self.assertEqual([item.path for item in self.items()], ["b.txt"])

    def test_a_disk_that_refuses(self) -> None:
        """A file that the disk does not let go stays and says so; the others go all the same."""
        names = [self.displace(f"f{number}", b"old %d" % number) for number in range(3)]

        def refuse(verb: str, name: Name) -> None:
            if verb == "unlink" and name == self.it.trash.locate(names[1]):
                raise PermissionError(errno.EPERM, "Operation not permitted")

        self.it.disk.before = refuse
        purged = self.purge(ALL)
        self.assertEqual((purged.removed, [item.name for item in purged.kept]), (2, [names[1]]))
        self.assertEqual(purged.kept[0].why, "It can not be removed: Operation not permitted.")
        self.assertEqual([item.name for item in self.items()], [names[1]])

    def test_not_mounted(self) -> None:
        """A folder without its mark is left alone."""
        self.displace()
        (self.it.root / ".twistedp2p/mark").unlink()
        self.assertRaises(FolderUnusable, self.it.steps.purge_trash, ALL)


class TimesTests(PurgeCase):
    """Times that disks have and databases have not."""

    def test_a_late_mtime(self) -> None:
        """A file from the year 2400 is not taken for one that was written to."""
        self.it.save("f", b"old")
        late = 13_600_000_000
        os.utime(self.it.root / "f", (late, late))
        if os.stat(self.it.root / "f").st_mtime != late:
            return  # this file system has no such times
        self.it.take_in()
        self.it.theirs("f", b"theirs")
        self.it.plan()
        self.it.plan()
        self.it.steps.recheck_trash(tuple(self.purger.unchecked))
        self.assertEqual([item.why for item in self.items()], [""])
