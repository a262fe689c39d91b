"""Listening for clients of named files: who may come in, and how all of them are told that it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from twistedp2p import limits
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.admission import Admission, Ticket
from twistedp2p.framing.listener import Listener
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.transfer.files.server import Access, FilesServerProtocol
from twistedp2p.transfer.files.source import FileSource

__all__ = ["FilesFactory", "FilesHost"]


class FilesFactory(Factory):
    """Makes the server's side of each connection, unless there are too many; for any endpoint of a `Network`.

    Args:
        network: the way to the others, with the key of this device.
        source: the files; a `WritableSource` if `access` has writers.
        access: who may do what.
        name: by which this side is shown to people.
        once: whether the source ends when all was received.
        opened: called with the protocol of each client when it may ask.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        network: Network,
        source: FileSource,
        access: Access,
        *,
        name: str = "",
        once: bool = False,
        opened: Callable[[FilesServerProtocol], object] | None = None,
    ) -> None:
        self.connections: set[FilesServerProtocol] = set()
        self._network = network
        self._source = source
        self._access = access
        self._name = name
        self._once = once
        self._opened = opened
        self._admission = Admission()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a protocol, or None to hang up without a word."""
        ticket = None if addr is None else self._admission.enter(addr)
        if ticket is None:
            self._log.warn("Turned away {address}: too many connections without a proof", address=addr)
            return None
        return self._make(ticket, dialled=False)

    def dialling(self, addr: IAddress) -> FilesServerProtocol | None:
        """Return a protocol for a client that this side dials, because it wants that; None if there are too many."""
        ticket = self._admission.enter(addr)
        return None if ticket is None else self._make(ticket, dialled=True)

    def _make(self, ticket: Ticket, *, dialled: bool) -> FilesServerProtocol:
        protocol = FilesServerProtocol(
            network=self._network,
            source=self._source,
            access=self._access,
            ticket=ticket,
            name=self._name,
            once=self._once,
            opened=self._opened,
            dialled=dialled,
        )
        self.connections.add(protocol)
        protocol.ended.addCallback(lambda _: self.connections.discard(protocol))
        return protocol

    def say_goodbye(self) -> Deferred[None]:
        """Close all connections; fires when they are gone, at the latest after `limits.REFUSAL_LINGER`."""
        ends = []
        for protocol in list(self.connections):
            ends.append(protocol.ended)
            protocol.say_goodbye()
        return gatherResults(ends).addCallback(lambda _: None)


class FilesHost:
    """A `FilesFactory` that listens, from `start` to `stop`.

    Args:
        factory: makes the connections.
        network: where to listen.
        listen: Twisted endpoint descriptions; by default `port` on all interfaces, IPv6 and IPv4.
        port: the default port.
        advertise: by which host and port others reach it; found out if it is not given.
        what: that listens, for the log.
    """

    def __init__(
        self,
        factory: FilesFactory,
        network: Network,
        *,
        listen: Sequence[str] = (),
        port: int = limits.FILES_PORT,
        advertise: Advertised | None = None,
        what: str = "The file server",
    ) -> None:
        self.factory = factory
        self._listener = Listener(
            network, listen, port=port, factory=factory, alpn=FILES_ALPN, advertise=advertise, what=what
        )

    @property
    def ports(self) -> list[IListeningPort]:
        """Where it listens now."""
        return self._listener.ports

    async def start(self) -> tuple[str, int] | None:
        """Listen; return the host and port by which others reach it, None if it has UNIX sockets only.

        Raises `CannotListenError`.
        """
        await self._listener.start()
        return self._listener.place()

    def stop(self) -> Deferred[None]:
        """Take no more clients, and close those that are there."""
        return gatherResults([self._listener.stop(), self.factory.say_goodbye()]).addCallback(lambda _: None)
