"""Accepting connections of peers: few from those who have proved nothing yet, and a hard end to that number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IProtocolFactory, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.transfer.protocol import PeerProtocol

__all__ = ["PeerFactory"]


@implementer(IProtocolFactory)
class PeerFactory(Factory):
    """Makes the protocol of each connection that comes in, unless there are too many strangers.

    `make` makes a protocol. Whoever made the factory reports each protocol once with `known`, when it is
    proven or lost, so that it counts as a stranger no more.
    """

    noisy = False
    _log = Logger()

    def __init__(self, make: Callable[[], PeerProtocol]) -> None:
        self._make = make
        self._strangers: dict[PeerProtocol, str] = {}
        self._by_host: Counter[str] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Return a protocol; one that hangs up at once if there are too many strangers."""
        host = addr.host if isinstance(addr, IPv4Address | IPv6Address) else ""
        if len(self._strangers) >= limits.STRANGERS or self._by_host[host] >= limits.STRANGERS_PER_ADDRESS:
            self._log.warn("Turned away {host}: too many connections without a proof", host=host)
            return _TurnedAway()
        protocol = self._make()
        protocol.factory = self
        self._strangers[protocol] = host
        self._by_host[host] += 1
        return protocol

    def known(self, protocol: PeerProtocol) -> None:
        """Count that connection as a stranger no more; harmless if it is none."""
        host = self._strangers.pop(protocol, None)
        if host is not None:
            self._by_host[host] -= 1
            if not self._by_host[host]:
                del self._by_host[host]


class _TurnedAway(Protocol):
    """A connection that is dropped before a word is said. (TLS can not wrap the None that Twisted knows for this.)"""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()
