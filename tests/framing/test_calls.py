"""Typed requests between two programs: replies, errors with codes, limits, cancelling, and hostile other sides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from struct import pack
from typing import Annotated, Any, cast

from attrs import frozen
from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.errors import (
    BadArguments,
    ConnectionFull,
    InternalError,
    NotHeld,
    PeerTimeout,
    ProtocolViolation,
    TooLarge,
    TwistedP2PError,
    UnknownRequest,
)
from twistedp2p.framing.calling import CallFactory, CallProtocol
from twistedp2p.framing.calls import CALLS, Answer, Ask, CallError, CallLimits, Replies, Request, name_of, reply_type
from twistedp2p.messages.common import Cancel, Done, Failed, Ping


@frozen
class Found:
    """Where a word stands."""

    lines: tuple[int, ...]


@frozen
class Search(Request[Found]):
    """Where does this word stand?"""

    word: Annotated[str, Meta(max_length=20)]


@frozen
class Text(Request[str]):
    """A text of that many characters."""

    length: int


@frozen
class Length(Request[int]):
    """How long is this text?"""

    text: str


@frozen
class Later(Request[str]):
    """Something that takes time."""

    name: str = ""


@frozen
class Nowhere(Request[int]):
    """Nobody answers this."""


class NoSuchWord(CallError):
    """The service's own error."""

    code = "no-such-word"


class Service:
    """Answers for tests: some at once, some when the test says so."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.later: list[Deferred[str]] = []
        self.cancelled = 0
        self.replies.to(Search)(self.search)
        self.replies.to(Text)(lambda request, _: "x" * request.length)
        self.replies.to(Length)(lambda request, _: len(request.text))
        self.replies.to(Later)(self.wait)

    async def search(self, request: Search, caller: CallProtocol) -> Found:
        """Find the word, or fail in each way that there is."""
        match request.word:
            case "bug":
                raise KeyError("a secret of the service")
            case "own":
                raise NoSuchWord("There is no such word.")
            case "other":
                raise CallError("Come back on Monday.", "closed")
            case "arguments":
                raise BadArguments("A word has no blanks.")
            case "family":
                raise NotHeld("an error of another room")
            case "odd":
                return object()  # type: ignore[return-value]
        return Found((len(request.word), 7))

    def wait(self, request: Later, caller: CallProtocol) -> Deferred[str]:
        """Return what the test fires."""

        def stop(_: object) -> None:
            self.cancelled += 1

        self.later.append(Deferred(stop))
        return self.later[-1]


class TwoSides(SynchronousTestCase):
    """A client and a server over a connection in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = Service()
        self.join()

    def part(self) -> None:
        """End the connection."""
        for protocol in (self.client, self.server):
            protocol.abort("the test is over")
        self.pump.flush()

    def join(self, client: CallLimits | None = None, server: CallLimits | None = None) -> None:
        """Connect both sides, with these limits; a connection that there was before ends."""
        if hasattr(self, "pump"):
            self.part()
        errors = (NoSuchWord,)
        self.server = CallFactory(self.clock, self.service.replies, call_limits=server).buildProtocol(None)
        self.client = CallFactory(self.clock, call_limits=client, errors=errors).buildProtocol(None)
        self.pump: IOPump = connect(
            self.server,
            FakeTransport(self.server, isServer=True),
            self.client,
            FakeTransport(self.client, isServer=False),
        )

    def tearDown(self) -> None:
        self.part()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def hear(self, request: Request[Any]) -> Any:
        """Return the reply to a request that is answered at once."""
        asked = self.client.ask(request)
        self.pump.flush()
        return self.successResultOf(asked)

    def fail_with(self, request: Request[Any], error: type[Exception]) -> Any:
        """Return the error that a request ends with; the connection is there afterwards."""
        asked = self.client.ask(request)
        self.pump.flush()
        value = self.failureResultOf(asked, error).value
        self.assertEqual(self.hear(Search("ring")), Found((4, 7)))
        return value


class RepliesTests(TwoSides):
    """What is asked is answered."""

    def test_reply(self) -> None:
        """A request gets its reply, of the type that its class names."""
        self.assertEqual(self.hear(Search("ring")), Found((4, 7)))

    def test_await(self) -> None:
        """A reply can be awaited."""

        async def both() -> tuple[Found, int]:
            return await self.client.ask(Search("a")), await self.client.ask(Length("abc"))

        result = Deferred.fromCoroutine(both())
        self.pump.flush()
        self.assertEqual(self.successResultOf(result), (Found((1, 7)), 3))

    def test_any_order(self) -> None:
        """Replies come in the order in which they are ready, each to its own request."""
        first, second = (self.client.ask(Later(name)) for name in "ab")
        self.pump.flush()
        self.service.later[1].callback("two")
        self.pump.flush()
        self.assertEqual(self.successResultOf(second), "two")
        self.assertNoResult(first)
        self.service.later[0].callback("one")
        self.pump.flush()
        self.assertEqual(self.successResultOf(first), "one")

    def test_both_ways(self) -> None:
        """The side that was dialled asks too, and an answer may ask back over the same connection."""
        back = Replies()
        back.to(Length)(lambda request, _: len(request.text))

        class Twice(Request[int]):
            called = "twice"

        async def twice(request: Request[int], caller: CallProtocol) -> int:
            return 2 * await caller.ask(Length("abc"))

        self.service.replies.to(frozen(Twice))(twice)
        self.client._replies = back
        self.assertEqual(self.hear(frozen(Twice)()), 6)

    def test_in_flight(self) -> None:
        """As many requests as there may be are under way; the next waits here until one has ended."""
        self.join(CallLimits(in_flight=2), CallLimits(in_flight=2))
        asked = [self.client.ask(Later()) for _ in range(3)]
        self.pump.flush()
        self.assertEqual(len(self.service.later), 2)
        self.service.later[0].callback("done")
        self.pump.flush()
        self.assertEqual((len(self.service.later), self.successResultOf(asked[0])), (3, "done"))
        for result in asked[1:]:
            result.addErrback(lambda _: None)

    def test_too_many_in_flight(self) -> None:
        """Who asks more at a time than the other side takes hears so, for those beyond only."""
        self.join(CallLimits(in_flight=3), CallLimits(in_flight=2))
        asked = [self.client.ask(Later()) for _ in range(3)]
        self.pump.flush()
        self.failureResultOf(asked[2], ConnectionFull)
        for later in self.service.later:
            later.callback("done")
        self.pump.flush()
        self.assertEqual([self.successResultOf(result) for result in asked[:2]], ["done", "done"])


class ErrorsTests(TwoSides):
    """Everything that goes wrong has a code, and ends nothing but its own request."""

    def test_unknown_request(self) -> None:
        """A request that nothing answers."""
        self.fail_with(Nowhere(), UnknownRequest)

    def test_bad_arguments(self) -> None:
        """Arguments that do not fit the class over there, or that the answer does not like."""
        self.assertIn("word", str(self.fail_with(Search("x" * 21), BadArguments)))
        self.assertEqual(str(self.fail_with(Search("arguments"), BadArguments)), "A word has no blanks.")
        self.assertEqual(self.hear(Search("x" * 20)), Found((20, 7)))

    def test_own_error(self) -> None:
        """An error of the service is raised as its class where that is known, else by its code."""
        self.assertEqual(str(self.fail_with(Search("own"), NoSuchWord)), "There is no such word.")
        error = self.fail_with(Search("other"), CallError)
        self.assertEqual((error.code, str(error)), ("closed", "Come back on Monday."))

    def test_bug(self) -> None:
        """A bug is logged where it is; no detail of it leaves. So is an error of this package that nobody caught."""
        for word, error in (("bug", KeyError), ("family", NotHeld), ("odd", TypeError)):
            heard = self.fail_with(Search(word), InternalError)
            self.assertNotIn("secret", str(heard))
            self.assertEqual(len(self.flushLoggedErrors(error)), 1)

    def test_codes_of_errors(self) -> None:
        """The code of an own error is a short word that is not one of ours."""
        for code in ("", "Big", "a b", "internal", "timeout", "x" * 33):
            self.assertRaises(ValueError, CallError, "", code)
        self.assertEqual(CallError("", "x" * 32).code, "x" * 32)

    def test_reply_of_another_type(self) -> None:
        """A reply that is not what this side expects fails its request."""
        replies = Replies()

        @frozen
        class Mine(Request[int]):
            called = "Length"
            text: str

        replies.to(Length)(lambda request, _: "many")
        self.service.replies = replies
        self.join()
        asked = self.client.ask(Mine("abc"))
        self.pump.flush()
        self.failureResultOf(asked, ProtocolViolation)

    def test_long_text(self) -> None:
        """The text of an error is cut to what a message takes."""
        replies = Replies()

        def answer(request: Length, caller: CallProtocol) -> int:
            raise CallError("x" * 10_000)

        replies.to(Length)(answer)
        self.service.replies = replies
        self.join()
        asked = self.client.ask(Length(""))
        self.pump.flush()
        self.assertEqual(str(self.failureResultOf(asked, CallError).value), "x" * 400)


class LimitsTests(TwoSides):
    """At each limit, and past it."""

    # A map of one field, its name of 4 characters, and text of 32 to 255 bytes: 1 + 5 + 2 + text.
    HEAD = 8

    def test_request_bytes_here(self) -> None:
        """A request that is longer than this side may send is not sent."""
        self.join(client=CallLimits(request_bytes=100))
        self.assertEqual(self.hear(Length("x" * (100 - self.HEAD))), 100 - self.HEAD)
        self.fail_with(Length("x" * (101 - self.HEAD)), TooLarge)

    def test_request_bytes_there(self) -> None:
        """A request that is longer than the other side takes is refused by it."""
        self.join(server=CallLimits(request_bytes=100))
        self.assertEqual(self.hear(Length("x" * (100 - self.HEAD))), 100 - self.HEAD)
        self.fail_with(Length("x" * (101 - self.HEAD)), TooLarge)

    def test_reply_bytes(self) -> None:
        """A reply that is longer than one of both sides allows fails with an error of that code."""
        for side in ("client", "server"):
            self.join(**{side: CallLimits(reply_bytes=100)})
            self.assertEqual(self.hear(Text(98)), "x" * 98)
            self.fail_with(Text(99), TooLarge)

    def test_largest(self) -> None:
        """As much as a frame takes goes both ways; a byte more is refused."""
        most = limits.DATA_BYTES - 9  # longer texts have heads of 3 bytes
        self.assertEqual(self.hear(Length("x" * most)), most)
        self.fail_with(Length("x" * (most + 1)), TooLarge)
        self.assertEqual(len(self.hear(Text(limits.DATA_BYTES - 5 + 2))), limits.DATA_BYTES - 3)

    def test_limits_of_limits(self) -> None:
        """What can not be is refused where it is said."""
        for wrong in (
            {"request_bytes": limits.DATA_BYTES + 1},
            {"reply_bytes": 0},
            {"in_flight": limits.REQUESTS_IN_FLIGHT + 1},
            {"seconds": 0.0},
        ):
            self.assertRaises(ValueError, CallLimits, **wrong)

    def test_connections(self) -> None:
        """There are as many connections as there may be; when one is lost, another may come."""
        factory = CallFactory(self.clock, connections=1)
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        self.assertIsNone(factory.buildProtocol(None))
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(factory.open, set())
        self.assertIsNotNone(factory.buildProtocol(None))

    def test_names(self) -> None:
        """One class answers to a name of at most 64 characters, and names a reply."""
        replies = Replies()

        @frozen
        class Long(Request[int]):
            called = "x" * 65

        class Silent(Request):  # type: ignore[type-arg]
            pass

        @frozen
        class Lost(Request[int]):
            what: Unheard  # type: ignore[name-defined]  # noqa: F821

        replies.to(Search)(lambda request, _: Found(()))
        self.assertRaises(ValueError, replies.to, Search)
        self.assertRaises(ValueError, replies.to, Long)
        self.assertRaises(TypeError, replies.to, Silent)
        self.assertRaises(TypeError, replies.to, Lost)
        self.assertIs(reply_type(Search), Found)

        @frozen
        class Fields(Request[int]):
            called: str  # type: ignore[misc]

        self.assertEqual((name_of(Search), name_of(Fields)), ("Search", "Fields"))


class EndsTests(TwoSides):
    """Cancelling, time and loss, in every phase."""

    def test_cancel_while_answered(self) -> None:
        """Cancelling the Deferred stops the work over there, and leaves the connection as it was."""
        asked = self.client.ask(Later())
        self.pump.flush()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.pump.flush()
        self.assertEqual((self.service.cancelled, len(self.server._answers), len(self.client._requests)), (1, 0, 0))
        self.assertEqual(self.hear(Search("ring")), Found((4, 7)))

    def test_cancel_before_it_is_read(self) -> None:
        """A request and its cancel that arrive together end it, too."""
        asked = self.client.ask(Later())
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.pump.flush()
        self.assertEqual((self.service.cancelled, len(self.client._requests)), (1, 0))

    def test_cancel_before_its_turn(self) -> None:
        """A request that waits for its turn is never sent."""
        self.join(client=CallLimits(in_flight=1))
        first, second = self.client.ask(Later()), self.client.ask(Search("bug"))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.pump.flush()
        self.service.later[0].callback("done")
        self.pump.flush()
        self.assertEqual(self.successResultOf(first), "done")

    def test_cancel_after_the_answer_left(self) -> None:
        """A cancel that crosses the answer is no offence."""
        asked = self.client.ask(Later())
        self.pump.flush()
        self.service.later[0].callback("done")
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.hear(Search("ring")), Found((4, 7)))

    def test_cancelled_over_there(self) -> None:
        """Work that somebody else cancels over there ends with that code."""
        asked = self.client.ask(Later())
        self.pump.flush()
        self.service.later[0].cancel()
        self.pump.flush()
        self.assertEqual(self.failureResultOf(asked, CallError).value.code, "cancelled")

    def test_time_here(self) -> None:
        """A request has its seconds, then it fails and is cancelled over there; not a moment earlier."""
        self.join(client=CallLimits(seconds=10))
        asked = self.client.ask(Later())
        self.pump.flush()
        self.clock.advance(9.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.failureResultOf(asked, PeerTimeout)
        self.pump.flush()
        self.assertEqual(self.service.cancelled, 1)
        self.assertEqual(self.hear(Search("ring")), Found((4, 7)))

    def test_time_there(self) -> None:
        """An answer has the seconds of its own side; its work is cancelled then, and the asking side hears it."""
        self.join(server=CallLimits(seconds=5))
        asked = self.client.ask(Later())
        self.pump.flush()
        self.clock.advance(4.9)
        self.pump.flush()
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.pump.flush()
        self.failureResultOf(asked, PeerTimeout)
        self.assertEqual(self.service.cancelled, 1)

    def test_silence(self) -> None:
        """A connection on which not even a cancel is answered is given up."""
        self.join(client=CallLimits(seconds=10))
        asked = self.client.ask(Later())  # nothing is delivered
        self.clock.advance(10)
        self.failureResultOf(asked, PeerTimeout)
        self.clock.advance(10)
        self.assertFalse(self.client.proven)

    def test_loss(self) -> None:
        """When the connection is lost, what was asked fails, the work on it stops, and nothing more is asked."""
        asked = self.client.ask(Later())
        self.pump.flush()
        self.server.transport.abortConnection()
        self.pump.flush()
        self.failureResultOf(asked, ConnectionDone, ConnectionLost)
        self.assertEqual(self.service.cancelled, 1)
        self.failureResultOf(self.client.ask(Search("ring")), ConnectionDone, ConnectionLost)

    def test_close(self) -> None:
        """After `close`, what was answered has left, and what was not fails at the asking side."""
        answered, open_one = self.client.ask(Search("ring")), self.client.ask(Later())
        self.pump.pump()
        self.server.close()
        self.pump.flush()
        self.assertEqual(self.successResultOf(answered), Found((4, 7)))
        self.failureResultOf(open_one, ConnectionDone, ConnectionLost)
        self.assertEqual(self.successResultOf(self.client.gone), None)


class IdleTests(SynchronousTestCase):
    """Connections over which nothing is asked."""

    def setUp(self) -> None:
        """Begin with nobody."""
        self.clock = Clock()
        self.service = Service()

    def join(self, idle: float | None = 10.0, both: bool = False) -> None:
        """Connect a client, and a server with that idle time; `both`: the client answers, too, and is never idle."""
        more = CallLimits(seconds=1000)
        self.factory = CallFactory(self.clock, self.service.replies, call_limits=more, idle=idle)
        answers = self.service.replies if both else None
        asks = CallFactory(self.clock, answers, call_limits=more, idle=None if both else 1.0)
        self.server, self.client = self.factory.buildProtocol(None), asks.buildProtocol(None)
        ends = (FakeTransport(self.server, isServer=True), FakeTransport(self.client, isServer=False))
        self.pump: IOPump = connect(self.server, ends[0], self.client, ends[1])

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and deliver."""
        self.clock.advance(seconds)
        self.pump.flush()

    def check_end(self, seconds: float) -> None:
        """Assert that the connection is closed after just so many seconds, and that nothing is left then."""
        self.pass_time(seconds - 0.1)
        self.assertTrue(self.server.proven and self.client.proven)
        self.assertNoResult(self.client.gone)
        self.pass_time(0.1)
        self.assertEqual((self.successResultOf(self.server.gone), self.successResultOf(self.client.gone)), (None, None))
        self.failureResultOf(self.client.ask(Search("ring")), ConnectionDone)
        self.assertEqual((self.factory.open, self.clock.getDelayedCalls()), (set(), []))

    def test_nothing_is_asked(self) -> None:
        """A connection on which nothing is asked is closed at that moment, by the side that answers."""
        self.join()
        self.check_end(10.0)

    def test_each_request_counts(self) -> None:
        """The time begins anew with the end of each request, answered or refused."""
        self.join()
        for request in (Search("ring"), Search("own"), Nowhere()):
            self.pass_time(9.9)
            self.client.ask(request).addErrback(lambda _: None)
            self.pump.flush()
        self.check_end(10.0)

    def test_what_is_under_way(self) -> None:
        """While an answer is worked on the connection stays, however long that takes; then the time begins."""
        self.join()
        asked = self.client.ask(Later())
        self.pump.flush()
        for _ in range(123):
            self.pass_time(1.0)
        self.assertNoResult(asked)
        self.service.later[0].callback("done")
        self.pump.flush()
        self.assertEqual(self.successResultOf(asked), "done")
        self.check_end(10.0)

    def test_what_this_side_asks(self) -> None:
        """What the side that answers has asked itself counts, too."""
        self.join(both=True)
        asked = self.server.ask(Later())
        self.pump.flush()
        for _ in range(57):
            self.pass_time(1.0)
        self.service.later[0].callback("done")
        self.pump.flush()
        self.assertEqual(self.successResultOf(asked), "done")
        self.check_end(10.0)

    def test_cancels_are_no_requests(self) -> None:
        """Who only cancels what was never asked is idle."""
        self.join()
        for _ in range(9):
            self.pass_time(1.0)
            self.client.send_message(Cancel(7))
            self.pump.flush()
        self.check_end(1.0)

    def test_never(self) -> None:
        """With None or 0 it is never closed by time, and no time is waited for; so it is where nothing is answered."""
        for idle in (None, 0, 0.0):
            self.join(idle)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.pass_time(1e9)
            asked = self.client.ask(Search("ring"))
            self.pump.flush()
            self.assertEqual(self.successResultOf(asked), Found((4, 7)))

    def test_by_default(self) -> None:
        """Nothing said, the limit counts."""
        self.join(limits.CALLS_IDLE)
        server = CallFactory(self.clock, self.service.replies)
        self.assertEqual(server._idle, self.factory._idle)
        self.check_end(limits.CALLS_IDLE)

    def test_what_it_may_not_be(self) -> None:
        """Less than nothing, and for ever, are refused where they are said."""
        for wrong in (-1.0, float("inf"), float("nan")):
            self.assertRaises(ValueError, CallFactory, self.clock, idle=wrong)


def frame(message: object) -> bytes:
    """Return a message as it travels."""
    body = CALLS.encode(message)
    return pack("!I", len(body)) + body


def search(number: int = 0, name: str = "Search", arguments: bytes = b"\x81\xa4word\xa4ring") -> Ask:
    """Return a request by hand."""
    return Ask(number, name, arguments)


class BytesTests(SynchronousTestCase):
    """What arrives, in whatever pieces, and from whomever."""

    def connected(self, call_limits: CallLimits | None = None) -> CallProtocol:
        """Return the side that answers, with a transport that keeps what it sends."""
        self.clock = Clock()
        self.service = Service()
        factory = CallFactory(self.clock, self.service.replies, call_limits=call_limits)
        protocol: CallProtocol = factory.buildProtocol(None)
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        return protocol

    def stop_reading(self) -> None:
        """The other side reads nothing any more."""
        cast(IPushProducer, self.transport.producer).pauseProducing()

    def said(self) -> list[object]:
        """Return what was sent, decoded."""

        def messages(data: bytes) -> Iterator[object]:
            while data:
                length = int.from_bytes(data[:4], "big")
                yield CALLS.decode(data[4 : 4 + length])
                data = data[4 + length :]

        return list(messages(self.transport.value()))

    def assert_dropped(self, protocol: CallProtocol, data: bytes, why: str) -> None:
        """Feed bytes that cost the connection, and nothing else."""
        protocol.dataReceived(data)
        self.assertTrue(self.transport.disconnected or self.transport.disconnecting, why)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [], why)
        self.assertEqual(len(protocol._answers), 0, why)

    REPLY = (Answer(0, b"\x81\xa5lines\x92\x04\x07"), Done(0))

    def test_whole(self) -> None:
        """A request in one piece."""
        self.connected().dataReceived(frame(search()))
        self.assertEqual(self.said(), [*self.REPLY])

    def test_byte_by_byte(self) -> None:
        """A request cut at every byte."""
        protocol = self.connected()
        for byte in frame(search()):
            protocol.dataReceived(bytes([byte]))
        self.assertEqual(self.said(), [*self.REPLY])
        protocol.abort("the test is over")

    def test_cut_anywhere(self) -> None:
        """A request in two pieces, cut at each place."""
        data = frame(search())
        for cut in range(1, len(data)):
            protocol = self.connected()
            protocol.dataReceived(data[:cut])
            protocol.dataReceived(data[cut:])
            self.assertEqual(self.said(), [*self.REPLY])
            protocol.abort("the test is over")

    def test_two_in_one_read(self) -> None:
        """Two requests in one piece, with a notice of a later version between them."""
        notice = pack("!I", 2) + b"\x80\x80"
        self.connected().dataReceived(frame(search(0)) + notice + frame(search(1)))
        self.assertEqual(self.said(), [*self.REPLY, Answer(1, b"\x81\xa5lines\x92\x04\x07"), Done(1)])

    def test_malformed(self) -> None:
        """What is no message, is over a limit of frames, or is out of turn, costs the connection."""
        later = search(0, "Later", b"\x80")
        for why, data in (
            ("an empty frame", bytes(4)),
            ("a frame that is too long", pack("!I", limits.FRAME_BYTES + 1)),
            ("an unknown type", pack("!I", 2) + b"\x06\x80"),
            ("no MessagePack", pack("!I", 3) + b"\x01\xc1\xc1"),
            ("a number that is none", frame(Ask(2**32, "Search", b""))),
            ("a long name", frame(search(name="x" * 65))),
            ("an answer to nothing", frame(Answer(0, b"\x01"))),
            ("a part after an answer to nothing", frame(Done(0))),
            ("a failure of nothing", frame(Failed(0, "internal", ""))),
            ("one number twice", frame(later) + frame(later)),
            (
                "a request and bytes behind it",
                pack("!I", 1 + len(CALLS.encode(search()))) + CALLS.encode(search()) + b"x",
            ),
        ):
            self.assert_dropped(self.connected(), data, why)

    def test_malformed_arguments(self) -> None:
        """Arguments that are no MessagePack, or nested as deeply as fits, fail their request and nothing else."""
        protocol = self.connected()
        wrong = [b"", b"\xc1", b"\x80", b"\x81\xa4word\x01", b"\x91" * 60_000, b"\x81\xa4word\xa4\xff\xff\xff\xff"]
        for number, arguments in enumerate(wrong):
            protocol.dataReceived(frame(search(number, arguments=arguments)))
        codes = [message.code for message in self.said() if isinstance(message, Failed)]
        self.assertEqual(codes, ["bad-arguments"] * len(wrong))
        self.assertFalse(self.transport.disconnecting)

    def test_bad_answers(self) -> None:
        """A server that answers twice, ends without an answer, or fails with a malformed code, is left."""
        for why, messages in (
            ("two answers", (Answer(0, b"\x01"), Answer(0, b"\x01"))),
            ("no answer", (Done(0),)),
            ("a bad code", (Failed(0, "In Ternal", ""),)),
        ):
            protocol = self.connected()
            asked = protocol.ask(Length("abc"))
            self.assert_dropped(protocol, b"".join(map(frame, messages)), why)
            self.failureResultOf(asked, ProtocolViolation, ConnectionDone)

    def test_cancel_of_nothing(self) -> None:
        """A cancel of what has ended, or never was, is no offence: it may have crossed the end."""
        protocol = self.connected()
        protocol.dataReceived(frame(Cancel(7)) + frame(search()))
        self.assertEqual(self.said(), [*self.REPLY])

    def test_reader_that_reads_nothing(self) -> None:
        """Who asks on and on and reads nothing gets no more than its share of answers made; memory stays bounded."""
        protocol = self.connected(CallLimits(in_flight=4))
        self.stop_reading()
        before = len(self.transport.value())
        for number in range(100):
            protocol.dataReceived(frame(Ask(number, "Text", b"\x81\xa6length\xcd\xff\x00")))
        said = self.said()
        self.assertLess(len(self.transport.value()) - before, 100 * 200)
        self.assertEqual({type(message) for message in said}, {Failed})
        self.assertEqual((len(said), len(protocol._answers)), (96, 4))
        protocol.abort("the test is over")

    def test_cancel_while_the_answer_waits(self) -> None:
        """An answer that waits for the reader is let go of when it is cancelled."""
        protocol = self.connected()
        self.stop_reading()
        protocol.dataReceived(frame(search()))
        protocol.dataReceived(frame(Cancel(0)))
        cast(IPushProducer, self.transport.producer).resumeProducing()
        self.assertEqual(self.said(), [Failed(0, "cancelled", "")])

    def test_ends_of_what_was_not_read(self) -> None:
        """Who ends requests that it can not have read yet is dropped before what waits for it grows without end."""
        protocol = self.connected(CallLimits(in_flight=2))
        self.stop_reading()
        asked = [protocol.ask(Length("abc")) for _ in range(20)]
        for number in range(20):
            protocol.dataReceived(frame(Failed(number, "closed", "")))
        self.assertFalse(protocol.proven)
        protocol.connectionLost(Failure(ConnectionDone()))
        for result in asked:
            self.failureResultOf(result, CallError, ConnectionDone, TwistedP2PError)

    def test_no_other_message(self) -> None:
        """The conversation has five messages; the types of their bytes are as documented."""
        self.assertRaises(KeyError, CALLS.encode, Ping())
        messages = (search(), Answer(0, b""), Done(0), Failed(0, "a", ""), Cancel(0))
        self.assertEqual([CALLS.encode(message)[0] for message in messages], [1, 2, 3, 4, 5])
        self.assertTrue(all(type(a) is not type(b) for a, b in pairwise(messages)))
