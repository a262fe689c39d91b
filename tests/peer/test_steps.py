"""The steps of a peer's loop: what each commits, and what it leaves to do."""

from __future__ import annotations

from attrs import evolve

from tests.peer.bench import EARLY, MINE, Bench, BenchTestCase, content_id
from twistedp2p.errors import FolderUnusable
from twistedp2p.messages.tracker import Entry, Welcome
from twistedp2p.paths import RelPath
from twistedp2p.peer.replica import IndexLost
from twistedp2p.peer.steps import Outcome
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import Code
from twistedp2p.peer.values import Intent
from twistedp2p.records import encode_record
from twistedp2p.versions import Dot, Kind, Live, Register, winner

EPOCH = b"e" * 16


def welcome(target: int = 0, *, epoch: bytes = EPOCH, last_applied: int = 0, same: bool = False) -> Welcome:
    """Return a tracker's welcome."""
    return Welcome(1, "127.0.0.1", 30.0, 100.0, epoch, target, last_applied, same)


def entry(number: int, path: str, rid: bytes = b"rid-them", n: int = 1, data: bytes = b"theirs") -> Entry:
    """Return an item of a delta: a file that member 2 holds."""
    value = Live(content_id(data), len(data), 1)
    return Entry(number, encode_record(path, Register(((rid, n),), ((Dot(rid, n), value),))), (2,))


def said(outcome: Outcome) -> list[tuple[int, bool, int, int]]:
    """Return (number, full, known only, held) of the batches that an outcome leaves."""
    return [(batch.number, batch.full, len(batch.known), len(batch.held)) for batch in outcome.batches]


class SessionTests(BenchTestCase):
    """What is announced, and when."""

    def test_not_before_target(self) -> None:
        """Nothing is announced before the target of the session is reached; then everything, in full."""
        bench = self.bench()
        bench.save("mine")
        bench.take_in()
        self.assertEqual(said(bench.steps.welcome(welcome(target=1))), [])
        bench.steps.stage((entry(0, "theirs"),))
        outcome = bench.steps.end_delta(1)
        self.assertEqual(said(outcome), [(1, True, 1, 1)])
        self.assertIn("theirs", outcome.plan)

    def test_news(self) -> None:
        """A save in a session is announced in the very step that commits it."""
        bench = self.bench()
        bench.steps.welcome(welcome())
        bench.save("mine")
        outcome = bench.steps.take(bench.scan())
        self.assertEqual(said(outcome), [(2, False, 0, 1)])

    def test_numbers(self) -> None:
        """The numbers that a batch was given are kept: the next batch that names the item uses them."""
        bench = self.bench()
        bench.save("mine")
        bench.take_in()
        (batch,) = bench.steps.welcome(welcome()).batches
        bench.steps.acknowledged(batch.number, (41,))
        self.assertEqual(bench.index.number_of(batch.held[0] if isinstance(batch.held[0], bytes) else b""), 41)
        (again,) = bench.steps.welcome(welcome(epoch=EPOCH, last_applied=0)).batches
        self.assertEqual(again.held, (41,))

    def test_new_epoch(self) -> None:
        """In another epoch the numbers mean nothing: everything is said again by key."""
        bench = self.bench()
        bench.save("mine")
        bench.take_in()
        (batch,) = bench.steps.welcome(welcome()).batches
        bench.steps.acknowledged(batch.number, (41,))
        (again,) = bench.steps.welcome(welcome(epoch=b"f" * 16)).batches
        self.assertTrue(again.full)
        self.assertEqual(again.held, batch.held)

    def test_replaced_records_are_kept_until_all_is_acknowledged(self) -> None:
        """The tracker may ask for a record that was replaced meanwhile, until it has applied every batch."""
        bench = self.bench()
        bench.save("mine")
        bench.take_in()
        (batch,) = bench.steps.welcome(welcome()).batches
        bench.save("mine", b"again")
        (later,) = bench.steps.take(bench.scan()).batches
        (key,) = batch.new_keys()
        self.assertEqual(len(bench.steps.blobs((key,))), 1)
        bench.steps.acknowledged(batch.number, (41,))
        self.assertEqual(len(bench.steps.blobs((key,))), 1)
        bench.steps.acknowledged(later.number, (42,))
        self.assertEqual(bench.steps.blobs((key,)), [])

    def test_unusable_record(self) -> None:
        """A record that can not be used is skipped; those beside it are joined."""
        bench = self.bench()
        bench.steps.welcome(welcome(target=2))
        bad = entry(0, "a/../b")
        items = bench.steps.stage((bad, entry(1, "fine"), evolve(bad, number=2, blob=b"\xc1")))
        self.assertEqual(items, [("fine", 1, (2,))])
        bench.steps.end_delta(3)
        self.assertEqual(list(bench.index.paths()), ["fine"])
        self.flushLoggedErrors()

    def test_holders_of_what_is_here_are_not_noted(self) -> None:
        """When a tracker tells everything anew, the loop hears only of what is new or still has to come."""
        bench = self.bench()
        bench.steps.welcome(welcome(target=1))
        bench.steps.stage((entry(0, "theirs"),))
        bench.steps.end_delta(1)
        bench.save("mine")
        bench.steps.take(bench.scan())
        mine = Entry(0, encode_record("mine", bench.index.record("mine")), (2,))
        bench.steps.welcome(welcome(epoch=b"f" * 16, target=3))
        found = bench.steps.stage((mine, entry(1, "theirs"), entry(2, "more")))
        self.assertEqual(found, [("theirs", 1, (2,)), ("more", 2, (2,))])

    def test_lost_index(self) -> None:
        """When others know more of this replica than its index, nothing is joined or taken until it began anew."""
        bench = self.bench()
        bench.steps.welcome(welcome(target=1))
        with self.assertRaises(IndexLost):
            bench.steps.stage((entry(0, "mine", MINE, 7),))
        self.assertEqual(bench.steps.end_delta(1), Outcome())
        self.assertEqual(bench.index.cursor, 0)
        self.assertFalse(bench.steps.caught or bench.steps.may_act)
        self.assertEqual(list(bench.index.paths()), [])
        bench.steps.lose_index(b"rid-new!")
        bench.steps.welcome(welcome(target=1))
        bench.steps.stage((entry(0, "mine", MINE, 7),))
        bench.steps.end_delta(1)
        self.assertTrue(bench.steps.caught)
        self.assertEqual(list(bench.index.paths()), ["mine"])


class DiskTests(BenchTestCase):
    """Taking and planning."""

    def test_fine(self) -> None:
        """What was just saved is as it should be, and is not planned."""
        bench = self.bench()
        bench.save("folder/mine")
        outcome = bench.steps.take(bench.scan())
        self.assertEqual(outcome.plan, frozenset())
        self.assertEqual(sorted(outcome.planned), ["folder", "folder/mine"])

    def test_conflict_is_planned(self) -> None:
        """A save beside another version is planned, and so are the folders above it that are not fine."""
        bench = self.bench()
        bench.theirs("folder/file", b"theirs", mtime_ns=EARLY)
        bench.save("folder/file", b"mine")
        outcome = bench.steps.take(bench.scan())
        self.assertIn("folder/file", outcome.plan)

    def test_mark_lost(self) -> None:
        """Without the mark nothing is taken and nothing is changed: the disk may not be mounted."""
        bench = self.bench()
        bench.save("mine")
        looks = bench.scan()
        (bench.root / ".twistedp2p" / "mark").unlink()
        with self.assertRaises(FolderUnusable):
            bench.steps.take(looks)
        with self.assertRaises(FolderUnusable):
            bench.steps.plan(["mine"])
        self.assertEqual(list(bench.index.paths()), [])

    def displaced(self, bench: Bench) -> Intent:
        """Have a replacement of "file" interrupted after the exchange, while a program writes to what was displaced."""
        bench.save("file", b"before")
        bench.take_in()
        dot = bench.theirs("file", b"after")
        before = bench.index.row("file")
        name = bench.trash.allocate(RelPath("file"), bench.wall())
        intent = Intent("file", before, dot, Kind.FILE, content_id(b"after"), False, name)
        view = View(bench.index)
        view.set_intent("file", intent)
        view.commit()
        there = bench.root.joinpath(*(part.decode() for part in bench.trash.locate(name)))
        (bench.root / "file").rename(there)
        (bench.root / "file").write_bytes(b"after")
        there.write_bytes(b"being written")
        bench.disk.stopped_at_ns = there.stat().st_mtime_ns  # in the very moment of the write
        return intent

    def test_still_written(self) -> None:
        """A publish whose displaced file is being written waits: a sentence, one later try, and no look in a circle."""
        bench = self.bench()
        self.displaced(bench)
        outcome = bench.steps.plan(["file"])
        self.assertEqual([(path, trouble.code) for path, trouble in outcome.errors], [("file", Code.PROGRAM_WRITING)])
        self.assertNotIn("file", outcome.planned)
        (bench.root / "file").write_bytes(b"saved over what was published")
        known = bench.index.record("file")
        taken = bench.steps.take([bench.look("file")])
        self.assertEqual(bench.index.record("file"), known)
        self.assertNotIn("file", taken.look)
        self.assertIsNotNone(bench.index.intent("file"))

    def test_settled_later(self) -> None:
        """When nobody writes any more, the publish is settled, the path is looked at, and both versions are kept."""
        bench = self.bench()
        self.displaced(bench)
        bench.steps.plan(["file"])
        bench.disk.stopped_at_ns = None
        outcome = bench.steps.plan(["file"])
        self.assertIn("file", outcome.look)
        bench.settle()
        self.assertEqual(
            {data for data in bench.tree().values() if data is not None}, {b"after", b"being written"}
        )
        value = winner(bench.index.record("file"))[1]
        self.assertIsInstance(value, Live)
