"""How nodes reach each other: the seam between the conversations and the sockets.

A conversation asks a `Network` for a way to dial, for a place to listen, and, once the handshake is complete, for
the `Channel` that both ends share. `tls.TLSNetwork` is the real one; a simulated one replaces sockets and TLS with
links in memory. Whatever the network, it calls `handshakeCompleted` on a protocol that provides
`IHandshakeListener` once both sides' keys are known, and delivers nothing before.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)

from twistedp2p.identity.proof import Channel

__all__ = ["FILES_ALPN", "PEER_ALPN", "TRACKER_ALPN", "TRACKER_VERSION", "Network", "host_of"]

TRACKER_VERSION = 1
"""The major version of the conversation with a tracker."""
TRACKER_ALPN = f"tp2p-tracker/{TRACKER_VERSION}"
"""The conversation with a tracker, and its major version, as TLS agrees on it (RFC 7301)."""
PEER_ALPN = "tp2p-peer/1"
"""The conversation between two peers."""
FILES_ALPN = "tp2p-files/1"
"""The conversation with a server of named files."""


class Network(Protocol):
    """What a node needs of the world to talk to others; it has the node's device key."""

    @property
    def clock(self) -> IReactorTime:
        """The time of this network."""

    def client(self, host: str, port: int, *, alpn: str) -> IStreamClientEndpoint:
        """Return what dials that address; its protocol hears `handshakeCompleted` when it is safe to talk."""

    def listen(self, endpoint: str, factory: IProtocolFactory, *, alpn: str) -> Deferred[IListeningPort]:
        """Listen on a Twisted endpoint description; fails with `CannotListenError`."""

    def channel(self, transport: ITransport, *, alpn: str, dialled: bool) -> Channel:
        """Return what both ends know of a connection after its handshake; `dialled`: this side began it.

        Raises `NoCommonVersion` unless both ends agreed on `alpn`.
        """


def host_of(transport: ITransport | None) -> str:
    """Return the address that the other end is seen at; "" if it has none (a UNIX socket)."""
    address = None if transport is None else transport.getPeer()
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return ""
    # A dual-stack socket shows IPv4 callers as ::ffff:192.0.2.1.
    return address.host.removeprefix("::ffff:") if "." in address.host else address.host
