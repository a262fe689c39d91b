"""What there is to do about a path, as a table of what is known and what is on the disk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.memory import MemoryStore
from tests.peer.strategies import CONTENTS, ROWS, registers
from twistedp2p.peer.plan import (
    Action,
    Fetch,
    Keep,
    MakeFolder,
    Publish,
    Remove,
    SetExecutable,
    is_settled,
    plan,
)
from twistedp2p.peer.replica import holds
from twistedp2p.peer.store import Change, View
from twistedp2p.peer.values import Row, Want
from twistedp2p.versions import EMPTY, Dead, Dot, Kind, Live, Register, Value, settle, winner

A, B = Dot(b"rid-of-b", 1), Dot(b"rid-of-c", 1)
X, Y, Z = (bytes([number]) * 32 for number in (1, 2, 3))
FOLDER = Live(b"", lamport=1, kind=Kind.FOLDER)


def register(*siblings: tuple[Dot, Value]) -> Register:
    """Return a register of these versions."""
    return Register.of({dot.rid: dot.n for dot, _ in siblings}, dict(siblings))


def file(content: bytes, base: Dot | None = A, executable: bool = False) -> Row:
    """Return the row of a file."""
    return Row(base, Kind.FILE, content, executable)


def folder(base: Dot | None = A) -> Row:
    """Return the row of a folder; without a base, one that exists because something is in it."""
    return Row(base, Kind.FOLDER, b"")


class PlanCase(SynchronousTestCase):
    """Plans in a store on dictionaries."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.store = MemoryStore()
        self.view = View(self.store)
        self.here: set[bytes] = set()

    def know(self, path: str, record: Register, row: Row | None = None) -> None:
        """Make this known of a path; a file that has a row is on the disk."""
        self.store.apply(Change(records={path: record}, rows={path: row}))
        if row is not None and row.kind == Kind.FILE:
            self.here.add(row.content)

    def plan(self, path: str = "p") -> list[Action]:
        """Return what is to be done about a path."""
        return plan(self.view, path, self.here.__contains__, self.ignored)

    def ignored(self, path: str, kind: Kind) -> bool:
        """Whether a path is ignored: `i` and all in it, and folders that are called `build`."""
        return path.startswith("i") or (path == "build" and kind == Kind.FOLDER)


class IgnoredTests(PlanCase):
    """The path is ignored here."""

    def test_nothing_to_do(self) -> None:
        """Nothing is published, fetched, removed or copied, and the record stays as it is, siblings and all."""
        two = register((A, Live(X)), (B, Live(Y)))
        for record in (register((A, Live(X))), register((A, Dead())), two, register((A, FOLDER))):
            for row in (None, file(X), folder()):
                self.know("i", record, row)
                self.assertEqual([], self.plan("i"))
                self.assertEqual((record, None), (self.view.record("i"), self.view.row("i")))

    def test_kinds(self) -> None:
        """A path is judged by what wins, or is below it; its row by what lies there."""
        self.know("build", register((A, Live(X))))
        self.assertEqual([Fetch(Want("build", A, X, 0, b""))], self.plan("build"))
        self.know("build", register((A, Live(X))), folder())
        self.assertEqual([Fetch(Want("build", A, X, 0, b""))], self.plan("build"))
        self.assertIsNone(self.view.row("build"))
        self.know("build/x", register((A, Live(Y))))
        self.assertEqual([], self.plan("build"))

    def test_no_rescue(self) -> None:
        """What is about to be displaced is not put where it is ignored."""
        self.know("p", register((B, Dead())), file(X))
        self.know("i", register((A, Live(X))))
        self.know("q", register((A, Live(X))))
        self.assertEqual([Publish("q", A, Live(X)), Remove("p", B, Kind.FILE)], self.plan())


class FileTests(PlanCase):
    """The winner is a file."""

    def test_done(self) -> None:
        """A file that is in its place needs nothing, and nothing is written."""
        self.know("p", register((A, Live(X))), file(X))
        self.assertEqual((self.plan(), self.view.commit()), ([], set()))

    def test_rebase(self) -> None:
        """Equal content under another version is taken for that version: no disk operation, no new version."""
        self.know("p", register((B, Live(X))), file(X, A))
        self.assertEqual(self.plan(), [])
        self.assertEqual(self.view.row("p"), file(X, B))

    def test_executable(self) -> None:
        """Only the executable bit differs: only it is set."""
        self.know("p", register((A, Live(X, executable=True))), file(X))
        self.assertEqual(self.plan(), [SetExecutable("p", True)])

    def test_fetch(self) -> None:
        """What is not here is wanted from those who hold it, and what is there stays meanwhile."""
        value = Live(Y, 7, manifest=Z)
        for row in (None, file(X, B)):
            self.know("p", register((A, value)), row)
            self.assertEqual(self.plan(), [Fetch(Want("p", A, Y, 7, Z, False))])

    def test_publish(self) -> None:
        """What is here is put under its name, where nothing was and where an older version was."""
        self.here.add(Y)
        for row in (None, file(X, B)):
            self.know("p", register((A, Live(Y))), row)
            self.assertEqual(self.plan(), [Publish("p", A, Live(Y))])

    def test_over_folder(self) -> None:
        """A folder that has no version any more makes room first."""
        self.here.add(Y)
        self.know("p", register((A, Live(Y))), folder(B))
        self.assertEqual(self.plan(), [Remove("p", A, Kind.FOLDER), Publish("p", A, Live(Y))])


class NothingTests(PlanCase):
    """The winner is a deletion, or nothing is known."""

    def test_nothing(self) -> None:
        """Where nothing is nothing is done."""
        for record in (EMPTY, register((A, Dead()))):
            self.know("p", record)
            self.assertEqual(self.plan(), [])

    def test_remove(self) -> None:
        """What is there goes: a file into the trash, a folder if it is empty."""
        for row in (file(X), folder(), folder(None)):
            self.know("p", register((B, Dead())), row)
            self.assertEqual(self.plan(), [Remove("p", B, row.kind)])


class LoserTests(PlanCase):
    """Versions beside the winner."""

    def test_need_no_copy(self) -> None:
        """Deletions and equal contents beside the winner are dropped; the context goes on covering them."""
        for loser in (Dead(3), Live(X, lamport=1)):
            self.know("p", register((A, Live(X, lamport=5)), (B, loser)), file(X))
            self.assertEqual(self.plan(), [])
            self.assertEqual(self.view.record("p").siblings, ((A, Live(X, lamport=5)),))
            self.assertTrue(self.view.record("p").covers(B))

    def test_keep(self) -> None:
        """A losing version that is here is kept and copied, besides what the winner needs."""
        self.know("p", register((A, Live(X)), (B, Live(Y, lamport=5))))
        self.here.add(X)
        self.assertEqual(self.plan(), [Keep("p", A, Live(X)), Fetch(Want("p", B, Y, 0, b""))])

    def test_fetch_loser(self) -> None:
        """One that is not here is wanted, marked as losing: any member that knows it may have it."""
        self.know("p", register((A, Live(X, 9)), (B, Live(Y, lamport=5))), file(Y, B))
        self.assertEqual(self.plan(), [Fetch(Want("p", A, X, 9, b"", losing=True))])

    def test_every_loser(self) -> None:
        """Each of several losing versions is seen to."""
        third = Dot(b"rid-of-d", 1)
        self.know("p", register((A, Live(X)), (third, Live(Z)), (B, Live(Y, lamport=5))), file(Y, B))
        self.here.add(Z)
        self.assertEqual(self.plan(), [Fetch(Want("p", A, X, 0, b"", losing=True)), Keep("p", third, Live(Z))])

    def test_loser_on_disk(self) -> None:
        """If the winner is here, publishing it brings the loser's bytes from the disk into the trash by itself."""
        self.know("p", register((A, Live(X)), (B, Live(Y, lamport=5))), file(X))
        self.here.add(Y)
        self.assertEqual(self.plan(), [Publish("p", B, Live(Y, lamport=5))])

    def test_loser_on_disk_winner_away(self) -> None:
        """If it is not, the copy does not wait for it."""
        self.know("p", register((A, Live(X)), (B, Live(Y, lamport=5))), file(X))
        self.assertEqual(self.plan(), [Keep("p", A, Live(X)), Fetch(Want("p", B, Y, 0, b""))])

    def test_losing_folder(self) -> None:
        """A folder never needs a copy, and never loses against a file."""
        self.know("p", register((A, FOLDER), (B, Live(Y, lamport=9))), folder())
        self.here.add(Y)
        self.assertEqual(self.plan(), [Keep("p", B, Live(Y, lamport=9))])

    def test_edit_against_deletion(self) -> None:
        """A deletion loses against an edit that did not know of it, whatever their stamps."""
        self.know("p", register((A, Dead(99)), (B, Live(Y))))
        self.here.add(Y)
        self.assertEqual(self.plan(), [Publish("p", B, Live(Y))])


class FolderTests(PlanCase):
    """The winner is a folder, or something live is below the path."""

    def test_make(self) -> None:
        """A folder is made."""
        self.know("p", register((A, FOLDER)))
        self.assertEqual(self.plan(), [MakeFolder("p", A)])

    def test_done(self) -> None:
        """A folder that is there is that version, without a disk operation."""
        self.know("p", register((A, FOLDER)), folder(None))
        self.assertEqual((self.plan(), self.view.row("p")), ([], folder(A)))

    def test_in_place_of_file(self) -> None:
        """A file in its place goes to the trash first; its version, if it has one still, gets a copy."""
        self.know("p", register((A, FOLDER)), file(X, B))
        self.assertEqual(self.plan(), [Remove("p", A, Kind.FILE), MakeFolder("p", A)])
        self.know("p", register((A, FOLDER), (B, Live(X))), file(X, B))
        self.assertEqual(self.plan(), [Keep("p", B, Live(X)), Remove("p", A, Kind.FILE), MakeFolder("p", A)])

    def test_something_below(self) -> None:
        """A folder whose deletion did not know of something in it stays, as one without a version."""
        self.know("p/q", register((A, Live(X))))
        self.know("p", register((B, Dead())), folder())
        self.assertEqual((self.plan(), self.view.row("p")), ([], folder(None)))

    def test_not_made_for_others(self) -> None:
        """A folder that is only needed by what is in it is made with that, not before."""
        self.know("p/q", register((A, Live(X))))
        self.know("p", register((B, Dead())))
        self.assertEqual(self.plan(), [])

    def test_file_with_something_below(self) -> None:
        """A file where others have a folder gets a copy, even as the winner, and makes room."""
        self.know("p/q", register((A, Live(X))))
        self.know("p", register((B, Live(Y))), file(Y, B))
        self.assertEqual(self.plan(), [Keep("p", B, Live(Y)), Remove("p", B, Kind.FILE)])

    def test_deleted_below(self) -> None:
        """What is deleted below a path does not make it a folder."""
        self.know("p/q", register((A, Dead())))
        self.know("p", register((B, Dead())), folder())
        self.assertEqual(self.plan(), [Remove("p", B, Kind.FOLDER)])


class RescueTests(PlanCase):
    """What is about to be displaced is first put where it is still lacking: a rename or a copy elsewhere."""

    def setUp(self) -> None:
        """Have X at "p", and know that "new" should have it."""
        super().setUp()
        self.know("p", register((B, Dead())), file(X))
        self.know("new", register((A, Live(X))))

    def test_rename(self) -> None:
        """The other half of a rename is published before the old name goes."""
        self.assertEqual(self.plan(), [Publish("new", A, Live(X)), Remove("p", B, Kind.FILE)])

    def test_once(self) -> None:
        """Of many files with the content that are displaced in one batch, only the first has the others published."""
        self.assertIn(Publish("new", A, Live(X)), self.plan())
        self.assertNotIn(Publish("new", A, Live(X)), self.plan())

    def test_displaced(self) -> None:
        """The same holds if a newer file or a folder comes in its place."""
        self.here.add(Y)
        for value, last in ((Live(Y), Publish("p", B, Live(Y))), (FOLDER, MakeFolder("p", B))):
            self.view.rescued.clear()  # another batch
            self.know("p", register((B, value)), file(X))
            actions = self.plan()
            self.assertEqual((actions[0], actions[-1]), (Publish("new", A, Live(X)), last))

    def test_all_of_them(self) -> None:
        """Every path that lacks it is served, except those that must be a folder."""
        self.know("also", register((A, Live(X))))
        self.know("folder", register((A, Live(X))))
        self.know("folder/q", register((A, Live(Z))))
        self.know("loses", register((A, Live(X)), (B, Live(Z, lamport=4))))
        published = [action.path for action in self.plan() if isinstance(action, Publish)]
        self.assertEqual(published, ["also", "new"])

    def test_not_here(self) -> None:
        """If the bytes on the disk are not the row's any more they are not put elsewhere."""
        self.here.discard(X)
        self.assertEqual(self.plan(), [Remove("p", B, Kind.FILE)])

    def test_there_already(self) -> None:
        """A path that has something is served by a plan of its own."""
        self.know("new", register((A, Live(X))), file(Z))
        self.assertEqual(self.plan(), [Remove("p", B, Kind.FILE)])


class AnythingTests(SynchronousTestCase):
    """What holds for every plan."""

    @given(registers(), st.none() | ROWS, st.sets(CONTENTS))
    def test_any(self, record: Register, row: Row | None, here: set[bytes]) -> None:
        """A plan is repeatable, loses no winner and no content, and is empty exactly if the path is settled."""
        store = MemoryStore()
        store.apply(Change(records={"p": record}, rows={"p": row}))
        view = View(store)
        actions = plan(view, "p", here.__contains__)
        view.commit()
        after, now = store.record("p"), store.row("p")
        self.assertEqual((after, winner(after)), (settle(record), winner(record)))
        self.assertEqual(plan(View(store), "p", here.__contains__), actions)
        value = winner(after)[1]
        bit = now is not None and isinstance(value, Live) and not value.is_folder and now.executable != value.executable
        implied = isinstance(value, Dead) and now is not None and now.kind == Kind.FOLDER and now.base is None
        if not (bit or implied):
            self.assertEqual(not actions, is_settled(after, now))
        for action in actions:
            if isinstance(action, (Keep, Publish)):
                self.assertIn(action.value.content, here)
            if isinstance(action, Fetch):
                self.assertNotIn(action.want.content, here)

    @given(registers(), st.none() | ROWS)
    def test_settled(self, record: Register, row: Row | None) -> None:
        """Settled is what is held and has one version."""
        self.assertEqual(is_settled(record, row), holds(record, row) and len(record.siblings) < 2)
