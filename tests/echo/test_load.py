"""Measuring an echo server: every byte is compared, every loss is seen."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.echo.load import Load, LoadConnection, Wish
from twistedp2p.echo.payload import Payloads, first_difference
from twistedp2p.echo.tally import RoundTrips, Tally
from twistedp2p.echo.target import Trust


class Wire(StringTransport):
    """A transport that notes a half-close and a break."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:
        """Close the sending side."""
        self.half_closed = True

    def abortConnection(self) -> None:
        """Break it off."""
        self.aborted = True


@implementer(IStreamClientEndpoint)
class Place:
    """An endpoint whose connections are made by hand: `answer` says what becomes of each."""

    def __init__(self, answer: Callable[[IProtocolFactory], Deferred[IProtocol]]) -> None:
        self._answer = answer

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Dial."""
        return self._answer(factory)


class Run:
    """A run against a server made by hand; `lines` are its connections that were made."""

    def __init__(self, refused: int = 0, **wish: int) -> None:
        self.clock = Clock()
        self.lines: list[tuple[LoadConnection, Wire]] = []
        self.waiting: list[tuple[Deferred[IProtocol], IProtocolFactory]] = []
        self.refused = refused
        self.load = Load(
            self.clock,
            Wish(**{"messages": 3, "size": 10, **wish}),
            lambda number: Place(self.dialled),
            Trust(),
            Payloads(b"seed", wish.get("size", 10)),
            self.clock.seconds,
        )
        self.tally: Tally | None = None
        self.load.run().addCallback(self.done)

    def done(self, tally: Tally) -> None:
        """It is over."""
        self.tally = tally

    def dialled(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Let a connection wait."""
        answer: Deferred[IProtocol] = Deferred()
        self.waiting.append((answer, factory))
        return answer

    def answer(self) -> None:
        """Let all connections that are being dialled be made, but for the first `refused`."""
        while self.waiting:
            answer, factory = self.waiting.pop(0)
            if self.refused:
                self.refused -= 1
                answer.errback(ConnectionRefusedError(111))
                continue
            protocol, wire = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 7)), Wire()
            assert isinstance(protocol, LoadConnection)
            self.lines.append((protocol, wire))
            protocol.makeConnection(wire)
            answer.callback(protocol)

    def echo(self, change: Callable[[bytes], bytes] = lambda data: data, piece: int = 1 << 20) -> bool:
        """Send back what each connection sent, changed by `change`; return whether there was anything."""
        some = False
        for protocol, wire in self.lines:
            data = wire.value()
            wire.clear()
            some = some or bool(data)
            back = change(data)
            for at in range(0, len(back), piece):
                protocol.dataReceived(back[at : at + piece])
        return some

    def close(self) -> None:
        """Close each connection whose sending side was closed."""
        for protocol, wire in self.lines:
            if wire.half_closed:
                protocol.connectionLost(Failure(ConnectionDone()))


class PayloadTests(SynchronousTestCase):
    """What is sent."""

    @given(st.binary(max_size=16), st.integers(1, 300), st.integers(0, 2**40), st.integers(0, 2**40))
    def test_its_own(self, seed: bytes, size: int, connection: int, message: int) -> None:
        """A message is as long as said, and the same when it is asked for again."""
        payloads = Payloads(seed, size)
        first = payloads.stream(connection, message)
        self.assertEqual(len(first), size)
        self.assertEqual(payloads.stream(connection, message), first)

    def test_different(self) -> None:
        """No two messages are the same: not of two connections, not of one, not of two runs."""
        found = {
            Payloads(seed, 16).stream(connection, message)
            for seed in (b"a", b"b")
            for connection in range(20)
            for message in range(20)
        }
        self.assertEqual(len(found), 800)

    def test_datagrams(self) -> None:
        """A datagram says its number, also the shortest one; shorter ones say nothing."""
        for size in (limits.ECHO_DATAGRAM_LEAST, 9, 1000):
            datagram = Payloads(b"", size).datagram(7, 2**40)
            self.assertEqual((len(datagram), Payloads.number(datagram)), (size, 2**40))
        self.assertIsNone(Payloads.number(b"1234567"))

    def test_first_difference(self) -> None:
        """The first byte that differs is found, and the end of the shorter one."""
        self.assertEqual(first_difference(b"abcd", b"abxd"), 2)
        self.assertEqual(first_difference(b"ab", b"abc"), 2)


class RoundTripTests(SynchronousTestCase):
    """Percentiles."""

    @given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
    def test_percentiles(self, times: list[float], part: float) -> None:
        """A percentile is off by 1 % at most; the greatest is exact."""
        trips = RoundTrips()
        for one in times:
            trips.add(one)
        exact = sorted(times)[max(0, -(-int(len(times) * part * 100) // 100) - 1)]
        found = trips.percentile(part)
        assert found is not None
        self.assertTrue(any(abs(found / one - 1) < 0.0101 for one in times))
        self.assertGreaterEqual(found * 1.0101, exact)
        self.assertEqual(trips.most, max(times))

    def test_known(self) -> None:
        """Of 1 to 100 ms, 50 is the median, 90 and 99 are the others."""
        trips = RoundTrips()
        for one in range(1, 101):
            trips.add(one / 1000)
        for part in (0.5, 0.9, 0.99):
            found = trips.percentile(part)
            assert found is not None
            self.assertLess(abs(found / (part / 10) - 1), 0.0101)

    def test_none(self) -> None:
        """Without a round trip there is no percentile, and a clock that stands still is no error."""
        trips = RoundTrips()
        self.assertIsNone(trips.percentile(0.5))
        trips.add(0.0)
        self.assertIsNotNone(trips.percentile(0.5))


class RunTests(SynchronousTestCase):
    """A whole run."""

    def test_all_comes_back(self) -> None:
        """All is sent, comes back, and is counted; each connection half-closes when it has everything."""
        run = Run(connections=4, messages=5)
        run.answer()
        rounds = 0
        while run.echo():
            rounds += 1
        self.assertEqual(rounds, 5)
        self.assertTrue(all(wire.half_closed for _, wire in run.lines))
        self.assertIsNone(run.tally)
        run.clock.advance(2)
        run.close()
        assert run.tally is not None
        self.assertEqual((run.tally.sent, run.tally.back, run.tally.lost, run.tally.damaged), (20, 20, 0, 0))
        self.assertEqual((run.tally.opened, run.tally.seconds, run.tally.troubles), (4, 2, {}))
        self.assertEqual(run.clock.getDelayedCalls(), [])

    def test_window(self) -> None:
        """As many messages as said are under way, and no more."""
        run = Run(messages=10, window=4)
        run.answer()
        self.assertEqual(len(run.lines[0][1].value()), 40)
        run.echo(lambda data: data[:10])
        self.assertEqual(len(run.lines[0][1].value()), 10)

    @given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 60))
    def test_however_it_is_cut(self, size: int, window: int, piece: int) -> None:
        """Messages may come back in pieces, or several at once."""
        run = Run(size=size, window=window, messages=6)
        run.answer()
        while run.echo(piece=piece):
            pass
        run.close()
        assert run.tally is not None
        self.assertEqual((run.tally.back, run.tally.damaged), (6, 0))

    def test_all_open_before_the_first_message(self) -> None:
        """Nothing is sent before all connections are open; not all are dialled at once."""
        wanted = limits.ECHO_DIALS + 10
        run = Run(connections=wanted)
        self.assertEqual(len(run.waiting), limits.ECHO_DIALS)
        (answer, factory), *run.waiting = run.waiting
        run.waiting, rest = [(answer, factory)], run.waiting
        run.answer()
        self.assertEqual(run.lines[0][1].value(), b"")
        run.waiting += rest
        run.answer()
        self.assertEqual(len(run.lines), wanted)
        self.assertTrue(all(len(wire.value()) == 10 for _, wire in run.lines))

    def test_some_refused(self) -> None:
        """Connections that fail are counted with their reason, and their messages as lost; the others do their part."""
        run = Run(connections=5, refused=2)
        run.answer()
        while run.echo():
            pass
        run.close()
        assert run.tally is not None
        self.assertEqual((run.tally.opened, run.tally.back, run.tally.lost), (3, 9, 6))
        self.assertEqual(run.tally.troubles, {"Connection refused": 2})

    def test_all_refused(self) -> None:
        """When no connection is made, the run is over."""
        run = Run(connections=3, refused=3)
        run.answer()
        assert run.tally is not None
        self.assertEqual((run.tally.opened, run.tally.lost), (0, 9))


class DamageTests(SynchronousTestCase):
    """What a server must not do."""

    def damaged(self, change: Callable[[bytes], bytes]) -> Tally:
        """Return what is measured when the second message comes back changed."""
        run = Run(size=100)
        run.answer()
        run.echo()
        run.echo(change)
        assert run.tally is not None
        self.assertTrue(run.lines[0][1].aborted)
        return run.tally

    def test_one_bit(self) -> None:
        """One bit is seen wherever it is, and said with the place."""
        for at in (0, 57, 99):
            with self.subTest(at):
                tally = self.damaged(lambda data, at=at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])  # type: ignore[misc]
                self.assertEqual((tally.damaged, tally.back, tally.lost), (1, 1, 1))
                self.assertEqual(tally.first_damage, f"connection 0, message 1, byte {at}")

    def test_swapped(self) -> None:
        """Two bytes that changed places are seen."""
        self.assertEqual(self.damaged(lambda data: data[:50] + data[51:52] + data[50:51] + data[52:]).damaged, 1)

    def test_one_byte_too_many(self) -> None:
        """A byte that nobody sent is seen, in the middle and at the very end."""
        self.assertEqual(self.damaged(lambda data: b"x" + data).damaged, 1)
        run = Run(messages=1)
        run.answer()
        run.echo()
        run.lines[0][0].dataReceived(b"x")
        assert run.tally is not None
        self.assertEqual(run.tally.damaged, 1)

    def test_of_another_client(self) -> None:
        """What belongs to another connection is seen."""
        run = Run(connections=2)
        run.answer()
        (one, first), (_, second) = run.lines
        self.assertNotEqual(first.value(), second.value())
        one.dataReceived(second.value())
        self.assertEqual(run.load.tally.damaged, 1)

    def test_of_before(self) -> None:
        """A message that comes back twice is seen."""
        run = Run()
        run.answer()
        first = run.lines[0][1].value()
        run.echo()
        run.lines[0][0].dataReceived(first)
        self.assertEqual(run.load.tally.damaged, 1)


class LossTests(SynchronousTestCase):
    """Connections that end before their time."""

    def test_server_closes(self) -> None:
        """A server that closes too early loses the rest, and that is said."""
        for error, why in ((ConnectionDone(), "the server closed it"), (ConnectionLost(), "it was broken off")):
            with self.subTest(why):
                run = Run()
                run.answer()
                run.echo()
                run.lines[0][0].connectionLost(Failure(error))
                assert run.tally is not None
                self.assertEqual((run.tally.back, run.tally.lost, run.tally.troubles), (1, 2, {why: 1}))

    def test_half_a_message(self) -> None:
        """A message of which a part came back is lost."""
        run = Run(messages=1)
        run.answer()
        run.echo(lambda data: data[:-1])
        run.lines[0][0].connectionLost(Failure(ConnectionDone()))
        assert run.tally is not None
        self.assertEqual((run.tally.back, run.tally.lost), (0, 1))

    def test_broken_at_the_very_end(self) -> None:
        """A connection that is broken off when it has everything back lost nothing, but it is said."""
        run = Run(messages=1)
        run.answer()
        run.echo()
        run.lines[0][0].connectionLost(Failure(ConnectionLost()))
        assert run.tally is not None
        self.assertEqual((run.tally.lost, run.tally.troubles), (0, {"it was broken off": 1}))

    def test_silence(self) -> None:
        """A connection on which nothing comes is given up after the time of patience, not before."""
        run = Run(patience=8)
        run.answer()
        run.clock.pump([1] * 7)
        self.assertIsNone(run.tally)
        run.clock.pump([1] * 4)
        assert run.tally is not None
        self.assertEqual(run.tally.troubles, {"nothing came back any more": 1})
        self.assertEqual(run.clock.getDelayedCalls(), [])

    def test_a_byte_is_life(self) -> None:
        """A slow server is waited for as long as something comes."""
        run = Run(patience=8, size=100)
        run.answer()
        data = run.lines[0][1].value()
        for at in range(50):
            run.clock.pump([1] * 7)
            run.lines[0][0].dataReceived(data[at : at + 1])
        self.assertIsNone(run.tally)

    def test_interrupted(self) -> None:
        """A run that is interrupted says what it has so far."""
        run = Run(connections=2)
        run.answer()
        run.echo()
        run.load.interrupt()
        assert run.tally is not None
        self.assertEqual((run.tally.back, run.tally.lost), (2, 4))
        self.assertEqual(run.clock.getDelayedCalls(), [])
        self.assertTrue(all(wire.aborted for _, wire in run.lines))
        run.load.interrupt()

    def test_interrupted_while_dialling(self) -> None:
        """So does one that is interrupted before all connections are open, and those that come late are no error."""
        run = Run(connections=2)
        run.load.interrupt()
        assert run.tally is not None
        self.assertEqual((run.tally.opened, run.tally.lost), (0, 6))
        run.answer()
        self.assertTrue(all(wire.aborted for _, wire in run.lines))


class ChanceTests(SynchronousTestCase):
    """Many connections whose answers come in any order."""

    @given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 4))
    def test_any_order(self, seed: int, connections: int, window: int) -> None:
        """Whatever the order in which the server answers, all comes back."""
        chance = random.Random(seed)
        run = Run(connections=connections, window=window, messages=4)
        run.answer()
        owed = {number: bytearray() for number in range(connections)}
        while True:
            for number, (_, wire) in enumerate(run.lines):
                owed[number] += wire.value()
                wire.clear()
            ready = [number for number in owed if owed[number]]
            if not ready:
                break
            number = chance.choice(ready)
            size = chance.randint(1, len(owed[number]))
            data = bytes(owed[number][:size])
            del owed[number][:size]
            run.lines[number][0].dataReceived(data)
        run.close()
        assert run.tally is not None
        self.assertEqual(run.tally.back, connections * 4)
        self.assertEqual(run.tally.damaged, 0)

