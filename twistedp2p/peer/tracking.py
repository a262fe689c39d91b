"""What the tracker client hears and asks, as the peer's loop takes it: the seam between `tracker.client` and `sync`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twistedp2p.errors import DuplicateDevice, TwistedP2PError
from twistedp2p.messages import Address, Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.peer.index import Index
from twistedp2p.peer.steps import Steps
from twistedp2p.peer.sync import Sync
from twistedp2p.peer.workers import Workers
from twistedp2p.tracker.conversation import HelloFacts
from twistedp2p.transfer.links import Links

__all__ = ["Tracking"]

VERSIONS = (1,)
"""Major versions of the conversation with peers that this package speaks."""


class _Tracked(Protocol):
    """What is needed of the peer."""

    name: str
    addresses: tuple[Address, ...]
    index: Index
    steps: Steps
    sync: Sync
    workers: Workers
    links: Links


class Tracking:
    """Takes the news from a tracker for one peer; `nonce` is new at each start of the process (16 bytes).

    `cloned` is called when another live session has this device key.
    """

    _log = Logger()

    def __init__(self, peer: _Tracked, nonce: bytes, clock: IReactorTime) -> None:
        self._peer = peer
        self._nonce = nonce
        self._clock = clock
        self.since: float | None = None
        """When the session began or ended, by the clock; None before the first."""
        self.trouble = ""
        self.cloned: Callable[[], None] = lambda: None

    # -- asked --------------------------------------------------------------

    def hello(self) -> Deferred[HelloFacts]:
        """Return who this peer is, and how far it has read."""
        return self._peer.workers.state(self._facts)

    def _facts(self) -> HelloFacts:
        peer = self._peer
        known, held = peer.index.own_digests()
        return HelloFacts(
            nonce=self._nonce,
            name=peer.name,
            versions=VERSIONS,
            addresses=peer.addresses,
            epoch=peer.index.epoch,
            cursor=peer.index.cursor,
            known=known,
            held=held,
        )

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        """Return the digests of what was announced."""
        return self._peer.workers.state(self._peer.steps.digests)

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        """Return sealed records."""
        return self._peer.sync.need(keys)

    # -- told ---------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> Deferred[None]:
        """A session begins."""
        self.trouble = ""
        self.since = self._clock.seconds()
        return self._peer.sync.welcomed(welcome)

    def delta_entries(self, entries: tuple[Entry, ...]) -> Deferred[None]:
        """A piece of a delta."""
        return self._peer.sync.delta_entries(entries)

    def delta_end(self, end: int) -> Deferred[None]:
        """The delta is complete."""
        return self._peer.sync.delta_end(end)

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        """A batch is applied."""
        self._peer.sync.announced(batch, numbers)

    def say_all(self, whole: bool) -> None:
        """Announce in full."""
        self._peer.sync.say_all(whole)

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        """Members came up, and members are gone."""
        for info in up:
            self._peer.links.try_again(info.node)
        self._peer.sync.peers(up, down)

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        """A member holds something else now."""
        self._peer.sync.holders(member, held, lost)

    def disconnected(self) -> None:
        """The session is over."""
        self.since = self._clock.seconds()
        self._peer.sync.disconnected()

    def refused(self, error: TwistedP2PError) -> None:
        """The tracker refused this peer."""
        self.trouble = str(error)
        self._log.warn("The tracker refused this peer: {reason}", reason=self.trouble)
        if isinstance(error, DuplicateDevice):
            self.cloned()

    def unreachable(self, text: str) -> None:
        """There is no tracker."""
        self.trouble = text
        self._log.warn("{text}", text=text)
