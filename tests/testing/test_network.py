"""Connections in memory: what a protocol sees of them is what it would see of TLS over TCP."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectError, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IHandshakeListener, IListeningPort, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twistedp2p.errors import NoCommonVersion
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import Channel
from twistedp2p.testing.clock import SimClock
from twistedp2p.testing.links import HIGH_WATER_BYTES, WINDOW_BYTES, SimTransport
from twistedp2p.testing.network import Internet, SimNetwork, Traits

ALPN = "test/1"
HERE, THERE = "10.0.0.1", "10.0.0.2"


@implementer(IHandshakeListener)
class Talker(Int32StringReceiver):
    """Notes all that happens to it; answers strings with `answer` of them."""

    MAX_LENGTH = 10_000_000

    def __init__(self, side: Side, dialled: bool) -> None:
        self.side = side
        self.dialled = dialled
        self.events: list[object] = []
        self.got = bytearray()
        self.pieces = 0
        self.answering = False

    @property
    def wire(self) -> SimTransport:
        assert isinstance(self.transport, SimTransport)
        return self.transport

    def connectionMade(self) -> None:
        self.events.append("made")

    def handshakeCompleted(self) -> None:
        self.events.append("secured")

    def dataReceived(self, data: bytes) -> None:
        self.pieces += 1
        self.got += data
        super().dataReceived(data)

    def stringReceived(self, string: bytes) -> None:
        self.events.append(string)
        if self.answering:
            self.sendString(string.upper())

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.events.append(type(reason.value).__name__)


class Side(Factory):
    """Makes talkers and keeps them."""

    noisy = False

    def __init__(self, dialled: bool) -> None:
        self.dialled = dialled
        self.made: list[Talker] = []
        self.full = False

    def buildProtocol(self, addr: object) -> Talker | None:
        if self.full:
            return None
        self.made.append(Talker(self, self.dialled))
        return self.made[-1]


@implementer(IPushProducer)
class Tap:
    """Writes 1,000 bytes a call as long as it is asked to (pull), or notes how it is paused (push)."""

    def __init__(self, transport: SimTransport, calls: int = 0) -> None:
        self.transport = transport
        self.left = calls
        self.events: list[str] = []

    def resumeProducing(self) -> None:
        self.events.append("resume")
        if self.left:
            self.left -= 1
            self.transport.write(bytes(1000))
            if not self.left:
                self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def stopProducing(self) -> None:
        self.events.append("stop")


class NetworkCase(SynchronousTestCase):
    """Two hosts; the second listens."""

    def setUp(self) -> None:
        self.start(Random(1))

    def start(self, random: Random, traits: Traits | None = None) -> None:
        self.clock = SimClock()
        self.internet = Internet(self.clock, random, traits)
        self.here = SimNetwork(self.internet, HERE, DeviceKey.generate(lambda n: b"a" * n))
        self.there = SimNetwork(self.internet, THERE, DeviceKey.generate(lambda n: b"b" * n))
        self.server, self.client = Side(False), Side(True)
        self.port = self.listen(self.there, "tcp:5")

    def listen(self, network: SimNetwork, endpoint: str, alpn: str = ALPN) -> IListeningPort:
        return self.successResultOf(network.listen(endpoint, self.server, alpn=alpn))

    def dial(self, port: int = 5, alpn: str = ALPN) -> Deferred[IProtocol]:
        return self.here.client(THERE, port, alpn=alpn).connect(self.client)

    def connect(self) -> tuple[Talker, Talker]:
        """Return two talkers, connected and secured."""
        dialling = self.dial()
        self.clock.advance(1)
        self.successResultOf(dialling)
        return self.client.made[-1], self.server.made[-1]

    def channel_of(self, network: SimNetwork, talker: Talker) -> Channel:
        return network.channel(talker.wire, alpn=ALPN, dialled=talker.dialled)


class DiallingTests(NetworkCase):
    """A connection begins, or fails as it would in the world."""

    def test_handshake(self) -> None:
        """Both sides are connected, then secured; the dialler's side first."""
        order: list[bool] = []
        dialling = self.dial()
        while len(order) < 2:
            self.clock.step()
            order += [t.dialled for t in (*self.client.made, *self.server.made) if "secured" in t.events][len(order) :]
        self.successResultOf(dialling)
        self.assertEqual([True, False], order)
        self.assertEqual(["made", "secured"], self.client.made[0].events)
        self.assertEqual(["made", "secured"], self.server.made[0].events)

    def test_transport(self) -> None:
        """The transport provides what protocols of TCP expect, and knows both addresses."""
        client, server = self.connect()
        verifyObject(ITCPTransport, client.wire)
        self.assertEqual((THERE, 5), (client.wire.getPeer().host, client.wire.getPeer().port))
        self.assertEqual(client.wire.getHost(), server.wire.getPeer())
        self.assertEqual(HERE, server.wire.getPeer().host)

    def test_channel(self) -> None:
        """Both ends share the channel of their connection, which names both keys; another connection has another."""
        pairs = self.connect(), self.connect()
        channels = [(self.channel_of(self.here, near), self.channel_of(self.there, far)) for near, far in pairs]
        self.assertEqual(channels[0][0], channels[0][1])
        self.assertEqual(channels[0][0].dialler_spki, self.here.key.spki)
        self.assertEqual(channels[0][0].acceptor_spki, self.there.key.spki)
        self.assertNotEqual(channels[0][0].exporter, channels[1][0].exporter)

    def test_no_common_protocol(self) -> None:
        """Without a common protocol both ends are lost, unsecured, with an error of TLS."""
        self.dial(alpn="test/2")
        self.clock.advance(1)
        self.assertEqual(["made", "Error"], self.client.made[0].events)
        self.assertEqual(["made", "Error"], self.server.made[0].events)

    def test_wrong_protocol_asked_for(self) -> None:
        """A channel for another protocol than was agreed on is refused."""
        client, _ = self.connect()
        self.assertRaises(NoCommonVersion, self.here.channel, client.transport, alpn="test/2", dialled=True)

    def test_refused(self) -> None:
        """Where nobody listens, or nobody listens any more, calls are refused."""
        dialling = self.dial(6)
        self.clock.advance(1)
        self.failureResultOf(dialling, ConnectionRefusedError)
        self.port.stopListening()
        dialling = self.dial(5)
        self.clock.advance(1)
        self.failureResultOf(dialling, ConnectionRefusedError)

    def test_turned_away(self) -> None:
        """A factory that makes no protocol turns the caller away."""
        self.server.full = True
        self.dial()
        self.clock.advance(1)
        self.assertEqual(["made", "ConnectionLost"], self.client.made[0].events)

    def test_cancelled(self) -> None:
        """A call that is given up connects nobody; who answered it loses the connection."""
        dialling = self.dial()
        while not self.server.made:
            self.clock.step()
        dialling.cancel()
        self.failureResultOf(dialling)
        self.clock.advance(1)
        self.assertEqual([], self.client.made)
        self.assertEqual(["made", "ConnectionLost"], self.server.made[0].events)

    def test_port_taken(self) -> None:
        """A port can be listened on once; port 0 is one that is free."""
        self.failureResultOf(self.there.listen("tcp:5", self.server, alpn=ALPN), CannotListenError)
        free = [str(self.listen(self.there, "tcp:0").getHost()) for _ in range(2)]
        self.assertEqual(2, len(set(free)))

    def test_other_endpoints(self) -> None:
        """There are no UNIX sockets here."""
        self.failureResultOf(self.there.listen("unix:/tmp/x", self.server, alpn=ALPN), CannotListenError)

    def test_loopback(self) -> None:
        """A host reaches itself by the address of loopback, and is seen there."""
        dialling = self.there.client("127.0.0.1", 5, alpn=ALPN).connect(self.client)
        self.clock.advance(1)
        self.successResultOf(dialling)
        self.assertEqual("127.0.0.1", self.server.made[0].wire.getPeer().host)


class TalkingTests(NetworkCase):
    """Bytes arrive whole, in order, in pieces, at a pace that the reader sets."""

    def test_echo(self) -> None:
        """What both sides send at once arrives in order; what was written early waits for the handshake."""
        self.dial()
        self.clock.advance(0.0001)
        while not (self.client.made and self.server.made):
            self.clock.step()
        client, server = self.client.made[0], self.server.made[0]
        server.answering = True
        strings = [b"%d:" % n + b"x" * n for n in range(200)]
        for string in strings:
            client.sendString(string)
        server.sendString(b"hello")
        self.assertEqual(["made"], client.events)
        self.clock.advance(30)
        self.assertEqual(["made", "secured", *strings], server.events)
        self.assertEqual(["made", "secured", b"hello", *(string.upper() for string in strings)], client.events)

    def test_pieces(self) -> None:
        """What is written at once arrives in pieces of many sizes, some of one byte."""
        client, server = self.connect()
        for _ in range(100):
            client.wire.write(bytes(100))
            self.clock.advance(0.1)
        self.clock.advance(10)
        self.assertEqual(10_000, len(server.got))
        self.assertGreater(server.pieces, 110)

    def test_latency(self) -> None:
        """Bytes take as long as the wire says."""
        self.start(Random(1), Traits(latency=(0.25, 0.25), fragments=0))
        client, server = self.connect()
        self.clock.advance(1)
        client.sendString(b"x")
        self.clock.advance(0.249)
        self.assertEqual(b"", bytes(server.got))
        self.clock.advance(0.002)
        self.assertEqual(5, len(server.got))

    def test_bandwidth(self) -> None:
        """A wire carries no more bytes a second than it can."""
        self.start(Random(1), Traits(bandwidth=100_000))
        client, server = self.connect()
        client.wire.write(bytes(500_000))
        self.clock.advance(2)
        self.assertTrue(100_000 <= len(server.got) <= 200_000, len(server.got))
        self.clock.advance(4)
        self.assertEqual(500_000, len(server.got))

    def test_paused_reader(self) -> None:
        """A reader that pauses gets nothing, and then all; the writer's producer is paused meanwhile."""
        client, server = self.connect()
        tap = Tap(client.wire)
        client.wire.registerProducer(tap, True)
        server.pauseProducing()
        client.wire.write(bytes(WINDOW_BYTES + HIGH_WATER_BYTES))
        self.assertEqual(["pause"], tap.events)
        client.wire.write(bytes(4))
        self.clock.advance(10)
        self.assertEqual(["pause"], tap.events)
        self.assertEqual(b"", bytes(server.got))
        server.resumeProducing()
        self.clock.advance(10)
        self.assertEqual(["pause", "resume"], tap.events)
        self.assertEqual(WINDOW_BYTES + HIGH_WATER_BYTES + 4, len(server.got))

    def test_pull_producer(self) -> None:
        """A pull producer is asked for more whenever what it wrote has left, until it is done."""
        client, server = self.connect()
        tap = Tap(client.wire, calls=50)
        client.wire.registerProducer(tap, False)
        self.clock.advance(10)
        self.assertEqual(["resume"] * 50, tap.events)
        self.assertEqual(50_000, len(server.got))

    def test_slow_reader_slows_pull_producer(self) -> None:
        """A pull producer writes no more than the wire takes while nobody reads."""
        client, server = self.connect()
        server.pauseProducing()
        tap = Tap(client.wire, calls=10_000)
        client.wire.registerProducer(tap, False)
        self.clock.advance(10)
        self.assertLessEqual(len(tap.events), WINDOW_BYTES // 1000 + 2)
        server.resumeProducing()
        self.clock.advance(1000)
        self.assertEqual(10_000_000, len(server.got))

    def test_second_producer(self) -> None:
        """There is one producer at a time; one that comes after the end is told to stop."""
        client, server = self.connect()
        client.wire.registerProducer(Tap(client.wire), True)
        self.assertRaises(RuntimeError, client.wire.registerProducer, Tap(client.wire), True)
        late, wire = Tap(server.wire), server.wire
        wire.die()
        wire.registerProducer(late, True)
        self.assertEqual(["stop"], late.events)

    def test_only_bytes(self) -> None:
        """Text can not be written."""
        client, _ = self.connect()
        self.assertRaises(TypeError, client.wire.write, "text")


class EndingTests(NetworkCase):
    """Each way to end a connection, as both ends see it."""

    def test_close(self) -> None:
        """What was written before closing arrives; then both ends are done."""
        client, server = self.connect()
        client.sendString(b"last words")
        client.wire.loseConnection()
        self.clock.advance(5)
        self.assertEqual([b"last words", "ConnectionDone"], server.events[2:])
        self.assertEqual(["ConnectionDone"], client.events[2:])

    def test_close_waits_for_producer(self) -> None:
        """A connection that is closed ends only after its producer."""
        client, server = self.connect()
        client.wire.registerProducer(Tap(client.wire, calls=20), False)
        client.wire.loseConnection()
        self.clock.advance(5)
        self.assertEqual(20_000, len(server.got))
        self.assertEqual("ConnectionDone", server.events[-1])

    def test_closed_by_both(self) -> None:
        """Both sides may close at the same time."""
        client, server = self.connect()
        client.wire.loseConnection()
        server.wire.loseConnection()
        self.clock.advance(5)
        self.assertEqual(["ConnectionDone"], client.events[2:])
        self.assertEqual(["ConnectionDone"], server.events[2:])

    def test_abort(self) -> None:
        """Who aborts hears nothing more, in the next turn that it is over; the other side hears of a loss."""
        client, server = self.connect()
        server.sendString(b"on the way")
        client.wire.abortConnection()
        self.assertEqual([], client.events[2:])
        self.clock.advance(5)
        self.assertEqual(["ConnectionAborted"], client.events[2:])
        self.assertEqual("ConnectionLost", server.events[-1])

    def test_abort_loses_what_is_on_the_way(self) -> None:
        """Of what was sent before an abort any first part may arrive, also none of it."""
        arrived = set()
        for seed in range(30):
            self.start(Random(seed))
            client, server = self.connect()
            client.sendString(b"x" * 5000)
            self.clock.step()
            client.wire.abortConnection()
            self.clock.advance(5)
            arrived.add(len(server.got))
        self.assertIn(0, arrived)
        self.assertIn(5004, arrived)
        self.assertGreater(len(arrived), 2)

    def test_broken(self) -> None:
        """A connection that breaks ends on both sides, and what was on the way is lost."""
        client, server = self.connect()
        tap = Tap(client.wire)
        client.wire.registerProducer(tap, True)
        client.sendString(b"lost")
        self.assertEqual(1, self.internet.connections(HERE, THERE))
        self.assertEqual(1, self.internet.break_connections(THERE, HERE))
        self.clock.advance(5)
        self.assertEqual(["ConnectionLost"], client.events[2:])
        self.assertEqual(["ConnectionLost"], server.events[2:])
        self.assertEqual(["stop"], tap.events)
        self.assertEqual(0, self.internet.connections(HERE, THERE))

    def test_broken_while_dialling(self) -> None:
        """A connection that breaks before the dialler knows of it is a call that failed."""
        dialling = self.dial()
        while not self.server.made:
            self.clock.step()
        self.assertEqual(1, self.internet.break_connections(HERE, THERE))
        self.clock.advance(1)
        self.failureResultOf(dialling, ConnectError)
        self.assertEqual(["made", "ConnectionLost"], self.server.made[0].events)

    def test_failing_protocol(self) -> None:
        """A protocol that raises loses its connection; the failure is logged, as Twisted would."""
        client, server = self.connect()
        server.stringReceived = lambda string: 1 / 0  # type: ignore[assignment,method-assign]
        client.sendString(b"bad")
        self.clock.advance(5)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual("ZeroDivisionError", server.events[-1])
        self.assertEqual("ConnectionLost", client.events[-1])

    def test_killed(self) -> None:
        """A killed process hears nothing; its system ends its connections and refuses new ones."""
        client, server = self.connect()
        self.there.clock.callLater(1, server.events.append, "still here")
        self.there.kill()
        self.clock.advance(5)
        self.assertEqual([], server.events[2:])
        self.assertEqual(["ConnectionLost"], client.events[2:])
        dialling = self.dial()
        self.clock.advance(1)
        self.failureResultOf(dialling, ConnectionRefusedError)

    def test_power_lost(self) -> None:
        """Of a machine that loses its power the others learn only when they send something to it."""
        client, _ = self.connect()
        self.there.kill(silently=True)
        self.clock.advance(5)
        self.assertEqual([], client.events[2:])
        client.sendString(b"are you there?")
        self.clock.advance(5)
        self.assertEqual(["ConnectionLost"], client.events[2:])


class PartitionTests(NetworkCase):
    """Nothing gets through, for a while."""

    def test_stall_and_heal(self) -> None:
        """What is sent meanwhile, and what was on the way, arrives after the partition; nothing is lost."""
        client, server = self.connect()
        client.sendString(b"before")
        self.clock.step()
        self.internet.partition([HERE], [THERE])
        client.sendString(b"meanwhile")
        self.clock.advance(60)
        self.assertEqual([], server.events[2:])
        self.internet.heal()
        self.clock.advance(1)
        self.assertEqual([b"before", b"meanwhile"], server.events[2:])

    def test_others_are_heard(self) -> None:
        """Hosts on the same side of a partition reach each other."""
        self.internet.partition([HERE], ["10.0.0.3"])
        client, server = self.connect()
        client.sendString(b"x")
        self.clock.advance(5)
        self.assertEqual([b"x"], server.events[2:])

    def test_calls_time_out(self) -> None:
        """Calls get no answer, and are given up after a while."""
        self.internet.partition([HERE], [THERE])
        dialling = self.dial()
        self.clock.advance(5)
        self.assertNoResult(dialling)
        self.clock.advance(10)
        self.failureResultOf(dialling, TimeoutError)

    def test_call_gets_through_in_time(self) -> None:
        """A call that is repeated after the partition is answered."""
        self.internet.partition([HERE], [THERE])
        dialling = self.dial()
        self.clock.advance(5)
        self.internet.heal()
        self.clock.advance(2)
        self.successResultOf(dialling)

    def test_shut_out(self) -> None:
        """Who is shut out calls in vain; the other way a connection is made, and carries both ways."""
        self.internet.shut_out([HERE], [THERE])
        dialling = self.dial()
        self.clock.advance(5)
        self.assertNoResult(dialling)
        self.clock.advance(10)
        self.failureResultOf(dialling, TimeoutError)
        self.internet.let_in()
        self.internet.shut_out([THERE], [HERE])
        client, server = self.connect()
        client.sendString(b"x")
        server.sendString(b"y")
        self.clock.advance(5)
        self.assertEqual(([b"y"], [b"x"]), (client.events[2:], server.events[2:]))

    def test_abort_behind_a_partition(self) -> None:
        """The other side learns of an abort once it can."""
        client, server = self.connect()
        self.internet.partition([HERE], [THERE])
        client.wire.abortConnection()
        self.clock.advance(5)
        self.assertEqual(["ConnectionAborted"], client.events[2:])
        self.assertEqual([], server.events[2:])
        self.internet.heal()
        self.clock.advance(5)
        self.assertEqual(["ConnectionLost"], server.events[2:])


class SeedTests(NetworkCase):
    """One seed is one run."""

    def run_with(self, seed: int) -> tuple[str, float]:
        """Talk for a while with breaks; return the trace and the time at which it was done."""
        self.start(Random(seed))
        for round_ in range(5):
            client, server = self.connect()
            server.answering = True
            for n in range(20):
                client.sendString(b"x" * n * 100)
            self.clock.run_until(lambda server=server: len(server.events) > 10, 60)  # type: ignore[misc]
            if round_ % 2:
                self.internet.break_connections(HERE, THERE)
        self.clock.advance(10)
        return self.internet.trace, self.clock.seconds()

    def test_same_seed(self) -> None:
        """The same seed gives the same trace, another seed another."""
        self.assertEqual(self.run_with(7), self.run_with(7))
        self.assertNotEqual(self.run_with(7)[0], self.run_with(8)[0])
