"""The conversation between two peers: who is answered, what is refused, and what ends the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import Hub, MemoryTransport
from tests.samples import PEER_SAMPLES
from tests.transfer.nodes import KEYS, OTHER_KEYS, MemorySource, device, hashed, protocol
from tests.transfer.test_chunking import MIB, stream
from twistedp2p import limits
from twistedp2p.errors import BadProof, CorruptContent, NotHeld, PeerTimeout, Refusal, Unreachable, WrongPeer
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import PEER_ALPN
from twistedp2p.identity.proof import Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Cancel, Data, Done, Failed, Goodbye, Ping, Pong, Refused
from twistedp2p.messages.peer import GetContents, GetManifest, GetRange, Missing, PeerHello
from twistedp2p.transfer.protocol import PeerProtocol
from twistedp2p.transfer.wire import PEER

ME, YOU = 1, 2
HASH = bytes(32)


class Raw(Protocol):
    """The other side, as anybody could write it: it sends what the test says, and keeps what it hears."""

    transport: MemoryTransport

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep bytes."""
        self.received += data

    def send(self, *messages: object) -> None:
        """Send messages, framed."""
        self.transport.write(framed(*messages))

    def hello(self, keys: ShareKeys = KEYS, role: Role = Role.DIAL_PEER, dialled: bool = True) -> PeerHello:
        """Return a hello with a proof for this connection."""
        return PeerHello(prove(keys, role, self.transport.channel(dialled), bytes(16)), "raw", (1,))

    def heard(self) -> list[Any]:
        """Return the messages that arrived, and forget them."""
        messages = []
        while self.received:
            length = int.from_bytes(self.received[:4], "big")
            messages.append(PEER.decode(self.received[4 : 4 + length]))
            self.received = self.received[4 + length :]
        return messages


class _Only(Factory):
    noisy = False

    def __init__(self, made: Any) -> None:
        self._made = made

    def buildProtocol(self, addr: object) -> Any:
        return self._made


def framed(*messages: object) -> bytes:
    """Return messages as they travel."""
    frames = [PEER.encode(message) for message in messages]
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


class Case(SynchronousTestCase):
    """One real protocol, `me`, and something at the other end of its connection."""

    def setUp(self) -> None:
        self.hub = Hub()
        self.source = MemorySource()
        self.opened: list[PeerProtocol] = []
        self.lost: list[Failure] = []

    def tearDown(self) -> None:
        for link in list(self.hub.links):
            link.abortConnection()
        self.hub.pump()
        self.assertEqual(self.hub.clock.getDelayedCalls(), [])

    def make(self, expected: bytes | None, keys: ShareKeys = KEYS) -> PeerProtocol:
        """Return node ME's protocol."""
        return protocol(
            self.hub,
            ME,
            self.source,
            expected=expected,
            keys=keys,
            opened=self.opened.append,
            lost=lambda protocol, reason: self.lost.append(reason),
        )

    def called(self) -> tuple[PeerProtocol, Raw]:
        """Let something dial node ME; nothing is said yet."""
        me, raw = self.make(None), Raw()
        self.hub.listeners["10.0.0.1", 17] = (_Only(me), PEER_ALPN, device(ME))
        self.hub.connect(self.hub.network(device(YOU)), _Only(raw), ("10.0.0.1", 17), PEER_ALPN)
        return me, raw

    def dialled(self, expected: bytes | None = None) -> tuple[PeerProtocol, Raw]:
        """Let node ME dial something at node YOU."""
        me, raw = self.make(expected or device(YOU).node_id), Raw()
        self.hub.listeners["10.0.0.2", 17] = (_Only(raw), PEER_ALPN, device(YOU))
        self.hub.connect(self.hub.network(device(ME)), _Only(me), ("10.0.0.2", 17), PEER_ALPN)
        return me, raw

    def talking(self) -> tuple[PeerProtocol, Raw]:
        """Bring a connection to its conversation."""
        me, raw = self.called()
        raw.send(raw.hello())
        self.hub.pump()
        (hello,) = raw.heard()
        self.assertEqual((type(hello), len(self.opened)), (PeerHello, 1))
        return me, raw

    def assert_dropped(self, raw: Raw) -> None:
        """The connection was aborted by node ME."""
        self.hub.pump()
        assert raw.transport.other.aborted
        self.assertTrue(raw.transport.disconnected)
        self.assertEqual(len(self.lost), 1)


class HandshakeTests(Case):
    """Until both have proved themselves."""

    def test_both_prove_themselves(self) -> None:
        """The dialler speaks first, the acceptor answers, and both know with whom they talk."""
        me, raw = self.called()
        self.hub.pump()
        self.assertEqual(raw.received, b"")
        raw.send(raw.hello())
        self.hub.pump()
        self.assertEqual((me.node, me.name, me.versions), (device(YOU).node_id, "raw", (1,)))
        (hello,) = raw.heard()
        self.assertEqual((hello.name, hello.versions), ("peer 1", (1,)))
        self.assertEqual(self.opened, [me])

    def test_the_dialler(self) -> None:
        """A dialler proves itself at once, and talks when the other side has."""
        me, raw = self.dialled()
        self.hub.pump()
        self.assertEqual([type(message) for message in raw.heard()], [PeerHello])
        self.assertEqual(self.opened, [])
        raw.send(raw.hello(role=Role.ACCEPT_PEER, dialled=False))
        self.hub.pump()
        self.assertEqual((self.opened, me.node), ([me], device(YOU).node_id))

    def test_strangers_hear_nothing(self) -> None:
        """Whoever has no valid proof is cut off without a byte."""
        for label, hello in (
            ("another share", lambda raw: raw.hello(OTHER_KEYS)),
            ("as acceptor", lambda raw: raw.hello(role=Role.ACCEPT_PEER)),
            ("as to a tracker", lambda raw: raw.hello(role=Role.DIAL_TRACKER)),
            ("of another connection", lambda raw: self.called()[1].hello()),
        ):
            self.setUp()
            _, raw = self.called()
            raw.send(hello(raw))
            self.hub.pump()
            self.assertEqual((raw.received, self.opened, raw.transport.disconnected), (b"", [], True), label)

    def test_anything_before_the_proof(self) -> None:
        """Every other message before the proof cuts off, without a byte, on either side."""
        for begin in (self.called, self.dialled):
            for message in PEER_SAMPLES:
                if isinstance(message, PeerHello) or (begin == self.dialled and isinstance(message, Refused)):
                    continue
                self.setUp()
                _, raw = begin()
                sent = raw.transport.other.sent
                raw.send(message)
                self.assert_dropped(raw)
                self.assertEqual((raw.transport.other.sent, self.opened), (sent, []))

    def test_a_reflected_hello(self) -> None:
        """A dialler does not take its own hello for an answer."""
        _, raw = self.dialled()
        self.hub.pump()
        raw.transport.write(raw.received)
        self.assert_dropped(raw)

    def test_an_acceptor_of_another_share(self) -> None:
        """A dialler drops whoever can not answer its proof."""
        _, raw = self.dialled()
        raw.send(raw.hello(OTHER_KEYS, Role.ACCEPT_PEER, dialled=False))
        self.assert_dropped(raw)

    def test_another_node_than_was_dialled(self) -> None:
        """A dialler says nothing to a node that it did not want."""
        _, raw = self.dialled(expected=device(7).node_id)
        self.assert_dropped(raw)
        self.assertEqual(raw.transport.other.sent, 0)
        self.assertIsInstance(self.lost[0].value, WrongPeer)

    def test_refused(self) -> None:
        """A refusal reaches who dialled, as the error that it stands for."""
        _, raw = self.dialled()
        raw.send(Refused("full", "Too many."))
        raw.transport.loseConnection()
        self.hub.pump()
        self.assertEqual(self.lost[0].value.code, "full")  # type: ignore[union-attr]

    def test_in_time(self) -> None:
        """Whoever says nothing is dropped after the deadline, even if it dribbles."""
        _, raw = self.called()
        hello = framed(raw.hello())
        for at in range(9):
            raw.transport.write(hello[at : at + 1])
            self.hub.pump()
            self.hub.clock.advance(1.0)
        self.assertEqual(self.lost, [])
        self.hub.clock.advance(1.0)
        self.assert_dropped(raw)

    def test_another_protocol(self) -> None:
        """A connection that did not agree on this conversation is dropped."""
        me, raw = self.make(None), Raw()
        self.hub.listeners["10.0.0.1", 17] = (_Only(me), PEER_ALPN, device(ME))
        self.hub.connect(self.hub.network(device(YOU)), _Only(raw), ("10.0.0.1", 17), "another/1")
        self.assert_dropped(raw)
        self.assertEqual(raw.received, b"")


class AnsweringTests(Case):
    """What node ME answers."""

    def test_contents(self) -> None:
        """Each content comes as Data or Missing, in the order asked for, then the end."""
        held = [self.source.add(str(number).encode()).content_id for number in range(3)]
        _, raw = self.talking()
        raw.send(GetContents(5, (held[2], HASH, held[0], held[2])))
        self.hub.pump()
        self.assertEqual(raw.heard(), [Data(5, b"2"), Missing(5, HASH), Data(5, b"0"), Data(5, b"2"), Done(5)])

    def test_an_empty_content(self) -> None:
        """A content without bytes is a Data without bytes."""
        names = self.source.add(b"")
        _, raw = self.talking()
        raw.send(GetContents(0, (names.content_id,)))
        self.hub.pump()
        self.assertEqual(raw.heard(), [Data(0, b""), Done(0)])

    def test_a_content_that_is_not_small_any_more(self) -> None:
        """What does not fit a frame is not sent as a small content."""
        names = self.source.add(bytes(limits.SMALL_BYTES + 1))
        most = self.source.add(bytes(limits.SMALL_BYTES))
        _, raw = self.talking()
        raw.send(GetContents(0, (names.content_id, most.content_id)))
        self.hub.pump()
        missing, data, _ = raw.heard()
        self.assertEqual((missing, len(data.payload)), (Missing(0, names.content_id), limits.SMALL_BYTES))

    def test_a_manifest_and_a_range(self) -> None:
        """Large replies come in frames of at most 64 KiB, in order."""
        content = stream(3 * MIB)
        names = self.source.add(content)
        assert names.manifest is not None
        _, raw = self.talking()
        raw.send(GetManifest(1, names.manifest.manifest_id), GetRange(2, names.content_id, 1000, 2 * MIB + 1))
        self.hub.pump()
        heard = raw.heard()
        parts = {
            number: b"".join(m.payload for m in heard if m.request == number and isinstance(m, Data))
            for number in (1, 2)
        }
        self.assertEqual(parts[1], names.manifest.encode())
        self.assertTrue(parts[2] == content[1000 : 1001 + 2 * MIB])
        self.assertEqual([m for m in heard if isinstance(m, Done)], [Done(1), Done(2)])
        self.assertEqual(self.source.opened, 0)

    def test_not_held(self) -> None:
        """What is not held, or is shorter than asked for, or is gone meanwhile, is an ordinary answer."""
        names = self.source.add(bytes(2 * MIB))
        _, raw = self.talking()
        raw.send(
            GetManifest(1, HASH),
            GetRange(2, HASH, 0, 1),
            GetRange(3, names.content_id, 2 * MIB - 10, 11),
            GetRange(4, names.content_id, 2 * MIB - 1, 1),
        )
        self.hub.pump()
        heard = raw.heard()
        self.assertEqual(
            [(m.request, m.code) for m in heard if isinstance(m, Failed)], [(n, "not-held") for n in (1, 2, 3)]
        )
        self.assertEqual([m for m in heard if isinstance(m, Data | Done)], [Data(4, b"\0"), Done(4)])
        self.source.hold_back = True
        raw.send(GetRange(5, names.content_id, 0, 2 * MIB))
        self.hub.pump()
        del self.source.contents[names.content_id]
        self.source.let_go()
        self.hub.pump()
        self.assertEqual([(m.request, m.code) for m in raw.heard() if isinstance(m, Failed)], [(5, "not-held")])
        self.assertEqual(self.source.opened, 0)

    def test_a_bug_here(self) -> None:
        """An unexpected error is logged here, and the other side hears no more than that there was one."""
        _, raw = self.talking()
        self.source.manifest = lambda manifest: fail(ZeroDivisionError("secret"))  # type: ignore[method-assign]
        raw.send(GetManifest(1, HASH))
        self.hub.pump()
        (failed,) = raw.heard()
        self.assertEqual(failed.code, "internal")
        self.assertNotIn("secret", failed.text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_cancel(self) -> None:
        """A cancelled request ends with Failed, nothing more of it is sent, and the content is closed."""
        names = self.source.add(bytes(8 * MIB))
        _, raw = self.talking()
        raw.transport.other.stalled = True
        raw.send(GetRange(1, names.content_id, 0, 8 * MIB))
        self.hub.pump()
        self.assertEqual(self.source.opened, 1)
        raw.send(Cancel(1), Cancel(1), Cancel(99))
        self.hub.pump()
        self.assertEqual(self.source.opened, 0)
        raw.transport.other.stalled = False
        self.hub.pump()
        heard = raw.heard()
        self.assertLess(sum(isinstance(message, Data) for message in heard), 4)
        self.assertEqual(heard[-1], Failed(1, "cancelled", ""))

    def test_the_number_is_free_after_a_cancel(self) -> None:
        """A cancelled number can be used again at once, and no bytes of the old reply get mixed in."""
        names, other = self.source.add(bytes(8 * MIB)), self.source.add(b"x" * 100_000)
        _, raw = self.talking()
        raw.transport.other.stalled = True
        raw.send(GetRange(1, names.content_id, 0, 8 * MIB), Cancel(1), GetRange(1, other.content_id, 0, 100_000))
        self.hub.pump()
        raw.transport.other.stalled = False
        self.hub.pump()
        heard = raw.heard()
        after = heard[heard.index(Failed(1, "cancelled", "")) + 1 :]
        self.assertEqual(b"".join(m.payload for m in after[:-1]), b"x" * 100_000)

    def test_a_reader_that_stops_reading(self) -> None:
        """However much is asked for, little is read ahead and little waits to be sent; then the reader is dropped."""
        names = self.source.add(bytes(16 * MIB))
        _, raw = self.talking()
        raw.transport.other.stalled = True
        for number in range(limits.REQUESTS_IN_FLIGHT):
            raw.send(GetRange(number, names.content_id, 0, 16 * MIB))
        self.hub.pump()
        self.assertLess(sum(map(len, raw.transport.other.outbox)), 2 * limits.UNREAD_OUTPUT_BYTES)
        self.assertLessEqual(len(self.source.asked), 2 * limits.ANSWERS_AT_ONCE)
        self.hub.pass_time(limits.UNREAD_SECONDS + 1.0)
        self.assert_dropped(raw)
        self.assertEqual(self.source.opened, 0)

    def test_too_many_requests(self) -> None:
        """The most requests at once are answered; one more cuts off."""
        names = self.source.add(b"hello")
        self.source.hold_back = True
        for count, dropped in ((limits.REQUESTS_IN_FLIGHT, False), (limits.REQUESTS_IN_FLIGHT + 1, True)):
            self.opened.clear()
            _, raw = self.talking()
            raw.send(*(GetContents(number, (names.content_id,)) for number in range(count)))
            self.hub.pump()
            self.assertEqual(raw.transport.disconnected, dropped)

    def test_the_urgent_first(self) -> None:
        """Of what waits for its turn, the request with the smallest number of priority is answered first."""
        names = self.source.add(b"hello")
        self.source.hold_back = True
        _, raw = self.talking()
        count = limits.ANSWERS_AT_ONCE + 3
        for number in range(count):
            raw.send(GetContents(number, (names.content_id,), priority=100 - number))
        self.hub.pump()
        for _ in range(count):
            self.source.let_go()
            self.hub.pump()
        ends = [message.request for message in raw.heard() if isinstance(message, Done)]
        self.assertEqual(ends, [*range(limits.ANSWERS_AT_ONCE), count - 1, count - 2, count - 3])

    def test_violations(self) -> None:
        """Replies to nothing, a second hello, and a number in use cut off."""
        self.source.hold_back = True
        held = self.source.add(b"hello").content_id
        for messages in (
            [Data(1, b"x")],
            [Missing(1, HASH)],
            [Done(1)],
            [Failed(1, "not-held", "")],
            [GetContents(1, (held,)), GetContents(1, (held,))],
            ["hello"],
        ):
            self.opened.clear()
            self.lost.clear()
            _, raw = self.talking()
            raw.send(*(raw.hello() if message == "hello" else message for message in messages))
            self.assert_dropped(raw)

    def test_ping_goodbye_and_refused(self) -> None:
        """A ping is answered, a pong is not; a goodbye and a refusal end the connection in good order."""
        _, raw = self.talking()
        raw.send(Pong(), Ping())
        self.hub.pump()
        self.assertEqual(raw.heard(), [Pong()])
        raw.send(Goodbye())
        self.hub.pump()
        self.assertTrue(raw.transport.disconnected and not raw.transport.other.aborted)
        self.assertIsInstance(self.lost[0].value, Unreachable)
        self.opened.clear()
        self.lost.clear()
        _, raw = self.talking()
        raw.send(Refused("full", "Too many."))
        self.hub.pump()
        self.assertEqual(self.lost[0].value.code, "full")  # type: ignore[union-attr]

    def test_however_the_bytes_are_cut(self) -> None:
        """Whole, byte by byte, or two messages in one read: the answers are the same."""
        held = self.source.add(b"hello").content_id
        answers = []
        for cut in (1, 7, 10_000):
            self.opened.clear()
            me, raw = self.talking()
            conversation = framed(Ping(), GetContents(1, (held, HASH)), GetManifest(2, HASH), Cancel(2), Ping())
            for at in range(0, len(conversation), cut):
                me.dataReceived(conversation[at : at + cut])
            self.hub.pump()
            answers.append(raw.heard())
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        self.assertEqual(len(answers[0]), 6)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=80), st.sampled_from(PEER_SAMPLES)), max_size=6))
    def test_junk(self, junk: list[object]) -> None:
        """Whatever arrives, the connection goes on or is dropped; nothing else happens."""
        self.setUp()
        _, raw = self.talking()
        for piece in junk:
            if isinstance(piece, bytes):
                raw.transport.write(len(piece).to_bytes(4, "big") + piece)
            else:
                raw.send(piece)
        self.hub.pump()
        self.assertEqual(self.flushLoggedErrors(), [])
        raw.transport.abortConnection()
        self.hub.pump()
        self.assertEqual((len(self.lost), self.hub.clock.getDelayedCalls()), (1, []))


class AskingTests(Case):
    """What node ME asks, and what it makes of the answers."""

    def ask(self, ask: Callable[[PeerProtocol], Deferred[Any]]) -> tuple[Deferred[Any], Raw]:
        """Ask something on a new connection."""
        self.opened.clear()
        self.lost.clear()
        me, raw = self.talking()
        result = ask(me)
        self.hub.pump()
        return result, raw

    def answer(self, raw: Raw, *messages: object) -> None:
        """Answer."""
        raw.send(*messages)
        self.hub.pump()

    def test_contents(self) -> None:
        """Right contents reach the sink; wrong and missing ones are named."""
        a, b, c = (hashed(data).content_id for data in (b"a", b"b", b"c"))
        got: list[tuple[bytes, bytes]] = []
        result, raw = self.ask(lambda me: me.fetch_contents([a, b, c], lambda *each: got.append(each), priority=-5))
        self.assertEqual(raw.heard(), [GetContents(0, (a, b, c), 0)])
        self.answer(raw, Data(0, b"a"), Data(0, b"wrong"), Missing(0, c), Done(0))
        rest = self.successResultOf(result)
        self.assertEqual((got, rest.missing, rest.corrupt), ([(a, b"a")], (c,), (b,)))

    def test_contents_left_out(self) -> None:
        """Contents that did not come before the end are missing."""
        a, b = (hashed(data).content_id for data in (b"a", b"b"))
        result, raw = self.ask(lambda me: me.fetch_contents([a, b], lambda *each: None))
        self.answer(raw, Data(0, b"a"), Done(0))
        self.assertEqual(self.successResultOf(result).missing, (b,))

    def test_manifest(self) -> None:
        """A manifest is put together from its frames, and is the one asked for."""
        names = hashed(stream(MIB))
        assert names.manifest is not None
        encoded, manifest = names.manifest.encode(), names.manifest.manifest_id
        result, raw = self.ask(lambda me: me.fetch_manifest(manifest, most=len(encoded)))
        self.answer(raw, Data(0, encoded[:10]), Data(0, encoded[10:]), Done(0))
        self.assertEqual(self.successResultOf(result), encoded)
        result, raw = self.ask(lambda me: me.fetch_manifest(manifest))
        self.answer(raw, Data(0, encoded[:10]), Done(0))
        self.failureResultOf(result, CorruptContent)

    def test_range(self) -> None:
        """A range reaches the sink in order; one that ends too early fails."""
        got: list[tuple[int, bytes]] = []
        result, raw = self.ask(lambda me: me.fetch_range(HASH, 100, 5, lambda *each: got.append(each), priority=3))
        self.assertEqual(raw.heard(), [GetRange(0, HASH, 100, 5, 3)])
        self.answer(raw, Data(0, b"abc"), Data(0, b"de"), Done(0))
        self.successResultOf(result)
        self.assertEqual(got, [(100, b"abc"), (103, b"de")])
        result, raw = self.ask(lambda me: me.fetch_range(HASH, 100, 5, lambda *each: None))
        self.answer(raw, Data(0, b"abc"), Done(0))
        self.failureResultOf(result, CorruptContent)

    def test_replies_that_can_not_be(self) -> None:
        """More than was asked for, another order, and parts of the wrong kind cut off; the request fails."""
        a = hashed(b"a").content_id

        def contents(me: PeerProtocol) -> Deferred[Any]:
            return me.fetch_contents([a], lambda *each: None)

        def manifest(me: PeerProtocol) -> Deferred[Any]:
            return me.fetch_manifest(HASH, most=3)

        def piece(me: PeerProtocol) -> Deferred[Any]:
            return me.fetch_range(HASH, 0, 3, lambda *each: None)

        for ask, answer in (
            (contents, [Data(0, b"a"), Data(0, b"a")]),
            (contents, [Missing(0, HASH)]),
            (manifest, [Data(0, b"abcd")]),
            (manifest, [Data(0, b"")]),
            (manifest, [Missing(0, HASH)]),
            (piece, [Data(0, b"abc"), Data(0, b"d")]),
            (piece, [Data(0, b"")]),
            (piece, [Missing(0, HASH)]),
            (piece, [Data(1, b"abc")]),
        ):
            result, raw = self.ask(ask)
            raw.send(*answer)
            self.assert_dropped(raw)
            self.failureResultOf(result, Unreachable)

    def test_failures(self) -> None:
        """The code of the other side becomes an error that can be told from others."""
        for code, error in (("not-held", NotHeld), ("never heard of", Refusal), ("timeout", PeerTimeout)):
            result, raw = self.ask(lambda me: me.fetch_manifest(HASH))
            self.answer(raw, Failed(0, code, "why"))
            self.assertIn("why", str(self.failureResultOf(result, error).value))

    def test_cancel(self) -> None:
        """Cancelling tells the other side, and late parts are no offence."""
        result, raw = self.ask(lambda me: me.fetch_range(HASH, 0, 3, lambda *each: None))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.hub.pump()
        self.assertEqual(raw.heard()[-1], Cancel(0))
        self.answer(raw, Data(0, b"abc"), Failed(0, "cancelled", ""))
        self.assertEqual(self.lost, [])

    def test_no_answer(self) -> None:
        """If nothing is heard for too long, the request fails and the connection is given up."""
        result, raw = self.ask(lambda me: me.fetch_manifest(HASH))
        self.hub.pass_time(limits.REPLY + 0.5)
        self.failureResultOf(result, PeerTimeout)
        self.assert_dropped(raw)

    def test_lost(self) -> None:
        """When the connection goes, everything that was asked fails, and so does what is asked afterwards."""
        self.opened.clear()
        me, raw = self.talking()
        results = [me.fetch_manifest(HASH) for _ in range(limits.REQUESTS_IN_FLIGHT + 5)]
        self.hub.pump()
        raw.transport.abortConnection()
        self.hub.pump()
        for result in (*results, me.fetch_manifest(HASH)):
            self.failureResultOf(result, Unreachable)

    def test_drain(self) -> None:
        """A draining connection closes when neither side waits for an answer any more."""
        self.opened.clear()
        me, raw = self.talking()
        names = self.source.add(b"hello")
        self.source.hold_back = True
        result = me.fetch_manifest(HASH)
        raw.send(GetContents(0, (names.content_id,)))
        self.hub.pump()
        me.drain()
        self.answer(raw, Failed(0, "not-held", ""))
        self.failureResultOf(result, NotHeld)
        self.assertEqual(self.lost, [])
        self.source.let_go()
        self.hub.pump()
        self.assertEqual([type(m) for m in raw.heard()], [GetManifest, Data, Done])
        self.assertTrue(raw.transport.disconnected and not raw.transport.other.aborted)

    def test_counters(self) -> None:
        """Bytes of content are counted both ways."""
        self.opened.clear()
        me, raw = self.talking()
        raw.send(GetContents(0, (self.source.add(b"hello").content_id,)))
        me.fetch_range(HASH, 0, 3, lambda *each: None).addErrback(lambda failure: failure.trap(BadProof))
        self.answer(raw, Data(0, b"abc"), Done(0))
        self.assertEqual((me.bytes_in, me.bytes_out), (3, 5))
