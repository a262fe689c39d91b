"""Listening for a conversation over TLS, and finding out where others reach this machine."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.framing.addresses import Advertised, own_address
from twistedp2p.framing.network import Network

__all__ = ["Listener", "Starting", "raise_at_once"]

T = TypeVar("T")

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class Listener:
    """Listens on some endpoints, from `start` to `stop`.

    Args:
        network: where to listen.
        endpoints: Twisted endpoint descriptions; by default `port` on all interfaces, IPv6 and IPv4.
        port: the default port.
        factory: makes the protocol of each caller.
        alpn: the conversation.
        advertise: by which host and port others reach this listener; found out if it is not given.
        what: that listens, for the log.
    """

    _log = Logger()

    def __init__(
        self,
        network: Network,
        endpoints: Sequence[str],
        *,
        port: int,
        factory: IProtocolFactory,
        alpn: str,
        advertise: Advertised | None,
        what: str,
    ) -> None:
        self._network = network
        self._endpoints = tuple(endpoints)
        self._port = port
        self._factory = factory
        self._alpn = alpn
        self._advertise = advertise
        self._what = what
        self.ports: list[IListeningPort] = []

    async def start(self) -> None:
        """Listen on all endpoints, or on none; raises `CannotListenError`."""
        try:
            for endpoint in self._endpoints or (self._everywhere(),):
                await self._listen_on(endpoint)
        except BaseException:
            # Not waited for: the caller is to see the error before anything else happens.
            self.stop()
            raise

    def stop(self) -> Deferred[Any]:
        """Take no more callers; those that are there stay."""
        ports, self.ports = self.ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])

    def place(self) -> tuple[str, int] | None:
        """Return the host and port by which others reach this listener; None if it has UNIX sockets only."""
        where = [port.getHost() for port in self.ports]
        tcp = [address for address in where if isinstance(address, (IPv4Address, IPv6Address))]
        for address in tcp:
            self._log.info(
                "{what} listens on {host}, port {port}", what=self._what, host=address.host, port=address.port
            )
        if not tcp:
            return None
        host, port = tcp[0].host, tcp[0].port
        if self._advertise is not None:
            return self._advertise.host, self._advertise.port or port
        if ip_address(host).is_unspecified:
            host = own_address() or "127.0.0.1"
        return host, port

    async def _listen_on(self, endpoint: str) -> None:
        try:
            self.ports.append(await self._network.listen(endpoint, self._factory, alpn=self._alpn))
        except CannotListenError as error:
            if self._endpoints or getattr(error.socketError, "errno", None) not in _NO_IPV6:
                raise
            ipv4 = f"tcp:{self._port}:backlog={limits.BACKLOG}"
            self.ports.append(await self._network.listen(ipv4, self._factory, alpn=self._alpn))

    def _everywhere(self) -> str:
        """Return the default endpoint: one IPv6 socket on all interfaces takes IPv4 callers too."""
        return f"tcp6:{self._port}:interface=\\:\\::backlog={limits.BACKLOG}"


class Starting(Generic[T]):
    """The start of a service that listens: begun once, however often it is asked for, until it failed or is over.

    So a service can begin it as soon as there are privileges, with the reactor, and when an embedding program says.

    Args:
        start: listens.
        log: hears of what fails when nobody can be told any more.
        what: that listens, for the log.
        failed: called when it failed, before who waits for it hears of that.
    """

    def __init__(
        self,
        start: Callable[[], Coroutine[Any, Any, T]],
        log: Logger,
        what: str,
        *,
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._start = start
        self._log = log
        self._what = what
        self._failed = failed
        self._begun: Deferred[T] | None = None

    def begin(self) -> Deferred[T]:
        """Return what `start` returns; fails as it does, and may then be begun again."""
        if self._begun is not None:
            return self._begun
        self._begun = begun = Deferred.fromCoroutine(self._start())
        return begun.addErrback(self._not_begun)

    def begin_or_raise(self) -> None:
        """Begin it; raises what fails at once, see `raise_at_once`."""
        raise_at_once(self.begin(), self._log, self._what)

    def over(self) -> None:
        """What was begun has ended: it may be begun again."""
        self._begun = None

    def _not_begun(self, failure: Failure) -> Failure:
        self.over()
        self._failed()
        return failure


def raise_at_once(started: Deferred[Any], log: Logger, what: str) -> None:
    """Raise what has failed by now: twistd learns of a port in use only so, and endpoints of ports answer at once.

    What fails later is logged.
    """
    failures: list[Failure] = []
    at_once = True

    def failed(failure: Failure) -> None:
        if at_once:
            failures.append(failure)
        else:
            log.failure("{what} can not listen", what=what, failure=failure)

    started.addErrback(failed)
    at_once = False
    if failures:
        failures[0].raiseException()
