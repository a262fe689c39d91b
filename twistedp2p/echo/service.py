"""An echo server on some endpoints, from start to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.interfaces import IListeningPort, IPushProducer, IStreamServerEndpoint
from twisted.internet.ssl import PrivateCertificate
from twisted.logger import Logger

from twistedp2p.echo.crowd import Crowd
from twistedp2p.echo.datagrams import EchoDatagrams
from twistedp2p.echo.server import EchoFactory
from twistedp2p.framing.listener import raise_at_once
from twistedp2p.framing.patience import Patience
from twistedp2p.identity.device import DeviceKey
from twistedp2p.limits import BACKLOG, ECHO_DATAGRAM_BYTES

__all__ = ["SELF_SIGNED", "EchoService", "certificate_of", "echo_endpoint", "fingerprint_of"]

SELF_SIGNED = "self-signed:"
"""An endpoint that begins so is one of TCP, with TLS and a certificate that nobody signed but its own key."""


def certificate_of(key: DeviceKey) -> PrivateCertificate:
    """Return the self-made certificate of `key`, which is always the same one."""
    certificate: PrivateCertificate = PrivateCertificate.loadPEM(key.private_pem() + key.certificate_pem())
    return certificate


def fingerprint_of(certificate: Any) -> str:
    """Return the SHA-256 of a certificate as openssl writes it: 64 hexadecimal digits, in pairs, with colons."""
    return str(certificate.digest("sha256").decode())


def echo_endpoint(reactor: Any, text: str, certificate: Callable[[], PrivateCertificate]) -> IStreamServerEndpoint:
    """Return what listens as `text` says: a Twisted endpoint, or `SELF_SIGNED` before the words of a tcp: one.

    Unless it says otherwise, BACKLOG callers may wait to be accepted. Raises what Twisted's parser raises.
    """
    if text.startswith(SELF_SIGNED):
        inner = _endpoint(reactor, f"tcp:{text.removeprefix(SELF_SIGNED)}")
        return wrapServerTLS(certificate().options(), inner, reactor)
    return _endpoint(reactor, text)


def _endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    if text.partition(":")[0] in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in text:
        with contextlib.suppress(TypeError):  # it says it by position
            endpoint = serverFromString(reactor, f"{text}:backlog={BACKLOG}")
    return endpoint


class EchoService(Service):
    """Listens, and echoes what comes.

    Args:
        reactor: for UDP.
        endpoints: where to listen for connections.
        udp: where to listen for datagrams: interface and port.
        crowd: the connections.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, endpoints: Sequence[IStreamServerEndpoint], udp: Iterable[tuple[str, int]], crowd: Crowd
    ) -> None:
        self.crowd = crowd
        self._reactor = reactor
        self._endpoints = tuple(endpoints)
        self._udp = tuple(udp)
        self._factory = EchoFactory(crowd)
        self._ports: list[IListeningPort] = []
        self._udp_ports: list[IListeningPort] = []
        crowd.gate = self._accept

    def privilegedStartService(self) -> None:
        """Listen on all endpoints; raises `CannotListenError`."""
        super().privilegedStartService()
        if self._ports or self._udp_ports:
            return
        own_ports: set[int] = set()
        for interface, port in self._udp:
            datagrams = EchoDatagrams(self._reactor, self.crowd.counters, own_ports)
            listening = self._reactor.listenUDP(port, datagrams, interface, ECHO_DATAGRAM_BYTES)
            self._udp_ports.append(listening)
            own_ports.add(listening.getHost().port)
        for endpoint in self._endpoints:
            started = endpoint.listen(self._factory).addCallback(self._listens)
            raise_at_once(started, self._log, "The echo server")

    def startService(self) -> None:
        """Listen, if that is not so yet."""
        super().startService()
        self.privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        """Listen no more, let the connections end, and say what was counted."""
        super().stopService()
        ports, self._ports, self._udp_ports = [*self._ports, *self._udp_ports], [], []
        closing: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        return gatherResults([*closing, self.crowd.stop()]).addCallback(lambda _: self.say_counters())

    def say_counters(self) -> None:
        """Log what was counted."""
        self._log.info("{counters}", counters=self.crowd.counters.sentence())

    def _listens(self, port: IListeningPort) -> None:
        Patience(port, self._reactor)
        self._ports.append(port)

    def _accept(self, wide: bool) -> None:
        """Accept callers, or leave them to wait in the system."""
        for port in self._ports:
            # Every port of the reactor's is a descriptor that can be paused.
            producer = cast(IPushProducer, port)
            if wide:
                producer.resumeProducing()
            else:
                producer.pauseProducing()
