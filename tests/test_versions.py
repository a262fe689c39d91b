"""The register of one path: joining, writing, settling, and the order that names a winner."""

from __future__ import annotations

from itertools import permutations

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.strategies import CONTENTS, DOTS, FILES, VALUES, histories, registers
from twistedp2p.limits import COUNTER_CAP, LAMPORT_CAP
from twistedp2p.versions import (
    EMPTY,
    Dead,
    Dot,
    Kind,
    Live,
    Register,
    Value,
    conflict_dot,
    join,
    order,
    put_aside,
    settle,
    short_hash,
    winner,
    write,
)

A, B = b"A" * 8, b"B" * 8
X, Y = bytes([1]) * 32, bytes([2]) * 32
FRESH = b"fresh-id"


def one(dot: Dot, value: Value) -> Register:
    """Return a register that has one version only."""
    return Register.of({dot.rid: dot.n}, {dot: value})


class RegisterTests(SynchronousTestCase):
    """What a register tells of itself."""

    @given(registers(), st.randoms())
    def test_canonical(self, register: Register, random: object) -> None:
        """A register is equal, and hashes equal, whatever the order in which its parts came."""
        context = list(register.context)
        siblings = list(register.siblings)
        random.shuffle(context)  # type: ignore[attr-defined]
        random.shuffle(siblings)  # type: ignore[attr-defined]
        other = Register.of(dict(context), dict(siblings))
        self.assertEqual((other, hash(other)), (register, hash(register)))

    def test_covers(self) -> None:
        """A register covers the versions that are in it and those before them, of that replica only."""
        register = Register.of({A: 2}, {Dot(A, 1): Dead()})
        self.assertEqual([register.covers(Dot(A, n)) for n in (1, 2, 3)], [True, True, False])
        self.assertFalse(register.covers(Dot(B, 1)))
        self.assertEqual((register.seen(A), register.seen(B)), (2, 0))
        self.assertEqual((register.get(Dot(A, 1)), register.get(Dot(A, 2)), register.get(None)), (Dead(), None, None))

    def test_has_content(self) -> None:
        """The greatest live sibling of a content and kind is named; a folder is not an empty file."""
        register = Register.of(
            {A: 3, B: 1},
            {Dot(A, 1): Live(X, lamport=1), Dot(A, 2): Live(X, lamport=5), Dot(A, 3): Dead(9), Dot(B, 1): Live(Y)},
        )
        self.assertEqual(register.has_content(X, Kind.FILE), Dot(A, 2))
        self.assertEqual(register.has_content(Y, Kind.FILE), Dot(B, 1))
        self.assertIsNone(register.has_content(X, Kind.FOLDER))
        self.assertIsNone(register.has_content(b"", Kind.FILE))

    def test_without(self) -> None:
        """A dropped version stays covered, so that it does not come back."""
        register = one(Dot(A, 1), Live(X)).without({Dot(A, 1)})
        self.assertEqual((register.siblings, register.covers(Dot(A, 1))), ((), True))
        self.assertEqual(join(register, one(Dot(A, 1), Live(X))), register)


class OrderTests(SynchronousTestCase):
    """The order decides between any two versions, the same on every peer."""

    def test_ladder(self) -> None:
        """Live goes before dead, then folder, lamport, mtime, replica id and number, each before what follows it."""
        ladder: list[tuple[Dot, Value]] = [
            (Dot(B, 9), Dead(LAMPORT_CAP, 9)),
            (Dot(A, 1), Live(X, lamport=1, mtime_ns=9)),
            (Dot(A, 1), Live(X, lamport=2, mtime_ns=-5)),
            (Dot(A, 7), Live(X, lamport=2, mtime_ns=3)),
            (Dot(B, 1), Live(X, lamport=2, mtime_ns=3)),
            (Dot(B, 2), Live(X, lamport=2, mtime_ns=3)),
            (Dot(A, 1), Live(b"", kind=Kind.FOLDER)),
            (Dot(A, 1), Live(b"", lamport=1, kind=Kind.FOLDER)),
        ]
        for mixed in (ladder[::-1], ladder[::2] + ladder[1::2]):
            self.assertEqual(sorted(mixed, key=lambda pair: order(*pair)), ladder)

    @given(DOTS, VALUES, DOTS, VALUES)
    def test_total(self, dot: Dot, value: Value, other: Dot, second: Value) -> None:
        """No two versions are equal in the order, whatever their values."""
        if dot != other:
            self.assertNotEqual(order(dot, value), order(other, second))

    @given(registers())
    def test_winner(self, register: Register) -> None:
        """The winner is a sibling that no other precedes; of none, a tombstone without a name."""
        dot, value = winner(register)
        if not register.siblings:
            self.assertEqual((dot, value), (Dot(b"", 0), Dead()))
        else:
            self.assertEqual(register.get(dot), value)
            self.assertTrue(all(order(dot, value) >= order(*pair) for pair in register.siblings))


class JoinTests(SynchronousTestCase):
    """Joining is a least upper bound: order, repetition and grouping do not matter."""

    @given(histories())
    def test_laws(self, three: list[Register]) -> None:
        """Joining is commutative, associative and idempotent, and nothing joined changes nothing."""
        x, y, z = three
        self.assertEqual(join(x, y), join(y, x))
        self.assertEqual(join(join(x, y), z), join(x, join(y, z)))
        self.assertEqual(join(x, x), x)
        self.assertEqual(join(join(x, y), y), join(x, y))
        self.assertEqual((join(x, EMPTY), join(EMPTY, x)), (x, x))

    @given(histories())
    def test_meaning(self, three: list[Register]) -> None:
        """A version stays exactly if somebody has it and nobody knows it to be superseded."""
        x, y, _ = three
        joined = join(x, y)
        for rid in (A, B, b"C" * 8, b"D" * 8):
            self.assertEqual(joined.seen(rid), max(x.seen(rid), y.seen(rid)))
        stays = {
            dot: value
            for one_, other in ((x, y), (y, x))
            for dot, value in one_.siblings
            if other.get(dot) is not None or not other.covers(dot)
        }
        self.assertEqual(dict(joined.siblings), stays)

    @given(DOTS, VALUES, VALUES, st.lists(histories(), min_size=1, max_size=1))
    @example(Dot(A, 1), Live(X), Live(Y), [[EMPTY, EMPTY, EMPTY]])
    def test_twins(self, dot: Dot, value: Value, other: Value, rest: list[list[Register]]) -> None:
        """Two values under one dot are both kept, the same everywhere, whatever the order of joining."""
        history = rest[0][0]
        history = history.without({pair[0] for pair in history.siblings if pair[0].rid == dot.rid})
        history = Register.of({r: n for r, n in history.context if r != dot.rid}, dict(history.siblings))
        three = [one(dot, value), one(dot, other), join(history, one(dot, value))]
        results = set()
        for x, y, z in permutations(three):
            results |= {join(join(x, y), z), join(x, join(y, z)), join(join(join(x, y), z), x)}
        self.assertEqual(len(results), 1)
        found = [found for _, found in results.pop().siblings]
        self.assertIn(value, found)
        self.assertIn(other, found)

    def test_twins_pinned(self) -> None:
        """The twin's name is a pure function that can never change."""
        joined = join(one(Dot(A, 1), Live(X)), one(Dot(A, 1), Live(Y)))
        twin = Dot(bytes.fromhex("d730680d03e91d98"), 1)
        self.assertEqual(joined, Register.of({A: 1, twin.rid: 1}, {Dot(A, 1): Live(X), twin: Live(Y)}))

    def test_twin_does_not_return(self) -> None:
        """A twin that was superseded once stays so when the accident is seen again."""
        x, y = one(Dot(A, 1), Live(X)), one(Dot(A, 1), Live(Y))
        joined = join(x, y)
        twin = next(dot for dot, _ in joined.siblings if dot.rid != A)
        dropped = joined.without({twin})
        self.assertEqual(join(dropped, y), dropped)


class WriteTests(SynchronousTestCase):
    """What a save or a deletion makes of a register."""

    @given(registers(), VALUES, st.data())
    def test_write(self, register: Register, value: Value, data: st.DataObject) -> None:
        """Only the base and the tombstones go; what the user never saw stays beside the new version."""
        dots = [dot for dot, _ in register.siblings]
        base = data.draw(st.sampled_from([None, Dot(A, 77), *dots]))
        dot = Dot(FRESH, 5)
        after = write(register, dot, value, base)
        stays = {d: v for d, v in register.siblings if isinstance(v, Live) and d != base}
        lamport = min(LAMPORT_CAP, 1 + max((v.lamport for _, v in register.siblings), default=0))
        self.assertEqual(dict(after.siblings), {**stays, dot: evolve(value, lamport=lamport)})
        self.assertEqual(dict(after.context), {**dict(register.context), FRESH: 5})

    @given(registers(FILES), FILES)
    def test_save_wins(self, register: Register, value: Live) -> None:
        """A save wins over every file that was known, unless a forged stamp is at the cap already."""
        after = write(register, Dot(FRESH, 1), value, None)
        if all(v.lamport < LAMPORT_CAP for _, v in register.siblings):
            self.assertEqual(winner(after)[0], Dot(FRESH, 1))

    def test_base_goes_by_its_dot(self) -> None:
        """A sibling with the content of the base stays: only the dot says what the user had on disk."""
        register = Register.of({A: 1, B: 1}, {Dot(A, 1): Live(X, lamport=9), Dot(B, 1): Live(X, lamport=1)})
        after = write(register, Dot(FRESH, 1), Dead(), Dot(A, 1))
        self.assertEqual([dot for dot, _ in after.siblings], sorted([Dot(B, 1), Dot(FRESH, 1)]))

    def test_saturates(self) -> None:
        """A forged stamp at the cap overflows nothing."""
        after = write(one(Dot(A, 1), Live(X, lamport=LAMPORT_CAP)), Dot(FRESH, 1), Live(Y), None)
        self.assertEqual(after.get(Dot(FRESH, 1)), Live(Y, lamport=LAMPORT_CAP))

    def test_last_number(self) -> None:
        """The last number of an index can be used, and none after it."""
        self.assertEqual(write(EMPTY, Dot(A, COUNTER_CAP), Dead(), None).seen(A), COUNTER_CAP)
        error = self.assertRaises(OverflowError, write, EMPTY, Dot(A, COUNTER_CAP + 1), Dead(), None)
        self.assertIn("delete it", str(error))


class SettleTests(SynchronousTestCase):
    """Versions that need no copy go; no content and no winner ever does."""

    @given(registers())
    def test_settle(self, register: Register) -> None:
        """The winner, every content and the context stay, and settling again changes nothing."""
        settled = settle(register)
        self.assertEqual(winner(settled), winner(register))
        self.assertEqual(settled.context, register.context)
        self.assertEqual(_contents(settled), _contents(register))
        self.assertEqual(settle(settled), settled)
        top = winner(register)[1]
        for dot, value in settled.siblings[:]:
            if dot != winner(register)[0]:
                self.assertIsInstance(value, Live)
                self.assertNotEqual((value.kind, value.content), (top.kind, top.content))  # type: ignore[union-attr]

    def test_nothing_to_do(self) -> None:
        """A register with one version is itself."""
        register = one(Dot(A, 1), Dead())
        self.assertIs(settle(register), register)


def _contents(register: Register) -> set[tuple[Kind, bytes]]:
    return {(value.kind, value.content) for _, value in register.siblings if isinstance(value, Live)}


class ConflictTests(SynchronousTestCase):
    """Conflict copies are pure: whoever makes one makes the same."""

    def test_pinned(self) -> None:
        """The names of copies and of hashes can never change."""
        self.assertEqual(short_hash(b"a", b"bc").hex(), "10c9feffe8d93925")
        self.assertEqual(conflict_dot("a/b", Dot(A, 7), Live(X)), Dot(bytes.fromhex("a486055bca526f9a"), 1))

    @given(st.lists(st.tuples(st.sampled_from(["a", "aA", "é"]), DOTS, CONTENTS), unique=True, min_size=2, max_size=2))
    def test_distinct(self, two: list[tuple[str, Dot, bytes]]) -> None:
        """Another path, version or content has another copy, and how long the parts are can not be mistaken."""
        first, second = (conflict_dot(path, dot, Live(content)) for path, dot, content in two)
        self.assertNotEqual(first, second)
        self.assertNotEqual(short_hash(b"ab", b"c"), short_hash(b"a", b"bc"))

    def test_put_aside(self) -> None:
        """A copy is put beside what its path has, and one that was deleted there does not come back."""
        dot = Dot(B, 1)
        copy = put_aside(one(Dot(A, 1), Live(Y)), dot, Live(X))
        self.assertEqual(dict(copy.siblings), {Dot(A, 1): Live(Y), dot: Live(X)})
        deleted = write(copy, Dot(FRESH, 1), Dead(), dot)
        self.assertEqual(put_aside(deleted, dot, Live(X)), deleted)
