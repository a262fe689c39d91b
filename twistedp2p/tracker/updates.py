"""What takes the news from a tracker: the seam between the peer's side of the conversation and what it is about.

The peer's loop is behind it; other sources of news may feed the same seam one day.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from twistedp2p.errors import TwistedP2PError
from twistedp2p.messages.tracker import Address, Entry, PeerInfo, SetDigest, Welcome

__all__ = ["HelloFacts", "Updates"]


@frozen
class HelloFacts:
    """What a peer says of itself when it connects; `nonce` is 16 bytes, new at each start of the process.

    `known` and `held` are the digests of what is in its index, before anything is announced.
    """

    nonce: bytes
    name: str
    versions: tuple[int, ...]
    addresses: tuple[Address, ...]
    epoch: bytes
    cursor: int
    known: SetDigest
    held: SetDigest


class Updates(Protocol):
    """What takes the news from a tracker, and answers its questions; each may answer now or later."""

    def hello(self) -> Deferred[HelloFacts]:
        """Return who this peer is, and how far it has read: asked at each connection."""

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        """Return the digests of what was announced as known and as held."""

    def welcomed(self, welcome: Welcome) -> Deferred[None] | None:
        """A session begins."""

    def delta_entries(self, entries: tuple[Entry, ...]) -> Deferred[None] | None:
        """A piece of a delta; nothing more is read until the Deferred, if there is one, has fired."""

    def delta_end(self, end: int) -> Deferred[None] | None:
        """The delta is complete and moves the cursor to `end`; nothing more is read until that is committed."""

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        """A batch is applied; these are the numbers of its items by key, in the order of their keys."""

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        """Return the sealed records of these keys, in order; fewer if some are not known any more."""

    def say_all(self, whole: bool) -> None:
        """Announce in full: the tracker has something else of this peer; `whole`: it could not resolve a batch."""

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        """Members came up (or changed), and members are gone."""

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        """A member now holds these items, and holds those no more."""

    def dial_me(self, member: int) -> None:
        """A member asks this peer to dial it."""

    def disconnected(self) -> None:
        """The session is over."""

    def refused(self, error: TwistedP2PError) -> None:
        """The tracker refused this peer; after `DuplicateDevice` it is not dialled again until told to."""

    def unreachable(self, text: str) -> None:
        """There is no tracker, and why: a sentence, every 30 seconds for as long as that lasts."""
