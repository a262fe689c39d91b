"""What the fetcher needs of connections: `links` has the real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from twistedp2p.transfer.client import NotSent

__all__ = ["Connection", "Connections"]


class Connection(Protocol):
    """A live connection with a holder."""

    def fetch_contents(
        self, contents: Sequence[bytes], sink: Callable[[bytes, bytes], object], *, priority: int = 0
    ) -> Deferred[NotSent]:
        """Ask for small contents."""

    def fetch_manifest(self, manifest: bytes, *, most: int = ..., priority: int = 0) -> Deferred[bytes]:
        """Ask for a manifest."""

    def fetch_range(
        self,
        content: bytes,
        offset: int,
        length: int,
        sink: Callable[[int, bytes | memoryview], object],
        *,
        priority: int = 0,
    ) -> Deferred[None]:
        """Ask for a range of bytes."""


class Connections(Protocol):
    """The connections with other peers."""

    def link(self, node: bytes) -> Connection | None:
        """Return the live connection with a node, if there is one."""

    def connection(self, node: bytes) -> Deferred[Any]:
        """Return the connection with a node, dialled if there is none."""

    def wait_for(self, node: bytes) -> float:
        """Return for how many seconds a node should not be dialled."""
