"""One connection of a run over many: it sends messages, and compares every byte that comes back."""

from __future__ import annotations

import os
import typing
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.echo.payload import Payloads, first_difference
from twistedp2p.echo.tally import Tally
from twistedp2p.limits import ECHO_PATIENCE

__all__ = ["LoadConnection", "Run", "Wish", "why_ended"]


@frozen
class Wish:
    """What a run is to do."""

    connections: int = 1
    messages: int = 100
    """Of each connection."""
    size: int = 64
    """Bytes of each message."""
    window: int = 1
    """Messages of one connection that are under way at once."""
    patience: float = ECHO_PATIENCE
    """Seconds without anything after which a connection is given up, or a datagram is lost."""


class Run(typing.Protocol):
    """The run that a connection belongs to."""

    wish: Wish
    payloads: Payloads
    tally: Tally
    now: Callable[[], float]

    def is_trusted(self, certificate: Any) -> bool:
        """Return whether a TLS server, by its certificate, is the one that is wanted."""

    def shaking_hands(self, connection: LoadConnection) -> None:
        """A connection is there, and its TLS handshake has begun."""

    def opened(self, connection: LoadConnection) -> None:
        """A connection is open."""

    def ended(self, connection: LoadConnection, trouble: str | None) -> None:
        """A connection has ended; it may not have been open yet."""


@implementer(IHandshakeListener)
class LoadConnection(Protocol):
    """One connection of a run, with the number `number`."""

    def __init__(self, load: Run, number: int) -> None:
        self.number = number
        self.heard = True
        self.silent = 0
        self._load = load
        self._under_way: deque[tuple[bytes, float]] = deque()
        self._next = 0
        self._back = 0
        self._offset = 0
        self._ended = False

    # -- Twisted calls these ------------------------------------------------

    def connectionMade(self) -> None:
        """It is open, unless a handshake comes first."""
        if ISSLTransport.providedBy(self.transport):
            self._load.shaking_hands(self)
        else:
            self._load.opened(self)

    def handshakeCompleted(self) -> None:
        """It is open, if the other side is who it should be."""
        transport: Any = self.transport
        if self._load.is_trusted(transport.getPeerCertificate()):
            self._load.opened(self)
        else:
            self.end("its certificate is not the one of --pin")

    def dataReceived(self, data: bytes) -> None:
        """Compare what came with what was sent."""
        self.heard = True
        at = 0
        while at < len(data):
            if not self._under_way:
                self._damaged("more came back than was sent", 0)
                return
            expected, since = self._under_way[0]
            size = min(len(expected) - self._offset, len(data) - at)
            found, wanted = data[at : at + size], expected[self._offset : self._offset + size]
            if found != wanted:
                self._damaged("a byte came back changed", self._offset + first_difference(found, wanted))
                return
            at += size
            self._offset += size
            if self._offset == len(expected):
                self._came_back(since)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended, in time or not."""
        if self._has_all_back() and reason.check(ConnectionDone):
            self.end(None)
        else:
            self.end(why_ended(reason))

    # -- the run calls these ----------------------------------------------------

    def begin(self) -> None:
        """Send as much as may be under way."""
        self.heard = True
        for _ in range(min(self._load.wish.window, self._load.wish.messages)):
            self._send()

    def end(self, trouble: str | None) -> None:
        """Be done, in time or because of `trouble`; harmless when it has ended."""
        if self._ended:
            return
        self._ended = True
        if self.transport is not None:
            cast(ITCPTransport, self.transport).abortConnection()
        self._load.ended(self, trouble)

    # -- messages -----------------------------------------------------------------

    def _send(self) -> None:
        load = self._load
        payload = load.payloads.stream(self.number, self._next)
        self._next += 1
        load.tally.sent += 1
        self._under_way.append((payload, load.now()))
        self.transport.write(payload)  # type: ignore[union-attr]

    def _came_back(self, since: float) -> None:
        load = self._load
        self._under_way.popleft()
        self._offset = 0
        self._back += 1
        load.tally.back += 1
        load.tally.round_trips.add(load.now() - since)
        if self._next < load.wish.messages:
            self._send()
        elif self._has_all_back():
            # TLS has no half-close, and closes at once.
            transport = cast(ITCPTransport, self.transport)
            if ISSLTransport.providedBy(transport):
                transport.loseConnection()
            else:
                transport.loseWriteConnection()

    def _has_all_back(self) -> bool:
        return self._back == self._load.wish.messages

    def _damaged(self, trouble: str, byte: int) -> None:
        self._load.tally.damage(self.number, self._back, byte)
        self.end(trouble)


def why_ended(failure: Failure) -> str:
    """Return why a connection failed or ended, in a few words that are the same for all that failed so."""
    error = failure.value
    if isinstance(error, ConnectionDone):
        return "the server closed it"
    if isinstance(error, ConnectionLost):
        return "it was broken off"
    if isinstance(error, SSL.Error):
        details = error.args[0] if error.args and error.args[0] else ()
        reason = details[0][-1] if details else "closed"
        return f"TLS failed: {reason}"
    if isinstance(error, VerificationError):
        return "TLS failed: its certificate is for another name"
    if isinstance(error, TimeoutError):
        return "there was no answer"
    number = getattr(error, "osError", None)
    return os.strerror(number) if isinstance(number, int) else str(error).rstrip(".") or type(error).__name__
