"""Hosts in memory and what lies between them; and the network as one process on one host sees it.

An `Internet` is shared by all hosts of a run. Everything that chance decides comes from one `Random`, and every
arrival is noted in one hash, the trace: the same seed gives the same run, and the same trace. `SimNetwork` is the
`framing.network.Network` of one process: it knows its device key, so that both ends of a connection share a
`Channel` as they would over TLS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from random import Random

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectError, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import EXPORTER_BYTES, Channel
from twistedp2p.testing.clock import ProcessClock, SimClock
from twistedp2p.testing.links import SimTransport, Wire

__all__ = ["Internet", "SimNetwork", "Traits"]

FIRST_FREE_PORT = 20_000
FIRST_CALLER_PORT = 40_000
LONGEST_PIECE = 0.05
"""On a wire of limited bandwidth no piece keeps it busy for longer than this, seconds."""
SYN_AGAIN = 1.0
"""A call that gets no answer is repeated after this, seconds."""


@frozen
class Traits:
    """What the wires of an internet are like."""

    latency: tuple[float, float] = (0.0002, 0.02)
    """The least and the most that one piece takes, seconds."""
    bandwidth: float | None = None
    """Bytes a second of each direction of each connection; None: as many as you like."""
    fragments: float = 0.3
    """How often bytes travel in a smaller piece than they could, 0 to 1."""


class Internet:
    """All hosts of one run and the connections between them.

    `random` decides latencies and pieces; `traits` may be changed at any time. Hosts are known by their addresses.
    """

    def __init__(self, clock: SimClock, random: Random, traits: Traits | None = None) -> None:
        self.clock = clock
        self.traits = traits or Traits()
        self.bytes_carried = 0
        self._random = random
        self._trace = hashlib.blake2b(digest_size=16)
        self._listeners: dict[tuple[str, int], _Port] = {}
        self._links: dict[SimTransport, tuple[str, str]] = {}
        self._calls = 0
        self._cut: set[frozenset[str]] = set()
        self._shut: set[tuple[str, str]] = set()
        self._silent: set[str] = set()

    # -- what a run may do to it ---------------------------------------------

    @property
    def trace(self) -> str:
        """A hash of all that has arrived anywhere so far, and when."""
        return self._trace.hexdigest()

    def partition(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Let nothing through between `some` hosts and the `others`; connections stall, they do not end."""
        others = list(others)
        self._cut.update(frozenset((one, other)) for one in some for other in others if one != other)

    def heal(self) -> None:
        """End all partitions: what was held up arrives."""
        self._cut.clear()
        self._go_on()

    def silence(self, host: str) -> None:
        """Let nothing get to or from an address: its machine sleeps, or has another one now. It outlasts `heal`."""
        self._silent.add(host)

    def wake(self, host: str) -> None:
        """Let an address be reached again: what was held up arrives."""
        self._silent.discard(host)
        self._go_on()

    def _go_on(self) -> None:
        for end in list(self._links):
            end.heal()

    def shut_out(self, callers: Iterable[str], hosts: Iterable[str]) -> None:
        """Let nothing answer calls of these `callers` to these `hosts`, like a firewall: only the hosts can dial."""
        hosts = list(hosts)
        self._shut.update((caller, host) for caller in callers for host in hosts if caller != host)

    def let_in(self) -> None:
        """Let everybody call everybody again."""
        self._shut.clear()

    def is_shut(self, caller: str, host: str) -> bool:
        """Whether a call from one host to another gets no answer."""
        return (caller, host) in self._shut or self.is_cut(caller, host)

    def connections(self, one: str, other: str) -> int:
        """Return how many connections there are between two hosts."""
        return len(self._between(one, other))

    def break_connections(self, one: str, other: str) -> int:
        """Break all connections between two hosts, with what is on the way; return how many there were."""
        broken = self._between(one, other)
        for end in broken:
            end.break_off()
        return len(broken)

    def _between(self, one: str, other: str) -> list[SimTransport]:
        """Return the dialler's end of each connection that both ends still have."""
        self._links = {end: hosts for end, hosts in self._links.items() if end.connected or end.other.connected}
        hosts = {(one, other), (other, one)}
        return [end for end, pair in self._links.items() if pair in hosts and end.dialled and end.connected]

    # -- what lies between two ends (links.Between) --------------------------

    def latency(self, source: str, target: str) -> float:
        """Return how long the next piece takes."""
        return self._random.uniform(*self.traits.latency)

    def seconds_for(self, length: int, source: str, target: str) -> float:
        """Return how long so many bytes keep a wire busy."""
        return length / self.traits.bandwidth if self.traits.bandwidth else 0.0

    def piece(self, length: int) -> int:
        """Return how many of `length` bytes travel as one piece."""
        if self.traits.bandwidth:
            length = min(length, int(self.traits.bandwidth * LONGEST_PIECE) + 1)
        if self._random.random() >= self.traits.fragments:
            return length
        most = self._random.choice((1, 16, length))
        return self._random.randint(1, min(most, length))

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets through."""
        if source in self._silent or target in self._silent:
            return True
        return frozenset((source, target)) in self._cut

    def arrived(self, source: str, target: str, what: bytes) -> None:
        """Note something that arrives."""
        self.bytes_carried += len(what)
        self._trace.update(f"{self.clock.seconds():.9f} {source} {target} {len(what)} ".encode())
        self._trace.update(what)

    # -- listening and dialling ----------------------------------------------

    def add_port(self, port: _Port) -> None:
        """Let others dial a port; raises `CannotListenError` if it is taken. Port 0 becomes a free one."""
        if port.number == 0:
            port.number = FIRST_FREE_PORT
            while (port.host, port.number) in self._listeners:
                port.number += 1
        if (port.host, port.number) in self._listeners:
            raise CannotListenError(port.host, port.number, OSError(98, "Address already in use"))
        self._listeners[port.host, port.number] = port

    def remove_port(self, port: _Port) -> bool:
        """Let nobody dial a port any more; return whether anybody could."""
        if self._listeners.get((port.host, port.number)) is not port:
            return False
        del self._listeners[port.host, port.number]
        return True

    def port_at(self, host: str, number: int) -> _Port | None:
        """Return who listens there."""
        return self._listeners.get((host, number))

    def join(
        self, caller: SimNetwork, port: _Port, seen: tuple[str, str], alpn: str
    ) -> tuple[SimTransport, SimTransport]:
        """Return the two ends of a new connection; `seen`: the caller's and the listener's address as they appear."""
        self._calls += 1
        here = IPv4Address("TCP", seen[0], FIRST_CALLER_PORT + self._calls % 20_000)
        there = IPv4Address("TCP", seen[1], port.number)
        exporter = hashlib.sha256(b"exporter of call %d" % self._calls).digest()[:EXPORTER_BYTES]
        channel = Channel(exporter, caller.key.spki, port.network.key.spki)
        to, back = Wire(self, caller.host, port.host), Wire(self, port.host, caller.host)
        near = SimTransport(self.clock, to, back, host=here, peer=there, channel=channel, alpn=alpn, dialled=True)
        far = SimTransport(self.clock, back, to, host=there, peer=here, channel=channel, alpn=port.alpn, dialled=False)
        near.other, far.other = far, near
        if len(self._links) > 1000:
            self._links = {end: hosts for end, hosts in self._links.items() if end.connected or end.other.connected}
        self._links[near] = self._links[far] = (caller.host, port.host)
        return near, far


@implementer(IListeningPort)
class _Port:
    """A port that a process listens on."""

    def __init__(self, network: SimNetwork, number: int, factory: IProtocolFactory, alpn: str) -> None:
        self.network = network
        self.host = network.host
        self.number = number
        self.factory = factory
        self.alpn = alpn

    def startListening(self) -> None:
        """Take callers; raises `CannotListenError`."""
        self.network.internet.add_port(self)
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """Take no more callers; connections that there are go on."""
        self.network.internet.remove_port(self)
        self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address:
        """Return where it listens."""
        return IPv4Address("TCP", self.host, self.number)


class _Call:
    """One attempt to reach a port; it fails as a system would let it fail."""

    def __init__(self, network: SimNetwork, where: tuple[str, int], alpn: str, factory: IProtocolFactory) -> None:
        self._network = network
        self._internet = network.internet
        # Not that of the process: what the others do goes on when this one is gone.
        self._clock = network.internet.clock
        self._where = where
        self._alpn = alpn
        self._factory = factory
        self._give_up_at = self._clock.seconds() + limits.HANDSHAKE
        loopback = where[0] in ("localhost", "127.0.0.1", "::1")
        self._host = network.host if loopback else where[0]
        self._seen = ("127.0.0.1", "127.0.0.1") if loopback else (network.host, where[0])
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)

    def ring(self) -> None:
        """Try to reach the other host; again, as long as nothing gets through."""
        if self.result.called or not self._network.alive:
            return
        if self._network.suspended or self._internet.is_shut(self._network.host, self._host):
            if self._clock.seconds() >= self._give_up_at and not self._network.suspended:
                self.result.errback(Failure(TimeoutError()))
            else:
                self._clock.callLater(SYN_AGAIN, self.ring)
            return
        self._clock.callLater(self._internet.latency(self._network.host, self._host), self._heard)

    def _heard(self) -> None:
        """The other host hears the call, unless nothing gets through any more."""
        if self._internet.is_shut(self._network.host, self._host):
            self.ring()
            return
        port = self._internet.port_at(self._host, self._where[1])
        back = self._internet.latency(self._host, self._network.host)
        if port is None:
            self._clock.callLater(back, self._refused)
            return
        near, far = self._internet.join(self._network, port, self._seen, self._alpn)
        protocol = port.factory.buildProtocol(far.getPeer())
        if protocol is None:
            far.abortConnection()
        else:
            port.network.keep(far)
            far.begin(protocol)
        self._clock.callLater(back, self._answered, near)

    def _refused(self) -> None:
        if self._network.suspended:
            self._clock.callLater(SYN_AGAIN, self._refused)
        elif self._network.alive and not self.result.called:
            self.result.errback(Failure(ConnectionRefusedError()))

    def _answered(self, near: SimTransport) -> None:
        """The call is answered: this side makes its protocol."""
        if self._network.suspended:
            self._clock.callLater(SYN_AGAIN, self._answered, near)
            return
        if self.result.called or not self._network.alive:
            near.die()
            return
        if not near.connected:
            self.result.errback(Failure(ConnectError(string="the connection broke while it was made")))
            return
        protocol = self._factory.buildProtocol(near.getPeer())
        if protocol is None:
            near.die()
            self.result.errback(Failure(CancelledError()))
            return
        self._network.keep(near)
        near.begin(protocol)
        self.result.callback(protocol)

    def _cancelled(self, result: Deferred[IProtocol]) -> None:
        """Nobody wants the connection any more; `_answered` hangs up."""


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Dials one address."""

    def __init__(self, network: SimNetwork, where: tuple[str, int], alpn: str) -> None:
        self._network = network
        self._where = where
        self._alpn = alpn

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with `ConnectionRefusedError`, or `TimeoutError` if nothing gets through for too long."""
        call = _Call(self._network, self._where, self._alpn, protocolFactory)
        call.ring()
        return call.result


class SimNetwork:
    """The network of one process, with the address of its host and its device key; dead for good after `kill`."""

    def __init__(self, internet: Internet, host: str, key: DeviceKey) -> None:
        self.internet = internet
        self.host = host
        self.key = key
        self.alive = True
        self._transports: list[SimTransport] = []
        self._clock = ProcessClock(internet.clock)
        self._ports: list[_Port] = []

    @property
    def clock(self) -> IReactorTime:
        """The time, as this process has it."""
        return self._clock

    @property
    def suspended(self) -> bool:
        """Whether the process does nothing at the moment."""
        return self._clock.suspended

    def client(self, host: str, port: int, *, alpn: str) -> IStreamClientEndpoint:
        """Return what dials that address; loopback means this host."""
        return _Endpoint(self, (host, port), alpn)

    def listen(self, endpoint: str, factory: IProtocolFactory, *, alpn: str) -> Deferred[IListeningPort]:
        """Listen on tcp:PORT or tcp6:PORT, 0 being any that is free; what follows the port is not looked at."""
        kind, _, rest = endpoint.partition(":")
        number = rest.partition(":")[0].removeprefix("port=")
        if kind not in ("tcp", "tcp6") or not number.isdigit():
            return fail(CannotListenError(self.host, endpoint, OSError(22, "there are only tcp endpoints here")))
        port = _Port(self, int(number), factory, alpn)
        try:
            port.startListening()
        except CannotListenError:
            return fail(Failure())
        self._ports.append(port)
        return succeed(port)

    def channel(self, transport: ITransport, *, alpn: str, dialled: bool) -> Channel:
        """Return what both ends of a connection know; `NoCommonVersion` unless they agreed on `alpn`."""
        assert isinstance(transport, SimTransport)
        if transport.negotiated != alpn:
            raise NoCommonVersion(f"The other side does not speak {alpn}; update the older of the two.")
        return transport.channel

    def keep(self, transport: SimTransport) -> None:
        """Remember an end that this process has, to end it with the process."""
        self._transports = [*(end for end in self._transports if end.connected), transport]

    def suspend(self) -> None:
        """Let the process and its machine do nothing, until `resume`; connections stay, and nothing gets through."""
        self._clock.suspend()
        self.internet.silence(self.host)

    def resume(self) -> None:
        """Let them go on; what was due meanwhile happens now."""
        self.internet.wake(self.host)
        self._clock.resume()

    def move(self, host: str) -> None:
        """Give the machine another address: connections from and to the old one hear nothing any more.

        Ports that are listened on are those of the new address now; nobody is told of the change.
        """
        self.internet.silence(self.host)
        self.host = host
        for port in self._ports:
            if self.internet.remove_port(port):
                port.host = host
                self.internet.add_port(port)

    def kill(self, *, silently: bool = False) -> None:
        """Let this process hear, say and do nothing any more; `silently`: not even its system tells the others."""
        if self.suspended:
            self.internet.wake(self.host)
        self.alive = False
        self._clock.kill()
        for port in self._ports:
            self.internet.remove_port(port)
        for transport in self._transports:
            if silently:
                transport.vanish()
            else:
                transport.die()
        self._transports.clear()
