"""The TLS transport: long writes leave in one step, short ones at once, and every byte arrives."""

from __future__ import annotations

import socket
import sys
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
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
from twistedp2p.framing.records import Records, new_buffer
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


class HasRoom(Collects):
    """Has a place of 100,000 bytes for what comes after the first piece, and keeps how long the pieces are."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []
        self.updates: list[int] = []
        self.room = bytearray(100_000)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.pieces.append(len(data))

    def get_buffer(self) -> memoryview | None:
        filled = sum(self.updates)
        return memoryview(self.room)[filled:] if self.received and filled < len(self.room) else None

    def buffer_updated(self, length: int) -> None:
        self.received += self.room[sum(self.updates) :][:length]
        self.updates.append(length)


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
        self.inner = HasRoom()
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

    def test_long_reads(self) -> None:
        """All records of a long read are written where the protocol says; else, and if they are few, it gets each."""
        data = bytes(range(256)) * (20 * RECORD // 256)
        self.reader.dataReceived(self.encrypted(data[:100]))
        self.reader.dataReceived(self.encrypted(data[100 : 100 + RECORD]))
        self.assertEqual((self.inner.pieces, self.inner.updates), ([100, RECORD], []))
        travelling = self.encrypted(data[100 + RECORD :])
        self.reader.dataReceived(travelling[: 5 * RECORD])
        self.assertEqual(self.inner.updates, [4 * RECORD])
        self.reader.dataReceived(travelling[5 * RECORD :])
        self.assertEqual(self.inner.updates, [4 * RECORD, 100_000 - 4 * RECORD])
        # The record in which the room was full is given out to its end.
        self.assertEqual(self.inner.pieces, [100, RECORD, 7 * RECORD - 100_000, *[RECORD] * 11, RECORD - 100])
        self.assertEqual(bytes(self.inner.received), data)

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

    def test_when_it_is_lost(self) -> None:
        """Nothing of OpenSSL is held any longer than the connection is."""
        self.reader.dataReceived(self.encrypted(bytes(10 * RECORD)))
        self.assertIsNotNone(self.reader._records)
        self.reader.connectionLost(Failure(ConnectionDone()))
        self.assertIsNone(self.reader._records)

    def test_after_an_abort(self) -> None:
        """Nothing is handed on of what comes after this side gave the connection up."""
        self.reader.abortConnection()
        self.reader.dataReceived(self.encrypted(bytes(10 * RECORD)))
        self.assertEqual(len(self.inner.received), 0)


class RecordTests(SynchronousTestCase):
    """Reading record by record, and long stretches."""

    def setUp(self) -> None:
        self.pair = Pair()
        self.pair.begin()
        self.pair.pump()
        self.connection = self.pair.outer[0].getHandle()
        assert self.connection is not None
        self.records = Records(self.connection)

    def travelling(self, data: bytes = b"") -> bytearray:
        """Return `data` as it travels."""
        if data:
            self.pair.outer[1].write(data)
        self.pair.clock.advance(0)
        writes, self.pair.bare[1].writes = self.pair.bare[1].writes, []
        return bytearray(b"".join(writes))

    def into(self, length: int) -> bytes:
        """Return what is read into a room of that length."""
        room = new_buffer(length)
        return bytes(room[: self.records.read_into(room)])

    def test_what_is_read(self) -> None:
        """The content of the next record, or as much as there is room for; nothing when no record is whole."""
        self.assertEqual((self.records.next(), self.into(5)), (b"", b""))
        travelling = self.travelling(b"a" * RECORD + b"b" * RECORD + b"ccccc")
        self.connection.bio_write(travelling[:-1])
        self.assertEqual(self.records.next(), b"a" * RECORD)
        self.assertEqual(self.into(RECORD - 5), b"b" * (RECORD - 5))
        self.assertEqual(self.into(100), b"bbbbb")
        self.assertEqual(self.records.next(), b"")
        self.connection.bio_write(travelling[-1:])
        self.assertEqual(self.into(3), b"ccc")
        self.assertEqual(self.records.next(), b"cc")
        self.assertRaises(SSL.WantReadError, self.connection.recv, RECORD)

    def test_the_end(self) -> None:
        """After the last record nothing is read, and the connection says that it has ended."""
        self.connection.bio_write(self.travelling(b"last"))
        self.pair.outer[1].loseConnection()
        self.connection.bio_write(self.travelling())
        self.assertEqual((self.into(RECORD), self.records.next(), self.into(1)), (b"last", b"", b""))
        self.assertRaises(SSL.ZeroReturnError, self.connection.recv, RECORD)

    def test_a_broken_record(self) -> None:
        """What came before a record that was changed on its way is read, and the connection says that it is broken."""
        travelling = self.travelling(b"a" * 2 * RECORD)
        travelling[-1] ^= 1
        self.connection.bio_write(travelling)
        self.assertEqual(self.into(4 * RECORD), b"a" * RECORD)
        self.assertEqual((self.records.next(), self.into(1)), (b"", b""))
        self.assertRaises(SSL.Error, self.connection.recv, RECORD)

    def test_what_leaves(self) -> None:
        """What was written is there, encrypted, as much as is asked for at a time."""
        length = self.connection.send(b"a" * 3 * RECORD)
        self.assertEqual(length, 3 * RECORD)
        found = bytes(self.records.encrypted(1000)) + bytes(self.records.encrypted(4 * RECORD))
        other = self.pair.outer[1].getHandle()
        assert other is not None
        other.bio_write(found)
        self.assertEqual(b"".join(other.recv(RECORD) for _ in range(3)), b"a" * 3 * RECORD)


class WithoutTheNamesTests(RecordTests):
    """The same, if pyOpenSSL does not have the names any more that this needs: then pyOpenSSL is asked."""

    def setUp(self) -> None:
        super().setUp()
        self.records._is_direct = False

    def test_another_connection(self) -> None:
        """What does not look like pyOpenSSL's connection is taken as it is."""
        self.assertFalse(Records(cast(Any, object()))._is_direct)


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
