"""What a tracker's conversations need of a directory: the seam between the connections and the state they share.

`local.LocalDirectory` is the one in this process. Every method that asks can be awaited, because another
implementation may keep the state of several tracker processes elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from attrs import frozen

from twistedp2p.messages.tracker import Address, Entry, Holders, PeerInfo, SetDigest
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.share_directory import Applied, Joined

__all__ = ["HoldersEntry", "Joining", "Listener", "Registry", "Session", "WholeDelta"]

HoldersEntry = tuple[int, tuple[int, ...], tuple[int, ...]]
"""An item's number, the members that hold it and the members that know it."""


@frozen
class Joining:
    """A member that has proved itself and asks to be listed."""

    share_id: bytes
    node: bytes
    nonce: bytes
    name: str
    versions: tuple[int, ...]
    addresses: tuple[Address, ...]
    epoch: bytes
    cursor: int
    known: SetDigest


@frozen
class WholeDelta:
    """All items between a member's cursor and `end`, as of one instant, whatever is forgotten while they are sent."""

    end: int
    entries: Iterator[Entry]


class Listener(Protocol):
    """What a directory tells the connection of a member."""

    def peers(self, up: Collection[PeerInfo], down: Collection[int]) -> None:
        """Members came up (or changed), and members are gone."""

    def log_grew(self) -> None:
        """There is something between the member's cursor and the end of the log."""

    def holds_changed(self) -> None:
        """There is news of who holds what."""

    def dial_me(self, member: int) -> None:
        """A member asks this one to dial it."""

    async def ping(self) -> bool:
        """Return whether the member is alive: it has 5 seconds to answer."""

    def replaced(self) -> None:
        """Another session of the same device took the place of this one."""

    def expired(self) -> None:
        """The member was silent for too long and is forgotten."""


class Session(Protocol):
    """A member's place in the directory, from its welcome until it leaves or is forgotten."""

    @property
    def joined(self) -> Joined:
        """What the member is welcomed with."""

    @property
    def others(self) -> tuple[PeerInfo, ...]:
        """Who else was alive when it joined."""

    def touch(self) -> None:
        """The member gave a sign of life."""

    async def missing(self, batch: Batch, blobs: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the keys of the batch whose records are neither known nor in `blobs`."""

    async def apply(self, batch: Batch, blobs: Mapping[bytes, bytes]) -> Applied | None:
        """Apply a batch whole; None if the session is over. Raises as `ShareDirectory.apply` does."""

    async def delta(self) -> WholeDelta | None:
        """Return what is between the member's cursor and the end of the log; None if that is nothing."""

    def advance(self, end: int) -> None:
        """A delta up to `end` was sent."""

    async def holder_news(self) -> list[Holders]:
        """Return who holds what since this was last asked; ranges may be longer than a message takes."""

    def holders_of(self, numbers: list[int]) -> Iterator[HoldersEntry]:
        """Yield who holds and who knows each of these items, in their order."""

    def dial_me(self, member: int) -> None:
        """Pass on to `member` that this one asks to be dialled; dropped if it is not there, or was asked just now."""

    async def agrees(self, known: SetDigest, held: SetDigest) -> bool:
        """Return whether these are the digests of what the directory has of the member."""

    async def leave(self) -> None:
        """End the session and forget the member."""

    def detach(self) -> None:
        """The connection is gone; the member may come back until it expires."""


class Registry(Protocol):
    """The directory, as connections see it."""

    @property
    def keepalive(self) -> float:
        """Seconds after which a member that said nothing else says that it lives."""

    @property
    def expiry(self) -> float:
        """Seconds of silence after which a member is forgotten."""

    def wall(self) -> float:
        """Return what the tracker's clock says, seconds since 1970."""

    async def join(self, joining: Joining, listener: Listener) -> Session:
        """List a member, in place of an older session of the same device if that is silent.

        Raises `DuplicateDevice` if the older one is alive, `ConnectionFull` if the share is full, `Refusal` if it is
        not served here.
        """

    def reserve(self, size: int) -> None:
        """Set bytes aside for records under way; raises `ConnectionFull` if there is no room."""

    def release(self, size: int) -> None:
        """Give them back."""
