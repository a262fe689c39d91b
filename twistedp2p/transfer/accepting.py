"""Accepting connections of peers: few from those who have proved nothing yet, and a hard end to that number."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IProtocolFactory, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from twistedp2p.framing.admission import Admission, Ticket
from twistedp2p.transfer.protocol import PeerProtocol

__all__ = ["PeerFactory"]


@implementer(IProtocolFactory)
class PeerFactory(Factory):
    """Makes the protocol of each connection that comes in, unless there are too many strangers.

    `make` makes a protocol. Whoever made the factory reports each protocol with `known` when it is proven or lost,
    so that it counts as a stranger no more.
    """

    noisy = False
    _log = Logger()

    def __init__(self, make: Callable[[], PeerProtocol], admission: Admission) -> None:
        self._make = make
        self._admission = admission
        self._tickets: dict[PeerProtocol, Ticket] = {}

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return a protocol; one that hangs up at once if there are too many strangers."""
        assert addr is not None
        ticket = self._admission.enter(addr)
        if ticket is None:
            self._log.warn("Turned away {address}: too many connections without a proof", address=addr)
            return _TurnedAway()
        protocol = self._make()
        protocol.factory = self
        self._tickets[protocol] = ticket
        return protocol

    def known(self, protocol: PeerProtocol) -> None:
        """Count that connection as a stranger no more; harmless if it is none."""
        ticket = self._tickets.pop(protocol, None)
        if ticket is not None:
            ticket.leave()


class _TurnedAway(Protocol):
    """A connection that is dropped before a word is said. (TLS can not wrap the None that Twisted knows for this.)"""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()
