"""The TLS transport: long writes leave in one step, short ones at once, and every byte arrives."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides

from twistedp2p import limits
from twistedp2p.framing.network import FILES_ALPN
from twistedp2p.framing.records import record_reader
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.framing.transport import RecordTransport
from twistedp2p.identity.device import DeviceKey

RECORD = 16 * 1024
SERVER = DeviceKey.generate(lambda n: b"s" * n)
CLIENT = DeviceKey.generate(lambda n: b"c" * n)


class Collects(Protocol):
    """Keeps what arrives."""

    def __init__(self, wanted: int = 0) -> None:
        self.received = bytearray()
        self.wanted = wanted
        self.whole: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if len(self.received) >= self.wanted and not self.whole.called:
            self.whole.callback(None)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.gone.callback(None)


class TakesMany(Collects):
    """Takes many records together, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: list[int] = []

    def pieces_received(self, pieces: list[bytes]) -> None:
        self.takes.append(len(pieces))
        self.received += b"".join(pieces)


class Counting(StringTransport):
    """A socket in memory that counts what is written at a time."""

    def abortConnection(self) -> None:
        self.disconnecting = True

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)


class Pair:
    """Two ends of TLS in memory."""

    def __init__(self, first: Collects | None = None) -> None:
        self.clock = Clock()
        self.inner = (first or Collects(), Collects())
        self.outer = []
        for key, protocol, client in ((CLIENT, self.inner[0], True), (SERVER, self.inner[1], False)):
            creator: Any = TLSNetwork(self.clock, key)._creator(FILES_ALPN)
            factory = TLSMemoryBIOFactory(creator, client, Factory.forProtocol(Protocol), self.clock)
            self.outer.append(RecordTransport(factory, protocol))
        self.bare = (Counting(), Counting())

    def begin(self) -> None:
        """Connect both; the handshake is not done yet."""
        for outer, bare in zip(self.outer, self.bare, strict=True):
            outer.makeConnection(bare)

    def pump(self) -> None:
        """Deliver everything."""
        moved = True
        while moved:
            self.clock.advance(0)
            moved = False
            for bare, other in ((self.bare[0], self.outer[1]), (self.bare[1], self.outer[0])):
                writes, bare.writes = bare.writes, []
                for data in writes:
                    moved = True
                    other.dataReceived(data)


class WritingTests(SynchronousTestCase):
    """What is written is encrypted and given to the socket."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.pair.begin()

    def test_a_long_write_is_one_step(self) -> None:
        """A write of many records is encrypted and given to the socket whole, and arrives byte-exact."""
        self.pair.pump()
        data = bytes(range(256)) * (4 * RECORD // 256 * 4) + b"the rest"
        self.pair.outer[0].write(data)
        self.assertEqual(len(self.pair.bare[0].writes), 1)
        self.assertGreater(len(self.pair.bare[0].writes[0]), len(data))
        self.pair.pump()
        self.assertEqual(bytes(self.pair.inner[1].received), data)

    def test_lengths_around_a_record(self) -> None:
        """Writes that just fill a record, or just do not, all arrive, in order."""
        self.pair.pump()
        sent = b""
        for number, length in enumerate(
            (1, RECORD - 1, RECORD, RECORD + 1, 4 * RECORD - 1, 4 * RECORD, 2, 100 * RECORD)
        ):
            data = bytes([number]) * length
            self.pair.outer[1].write(data)
            sent += data
        self.pair.pump()
        self.assertEqual(bytes(self.pair.inner[0].received), sent)

    def test_before_the_handshake(self) -> None:
        """A long write before the handshake is done waits for it, and what is written later comes later."""
        data = b"a" * (10 * RECORD)
        self.pair.outer[0].write(data)
        self.pair.outer[0].write(b"b" * (10 * RECORD))
        self.pair.pump()
        self.assertEqual(bytes(self.pair.inner[1].received), data + b"b" * (10 * RECORD))

    def test_after_the_end(self) -> None:
        """A long write to a connection that is gone is no error, and leads nowhere."""
        self.pair.pump()
        self.pair.outer[0].connectionLost(Failure(SSL.Error()))
        last_words = list(self.pair.bare[0].writes)
        self.pair.outer[0].write(b"a" * (10 * RECORD))
        self.assertEqual(self.pair.bare[0].writes, last_words)

    def test_tcp(self) -> None:
        """On TCP short messages leave at once: nothing waits until what was sent before is confirmed."""

        class Tcp(Counting):
            delay = True

            def setTcpNoDelay(self, enabled: bool) -> None:
                self.delay = not enabled

        pair = Pair()
        bare = Tcp()
        directlyProvides(bare, ITCPTransport)
        pair.outer[0].makeConnection(bare)
        self.assertFalse(bare.delay)


class ReadingTests(SynchronousTestCase):
    """What came is decrypted and handed on."""

    def setUp(self) -> None:
        self.inner = TakesMany()
        self.pair = Pair(self.inner)
        self.pair.begin()
        self.pair.pump()
        self.reader, self.writer = self.pair.outer

    def encrypted(self, data: bytes) -> bytes:
        """Return `data` as it travels."""
        self.writer.write(data)
        self.pair.clock.advance(0)
        writes, self.pair.bare[1].writes = self.pair.bare[1].writes, []
        return b"".join(writes)

    def test_records_together(self) -> None:
        """The records of one long read are handed on in one go, those of a short one as they are; all in order."""
        self.reader.dataReceived(self.encrypted(b"short"))
        self.reader.dataReceived(self.encrypted(b"a" * 10 * RECORD))
        travelling = self.encrypted(b"b" * 10 * RECORD)
        self.reader.dataReceived(travelling[: 5 * RECORD])
        self.reader.dataReceived(travelling[5 * RECORD :])
        self.assertEqual(bytes(self.inner.received), b"short" + b"a" * 10 * RECORD + b"b" * 10 * RECORD)
        self.assertEqual(self.inner.takes, [10, 4, 6])

    def test_the_end_behind_records(self) -> None:
        """What came before the other side closed arrives, and then the end."""
        travelling = self.encrypted(b"a" * 10 * RECORD)
        self.writer.loseConnection()
        self.reader.dataReceived(travelling + b"".join(self.pair.bare[1].writes))
        self.assertEqual(len(self.inner.received), 10 * RECORD)
        self.assertTrue(self.pair.bare[0].disconnecting)

    def test_a_broken_record(self) -> None:
        """What came before a record that was changed on its way arrives, and nothing after it."""
        travelling = bytearray(self.encrypted(bytes(10 * RECORD)))
        travelling[5 * RECORD] ^= 1
        self.reader.dataReceived(bytes(travelling))
        self.assertEqual(len(self.inner.received), 4 * RECORD)
        self.assertTrue(self.pair.bare[0].disconnecting)
        self.reader.dataReceived(self.encrypted(bytes(10 * RECORD)))
        self.assertEqual(len(self.inner.received), 4 * RECORD)

    def test_after_an_abort(self) -> None:
        """Nothing is handed on of what comes after this side gave the connection up."""
        self.reader.abortConnection()
        self.reader.dataReceived(self.encrypted(bytes(10 * RECORD)))
        self.assertEqual(len(self.inner.received), 0)


class RecordTests(SynchronousTestCase):
    """Reading record by record."""

    def test_what_it_returns(self) -> None:
        """Each call returns the content of one record, and nothing when none is whole, at the end, or in an error."""
        for broken in (False, True):
            pair = Pair()
            pair.begin()
            pair.pump()
            reader, writer = pair.outer
            connection = reader.getHandle()
            assert connection is not None
            following = record_reader(connection)
            self.assertEqual(following(), b"")
            writer.write(b"a" * RECORD + b"b" * 5)
            pair.clock.advance(0)
            travelling = bytearray(b"".join(pair.bare[1].writes))
            travelling[-1] ^= broken
            connection.bio_write(travelling[:-1])
            self.assertEqual((following(), following()), (b"a" * RECORD, b""))
            connection.bio_write(travelling[-1:])
            self.assertEqual(following(), b"" if broken else b"bbbbb")
            self.assertRaises(SSL.Error if broken else SSL.WantReadError, connection.recv, RECORD)
            if not broken:
                pair.bare[1].writes.clear()
                writer.loseConnection()
                connection.bio_write(b"".join(pair.bare[1].writes))
                self.assertEqual(following(), b"")
                self.assertRaises(SSL.ZeroReturnError, connection.recv, RECORD)

    def test_without_the_names_of_pyopenssl(self) -> None:
        """If pyOpenSSL does not have the names any more that this needs, pyOpenSSL is asked, and nothing is lost."""
        self.assertEqual(record_reader(cast(Any, object()))(), b"")
        inner = TakesMany()
        pair = Pair(inner)
        pair.begin()
        pair.pump()
        reader, writer = pair.outer
        reader._reader = bytes
        writer.write(bytes(range(256)) * 1000)
        pair.clock.advance(0)
        reader.dataReceived(b"".join(pair.bare[1].writes))
        self.assertEqual(bytes(inner.received), bytes(range(256)) * 1000)
        self.assertEqual(inner.takes, [16])


class SocketTests(TestCase):
    """The transport on real sockets."""

    timeout = 20

    async def connect(self, wanted: int) -> tuple[Collects, Collects]:
        """Return a client and a server that are connected; the client's transport is one for long streams."""
        server, client = Collects(wanted), Collects(wanted)
        listening, dialling = Factory.forProtocol(Protocol), Factory.forProtocol(Protocol)
        listening.buildProtocol = lambda _: server  # type: ignore[assignment,method-assign]
        dialling.buildProtocol = lambda _: client  # type: ignore[assignment,method-assign]
        port: IListeningPort = await TLSNetwork(reactor, SERVER).listen(
            "tcp:0:interface=127.0.0.1", listening, alpn=FILES_ALPN
        )
        self.addCleanup(port.stopListening)
        where = port.getHost().port  # type: ignore[attr-defined]
        found = (
            await TLSNetwork(reactor, CLIENT, long_streams=True)
            .client("127.0.0.1", where, alpn=FILES_ALPN)
            .connect(dialling)
        )
        self.assertIs(found, client)
        return client, server

    async def hang_up(self, client: Collects, server: Collects) -> None:
        """End the connection."""
        client.transport.abortConnection()  # type: ignore[union-attr]
        await client.gone
        await server.gone

    async def test_both_ends(self) -> None:
        """Both ends of a connection send at once, one for long streams reads more at a time, and every byte arrives."""
        data = bytes(range(256)) * 16_384
        client, server = await self.connect(len(data))
        for end in (client, server):
            assert end.transport is not None
            end.transport.write(data)
        await client.whole
        await server.whole
        self.assertEqual(bytes(client.received), data)
        self.assertEqual(bytes(server.received), data)
        for end in (client, server):
            bare: Any = end.transport.transport  # type: ignore[union-attr]
            self.assertTrue(bare.getTcpNoDelay())
            self.assertEqual(bare.bufferSize, limits.SOCKET_READ_BYTES if end is client else 65_536)
            self.assertTrue(bare.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            if sys.platform == "linux":
                unsent = bare.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
                self.assertEqual(unsent == limits.SOCKET_UNSENT_BYTES, end is client)
        await self.hang_up(client, server)

    async def test_what_waits(self) -> None:
        """A long write leaves in the same turn if the socket takes it; what it leaves is counted, and follows."""
        client, server = await self.connect(0)
        server.transport.write(b"hello")  # type: ignore[union-attr]
        await client.whole
        transport: Any = server.transport
        transport.write(bytes(4 * RECORD))
        self.assertEqual(transport.waiting, 0)
        client.transport.pauseProducing()  # type: ignore[union-attr]
        piece = bytes(range(256)) * 4096
        pieces = 0
        while transport.waiting < 4 * len(piece):
            transport.write(piece)
            pieces += 1
        self.assertEqual(transport.waiting, self.unsent(transport))
        transport.write(b"the end")
        transport.write(piece)
        client.received.clear()
        client.wanted = 4 * RECORD + (pieces + 1) * len(piece) + len(b"the end")
        client.whole = Deferred()
        client.transport.resumeProducing()  # type: ignore[union-attr]
        await client.whole
        self.assertEqual(transport.waiting, 0)
        self.assertEqual(bytes(client.received), bytes(4 * RECORD) + pieces * piece + b"the end" + piece)
        await self.hang_up(client, server)

    @staticmethod
    def unsent(transport: Any) -> int:
        """Return how much waits in a transport of Twisted, by its own buffers."""
        bare = transport.transport
        return int(len(bare.dataBuffer) - bare.offset + sum(map(len, bare._tempDataBuffer)))
