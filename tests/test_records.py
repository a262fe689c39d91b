"""Canonical records: one register has one encoding, and nothing else is taken for it."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.strategies import registers
from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.records import FORMAT, Record, UnknownFormat, decode_record, encode_record
from twistedp2p.versions import Dead, Dot, Kind, Live, Register

A, B = b"A" * 8, b"B" * 8
X = bytes([1]) * 32
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
pack = msgspec.msgpack.encode

FILE = [0, X, 5, False, 7, 1, None]
CONTEXT = [[A, 1], [B, 2]]

VECTORS = [
    (Record("a", Register()), "9401a1619090"),
    (
        Record("dir/é", Register.of({A: 3}, {Dot(A, 3): Dead(2, -1)})),
        "9401a66469722fc3a99192c4084141414141414141039193c40841414141414141410392ff02",
    ),
    (
        Record(
            "f",
            Register.of(
                {B: 300, A: 1},
                {
                    Dot(B, 300): Live(X, 70000, 1, 10**18, Kind.FILE, True, bytes([2]) * 32),
                    Dot(A, 1): Live(b"", lamport=2, kind=Kind.FOLDER),
                },
            ),
        ),
        "9401a1669292c40841414141414141410192c4084242424242424242cd012c"
        "9293c40841414141414141410197"
        "01c000c20002c0"
        "93c4084242424242424242cd012c97"
        "00c420" + "01" * 32 + "ce00011170c3cf0de0b6b3a764000001c420" + "02" * 32,
    ),
]


def raw(path: object = "a", context: object = CONTEXT, siblings: object = (), number: object = FORMAT) -> bytes:
    """Return the bytes of something like a record."""
    return pack([number, path, context, siblings])


class CanonicalTests(SynchronousTestCase):
    """Equal registers give equal bytes."""

    def test_vectors(self) -> None:
        """The encoding is pinned: it names items, so it can never change."""
        for record, text in VECTORS:
            data = bytes.fromhex(text)
            self.assertEqual(encode_record(record.path, record.register).hex(), text)
            self.assertEqual(decode_record(data), record)

    @given(NAMES, registers())
    def test_round_trip(self, path: str, register: Register) -> None:
        """Every register comes back from its bytes."""
        self.assertEqual(decode_record(encode_record(path, register)), Record(path, register))

    @given(st.tuples(NAMES, registers()), st.tuples(NAMES, registers()))
    def test_injective(self, one: tuple[str, Register], two: tuple[str, Register]) -> None:
        """Different records have different bytes."""
        self.assertEqual(one == two, encode_record(*one) == encode_record(*two))


class HostileTests(SynchronousTestCase):
    """Only ProtocolViolation escapes, and only canonical bytes are taken."""

    @given(st.binary(max_size=60))
    @example(b"\xdd\xff\xff\xff\xff")
    @example(b"\x94\x01\xa1a" + b"\x91" * 5000 + b"\x90")
    @example(b"\x94\x01\xa1a\x90\x91\x93\xc4\x08AAAAAAAA\x01" + b"\x91" * 5000 + b"\x90")
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever the bytes, they are the one encoding of what is read from them, or refused."""
        self.check(data)

    @given(NAMES, registers(), st.data())
    def test_mutated(self, path: str, register: Register, data: st.DataObject) -> None:
        """The same holds for records with a few bytes changed, cut or added."""
        record = bytearray(encode_record(path, register))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(record)))
            record[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        self.check(bytes(record))

    def check(self, data: bytes) -> None:
        """Decode, and if that works encode again."""
        try:
            record = decode_record(data)
        except ProtocolViolation:
            return
        self.assertEqual(encode_record(record.path, record.register), data)

    def test_unknown_format(self) -> None:
        """A later format is told apart, whatever follows its number."""
        for data in (pack([2]), pack([255, "a", {}, [1]]), raw(number=2**64 - 1), raw(number=0)):
            self.assertRaises(UnknownFormat, decode_record, data)

    def test_shapes(self) -> None:
        """What does not have the shape of a record is refused."""
        shapes = {
            "nothing": b"",
            "no array": pack({"a": 1}),
            "empty": pack([]),
            "too short": pack([FORMAT, "a", []]),
            "too long": pack([FORMAT, "a", [], [], 1]),
            "something after it": raw() + b"\x00",
            "format is no number": raw(number="1"),
            "format is a float": raw(number=1.0),
            "path is bytes": raw(path=b"a"),
            "path is no UTF-8": b"\x94\x01\xa1\xff\x90\x90",
            "path has a surrogate": b"\x94\x01\xa3\xed\xa0\x80\x90\x90",
            "context is a map": raw(context={A: 1}),
            "short replica id": raw(context=[[A[1:], 1]]),
            "long replica id": raw(context=[[A + b"A", 1]]),
            "number 0": raw(context=[[A, 0]]),
            "number below 0": raw(context=[[A, -1]]),
            "number is true": raw(context=[[A, True]]),
            "number is a float": raw(context=[[A, 1.0]]),
            "not covered": raw(siblings=[[A, 2, FILE]]),
            "of an unknown replica": raw(siblings=[[b"C" * 8, 1, FILE]]),
            "value is nothing": raw(siblings=[[A, 1, None]]),
            "value too short": raw(siblings=[[A, 1, [1]]]),
            "value between": raw(siblings=[[A, 1, FILE[:3]]]),
            "unknown kind": raw(siblings=[[A, 1, [2, *FILE[1:]]]]),
            "file without content": raw(siblings=[[A, 1, [0, None, *FILE[2:]]]]),
            "folder with content": raw(siblings=[[A, 1, [1, *FILE[1:]]]]),
            "short content": raw(siblings=[[A, 1, [0, X[1:], *FILE[2:]]]]),
            "short manifest": raw(siblings=[[A, 1, [*FILE[:6], X[1:]]]]),
            "executable is 1": raw(siblings=[[A, 1, [*FILE[:3], 1, *FILE[4:]]]]),
        }
        for name, data in shapes.items():
            error = self.assertRaises(ProtocolViolation, decode_record, data)
            self.assertIs(type(error), ProtocolViolation, name)

    def test_not_canonical(self) -> None:
        """A second encoding of the same register is refused: it would make a second item of it."""
        ok = raw(siblings=[[A, 1, FILE]])
        decode_record(ok)
        others = {
            "context not sorted": raw(context=CONTEXT[::-1]),
            "replica twice": raw(context=[[A, 1], [A, 1]]),
            "siblings not sorted": raw(siblings=[[B, 1, FILE], [A, 1, FILE]]),
            "version twice": raw(siblings=[[A, 1, FILE], [A, 1, FILE]]),
            "version twice with two values": raw(siblings=[[A, 1, FILE], [A, 1, [7, 1]]]),
            "long integer": ok.replace(b"\x94\x01", b"\x94\xcc\x01", 1),
            "long array": b"\xdc\x00\x04" + ok[1:],
            "long text": ok.replace(b"\xa1a", b"\xd9\x01a", 1),
            "long bytes": ok.replace(b"\xc4\x08AAAAAAAA", b"\xc5\x00\x08AAAAAAAA", 1),
            "long tombstone": raw(siblings=[[A, 1, [7, 1]]]).replace(b"\x92\x07\x01", b"\xdc\x00\x02\x07\x01"),
        }
        for name, data in others.items():
            self.assertNotEqual(data, ok, name)
            self.assertRaises(ProtocolViolation, decode_record, data)

    def test_limits(self) -> None:
        """Each limit is taken at its edge and refused one past it."""
        many = [[bytes([n >> 8, n & 255]) * 4, 1] for n in range(limits.CONTEXT_ENTRIES + 1)]

        def value(index: int, number: int) -> bytes:
            fields = list(FILE)
            fields[index] = number
            return raw(siblings=[[A, 1, fields]])

        def siblings(count: int) -> bytes:
            return raw(context=[[A, 99]], siblings=[[A, n, FILE] for n in range(1, count + 1)])

        edges = [
            (raw(context=many[:-1]), raw(context=many)),
            (siblings(limits.SIBLINGS), siblings(limits.SIBLINGS + 1)),
            (raw(context=[[A, limits.COUNTER_CAP]]), raw(context=[[A, limits.COUNTER_CAP + 1]])),
            (value(2, limits.SIZE_CAP), value(2, limits.SIZE_CAP + 1)),
            (value(2, 0), value(2, -1)),
            (value(4, 2**63 - 1), value(4, 2**63)),
            (value(4, -(2**63)), value(5, -1)),
            (value(5, limits.LAMPORT_CAP), value(5, limits.LAMPORT_CAP + 1)),
            (
                raw(siblings=[[A, 1, [0, limits.LAMPORT_CAP]]]),
                raw(siblings=[[A, 1, [0, limits.LAMPORT_CAP + 1]]]),
            ),
        ]
        for edge, past in edges:
            self.check(edge)
            decode_record(edge)
            self.assertRaises(ProtocolViolation, decode_record, past)
