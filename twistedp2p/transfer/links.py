"""Live connections with other members: one a node, dialled by whoever wants something, used by both sides.

Of two connections between one pair both sides keep the one that the smaller node id dialled, and the other drains.
A node that can not be reached is asked through the tracker to dial this one (`dialling`), and then left alone for a
while that doubles with every failure.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import ConnectionFull, NoCommonVersion, Unreachable
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.network import PEER_ALPN, Network
from twistedp2p.framing.versions import no_common_version
from twistedp2p.identity.device import node_text
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.transfer.accepting import PeerFactory
from twistedp2p.transfer.dialling import Dial, not_reached
from twistedp2p.transfer.protocol import PeerProtocol
from twistedp2p.transfer.server import ContentSource

__all__ = ["Links"]


@define(eq=False)
class _Node:
    """One other node: its connections, the dial that is under way, and who waits for it."""

    links: list[PeerProtocol] = field(factory=list)
    opened_at: float = 0.0
    dial: Dial | None = None
    waiting: list[Deferred[PeerProtocol]] = field(factory=list)
    wait: float = 0.0
    not_before: float = 0.0
    heeded_at: float | None = None
    addresses: tuple[Address, ...] = ()
    trouble: str = ""

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
        listed: how the tracker lists a node now: its versions, and its addresses in the order in which to try; None
            if it is not there.
        entropy: random bytes.
        random: a random number from 0 to 1, so that not all dial at the same time.
        ask_to_dial: asks a node, through the tracker, to dial this one; returns whether that was possible.
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
        listed: Callable[[bytes], PeerInfo | None],
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        ask_to_dial: Callable[[bytes], bool] = lambda node: False,
        changed: Callable[[bytes], object] = lambda node: None,
        most: int = limits.PEER_CONNECTIONS,
    ) -> None:
        self._network = network
        self._clock = network.clock
        self._node = node
        self._keys = keys
        self._name = name
        self._versions = versions
        self._source = source
        self._listed = listed
        self._entropy = entropy
        self._random = random
        self._ask_to_dial = ask_to_dial
        self._changed = changed
        self._most = most
        self._nodes: dict[bytes, _Node] = {}
        self._mine: set[Address] = set()
        self._opening: dict[PeerProtocol, Deferred[None]] = {}
        self._all: dict[PeerProtocol, None] = {}  # in the order in which they came: a simulation can be replayed
        self._stopped = False
        self.factory = PeerFactory(lambda: self._protocol(None), Admission())

    # -- what there is --

    def link(self, node: bytes) -> PeerProtocol | None:
        """Return the live connection with a node, if there is one."""
        known = self._nodes.get(node)
        return None if known is None else known.link

    def live(self) -> list[PeerProtocol]:
        """Return the connection of every node that there is one with."""
        return [known.link for known in self._nodes.values() if known.link is not None]

    def unreachable(self) -> dict[bytes, str]:
        """Return every node that is listed, was wanted and could not be reached when it was last tried; and why.

        A sentence each, that says what to do; incompatible ones are among them. A node leaves this when there is a
        connection with it, whoever dialled, or when it is listed no more. What only such nodes hold does not arrive
        before a third member has it.
        """
        return {
            node: known.trouble
            for node, known in self._nodes.items()
            if known.trouble and known.link is None and self._listed(node) is not None
        }

    def incompatible(self, node: bytes) -> str:
        """Return why a listed node is not dialled: a sentence that names which side to update; empty if it may be."""
        info = self._listed(node)
        if info is None or not info.versions or set(info.versions) & set(self._versions):
            return ""
        return no_common_version(info.name or node_text(node), info.versions, self._versions)

    # -- wanting a connection --

    def connection(self, node: bytes) -> Deferred[PeerProtocol]:
        """Return the connection with a node, dialled if there is none; all callers share one dial.

        If no address answers, the node is asked to dial this one. It fails with `Unreachable` if that is in vain too,
        and at once as long as `wait_for` says to wait; with `NoCommonVersion` if the two can not talk.
        """
        known = self._nodes.setdefault(node, _Node())
        result: Deferred[PeerProtocol] = Deferred(known.waiting.remove)
        incompatible = self.incompatible(node)
        if known.link is not None:
            result.callback(known.link)
        elif incompatible:
            self._note(node, known, incompatible)
            result.errback(Failure(NoCommonVersion(incompatible)))
        elif self._stopped or node == self._node or self.wait_for(node) > 0:
            result.errback(Failure(Unreachable(f"{node_text(node)} can not be dialled now.")))
        else:
            known.waiting.append(result)
            self._begin_dial(node, known, lambda: self._ask_to_dial(node))
        return result

    def wait_for(self, node: bytes) -> float:
        """Return for how many seconds a node should not be dialled (again)."""
        if self.incompatible(node):
            return limits.BACKOFF_MOST
        known = self._nodes.get(node)
        if known is None:
            return 0.0
        left = known.not_before - self._clock.seconds()
        # A clock that was set back must not make anybody wait longer.
        return left if 0 < left <= limits.BACKOFF_MOST else 0.0

    def try_again(self, node: bytes) -> None:
        """There is news of a node: it may be dialled at once. If it moved, its connection is tried."""
        known = self._nodes.get(node)
        info = self._listed(node)
        if known is None:
            return
        known.wait = known.not_before = 0.0
        if known.dial is not None:
            known.dial.news()
        moved = info is not None and info.addresses != known.addresses
        if known.link is not None and moved:
            known.link.check()
        known.addresses = () if info is None else info.addresses

    def asked_to_dial(self, node: bytes) -> None:
        """A node that can not dial this one asks for a connection: dial it, if that was not done just now."""
        known = self._nodes.setdefault(node, _Node())
        now = self._clock.seconds()
        just_now = known.heeded_at is not None and 0 <= now - known.heeded_at < limits.DIAL_ME_HEED
        if just_now or self._stopped or node == self._node or self._listed(node) is None or self.incompatible(node):
            return
        known.heeded_at, known.not_before = now, 0.0
        if known.link is None:
            self._begin_dial(node, known, _nobody)
        else:  # the other side does not have it any more, or not yet
            known.link.check().addCallback(self._dial_if_dead, node, known)

    def _dial_if_dead(self, alive: bool, node: bytes, known: _Node) -> None:
        if not alive and known.link is None:
            self._begin_dial(node, known, _nobody)

    def check_all(self) -> None:
        """This machine slept, or has another address: find out which connections live, and dial anew at once."""
        self._mine.clear()
        for known in self._nodes.values():
            known.wait = known.not_before = 0.0
            if known.link is not None:
                known.link.check()

    def stop(self) -> None:
        """Close every connection and dial no more; whoever waits for one hears that it failed."""
        self._stopped = True
        for known in self._nodes.values():
            if known.dial is not None:
                known.dial.stop()
        for protocol in list(self._all):
            protocol.say_goodbye() if protocol.proven else protocol.abort("this peer stops")

    # -- dialling --

    def _begin_dial(self, node: bytes, known: _Node, ask: Callable[[], bool]) -> None:
        if known.dial is not None or self._stopped:
            return
        dial = known.dial = Dial(
            self._clock,
            addresses=lambda: self._places(node),
            attempt=lambda address: Deferred.fromCoroutine(self._try(node, address)),
            ask=ask,
        )
        Deferred.fromCoroutine(dial.run()).addErrback(self._not_dialled).addBoth(self._dialled, node, known, dial)

    def _places(self, node: bytes) -> list[Address]:
        info = self._listed(node)
        return [] if info is None else [address for address in info.addresses if address not in self._mine]

    async def _try(self, node: bytes, address: Address) -> None:
        """Return once the connection is proven; raises if it is lost before, or is not with that node."""
        protocol = self._protocol(node)
        try:
            await self._network.client(address.host, address.port, alpn=PEER_ALPN).connect(_One(protocol))
            if protocol in self._all and not protocol.proven:
                opening = self._opening[protocol] = Deferred(lambda _: protocol.abort("given up"))
                await opening
            if not protocol.proven:
                raise protocol.ended or Unreachable("The connection was lost before both sides were known.")
        finally:
            self._opening.pop(protocol, None)
            if protocol.transport is None:
                self._all.pop(protocol, None)
            if protocol.node == self._node:
                self._mine.add(address)

    def _not_dialled(self, failure: Failure) -> None:
        self._log.failure("Dialling failed", failure=failure)

    def _dialled(self, _: None, node: bytes, known: _Node, dial: Dial) -> None:
        known.dial = None
        if known.link is None and not self._stopped:
            self._back_off(known)
            info = self._listed(node)
            name = node_text(node) if info is None or not info.name else info.name
            self._note(node, known, not_reached(name, dial.failures, asked=dial.asked))
        waiting, known.waiting = known.waiting, []
        for result in waiting:
            result.errback(Failure(Unreachable(known.trouble or f"{node_text(node)} can not be reached now.")))

    def _note(self, node: bytes, known: _Node, trouble: str) -> None:
        """Keep why a node is not reached; say it once, not at each dial."""
        if not known.trouble:
            self._log.info("{trouble}", trouble=trouble)
        known.trouble = trouble

    def _back_off(self, known: _Node) -> None:
        known.wait = min(max(2 * known.wait, limits.BACKOFF_FIRST), limits.BACKOFF_MOST)
        jitter = 0.5 + self._random() / 2
        known.not_before = self._clock.seconds() + known.wait * jitter

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
        self._keep_one(known, protocol)
        known.opened_at = self._clock.seconds()
        known.trouble = ""
        waiting, known.waiting = known.waiting, []
        for result in waiting:
            result.callback(known.links[0])
        opening = self._opening.pop(protocol, None)
        if opening is not None:
            opening.callback(None)
        if known.dial is not None:
            known.dial.reached()
        self._changed(protocol.node)

    def _keep_one(self, known: _Node, protocol: PeerProtocol) -> None:
        """Put the connection to use first; the others drain once it is sure that it lives."""
        links = [*(link for link in known.links if link.proven), protocol]
        first = min(map(self._dialler, links))
        kept = [link for link in links if self._dialler(link) == first][-1]  # of two by the same side, the newer
        known.links = [kept, *(link for link in (*known.links, protocol) if link is not kept)]
        if len(known.links) > 1:
            # Perhaps the other side dialled because it has lost that one. When it answers, it has seen both too, and
            # asks nothing on the others any more.
            kept.check().addCallback(self._drain, known, kept)

    def _drain(self, alive: bool, known: _Node, kept: PeerProtocol) -> None:
        if alive and kept in known.links:
            for link in known.links:
                if link is not kept:
                    link.drain()

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
            if self._clock.seconds() - known.opened_at < limits.BACKOFF_MOST:
                self._back_off(known)
            else:
                known.wait = 0.0
            self._changed(protocol.node)


def _nobody() -> bool:
    """Ask nobody to dial: it is the other side that asked."""
    return False


class _One(Factory):
    """Hands out one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: PeerProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> PeerProtocol:
        return self._protocol
