"""Datagrams to an echo server: each has its number, so that those that are lost, late or doubled are known.

A datagram that is not back in time is lost, and the next one is sent in its place. One that comes after that, or again,
is counted as doubled. Every byte is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from twistedp2p.echo.load import Wish
from twistedp2p.echo.payload import Payloads, first_difference
from twistedp2p.echo.tally import Tally
from twistedp2p.framing.alarm import Alarm
from twistedp2p.limits import ECHO_DATAGRAM_BYTES

__all__ = ["NOBODY", "DatagramLoad"]

NOBODY = "nobody listens there"
_LOOKS = 4
"""How often in the time of patience it is looked whether datagrams are lost."""


class _Sender(DatagramProtocol):
    """One socket of a run, with the number `number`."""

    transport: IUDPTransport

    def __init__(self, load: DatagramLoad, number: int) -> None:
        self.number = number
        self._load = load
        self._under_way: dict[int, float] = {}
        self._next = 0
        self._ended = False

    def begin(self) -> None:
        """Send as many as may be under way."""
        for _ in range(min(self._load.wish.window, self._load.wish.messages)):
            self._go_on()

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Compare what came with what was sent."""
        load = self._load
        if self._ended:
            return
        number = Payloads.number(datagram)
        since = None if number is None else self._under_way.pop(number, None)
        if number is None or since is None:
            if number is not None and number < self._next:
                load.tally.doubled += 1
            else:
                load.tally.damage(self.number, number or 0, 0)
            return
        expected = load.payloads.datagram(self.number, number)
        if datagram == expected:
            load.tally.back += 1
            load.tally.round_trips.add(load.now() - since)
        else:
            load.tally.damage(self.number, number, first_difference(datagram, expected))
        self._go_on()

    def connectionRefused(self) -> None:
        """The other machine said that nobody listens."""
        self.end(NOBODY)

    def stopProtocol(self) -> None:
        """The socket is closed: by us, or by the reactor when it hears that nobody listens, before anybody is told."""
        self.end(NOBODY)

    def look(self) -> None:
        """Take for lost what is not back in time."""
        latest = self._load.now() - self._load.wish.patience
        for number in [number for number, since in self._under_way.items() if since <= latest]:
            del self._under_way[number]
            self._go_on()

    def end(self, trouble: str | None) -> None:
        """Be done; harmless when it was."""
        if not self._ended:
            self._ended = True
            self._load.ended(self, trouble)

    def _go_on(self) -> None:
        if self._ended:
            return
        if self._next < self._load.wish.messages:
            self._send()
        elif not self._under_way:
            self.end(None)

    def _send(self) -> None:
        load = self._load
        number, self._next = self._next, self._next + 1
        load.tally.sent += 1
        self._under_way[number] = load.now()
        try:
            self.transport.write(load.payloads.datagram(self.number, number), load.where)
        except (OSError, MessageLengthError) as error:
            # It counts as lost after the time for it, which is the time that the system may need.
            load.tally.troubles[f"not sent: {getattr(error, 'strerror', None) or error}"] += 1


class DatagramLoad:
    """One run with datagrams; `run` lasts as long as it does. Arguments as for `load.Load`; `host` is an IP address."""

    def __init__(
        self, reactor: Any, wish: Wish, host: str, port: int, payloads: Payloads, now: Callable[[], float]
    ) -> None:
        self.wish = wish
        self.payloads = payloads
        self.now = now
        self.tally = Tally(wish.connections, wish.connections * wish.messages, wish.size)
        self._reactor = reactor
        self.where = (host, port)
        self._senders: dict[_Sender, IListeningPort] = {}
        self._since = now()
        self._done: Deferred[Tally] = Deferred()
        self._looking = Alarm(reactor, self._look)

    def run(self) -> Deferred[Tally]:
        """Do it all; the Deferred fires with what was measured, and never fails."""
        interface = "::" if ":" in self.where[0] else ""
        for number in range(self.wish.connections):
            sender = _Sender(self, number)
            port = self._reactor.listenUDP(0, sender, interface, ECHO_DATAGRAM_BYTES)
            sender.transport.connect(*self.where)
            self._senders[sender] = port
        began = self.now()
        self.tally.opened, self.tally.opening, self._since = len(self._senders), began - self._since, began
        for sender in list(self._senders):
            sender.begin()
        self._looking.set(self.wish.patience / _LOOKS)
        return self._done

    def interrupt(self) -> None:
        """End now, with what was measured so far."""
        for sender in list(self._senders):
            sender.end("interrupted")

    def ended(self, sender: _Sender, trouble: str | None) -> None:
        """One is done."""
        if trouble is not None:
            self.tally.troubles[trouble] += 1
        self._senders.pop(sender).stopListening()
        if not self._senders:
            self._looking.stop()
            self.tally.seconds = self.now() - self._since
            self._done.callback(self.tally)

    def _look(self) -> None:
        self._looking.set(self.wish.patience / _LOOKS)
        for sender in list(self._senders):
            sender.look()
