"""How bytes go through TLS and the socket: Twisted's transport, made for long streams of frames.

Twisted encrypts 16 KiB at a time, one TLS record, and each costs some turns through Python. OpenSSL cuts a long write
into records by itself, without the interpreter, which other threads use meanwhile.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
    ITransport,
)
from twisted.internet.tcp import Connection
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.framing.records import RECORD_BYTES, Records

__all__ = ["RecordTransport", "StreamTransport", "TLSClientEndpoint", "write_whole"]

_DONE = Failure(ConnectionDone())
_UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
"""Linux and macOS have it."""
_RECORD_ROOM = 320
"""What a record takes beside its content, at most: SSL3_RT_MAX_ENCRYPTED_OVERHEAD of OpenSSL."""
_PARTIAL_WRITE = 1
"""SSL_MODE_ENABLE_PARTIAL_WRITE of OpenSSL, which pyOpenSSL sets and has no name for."""


def write_whole(context: SSL.Context) -> None:
    """Let connections of `context` take a long write whole, not only its first record."""
    context.clear_mode(_PARTIAL_WRITE)


class RecordTransport(BufferingTLSTransport):
    """One end of a TLS connection, inside of which `write_whole` holds."""

    _descriptor: Any = None
    """The socket's, if this is on one."""
    _much = False
    _records: Records | None = None

    @property
    def waiting(self) -> int:
        """How many encrypted bytes the socket has not taken yet."""
        found = self._descriptor
        return 0 if found is None else len(found.dataBuffer) - found.offset + found._tempDataLen

    @property
    def _here(self) -> Records:
        """What came and what is to leave, in OpenSSL."""
        if self._records is None:
            self._records = Records(self._tlsConnection)
        return self._records

    def makeConnection(self, transport: ITransport) -> None:
        """Send at once what is written."""
        if isinstance(transport, FileDescriptor):
            self._descriptor = transport
        if ITCPTransport.providedBy(transport):
            # Requests and answers are short, and Nagle's algorithm would keep the second until the first is confirmed.
            transport.setTcpNoDelay(True)
        super().makeConnection(transport)

    def connectionLost(self, reason: Failure = _DONE) -> None:
        """Let what OpenSSL holds be forgotten too."""
        super().connectionLost(reason)
        self._records = None

    def dataReceived(self, bytes: bytes) -> None:
        """Decrypt what came; Twisted hands every record on by itself, here many are handed on together."""
        self._much = len(bytes) > 2 * RECORD_BYTES
        super().dataReceived(bytes)

    def _flushReceiveBIO(self) -> None:
        if self._much:
            self._hand_on()
        super()._flushReceiveBIO()

    def _hand_on(self) -> None:
        """Let a protocol that has a place for long frames find all records there that are here."""
        protocol: Any = self.wrappedProtocol
        get_buffer = getattr(protocol, "get_buffer", None)
        if get_buffer is None or self._lostTLSConnection:
            return
        records = self._here
        while not (self._aborted or self._lostTLSConnection):
            room = get_buffer()
            if room is None:
                record = records.next()
                if not record:
                    break
                protocol.dataReceived(record)
            else:
                length = records.read_into(room)
                if not length:
                    break
                protocol.buffer_updated(length)

    def _write(self, octets: bytes) -> None:
        """Encrypt `octets` in one step; what can not be done so is Twisted's."""
        connection = self.getHandle()
        if len(octets) <= RECORD_BYTES or connection is None:
            super()._write(octets)
            return
        try:
            sent = connection.send(octets)
        except SSL.Error:  # the handshake is under way, or the connection is broken
            super()._write(octets)
            return
        self._send(self._here.encrypted(len(octets) + (len(octets) // RECORD_BYTES + 2) * _RECORD_ROOM))
        if sent < len(octets):
            super()._write(octets[sent:])

    def _send(self, encrypted: memoryview) -> None:
        """Give bytes to the socket now, unless others wait: that saves a copy, and a turn of the reactor."""
        assert self.transport is not None
        descriptor = self._descriptor
        sent: object = 0
        if descriptor is not None and not self.waiting and descriptor.connected and not descriptor.disconnecting:
            sent = descriptor.writeSomeData(encrypted)
        if sent != len(encrypted):
            # An error instead of a number is for the transport to find again, and to end the connection.
            self.transport.write(bytes(encrypted[sent:] if isinstance(sent, int) else encrypted))


class StreamTransport(RecordTransport):
    """The same for connections that mostly carry long streams: it moves more than Twisted's 64 KiB at a time.

    A tenth of the time of a fast transfer goes into turns of the reactor otherwise. It takes memory while bytes move.
    """

    def makeConnection(self, transport: ITransport) -> None:
        """Read and send more at a time."""
        bare: Any = transport
        bare.bufferSize = limits.SOCKET_READ_BYTES
        bare.SEND_LIMIT = limits.SOCKET_SEND_BYTES
        if isinstance(transport, Connection) and _UNSENT is not None:
            transport.getHandle().setsockopt(socket.IPPROTO_TCP, _UNSENT, limits.SOCKET_UNSENT_BYTES)
        super().makeConnection(transport)


@implementer(IStreamClientEndpoint)
class TLSClientEndpoint:
    """What dials through `endpoint` and speaks TLS there, as Twisted's `wrapClientTLS`, with our transport."""

    def __init__(
        self,
        creator: IOpenSSLClientConnectionCreator,
        endpoint: IStreamClientEndpoint,
        transport: type[RecordTransport],
    ) -> None:
        self._creator = creator
        self._endpoint = endpoint
        self._transport = transport

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial; fires with the protocol inside."""
        factory = TLSMemoryBIOFactory(self._creator, True, protocolFactory)
        factory.protocol = self._transport
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(lambda outer: outer.wrappedProtocol)
