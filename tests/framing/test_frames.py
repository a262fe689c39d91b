"""Frames: sizes, deadlines, rates and back-pressure of one connection, whatever is said on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import MemoryNetwork, MemoryTransport
from tests.samples import TRACKER_SAMPLES
from twistedp2p import limits
from twistedp2p.errors import BadProof, ConnectionFull, NoCommonVersion, ProtocolViolation
from twistedp2p.framing.frames import FrameProtocol, LinkState
from twistedp2p.framing.network import host_of
from twistedp2p.identity.proof import Channel
from twistedp2p.messages.common import Goodbye, Ping, Pong, Refused
from twistedp2p.messages.tracker import Alive, Blobs, KeepAlive, SetDigest
from twistedp2p.tracker.wire import TRACKER

CHANNEL = Channel(bytes(32), b"dialler", b"acceptor")


class FixedNetwork(MemoryNetwork):
    """Every connection has the same channel."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock


class Listener(FrameProtocol):
    """Writes down what it is told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(FixedNetwork(clock), TRACKER, alpn="test/1", dialled=False)
        self.heard: list[object] = []
        self.lost: list[Failure] = []
        self.on_pong: Callable[[], object] = lambda: None

    def secured(self, channel: Channel) -> None:
        self.heard.append(channel)

    def message_received(self, message: object) -> None:
        if isinstance(message, Goodbye):
            self.close()
        if isinstance(message, Refused):
            raise BadProof("not you")
        self.heard.append(message)
        if isinstance(message, Pong):
            self.on_pong()

    def link_lost(self, reason: Failure) -> None:
        self.lost.append(reason)


class Framed(SynchronousTestCase):
    """Builds one protocol on a transport in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = Listener(self.clock)
        self.transport = MemoryTransport(IPv4Address("TCP", "10.0.0.1", 1), IPv4Address("TCP", "10.0.0.2", 2))
        self.other_end = MemoryTransport(self.transport.peer, self.transport.host)
        self.transport.other, self.other_end.other = self.other_end, self.transport
        self.transport.protocol = self.protocol
        self.transport.channel = lambda dialled: CHANNEL
        self.transport.alpn = "test/1"
        self.protocol.makeConnection(self.transport)

    def tearDown(self) -> None:
        if not self.transport.disconnected:
            self.transport.lose(ConnectionDone())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.protocol.lost), 1)

    def proven(self) -> None:
        """Bring the connection to its conversation."""
        self.protocol.handshakeCompleted()
        self.protocol.set_proven()

    def fill(self) -> None:
        """The transport has enough."""
        assert self.transport.producer is not None
        self.transport.producer.pauseProducing()

    def empty(self) -> None:
        """The transport wants more."""
        assert self.transport.producer is not None
        self.transport.producer.resumeProducing()

    def written(self) -> list[object]:
        """Return the messages written so far."""
        data, messages = b"".join(self.transport.outbox), []
        while data:
            length = int.from_bytes(data[:4], "big")
            messages.append(TRACKER.decode(data[4 : 4 + length]))
            data = data[4 + length :]
        return messages


def framed(*messages: object) -> bytes:
    """Return messages as they travel."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in map(TRACKER.encode, messages))


class ReadingTests(Framed):
    """What arrives is handed on whole, in order, and only when it may arrive."""

    def test_whole(self) -> None:
        """Every message that arrives in one read is handed on."""
        self.proven()
        samples = [m for m in TRACKER_SAMPLES if not isinstance(m, (Goodbye, Refused))]
        for message in samples:
            self.protocol.dataReceived(framed(message))
        self.assertEqual(self.protocol.heard, [CHANNEL, *samples])

    def test_byte_by_byte(self) -> None:
        """A message that arrives one byte at a time is handed on once, complete."""
        self.proven()
        for byte in framed(Alive(True)):
            self.protocol.dataReceived(bytes([byte]))
        self.assertEqual(self.protocol.heard, [CHANNEL, Alive(True)])

    def test_split_everywhere(self) -> None:
        """Two messages are handed on wherever the reads are cut."""
        self.proven()
        data = framed(Alive(True), Pong())
        for cut in range(len(data) + 1):
            self.protocol.heard.clear()
            self.protocol.dataReceived(data[:cut])
            self.protocol.dataReceived(data[cut:])
            self.assertEqual(self.protocol.heard, [Alive(True), Pong()])

    def test_long_frames_in_pieces(self) -> None:
        """Long and short messages are handed on in order, each at once when its last byte is here, however it comes."""
        self.proven()
        long = [Blobs(number, True, (bytes([number]) * limits.RECORD_BYTES,)) for number in range(3)]
        wanted = [long[0], Ping(), long[1], long[2], Pong()]
        data, ends = framed(*wanted), [len(framed(*wanted[: number + 1])) for number in range(len(wanted))]
        for size in (100, 1_000, 4_096, 16_384, 16_385, limits.RECORD_BYTES, 100_000, len(data)):
            self.protocol.heard.clear()
            for at in range(0, len(data), size):
                self.protocol.dataReceived(data[at : at + size])
                complete = sum(end <= at + size for end in ends)
                self.assertEqual(self.protocol.heard, wanted[:complete], (size, at))

    def test_long_frames_while_reading_is_held(self) -> None:
        """What comes in pieces while nothing may be read is handed on afterwards, in order, and nothing is lost."""
        self.proven()
        long = [Blobs(number, True, (bytes([number]) * limits.RECORD_BYTES,)) for number in range(3)]
        data = framed(*long)
        for size in (100, 1_000, 16_384, 40_000):
            self.protocol.heard.clear()
            held: Deferred[None] = Deferred()
            for at in range(0, len(data), size):
                if at == 2 * size:
                    self.protocol.hold_reading(held)
                self.protocol.dataReceived(data[at : at + size])
            self.assertEqual(self.protocol.heard, long[: 2 * size // len(framed(long[0]))])
            held.callback(None)
            self.assertEqual(self.protocol.heard, long)

    def test_secured_says_nothing(self) -> None:
        """Nothing is written by connecting and securing alone."""
        self.protocol.handshakeCompleted()
        self.assertEqual(self.protocol.heard, [CHANNEL])
        self.assertEqual(self.transport.sent, 0)

    def test_before_handshake(self) -> None:
        """A message before the handshake is complete drops the connection."""
        self.protocol.dataReceived(framed(Pong()))
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.protocol.heard, [])

    def test_no_common_version(self) -> None:
        """A connection on which no version was agreed is dropped without a byte."""
        self.transport.alpn = None
        self.protocol.handshakeCompleted()
        self.assertTrue(self.transport.aborted)
        self.assertEqual((self.transport.sent, self.protocol.heard), (0, []))

    def test_malformed(self) -> None:
        """A frame that is no message drops the connection, and nothing behind it is read."""
        self.proven()
        self.protocol.dataReceived(b"\0\0\0\1\x0d" + framed(Pong()))
        self.protocol.dataReceived(framed(Pong()))
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.protocol.heard, [CHANNEL])

    def test_bad_proof(self) -> None:
        """A bad proof drops the connection silently."""
        self.protocol.handshakeCompleted()
        self.protocol.dataReceived(framed(Refused("x", "y"), Pong()))
        self.assertTrue(self.transport.aborted)
        self.assertEqual((self.transport.sent, self.protocol.heard), (0, [CHANNEL]))

    def test_unknown_types(self) -> None:
        """An unknown notice is skipped in the conversation; unknown types else drop the connection."""
        self.proven()
        self.protocol.dataReceived(b"\0\0\0\2\xc8\x80" + framed(Pong()))
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong()])
        self.protocol.dataReceived(b"\0\0\0\2\x64\x80")
        self.assertTrue(self.transport.aborted)

    def test_unknown_notice_of_a_stranger(self) -> None:
        """Before the proof, even an unknown notice drops the connection."""
        self.protocol.handshakeCompleted()
        self.protocol.dataReceived(b"\0\0\0\2\xc8\x80")
        self.assertTrue(self.transport.aborted)

    def test_after_close(self) -> None:
        """What follows in the same read as the message that closed the connection is not handed on."""
        self.proven()
        self.protocol.dataReceived(framed(Goodbye(), Pong()))
        self.protocol.dataReceived(framed(Pong()))
        self.assertEqual(self.protocol.heard, [CHANNEL, Goodbye()])

    def test_rubbish_after_close(self) -> None:
        """Whatever follows the message that closed the connection, the last words still leave."""
        self.proven()
        data = framed(Goodbye()) + b"\xff" * 100
        for cut in (len(data), 4):
            self.protocol.dataReceived(data[:cut])
            self.protocol.dataReceived(data[cut:])
            self.assertFalse(self.transport.aborted)
            self.assertIs(self.protocol.link_state, LinkState.CLOSING)
            self.protocol.link_state = LinkState.PROVEN

    def test_hold_reading(self) -> None:
        """While something is waited for nothing more is handed on; afterwards the rest is, in order, once."""
        self.proven()
        waits: list[Deferred[None]] = [Deferred(), Deferred()]

        def hold() -> None:
            for wait in waits:
                self.protocol.hold_reading(wait)

        self.protocol.on_pong = hold
        self.protocol.dataReceived(framed(Pong(), Alive(True)) + framed(Alive(False))[:5])
        self.protocol.dataReceived(framed(Alive(False))[5:])
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong()])
        self.assertTrue(self.transport.paused)
        waits[0].callback(None)
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong()])
        waits[1].callback(None)
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong(), Alive(True), Alive(False)])
        self.assertFalse(self.transport.paused)

    def test_hold_reading_for_nothing(self) -> None:
        """What was waited for may be done already: every message is handed on once all the same."""
        self.proven()
        self.protocol.on_pong = lambda: self.protocol.hold_reading(succeed(None))
        self.protocol.dataReceived(framed(Pong(), Alive(True), Pong(), Alive(False)))
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong(), Alive(True), Pong(), Alive(False)])

    def test_held_when_lost(self) -> None:
        """A wait that ends after the connection is harmless."""
        self.proven()
        wait: Deferred[None] = Deferred()
        self.protocol.on_pong = lambda: self.protocol.hold_reading(wait)
        self.protocol.dataReceived(framed(Pong(), Alive(True)))
        self.protocol.abort("for the test")
        wait.callback(None)
        self.assertEqual(self.protocol.heard, [CHANNEL, Pong()])

    def test_bug(self) -> None:
        """An exception that is none of the other side's doing is not hidden."""
        self.proven()
        self.protocol.message_received = lambda message: 1 / 0  # type: ignore[assignment,method-assign]
        self.assertRaises(ZeroDivisionError, self.protocol.dataReceived, framed(Pong()))


class SizeTests(Framed):
    """Frames are short before the proof and bounded after it."""

    def test_stranger(self) -> None:
        """A stranger's frame may announce PROOF_FRAME_BYTES and not one more."""
        self.protocol.handshakeCompleted()
        self.protocol.dataReceived(limits.PROOF_FRAME_BYTES.to_bytes(4, "big"))
        self.assertFalse(self.transport.aborted)
        self.protocol.dataReceived(bytes(limits.PROOF_FRAME_BYTES))
        self.assertTrue(self.transport.aborted)  # as it is no message, but it was read

    def test_stranger_over(self) -> None:
        """One byte more than a stranger may announce drops the connection at the announcement."""
        self.protocol.handshakeCompleted()
        self.protocol.dataReceived((limits.PROOF_FRAME_BYTES + 1).to_bytes(4, "big"))
        self.assertTrue(self.transport.aborted)

    def test_member(self) -> None:
        """A member's frame may announce FRAME_BYTES and not one more."""
        self.proven()
        self.protocol.dataReceived(limits.FRAME_BYTES.to_bytes(4, "big"))
        self.assertFalse(self.transport.aborted)

    def test_member_over(self) -> None:
        """One byte more than a member may announce drops the connection, and nothing is buffered after."""
        self.proven()
        self.protocol.dataReceived((limits.FRAME_BYTES + 1).to_bytes(4, "big"))
        self.assertTrue(self.transport.aborted)
        for _ in range(100):
            self.protocol.dataReceived(bytes(65536))
        self.assertLess(len(self.protocol._unprocessed), 8)


class TimeTests(Framed):
    """Nobody holds a connection for nothing."""

    def test_deadline(self) -> None:
        """Whoever has not proved itself by the deadline is dropped, however busy it is."""
        self.protocol.handshakeCompleted()
        data = (1000).to_bytes(4, "big")
        for second in range(int(limits.HANDSHAKE)):
            self.assertFalse(self.transport.aborted)
            self.protocol.dataReceived(data[second : second + 1] or b"x")
            self.clock.advance(1)
        self.assertTrue(self.transport.aborted)

    def test_proven_in_time(self) -> None:
        """A connection that was proven stays, silent as it may be."""
        self.proven()
        self.clock.pump([1.0] * 1000)
        self.assertFalse(self.transport.aborted)

    def test_slow_frame(self) -> None:
        """A frame that arrives below the lowest rate is cut off, at the latest after two windows."""
        self.proven()
        self.protocol.dataReceived((60_000).to_bytes(4, "big"))
        for _ in range(60):
            if not self.transport.aborted:
                self.protocol.dataReceived(bytes(int(limits.LOWEST_RATE) - 1))
                self.clock.advance(1)
        self.assertTrue(self.transport.aborted)

    def test_lowest_rate(self) -> None:
        """A frame that arrives at the lowest rate is let in."""
        self.proven()
        self.protocol.dataReceived((60_000).to_bytes(4, "big"))
        for _ in range(50):
            self.protocol.dataReceived(bytes(limits.LOWEST_RATE))
            self.clock.advance(1)
        self.assertFalse(self.transport.aborted)

    def test_many_short_frames(self) -> None:
        """A member that says little at a time, each message in two reads, is not taken for a slow one."""
        self.proven()
        data = framed(Pong())
        for _ in range(200):
            self.protocol.dataReceived(data[:3])
            self.clock.advance(1)
            self.protocol.dataReceived(data[3:])
        self.assertFalse(self.transport.aborted)

    def test_paused_by_us(self) -> None:
        """A frame that waits because this side does not read is not blamed on the other side."""
        self.proven()
        self.protocol.dataReceived((60_000).to_bytes(4, "big") + b"x")
        self.protocol.pauseProducing()
        self.clock.pump([1.0] * 300)
        self.assertFalse(self.transport.aborted)


class WritingTests(Framed):
    """Output leaves at the pace of the reader, and a reader that takes nothing is dropped."""

    def test_message(self) -> None:
        """A message is written at once."""
        self.proven()
        self.protocol.send_message(Pong())
        self.assertEqual(self.written(), [Pong()])

    def test_refusal(self) -> None:
        """A refusal is written, the connection closed after it, and nothing else is said or heard."""
        self.proven()
        self.protocol.refuse(ConnectionFull("Try again later."))
        self.protocol.send_message(Pong())
        self.protocol.dataReceived(framed(Pong()))
        self.assertEqual(self.written(), [Refused("full", "Try again later.")])
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)
        self.assertEqual(self.protocol.heard, [CHANNEL])

    def test_long_refusal(self) -> None:
        """The text of a refusal is cut to what the message takes."""
        self.proven()
        self.protocol.refuse(ConnectionFull("x" * 1000))
        self.assertEqual(self.written(), [Refused("full", "x" * 400)])

    def test_refusal_lingers(self) -> None:
        """A refusal that is not read is given up after two seconds."""
        self.proven()
        self.protocol.refuse(ConnectionFull("Try again later."))
        self.clock.advance(limits.REFUSAL_LINGER - 0.1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.transport.aborted)

    def test_stream_pauses(self) -> None:
        """A stream is written until the transport has enough, and goes on when it has room."""
        self.proven()
        taken: list[int] = []

        def stream() -> Iterator[object]:
            for number in range(10):
                taken.append(number)
                yield Blobs(1, True, (bytes(limits.RECORD_BYTES),))

        done = self.protocol.send_stream(stream())
        written = len(taken)
        self.assertTrue(1 <= written < 10)
        self.assertNoResult(done)
        while self.transport.step():
            pass
        self.assertEqual(len(taken), 10)
        self.assertIsNone(self.successResultOf(done))

    def test_frames_are_written_together(self) -> None:
        """The frames of a stream leave in writes of FRAMES_BYTES, not one by one, and not all at once."""
        self.proven()
        self.transport.high_water = 1024 * 1024
        blob = Blobs(1, True, (bytes(limits.FRAMES_BYTES // 21),))
        for count, writes in ((1, 1), (20, 1), (21, 1), (22, 2), (42, 2), (43, 3)):
            self.transport.outbox.clear()
            self.successResultOf(self.protocol.send_stream(iter([blob] * count)))
            self.assertEqual(len(self.transport.outbox), writes, count)
            self.assertEqual(self.written(), [blob] * count)

    def test_stream_that_closes(self) -> None:
        """A stream whose messages close the connection ends with it, and nothing of it is written afterwards."""
        self.proven()

        def stream() -> Iterator[object]:
            yield Ping()
            self.protocol.abort("for the test")
            yield Pong()

        done = self.protocol.send_stream(stream())
        self.failureResultOf(done, ConnectionDone)
        self.assertEqual(self.written(), [])

    def test_streams_take_turns(self) -> None:
        """A second stream begins when the first has ended; single messages do not wait."""
        self.proven()
        self.fill()
        first = self.protocol.send_stream(iter([Alive(True), Alive(False)]))
        second = self.protocol.send_stream(iter([Ping()]))
        self.protocol.send_message(Pong())
        self.assertEqual(self.written(), [Pong()])
        self.empty()
        self.assertEqual(self.written(), [Pong(), Alive(True), Alive(False), Ping()])
        self.successResultOf(first)
        self.successResultOf(second)

    def test_stream_begun_by_a_stream(self) -> None:
        """What is sent when a stream ends may itself be a stream."""
        self.proven()
        outer: Deferred[None] = self.protocol.send_stream(iter([Ping()]))
        inner = outer.addCallback(lambda _: self.protocol.send_stream(iter([Pong()])))
        self.successResultOf(inner)
        self.assertEqual(self.written(), [Ping(), Pong()])

    def test_streams_are_dropped(self) -> None:
        """Every waiting stream's Deferred fails when the connection is lost or aborted."""
        self.proven()
        self.fill()
        waiting = [self.protocol.send_stream(iter([Ping()])) for _ in range(3)]
        self.protocol.abort("for the test")
        late = self.protocol.send_stream(iter([Ping()]))
        for done in [*waiting, late]:
            self.failureResultOf(done, ConnectionDone)

    def test_too_many_streams(self) -> None:
        """As many streams may wait as there may be requests in flight, and not one more."""
        self.proven()
        self.fill()
        waiting = [self.protocol.send_stream(iter([Ping()])) for _ in range(limits.REQUESTS_IN_FLIGHT)]
        with self.assertRaises(ProtocolViolation):
            self.protocol.send_stream(iter([Ping()]))
        self.empty()
        for done in waiting:
            self.successResultOf(done)

    def test_never_reading(self) -> None:
        """Whoever does not read for a minute is dropped."""
        self.proven()
        self.fill()
        self.clock.advance(limits.UNREAD_SECONDS - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(2)
        self.assertTrue(self.transport.aborted)

    def test_slow_reading(self) -> None:
        """Whoever reads now and then stays."""
        self.proven()
        for _ in range(5):
            self.fill()
            self.clock.advance(limits.UNREAD_SECONDS - 1)
            self.empty()
        self.assertFalse(self.transport.aborted)

    def test_reading_slowly_all_the_time(self) -> None:
        """Whoever takes minutes for what waits stays, as long as it reads at the rate that frames must come at."""
        self.proven()
        transport = cast(Any, self.transport)
        transport.waiting = 10 * 1024 * 1024
        self.fill()
        least = int(limits.LOWEST_RATE * limits.UNREAD_SECONDS)
        for _ in range(100):
            transport.waiting -= least
            self.clock.advance(limits.UNREAD_SECONDS)
            self.assertFalse(self.transport.aborted)
        transport.waiting -= least - 1
        self.clock.advance(limits.UNREAD_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_what_is_added_meanwhile(self) -> None:
        """Messages that go to a full transport are not taken for what its reader leaves, nor for what it takes."""
        self.proven()
        transport = cast(Any, self.transport)
        transport.waiting = 1024 * 1024
        self.fill()
        least = int(limits.LOWEST_RATE * limits.UNREAD_SECONDS)
        for taken in (least, least - 1):
            self.assertFalse(self.transport.aborted)
            before = self.transport.sent
            for _ in range(100):
                self.protocol.send_message(KeepAlive(SetDigest(), SetDigest()))
            transport.waiting += self.transport.sent - before - taken
            self.clock.advance(limits.UNREAD_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_signs_of_life(self) -> None:
        """Every byte is a sign of life, also one within a frame that takes long."""
        self.proven()
        frame = framed(Alive(True))
        for byte in frame:
            self.clock.advance(0.5)
            self.protocol.dataReceived(bytes([byte]))
            self.assertEqual(self.protocol.heard_at, self.clock.seconds())
        self.assertEqual(self.protocol.heard, [CHANNEL, Alive(True)])

    def test_unread_output(self) -> None:
        """Messages that pile up for a reader beyond the limit drop it; up to the limit they do not."""
        self.proven()
        self.fill()
        size = len(framed(KeepAlive(SetDigest(), SetDigest())))
        for _ in range(limits.UNREAD_OUTPUT_BYTES // size):
            self.protocol.send_message(KeepAlive(SetDigest(), SetDigest()))
        self.assertFalse(self.transport.aborted)
        self.protocol.send_message(KeepAlive(SetDigest(), SetDigest()))
        self.assertTrue(self.transport.aborted)

    def test_states(self) -> None:
        """A connection goes through its states in order, and ends closed."""
        seen = [self.protocol.link_state]
        self.protocol.handshakeCompleted()
        seen.append(self.protocol.link_state)
        self.protocol.set_proven()
        seen.append(self.protocol.link_state)
        self.protocol.close()
        seen.append(self.protocol.link_state)
        self.transport.lose(ConnectionDone())
        seen.append(self.protocol.link_state)
        self.assertEqual(seen, list(LinkState))


class AddressTests(Framed):
    """The address that the other end is seen at."""

    def test_ipv4(self) -> None:
        """An IPv4 caller is seen as it is, also through a dual-stack socket."""
        self.assertEqual(host_of(self.transport), "10.0.0.2")
        self.transport.peer = IPv4Address("TCP", "::ffff:192.0.2.7", 2)
        self.assertEqual(host_of(self.transport), "192.0.2.7")
        self.assertEqual(host_of(None), "")

    def test_no_common_version_is_a_sentence(self) -> None:
        """The error for a missing version says what to do."""
        self.transport.alpn = None
        with self.assertRaisesRegex(NoCommonVersion, "does not speak"):
            self.protocol.network.channel(self.transport, alpn="test/1", dialled=True)
