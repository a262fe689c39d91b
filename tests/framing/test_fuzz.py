"""Whatever arrives, in whatever pieces: messages are handed on, or the connection ends; nothing else happens."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import MemoryTransport
from tests.framing.test_calls import Search, Service
from tests.framing.test_frames import CHANNEL, Listener, framed
from tests.samples import TRACKER_SAMPLES
from twistedp2p import limits
from twistedp2p.framing.calling import CallFactory, CallProtocol
from twistedp2p.framing.calls import CALLS, Answer, Ask
from twistedp2p.framing.frames import LinkState
from twistedp2p.messages.common import Cancel, Done, Failed, Goodbye, Refused
from twistedp2p.messages.tracker import Blobs

LONG = Blobs(1, True, (bytes(limits.RECORD_BYTES),))
MESSAGES = st.lists(
    st.sampled_from([*(m for m in TRACKER_SAMPLES if not isinstance(m, (Goodbye, Refused))), LONG]), max_size=8
)
CUTS = st.lists(st.integers(1, 70_000), min_size=1, max_size=40)
NUMBERS = st.integers(0, 3)
ARGUMENTS = st.one_of(st.binary(max_size=40), st.just(b"\x81\xa4word\xa4ring"), st.just(b"\x81\xa6length\x09"))
NAMES = st.one_of(st.sampled_from(["Search", "Text", "Length", "Later", "Nowhere"]), st.text(max_size=10))
CALL_MESSAGES = st.one_of(
    st.builds(Ask, NUMBERS, NAMES, ARGUMENTS),
    st.builds(Answer, NUMBERS, ARGUMENTS),
    st.builds(Done, NUMBERS),
    st.builds(Failed, NUMBERS, st.sampled_from(["internal", "unknown-request", "cancelled", "strange"]), st.just("")),
    st.builds(Cancel, NUMBERS),
)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes to pieces of these sizes, over and over."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(found) % len(sizes)]
        found.append(data[at : at + size])
        at += size
    return found


def written_in_place(protocol: Listener, data: bytes) -> None:
    """Give bytes to a protocol as its transport does, where it says."""
    while data:
        room = protocol.get_buffer()
        if room is None:
            # Records of TLS are short, and each may begin a frame.
            protocol.dataReceived(data[:16_384])
            data = data[16_384:]
        else:
            length = min(len(room), len(data))
            room[:length] = data[:length]
            protocol.buffer_updated(length)
            data = data[length:]


class FrameTests(SynchronousTestCase):
    """The frames that everything is built on."""

    def proven(self) -> Listener:
        """Return a protocol in its conversation."""
        protocol = Listener(Clock())
        transport = MemoryTransport(IPv4Address("TCP", "10.0.0.1", 1), IPv4Address("TCP", "10.0.0.2", 2))
        transport.other = MemoryTransport(transport.peer, transport.host)
        transport.other.other = transport
        transport.protocol = protocol
        transport.channel = lambda dialled: CHANNEL
        transport.alpn = "test/1"
        protocol.makeConnection(transport)
        protocol.handshakeCompleted()
        protocol.set_proven()
        return protocol

    @given(MESSAGES, CUTS, st.lists(st.integers(0, 60), max_size=4), st.integers(1, 5))
    def test_messages_in_pieces(self, messages: list[object], cuts: list[int], holds: list[int], lasts: int) -> None:
        """Whatever the pieces, and whenever reading is held meanwhile, the messages come whole and in order."""
        protocol = self.proven()
        held: dict[int, Deferred[None]] = {}
        cut = pieces(framed(*messages), cuts)
        for number, piece in enumerate(cut):
            if number in holds:
                held[number] = Deferred()
                protocol.hold_reading(held[number])
            protocol.dataReceived(piece)
            for begun in [begun for begun in held if begun + lasts <= number]:
                held.pop(begun).callback(None)
        for hold in held.values():
            hold.callback(None)
        self.assertEqual(protocol.heard, [CHANNEL, *messages])
        protocol.connectionLost(Failure(ConnectionDone()))

    @given(MESSAGES, CUTS, st.lists(st.integers(0, 60), max_size=2))
    def test_written_in_place(self, messages: list[object], cuts: list[int], holds: list[int]) -> None:
        """Pieces that are written where the frames are put together are taken as any others, and count as much."""
        one, other = self.proven(), self.proven()
        hold: Deferred[None] = Deferred()
        for number, piece in enumerate(pieces(framed(*messages), cuts)):
            one.dataReceived(piece)
            if number in holds:
                other.hold_reading(hold)
            written_in_place(other, piece)
            if number in holds:
                hold.callback(None)
                hold = Deferred()
            self.assertEqual((one._received, one._incomplete), (other._received, other._incomplete))
            self.assertEqual(one.heard, other.heard)
        self.assertEqual(other.heard, [CHANNEL, *messages])
        for protocol in (one, other):
            protocol.connectionLost(Failure(ConnectionDone()))

    @given(MESSAGES, st.binary(min_size=1, max_size=300), CUTS, st.booleans())
    def test_any_bytes(self, messages: list[object], data: bytes, cuts: list[int], in_place: bool) -> None:
        """After any messages any bytes may come: what was said before is heard, and no error escapes."""
        protocol = self.proven()
        for piece in pieces(framed(*messages) + data, cuts):
            if in_place:
                written_in_place(protocol, piece)
            else:
                protocol.dataReceived(piece)
        self.assertEqual(protocol.heard[: len(messages) + 1], [CHANNEL, *messages])
        self.assertIn(protocol.link_state, (LinkState.PROVEN, LinkState.CLOSED))
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(protocol.clock.getDelayedCalls(), [])


class CallTests(SynchronousTestCase):
    """The typed requests of other programs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = CallFactory(self.clock, Service().replies)

    def connected(self) -> tuple[CallProtocol, StringTransport]:
        """Return one side of a connection, and what it writes to."""
        protocol = self.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def survives(self, data: bytes, cuts: list[int]) -> None:
        """Assert that this is survived: nothing escapes, nothing is left running, and others are answered."""
        protocol, transport = self.connected()
        asked: list[Deferred[Any]] = [protocol.ask(Search("ring")), protocol.ask(Search("a"))]
        for piece in pieces(data, cuts):
            if not transport.disconnecting:
                protocol.dataReceived(piece)
        protocol.connectionLost(Failure(ConnectionDone()))
        for result in asked:
            result.addErrback(lambda _: None)
            self.successResultOf(result)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        other, answers = self.connected()
        other.dataReceived(_call(Ask(7, "Search", b"\x81\xa4word\xa4ring")))
        replies = []
        written = answers.value()
        while written:
            length = int.from_bytes(written[:4], "big")
            replies.append(CALLS.decode(written[4 : 4 + length]))
            written = written[4 + length :]
        self.assertEqual([type(reply) for reply in replies], [Answer, Done])
        other.connectionLost(Failure(ConnectionDone()))
        self.flushLoggedErrors(KeyError)

    @given(st.lists(CALL_MESSAGES, max_size=12), CUTS)
    def test_any_messages(self, messages: list[object], cuts: list[int]) -> None:
        """Whatever a program says in whatever order, the other side lives, and answers others."""
        self.survives(b"".join(map(_call, messages)), cuts)

    @given(st.lists(CALL_MESSAGES, max_size=3), st.binary(max_size=200), CUTS)
    def test_any_bytes(self, messages: list[object], data: bytes, cuts: list[int]) -> None:
        """Bytes that are no message end the connection that they come over, and nothing else."""
        self.survives(b"".join(map(_call, messages)) + data, cuts)

    @given(st.lists(st.binary(max_size=60), max_size=4), CUTS)
    def test_any_frames(self, frames: list[bytes], cuts: list[int]) -> None:
        """Frames with anything in them end the connection that they come over, and nothing else."""
        self.survives(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames), cuts)


def _call(message: object) -> bytes:
    """Return a message of a call conversation as it travels."""
    frame = CALLS.encode(message)
    return len(frame).to_bytes(4, "big") + frame
