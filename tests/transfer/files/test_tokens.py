"""Content ids that come from reading: right whatever the order, and never from a part of a file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twistedp2p.transfer.files.tokens import HashesUnderWay
from twistedp2p.transfer.hashing import content_id_of


@given(
    data=st.binary(min_size=1, max_size=200),
    cuts=st.lists(st.integers(1, 199)),
    random=st.randoms(use_true_random=False),
)
def test_any_order(data: bytes, cuts: list[int], random: object) -> None:
    """Pieces in any order give the content id with the last of them, or none at all, never a wrong one."""
    ends = sorted({cut for cut in cuts if cut < len(data)} | {len(data)})
    pieces = list(zip([0, *ends], ends, strict=False))
    random.shuffle(pieces)  # type: ignore[attr-defined]
    hashes = HashesUnderWay()
    found = [hashes.read(b"token", len(data), start, data[start:end]) for start, end in pieces]
    assert set(found) <= {None, content_id_of(data)}
    if pieces[0][0] == 0 and len(pieces) <= 8:
        assert found[-1] == content_id_of(data)


def test_in_order() -> None:
    """A file that is read from the first byte to the last has its content id with the last piece."""
    hashes = HashesUnderWay()
    data = bytes(range(256))
    found = [hashes.read(b"token", 256, at, data[at : at + 16]) for at in range(0, 256, 16)]
    assert found == [None] * 15 + [content_id_of(data)]


def test_the_first_piece_is_late() -> None:
    """Several threads read: the second piece may be there before the first, or even the eighth."""
    data = bytes(range(256))
    for first in (1, 8):
        hashes = HashesUnderWay()
        order = [first, *(number for number in range(16) if number != first)]
        found = [hashes.read(b"token", 256, 16 * number, data[16 * number :][:16]) for number in order]
        assert found == [None] * 15 + [content_id_of(data)]


def test_only_the_end_is_read() -> None:
    """Who goes on with the end of a file makes nothing be kept of it."""
    hashes = HashesUnderWay()
    assert hashes.read(b"token", 256, 9 * 16, bytes(16)) is None
    assert not hashes._files


def test_many_files() -> None:
    """Of many files that are read at the same time only some are hashed, and those are right."""
    hashes = HashesUnderWay(most=2)
    for number in range(3):
        assert hashes.read(b"%d" % number, 2, 0, b"a") is None
    found = [hashes.read(b"%d" % number, 2, 1, b"b") for number in range(3)]
    assert found == [None, content_id_of(b"ab"), content_id_of(b"ab")]
