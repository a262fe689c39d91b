"""Live connections with other members: one a node, dialled by whoever wants something, used by both sides.

Of two connections between one pair both sides keep the one that the smaller node id dialled, and the other drains.
A node that can not be reached is left alone for a while that doubles with every failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import ConnectionFull, TwistedP2PError, Unreachable
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.network import PEER_ALPN, Network
from twistedp2p.identity.device import node_text
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages import Address
from twistedp2p.transfer.accepting import PeerFactory
from twistedp2p.transfer.protocol import PeerProtocol
from twistedp2p.transfer.server import ContentSource

__all__ = ["Links"]

_PATIENCE = (ConnectError, DNSLookupError, TwistedP2PError, OSError)
"""What may go wrong at one address without being our fault: the next one is tried."""


@define(eq=False)
class _Node:
    """One other node: its connections, the dial that is under way, and who waits for it."""

    links: list[PeerProtocol] = field(factory=list)
    opened_at: float = 0.0
    dial: Deferred[None] | None = None
    waiting: list[Deferred[PeerProtocol]] = field(factory=list)
    wait: float = 0.0
    not_before: float = 0.0

    @property
    def link(self) -> PeerProtocol | None:
        """The connection to use; one that is closing is of no use any more."""
        return next((link for link in self.links if link.proven), None)


class Links:
    """All connections with other peers of one share; lives as long as the peer.

    Args:
        network: dials and listens, with the key of this device.
        node: the node id of this device.
        keys: of the share.
        name: by which this peer is shown to people.
        versions: of the conversation that this side speaks.
        source: what this side can serve.
        addresses_of: where a node can be reached, in the order in which to try.
        entropy: random bytes.
        random: a random number from 0 to 1, so that not all dial at the same time.
        changed: called with a node when its connection came or went.
        most: connections there may be at the same time.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        network: Network,
        node: bytes,
        keys: ShareKeys,
        name: str,
        versions: tuple[int, ...],
        source: ContentSource,
        addresses_of: Callable[[bytes], Sequence[Address]],
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        changed: Callable[[bytes], object] = lambda node: None,
        most: int = limits.PEER_CONNECTIONS,
    ) -> None:
        self._network = network
        self._node = node
        self._keys = keys
        self._name = name
        self._versions = versions
        self._source = source
        self._addresses_of = addresses_of
        self._entropy = entropy
        self._random = random
        self._changed = changed
        self._most = most
        self._nodes: dict[bytes, _Node] = {}
        self._mine: set[Address] = set()
        self._opening: dict[PeerProtocol, Deferred[None]] = {}
        self._all: dict[PeerProtocol, None] = {}  # in the order in which they came: a simulation can be replayed
        self._stopped = False
        self.factory = PeerFactory(lambda: self._protocol(None), Admission())

    def link(self, node: bytes) -> PeerProtocol | None:
        """Return the live connection with a node, if there is one."""
        known = self._nodes.get(node)
        return None if known is None else known.link

    def live(self) -> list[PeerProtocol]:
        """Return the connection of every node that there is one with."""
        return [known.link for known in self._nodes.values() if known.link is not None]

    def connection(self, node: bytes) -> Deferred[PeerProtocol]:
        """Return the connection with a node, dialled if there is none; all callers share one dial.

        It fails with `Unreachable` if no address answers, and at once as long as `wait_for` says to wait.
        """
        known = self._nodes.setdefault(node, _Node())
        result: Deferred[PeerProtocol] = Deferred(known.waiting.remove)
        if known.link is not None:
            result.callback(known.link)
        elif self._stopped or node == self._node or self.wait_for(node) > 0:
            result.errback(Failure(Unreachable(f"{node_text(node)} can not be dialled now.")))
        else:
            known.waiting.append(result)
            if known.dial is None:
                known.dial = Deferred.fromCoroutine(self._dial(node))
                known.dial.addErrback(self._not_dialled).addBoth(self._dialled, node, known)
        return result

    def wait_for(self, node: bytes) -> float:
        """Return for how many seconds a node should not be dialled (again)."""
        known = self._nodes.get(node)
        return 0.0 if known is None else max(known.not_before - self._network.clock.seconds(), 0.0)

    def try_again(self, node: bytes) -> None:
        """There is news of a node, for example an address: it may be dialled at once."""
        known = self._nodes.get(node)
        if known is not None:
            known.wait = known.not_before = 0.0

    def stop(self) -> None:
        """Close every connection and dial no more; whoever waits for one hears that it failed."""
        self._stopped = True
        for known in self._nodes.values():
            if known.dial is not None:
                known.dial.cancel()
        for protocol in list(self._all):
            protocol.say_goodbye() if protocol.proven else protocol.abort("this peer stops")

    # -- dialling --

    async def _dial(self, node: bytes) -> None:
        """Try every address of a node until one leads to it."""
        for address in self._addresses_of(node):
            if address in self._mine:
                continue
            try:
                await self._try(node, address)
                return
            except _PATIENCE as error:
                self._log.debug(
                    "No connection with {node} at {host}:{port}: {error}",
                    node=node_text(node), host=address.host, port=address.port, error=error,
                )  # fmt: skip

    async def _try(self, node: bytes, address: Address) -> None:
        """Return once the connection is proven; raises if it is lost before, or is not with that node."""
        protocol = self._protocol(node)
        try:
            await self._network.client(address.host, address.port, alpn=PEER_ALPN).connect(_One(protocol))
            if protocol in self._all and not protocol.proven:
                opening = self._opening[protocol] = Deferred(lambda _: protocol.abort("given up"))
                await opening
            if not protocol.proven:
                raise Unreachable("The connection was lost before both sides were known.")
        finally:
            self._opening.pop(protocol, None)
            if protocol.transport is None:
                self._all.pop(protocol, None)
            if protocol.node == self._node:
                self._mine.add(address)

    def _not_dialled(self, failure: Failure) -> None:
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._log.failure("Dialling failed", failure=failure)

    def _dialled(self, _: None, node: bytes, known: _Node) -> None:
        known.dial = None
        if known.link is None:
            self._back_off(known)
        waiting, known.waiting = known.waiting, []
        for result in waiting:
            result.errback(Failure(Unreachable(f"{node_text(node)} can not be reached now.")))

    def _back_off(self, known: _Node) -> None:
        known.wait = min(max(2 * known.wait, limits.BACKOFF_FIRST), limits.BACKOFF_MOST)
        jitter = 0.5 + self._random() / 2
        known.not_before = self._network.clock.seconds() + known.wait * jitter

    # -- connections that come and go --

    def _protocol(self, expected: bytes | None) -> PeerProtocol:
        protocol = PeerProtocol(
            network=self._network,
            keys=self._keys,
            name=self._name,
            versions=self._versions,
            source=self._source,
            entropy=self._entropy,
            opened=self._opened,
            lost=self._lost,
            expected=expected,
        )
        self._all[protocol] = None
        return protocol

    def _opened(self, protocol: PeerProtocol) -> None:
        """Both sides are proven: keep this connection, or the one that is there already."""
        self.factory.known(protocol)
        if protocol.node == self._node:
            protocol.abort("this node itself")
            return
        if self._stopped:
            protocol.say_goodbye()
            return
        if not self._make_room(protocol):
            protocol.refuse(ConnectionFull("This peer has as many connections as it takes; try again later."))
            return
        known = self._nodes.setdefault(protocol.node, _Node())
        links = [*(link for link in known.links if link.proven), protocol]
        first = min(map(self._dialler, links))
        kept = [link for link in links if self._dialler(link) == first][-1]  # of two by the same side, the newer
        known.links = [kept, *(link for link in (*known.links, protocol) if link is not kept)]
        known.opened_at = self._network.clock.seconds()
        waiting, known.waiting = known.waiting, []
        for result in waiting:
            result.callback(kept)
        for link in known.links[1:]:
            link.drain()
        opening = self._opening.pop(protocol, None)
        if opening is not None:
            opening.callback(None)
        self._changed(protocol.node)

    def _dialler(self, link: PeerProtocol) -> bytes:
        return self._node if link.dialled else link.node

    def _make_room(self, protocol: PeerProtocol) -> bool:
        """Return whether one more connection may stay; an idle one makes way if need be."""
        others = [link for link in self.live() if link.node != protocol.node]
        if len(others) < self._most:
            return True
        idle = next((link for link in others if not link.busy), None)
        if idle is not None:
            idle.say_goodbye()
        return idle is not None

    def _lost(self, protocol: PeerProtocol, reason: Failure) -> None:
        self._all.pop(protocol, None)
        self.factory.known(protocol)
        opening = self._opening.pop(protocol, None)
        if opening is not None:
            opening.errback(reason)
        known = self._nodes.get(protocol.node)
        if known is None or protocol not in known.links:
            return
        known.links.remove(protocol)
        if not known.links:
            if self._network.clock.seconds() - known.opened_at < limits.BACKOFF_MOST:
                self._back_off(known)
            else:
                known.wait = 0.0
            self._changed(protocol.node)


class _One(Factory):
    """Hands out one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: PeerProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> PeerProtocol:
        return self._protocol
