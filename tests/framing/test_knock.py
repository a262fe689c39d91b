"""Knocking at real sockets of this machine: each way in which it ends has a name."""

from __future__ import annotations

import socket
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.framing.memory import Made
from tests.framing.test_tls import CLIENT, SERVER
from twistedp2p.framing.knock import Answer, Ending, knock, resolved
from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN, Network
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.limits import HANDSHAKE


class Listener(Protocol):
    """Says `greeting` when somebody comes; notes what it hears, and when that one has gone."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.greeting = greeting
        self.heard = b""
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Greet."""
        assert self.transport is not None
        if self.greeting:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Note it."""
        self.heard += data

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """Note it."""
        self.gone.callback(None)


def port_of(listening: IListeningPort) -> int:
    """Return the number of a TCP port."""
    return int(cast(IPv4Address, listening.getHost()).port)


class KnockTests(TestCase):
    """Real TLS over loopback."""

    timeout = 20

    async def at(self, port: int, alpn: str = TRACKER_ALPN) -> Answer:
        """Knock at a port of this machine."""
        return await knock(TLSNetwork(reactor, CLIENT), "127.0.0.1", port, alpn=alpn)

    async def test_heard(self) -> None:
        """Who is there is known by its key; nothing was said to it."""
        there = Listener()
        port = await TLSNetwork(reactor, SERVER).listen(
            "tcp:0:interface=127.0.0.1", Made(lambda _: there), alpn=TRACKER_ALPN
        )
        self.addCleanup(port.stopListening)
        answer = await self.at(port_of(port))
        self.assertEqual(answer, Answer(Ending.HEARD, spki=SERVER.spki))
        await there.gone
        self.assertEqual(there.heard, b"")

    async def test_another_version(self) -> None:
        """A node that speaks another conversation is told from one that is none."""
        port = await TLSNetwork(reactor, SERVER).listen(
            "tcp:0:interface=127.0.0.1", Made(lambda _: Listener()), alpn=TRACKER_ALPN
        )
        self.addCleanup(port.stopListening)
        self.assertIs((await self.at(port_of(port), PEER_ALPN)).ending, Ending.NO_VERSION)

    async def test_another_program(self) -> None:
        """What greets in another protocol is no node."""
        there = Listener(b"220 mail.example ESMTP\r\n")
        factory = Factory()
        factory.buildProtocol = lambda addr: there  # type: ignore[method-assign]
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        self.assertIs((await self.at(port_of(port))).ending, Ending.NO_TLS)
        await there.gone

    async def test_nobody(self) -> None:
        """A port that nobody listens on says why."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        answer = await self.at(port)
        self.assertEqual((answer.ending, answer.why), (Ending.NO_ROUTE, "Connection refused"))


@implementer(IStreamClientEndpoint)
class SilentNetwork:
    """A network, and its one endpoint, on which connections are made and nothing ever arrives."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()

    def client(self, host: str, port: int, *, alpn: str) -> SilentNetwork:
        """Return what dials."""
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect at once."""
        made = factory.buildProtocol(None)
        made.makeConnection(self.transport)
        return succeed(made)


class SilenceTests(SynchronousTestCase):
    """What takes the connection and says nothing."""

    def test_silent(self) -> None:
        """It is given up after the time of a handshake, and not before."""
        network = SilentNetwork()
        answer = knock(cast(Network, network), "10.0.0.2", 17, alpn=TRACKER_ALPN)
        network.clock.advance(HANDSHAKE - 0.01)
        self.assertNoResult(answer)
        network.clock.advance(0.01)
        self.assertIs(self.successResultOf(answer).ending, Ending.NO_TLS)
        self.assertTrue(network.transport.disconnected)


class ResolvedTests(SynchronousTestCase):
    """Names become addresses."""

    def test_address(self) -> None:
        """An address is itself, once."""
        self.assertEqual(resolved("127.0.0.1"), ["127.0.0.1"])
        self.assertEqual(resolved("::1"), ["::1"])

    def test_no_name(self) -> None:
        """A name that there can not be is an error of the system."""
        self.assertRaises(OSError, resolved, "no.such.host.invalid")
