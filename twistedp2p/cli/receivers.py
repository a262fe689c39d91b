"""Whom a sender serves: one receiver, who may come again, or many one beside the other. Pure: the caller acts on it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from twistedp2p.limits import DIALLED_ANEW

__all__ = ["Receivers"]

C = TypeVar("C", bound=Hashable)


class Receivers(Generic[C]):
    """The connections C of receivers, who are known by their nodes.

    Args:
        many: whether more than one receiver is served.
    """

    def __init__(self, *, many: bool) -> None:
        self.is_over = False
        """Whether nobody is let in any more."""
        self._many = many
        self._there: dict[C, tuple[bytes, float]] = {}
        self._last = b""
        self._began = b""
        """The node that got something, and whom the code is for since then; b"" while nobody did."""

    def __bool__(self) -> bool:
        """Whether anybody is there."""
        return bool(self._there)

    def why_not(self, node: bytes) -> str | None:
        """Return why a node that has the code is not let in, None if it is.

        Who received it may come again while its last connection is there: that one died before the answer came through.
        """
        if self.is_over and not (self._there and node == self._last):
            return "It was received already; ask for it to be sent again."
        if self._many:
            return None
        if self._there and node != self._last:
            return "Somebody else receives it at this moment; this code works once."
        if self._began not in (b"", node):
            return "Somebody else began to receive it, and this code works once; ask for it to be sent again."
        return None

    def is_new(self, node: bytes) -> bool:
        """Whether somebody comes, and not just one more connection of who is there."""
        return node != self._last or not self._there

    def came(self, connection: C, node: bytes, now: float) -> list[C]:
        """Note a connection, opened at `now`, seconds; return those of the same node that are dead by that.

        A receiver has several connections for a moment if it dialled more than one address: it is its own choice which
        one it keeps. But one that it comes again beside later is dead, which was not noticed here yet.
        """
        dead = [one for one, (whose, since) in self._there.items() if whose == node and now - since > DIALLED_ANEW]
        self._there[connection] = node, now
        self._last = node
        return dead

    def went(self, connection: C, sent: int) -> None:
        """Note that a connection, over which so many bytes went, is gone."""
        node, _ = self._there.pop(connection)
        if sent:
            self._began = node
