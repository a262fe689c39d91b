"""The index: it remembers what was committed, and keeps up what others ask of it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import Thread

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.memory import MemoryStore
from tests.peer.strategies import CONTENTS, INTENTS, ROWS, registers
from twistedp2p.errors import FolderBusy, IndexUnusable, NoSpace
from twistedp2p.limits import REPLACED_RECORDS
from twistedp2p.messages.tracker import SetDigest
from twistedp2p.peer.index import Index, Totals, Trash
from twistedp2p.peer.index_codec import intent_of, pack_intent, pack_register, register_of, row_columns, row_of
from twistedp2p.peer.index_file import IndexDamaged
from twistedp2p.peer.index_schema import STEPS, Database
from twistedp2p.peer.plan import is_settled
from twistedp2p.peer.replica import holds
from twistedp2p.peer.store import Change, Store
from twistedp2p.peer.values import Intent, Row, Signature
from twistedp2p.records import encode_record
from twistedp2p.versions import EMPTY, Dead, Dot, Kind, Live, Register, winner

RID = b"rid-of-a"
OTHER = b"rid-of-b"
C = [bytes([number]) * 32 for number in range(8)]


def seal(record: bytes) -> bytes:
    """Stand in for sealing: deterministic, and not the record itself."""
    return b"sealed:" + record


def key_of(blob: bytes) -> bytes:
    """Return the key of an item, 16 bytes."""
    return blake3(blob).digest(16)


def item_of(path: str, register: Register) -> bytes:
    """Return the key of the item of this record."""
    return key_of(seal(encode_record(path, register)))


def file(content: bytes, n: int = 1, rid: bytes = OTHER, size: int = 10, lamport: int = 1) -> Register:
    """Return a register with one version, a file."""
    return Register.of({rid: n}, {Dot(rid, n): Live(content, size, lamport)})


def dead(n: int = 9) -> Register:
    """Return a register with one version, a deletion."""
    return Register.of({OTHER: n}, {Dot(OTHER, n): Dead(n)})


def row(content: bytes, inode: int = 1, executable: bool = False) -> Row:
    """Return the row of a file."""
    return Row(Dot(OTHER, 1), Kind.FILE, content, executable, Signature(5, inode, 10, 77))


FOLDER = Register.of({OTHER: 1}, {Dot(OTHER, 1): Live(b"", 1000, kind=Kind.FOLDER)})
FOLDER_ROW = Row(Dot(OTHER, 1), Kind.FOLDER, b"")
TWO = Register.of({OTHER: 1, RID: 1}, {Dot(OTHER, 1): Live(C[1], 5, lamport=1), Dot(RID, 1): Live(C[2], 7, lamport=2)})


class Entropy:
    """Counts: every replica id that is minted is another one."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, count: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(count, "big")


class StoreContract:
    """What every `Store` does; a test case mixes it in and makes the store."""

    def new_store(self) -> Store:
        """Return an empty store of the replica RID."""
        raise AssertionError("the test case says which store")

    def test_empty(self) -> None:
        """A new store knows nothing and has minted nothing."""
        store = self.new_store()
        assert (store.rid, store.counter, store.epoch, store.cursor) == (RID, 0, b"", 0)
        assert store.record("a") == EMPTY
        assert store.row("a") is None
        assert store.intent("a") is None
        assert store.intents() == []
        assert list(store.live_below("")) == []

    def test_apply(self) -> None:
        """What a change names is what is found afterwards, and the rest is as before."""
        store = self.new_store()
        intent = Intent("a", None, Dot(OTHER, 1), Kind.FILE, C[1], trash="x")
        store.apply(Change(7, {"a": file(C[1])}, {"a": row(C[1])}, {"a": intent}, (b"epoch", 3)))
        store.apply(Change(records={"b": dead()}))
        assert (store.counter, store.epoch, store.cursor) == (7, b"epoch", 3)
        assert (store.record("a"), store.record("b")) == (file(C[1]), dead())
        assert (store.row("a"), store.row("b")) == (row(C[1]), None)
        assert (store.intent("a"), store.intents()) == (intent, [intent])

    def test_remove(self) -> None:
        """A row or an intent that is set to None is gone."""
        store = self.new_store()
        intent = Intent("a", row(C[1]), Dot(OTHER, 1), Kind.FILE, None)
        store.apply(Change(rows={"a": row(C[1]), "b": row(C[2])}, intents={"a": intent}))
        store.apply(Change(rows={"a": None}, intents={"a": None}))
        assert (store.row("a"), store.row("b")) == (None, row(C[2]))
        assert store.intent("a") is None

    def test_live_below(self) -> None:
        """Only what is strictly below a path and live counts, whatever else sorts beside it."""
        store = self.new_store()
        names = ["a", "a!", "a/b", "a/b/c", "a/dead", "a0", "ab", "b/a"]
        store.apply(Change(records={name: dead() if name == "a/dead" else file(C[1]) for name in names}))
        assert list(store.live_below("a")) == ["a/b", "a/b/c"]
        assert list(store.live_below("a/b/c")) == []
        assert list(store.live_below("")) == [name for name in names if name != "a/dead"]

    def test_absent_winners(self) -> None:
        """A path counts while its winner is a file of that content and it has no row at all."""
        store = self.new_store()
        store.apply(
            Change(
                records={
                    "absent": file(C[1]),
                    "here": file(C[1]),
                    "older here": file(C[1]),
                    "other": file(C[2]),
                    "loses": TWO,
                    "folder": FOLDER,
                },
                rows={"here": row(C[1]), "older here": row(C[3])},
            )
        )
        assert list(store.absent_winners(C[1])) == ["absent"]
        assert list(store.absent_winners(C[2])) == ["loses", "other"]
        assert list(store.absent_winners(b"")) == []
        store.apply(Change(rows={"absent": row(C[1]), "here": None}))
        assert list(store.absent_winners(C[1])) == ["here"]
        store.apply(Change(records={"here": dead()}))
        assert list(store.absent_winners(C[1])) == []

    def test_reset(self) -> None:
        """A reset store is a new one under the new replica id."""
        store = self.new_store()
        intent = Intent("a", None, Dot(OTHER, 1), Kind.FILE, None)
        store.apply(Change(7, {"a": file(C[1])}, {"b": row(C[1])}, {"c": intent}, (b"epoch", 3)))
        store.reset(b"anew    ")
        assert (store.rid, store.counter, store.epoch, store.cursor) == (b"anew    ", 0, b"", 0)
        assert (store.record("a"), store.row("b"), store.intents()) == (EMPTY, None, [])
        assert list(store.absent_winners(C[1])) == []


class MemoryStoreTests(StoreContract, SynchronousTestCase):
    """The store on dictionaries, which other tests use, keeps the contract."""

    def new_store(self) -> Store:
        """Return an empty one."""
        return MemoryStore(RID)


class IndexStoreTests(StoreContract, SynchronousTestCase):
    """The index keeps the contract."""

    def new_store(self) -> Store:
        """Return an empty one in a file."""
        index = Index(self.mktemp(), RID, seal=seal, key_of=key_of)
        self.addCleanup(index.close)
        return index


class CodecTests(SynchronousTestCase):
    """What is written is read back equal."""

    @given(registers())
    def test_registers(self, register: Register) -> None:
        """A register comes back from its bytes, hash and all."""
        found = register_of(pack_register(register))
        self.assertEqual((found, hash(found)), (register, hash(register)))

    @given(ROWS)
    def test_rows(self, value: Row) -> None:
        """A row comes back from SQLite, also with numbers of more than 63 bits."""
        with sqlite3.connect(":memory:") as db:
            columns = db.execute("SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?", row_columns(value)).fetchone()
        db.close()
        self.assertEqual(row_of(columns), value)

    @given(INTENTS)
    def test_intents(self, intent: Intent) -> None:
        """An intent comes back from its bytes."""
        self.assertEqual(intent_of(intent.path, pack_intent(intent)), intent)


class IndexCase(SynchronousTestCase):
    """Makes indexes in files of their own."""

    def setUp(self) -> None:
        """Choose a file."""
        self.path = os.path.abspath(self.mktemp())
        self.entropy = Entropy()

    def open(self, durable: bool = True) -> Index:
        """Open the index in that file."""
        index = Index.open(self.path, seal=seal, key_of=key_of, entropy=self.entropy, durable=durable)
        self.addCleanup(index.close)
        return index


class OpeningTests(IndexCase):
    """What is found when an index is opened."""

    def test_again(self) -> None:
        """What was committed is there after closing and opening, in both modes of durability."""
        for durable in (True, False):
            self.path = os.path.abspath(self.mktemp())
            index = self.open(durable)
            rid = index.rid
            self.assertTrue(index.fresh)
            index.apply(Change(3, {"a": file(C[1])}, {"a": row(C[1])}, {}, (b"epoch", 5), {}))
            index.apply(Change(numbers={item_of("a", file(C[1])): 8}))
            index.stamp, index.share_id = b"stamp", b"share"
            index.put_manifest(b"m", b"manifest")
            totals, digests = index.totals(), index.own_digests()
            index.close()
            index = self.open(durable)
            self.assertFalse(index.fresh or index.lost)
            self.assertEqual((index.rid, index.counter, index.epoch, index.cursor), (rid, 3, b"epoch", 5))
            self.assertEqual((index.stamp, index.share_id), (b"stamp", b"share"))
            self.assertEqual((index.record("a"), index.row("a")), (file(C[1]), row(C[1])))
            self.assertEqual(index.number_of(item_of("a", file(C[1]))), 8)
            self.assertEqual((index.manifest(b"m"), index.manifest(b"n")), (b"manifest", None))
            self.assertEqual((index.totals(), index.own_digests()), (totals, digests))

    def test_damaged(self) -> None:
        """A damaged index is set aside, and the new one has another replica id and says that one was lost."""
        index = self.open()
        rid = index.rid
        index.apply(Change(records={f"{number:05}": file(C[1]) for number in range(2000)}))
        index.close()
        file_ = Path(self.path)
        data = bytearray(file_.read_bytes())
        data[8192:16384] = bytes(8192)
        file_.write_bytes(data)
        index = self.open()
        self.assertTrue(index.lost and index.fresh)
        self.assertNotEqual(index.rid, rid)
        self.assertEqual(list(index.paths()), [])
        self.assertEqual(Path(self.path + ".damaged-1").read_bytes(), data)

    def test_not_a_database(self) -> None:
        """Any other file in its place is set aside whole, each under a name of its own."""
        for number, text in enumerate((b"not a database" * 100, b"neither is this" * 100, b"nor this"), 1):
            Path(self.path).write_bytes(text)
            index = self.open()
            self.assertTrue(index.lost)
            index.close()
            self.assertEqual(Path(f"{self.path}.damaged-{number}").read_bytes(), text)

    def test_other_database(self) -> None:
        """A database of another program is set aside, not written to."""
        with sqlite3.connect(self.path) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
        self.assertTrue(self.open().lost)
        with sqlite3.connect(self.path + ".damaged-1") as db:
            self.assertEqual(db.execute("SELECT name FROM sqlite_master").fetchall(), [("theirs",)])
        db.close()

    def test_only_one(self) -> None:
        """An index that is open elsewhere is not taken for a damaged one."""
        index = self.open()
        error = self.assertRaises(FolderBusy, self.open)
        self.assertIn("Another process", str(error))
        index.apply(Change(1))

    def test_no_folder(self) -> None:
        """Where there can be no index the error says so."""
        self.path = os.path.join(self.mktemp(), "missing", "index")
        self.assertRaises(IndexUnusable, self.open)

    def test_closed_twice(self) -> None:
        """Closing twice is safe."""
        index = self.open()
        index.close()
        index.close()


class DamageTests(IndexCase):
    """What was changed by others is not believed; what it lies in is set aside, whole."""

    def make_closed(self) -> None:
        """Make an index with something in it, and close it."""
        index = self.open()
        index.apply(Change(3, {"a": file(C[1]), "b": TWO}, {"a": row(C[1])}))
        index.stamp, index.share_id = b"stamp", b"share"
        index.close()

    def execute(self, *statements: str) -> None:
        """Change the closed index with a tool."""
        with sqlite3.connect(self.path) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    def test_sum(self) -> None:
        """The hash of a closed index lies beside it, and is gone while it is open."""
        self.make_closed()
        kept = Path(self.path + "-sum")
        self.assertEqual(kept.read_text(), blake3(Path(self.path).read_bytes()).hexdigest() + "\n")
        index = self.open()
        self.assertFalse(kept.exists())
        index.close()
        self.assertTrue(kept.exists())

    def test_sum_set_aside(self) -> None:
        """An index that was changed after it was closed is set aside with its hash."""
        self.make_closed()
        self.execute("UPDATE rows SET executable = 1")
        self.assertTrue(self.open().lost)
        self.assertTrue(os.path.exists(self.path + ".damaged-1-sum"))

    def test_not_closed_is_not_proven(self) -> None:
        """A damaged index that is closed does not count as proven the next time."""
        self.make_closed()
        self.execute("UPDATE records SET register = x'00'")
        os.unlink(self.path + "-sum")
        self.assertRaises(IndexDamaged, Index, self.path, RID, seal=seal, key_of=key_of)
        self.assertFalse(os.path.exists(self.path + "-sum"))

    def test_other_file_in_its_place(self) -> None:
        """A file that was put in the place of an open index is not taken for what was closed."""
        index = self.open()
        index.apply(Change(1))
        os.rename(self.path, self.path + "-moved")
        Path(self.path).write_bytes(b"another file")
        index.close()
        self.assertFalse(os.path.exists(self.path + "-sum"))
        self.assertTrue(self.open().lost)

    def test_unreadable(self) -> None:
        """A file that can not be opened is no damage: it stays, and the error says what to look at."""
        os.symlink(self.path, self.path)
        error = self.assertRaises(IndexUnusable, self.open)
        self.assertNotIsInstance(error, IndexDamaged)
        self.assertIn("permissions", str(error))
        self.assertTrue(os.path.islink(self.path))

    def test_can_not_be_set_aside(self) -> None:
        """A damaged index that can not be renamed is named, with what to do."""
        self.path = os.path.join(self.mktemp(), "x" * 250)
        os.mkdir(os.path.dirname(self.path))
        Path(self.path).write_bytes(b"not a database" * 100)
        self.assertIn("move it away", str(self.assertRaises(IndexUnusable, self.open)))

    def test_met_while_open(self) -> None:
        """After damage was met nothing is answered or written; `reset` sets it aside and begins anew in its place."""
        index = self.open()
        index.apply(Change(3, {"a": file(C[1])}))
        index.stamp, index.share_id = b"stamp", b"share"
        index._db.damaged("a page")
        for call in (index.intents, lambda: index.apply(Change(4)), lambda: index.record("a"), index.trash_totals):
            self.assertRaises(IndexDamaged, call)
        index.reset(b"rid new!")
        self.assertEqual((index.rid, index.counter, list(index.paths())), (b"rid new!", 0, []))
        self.assertEqual((index.stamp, index.share_id, index.lost), (b"stamp", b"share", True))
        self.assertTrue(os.path.exists(self.path + ".damaged-1"))
        index.close()
        self.assertEqual(self.open().rid, b"rid new!")

    def test_record_in_an_answer(self) -> None:
        """A record that is not what was written is not handed to the tracker."""
        index = self.open()
        index.apply(Change(3, {"a": file(C[1])}))
        with index.transaction():
            index._db.many("UPDATE records SET register = ?", [(pack_register(file(C[2])),)])
        self.assertRaises(IndexDamaged, index.blobs, [item_of("a", file(C[1]))])

    def test_impossible_change(self) -> None:
        """A change that the tables can not take shows the damage, and is no bug of the caller."""
        index = self.open()
        index.apply(Change(3, {"a": file(C[1])}))
        with index.transaction():
            index._db.many("DELETE FROM records", [()])
        self.assertRaises(IndexDamaged, index.apply, Change(4, {"a": file(C[1])}))


class UpgradeTests(IndexCase):
    """The schema has versions."""

    def opened(self, steps: tuple[object, ...]) -> Index:
        """Open the index with these versions of the schema."""
        index = Index(self.path, RID, seal=seal, key_of=key_of, steps=steps)  # type: ignore[arg-type]
        self.addCleanup(index.close)
        return index

    @staticmethod
    def more(connection: sqlite3.Connection) -> None:
        """Be the next version."""
        connection.execute("CREATE TABLE more (x)")
        connection.execute("INSERT INTO more SELECT count(*) FROM records")

    @staticmethod
    def broken(connection: sqlite3.Connection) -> None:
        """Be a next version that fails halfway."""
        connection.execute("CREATE TABLE less (x)")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    def test_upgrade(self) -> None:
        """An older index gets the steps it lacks, once, and keeps what it has."""
        old = self.opened(STEPS)
        old.apply(Change(4, {"a": file(C[1])}))
        old.close()
        for _ in range(2):
            new = self.opened((*STEPS, self.more))
            self.assertEqual((new.counter, new.record("a")), (4, file(C[1])))
            new.close()
        database = Database(self.path, durable=True, steps=(*STEPS, self.more))
        self.addCleanup(database.close)
        self.assertEqual(database.all("SELECT x FROM more"), [(1,)])

    def test_failed_upgrade(self) -> None:
        """A step that fails leaves the index as it was."""
        self.opened(STEPS).close()
        self.assertRaises(IndexUnusable, self.opened, (*STEPS, self.broken))
        database = Database(self.path, durable=True)
        self.addCleanup(database.close)
        self.assertEqual(database.all("SELECT name FROM sqlite_master WHERE name = 'less'"), [])

    def test_later_version(self) -> None:
        """An index of a later version is left alone, and the error says to update."""
        self.opened((*STEPS, self.more)).close()
        error = self.assertRaises(IndexUnusable, self.open)
        self.assertNotIsInstance(error, IndexDamaged)
        self.assertIn("update", str(error))
        self.assertFalse(os.path.exists(self.path + ".damaged-1"))


class TransactionTests(IndexCase):
    """Several writes make one commit."""

    def test_undone(self) -> None:
        """Nothing of a transaction that fails is kept, neither in the file nor in what is read from memory."""
        index = self.open()
        index.apply(Change(1, {"a": file(C[1])}))
        index.stamp = b"before"
        before = (index.counter, index.epoch, index.cursor, index.stamp, index.totals(), index.own_digests())

        def fail() -> None:
            with index.transaction():
                index.apply(Change(2, {"b": file(C[2])}, {"a": row(C[1])}, {}, (b"epoch", 2)))
                index.stamp = b"after"
                index.add_trash("t", "a", C[1], 1, 2, True)
                raise KeyError("by the caller")

        self.assertRaises(KeyError, fail)
        after = (index.counter, index.epoch, index.cursor, index.stamp, index.totals(), index.own_digests())
        self.assertEqual(after, before)
        self.assertEqual((list(index.paths()), list(index.trash_entries())), (["a"], []))
        self.assertIsNone(index.row("a"))

    def test_failed_part(self) -> None:
        """A transaction with a part that failed can not be committed, even if the failure was caught."""
        index = self.open()

        def swallow() -> None:
            with index.transaction():
                index.apply(Change(2, {"b": file(C[2])}))
                self.assertRaises(UnicodeEncodeError, index.apply, Change(3, {"\ud800": file(C[2])}))

        self.assertRaises(RuntimeError, swallow)
        self.assertEqual((index.counter, index.record("b")), (0, EMPTY))
        index.apply(Change(1))
        self.assertEqual(index.counter, 1)

    def test_disk_full(self) -> None:
        """A full disk is told as such, and what was committed before is still there."""
        index = self.open()
        index.apply(Change(1, {"a": file(C[1])}))
        pages = index._db.one("PRAGMA page_count")[0]
        index._db.one(f"PRAGMA max_page_count = {pages + 2}")
        error = self.assertRaises(NoSpace, index.put_manifest, b"m", bytes(100_000))
        self.assertIn("full", str(error))
        self.assertEqual((index.record("a"), index.manifest(b"m")), (file(C[1]), None))
        index.apply(Change(2))
        self.assertEqual(index.counter, 2)


class ThreadTests(IndexCase):
    """Threads share one index."""

    def test_threads(self) -> None:
        """Who reads while another thread writes sees whole commits only, and nobody fails."""
        index = self.open(durable=False)
        index.apply(Change(1, {"a": file(C[1], 1), "b": file(C[1], 1)}))
        wrong: list[object] = []

        def write() -> None:
            for n in range(2, 100):
                with index.transaction():
                    index.apply(Change(n, {"a": file(C[1], n)}))
                    index.apply(Change(n, {"b": file(C[1], n)}))

        def read() -> None:
            try:
                for _ in range(100):
                    first, second = index.record("a").seen(OTHER), index.record("b").seen(OTHER)
                    if second < first or list(index.paths()) != ["a", "b"]:
                        wrong.append((first, second))
            except Exception as error:
                wrong.append(error)

        threads = [Thread(target=work) for work in (write, read, read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual((index.counter, index.record("b")), (99, file(C[1], 99)))


_VICTIM = """
import sys
from tests.peer.test_index import *
index = Index.open(sys.argv[1], seal=seal, key_of=key_of, entropy=Entropy(), durable=sys.argv[2] == "durable")
n = 0
while True:
    n += 1
    records = {f"{n % 7}/{i}": file(C[1], n) for i in range(300)}
    rows = {path: row(C[1], n) for path in records}
    intents = {f"i{n}": Intent(f"i{n}", None, Dot(OTHER, n), Kind.FILE, None), f"i{n - 1}": None}
    with index.transaction():
        index.apply(Change(n, records, rows, intents, (b"epoch", n)))
        index.add_trash(f"{n:06}", "a", C[2], 1, n, True)
    print(n, flush=True)
"""


class KillTests(IndexCase):
    """A process that is killed leaves whole commits only."""

    def check(self, mode: str, commits: int) -> None:
        """Kill a process after it reported that many commits, and look at what it left."""
        with subprocess.Popen(
            [sys.executable, "-c", _VICTIM, self.path, mode],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
        ) as victim:
            assert victim.stdout is not None
            for _ in range(commits):
                reported = int(victim.stdout.readline())
            victim.send_signal(signal.SIGKILL)
        index = self.open()
        n = index.counter
        self.assertFalse(index.lost)
        self.assertGreaterEqual(n, reported)
        self.assertEqual(index.cursor, n)
        self.assertEqual([intent.path for intent in index.intents()], [f"i{n}"])
        self.assertEqual([entry.mtime_ns for entry in index.trash_entries()], list(range(1, n + 1)))
        for folder in range(7):
            last = n - (n - folder) % 7
            paths = [path for path, _ in index.rows_in(str(folder))]
            self.assertEqual(len(paths), 300 if last > 0 else 0)
            for path in paths:
                found = index.row(path)
                self.assertEqual((index.record(path), found), (file(C[1], last), row(C[1], last)))
        index.close()

    def test_durable(self) -> None:
        """Killed in the middle of commits: all that was reported is there, and each commit whole."""
        for commits in (1, 5, 12):
            self.path = os.path.abspath(self.mktemp())
            self.check("durable", commits)

    def test_relaxed(self) -> None:
        """The relaxed mode survives a kill as well."""
        self.check("relaxed", 9)


class ItemTests(IndexCase):
    """Records as the tracker knows them."""

    def test_item(self) -> None:
        """The item of a path is its sealed record, held if the winner is here."""
        index = self.open()
        self.assertIsNone(index.item("a"))
        index.apply(Change(records={"a": file(C[1])}))
        self.assertEqual(index.item("a"), (item_of("a", file(C[1])), False))
        index.apply(Change(rows={"a": row(C[1])}))
        self.assertEqual(index.item("a"), (item_of("a", file(C[1])), True))
        index.apply(Change(records={"a": file(C[2], 2)}))
        self.assertEqual(index.item("a"), (item_of("a", file(C[2], 2)), False))
        index.apply(Change(records={"a": dead()}, rows={"a": None}))
        self.assertEqual(index.item("a"), (item_of("a", dead()), True))

    def test_numbers(self) -> None:
        """A number belongs to an item that is known here, and to one epoch."""
        index = self.open()
        a, b = item_of("a", file(C[1])), item_of("b", file(C[2]))
        index.apply(
            Change(records={"a": file(C[1]), "b": file(C[2])}, cursor=(b"one", 1), numbers={a: 0, b"?" * 16: 4})
        )
        self.assertEqual([index.number_of(key) for key in (a, b, b"?" * 16)], [0, None, None])
        index.apply(Change(records={"b": file(C[2])}, cursor=(b"one", 2), numbers={b: 1}))
        index.apply(Change(records={"b": file(C[2])}))
        self.assertEqual([index.number_of(key) for key in (a, b)], [0, 1])
        index.apply(Change(records={"a": file(C[3], 3)}))
        self.assertIsNone(index.number_of(a))
        index.apply(Change(cursor=(b"two", 0)))
        self.assertIsNone(index.number_of(b))
        index.apply(Change(cursor=(b"one", 0), numbers={b: 7}))
        self.assertEqual(index.number_of(b), 7)

    def test_blobs(self) -> None:
        """The sealed records of keys are given in the order asked for."""
        index = self.open()
        records = {"a": file(C[1]), "b": TWO, "c": dead()}
        index.apply(Change(records=dict(records)))
        wanted = [(path, records[path]) for path in ("c", "a", "b")]
        blobs = index.blobs([item_of(*pair) for pair in wanted])
        self.assertEqual(blobs, [seal(encode_record(*pair)) for pair in wanted])
        self.assertRaises(KeyError, index.blobs, [b"?" * 16])

    def test_replaced(self) -> None:
        """A record that was replaced before the tracker numbered it is still given, up to a limit."""
        index = self.open()
        with index.transaction():
            for n in range(1, REPLACED_RECORDS + 3):
                index.apply(Change(records={"a": file(C[1], n)}))
        self.assertEqual(index.blobs([item_of("a", file(C[1], 2))]), [seal(encode_record("a", file(C[1], 2)))])
        self.assertRaises(KeyError, index.blobs, [item_of("a", file(C[1], 1))])

    def test_forget_replaced(self) -> None:
        """Replaced records go when nobody will ask for them; the current ones are still given."""
        index = self.open()
        for n in (1, 2):
            index.apply(Change(records={"a": file(C[1], n)}))
        index.forget_replaced()
        self.assertRaises(KeyError, index.blobs, [item_of("a", file(C[1], 1))])
        self.assertEqual(len(index.blobs([item_of("a", file(C[1], 2))])), 1)

    def test_replaced_with_number(self) -> None:
        """A record that the tracker has numbered is not kept: the tracker has it."""
        index = self.open()
        key = item_of("a", file(C[1]))
        index.apply(Change(records={"a": file(C[1])}, cursor=(b"one", 1), numbers={key: 5}))
        index.apply(Change(records={"a": file(C[2], 2)}))
        self.assertRaises(KeyError, index.blobs, [key])

    def test_paths(self) -> None:
        """All paths with a record come sorted, once each, however many slices they take."""
        index = self.open()
        names = sorted(f"{number % 10}/{number}" for number in range(1000))
        index.apply(Change(records={name: dead() for name in names}, rows={"row only": FOLDER_ROW}))
        self.assertEqual(list(index.paths()), names)

    def test_paths_while_writing(self) -> None:
        """Reading in slices holds nobody up: one may write meanwhile."""
        index = self.open()
        index.apply(Change(records={f"{number:04}": dead() for number in range(1000)}))
        found: list[str] = []
        for path in index.paths():
            if not found:
                index.apply(Change(records={"0999a": dead(), "zzz": dead()}))
            found.append(path)
        self.assertEqual(len(found), 1002)


class RowTests(IndexCase):
    """What is on this disk, by place, by inode and by content."""

    def test_rows_below(self) -> None:
        """Rows strictly below a folder come sorted; below nothing in particular, all of them."""
        index = self.open()
        names = ["a", "a!", "a/b", "a/b/c", "a0", "b"]
        index.apply(Change(rows={name: row(C[1], number) for number, name in enumerate(names)}))
        self.assertEqual([path for path, _ in index.rows_below("a")], ["a/b", "a/b/c"])
        self.assertEqual(
            [(path, found.signature) for path, found in index.rows_below("")][3], ("a/b/c", row(C[1], 3).signature)
        )
        self.assertEqual([path for path, _ in index.rows_below("")], names)

    def test_rows_in(self) -> None:
        """The direct children of a folder are found, whatever lies below them and whatever sorts between."""
        index = self.open()
        below = [f"a/{number:03}/{child}" for number in range(150) for child in ("x", "y", "z")]
        direct = [f"a/{number:03}" for number in range(150)] + ["a/000!", "a/0000", "a/\U0010ffff\U0010ffff"]
        index.apply(Change(rows={name: row(C[1]) for name in [*below, *direct, "a", "a!", "a0", "q/w", "z"]}))
        self.assertEqual([path for path, _ in index.rows_in("a")], sorted(direct))
        self.assertEqual([path for path, _ in index.rows_in("")], ["a", "a!", "a0", "z"])
        self.assertEqual([path for path, _ in index.rows_in("a/007")], ["a/007/x", "a/007/y", "a/007/z"])
        self.assertEqual(list(index.rows_in("z")), [])

    def test_by_inode(self) -> None:
        """Rows are found by device and inode, hard links and numbers of 64 bits included."""
        index = self.open()
        great = Row(None, Kind.FILE, C[1], False, Signature(2**64 - 1, 2**63, 1, 2**63))
        index.apply(Change(rows={"a": row(C[1], 3), "b": row(C[1], 4), "c": row(C[2], 3), "d": great, "e": FOLDER_ROW}))
        self.assertEqual(index.row_by_inode(5, 3), [("a", row(C[1], 3)), ("c", row(C[2], 3))])
        self.assertEqual(index.row_by_inode(2**64 - 1, 2**63), [("d", great)])
        self.assertEqual(index.row_by_inode(6, 3), [])

    def test_by_content(self) -> None:
        """Rows are found by content as long as they have it."""
        index = self.open()
        names = [f"{number:04}" for number in range(600)]
        index.apply(Change(rows={name: row(C[2] if name == "other" else C[1]) for name in [*names, "other"]}))
        self.assertEqual([path for path, _ in index.paths_with_content(C[1])], names)
        index.apply(Change(rows={"other": row(C[3])}))
        self.assertEqual(list(index.paths_with_content(C[2])), [])


class StandingTests(IndexCase):
    """What is kept up with each commit agrees with what would be counted anew."""

    def test_unsettled(self) -> None:
        """Paths whose plan is not done are listed, in pieces."""
        index = self.open()
        index.apply(
            Change(
                records={"b": file(C[1]), "c": dead(), "d": TWO, "e": FOLDER, "f": file(C[1]), "g": dead()},
                rows={"c": row(C[1]), "d": row(C[2]), "e": FOLDER_ROW, "f": row(C[1], executable=True)},
            )
        )
        self.assertEqual(index.unsettled(10), ["b", "c", "d", "f"])
        self.assertEqual(index.unsettled(2), ["b", "c"])
        self.assertEqual(index.unsettled(2, after="c"), ["d", "f"])
        index.apply(Change(rows={"b": row(C[1]), "c": None, "f": row(C[1])}))
        self.assertEqual(index.unsettled(10), ["d"])

    def test_ignored(self) -> None:
        """What is ignored counts for nothing but that, and is settled; `judge` finds what is so by now."""
        index = self.open()
        names: set[str] = {"a", "dead"}
        index.ignored = lambda path, kind: path in names
        records = {"a": file(C[1]), "b": TWO, "c": file(C[3]), "dead": dead()}
        index.apply(Change(records=records, rows={"c": row(C[3])}))
        digests = index.own_digests()
        self.assertEqual(Totals(2, 0, 17, 1, 7, 1, 1, ignored=1), index.totals())
        self.assertEqual(["b"], index.unsettled(9))
        names |= {"b", "c"}
        names -= {"a"}
        self.assertEqual((["b", "c"], ["a"]), index.judge(["a", "b", "c", "dead", "unknown"]))
        self.assertEqual(([], []), index.judge(["a", "b", "c", "dead"]))
        self.assertEqual(Totals(1, 0, 10, 1, 10, 1, 0, ignored=2), index.totals())
        self.assertEqual((["a"], digests), (index.unsettled(9), index.own_digests()))
        index.close()
        index = self.open()
        self.assertEqual(Totals(1, 0, 10, 1, 10, 1, 0, ignored=2), index.totals())

    def test_needed(self) -> None:
        """Bytes are needed while a losing version has no copy, or a winner is not published here."""
        index = self.open()
        index.apply(Change(records={"a": TWO, "b": file(C[3]), "c": FOLDER}))
        self.assertEqual([index.needed(content) for content in C[1:5]], [True, True, True, False])
        index.apply(Change(rows={"a": row(C[2]), "b": row(C[4])}))
        self.assertEqual([index.needed(content) for content in C[1:5]], [True, False, True, False])
        index.apply(Change(records={"a": TWO.without({Dot(OTHER, 1)})}, rows={"b": row(C[3])}))
        self.assertEqual([index.needed(content) for content in [*C[1:5], b""]], [False] * 5)
        index.apply(Change(rows={"b": None}))
        self.assertTrue(index.needed(C[3]))
        index.apply(Change(records={"b": dead()}))
        self.assertFalse(index.needed(C[3]))

    def test_totals(self) -> None:
        """Totals tell what is known and what is missing."""
        index = self.open()
        self.assertEqual(index.totals(), Totals())
        index.apply(
            Change(
                records={"a": file(C[1], size=100), "b": file(C[2], size=20), "c": dead(), "d": FOLDER, "e": TWO},
                rows={"a": row(C[1])},
            )
        )
        self.assertEqual(index.totals(), Totals(3, 1, 127, 2, 27, 1, 1))
        index.apply(Change(records={"a": dead()}, rows={"a": None, "b": row(C[2])}))
        self.assertEqual(index.totals(), Totals(2, 1, 27, 1, 7, 2, 1))

    def test_huge_totals(self) -> None:
        """Sizes that others claim can not overflow what is counted."""
        index = self.open()
        index.apply(Change(records={f"{n}": file(C[1], size=2**62) for n in range(5)}))
        index.close()
        self.assertEqual(self.open().totals().bytes, 5 * 2**62)

    @given(
        st.lists(
            st.tuples(
                st.dictionaries(st.sampled_from(["a", "a/b", "c"]), registers() | st.just(EMPTY), max_size=3),
                st.dictionaries(st.sampled_from(["a", "a/b", "c"]), ROWS | st.none(), max_size=3),
            ),
            max_size=6,
        ),
        CONTENTS,
    )
    def test_agree(self, changes: list[tuple[dict[str, Register], dict[str, Row | None]]], content: bytes) -> None:
        """After any changes, everything derived is what a look at all records and rows says."""
        index = Index(":memory:", RID, seal=seal, key_of=key_of, durable=False)
        memory = MemoryStore(RID)
        for records, rows in changes:
            for store in (index, memory):
                store.apply(Change(records=dict(records), rows=dict(rows)))
        known = {path: register for path, register in memory.records.items() if register.context}
        held = {path for path, register in known.items() if holds(register, memory.row(path))}
        try:
            self.assertEqual({path: index.record(path) for path in index.paths()}, known)
            self.assertEqual(dict(index.rows_below("")), memory.rows)
            self.assertEqual({path for path in known if (index.item(path) or (b"", False))[1]}, held)
            self.assertEqual(index.own_digests(), (_digest(known, set(known)), _digest(known, held)))
            self.assertEqual(list(index.absent_winners(content)), list(memory.absent_winners(content)))
            self.assertEqual(index.needed(content), any(_waits(known[p], memory.row(p), content) for p in known))
            unsettled = set(index.unsettled(10))
            for path, register in known.items():
                found = memory.row(path)
                if not is_settled(register, found) or _wrong_bit(register, found):
                    self.assertIn(path, unsettled)
                    unsettled.remove(path)
            self.assertEqual(unsettled, set())
            totals = index.totals()
            tops = {path: winner(register)[1] for path, register in known.items()}
            files = [path for path, top in tops.items() if isinstance(top, Live) and top.kind == Kind.FILE]
            self.assertEqual((totals.files, totals.missing_files), (len(files), len(set(files) - held)))
            self.assertEqual(totals.tombstones, sum(isinstance(top, Dead) for top in tops.values()))
            self.assertEqual(totals.conflicts, sum(len(register.siblings) > 1 for register in known.values()))
        finally:
            index.close()


def _digest(known: dict[str, Register], paths: set[str]) -> SetDigest:
    keys = [int.from_bytes(item_of(path, known[path]), "big") for path in paths]
    return SetDigest(len(keys), (sum(keys) % 2**128).to_bytes(16, "big"))


def _waits(register: Register, found: Row | None, content: bytes) -> bool:
    top = winner(register)[0]
    return any(
        isinstance(value, Live)
        and value.kind == Kind.FILE
        and value.content == content
        and (dot != top or not holds(register, found))
        for dot, value in register.siblings
    )


def _wrong_bit(register: Register, found: Row | None) -> bool:
    top = winner(register)[1]
    if not isinstance(top, Live) or top.is_folder or found is None:
        return False
    return found.executable != top.executable


class TrashTests(IndexCase):
    """Files in the trash are found again."""

    def test_trash(self) -> None:
        """What was noted is listed by name and found by content, until it is dropped."""
        index = self.open()
        first, second = Trash("1", "a", C[1], 5, 7, True), Trash("2", "b", C[1], 5, 2**63, False)
        for entry in (second, first):
            index.add_trash(entry.name, entry.path, entry.content, entry.size, entry.mtime_ns % 2**63, entry.kept)
        self.assertEqual([entry.name for entry in index.trash_entries()], ["1", "2"])
        self.assertEqual(index.trash_with_content(C[1])[0], first)
        self.assertEqual(index.trash_with_content(C[2]), [])
        index.drop_trash("1")
        index.drop_trash("never there")
        self.assertEqual([entry.name for entry in index.trash_with_content(C[1])], ["2"])

    def test_survives_reset(self) -> None:
        """A lost index keeps its trash and its manifests, share and stamp: they are about bytes that are here."""
        index = self.open()
        index.add_trash("1", "a", C[1], 5, 7, True)
        index.put_manifest(b"m", b"manifest")
        index.stamp, index.share_id = b"stamp", b"share"
        index.apply(Change(records={"a": TWO}))
        index.reset(b"new rid!")
        self.assertEqual([entry.name for entry in index.trash_entries()], ["1"])
        self.assertEqual((index.manifest(b"m"), index.stamp, index.share_id), (b"manifest", b"stamp", b"share"))
        self.assertEqual((index.totals(), index.unsettled(9), index.needed(C[1])), (Totals(), [], False))

    def test_forgets_replaced(self) -> None:
        """Records that were replaced before the index was lost are not given to the tracker any more."""
        index = self.open()
        for n in (1, 2):
            index.apply(Change(records={"a": file(C[1], n)}))
        index.reset(b"new rid!")
        self.assertRaises(KeyError, index.blobs, [item_of("a", file(C[1], 1))])
