"""The codec: every message survives the journey, and nothing malformed gets through."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import ADDRESS, HASH, KEY, NODE, PEER_SAMPLES, PROOF, TRACKER_SAMPLES
from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation, UnknownType
from twistedp2p.messages import common, peer, tracker
from twistedp2p.tracker.wire import TRACKER
from twistedp2p.transfer.wire import PEER
from twistedp2p.wire import Codec, pack, pieces

BOTH = [(TRACKER, sample) for sample in TRACKER_SAMPLES] + [(PEER, sample) for sample in PEER_SAMPLES]
HEADS = [*tracker.TRACKER_TYPES, *peer.PEER_TYPES]


def frame(number: int, fields: Any) -> bytes:
    """Return a frame that the encoder would never make."""
    return bytes([number]) + msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(("codec", "message"), BOTH)
def test_every_message_survives(codec: Codec, message: object) -> None:
    """A message that was encoded decodes to an equal one."""
    assert codec.decode(codec.encode(message)) == message


def test_every_type_has_a_sample() -> None:
    """No type of message is left out of these tests, and no type byte stands for two."""
    assert {type(sample) for sample in TRACKER_SAMPLES} == set(tracker.TRACKER_TYPES.values())
    assert {type(sample) for sample in PEER_SAMPLES} == set(peer.PEER_TYPES.values())
    assert not set(tracker.TRACKER_TYPES) & set(peer.PEER_TYPES)


@pytest.mark.parametrize(("codec", "message"), BOTH)
def test_frames_fit(codec: Codec, message: object) -> None:
    """A message at its limits fits the longest frame that is accepted at that time."""
    most = {tracker.Hello: limits.HELLO_FRAME_BYTES, peer.PeerHello: limits.PROOF_FRAME_BYTES}
    assert len(codec.encode(message)) <= most.get(type(message), limits.FRAME_BYTES)


@pytest.mark.parametrize(("codec", "message"), BOTH)
def test_cut_anywhere(codec: Codec, message: object) -> None:
    """A message that ends too early is refused, wherever it was cut (raw data has no end of its own)."""
    whole = codec.encode(message)
    if isinstance(message, common.Data):
        whole = whole[:5]
    for length in list(range(min(len(whole), 300))):
        with pytest.raises(ProtocolViolation):
            codec.decode(whole[:length])


@pytest.mark.parametrize(("codec", "message"), [pair for pair in BOTH if not isinstance(pair[1], common.Data)])
def test_trailing_bytes(codec: Codec, message: object) -> None:
    """A message with anything behind it is refused."""
    with pytest.raises(ProtocolViolation, match="trailing"):
        codec.decode(codec.encode(message) + b"\xc0")


@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_noise_after_the_type(number: int, noise: bytes) -> None:
    """Whatever follows a type byte, nothing but a ProtocolViolation comes out."""
    for codec in (TRACKER, PEER):
        try:
            codec.decode(bytes([number]) + noise)
        except ProtocolViolation as error:
            assert str(error)


@given(st.sampled_from(BOTH), st.data())
def test_mutated_messages(pair: tuple[Codec, object], data: st.DataObject) -> None:
    """A real message with some bytes changed decodes to a message of that type or is refused."""
    codec, message = pair
    broken = bytearray(codec.encode(message)[:3000])
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(1, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert type(codec.decode(bytes(broken))) is type(message)
    except ProtocolViolation as error:
        assert str(error)


@given(
    st.sampled_from(HEADS),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ),
)
def test_well_formed_noise(number: int, value: object) -> None:
    """Valid MessagePack that is not the message expected is refused, or is that message."""
    for codec in (TRACKER, PEER):
        try:
            codec.decode(frame(number, value))
        except ProtocolViolation as error:
            assert str(error)


def test_unknown_notice() -> None:
    """An unknown type byte of 128 or more may be skipped; one below may not."""
    with pytest.raises(UnknownType) as notice:
        TRACKER.decode(b"\xff\x80")
    with pytest.raises(UnknownType) as request:
        TRACKER.decode(b"\x7f\x80")
    assert (notice.value.skippable, request.value.skippable) == (True, False)


def test_other_conversation() -> None:
    """A message of the other conversation is unknown, and can not be encoded."""
    with pytest.raises(UnknownType):
        TRACKER.decode(PEER.encode(common.Done(1)))
    with pytest.raises(KeyError):
        TRACKER.encode(common.Done(1))


def test_unknown_fields() -> None:
    """A field that a later version added is skipped."""
    assert TRACKER.decode(frame(13, {"same": True, "later": [1, {"x": b"y"}]})) == tracker.Alive(True)


def test_nesting_bomb() -> None:
    """An unknown field nested a hundred thousand deep is refused, not followed."""
    with pytest.raises(ProtocolViolation):
        TRACKER.decode(b"\x0d\x82\xa4same\xc3\xa1x" + b"\x91" * 100_000)


def test_length_bomb() -> None:
    """A list that claims four thousand million entries is refused before anything is allocated."""
    with pytest.raises(ProtocolViolation):
        TRACKER.decode(b"\x08\x83\xa3end\x00\xa4last\xc3\xa7entries\xdd\xff\xff\xff\xff")


def test_data_edges() -> None:
    """Raw data may be as long as DATA_BYTES and not a byte longer, and needs its request number."""
    longest = common.Data(1, bytes(limits.DATA_BYTES))
    assert PEER.decode(PEER.encode(longest)) == longest
    for broken in (b"\x29", b"\x29\0\0\0", PEER.encode(common.Data(1, bytes(limits.DATA_BYTES + 1)))):
        with pytest.raises(ProtocolViolation):
            PEER.decode(broken)


HELLO = tracker.Hello(PROOF, KEY, "desk", (1,), (ADDRESS,), b"", 0, tracker.SetDigest(), tracker.SetDigest())
OVER = [
    (TRACKER, evolve(HELLO, name="n" * (limits.NAME_CHARS + 1))),
    (TRACKER, evolve(HELLO, addresses=(ADDRESS,) * (limits.ADDRESSES + 1))),
    (TRACKER, evolve(HELLO, addresses=(tracker.Address("", 1),))),
    (TRACKER, evolve(HELLO, addresses=(tracker.Address("h" * 256, 1),))),
    (TRACKER, evolve(HELLO, addresses=(tracker.Address("h", 0),))),
    (TRACKER, evolve(HELLO, addresses=(tracker.Address("h", 65536),))),
    (TRACKER, evolve(HELLO, nonce=KEY + b"x")),
    (TRACKER, evolve(HELLO, epoch=KEY + b"x")),
    (TRACKER, evolve(HELLO, cursor=-1)),
    (TRACKER, evolve(HELLO, cursor=2**63)),
    (TRACKER, evolve(HELLO, versions=tuple(range(17)))),
    (TRACKER, evolve(HELLO, proof=evolve(PROOF, share_id=NODE[:19]))),
    (TRACKER, evolve(HELLO, proof=evolve(PROOF, signature=bytes(63)))),
    (TRACKER, tracker.Welcome(1, "", 0.0, 100.0, KEY, 5, 0, False)),
    (TRACKER, tracker.Welcome(1, "", float("nan"), 100.0, KEY, 5, 0, False)),
    (TRACKER, tracker.Blobs(1, True, (bytes(limits.RECORD_BYTES + 1),))),
    (TRACKER, tracker.Blobs(1, True, (b"",) * (limits.LIST_ITEMS + 1))),
    (TRACKER, tracker.Announce(1, True, True, tuple((2 * i, 1) for i in range(limits.LIST_ITEMS + 1)))),
    (TRACKER, tracker.Announce(1, True, True, known_keys=(KEY,) * (limits.LIST_ITEMS + 1))),
    (TRACKER, tracker.Holders(1, ((0, 2**63),))),
    (TRACKER, common.Refused("full", "x" * 401)),
    (PEER, peer.GetContents(1, ())),
    (PEER, peer.GetContents(1, (HASH,) * (limits.SMALL_CONTENTS_PER_REQUEST + 1))),
    (PEER, peer.GetContents(2**32, (HASH,))),
    (PEER, peer.GetRange(1, HASH, 0, 0)),
    (PEER, peer.GetRange(1, HASH, 0, limits.RANGE_BYTES + 1)),
    (PEER, peer.GetRange(1, HASH, limits.SIZE_CAP + 1, 1)),
]


@pytest.mark.parametrize(("codec", "message"), OVER)
def test_over_a_limit(codec: Codec, message: object) -> None:
    """A value just past any limit is refused."""
    with pytest.raises(ProtocolViolation):
        codec.decode(codec.encode(message))


@given(st.lists(st.binary(max_size=limits.RECORD_BYTES // 20), max_size=60))
def test_pieces_fit(blobs: list[bytes]) -> None:
    """The pieces of a long list together are the list, none is empty, and each fits a frame."""
    split = list(pieces(blobs, lambda blob: len(blob) + 5, most_items=25))
    assert [blob for piece in split for blob in piece] == blobs
    assert all(0 < len(piece) <= 25 for piece in split)
    assert all(len(TRACKER.encode(tracker.Blobs(1, True, tuple(piece)))) <= limits.BATCH_BYTES for piece in split)


def test_pieces_of_the_longest_records() -> None:
    """Two of the longest records do not travel in one message, but each fits one."""
    blob = bytes(limits.RECORD_BYTES)
    assert [len(piece) for piece in pieces([blob, blob], len)] == [1, 1]


def test_pack_mixes_lists() -> None:
    """A piece may hold the end of one list and the beginning of the next; order is kept in each."""
    split = list(pack({"a": range(5), "b": range(4)}, {"a": lambda _: 1, "b": lambda _: 1}, most_bytes=1024 + 7))
    assert split == [{"a": (0, 1, 2, 3, 4), "b": (0, 1)}, {"b": (2, 3)}]
