"""What broke in echo servers made of sockets and selectors (realpython/materials, python-sockets-tutorial)."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from twistedp2p.echo import EchoFactory, EchoProtocol

CLIENTS = 20


class Client(Protocol):
    """Says one word, and waits for it."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"word")

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)


def is_served(descriptor: object) -> bool:
    """Return whether this is the server's end of a connection."""
    return isinstance(getattr(descriptor, "protocol", None), EchoProtocol)


class IdleTests(TestCase):
    """Clients that say nothing."""

    async def test_an_idle_client_costs_nothing(self) -> None:
        """There every client was always waited for to write: one idle client took a whole CPU. Here nobody is."""
        loop: Any = reactor
        descriptors: Any = IReactorFDSet(loop)
        port = await TCP4ServerEndpoint(loop, 0, interface="127.0.0.1").listen(EchoFactory())
        self.addCleanup(port.stopListening)
        there = TCP4ClientEndpoint(loop, "127.0.0.1", cast(IPv4Address, port.getHost()).port)
        clients = [Client() for _ in range(CLIENTS)]
        for client in clients:
            await there.connect(Factory.forProtocol(lambda made=client: made))  # type: ignore[misc]
        for client in clients:
            self.assertEqual(await client.heard, b"word")
        read, written = descriptors.getReaders(), descriptors.getWriters()
        self.assertEqual(sum(map(is_served, read)), CLIENTS)
        self.assertEqual(sum(map(is_served, written)), 0)
        for client in clients:
            assert client.transport is not None
            client.transport.loseConnection()
