"""What the tracker client hears and asks, as the peer's loop takes it: the seam between `tracker.client` and `sync`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twistedp2p.errors import DuplicateDevice, TwistedP2PError
from twistedp2p.limits import CLOCK_OFF
from twistedp2p.messages.tracker import Address, Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.peer.index import Index
from twistedp2p.peer.steps import Steps
from twistedp2p.peer.sync import Sync
from twistedp2p.peer.workers import Workers
from twistedp2p.tracker.conversation import HelloFacts
from twistedp2p.transfer.links import Links

__all__ = ["VERSIONS", "Tracking", "clock_trouble"]

VERSIONS = (1,)
"""Major versions of the conversation with peers that this package speaks."""


class _Asking(Protocol):
    """What is needed of the client."""

    def dial_me(self, member: int) -> bool:
        """Ask a member, through the tracker, to dial this peer; return whether there was a tracker to ask."""


class _Tracked(Protocol):
    """What is needed of the peer."""

    name: str
    addresses: Callable[[], Sequence[Address]]
    index: Index
    steps: Steps
    sync: Sync
    workers: Workers
    links: Links
    client: _Asking


class Tracking:
    """Takes the news from a tracker for one peer.

    Args:
        peer: for whom.
        nonce: 16 bytes, new at each start of the process.
        clock: monotonic time.
        wall: seconds since 1970.

    `cloned` is called when another live session has this device key.
    """

    _log = Logger()

    def __init__(self, peer: _Tracked, nonce: bytes, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._peer = peer
        self._nonce = nonce
        self._clock = clock
        self._wall = wall
        self.since: float | None = None
        """When the session began or ended, by the clock; None before the first."""
        self.trouble = ""
        self.clock_offset: float | None = None
        """How many seconds the tracker's clock is ahead of this machine's; None before one told the time."""
        self.clock_trouble = ""
        """What to do about a clock that is far off: a sentence, empty if there is nothing to do."""
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
            addresses=tuple(peer.addresses()),
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
        if welcome.time is not None:
            self._compare_clocks(welcome.time - self._wall())
        return self._peer.sync.welcomed(welcome)

    def _compare_clocks(self, offset: float) -> None:
        """Take note of how far the tracker's clock is ahead, and say it once if that is far."""
        before, self.clock_offset = self.clock_trouble, offset
        self.clock_trouble = clock_trouble(offset)
        if self.clock_trouble and not before:
            self._log.warn("{trouble}", trouble=self.clock_trouble)

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
        self._peer.sync.peers(up, down)
        for info in up:
            self._peer.links.try_again(info.node)

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        """A member holds something else now."""
        self._peer.sync.holders(member, held, lost)

    def dial_me(self, member: int) -> None:
        """A member asks this peer to dial it; one that is not listed here means nothing."""
        info = self._peer.sync.holdings.peers.get(member)
        if info is not None:
            self._peer.links.asked_to_dial(info.node)

    def ask_to_dial(self, node: bytes) -> bool:
        """Ask a node to dial this peer; return whether there is a tracker that may tell it."""
        info = self._peer.sync.holdings.listed(node)
        return info is not None and self._peer.client.dial_me(info.member)

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


def clock_trouble(offset: float) -> str:
    """Return what to do about a tracker's clock that is `offset` seconds ahead of ours; empty if it is near enough."""
    if abs(offset) <= CLOCK_OFF:
        return ""
    way = "behind" if offset > 0 else "ahead of"
    return (
        f"The clock of this machine is {_duration(abs(offset))} {way} the tracker's: set the one that is wrong, best "
        "by network time. No file depends on it, but dates, and the names of conflict copies, would be wrong."
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
