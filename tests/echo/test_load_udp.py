"""Measuring an echo server over UDP: what is lost, late, doubled or changed is counted."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.echo.load import Wish
from twistedp2p.echo.load_udp import NOBODY, DatagramLoad
from twistedp2p.echo.payload import Payloads
from twistedp2p.echo.tally import Tally


class Port:
    """A UDP port by hand, and its transport."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.sent: list[bytes] = []
        self.closed = False
        self.error: Exception | None = None
        protocol.transport = self

    def connect(self, host: str, port: int) -> None:
        """Talk to that address only."""

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram."""
        if self.error is not None:
            raise self.error
        self.sent.append(datagram)

    def stopListening(self) -> None:
        """Close it."""
        self.closed = True
        self.protocol.stopProtocol()


class Air(Clock):
    """A reactor whose UDP ports are kept in `ports`."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []

    def listenUDP(self, port: int, protocol: Any, interface: str, size: int) -> Port:
        """Open a port."""
        self.ports.append(Port(protocol))
        return self.ports[-1]


class DatagramLoadTests(SynchronousTestCase):
    """One run."""

    def begin(self, **wish: int) -> Port:
        """Begin a run; return its first port."""
        self.air = Air()
        self.tally: Tally | None = None
        load = DatagramLoad(
            self.air, Wish(**{"size": 20, "patience": 1, **wish}), "127.0.0.1", 7, Payloads(b"", 20), self.air.seconds
        )

        def done(tally: Tally) -> None:
            self.tally = tally

        load.run().addCallback(done)
        self.load = load
        return self.air.ports[0]

    def measured(self) -> Tally:
        """Return what was measured; the run must be over, and leave nothing."""
        assert self.tally is not None
        self.assertEqual(self.air.getDelayedCalls(), [])
        self.assertTrue(all(port.closed for port in self.air.ports))
        return self.tally

    def echo(self, port: Port) -> None:
        """Send back what was sent."""
        sent, port.sent = port.sent, []
        for datagram in sent:
            port.protocol.datagramReceived(datagram, ("127.0.0.1", 7))

    def test_all_come_back(self) -> None:
        """As many as said are under way, all come back, in any order."""
        port = self.begin(messages=10, window=4)
        self.assertEqual(len(port.sent), 4)
        while port.sent:
            port.sent.reverse()
            self.echo(port)
        tally = self.measured()
        self.assertEqual((tally.sent, tally.back, tally.lost, tally.doubled, tally.damaged), (10, 10, 0, 0, 0))

    def test_every_connection(self) -> None:
        """Each connection has a port of its own, and other bytes."""
        self.begin(messages=1, connections=3)
        self.assertEqual(len({port.sent[0] for port in self.air.ports}), 3)
        for port in self.air.ports:
            self.echo(port)
        self.assertEqual(self.measured().back, 3)

    def test_lost(self) -> None:
        """One that is not back in time is lost; the next one is sent in its place."""
        port = self.begin(messages=2)
        port.sent.clear()
        self.air.pump([0.25] * 3)
        self.assertEqual(port.sent, [])
        self.air.pump([0.25])
        self.echo(port)
        tally = self.measured()
        self.assertEqual((tally.back, tally.lost), (1, 1))

    def test_late_and_doubled(self) -> None:
        """One that comes after its time is still lost, and counted as late; one that comes twice is doubled."""
        port = self.begin(messages=2)
        late = port.sent[0]
        port.sent.clear()
        self.air.pump([0.25] * 4)
        port.protocol.datagramReceived(late, ("127.0.0.1", 7))
        port.protocol.datagramReceived(late, ("127.0.0.1", 7))
        self.echo(port)
        tally = self.measured()
        self.assertEqual((tally.back, tally.lost, tally.doubled, tally.damaged), (1, 1, 2, 0))

    def test_damaged(self) -> None:
        """One that was changed, cut off or made up is damaged."""
        for change in (lambda d: d[:-1] + b"x", lambda d: d[:-1], lambda d: d + b"x"):
            port = self.begin(messages=1)
            port.protocol.datagramReceived(change(port.sent[0]), ("127.0.0.1", 7))
            tally = self.measured()
            self.assertEqual((tally.back, tally.lost, tally.damaged), (0, 0, 1))
        port = self.begin(messages=1)
        for made_up in (b"", b"short", (99).to_bytes(8, "big") + bytes(12)):
            port.protocol.datagramReceived(made_up, ("127.0.0.1", 7))
        self.assertEqual(self.load.tally.damaged, 3)
        self.echo(port)
        self.assertEqual(self.measured().back, 1)

    def test_nobody_listens(self) -> None:
        """A port on which nobody listens ends the run, whether the reactor says so or closes the socket."""
        port = self.begin(messages=5)
        port.protocol.connectionRefused()
        self.assertEqual(self.measured().troubles, {NOBODY: 1})
        port = self.begin(messages=5)
        port.protocol.stopProtocol()
        self.assertEqual(self.measured().troubles, {NOBODY: 1})

    def test_not_sent(self) -> None:
        """One that the system does not send is lost after its time, and the reason is counted."""
        port = self.begin(messages=2)
        self.echo(port)
        self.assertEqual(len(port.sent), 1)
        port.sent.clear()
        port.error = BlockingIOError(11, "Resource temporarily unavailable")
        self.air.pump([0.25] * 4)
        self.assertEqual(self.measured().lost, 1)
        port = self.begin(messages=2)
        port.error = BlockingIOError(11, "Resource temporarily unavailable")
        self.echo(port)
        self.air.pump([0.25] * 8)
        tally = self.measured()
        self.assertEqual(tally.troubles, {"not sent: Resource temporarily unavailable": 1})
        self.assertEqual((tally.back, tally.lost), (1, 1))

    def test_interrupted(self) -> None:
        """A run that is interrupted says what it has so far."""
        port = self.begin(messages=5)
        self.echo(port)
        self.load.interrupt()
        self.assertEqual((self.measured().back, self.measured().lost), (1, 4))
