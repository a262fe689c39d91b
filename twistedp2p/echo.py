"""Echo conversation: every byte that arrives goes back, in order, at the pace of the reader.

1. The client connects and sends bytes; there are no frames and no end of message.
2. The server sends the same bytes back. While the client does not read them, the
   server does not read either: what waits in the server is one read and the
   transport's own buffer (64 KiB each), whatever the client sends.
3. The client may close its sending side (a TCP half-close). The server then sends
   what it still owes and closes. Over TLS, which has no half-close in Twisted, the
   connection ends at once and what was not sent yet is lost.

This is the echo protocol of RFC 862 on a port of one's choice. The module has no timers,
opens no ports and reads no options; `twistedp2p.tap.echo` does that.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IAddress, IConsumer, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

__all__ = ["EchoFactory", "EchoProtocol"]


@implementer(IHalfCloseableProtocol)
class EchoProtocol(Protocol):
    """One connection of an echo server.

    `EchoFactory` makes one for each connection; it lives until the client has closed
    its sending side and has everything back, or until the connection is lost. It has
    no state of its own: what is owed to the client is in the transport's buffer.
    """

    # -- Twisted calls these ------------------------------------------------

    def connectionMade(self) -> None:
        """Couple reading to writing: a full write buffer stops the reading side."""
        # The transport is its own producer: while its write buffer is full, it
        # pauses the producer, which is its reading side.
        cast(IConsumer, self.transport).registerProducer(cast(IPushProducer, self.transport), True)

    def dataReceived(self, data: bytes) -> None:
        """Send `data` back."""
        assert self.transport is not None
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        """The client has sent its last byte: send what is still owed, then close."""
        assert self.transport is not None
        # A transport with a paused producer waits for it instead of closing.
        cast(IConsumer, self.transport).unregisterProducer()
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Nothing can be sent any more, so nothing is worth reading."""
        assert self.transport is not None
        self.transport.loseConnection()


class EchoFactory(Factory):
    """Makes an `EchoProtocol` for each connection; has no limits and no state."""

    def buildProtocol(self, addr: IAddress | None) -> EchoProtocol:
        """Return the protocol of a new connection from `addr`."""
        protocol = EchoProtocol()
        protocol.factory = self
        return protocol
