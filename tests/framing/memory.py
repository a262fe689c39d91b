"""A network in memory: nodes, links that deliver when told to, and no TLS, sockets or time of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.errors import NoCommonVersion
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import Channel

__all__ = ["Hub", "Made", "MemoryNetwork", "MemoryTransport"]


@implementer(ITransport)
class MemoryTransport:
    """One end of a link; what is written waits until the hub delivers it."""

    disconnecting = False
    disconnected = False

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        self.host = host
        self.peer = peer
        self.other: MemoryTransport
        self.protocol: IProtocol | None = None
        self.outbox: list[bytes] = []
        self.sent = 0
        self.aborted = False
        self.paused = False
        self.stalled = False
        self.producer: IPushProducer | None = None
        self.high_water = 65536
        self.segment: int | None = None
        self.producer_paused = False
        self.channel: Callable[[bool], Channel]
        self.alpn: str | None = None

    def write(self, data: bytes) -> None:
        """Keep bytes for delivery."""
        if self.disconnecting or self.disconnected or not data:
            return
        self.sent += len(data)
        self.outbox.append(bytes(data))
        if self.producer and not self.producer_paused and sum(map(len, self.outbox)) > self.high_water:
            self.producer_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Keep bytes for delivery."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close once everything is delivered."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close now, and forget what was not delivered."""
        self.aborted = self.disconnecting = True
        self.outbox.clear()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Remember whom to pause."""
        assert streaming and self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Nobody to pause any more."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Deliver nothing to this end."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Deliver again."""
        self.paused = False

    def stopProducing(self) -> None:
        """The reader wants no more."""
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        """Return the other end."""
        return self.peer

    def getHost(self) -> IPv4Address:
        """Return this end."""
        return self.host

    def lose(self, reason: Exception) -> None:
        """The connection is gone for this end."""
        if not self.disconnected:
            self.disconnected = self.disconnecting = True
            if self.protocol is not None:
                self.protocol.connectionLost(Failure(reason))

    def step(self) -> bool:
        """Deliver what waits at this end, or a loss; return whether anything happened."""
        if self.aborted and not self.disconnected:
            self.lose(ConnectionAborted())
            return True
        if self.disconnected:
            return False
        if self.other.disconnected and not self.other.outbox:
            self.lose(ConnectionDone())
            return True
        if self.outbox and not self.stalled and not self.other.paused:
            data = self._next_segment()
            if not self.outbox and self.producer_paused and self.producer:
                self.producer_paused = False
                self.producer.resumeProducing()
            if not self.other.disconnected and self.other.protocol is not None:
                self.other.protocol.dataReceived(data)
            return True
        if self.disconnecting and not self.outbox and self.producer is None:
            self.lose(ConnectionDone())
            return True
        return False

    def _next_segment(self) -> bytes:
        if self.segment is None:
            return self.outbox.pop(0)
        waits = b"".join(self.outbox)
        data, rest = waits[: self.segment or None], waits[self.segment or len(waits) :]
        self.outbox[:] = [rest] if rest else []
        return data


class Made(Factory):
    """A factory whose protocols somebody else makes."""

    noisy = False

    def __init__(self, make: Callable[[IAddress], Any]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return what the maker makes."""
        assert addr is not None
        return self._make(addr)


@define(eq=False)
class Hub:
    """All nodes and links of a test."""

    clock: Clock = field(factory=Clock)
    listeners: dict[tuple[str, int], tuple[IProtocolFactory, str, DeviceKey]] = field(factory=dict)
    links: list[MemoryTransport] = field(factory=list)
    dials: int = 0
    callers: int = 0
    shut: set[tuple[str, str]] = field(factory=set)
    """(caller, host): such calls are refused."""
    silent: set[tuple[str, str]] = field(factory=set)
    """(caller, host): such calls get no answer."""
    segment: int | None = None
    """How many bytes of links that are made from now on arrive at once; 0: all that wait; None: as written."""

    def network(self, key: DeviceKey, host: str = "10.0.0.1") -> MemoryNetwork:
        """Return the network as the node with that key, at that address, sees it."""
        return MemoryNetwork(self, key, host)

    def pump(self) -> None:
        """Deliver until nothing moves, of each end in turn: both ends hear each other while they talk."""
        moved = True
        while moved:
            moved = False
            for link in list(self.links):
                if link.step():
                    moved = True
            self.links = [link for link in self.links if not link.disconnected]

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Let time go by in steps, delivering after each."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            self.pump()

    def connect(self, caller: MemoryNetwork, factory: IProtocolFactory, where: tuple[str, int], alpn: str) -> IProtocol:
        """Join the protocol of `factory` to whoever listens there."""
        server_factory, server_alpn, server_key = self.listeners[where]
        self.callers += 1
        here, there = IPv4Address("TCP", caller.host, 40000 + self.callers), IPv4Address("TCP", *where)
        client_end, server_end = MemoryTransport(here, there), MemoryTransport(there, here)
        client_end.other, server_end.other = server_end, client_end
        exporter = self.callers.to_bytes(32, "big")
        channel = Channel(exporter, caller.key.spki, server_key.spki)
        for end in (client_end, server_end):
            end.channel = lambda dialled: channel
            end.alpn = alpn if alpn == server_alpn else None
            end.segment = self.segment
        client, server = factory.buildProtocol(there), server_factory.buildProtocol(here)
        assert client is not None
        client_end.protocol, server_end.protocol = client, server
        self.links += [client_end, server_end]
        for protocol, end in ((server, server_end), (client, client_end)):
            if protocol is None:
                end.abortConnection()
            else:
                protocol.makeConnection(end)
        for protocol, end in ((server, server_end), (client, client_end)):
            if protocol is not None and not end.disconnecting and IHandshakeListener.providedBy(protocol):
                protocol.handshakeCompleted()
        return client


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _Endpoint:
    network: MemoryNetwork
    where: tuple[str, int]
    alpn: str

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect at once, or be refused."""
        hub = self.network.hub
        hub.dials += 1
        way = (self.network.host, self.where[0])
        if way in hub.silent:
            return Deferred(lambda result: result.errback(ConnectingCancelledError(IPv4Address("TCP", *self.where))))
        if self.where not in hub.listeners or way in hub.shut:
            return fail(ConnectionRefusedError())
        return succeed(hub.connect(self.network, factory, self.where, self.alpn))


@implementer(IListeningPort)
@define(eq=False)
class _Port:
    hub: Hub
    where: tuple[str, int]

    def startListening(self) -> None:
        """It does already."""

    def stopListening(self) -> Deferred[None]:
        """Take no more callers."""
        self.hub.listeners.pop(self.where, None)
        return succeed(None)

    def getHost(self) -> IAddress:
        """Return where it listens."""
        return IPv4Address("TCP", *self.where)


class MemoryNetwork:
    """The network as one node sees it."""

    def __init__(self, hub: Hub, key: DeviceKey, host: str) -> None:
        self.hub = hub
        self.key = key
        self.host = host
        self.clock = hub.clock

    def client(self, host: str, port: int, *, alpn: str) -> IStreamClientEndpoint:
        """Return what dials that address."""
        return _Endpoint(self, (host, port), alpn)

    def listen(self, endpoint: str, factory: IProtocolFactory, *, alpn: str) -> Deferred[IListeningPort]:
        """Listen on the port of tcp:PORT."""
        where = (self.host, int(endpoint.split(":")[1]))
        self.hub.listeners[where] = (factory, alpn, self.key)
        return succeed(_Port(self.hub, where))

    def channel(self, transport: ITransport, *, alpn: str, dialled: bool) -> Channel:
        """Return the channel that both ends share."""
        assert isinstance(transport, MemoryTransport)
        if transport.alpn != alpn:
            raise NoCommonVersion(f"The other side does not speak {alpn}.")
        return transport.channel(dialled)
