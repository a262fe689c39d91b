"""An index of an earlier version of the schema is brought up to date in place, or stays as it was.

`data/index-N.sql` is what version N of the schema wrote, kept when that was the latest:

    python -m tests.peer.test_index_upgrade FILE     prints the dump of an index that the code of today writes in FILE
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peer.test_index import FOLDER, FOLDER_ROW, RID, TWO, C, dead, file, item_of, key_of, row, seal
from twistedp2p.errors import IndexUnusable
from twistedp2p.peer.index import Index, Trash
from twistedp2p.peer.index_file import IndexDamaged
from twistedp2p.peer.index_schema import STEPS
from twistedp2p.peer.store import Change
from twistedp2p.peer.values import Intent
from twistedp2p.versions import Dot, Kind

DATA = Path(__file__).with_name("data")
DUMPS = sorted(DATA.glob("index-*.sql"), key=lambda dump: int(re.findall(r"\d+", dump.name)[0]))

FILES = {"a/held": file(C[1]), "a/missing": file(C[2]), "both": TWO, "gone": dead(), "a": FOLDER}
ROWS = {"a/held": row(C[1], 2**63 + 5), "a": FOLDER_ROW, "both": row(C[1])}
INTENT = Intent("both", row(C[1]), Dot(RID, 1), Kind.FILE, C[2], trash="20260101/1.both")
TRASH = Trash("20260101/2.gone", "gone", C[3], 7, 99, True)


def opened(path: str) -> Index:
    """Open the index at `path` as a peer does."""
    return Index.open(path, seal=seal, key_of=key_of, entropy=lambda count: RID[:count])


def fill(index: Index) -> None:
    """Write something into each table."""
    index.stamp, index.share_id = b"stamp of an index", b"id of a share"
    index.apply(Change(3, dict(FILES), dict(ROWS), {"both": INTENT}, (b"epoch", 5)))
    index.apply(Change(numbers={item_of("gone", dead()): 4}))
    index.add_trash(TRASH.name, TRASH.path, TRASH.content, TRASH.size, TRASH.mtime_ns, TRASH.kept)
    index.put_manifest(b"m", b"a manifest")


def dump(path: str) -> str:
    """Return the SQL that makes the closed index at `path` again."""
    with sqlite3.connect(path) as db:
        versions = [f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]};" for name in _HEADER]
        lines = [*versions, *db.iterdump()]
    db.close()
    return "\n".join(lines) + "\n"


_HEADER = ("application_id", "user_version")


class FilledCase(SynchronousTestCase):
    """Knows what `fill` writes."""

    def setUp(self) -> None:
        """Choose a file."""
        self.path = os.path.abspath(self.mktemp())

    def assert_filled(self, index: Index) -> None:
        """Fail unless the index has all that `fill` writes."""
        self.assertFalse(index.fresh or index.lost)
        self.assertEqual((index.rid, index.counter, index.epoch, index.cursor), (RID, 3, b"epoch", 5))
        self.assertEqual((index.stamp, index.share_id), (b"stamp of an index", b"id of a share"))
        self.assertEqual({path: index.record(path) for path in index.paths()}, FILES)
        self.assertEqual(dict(index.rows_below("")), ROWS)
        self.assertEqual(index.intents(), [INTENT])
        self.assertEqual(index.number_of(item_of("gone", dead())), 4)
        self.assertEqual(list(index.trash_entries()), [TRASH])
        self.assertEqual(index.manifest(b"m"), b"a manifest")
        self.assertEqual(list(index.absent_winners(C[2])), ["a/missing"])
        self.assertTrue(index.needed(C[2]) and not index.needed(C[4]))


class KeptIndexTests(FilledCase):
    """Every version of the schema that was ever released is kept as a dump."""

    def load(self, kept: Path, path: str) -> None:
        """Make the index of a dump."""
        with sqlite3.connect(path) as db:
            db.executescript(kept.read_text())
        db.close()

    def test_today(self) -> None:
        """What is written today is what a kept index must say: the latest version of the schema has its dump."""
        index = opened(self.path)
        fill(index)
        index.close()
        index = opened(self.path)
        self.assert_filled(index)
        index.close()
        self.assertEqual([int(re.findall(r"\d+", kept.name)[0]) for kept in DUMPS], [*range(1, len(STEPS) + 1)])

    def test_every_version(self) -> None:
        """An index of any version is opened, has everything, agrees with one written today, and goes on."""
        today = os.path.abspath(self.mktemp())
        index = opened(today)
        fill(index)
        totals, digests, unsettled = index.totals(), index.own_digests(), index.unsettled(10)
        index.close()
        for kept in DUMPS:
            self.load(kept, path := f"{self.path}-{kept.name}")
            index = opened(path)
            self.assert_filled(index)
            self.assertEqual((index.totals(), index.own_digests(), index.unsettled(10)), (totals, digests, unsettled))
            index.apply(Change(4, {"new": file(C[5])}))
            index.close()
            index = opened(path)
            self.assertEqual((index.counter, index.record("new")), (4, file(C[5])))
            index.close()
            self.assertEqual(_schema(path), _schema(today))


def _schema(path: str) -> list[tuple[str, str]]:
    """Return the tables and indexes of a closed index, without what SQLite does not look at."""
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        version = db.execute("PRAGMA user_version").fetchone()[0]
    db.close()
    return [("version", str(version)), *((name, " ".join(sql.split())) for name, sql in found)]


def next_step(connection: sqlite3.Connection) -> None:
    """Be the next version of the schema: every table has one column more, and `records` is written anew."""
    connection.execute("ALTER TABLE rows ADD COLUMN more DEFAULT 1")
    connection.execute("CREATE TABLE copies AS SELECT * FROM records")
    connection.execute("DELETE FROM records")
    connection.execute("INSERT INTO records SELECT * FROM copies")


def killed_step(connection: sqlite3.Connection) -> None:
    """Be a next version whose process is killed when most of it is done, and on the disk."""
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    next_step(connection)
    connection.execute("CREATE TABLE large (x)")
    connection.executemany("INSERT INTO large VALUES (?)", [(os.urandom(4000),) for _ in range(500)])
    os.kill(os.getpid(), signal.SIGKILL)


class UpgradeTests(FilledCase):
    """An upgrade is one transaction."""

    def setUp(self) -> None:
        """Make an index of the latest version, and leave it closed."""
        super().setUp()
        index = opened(self.path)
        fill(index)
        index.close()

    def upgraded(self, *steps: Callable[[sqlite3.Connection], None]) -> Index:
        """Open the index with more versions than there are."""
        index = Index(self.path, RID, seal=seal, key_of=key_of, steps=(*STEPS, *steps))
        self.addCleanup(index.close)
        return index

    def test_killed(self) -> None:
        """A kill in the middle of an upgrade leaves the older version, whole and usable; the next start tries again."""
        program = (
            "import sys; from tests.peer.test_index_upgrade import *\n"
            "Index(sys.argv[1], RID, seal=seal, key_of=key_of, steps=(*STEPS, killed_step))"
        )
        done = subprocess.run([sys.executable, "-c", program, self.path], cwd=DATA.parents[2], check=False)
        self.assertEqual(done.returncode, -signal.SIGKILL)
        self.assertGreater(os.path.getsize(self.path + "-wal"), 1_000_000)
        index = opened(self.path)
        self.assert_filled(index)
        index.close()
        index = self.upgraded(next_step)
        self.assert_filled(index)

    def test_once(self) -> None:
        """A step runs once; what came later than a version is not run for the ones before."""
        runs = []

        def counted(connection: sqlite3.Connection) -> None:
            runs.append(connection.execute("PRAGMA user_version").fetchone()[0])

        for _ in range(2):
            self.upgraded(counted).close()
        self.upgraded(counted, next_step).close()
        self.assertEqual(runs, [len(STEPS)])

    def test_later(self) -> None:
        """A later version is refused with a sentence, and left as it is; nothing is set aside."""
        self.upgraded(next_step).close()
        before = Path(self.path).read_bytes()
        error = self.assertRaises(IndexUnusable, opened, self.path)
        self.assertNotIsInstance(error, IndexDamaged)
        self.assertIn("update", str(error))
        self.assertEqual(Path(self.path).read_bytes(), before)
        self.assertEqual(list(Path(self.path).parent.glob("*.damaged-*")), [])
        self.upgraded(next_step).close()


if __name__ == "__main__":
    index = opened(sys.argv[1])
    fill(index)
    index.close()
    print(dump(sys.argv[1]), end="")
