"""The digest of a set of items: how two sides see whether they mean the same set without naming its members. Pure.

The sum does not withstand a member who constructs another set of equal sum; such a member could as well announce
whatever it likes. It withstands loss and mistakes, and it can be kept up as items come and go.
"""

from __future__ import annotations

from collections.abc import Iterable

from twistedp2p.messages.tracker import SetDigest

__all__ = ["Digest"]

_MODULUS = 2**128


class Digest:
    """The count of a set of items and the sum of their keys modulo 2**128, kept up as items come and go."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self.count = 0
        self._sum = 0
        for key in keys:
            self.add(key)

    def add(self, key: bytes) -> None:
        """Count one more item."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(key, "big")) % _MODULUS

    def remove(self, key: bytes) -> None:
        """Count one item less."""
        self.count -= 1
        self._sum = (self._sum - int.from_bytes(key, "big")) % _MODULUS

    def copy(self) -> Digest:
        """Return a digest of the same set that is kept up by itself."""
        twin = Digest()
        twin.count, twin._sum = self.count, self._sum
        return twin

    def value(self) -> SetDigest:
        """Return the digest as it travels."""
        return SetDigest(self.count, self._sum.to_bytes(16, "big"))
