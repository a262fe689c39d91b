"""The tracker as a service: its key, where it listens, forgetting who is silent, and counting.

The key and the port outlive the state: a tracker that was killed and started again is the same to its peers, who all
come back within one back-off. What it knows of shares is in memory only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from twistedp2p import limits
from twistedp2p.errors import HomeUnusable
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.admission import Admission, is_local
from twistedp2p.framing.listener import Listener, Starting
from twistedp2p.framing.network import TRACKER_ALPN, Network
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.home import kept_key, write_private
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.tracker.directory import Directory
from twistedp2p.tracker.local import LocalDirectory
from twistedp2p.tracker.protocol import TrackerProtocol

__all__ = ["Counters", "TrackerService", "load_key"]

_EXPIRIES = 20
"""A silent peer is forgotten at most one twentieth of the expiry late."""


@frozen
class Counters:
    """What a tracker has in hand."""

    peers: int
    """Live members, of all shares."""
    items: int
    bytes: int
    """Sealed records kept."""
    batches: int
    """Batches taken in since the start."""
    strangers: int
    """Connections that have not proved membership."""


def load_key(home: Path, entropy: Callable[[int], bytes] = os.urandom) -> DeviceKey:
    """Return the tracker's key, kept in `home`/tracker/key.pem (0600); a new one is made at the first start.

    Raises `KeyUnusable` if the file is damaged, `HomeUnusable` if it can not be read or written.
    """
    return kept_key(home / "tracker" / "key.pem", "tracker", entropy)


class _Callers(Factory):
    """Makes the protocol of each caller, unless there are too many who have proved nothing."""

    noisy = False

    def __init__(self, service: TrackerService) -> None:
        self._service = service

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a protocol, or None to hang up without a word."""
        return None if addr is None else self._service.take_caller(addr)


class TrackerService(MultiService):
    """A tracker that listens, from `start_listening` or `startService` to `stopService`; it may be started again then.

    home: folder that keeps the key, and where others read the address.
    reactor: for sockets and time; or give a `network` that has both, and the tracker's key.
    listen: Twisted endpoint descriptions; by default the tracker's port on all interfaces, IPv6 and IPv4.
    advertise: by which host and port peers elsewhere reach this tracker; found out if it is not given.
    only_share: serve this share (20 bytes) and no other.
    wall: seconds since 1970, told to peers, so that they notice when their clock differs.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        home: Path,
        reactor: Any = None,
        listen: Sequence[str] = (),
        keepalive: float = limits.KEEPALIVE,
        expiry: float = limits.EXPIRY,
        advertise: Advertised | None = None,
        only_share: bytes | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        network: Network | None = None,
        key: DeviceKey | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self.setName("tracker")
        self.key = load_key(home, entropy) if key is None else key
        self._home = home
        self._network: Network = TLSNetwork(reactor, self.key) if network is None else network
        self._listener = Listener(
            self._network,
            listen,
            port=limits.TRACKER_PORT,
            factory=_Callers(self),
            alpn=TRACKER_ALPN,
            advertise=advertise,
            what="The tracker",
        )
        self._pure = Directory(entropy, keepalive=keepalive, expiry=expiry, only_share=only_share)
        self._directory = LocalDirectory(self._pure, self._network.clock, wall=wall)
        self._admission = Admission()
        self._callers: set[TrackerProtocol] = set()
        self._host: str | None = None
        self._starting = Starting(self._start, self._log, "The tracker")
        self._expiring: LoopingCall | None = None
        self.address: TrackerAddress | None = None
        """Where peers reach this tracker, with its pin; None before it listens, or on a UNIX socket only."""

    @property
    def ports(self) -> list[IListeningPort]:
        """Where it listens now."""
        return self._listener.ports

    @property
    def counters(self) -> Counters:
        """What the tracker has in hand now."""
        return Counters(
            peers=self._pure.members,
            items=self._pure.items,
            bytes=self._pure.bytes,
            batches=self._directory.batches,
            strangers=self._admission.strangers,
        )

    # -- life -------------------------------------------------------------------

    def start_listening(self) -> Deferred[TrackerAddress | None]:
        """Listen, and leave the address in the home; fails with `CannotListenError`. Once is enough."""
        return self._starting.begin()

    def privilegedStartService(self) -> None:
        """Listen, as ports below 1024 want privileges; raises `CannotListenError`."""
        super().privilegedStartService()
        self._starting.begin_or_raise()

    def startService(self) -> None:
        """Listen if it does not yet, and begin to forget who is silent; raises `CannotListenError`."""
        self._starting.begin_or_raise()
        super().startService()
        self._expiring = LoopingCall(self._expire)
        self._expiring.clock = self._network.clock
        self._expiring.start(max(0.05, self._directory.expiry / _EXPIRIES))

    def stopService(self) -> Deferred[None]:
        """Take no more callers, say goodbye to all; fires when they are gone, at the latest after two seconds.

        What it knows is kept for as long as members may be silent, in case it is started again.
        """
        if self._expiring is not None and self._expiring.running:
            self._expiring.stop()
        self._starting.over()
        ends: list[Deferred[Any]] = [self._listener.stop()]
        for caller in list(self._callers):
            ends.append(caller.ended)
            caller.say_goodbye()
        self._directory.stop()
        ends.append(maybeDeferred(super().stopService))
        return gatherResults(ends).addCallback(lambda _: None)

    # -- callers ------------------------------------------------------------------

    def take_caller(self, address: IAddress) -> TrackerProtocol | None:
        """Return the protocol of a new connection, None if there are too many strangers."""
        ticket = self._admission.enter(address)
        if ticket is None:
            self._log.warn("Turned away {address}: too many connections without a proof", address=address)
            return None
        protocol = TrackerProtocol(self._network, self._directory, ticket, self._host)
        self._callers.add(protocol)
        protocol.ended.addCallback(lambda _: self._callers.discard(protocol))
        return protocol

    def _expire(self) -> None:
        # An exception would end the loop for ever and leave the service running.
        with self._log.failuresHandled("Forgetting silent peers failed"):
            self._directory.expire()

    # -- listening ------------------------------------------------------------------

    async def _start(self) -> TrackerAddress | None:
        await self._listener.start()
        place = self._listener.place()
        if place is None:
            return None
        host, port = place
        self._host = None if is_local(host) else host
        self.address = TrackerAddress(host, port, self.key.pin)
        self._keep_address(self.address)
        return self.address

    def _keep_address(self, address: TrackerAddress) -> None:
        """Leave the address in the home for this machine's peers."""
        file = self._home / "tracker" / "address"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(file, f"{address.text()}\n".encode())
        except OSError as error:
            text = f"The tracker's address can not be kept in {file} ({error}); name another --home."
            raise HomeUnusable(text) from error
