"""Echo over UDP: datagrams as they are, and never a weapon against others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import MessageLengthError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.echo.counters import Counters
from twistedp2p.echo.datagrams import LOWEST_PORT, EchoDatagrams

OWN = 17007


class Air:
    """A UDP transport that gathers what is sent, or fails with `error`."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.error: Exception | None = None

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram."""
        if self.error is not None:
            raise self.error
        self.sent.append((datagram, addr))


class DatagramTests(SynchronousTestCase):
    """What goes back, and what does not."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.air = Air()
        self.counters = Counters()
        self.datagrams = EchoDatagrams(self.clock, self.counters, {OWN})
        self.datagrams.transport = self.air  # type: ignore[assignment]

    def answered(self, host: str, port: int) -> bool:
        """Say whether a datagram from there is sent back."""
        before = len(self.air.sent)
        self.datagrams.datagramReceived(b"x", (host, port))
        return len(self.air.sent) > before

    @given(st.lists(st.binary(max_size=2000), max_size=5))
    def test_as_they_are(self, datagrams: list[bytes]) -> None:
        """Each goes back once, whole, to where it came from, empty ones too."""
        self.air.sent.clear()
        for datagram in datagrams:
            self.datagrams.datagramReceived(datagram, ("10.0.0.1", 4000))
        self.assertEqual(self.air.sent, [(datagram, ("10.0.0.1", 4000)) for datagram in datagrams])

    def test_services_are_left_alone(self) -> None:
        """Nothing is sent to a port of the system's services: two of them would talk for ever."""
        self.assertFalse(self.answered("10.0.0.1", 7))
        self.assertFalse(self.answered("10.0.0.1", LOWEST_PORT - 1))
        self.assertTrue(self.answered("10.0.0.1", LOWEST_PORT))
        self.assertEqual(self.counters.unanswered, 2)

    def test_echo_servers_do_not_talk_to_each_other(self) -> None:
        """Nothing is sent to a port that this server has itself."""
        self.assertFalse(self.answered("10.0.0.1", OWN))
        self.assertTrue(self.answered("10.0.0.1", OWN + 1))

    def test_addresses_of_many(self) -> None:
        """Nothing is sent to a multicast address."""
        self.assertFalse(self.answered("224.0.0.1", 4000))
        self.assertFalse(self.answered("ff02::1", 4000))
        self.assertTrue(self.answered("fe80::1%eth0", 4000))

    def test_rate(self) -> None:
        """One address gets so many in a second and not one more; others, this machine, and the next second are free."""
        sent = sum(self.answered("10.0.0.1", 4000) for _ in range(limits.ECHO_DATAGRAMS + 5))
        self.assertEqual(sent, limits.ECHO_DATAGRAMS)
        self.assertEqual(self.counters.unanswered, 5)
        self.assertTrue(self.answered("10.0.0.2", 4000))
        self.clock.advance(1)
        self.assertTrue(self.answered("10.0.0.1", 4000))
        self.assertTrue(all(self.answered("127.0.0.1", 4000) for _ in range(limits.ECHO_DATAGRAMS + 5)))

    def test_the_system_refuses(self) -> None:
        """What the system does not send is counted, and nothing is raised or logged."""
        for error in (BlockingIOError(), PermissionError(), MessageLengthError()):
            self.air.error = error
            self.assertFalse(self.answered("10.0.0.1", 4000))
        self.assertEqual((self.counters.datagrams, self.counters.unanswered), (0, 3))

    def test_counters(self) -> None:
        """The sentence of the counters tells of datagrams when there is UDP."""
        self.assertTrue(self.answered("10.0.0.1", 4000))
        self.assertIn("UDP: 1 datagrams and 1 bytes echoed, 0 not answered.", self.counters.sentence())
