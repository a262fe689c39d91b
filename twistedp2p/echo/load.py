"""Many connections to an echo server, each with messages under way, and every byte that comes back is looked at.

1. All connections are opened, some at a time. One that fails is counted with its reason, and its messages are lost.
2. When all are open or have failed, the clock begins, and each sends as many messages as may be under way.
3. For each message that came back whole, the next one is sent. A byte that is another one ends its connection.
4. A connection that has everything back closes its sending side, and sees that nothing more comes. One on which
   nothing came for a while is given up.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.echo.payload import Payloads, first_difference
from twistedp2p.echo.tally import Tally
from twistedp2p.echo.target import Trust
from twistedp2p.framing.alarm import Alarm
from twistedp2p.limits import ECHO_DIALS, ECHO_PATIENCE

__all__ = ["Load", "Wish"]

_LOOKS = 4
"""How often in the time of patience it is looked whether a connection goes on."""


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


@implementer(IHandshakeListener)
class LoadConnection(Protocol):
    """One connection of a run, with the number `number`."""

    def __init__(self, load: Load, number: int) -> None:
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
            self.end(_why(reason))

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


class Load:
    """One run over connections; `run` lasts as long as it does.

    Args:
        reactor: dials, and tells the time of deadlines.
        wish: what to do.
        dial: makes the endpoint of a connection, by its number.
        trust: which TLS server is taken; only its pin is looked at here.
        payloads: what to send.
        now: a clock for round trips, seconds.
    """

    def __init__(
        self,
        reactor: Any,
        wish: Wish,
        dial: Callable[[int], IStreamClientEndpoint],
        trust: Trust,
        payloads: Payloads,
        now: Callable[[], float],
    ) -> None:
        self.wish = wish
        self.payloads = payloads
        self.now = now
        self.tally = Tally(wish.connections, wish.connections * wish.messages, wish.size)
        self._reactor = reactor
        self._dial = dial
        self._trust = trust
        self._dialled = 0
        self._settled = 0
        self._shaking_hands: dict[LoadConnection, None] = {}
        self._open: dict[LoadConnection, None] = {}
        self._begun = False
        self._since = now()
        self._done: Deferred[Tally] = Deferred()
        self._looking = Alarm(reactor, self._look)

    def run(self) -> Deferred[Tally]:
        """Do it all; the Deferred fires with what was measured, and never fails."""
        for _ in range(min(ECHO_DIALS, self.wish.connections)):
            self._dial_next()
        self._looking.set(self.wish.patience / _LOOKS)
        return self._done

    def interrupt(self) -> None:
        """End now, with what was measured so far."""
        if not self._done.called:
            self.tally.troubles["interrupted"] += 1
            self._finish()
            for connection in [*self._open, *self._shaking_hands]:
                connection.end(None)

    def is_trusted(self, certificate: Any) -> bool:
        """Return whether a TLS server, by its certificate, is the one that is wanted."""
        if self._trust.pin is None:
            return True
        return certificate is not None and certificate.digest("sha256").decode().replace(":", "") == self._trust.pin

    # -- connections call these ---------------------------------------------------

    def shaking_hands(self, connection: LoadConnection) -> None:
        """A connection is there, and its TLS handshake has begun."""
        self._shaking_hands[connection] = None

    def opened(self, connection: LoadConnection) -> None:
        """A connection is open."""
        self._shaking_hands.pop(connection, None)
        if self._done.called:
            connection.end(None)  # too late
            return
        self.tally.opened += 1
        self._open[connection] = None
        self._settle()

    def ended(self, connection: LoadConnection, trouble: str | None) -> None:
        """A connection has ended; it may not have been open yet."""
        if trouble is not None:
            self.tally.troubles[trouble] += 1
        self._shaking_hands.pop(connection, None)
        if connection in self._open:
            del self._open[connection]
            if self._begun and not self._open:
                self._finish()
        else:
            self._settle()

    # -- dialling -------------------------------------------------------------------

    def _dial_next(self) -> None:
        number, self._dialled = self._dialled, self._dialled + 1
        factory = Factory.forProtocol(lambda: LoadConnection(self, number))
        factory.noisy = False
        self._dial(number).connect(factory).addErrback(self._not_dialled)

    def _not_dialled(self, failure: Failure) -> None:
        self.tally.troubles[_why(failure)] += 1
        self._settle()

    def _settle(self) -> None:
        """One more connection is open, or has failed."""
        self._settled += 1
        if self._done.called:
            return
        if self._dialled < self.wish.connections:
            self._dial_next()
        elif self._settled == self.wish.connections:
            self._begin()

    def _begin(self) -> None:
        self._begun = True
        began = self.now()
        self.tally.opening, self._since = began - self._since, began
        for connection in list(self._open):
            connection.begin()
        if not self._open:
            self._finish()

    # -- the end ----------------------------------------------------------------------

    def _look(self) -> None:
        for connection in list(self._shaking_hands):
            self._judge(connection, "its TLS handshake took too long")
        for connection in list(self._open) if self._begun else ():
            self._judge(connection, "nothing came back any more")
        if not self._done.called:
            self._looking.set(self.wish.patience / _LOOKS)

    def _judge(self, connection: LoadConnection, trouble: str) -> None:
        connection.silent = 0 if connection.heard else connection.silent + 1
        connection.heard = False
        if connection.silent >= _LOOKS:
            connection.end(trouble)

    def _finish(self) -> None:
        if self._done.called:
            return
        self._looking.stop()
        if self._begun:
            self.tally.seconds = self.now() - self._since
        self._done.callback(self.tally)


def _why(failure: Failure) -> str:
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
