"""Where the echo server is that is to be measured, and how it is dialled."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from twistedp2p.errors import BadAddress
from twistedp2p.framing.addresses import Advertised
from twistedp2p.limits import ECHO_SOURCE_PORTS

__all__ = ["Target", "Trust", "parse_fingerprint"]


@frozen
class Trust:
    """Which TLS server is taken: one that the system's authorities vouch for, unless something else is said."""

    authorities: Path | None = None
    """A PEM file of certificates to trust instead."""
    pin: str | None = None
    """The SHA-256 of the one certificate that is taken, 64 hexadecimal digits; its name and dates do not matter."""
    anybody: bool = False
    """Take any certificate."""


@frozen
class Target:
    """An echo server: what `twistedp2p echo ENDPOINT` names."""

    kind: str
    """``tcp``, ``tls`` or ``unix``."""
    host: str
    """A name, an IP address, or the path of a UNIX socket."""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Return what `text`, ``[tcp:|tls:]HOST:PORT`` or ``unix:PATH``, says; raises `BadAddress`."""
        kind, colon, rest = text.partition(":")
        if colon and kind == "unix" and rest:
            return cls("unix", rest)
        if not colon or kind not in ("tcp", "tls"):
            kind, rest = "tcp", text
        where = None
        with contextlib.suppress(BadAddress):
            where = Advertised.parse(rest)
        if where is None or where.port is None:
            raise BadAddress(
                f"{text[:80]!r} is not where an echo server is; write HOST:PORT, tls:HOST:PORT or unix:PATH."
            )
        return cls(kind, where.host, where.port)

    def text(self) -> str:
        """Return it as it can be written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.host}" if self.kind == "unix" else f"{self.kind}:{host}:{self.port}"

    def dialler(self, reactor: Any, trust: Trust, timeout: float) -> Callable[[int], IStreamClientEndpoint]:
        """Return what makes the endpoint of each connection, by its number.

        Connections to loopback come from several of its addresses when there are more of them than ports.
        Raises `BadAddress` if the file of authorities can not be used.
        """
        if self.kind == "unix":
            return lambda number: UNIXClientEndpoint(reactor, self.host, int(timeout))
        if self.kind == "tls":
            creator = _creator(self.host, trust)
            return lambda number: wrapClientTLS(creator, self._tcp(reactor, number, timeout), reactor)
        return lambda number: self._tcp(reactor, number, timeout)

    def _tcp(self, reactor: Any, number: int, timeout: float) -> IStreamClientEndpoint:
        source = None
        if isIPAddress(self.host) and self.host.startswith("127.") and number >= ECHO_SOURCE_PORTS:
            source = (f"127.0.1.{number // ECHO_SOURCE_PORTS % 250 + 1}", 0)
        endpoint: IStreamClientEndpoint
        if isIPAddress(self.host):
            endpoint = TCP4ClientEndpoint(reactor, self.host, self.port, timeout, source)
        elif isIPv6Address(self.host):
            endpoint = TCP6ClientEndpoint(reactor, self.host, self.port, timeout)
        else:
            endpoint = HostnameEndpoint(reactor, self.host, self.port, timeout)
        return endpoint


def parse_fingerprint(text: str) -> str:
    """Return the 64 hexadecimal digits of a SHA-256 fingerprint, with or without colons; raises `BadAddress`."""
    digits = text.strip().upper().replace(":", "")
    if not re.fullmatch("[0-9A-F]{64}", digits):
        raise BadAddress(f"{text[:100]!r} is no SHA-256 fingerprint: 64 hexadecimal digits, with or without colons.")
    return digits


@implementer(IOpenSSLClientConnectionCreator)
class _Anybody:
    """Takes any certificate; who it is, is looked at afterwards, or not at all."""

    def __init__(self, host: str) -> None:
        self._context = CertificateOptions(verify=False).getContext()
        self._name = None if isIPAddress(host) or isIPv6Address(host) else host.encode("idna")

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return the side that dialled."""
        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _creator(host: str, trust: Trust) -> IOpenSSLClientConnectionCreator:
    if trust.anybody or trust.pin is not None:
        return _Anybody(host)
    roots = None
    if trust.authorities is not None:
        roots = trustRootFromCertificates(_certificates(trust.authorities))
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(host, trustRoot=roots)
    return creator


def _certificates(file: Path) -> list[Certificate]:
    try:
        pems = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", file.read_bytes(), re.S)
        found = [Certificate.loadPEM(pem) for pem in pems]
    except OSError as error:
        raise BadAddress(f"{file} can not be used ({error.strerror}); name another file with --cafile.") from error
    except (CryptoError, ValueError) as error:
        raise BadAddress(f"{file} can not be used (a certificate in it is damaged).") from error
    if not found:
        raise BadAddress(f"{file} has no certificate in it (PEM).")
    return found
