"""The tracker's directory: the shares, each with its members and items (`share_directory`). Pure: `now` is an argument.

A share that nobody is a member of any more is dropped with its epoch.
"""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p import limits
from twistedp2p.errors import Refusal
from twistedp2p.tracker.share_directory import Member, ShareDirectory

__all__ = ["Directory"]


class Directory:
    """All shares of one tracker.

    `entropy` returns that many random bytes. `keepalive` and `expiry` are in seconds: how often members are asked to
    give a sign of life, and after how long without one they are forgotten. With `only_share`, no other is served.
    `room` is how many bytes of sealed records may be kept in all.
    """

    def __init__(
        self,
        entropy: Callable[[int], bytes],
        *,
        keepalive: float = limits.KEEPALIVE,
        expiry: float = limits.EXPIRY,
        only_share: bytes | None = None,
        room: int = limits.TRACKER_BYTES,
    ) -> None:
        self.keepalive = keepalive
        self.expiry = expiry
        self.only_share = only_share
        self._entropy = entropy
        self._most_bytes = room
        self._shares: dict[bytes, ShareDirectory] = {}

    def share(self, share_id: bytes) -> ShareDirectory:
        """Return the directory of this share, a new one if nobody is in it; raises `Refusal` if it is not served."""
        if self.only_share is not None and share_id != self.only_share:
            raise Refusal("This tracker serves one share only, and not this one; ask for the invite again.")
        found = self._shares.get(share_id)
        if found is None:
            found = ShareDirectory(self._entropy, expiry=self.expiry, room=self._room)
            self._shares[share_id] = found
        return found

    def expire(self, now: float) -> dict[bytes, list[Member]]:
        """Forget the members that were silent too long, and shares without any; return the members by share."""
        gone: dict[bytes, list[Member]] = {}
        for share_id, share in list(self._shares.items()):
            silent = share.expire(now)
            if silent:
                gone[share_id] = silent
            if not len(share):
                del self._shares[share_id]
        return gone

    def _room(self) -> int:
        return self._most_bytes - self.bytes

    @property
    def members(self) -> int:
        """How many members are alive, in all shares."""
        return sum(len(share) for share in self._shares.values())

    @property
    def items(self) -> int:
        """How many items are known, in all shares."""
        return sum(len(share.log) for share in self._shares.values())

    @property
    def bytes(self) -> int:
        """How many bytes of sealed records are kept."""
        return sum(share.log.bytes for share in self._shares.values())
