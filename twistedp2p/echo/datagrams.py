"""Echo over UDP: a datagram goes back to where it came from, as it is.

Anybody can write another's address on a datagram. So that this server is no weapon:

1. What goes back is never longer than what came, and never more than one for one.
2. Nothing is sent to a port below 1024, nor to one on which this server listens itself: two echo servers, or an
   echo server and one for dates or names, would go on talking to each other for ever.
3. No address gets more than ECHO_DATAGRAMS a second, except this machine's own.
4. Nothing is sent to an address of many (multicast, broadcast); the system refuses those that are not obvious.
"""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IReactorTime, IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from twistedp2p.echo.counters import Counters
from twistedp2p.framing.admission import is_local
from twistedp2p.limits import ECHO_DATAGRAMS

__all__ = ["LOWEST_PORT", "EchoDatagrams"]

LOWEST_PORT = 1024
"""Ports below belong to the system's services; an honest client has another one."""


class EchoDatagrams(DatagramProtocol):
    """The datagrams of one port; `own_ports` are all UDP ports of this server."""

    transport: IUDPTransport

    def __init__(self, clock: IReactorTime, counters: Counters, own_ports: set[int]) -> None:
        self._clock = clock
        self._counters = counters
        counters.without_udp = False
        self._own_ports = own_ports
        self._second = 0
        self._sent: dict[str, int] = {}
        """How many went to each address in this second: no more entries than there were datagrams."""

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send it back, or not."""
        if self._may_answer(addr[0], addr[1]):
            try:
                self.transport.write(datagram, addr)
            except (OSError, MessageLengthError):
                pass  # the system has no room for it, or no way there: UDP promises nothing
            else:
                self._counters.datagrams += 1
                self._counters.datagram_bytes += len(datagram)
                return
        self._counters.unanswered += 1

    def _may_answer(self, host: str, port: int) -> bool:
        if port < LOWEST_PORT or port in self._own_ports:
            return False
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            self._sent.clear()
        sent = self._sent.get(host, 0)
        if not sent and ip_address(host.partition("%")[0]).is_multicast:
            return False
        if sent >= ECHO_DATAGRAMS and not is_local(host):
            return False
        self._sent[host] = sent + 1
        return True
