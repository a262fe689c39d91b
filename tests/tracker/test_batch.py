"""Batches travel in pieces and arrive whole, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import DIGEST
from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.messages.tracker import Announce
from twistedp2p.tracker.batch import Assembly, Batch, ItemRef, announcements
from twistedp2p.tracker.wire import TRACKER


def key(number: int) -> bytes:
    """Return an item's key."""
    return number.to_bytes(16, "big")


def refs(numbers: set[int], keyed: set[int]) -> tuple[ItemRef, ...]:
    """Return references to items in canonical form: numbers ascending, then keys ascending."""
    return (*sorted(numbers - keyed), *sorted(key(number) for number in numbers & keyed))


_sets = st.sets(st.integers(0, 5000), max_size=400)


@given(_sets, _sets, _sets, _sets)
def test_pieces_make_the_batch(known: set[int], held: set[int], gone: set[int], keyed: set[int]) -> None:
    """What one side splits, the other puts together, and every piece fits a frame."""
    batch = Batch(7, False, refs(known - held, keyed), refs(held, keyed), refs(gone, keyed))
    pieces = list(announcements(batch))
    assembly = Assembly()
    got = [assembly.add(TRACKER.decode(TRACKER.encode(piece))) for piece in pieces]  # type: ignore[arg-type]
    assert got == [None] * (len(pieces) - 1) + [batch]
    assert all(len(TRACKER.encode(piece)) <= limits.BATCH_BYTES for piece in pieces)


def test_long_batch() -> None:
    """A batch of twenty thousand keys takes several pieces and arrives in canonical order."""
    batch = Batch(1, True, tuple(sorted(key(n * 7919) for n in range(20_000))))
    pieces = list(announcements(batch))
    assembly = Assembly()
    assert len(pieces) > 5
    assert [assembly.add(piece) for piece in pieces][-1] == batch
    assert batch.new_keys() == list(batch.known)


def test_empty_batch() -> None:
    """A full batch of an empty share is one message."""
    assert list(announcements(Batch(1, True))) == [Announce(1, True, True)]


def test_reference_alone() -> None:
    """A full batch can travel as its reference."""
    batch = Batch(1, True, (key(1),), (), (), (DIGEST, DIGEST))
    assert list(announcements(batch, reference_only=True)) == [Announce(1, True, True, reference=(DIGEST, DIGEST))]


@pytest.mark.parametrize(
    "pieces",
    [
        [Announce(1, False, False, ((0, 1),)), Announce(2, False, True)],
        [Announce(1, False, False, ((0, 1),)), Announce(1, True, True)],
        [Announce(1, False, False)],
        [Announce(1, True, False, ((0, 1),), reference=(DIGEST, DIGEST))],
        [Announce(1, False, True, ((0, 1),), ((0, 1),))],
        [Announce(1, False, False, ((0, 1),)), Announce(1, False, True, ((0, 1),))],
        [Announce(1, False, True, known_keys=(key(1),), held_keys=(key(1),))],
        [Announce(1, False, True, gone=((0, 1),), gone_keys=(key(1), key(1)))],
        [Announce(1, True, True, gone=((0, 1),))],
        [Announce(1, False, True, reference=(DIGEST, DIGEST))],
        [Announce(1, False, True, ((0, 2**62),))],
        [Announce(1, False, True, ((5, 1), (4, 1)))],
    ],
)
def test_malformed_batches(pieces: list[Announce]) -> None:
    """Pieces that contradict each other, name an item twice or claim too much are refused."""
    assembly = Assembly()
    with pytest.raises(ProtocolViolation):
        for piece in pieces:
            assembly.add(piece)


def test_most_items() -> None:
    """A full batch may have as many items as the limit says, in one piece or several, and not one more."""
    assembly = Assembly(most=10)
    assert assembly.add(Announce(1, True, False, ((0, 6),))) is None
    assert assembly.add(Announce(1, True, True, ((6, 2),), known_keys=(key(1), key(2)))) is not None
    assembly = Assembly(most=10)
    assembly.add(Announce(1, True, False, ((0, 6),)))
    with pytest.raises(ProtocolViolation, match="more than 10"):
        assembly.add(Announce(1, True, True, ((6, 3),), known_keys=(key(1), key(2))))
