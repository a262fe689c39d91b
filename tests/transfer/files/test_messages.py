"""The messages about named files on the wire: each survives, and nothing malformed gets through."""

from __future__ import annotations

import msgspec
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.transfer.files.samples import FILES_SAMPLES
from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.messages import common, peer, tracker
from twistedp2p.transfer.files import messages as f
from twistedp2p.transfer.files.messages import FILES, FILES_TYPES


@pytest.mark.parametrize("message", FILES_SAMPLES)
def test_every_message_survives(message: object) -> None:
    """A message that was encoded decodes to an equal one, and fits the longest frame that is accepted then."""
    frame = FILES.encode(message)
    assert FILES.decode(frame) == message
    most = {f.FilesHello: limits.PROOF_FRAME_BYTES, common.Data: FILES.frame_bytes}
    assert len(frame) <= most.get(type(message), limits.FRAME_BYTES)


def test_only_data_is_longer() -> None:
    """Data may be as long as FILE_DATA_BYTES and not a byte longer; any other message is no longer than elsewhere."""
    most = common.Data(1, bytes(limits.FILE_DATA_BYTES))
    assert FILES.decode(FILES.encode(most)) == most
    assert FILES.frame_bytes == len(FILES.encode(most))
    with pytest.raises(ProtocolViolation, match="Data"):
        FILES.decode(FILES.encode(common.Data(1, bytes(limits.FILE_DATA_BYTES + 1))))
    pad = b"\xa1x\xc6" + (limits.FRAME_BYTES - 9).to_bytes(4, "big") + bytes(limits.FRAME_BYTES - 9)
    number = next(number for number, cls in FILES_TYPES.items() if cls is common.Ping)
    frame = bytes([number, 0x81]) + pad
    assert FILES.decode(frame) == common.Ping()
    with pytest.raises(ProtocolViolation, match="bytes"):
        FILES.decode(frame.replace(b"\xa1x", b"\xa2xy"))


def test_the_longest_data_comes_in_time() -> None:
    """At the lowest rate that is accepted, the longest frame comes before a put is given up."""
    assert FILES.frame_bytes / limits.LOWEST_RATE < limits.FILES_PUT_IDLE


def test_every_type_has_a_sample() -> None:
    """No type of message is left out of these tests; a type byte means the same in every conversation."""
    assert {type(sample) for sample in FILES_SAMPLES} == set(FILES_TYPES.values())
    for types in (tracker.TRACKER_TYPES, peer.PEER_TYPES):
        for number in set(types) & set(FILES_TYPES):
            assert types[number] is FILES_TYPES[number]


@pytest.mark.parametrize("message", [one for one in FILES_SAMPLES if not isinstance(one, common.Data)])
def test_cut_or_with_something_behind_it(message: object) -> None:
    """A message that ends too early, or has anything behind it, is refused."""
    whole = FILES.encode(message)
    for length in range(min(len(whole), 300)):
        with pytest.raises(ProtocolViolation):
            FILES.decode(whole[:length])
    with pytest.raises(ProtocolViolation):
        FILES.decode(whole + b"\xc0")


@given(st.sampled_from(list(FILES_TYPES)), st.binary(max_size=200))
def test_noise_after_the_type(number: int, noise: bytes) -> None:
    """Whatever follows a type byte, nothing but a ProtocolViolation comes out."""
    try:
        FILES.decode(bytes([number]) + noise)
    except ProtocolViolation as error:
        assert str(error)


@given(st.sampled_from(FILES_SAMPLES), st.data())
def test_mutated_messages(message: object, data: st.DataObject) -> None:
    """A real message with some bytes changed decodes to a message of that type or is refused."""
    broken = bytearray(FILES.encode(message)[:3000])
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = FILES.decode(bytes(broken))
    except ProtocolViolation:
        return
    assert type(decoded) is FILES_TYPES[broken[0]]


@pytest.mark.parametrize(
    "wrong",
    [
        f.ListFolder(1, "x" * (limits.PATH_BYTES + 1)),
        f.ListFolder(1, "", False, "x" * (limits.IGNORE_PATTERN_CHARS + 1)),
        f.Listed(1, (f.FileEntry("a", False),) * (limits.LIST_ITEMS + 1)),
        f.ReadRange(1, "a", b"", 0, 0),
        f.ReadRange(1, "a", b"", 0, limits.RANGE_BYTES + 1),
        f.ReadRange(1, "a", b"", -1, 1),
        f.ReadRange(1, "a", bytes(17), 0, 1),
        f.ReadFiles(1, ()),
        f.ReadFiles(1, (("a", b""),) * (limits.SMALL_FILES_PER_REQUEST + 1)),
        f.FileMissing(1, limits.SMALL_FILES_PER_REQUEST, "x"),
        f.PutFile(1, "a", limits.SIZE_CAP + 1, 0, False, bytes(32)),
        f.PutFile(1, "a", 1, 2**63 - 1, False, bytes(31)),
        f.PutEnd(2**32),
        f.Received(1, -1, 0),
    ],
)
def test_over_a_limit(wrong: object) -> None:
    """A value past its limit is refused; the samples are those at the limit."""
    with pytest.raises(ProtocolViolation):
        FILES.decode(FILES.encode(wrong))


def test_fields_of_later_versions() -> None:
    """A field that this version does not know is skipped."""
    fields = {**msgspec.to_builtins(common.Done(7)), "later": [1, 2]}
    assert FILES.decode(bytes([38]) + msgspec.msgpack.encode(fields)) == common.Done(7)
    assert evolve(f.Received(1, 2, 3), accepted=True) == f.Received(1, 2, 3)
