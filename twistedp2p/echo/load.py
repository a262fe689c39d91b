"""Many connections to an echo server, each with messages under way, and every byte that comes back is looked at.

1. All connections are opened, some at a time. One that fails is counted with its reason, and its messages are lost.
2. When all are open or have failed, the clock begins, and each sends as many messages as may be under way.
3. For each message that came back whole, the next one is sent. A byte that is another one ends its connection.
4. A connection that has everything back closes its sending side, and sees that nothing more comes. One on which
   nothing came for a while is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from twistedp2p.echo.load_connection import LoadConnection, Wish, why_ended
from twistedp2p.echo.payload import Payloads
from twistedp2p.echo.tally import Tally
from twistedp2p.echo.target import Trust
from twistedp2p.framing.alarm import Alarm
from twistedp2p.limits import ECHO_DIALS

__all__ = ["Load", "LoadConnection", "Wish"]

_LOOKS = 4
"""How often in the time of patience it is looked whether a connection goes on."""


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
        self.tally.troubles[why_ended(failure)] += 1
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
