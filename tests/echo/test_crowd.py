"""All connections of an echo server: limits on both sides of the edge, idle ones, the end of all."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.echo.crowd import Crowd
from twistedp2p.echo.server import EchoFactory, EchoProtocol


class Line(StringTransport):
    """A transport that writes down how it is treated, and ends when the test says so."""

    aborting = False

    def __init__(self, host: str | None) -> None:
        address: IAddress = UNIXAddress(None) if host is None else IPv4Address("TCP", host, 4000)
        super().__init__(peerAddress=address)
        self.half_closed = False

    def loseWriteConnection(self) -> None:
        """Close the sending side."""
        self.half_closed = True

    def abortConnection(self) -> None:
        """Break it off."""
        self.aborting = self.disconnecting = True

    def unregisterProducer(self) -> None:
        """Real transports do not mind when there is none."""
        self.producer = None


class Server:
    """An echo server on `clock`; `gate` is what it was told."""

    def __init__(self, **limits_of_crowd: Any) -> None:
        self.clock = Clock()
        self.crowd = Crowd(clock=self.clock, **limits_of_crowd)
        self.factory = EchoFactory(self.crowd)
        self.gate: list[bool] = []
        self.crowd.gate = self.gate.append

    def call(self, host: str | None = "10.0.0.1") -> tuple[EchoProtocol, Line]:
        """Return a new connection from `host`; None is a UNIX socket."""
        line = Line(host)
        protocol = self.factory.buildProtocol(None)
        protocol.makeConnection(line)
        return protocol, line

    def echoes(self, one: tuple[EchoProtocol, Line]) -> bool:
        """Say whether a connection is served: it is open, and read from."""
        return one[1].producerState == "producing" and not one[1].disconnecting


def lose(one: tuple[EchoProtocol, Line], error: Exception | None = None) -> None:
    """End a connection."""
    one[0].connectionLost(Failure(error or ConnectionDone()))


class PlacesTests(SynchronousTestCase):
    """How many there may be in all."""

    def test_up_to_the_limit(self) -> None:
        """As many as there may be are served; with the last place taken, the ports stop accepting."""
        server = Server(most=3)
        ones = [server.call() for _ in range(2)]
        self.assertEqual(server.gate, [])
        ones.append(server.call())
        self.assertTrue(all(map(server.echoes, ones)))
        self.assertEqual(server.gate, [False])

    def test_one_more_waits(self) -> None:
        """One more that was accepted all the same is not read from, and not closed, until somebody leaves."""
        server = Server(most=1)
        first, second = server.call(), server.call()
        self.assertEqual(second[1].producerState, "paused")
        self.assertFalse(second[1].disconnecting)
        lose(first)
        self.assertTrue(server.echoes(second))
        self.assertEqual(server.gate, [False, False])
        lose(second)
        self.assertEqual(server.gate, [False, False, True])

    def test_first_come_first_served(self) -> None:
        """Who waited longest is next; one that gave up waiting takes no place."""
        server = Server(most=1)
        first, gone, second, third = (server.call() for _ in range(4))
        lose(gone)
        lose(first)
        self.assertTrue(server.echoes(second))
        self.assertFalse(server.echoes(third))

    def test_not_too_many_wait(self) -> None:
        """As many wait as may; one more is turned away at once."""
        server = Server(most=1)
        server.call()
        waiting = [server.call() for _ in range(limits.ECHO_HELD)]
        self.assertFalse(any(line.disconnecting for _, line in waiting))
        self.assertTrue(server.call()[1].disconnecting)
        self.assertEqual(server.crowd.counters.turned_away, 1)

    def test_default(self) -> None:
        """20,000 are served unless somebody says otherwise, all of them from one address."""
        server = Server()
        ones = [server.call() for _ in range(20_001)]
        self.assertTrue(server.echoes(ones[19_999]))
        self.assertFalse(server.echoes(ones[20_000]))


class PerAddressTests(SynchronousTestCase):
    """How many there may be from one address, if that was asked for."""

    def test_edge(self) -> None:
        """As many as asked for are served, one more is turned away; one that leaves makes room."""
        server = Server(per_address=2)
        first, second, third = (server.call() for _ in range(3))
        self.assertTrue(server.echoes(first) and server.echoes(second))
        self.assertTrue(third[1].disconnecting)
        lose(third)
        self.assertTrue(server.call()[1].disconnecting)
        lose(first)
        self.assertTrue(server.echoes(server.call()))

    def test_others(self) -> None:
        """Other addresses, and UNIX sockets, which have none, are not counted with it."""
        server = Server(per_address=1)
        self.assertTrue(server.echoes(server.call("10.0.0.1")))
        self.assertTrue(server.echoes(server.call("10.0.0.2")))
        self.assertTrue(server.echoes(server.call(None)) and server.echoes(server.call(None)))

    def test_this_machine(self) -> None:
        """Callers of this machine are bound too."""
        server = Server(per_address=1)
        server.call("127.0.0.1")
        self.assertTrue(server.call("127.0.0.1")[1].disconnecting)


class IdleTests(SynchronousTestCase):
    """Connections on which nothing moves."""

    STEP = 80 / limits.ECHO_IDLE_STEPS

    def test_edge(self) -> None:
        """Nothing is closed before the time; an eighth after it at the latest, it is."""
        server = Server(idle=80)
        one = server.call()
        server.clock.pump([1] * 80)
        self.assertFalse(one[1].disconnecting)
        server.clock.pump([1] * int(self.STEP))
        self.assertTrue(one[1].disconnecting)
        self.assertEqual(server.crowd.counters.idle, 1)

    def test_a_byte_is_life(self) -> None:
        """Who says one byte in time stays."""
        server = Server(idle=80)
        one = server.call()
        for _ in range(10):
            server.clock.pump([1] * 79)
            one[0].dataReceived(b".")
        self.assertFalse(one[1].disconnecting)

    def test_taking_is_life(self) -> None:
        """A client that took what it was owed stays, though it said nothing."""
        server = Server(idle=80)
        one = server.call()
        for _ in range(10):
            one[0].pauseProducing()
            server.clock.pump([1] * 79)
            one[0].resumeProducing()
        self.assertFalse(one[1].disconnecting)

    def test_one_that_takes_nothing(self) -> None:
        """What can not be closed because it takes nothing is broken off at the next look."""
        server = Server(idle=80)
        one = server.call()
        server.clock.pump([1] * (80 + int(self.STEP)))
        self.assertFalse(one[1].aborting)
        server.clock.pump([1] * int(self.STEP))
        self.assertTrue(one[1].aborting)

    def test_never(self) -> None:
        """Without a limit there is no timer, and nothing is closed."""
        server = Server(idle=None)
        server.call()
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_no_timer_without_clients(self) -> None:
        """A server without clients does nothing: its timer ends with the last of them, and begins with the next."""
        server = Server(idle=80)
        self.assertEqual(server.clock.getDelayedCalls(), [])
        lose(server.call())
        server.clock.pump([1] * 20)
        self.assertEqual(server.clock.getDelayedCalls(), [])
        one = server.call()
        server.clock.pump([1] * 90)
        self.assertTrue(one[1].disconnecting)

    def test_one_timer_for_all(self) -> None:
        """A thousand connections have one timer."""
        server = Server(idle=80)
        for _ in range(1000):
            server.call()
        self.assertEqual(len(server.clock.getDelayedCalls()), 1)


class StopTests(SynchronousTestCase):
    """The end of a server."""

    def stopping(self, server: Server) -> list[None]:
        """Let it stop; return a list that gets an entry when it has."""
        ended: list[None] = []
        server.crowd.stop().addCallback(ended.append)
        return ended

    def test_nobody_there(self) -> None:
        """Without clients it is at once."""
        self.assertEqual(self.stopping(Server()), [None])

    def test_silent_ones_are_closed(self) -> None:
        """A connection that is silent is closed after a moment, and the server has ended when it is gone."""
        server = Server()
        one = server.call()
        ended = self.stopping(server)
        self.assertFalse(one[1].disconnecting)
        server.clock.pump([limits.ECHO_QUIET] * 2)
        self.assertTrue(one[1].disconnecting)
        self.assertFalse(one[1].aborting)
        self.assertEqual(ended, [])
        lose(one)
        self.assertEqual(ended, [None])
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_what_is_not_read_yet(self) -> None:
        """One that was silent so far is given a moment all the same: its client may just have said something."""
        server = Server(idle=80)
        one = server.call()
        server.clock.pump([10] * 2)
        self.stopping(server)
        server.clock.advance(limits.ECHO_QUIET)
        self.assertFalse(one[1].disconnecting)
        server.clock.advance(limits.ECHO_QUIET)
        self.assertTrue(one[1].disconnecting)

    def test_what_is_under_way_is_echoed(self) -> None:
        """A client that goes on is echoed for a while; then it is told that nothing more comes, and is not heard."""
        server = Server()
        one = server.call()
        self.stopping(server)
        said = 0
        while server.clock.seconds() < limits.ECHO_GRACE - limits.ECHO_QUIET:
            one[0].dataReceived(b"x")
            said += 1
            server.clock.advance(limits.ECHO_QUIET / 2)
        self.assertFalse(one[1].half_closed)
        self.assertEqual(one[1].value(), b"x" * said)
        for _ in range(4):
            one[0].dataReceived(b"x")
            said += 1
            server.clock.advance(limits.ECHO_QUIET / 2)
        self.assertTrue(one[1].half_closed)
        one[0].writeConnectionLost()
        before = one[1].value()
        one[0].dataReceived(b"too late")
        self.assertEqual(one[1].value(), before)
        self.assertFalse(one[1].disconnecting)
        one[0].readConnectionLost()
        self.assertTrue(one[1].disconnecting)

    def test_one_that_does_not_read(self) -> None:
        """A client that takes nothing is waited for, and then broken off: five seconds, not more."""
        server = Server()
        one = server.call()
        one[0].pauseProducing()
        self.stopping(server)
        server.clock.pump([limits.ECHO_QUIET] * 40)
        self.assertFalse(one[1].aborting)
        server.clock.pump([limits.ECHO_QUIET] * 11)
        self.assertTrue(one[1].aborting)
        lose(one)
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_nobody_comes_in(self) -> None:
        """Who waits for a place is turned away, and so is who comes now."""
        server = Server(most=1)
        first, waiting = server.call(), server.call()
        self.stopping(server)
        self.assertTrue(waiting[1].aborting)
        self.assertTrue(server.call()[1].aborting)
        self.assertFalse(first[1].disconnecting)

    def test_without_a_clock(self) -> None:
        """A server without a clock closes all connections at once."""
        crowd = Crowd()
        protocol, line = EchoFactory(crowd).buildProtocol(None), Line("10.0.0.1")
        protocol.makeConnection(line)
        ended: list[None] = []
        crowd.stop().addCallback(ended.append)
        self.assertTrue(line.disconnecting)
        lose((protocol, line))
        self.assertEqual(ended, [None])


class CountersTests(SynchronousTestCase):
    """What is counted."""

    def test_sentence(self) -> None:
        """One line says who is there, who came, who was turned away or broke off, and how much was echoed."""
        server = Server(most=2, per_address=1)
        one, two = server.call("10.0.0.1"), server.call("10.0.0.2")
        server.call("10.0.0.1")
        server.call("10.0.0.3")
        one[0].dataReceived(b"x" * 1234)
        lose(two, ConnectionLost())
        self.assertEqual(
            server.crowd.counters.sentence(),
            "2 connections now, 2 at most, 3 in all; 1 waited, 1 turned away, 0 closed when idle, 1 broken off; "
            "1,234 bytes echoed.",
        )
        lose(one)
        self.assertEqual(server.crowd.counters.lost, 1)
