"""Sending files and folders once: who is let in, who is dialled, and when it is over."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from random import SystemRandom
from typing import Any, ParamSpec, TypeVar

from attrs import define, frozen
from blake3 import blake3
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistedp2p.cli.receivers import Receivers
from twistedp2p.errors import BadAddress, ConnectionFull, TooLarge
from twistedp2p.framing.addresses import Advertised, candidates
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.files_code import SendCode
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.limits import ADDRESSES, OFFERED_NAMES
from twistedp2p.messages.tracker import Address, PeerInfo
from twistedp2p.tracker.meeting import Meeting
from twistedp2p.transfer.files.host import FilesFactory, FilesHost
from twistedp2p.transfer.files.messages import ListFolder
from twistedp2p.transfer.files.offer import Offer
from twistedp2p.transfer.files.server import Access, FilesServerProtocol

__all__ = ["Offered", "Sending", "own_addresses"]

P = ParamSpec("P")
T = TypeVar("T")


@frozen
class Offered:
    """What is sent: names at the top, and how much is in them."""

    names: tuple[str, ...]
    files: int
    bytes: int


@define
class _News:
    """What is told while it is sent; each may be replaced."""

    joined: Callable[[str], object] = lambda _: None
    left: Callable[[str], object] = lambda _: None
    trouble: Callable[[str], object] = lambda _: None


class Sending:
    """Some files and folders, until somebody has them; `start`, print the code, wait for `ended`, `stop`.

    Args:
        reactor: for sockets, time and threads.
        listen: Twisted endpoint descriptions; by default a free port on all interfaces.
        advertise: by which host and port receivers reach this machine, instead of its own addresses.
        tracker: where to meet receivers that can not reach this machine; None for nowhere.
        many: whether to go on after the first receiver.
        network: makes the way to the receivers, with the key that it is given; by default TLS over the reactor.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        listen: Sequence[str] = (),
        advertise: Advertised | None = None,
        tracker: TrackerAddress | None = None,
        many: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
        network: Callable[[DeviceKey], Network] | None = None,
    ) -> None:
        self.news = _News()
        self.ended: Deferred[bool] = Deferred(lambda _: None)
        """Fires with whether everything was received; never by itself with `many`."""
        self.deliveries = 0
        self._reactor = reactor
        self._advertise = advertise
        self._tracker = tracker
        self._many = many
        self._entropy = entropy
        self._device = DeviceKey.generate(entropy)
        self._secret = entropy(SECRET_BYTES)
        self._keys = ShareKeys.derive(self._secret, portable=False)
        self._network = (network or self._tls)(self._device)
        self.offer = Offer(reactor, self._in_thread, blake3(self._secret).digest(), self._received, self._troubled)
        self._factory = FilesFactory(
            self._network,
            self.offer,
            Access(readers=frozenset((self._keys.share_id,))),
            name=os.uname().nodename,
            once=not many,
            opened=self._opened,
        )
        self._host = FilesHost(
            self._factory, self._network, listen=listen, port=0, advertise=advertise, what="The sender"
        )
        self._meeting: Meeting | None = None
        self._receivers: Receivers[FilesServerProtocol] = Receivers(many=many)
        self._sent_before = 0

    @property
    def bytes_sent(self) -> int:
        """Bytes of content that went to the receivers so far."""
        return self._sent_before + sum(connection.bytes_out for connection in self._factory.connections)

    async def add(self, paths: Sequence[Path], most: int = OFFERED_NAMES) -> Offered:
        """Offer files and folders, `most` of them; raises as `Offer.add` does, and `TooLarge`."""
        names = [await self._in_thread(self.offer.add, path) for path in paths]
        files = size = listed = 0
        async for page in self.offer.listing(ListFolder(0, deep=True)):
            listed += len(page)
            if listed > most:
                raise TooLarge(
                    f"These are more than {most:,} files and folders, which nobody can receive at a time; send some of "
                    "them, or one archive of all."
                )
            files += sum(not entry.folder for entry in page)
            size += sum(entry.size for entry in page)
        return Offered(tuple(names), files, size)

    async def start(self) -> SendCode:
        """Listen, go to the tracker, and return the code; raises `BadAddress` if it can not listen as it was told."""
        try:
            where = await self._host.start()
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or error.socketError
            raise BadAddress(f"Can not listen ({why}); name another endpoint with --listen.") from error
        except (ValueError, TypeError, LookupError, OverflowError, OSError) as error:
            raise BadAddress(
                f"One of --listen is not an endpoint to listen on ({error}); write it like tcp:17414."
            ) from error
        port = 0 if where is None else where[1]
        places = self._places(where)
        if self._tracker is not None:
            self._meeting = Meeting(
                self._network,
                self._tracker,
                self._keys,
                addresses=[Address(place.host, place.port) for place in places][:ADDRESSES],
                name="sender",
                random=SystemRandom().random,
                entropy=self._entropy,
                asked=self._dial,
                trouble=lambda text: self.news.trouble(text),
            )
            self._meeting.start()
        self._log.debug("Listening on port {port}", port=port)
        return SendCode(self._secret, tuple(places), self._device.pin, self._tracker)

    async def stop(self) -> None:
        """Let nobody in any more, and say goodbye."""
        self._receivers.is_over = True
        if self._meeting is not None:
            await self._meeting.stop()
        await self._host.stop()

    def _tls(self, key: DeviceKey) -> Network:
        return TLSNetwork(self._reactor, key, long_streams=True)

    def _places(self, where: tuple[str, int] | None) -> list[Place]:
        if where is None:
            return []
        if self._advertise is not None:
            return [Place(*where)]
        listening = [getattr(port.getHost(), "host", "") for port in self._host.ports]
        if all(host in ("::", "0.0.0.0", "") for host in listening):  # noqa: S104  # asked, not bound
            return [Place(host, where[1]) for host in own_addresses()]
        return [Place(*where)]

    def _opened(self, connection: FilesServerProtocol) -> None:
        """Somebody who has the code is there: the first is served, others are told to wait or to go."""
        why = self._receivers.why_not(connection.node)
        if why is not None:
            connection.refuse(ConnectionFull(why))
            return
        if self._receivers.is_new(connection.node):
            self.news.joined(connection.name)
        for dead in self._receivers.came(connection, connection.node, self._reactor.seconds()):
            dead.abort("its receiver dialled again")
        connection.ended.addCallback(lambda _: self._gone(connection))

    def _gone(self, connection: FilesServerProtocol) -> None:
        self._sent_before += connection.bytes_out
        self._receivers.went(connection, connection.bytes_out)
        if not self._receivers:
            self.news.left(connection.name)
            if self._receivers.is_over and not self.ended.called:
                self.ended.callback(self.deliveries > 0)

    def _received(self, files: int, size: int, accepted: bool) -> None:
        if accepted and not self._receivers.is_over:
            self.deliveries += 1
        if not self._many:
            # It ends when the receiver has hung up: our answer must reach it.
            self._receivers.is_over = True

    def _troubled(self, text: str) -> None:
        self.news.trouble(text)

    def _dial(self, info: PeerInfo) -> None:
        """A receiver can not reach this machine: reach it."""
        for address in info.addresses[:ADDRESSES]:
            endpoint = self._network.client(address.host, address.port, alpn=FILES_ALPN)
            endpoint.connect(_Dialling(self._factory)).addErrback(self._not_reached, address)

    def _not_reached(self, failure: Any, address: Address) -> None:
        if not failure.check(CancelledError):
            self._log.debug("{host} can not be reached: {why}", host=address.host, why=failure.getErrorMessage())

    def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *args, **kwargs)


class _Dialling(Factory):
    noisy = False

    def __init__(self, factory: FilesFactory) -> None:
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the server's side, although this side dialled."""
        return None if addr is None else self._factory.dialling(addr)


def own_addresses(found: Sequence[str] | None = None) -> list[str]:
    """Return up to four addresses of this machine that others may reach it by; loopback only if there is no other."""
    good: list[str] = []
    for text in candidates() if found is None else found:
        address = ip_address(text.partition("%")[0])
        if not (address.is_loopback or address.is_link_local or address.is_unspecified) and text not in good:
            good.append(text)
    return good[:ADDRESSES] or ["127.0.0.1"]
