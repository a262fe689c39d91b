"""Callers and impostors that speak TLS by themselves, to try what a stranger can do."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL.crypto import X509

from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import EXPORTER_BYTES, EXPORTER_LABEL, Channel

__all__ = ["Caller", "answer_to_garbage", "impostor_hears"]

PATIENCE = 20.0
_ALERT = 21
"""The type of a TLS record that says why a connection ends; it is not application data."""


def _context(key: DeviceKey | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_verify(SSL.VERIFY_PEER, _any)
    if key is not None:
        context.use_certificate(key.certificate)
        context.use_privatekey(key.private_key)
    return context


def _any(connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
    return True


class Caller:
    """A TLS connection to a port of this machine; a context manager.

    `key` None: without a certificate. `alpn` None: without naming a protocol. `secured` is whether the handshake
    was completed on this side; the other may still refuse the certificate.
    """

    def __init__(self, port: int, key: DeviceKey | None, alpn: str | None) -> None:
        self._key = key
        context = _context(key)
        if alpn is not None:
            context.set_alpn_protos([alpn.encode()])
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.settimeout(None)
        # OpenSSL must not meet a socket that is not blocking, as one with a timeout of Python's is.
        patience = struct.pack("ll", int(PATIENCE), 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._tls = SSL.Connection(context, self._socket)
        self._tls.set_connect_state()
        self.secured = False
        with contextlib.suppress(SSL.Error):
            self._tls.do_handshake()
            self.secured = True

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def channel(self) -> Channel:
        """Return what both ends know of this connection."""
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None and self._key is not None
        return Channel(
            exporter=self._tls.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES),
            dialler_spki=self._key.spki,
            acceptor_spki=certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        )

    def other_channel(self) -> Channel:
        """Return the channel of a connection that is not this one, between the same two."""
        channel = self.channel()
        return Channel(os.urandom(EXPORTER_BYTES), channel.dialler_spki, channel.acceptor_spki)

    def say(self, frame: bytes) -> None:
        """Send a frame."""
        with contextlib.suppress(SSL.Error):
            self._tls.sendall(struct.pack("!I", len(frame)) + frame)

    def hears(self) -> bytes:
        """Return the first application data that comes; b"" if the other side ends the connection without any.

        Raises TimeoutError if neither happens.
        """
        try:
            return self._tls.recv(65536)
        except (SSL.WantReadError, SSL.WantWriteError):
            raise TimeoutError("the other side neither says anything nor ends the connection") from None
        except SSL.Error:
            return b""


def answer_to_garbage(port: int, garbage: bytes) -> bytes:
    """Return what is answered to bytes that are no TLS, without the alerts of TLS, until the connection ends."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain, contextlib.suppress(ConnectionError):
        plain.sendall(garbage)
        plain.shutdown(socket.SHUT_WR)
        while piece := plain.recv(65536):
            heard += piece
    while heard[:1] == bytes([_ALERT]):
        heard = heard[5 + int.from_bytes(heard[3:5], "big") :]
    return heard


def impostor_hears(server: socket.socket, key: DeviceKey, alpn: str) -> bytes:
    """Take one caller of a listening socket, as whoever has `key`; return the first application data that it sends.

    b"" if it ends the connection without any; TimeoutError if it does neither.
    """

    def choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        assert alpn.encode() in offered
        return alpn.encode()

    context = _context(key)
    context.set_alpn_select_callback(choose)
    caller, _ = server.accept()
    with caller:
        caller.settimeout(None)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE), 0))
        tls = SSL.Connection(context, caller)
        tls.set_accept_state()
        try:
            tls.do_handshake()
            return tls.recv(65536)
        except (SSL.WantReadError, SSL.WantWriteError):
            raise TimeoutError("the caller neither says anything nor ends the connection") from None
        except SSL.Error:
            return b""
