"""TLS 1.3 between nodes: both show self-signed certificates, and what counts is the hash of their keys.

OpenSSL is told to want a certificate and to take any. Whether its key is the right one, the conversation decides:
a peer compares the tracker's with the pin of its invite before it says a word; membership is proved by a
signature bound to the connection (`identity.proof`). The certificate alone gives nobody anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion
from twistedp2p.framing.patience import Patience
from twistedp2p.framing.transport import RecordTransport, StreamTransport, TLSClientEndpoint, write_whole
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import EXPORTER_BYTES, EXPORTER_LABEL, Channel

__all__ = ["TLSNetwork"]


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Creator:
    """Makes the TLS side of connections of one conversation, for either end.

    The context is made by hand, because Twisted's `CertificateOptions` wants authorities or asks for no certificate.
    """

    def __init__(self, key: DeviceKey, alpn: str) -> None:
        protocol = alpn.encode()
        self._context = context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate(key.certificate)
        context.use_privatekey(key.private_key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _any_certificate)
        # Every connection proves anew that it has its key.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        write_whole(context)
        context.set_alpn_protos([protocol])

        def choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
            return protocol if protocol in offered else SSL.NO_OVERLAPPING_PROTOCOLS

        context.set_alpn_select_callback(choose)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return the side that dialled."""
        return SSL.Connection(self._context, None)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return the side that was dialled."""
        return SSL.Connection(self._context, None)


def _any_certificate(connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
    """Accept the certificate: its signature and names say nothing; its key is judged by the conversation."""
    return True


class _ServerFactory(TLSMemoryBIOFactory):
    """Twisted's, except that the factory inside may turn a caller away by returning None."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the TLS side of the protocol inside; None if there is none."""
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


class TLSNetwork:
    """The real network: TCP, UNIX sockets and TLS 1.3 with the key of this device.

    `crowded` is called with the error when no more callers can be taken, and with None when they can; see `Patience`.
    With `long_streams`, connections are made for long streams of bytes; see `StreamTransport`.
    """

    def __init__(
        self,
        reactor: Any,
        key: DeviceKey,
        crowded: Callable[[OSError | None], None] | None = None,
        *,
        long_streams: bool = False,
    ) -> None:
        self.clock: IReactorTime = reactor
        self._crowded = crowded
        self._transport = StreamTransport if long_streams else RecordTransport
        self._reactor = reactor
        self._key = key
        self._creators: dict[str, _Creator] = {}

    def client(self, host: str, port: int, *, alpn: str) -> IStreamClientEndpoint:
        """Return what dials `host`, a name or an IP address; names are tried as IPv6 and IPv4."""
        endpoint: IStreamClientEndpoint
        if isIPAddress(host):
            endpoint = TCP4ClientEndpoint(self._reactor, host, port, timeout=limits.HANDSHAKE)
        elif isIPv6Address(host):
            endpoint = TCP6ClientEndpoint(self._reactor, host, port, timeout=limits.HANDSHAKE)
        else:
            endpoint = HostnameEndpoint(self._reactor, host, port, timeout=limits.HANDSHAKE)
        return TLSClientEndpoint(self._creator(alpn), endpoint, self._transport)

    def listen(self, endpoint: str, factory: IProtocolFactory, *, alpn: str) -> Deferred[IListeningPort]:
        """Listen on a Twisted endpoint description (tcp:, tcp6:, unix:), which says nothing of TLS."""
        wrapped = _ServerFactory(self._creator(alpn), False, factory)
        wrapped.protocol = self._transport
        listening: Deferred[IListeningPort] = serverFromString(self._reactor, endpoint).listen(wrapped)

        def be_patient(port: IListeningPort) -> IListeningPort:
            Patience(port, self.clock, self._crowded)
            return port

        return listening.addCallback(be_patient)

    def channel(self, transport: ITransport, *, alpn: str, dialled: bool) -> Channel:
        """Return what both ends of a TLS connection know; `NoCommonVersion` unless they agreed on `alpn`."""
        assert isinstance(transport, TLSMemoryBIOProtocol)
        if transport.negotiatedProtocol != alpn.encode():
            raise NoCommonVersion(f"The other side does not speak {alpn}; update the older of the two.")
        handle = transport.getHandle()
        certificate = handle.get_peer_certificate(as_cryptography=True)
        theirs = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        mine = self._key.spki
        return Channel(
            exporter=handle.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES),
            dialler_spki=mine if dialled else theirs,
            acceptor_spki=theirs if dialled else mine,
        )

    def _creator(self, alpn: str) -> _Creator:
        if alpn not in self._creators:
            self._creators[alpn] = _Creator(self._key, alpn)
        return self._creators[alpn]
