"""How saves become versions, how others' versions become known, and when this peer may act on them."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.memory import RID, MemoryStore
from twistedp2p.peer.replica import IndexLost, Replica, collapse, finish, holds, save
from twistedp2p.peer.store import Change, View
from twistedp2p.peer.values import Intent, Observed, Row, Signature
from twistedp2p.versions import EMPTY, Dead, Dot, Kind, Live, Register, conflict_dot, join, settle, winner, write

OTHER, THIRD = b"rid-of-b", b"rid-of-c"
X, Y, Z = (bytes([number]) * 32 for number in (1, 2, 3))
SIGNATURE = Signature(1, 2, 10, 3)
THEIRS = Dot(OTHER, 1)
MINE = Dot(RID, 1)


def seen(content: bytes, executable: bool = False, inode: int = 2) -> Observed:
    """Return a file as it was read from the disk."""
    return Observed(Kind.FILE, content, 10, 3, executable, Z, Signature(1, inode, 10, 3, executable))


def row(content: bytes, base: Dot | None, executable: bool = False) -> Row:
    """Return the row of a file that was read."""
    return Row(base, Kind.FILE, content, executable, Signature(1, 2, 10, 3, executable))


def register(*siblings: tuple[Dot, Live | Dead]) -> Register:
    """Return a register of these versions."""
    context: dict[bytes, int] = {}
    for dot, _ in siblings:
        context[dot.rid] = max(dot.n, context.get(dot.rid, 0))
    return Register.of(context, dict(siblings))


def store(record: Register = EMPTY, its_row: Row | None = None, counter: int = 0) -> MemoryStore:
    """Return a store that knows of the path "p" only."""
    made = MemoryStore()
    made.apply(Change(counter, {"p": record}, {"p": its_row}))
    return made


def saved(made: MemoryStore, what: Observed | None) -> set[str]:
    """Commit what was seen at "p"; return the paths that changed."""
    view = View(made)
    save(view, "p", what)
    return view.commit()


class SaveTests(SynchronousTestCase):
    """What was seen on the disk becomes a version if the user did it, and only then."""

    def test_new_file(self) -> None:
        """A file that nobody knows becomes a version without a base, with all that was seen of it."""
        made = store()
        saved(made, seen(X, executable=True))
        version = Live(X, 10, 1, 3, Kind.FILE, True, Z)
        self.assertEqual(made.record("p"), register((MINE, version)))
        self.assertEqual((made.row("p"), made.counter), (row(X, MINE, True), 1))

    def test_new_folder(self) -> None:
        """So does a folder."""
        made = store()
        saved(made, Observed(Kind.FOLDER, b"", signature=SIGNATURE))
        self.assertEqual(made.record("p"), register((MINE, Live(b"", lamport=1, kind=Kind.FOLDER))))
        self.assertEqual(made.row("p"), Row(MINE, Kind.FOLDER, b"", False, SIGNATURE))

    def test_unchanged(self) -> None:
        """What is as the row says mints nothing, but its signature is taken, so that it is not read again."""
        made = store(register((THEIRS, Live(X))), evolve(row(X, THEIRS), signature=None))
        saved(made, seen(X))
        self.assertEqual((made.counter, made.row("p")), (0, row(X, THEIRS)))

    def test_edit(self) -> None:
        """An edit supersedes what was on disk."""
        made = store(register((THEIRS, Live(X, lamport=4))), row(X, THEIRS))
        saved(made, seen(Y))
        self.assertEqual(dict(made.record("p").siblings), {MINE: Live(Y, 10, 5, 3, manifest=Z)})
        self.assertEqual(made.row("p"), row(Y, MINE))

    def test_edit_under_news(self) -> None:
        """The base is what was on disk, not what is known: an unpublished newer version stays a sibling."""
        newer = Dot(THIRD, 1)
        known = register((THEIRS, Live(X)), (newer, Live(Z, lamport=7)))
        made = store(known, row(X, THEIRS))
        saved(made, seen(Y))
        self.assertEqual(made.record("p").get(newer), Live(Z, lamport=7))
        self.assertIsNone(made.record("p").get(THEIRS))
        self.assertEqual(winner(made.record("p"))[0], MINE)

    def test_executable_bit(self) -> None:
        """A changed executable bit alone is an edit, even though the content is the winner's."""
        made = store(register((THEIRS, Live(X))), row(X, THEIRS))
        saved(made, seen(X, executable=True))
        self.assertEqual(dict(made.record("p").siblings), {MINE: Live(X, 10, 1, 3, Kind.FILE, True, Z)})

    def test_file_becomes_folder(self) -> None:
        """A folder in place of a file is an edit, also if the file was empty."""
        made = store(register((THEIRS, Live(X))), row(X, THEIRS))
        saved(made, Observed(Kind.FOLDER, b""))
        self.assertEqual(dict(made.record("p").siblings), {MINE: Live(b"", lamport=1, kind=Kind.FOLDER)})

    def test_adopt_without_row(self) -> None:
        """A joiner's file that is equal to the winner is that version: nothing is minted."""
        made = store(register((THEIRS, Live(X))))
        saved(made, seen(X))
        self.assertEqual((made.counter, made.row("p")), (0, row(X, THEIRS)))

    def test_adopt_loser(self) -> None:
        """A joiner's file that is equal to a losing version is that one."""
        made = store(register((THEIRS, Live(X)), (Dot(THIRD, 1), Live(Y, lamport=9))))
        saved(made, seen(X))
        self.assertEqual((made.counter, made.row("p")), (0, row(X, THEIRS)))

    def test_joiner_differs(self) -> None:
        """A joiner's other file has no base: it must neither overrule what is known nor vanish."""
        made = store(register((THEIRS, Live(X))))
        saved(made, seen(Y))
        self.assertEqual({dot for dot, _ in made.record("p").siblings}, {THEIRS, MINE})
        self.assertEqual(made.row("p"), row(Y, MINE))

    def test_adopt_over_dead_base(self) -> None:
        """Saving what the winner has adopts it, if what was on disk is superseded already."""
        made = store(register((THEIRS, Live(X))), row(Y, Dot(THIRD, 1)))
        saved(made, seen(X))
        self.assertEqual((made.counter, made.row("p")), (0, row(X, THEIRS)))

    def test_no_adoption_over_live_base(self) -> None:
        """While the overwritten base is a version still, it must be superseded: nobody has its bytes any more."""
        base = Dot(THIRD, 1)
        made = store(register((THEIRS, Live(X, lamport=9)), (base, Live(Y))), row(Y, base))
        saved(made, seen(X))
        self.assertIsNone(made.record("p").get(base))
        self.assertEqual(made.row("p"), row(X, MINE))

    def test_delete(self) -> None:
        """A deletion supersedes what was on disk and nothing else."""
        other = Dot(THIRD, 1)
        made = store(register((THEIRS, Live(X, lamport=3)), (other, Live(Y))), row(X, THEIRS))
        saved(made, None)
        self.assertEqual(dict(made.record("p").siblings), {MINE: Dead(4), other: Live(Y)})
        self.assertIsNone(made.row("p"))

    def test_same_deletion(self) -> None:
        """What others deleted too is no second deletion."""
        made = store(register((THEIRS, Dead(3))), row(X, Dot(THIRD, 1)))
        saved(made, None)
        self.assertEqual((made.counter, made.row("p")), (0, None))

    def test_absent_as_known(self) -> None:
        """What is not here and has no row is not a deletion, whatever others have."""
        made = store(register((THEIRS, Live(X))))
        self.assertEqual(saved(made, None), set())

    def test_one_counter(self) -> None:
        """Numbers count over all paths, and a commit brings number, record and row together."""
        made = store()
        commits = made.commits
        view = View(made)
        for path in "abc":
            save(view, path, seen(X))
        self.assertEqual((made.counter, made.commits), (0, commits))
        self.assertEqual(view.commit(), {"a", "b", "c"})
        self.assertEqual((made.counter, made.commits), (3, commits + 1))
        self.assertEqual([winner(made.record(path))[0].n for path in "abc"], [1, 2, 3])


class CollapseTests(SynchronousTestCase):
    """A losing version becomes a conflict copy."""

    LOSER = Live(X, 5, 2, 7)

    def collapsed(self, made: MemoryStore, dot: Dot = THEIRS) -> int:
        """Collapse the version `dot` of "p"; return the number of commits that it took."""
        before = made.commits
        view = View(made)
        collapse(view, "p", dot, self.LOSER, "p (conflict)")
        view.commit()
        return made.commits - before

    def losing(self) -> MemoryStore:
        """Return a store where THEIRS loses."""
        return store(register((THEIRS, self.LOSER), (Dot(THIRD, 1), Live(Y, lamport=9))))

    def test_collapse(self) -> None:
        """The copy's record and the drop of the loser are one commit, and the loser stays covered."""
        made = self.losing()
        self.assertEqual(self.collapsed(made), 1)
        copy = conflict_dot("p", THEIRS, self.LOSER)
        self.assertEqual(made.record("p (conflict)"), register((copy, self.LOSER)))
        self.assertIsNone(made.record("p").get(THEIRS))
        self.assertTrue(made.record("p").covers(THEIRS))
        self.assertEqual(made.counter, 0)

    def test_beside_own_file(self) -> None:
        """A file of the user at the copy's path stays beside the copy."""
        made = self.losing()
        made.apply(Change(records={"p (conflict)": register((MINE, Live(Z)))}))
        self.collapsed(made)
        self.assertEqual(len(made.record("p (conflict)").siblings), 2)

    def test_same_everywhere(self) -> None:
        """Peers that collapse at once make one version."""
        one, two = self.losing(), self.losing()
        two.rid = THIRD
        self.collapsed(one)
        self.collapsed(two)
        self.assertEqual(one.records, two.records)

    def test_again(self) -> None:
        """If the copy is covered and gone, which takes an accident, the bytes get another one."""
        made = self.losing()
        copy = conflict_dot("p", THEIRS, self.LOSER)
        made.apply(Change(records={"p (conflict)": write(register((copy, self.LOSER)), MINE, Dead(), copy)}))
        self.collapsed(made)
        live = [value for _, value in made.record("p (conflict)").siblings if isinstance(value, Live)]
        self.assertEqual(live, [self.LOSER])

    def test_kept(self) -> None:
        """A copy that is there already is not made twice."""
        made = self.losing()
        copy = register((conflict_dot("p", THEIRS, self.LOSER), self.LOSER))
        made.apply(Change(records={"p (conflict)": copy}))
        self.collapsed(made)
        self.assertEqual(made.record("p (conflict)"), copy)


class FinishTests(SynchronousTestCase):
    """The end of a publish."""

    NEW = Dot(THIRD, 1)

    def finished(
        self, *, done: bool = True, before: Row | None, content: bytes | None = Y, displaced: Observed | None = None
    ) -> MemoryStore:
        """Finish the publish of NEW over `before`; return the store."""
        known = register((THEIRS, Live(X)), (self.NEW, Live(Y, lamport=9)))
        if content is None:
            known = register((THEIRS, Live(X)), (self.NEW, Dead(9)))
        made = store(known, before)
        intent = Intent("p", before, self.NEW, Kind.FILE, content, trash="t")
        made.apply(Change(intents={"p": intent}))
        placed = None if content is None else row(content, self.NEW)
        view = View(made)
        finish(view, intent, done, placed, displaced)
        commits = made.commits
        view.commit()
        self.assertEqual(made.commits, commits + 1)
        self.assertIsNone(made.intent("p"))
        return made

    def test_not_done(self) -> None:
        """If the disk was not changed, only the intent goes."""
        made = self.finished(done=False, before=row(X, THEIRS))
        self.assertEqual((made.row("p"), made.counter), (row(X, THEIRS), 0))

    def test_done(self) -> None:
        """What was put there becomes the row."""
        for before, displaced in ((None, None), (row(X, THEIRS), seen(X)), (row(X, THEIRS), None)):
            made = self.finished(before=before, displaced=displaced)
            self.assertEqual((made.row("p"), made.counter), (row(Y, self.NEW), 0))

    def test_removed(self) -> None:
        """After a removal there is no row."""
        made = self.finished(before=row(X, THEIRS), content=None, displaced=seen(X))
        self.assertEqual((made.row("p"), made.counter), (None, 0))

    def test_displaced_save(self) -> None:
        """What the user saved in between has the old base, so that the published version stays beside it."""
        made = self.finished(before=row(X, THEIRS), displaced=seen(Z))
        self.assertEqual({dot for dot, _ in made.record("p").siblings}, {self.NEW, MINE})
        self.assertEqual(winner(made.record("p")), (MINE, Live(Z, 10, 10, 3, manifest=Z)))
        self.assertEqual(made.row("p"), row(Y, self.NEW))

    def test_displaced_bit(self) -> None:
        """A changed executable bit is a save too."""
        made = self.finished(before=row(X, THEIRS), displaced=seen(X, executable=True))
        self.assertEqual(made.counter, 1)

    def test_displaced_unknown(self) -> None:
        """What lay where nothing was known to be has no base."""
        made = self.finished(before=None, displaced=seen(Z))
        self.assertEqual({dot for dot, _ in made.record("p").siblings}, {THEIRS, self.NEW, MINE})

    def test_save_during_removal(self) -> None:
        """A save that a removal displaced lives again, and wins over the deletion."""
        made = self.finished(before=row(X, THEIRS), content=None, displaced=seen(Z))
        self.assertEqual([value for _, value in made.record("p").siblings], [Live(Z, 10, 10, 3, manifest=Z)])
        self.assertIsNone(made.row("p"))


class HoldsTests(SynchronousTestCase):
    """What a member says that it holds."""

    def test_holds(self) -> None:
        """The winner's content is in its place; of a deletion nothing is there but a folder that has no version."""
        file, folder, dead = Live(X), Live(b"", kind=Kind.FOLDER), Dead()
        implied = Row(None, Kind.FOLDER, b"")
        table: list[tuple[Live | Dead, Row | None, bool]] = [
            (file, row(X, THEIRS), True),
            (file, row(X, None), True),
            (file, row(Y, THEIRS), False),
            (file, None, False),
            (file, implied, False),
            (folder, implied, True),
            (folder, row(X, THEIRS), False),
            (folder, None, False),
            (dead, None, True),
            (dead, implied, True),
            (dead, Row(THEIRS, Kind.FOLDER, b""), False),
            (dead, row(X, THEIRS), False),
        ]
        for value, its_row, expected in table:
            self.assertEqual(holds(register((THEIRS, value)), its_row), expected, (value, its_row))
        self.assertTrue(holds(EMPTY, None))

    def test_winner_counts(self) -> None:
        """Having a losing version is not holding."""
        known = register((THEIRS, Live(X)), (MINE, Live(Y, lamport=1)))
        self.assertEqual([holds(known, row(content, None)) for content in (X, Y)], [False, True])


class SessionTests(SynchronousTestCase):
    """What was heard, and whether it may be acted on."""

    EPOCH = b"e" * 16

    def standing(self, replica: Replica) -> tuple[bool, bool, bool]:
        """Return whether saves may become versions, may be announced, and may be planned for."""
        return replica.caught, replica.ready, replica.may_act

    def session(self, target: int, cursor: int = 0) -> Replica:
        """Return a replica, with a store, that was welcomed."""
        made = MemoryStore()
        made.apply(Change(cursor=(self.EPOCH, cursor)))
        replica = Replica(made)
        replica.welcome(self.EPOCH, target)
        return replica

    def test_before_contact(self) -> None:
        """After a start nothing may be done before the others were heard."""
        self.assertEqual(self.standing(Replica(MemoryStore())), (False, False, False))
        self.assertEqual(self.standing(self.session(5)), (False, False, False))

    def test_life(self) -> None:
        """The target frees everything; inside a delta nothing is planned; between sessions nothing is announced."""
        replica = self.session(5)
        replica.stage([("p", register((THEIRS, Live(X))))], {})
        replica.end_delta(3)
        self.assertEqual(self.standing(replica), (False, False, False))
        replica.stage([], {})
        replica.end_delta(5)
        self.assertEqual(self.standing(replica), (True, True, True))
        replica.stage([("p", register((THEIRS, Live(X))))], {})
        self.assertEqual(self.standing(replica), (True, True, False))
        self.assertTrue(replica.staging)
        replica.disconnected()
        self.assertEqual(self.standing(replica), (True, False, True))
        replica.welcome(self.EPOCH, 9)
        self.assertEqual(self.standing(replica), (True, False, False))

    def test_at_target(self) -> None:
        """One who has read everything already is ready at once, and so is one whose set is the whole log."""
        self.assertEqual(self.standing(self.session(5, cursor=5)), (True, True, True))
        replica = Replica(MemoryStore())
        replica.welcome(self.EPOCH, 8, same=True)
        self.assertEqual(self.standing(replica), (True, True, True))
        self.assertEqual((replica.store.epoch, replica.store.cursor), (self.EPOCH, 8))

    def test_new_epoch(self) -> None:
        """In a new epoch, or with a cursor that the log does not reach, reading begins anew."""
        for epoch, target in ((b"f" * 16, 9), (self.EPOCH, 4)):
            replica = self.session(5, cursor=5)
            replica.welcome(epoch, target)
            self.assertEqual((replica.store.epoch, replica.store.cursor), (epoch, 0))
            self.assertFalse(replica.ready)
            self.assertTrue(replica.caught)

    def test_delta_is_whole(self) -> None:
        """A delta is joined at its end, all of it in the commit that moves the cursor."""
        replica = self.session(5)
        made = replica.store
        assert isinstance(made, MemoryStore)
        made.apply(Change(records={"p": register((MINE, Live(Z)))}))
        commits = made.commits
        one, two = register((THEIRS, Live(X))), register((Dot(THIRD, 1), Live(Y)))
        replica.stage([("p", one), ("q", one)], {b"1": 1})
        replica.stage([("p", two), ("same", EMPTY)], {b"2": 2})
        self.assertEqual((made.commits, made.record("q")), (commits, EMPTY))
        self.assertEqual(replica.end_delta(5), {"p", "q"})
        self.assertEqual(made.record("p"), join(join(one, two), register((MINE, Live(Z)))))
        self.assertEqual((made.record("q"), made.cursor, made.epoch), (one, 5, self.EPOCH))
        self.assertEqual((made.numbers, made.commits), ({b"1": 1, b"2": 2}, commits + 1))

    def test_nothing_new_is_not_staged(self) -> None:
        """What the index has already takes no memory until the end of a delta; its numbers are noted all the same."""
        replica = self.session(5)
        made = replica.store
        assert isinstance(made, MemoryStore)
        theirs = register((THEIRS, Live(X)))
        made.apply(Change(records={"same": theirs, "later": join(theirs, register((Dot(THIRD, 1), Live(Y))))}))
        new = replica.stage([("same", theirs), ("later", theirs), ("new", theirs)], {b"1": 1, b"2": 2})
        self.assertEqual(new, {"new"})
        self.assertEqual(replica.stage([("new", register((Dot(THIRD, 1), Live(Y))))], {}), {"new"})
        self.assertTrue(replica.staging)
        self.assertEqual(replica.end_delta(5), {"new"})
        self.assertEqual(made.record("new"), made.record("later"))
        self.assertEqual(made.numbers, {b"1": 1, b"2": 2})

    def test_torn_delta(self) -> None:
        """Of a delta whose end did not come nothing is joined, not even with a later one."""
        replica = self.session(5)
        replica.stage([("p", register((THEIRS, Live(X))))], {b"1": 1})
        replica.disconnected()
        replica.welcome(self.EPOCH, 5)
        replica.stage([("q", register((THEIRS, Live(X))))], {})
        replica.end_delta(5)
        made = replica.store
        assert isinstance(made, MemoryStore)
        self.assertEqual((made.record("p"), made.numbers), (EMPTY, {}))

    def test_index_lost(self) -> None:
        """Others who know more of this replica, or know one of its dots otherwise, say that this index is old."""
        known = register((Dot(RID, 2), Live(X)))
        lost = [
            register((Dot(RID, 3), Live(X))),
            Register.of({RID: 3}, {}),
            register((Dot(RID, 2), Live(Y))),
            register((Dot(RID, 2), Dead())),
        ]
        fine = [known, Register.of({RID: 2}, {}), register((Dot(RID, 1), Live(Z))), register((THEIRS, Live(Z)))]
        for theirs in lost + fine:
            replica = self.session(5)
            made = replica.store
            assert isinstance(made, MemoryStore)
            # A restored index may have counted on: what it knows of this very path decides.
            made.apply(Change(9, {"p": known, "q": register((Dot(RID, 9), Live(X)))}))
            if theirs in lost:
                self.assertRaises(IndexLost, replica.stage, [("p", theirs)], {})
                self.assertEqual(made.record("p"), known)
            else:
                replica.stage([("p", theirs)], {})
                replica.end_delta(5)
        self.assertRaises(IndexLost, self.session(5).stage, [("unknown here", known)], {})

    def test_lose_index(self) -> None:
        """A lost index begins anew as a joiner: nothing known, nothing allowed."""
        replica = self.session(5, cursor=5)
        made = replica.store
        assert isinstance(made, MemoryStore)
        made.apply(Change(7, {"p": register((MINE, Live(X)))}))
        replica.lose_index(b"new-rid!")
        self.assertEqual((made.rid, made.counter, made.record("p"), made.cursor), (b"new-rid!", 0, EMPTY, 0))
        self.assertEqual(self.standing(replica), (False, False, False))


class ViewTests(SynchronousTestCase):
    """One transaction reads its own writes and commits them once."""

    def test_reads_through(self) -> None:
        """What was not written here is what is committed."""
        made = store(register((THEIRS, Live(X))), row(X, THEIRS))
        view = View(made)
        intent = Intent("p", None, THEIRS, Kind.FILE, X)
        made.apply(Change(intents={"p": intent}))
        self.assertEqual((view.record("p"), view.row("p"), view.intent("p")), (made.record("p"), made.row("p"), intent))
        view.set_row("p", None)
        view.set_intent("p", None)
        view.set_record("p", EMPTY)
        self.assertEqual((view.record("p"), view.row("p"), view.intent("p")), (EMPTY, None, None))
        self.assertEqual(made.row("p"), row(X, THEIRS))

    def test_nothing_written(self) -> None:
        """Equal values are no change, and without a change there is no commit."""
        made = store(register((THEIRS, Live(X))), row(X, THEIRS))
        commits = made.commits
        view = View(made)
        view.set_record("p", register((THEIRS, Live(X))))
        view.set_row("p", row(X, THEIRS))
        self.assertEqual((view.commit(), made.commits), (set(), commits))

    def test_commits_once(self) -> None:
        """A view may be used again after a commit, from an empty change."""
        made = store()
        view = View(made)
        view.set_record("a", register((THEIRS, Live(X))))
        self.assertEqual(view.commit(), {"a"})
        self.assertEqual(view.commit(), set())

    def test_live_below(self) -> None:
        """What this transaction makes live or dead below a path counts; a longer name is not below."""
        made = store()
        live, dead = register((THEIRS, Live(X))), register((THEIRS, Dead()))
        made.apply(Change(records={"p/a": live, "q/a": dead, "pp": live}))
        view = View(made)
        self.assertEqual([view.has_live_below(path) for path in ("p", "q", "pp", "p/a")], [True, False, False, False])
        view.set_record("p/a", dead)
        view.set_record("q/b/c", live)
        self.assertEqual([view.has_live_below(path) for path in ("p", "q", "q/b")], [False, True, True])

    def test_absent_winners(self) -> None:
        """Winners whose path has no row are found as of this transaction."""
        made = store()
        live, other = register((THEIRS, Live(X))), register((THEIRS, Live(Y)))
        made.apply(Change(records={"a": live, "b": live, "c": live, "d": other}, rows={"c": row(X, THEIRS)}))
        view = View(made)
        self.assertEqual(view.absent_winners(X), ["a", "b"])
        view.set_row("a", row(X, THEIRS))
        view.set_record("b", other)
        view.set_row("c", None)
        view.set_record("d", settle(live))
        view.set_record("e", register((THEIRS, Live(X, kind=Kind.FOLDER))))
        self.assertEqual(view.absent_winners(X), ["c", "d"])
