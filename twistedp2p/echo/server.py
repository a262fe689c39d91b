"""Echo conversation: every byte that arrives goes back, in order, at the pace of the reader.

1. The client connects and sends bytes; there are no frames and no end of message.
2. The server sends the same bytes back at once. What the system does not take waits in
   the transport's buffer, and as long as something waits there the server does not read:
   one read of 64 KiB at most, whatever the client sends. Over TLS, which sends when it
   likes, reading stops when more than 64 KiB wait.
3. The client may close its sending side (a TCP half-close). The server then sends
   what it still owes and closes. Over TLS, which has no half-close in Twisted, the
   connection ends at once and what was not sent yet is lost.
4. A connection on which nothing moves for a while is closed (`crowd`).

This is the echo protocol of RFC 862 on a port of one's choice. The module has no timers,
opens no ports and reads no options; `crowd`, `service` and `twistedp2p.tap.echo` do that.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.echo.crowd import Crowd
from twistedp2p.framing.network import host_of

__all__ = ["EchoFactory", "EchoProtocol"]


@implementer(IHalfCloseableProtocol, IPushProducer)
class EchoProtocol(Protocol):
    """One connection of an echo server.

    `EchoFactory` makes one for each connection; it lives until the client has closed
    its sending side and has everything back, until the crowd ends it, or until the
    connection is lost. What is owed to the client is in the transport's buffer.
    """

    def __init__(self, crowd: Crowd) -> None:
        self.heard = True
        self.silent = 0
        self.paused = False
        self._crowd = crowd
        self._counters = crowd.counters
        self._cut = False
        self._descriptor: FileDescriptor | None = None
        """The transport, if one can write to it at once: TCP and UNIX sockets, not TLS."""

    # -- Twisted calls these ------------------------------------------------

    def connectionMade(self) -> None:
        """Ask for a place."""
        self._crowd.arrive(self, host_of(self.transport))

    def dataReceived(self, data: bytes) -> None:
        """Send `data` back."""
        self.heard = True
        if self._cut:
            return
        self._counters.bytes += len(data)
        descriptor = self._descriptor
        if descriptor is None or self.paused:
            self.transport.write(data)  # type: ignore[union-attr]  # a frequent line: no assert
            return
        # Now, and not in the next turn of the reactor: that would cost a third more.
        sent = descriptor.writeSomeData(data)
        if sent != len(data):
            # An error instead of a number is for the transport to find again, and to end the connection.
            descriptor.write(data[sent:] if isinstance(sent, int) else data)
            self.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client has sent its last byte: send what is still owed, then close."""
        self.finish()

    def writeConnectionLost(self) -> None:
        """Nothing can be sent any more, so nothing is worth reading, unless it is read to be dropped."""
        if not self._cut:
            cast(ITCPTransport, self.transport).loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give the place back."""
        self._crowd.leave(self, broken=reason.check(ConnectionDone) is None)

    # -- the transport's buffer calls these -----------------------------------

    def pauseProducing(self) -> None:
        """Something waits: read nothing."""
        self.paused = True
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken all there was: read on."""
        self.paused = False
        self.heard = True
        cast(IPushProducer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone."""

    # -- the crowd calls these --------------------------------------------------

    def begin(self) -> None:
        """Couple reading to writing: the transport says when it has sent all that waited, or that too much waits."""
        if isinstance(self.transport, FileDescriptor):
            self._descriptor = self.transport
        cast(IConsumer, self.transport).registerProducer(self, self._descriptor is None)
        if self.paused:
            self.resumeProducing()

    def hold(self) -> None:
        """Read nothing before `begin`."""
        self.pauseProducing()

    def finish(self) -> None:
        """Send what is owed, then close."""
        # A transport with a paused producer waits for it instead of closing.
        cast(IConsumer, self.transport).unregisterProducer()
        cast(ITCPTransport, self.transport).loseConnection()

    def cut(self) -> None:
        """Send what is owed, and say that nothing more comes; read on and drop it, until the client closes.

        To close with something unread would make the system break the connection off, and what is still on its way
        to the client be lost.
        """
        if self._cut:
            return
        if ISSLTransport.providedBy(self.transport):
            self.finish()
            return
        self._cut = True
        transport = cast(ITCPTransport, self.transport)
        cast(IConsumer, transport).unregisterProducer()
        transport.loseWriteConnection()
        if self.paused:
            self.resumeProducing()

    def abort(self) -> None:
        """Break the connection off."""
        cast(ITCPTransport, self.transport).abortConnection()


class EchoFactory(Factory):
    """Makes an `EchoProtocol` for each connection of a crowd; by default one without a clock: nothing is idle."""

    def __init__(self, crowd: Crowd | None = None) -> None:
        self.crowd = crowd or Crowd()

    def buildProtocol(self, addr: IAddress | None) -> EchoProtocol:
        """Return the protocol of a new connection from `addr`."""
        protocol = EchoProtocol(self.crowd)
        protocol.factory = self
        return protocol
