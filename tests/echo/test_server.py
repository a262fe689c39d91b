"""The echo server: exact bytes, at the pace of the reader, up to the last one."""

from __future__ import annotations

import os
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as global_reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistedp2p.echo import EchoFactory, EchoProtocol


def connected() -> tuple[EchoProtocol, StringTransport]:
    """Return an echo protocol and the transport that records what it does."""
    transport = StringTransport()
    protocol = EchoFactory().buildProtocol(None)
    protocol.makeConnection(transport)
    return protocol, transport


class BytesTests(SynchronousTestCase):
    """What arrives goes back."""

    @given(st.lists(st.binary(max_size=300), max_size=8))
    def test_same_bytes(self, reads: list[bytes]) -> None:
        """However the bytes are split into reads, the same bytes go back in order."""
        protocol, transport = connected()
        for data in reads:
            protocol.dataReceived(data)
        self.assertEqual(transport.value(), b"".join(reads))

    def test_connections_do_not_share(self) -> None:
        """What one client sends goes to no other."""
        one, one_transport = connected()
        _, other_transport = connected()
        one.dataReceived(b"mine")
        self.assertEqual((one_transport.value(), other_transport.value()), (b"mine", b""))

    def test_factory_builds_echo(self) -> None:
        """Each connection has a protocol of its own that knows its factory."""
        factory = EchoFactory()
        one, other = factory.buildProtocol(None), factory.buildProtocol(None)
        self.assertIsNot(one, other)
        self.assertIs(one.factory, factory)


class SlowPeer(FileDescriptor):
    """Twisted's own transport buffer, in front of a peer that takes `room` bytes in all."""

    def __init__(self, reactor: MemoryReactor) -> None:
        super().__init__(reactor)
        self.connected = True
        self.room = 0
        self.broken = False
        self.taken = b""
        self.startReading()

    def getPeer(self) -> UNIXAddress:
        """It has no name."""
        return UNIXAddress(None)

    def writeSomeData(self, data: bytes) -> int | BaseException:
        """Take what there is room for."""
        if self.broken:
            return ConnectionLost()
        size = min(self.room, len(data))
        self.room -= size
        self.taken += bytes(data[:size])
        return size


class PaceTests(SynchronousTestCase):
    """A client that does not read is not read from."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.peer = SlowPeer(self.reactor)
        self.protocol = EchoFactory().buildProtocol(None)
        self.protocol.makeConnection(self.peer)

    def reading(self) -> bool:
        """Say whether the reactor is asked to read from the peer."""
        return self.peer in self.reactor.getReaders()

    def test_sent_at_once(self) -> None:
        """What the client takes is sent in the same turn of the reactor, nothing waits, and reading goes on."""
        self.peer.room = 1000
        self.protocol.dataReceived(b"x" * 1000)
        self.assertEqual(self.peer.taken, b"x" * 1000)
        self.assertTrue(self.reading())
        self.assertNotIn(self.peer, self.reactor.getWriters())

    def test_stops_reading_when_something_waits(self) -> None:
        """One byte that the client does not take, and reading stops."""
        self.peer.room = 999
        self.protocol.dataReceived(b"x" * 1000)
        self.assertFalse(self.reading())

    def test_reads_again_when_nothing_waits(self) -> None:
        """Reading goes on when the client has taken all, and every byte got there, in order; again and again."""
        sent = b""
        for turn in range(3):
            part = bytes((turn + number) % 256 for number in range(FileDescriptor.bufferSize))
            self.peer.room = 1000
            self.protocol.dataReceived(part)
            sent += part
            self.peer.room = len(part) - 1001
            self.peer.doWrite()
            self.assertFalse(self.reading())
            self.peer.room = 1
            self.peer.doWrite()
            self.assertTrue(self.reading())
            self.assertEqual(self.peer.taken, sent)

    def test_what_comes_all_the_same_waits_behind(self) -> None:
        """A read that was under way when reading stopped is sent after what waits, not before."""
        self.protocol.dataReceived(b"first")
        self.peer.room = 100
        self.protocol.dataReceived(b"second")
        self.assertEqual(self.peer.taken, b"")
        self.peer.doWrite()
        self.assertEqual(self.peer.taken, b"firstsecond")

    def test_an_error_is_left_to_the_transport(self) -> None:
        """A connection that turns out to be gone is ended by its transport, as if that had found it."""
        self.peer.broken = True
        self.protocol.dataReceived(b"x")
        self.assertIsInstance(self.peer.doWrite(), ConnectionLost)

    def test_what_waits_is_bounded(self) -> None:
        """From a client that sends for ever and reads nothing, 64 KiB are taken and no more; all of it comes back."""
        sent = bytearray()
        while self.reading():
            read = os.urandom(FileDescriptor.bufferSize)
            self.protocol.dataReceived(read)
            sent += read
        self.assertLessEqual(len(sent), 64 * 1024)
        self.peer.room = 2 * len(sent)
        while not self.reading():
            self.peer.doWrite()
        self.assertEqual(self.peer.taken, bytes(sent))

    def test_no_close_before_all_is_sent(self) -> None:
        """After the client's last byte, the transport closes once what it is owed is sent."""
        self.protocol.dataReceived(b"owed" * FileDescriptor.bufferSize)
        self.protocol.readConnectionLost()
        self.peer.room = 4
        self.assertIsNone(self.peer.doWrite())
        self.peer.room = 4 * FileDescriptor.bufferSize
        end = None
        while end is None and self.peer.room:
            end = self.peer.doWrite()
        self.assertIsNotNone(end)
        self.assertEqual(self.peer.taken, b"owed" * FileDescriptor.bufferSize)


class EndTests(SynchronousTestCase):
    """How a connection ends."""

    def test_is_told_of_half_close(self) -> None:
        """Twisted tells the protocol of a half-close instead of dropping what it still owes."""
        self.assertTrue(IHalfCloseableProtocol.providedBy(connected()[0]))

    def test_half_close_closes_after_the_rest(self) -> None:
        """When the client closes its sending side, the server closes, with the bytes still there."""
        protocol, transport = connected()
        protocol.dataReceived(b"last")
        protocol.readConnectionLost()
        self.assertTrue(transport.disconnecting)
        self.assertIsNone(transport.producer)
        self.assertEqual(transport.value(), b"last")

    def test_closed_sending_side_closes_all(self) -> None:
        """When nothing can be sent any more, the connection is closed."""
        protocol, transport = connected()
        protocol.writeConnectionLost()
        self.assertTrue(transport.disconnecting)


class Sender(Protocol):
    """Sends all of `data`, half-closes, and gathers what comes back until the other side closes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = bytearray()
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        transport = cast(ITCPTransport, self.transport)
        transport.write(self.data)
        transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(bytes(self.received))


class SocketTests(TestCase):
    """Real sockets on this machine."""

    DATA = bytes(range(251)) * 20_000
    """5 MB, more than all buffers on the way together; 251 is prime, so a shift shows."""

    async def echoed(self, server: IStreamServerEndpoint, client: IStreamClientEndpoint | None) -> bytes:
        """Return what comes back for `DATA` from an echo server on `server`."""
        port: IListeningPort = await server.listen(EchoFactory())
        self.addCleanup(port.stopListening)
        if client is None:
            address = cast(IPv4Address, port.getHost())
            client = TCP4ClientEndpoint(global_reactor, "127.0.0.1", address.port)
        sender = Sender(self.DATA)
        await client.connect(Factory.forProtocol(lambda: sender))
        return await sender.done

    async def test_tcp(self) -> None:
        """Over TCP every byte comes back, those after the client's half-close too."""
        back = await self.echoed(TCP4ServerEndpoint(global_reactor, 0, interface="127.0.0.1"), None)
        self.assertTrue(back == self.DATA)

    async def test_unix(self) -> None:
        """Over a UNIX socket every byte comes back."""
        path = self.mktemp()
        back = await self.echoed(UNIXServerEndpoint(global_reactor, path), UNIXClientEndpoint(global_reactor, path))
        self.assertTrue(back == self.DATA)
