"""Call conversation: both sides of a connection ask, many requests at a time, and each has an end of its own.

    asking side                                    answering side
    1. Ask (number, name, arguments)        -->    finds the function, decodes, begins
    2. hears the reply                      <--    Answer, then Done
       or an error                          <--    Failed (code, text)
    3. Cancel, at any time before the end   -->    stops the work; the end comes all the same

Replies come in the order in which they are ready. A request that fails, whatever the reason, ends alone; only what
is no message, or out of turn, costs the connection. Who may talk is not decided here: the endpoint is the
embedder's (TCP, UNIX or TLS, with its own ALPN), and so is whatever version the two agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import (
    BadArguments,
    ConnectionFull,
    InternalError,
    PeerTimeout,
    ProtocolViolation,
    TooLarge,
    UnknownRequest,
)
from twistedp2p.framing.calls import (
    CALLS,
    Answer,
    Ask,
    CallError,
    CallLimits,
    Replies,
    Request,
    decoder_of,
    error_of,
    name_of,
)
from twistedp2p.framing.calls import reply_type as reply_type_of
from twistedp2p.framing.endings import end_of, refusal_of
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.idle import Idle
from twistedp2p.framing.network import Network
from twistedp2p.framing.requests import Answers, Requests
from twistedp2p.messages.common import Cancel, Done, Failed

__all__ = ["CallFactory", "CallProtocol"]

Reply = TypeVar("Reply")
_BUG = "The other side failed to answer; its log has the reason."


class _Plain:
    """What frames need of a network when the endpoint is somebody else's: the time."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock


def _streams(call_limits: CallLimits) -> int:
    """Return how many messages may wait to be read: what is asked, cancelled and answered."""
    return 3 * call_limits.in_flight


class CallProtocol(FrameProtocol):
    """One connection between two programs that ask each other; made by `CallFactory`, lives until it is lost.

    It may talk as soon as it is made. `close` ends it once what was sent has left; what was asked and not answered
    then fails with the reason for which the connection was lost.

    Args:
        clock: tells the time.
        replies: what this side answers.
        call_limits: what this side gives and takes.
        errors: the embedder's own, by whose classes they are raised here.
        idle: seconds after which it is closed when nothing is asked; 0 for never.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        replies: Replies,
        call_limits: CallLimits,
        errors: tuple[type[CallError], ...],
        idle: float = 0.0,
    ) -> None:
        super().__init__(
            cast(Network, _Plain(clock)), CALLS, alpn="", dialled=False, most_streams=_streams(call_limits)
        )
        self.gone: Deferred[None] = Deferred()
        """Fires when the connection is lost, in whatever way."""
        self._replies = replies
        self._limits = call_limits
        self._errors = errors
        self._requests = Requests(
            clock,
            send=self._say,
            cancel_of=Cancel,
            silent=lambda: self.abort("no answers any more"),
            heard_at=lambda: self.heard_at,
            timeout=2 * call_limits.seconds,  # a request that is late is cancelled first, and that is answered
            most=call_limits.in_flight,
        )
        self._answers = Answers(self._answered, most=call_limits.in_flight, at_once=call_limits.in_flight)
        self._idle = Idle(
            clock, idle, busy=lambda: bool(len(self._requests) or len(self._answers)), ring=self._close_idle
        )

    # -- asking --------------------------------------------------------------

    def ask(self, request: Request[Reply]) -> Deferred[Reply]:
        """Ask the other side; further requests than may be in flight wait here for their turn.

        Returns:
            A Deferred of the reply, to await or to add callbacks to; cancelling it stops the work over there. It
            fails with `UnknownRequest`, `BadArguments`, `TooLarge`, `InternalError` (a bug over there),
            `PeerTimeout`, `ConnectionFull`, `CallError` (an error of the service's own), `ProtocolViolation` (the
            reply is of another type than is expected here), or the reason for which the connection was lost.
        """
        try:
            reply_type = reply_type_of(type(request))
            arguments = msgspec.msgpack.encode(request)
            name = name_of(type(request))
            if len(arguments) > self._limits.request_bytes:
                raise TooLarge(f"A request has {len(arguments)} bytes, of {self._limits.request_bytes} that may be.")
        except Exception:
            return fail(Failure())
        values: list[bytes] = []

        def on_part(answer: Answer) -> None:
            if values:
                raise ProtocolViolation("two answers to one request")
            values.append(answer.value)

        def ended(_: None) -> Reply:
            if not values:
                self.abort("a request ended without its answer")
                raise ProtocolViolation("A request ended without its answer.")
            reply: Reply = self._decoded(name, reply_type, values[0])
            return reply

        def late(_: object, seconds: float) -> None:
            raise PeerTimeout(f"No answer came in {seconds:g} s.")

        asked = self._requests.ask(lambda number: Ask(number, name, arguments), on_part)
        return asked.addTimeout(self._limits.seconds, self.clock, late).addCallback(ended)

    def _decoded(self, name: str, reply_type: Any, value: bytes) -> Any:
        if len(value) > self._limits.reply_bytes:
            raise TooLarge(f"A reply has {len(value)} bytes, of {self._limits.reply_bytes} that may be.")
        try:
            return decoder_of(reply_type).decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"The reply to {name} is not what is expected here: {error}") from None

    def _say(self, message: object) -> None:
        """Send one message after those that wait for the reader."""
        try:
            sent = self.send_stream(iter((message,)))
        except ProtocolViolation as error:  # the other side ends requests that it can not have read
            self.abort(error)
        else:
            sent.addErrback(lambda failure: failure.trap(ConnectionDone) and None)

    # -- FrameProtocol calls these -------------------------------------------

    def connectionMade(self) -> None:
        """Both may talk at once: whoever had to prove something has done so to the endpoint."""
        super().connectionMade()
        self.set_proven()
        self._idle.start()

    def message_received(self, message: object) -> None:
        """Take one message."""
        if isinstance(message, (Ask, Done, Failed)):
            self._idle.moved()
        match message:
            case Ask():
                self._begin(message)
            case Answer():
                self._requests.part(message.request, message)
            case Done():
                self._requests.done(message.request)
            case Failed():
                self._requests.failed(message.request, error_of(message, self._errors))
            case Cancel():
                self._answers.cancel(message.request)
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not expected here")

    def link_lost(self, reason: Failure) -> None:
        """Fail what was asked, and stop answering."""
        self._idle.stop()
        self._requests.lost(reason if self.error is None else Failure(self.error))
        self._answers.lost()
        self.gone.callback(None)

    def _close_idle(self, seconds: float) -> None:
        self._log.info("Closed {peer}: nothing was asked for {seconds:g} s", peer=self._peer(), seconds=seconds)
        self.close()

    # -- answering -----------------------------------------------------------

    def _begin(self, ask: Ask) -> None:
        if len(self._answers) >= self._limits.in_flight:
            full = ConnectionFull("There are as many requests as there may be; ask again later.")
            self.send_message(refusal_of(ask.request, full))
            return
        self._answers.begin(ask.request, 0, lambda: self._answer(ask))

    async def _answer(self, ask: Ask) -> None:
        said = [Answer(ask.request, await self._reply(ask))]
        try:
            await self.send_stream(_left(said))
        except CancelledError:
            said.clear()  # it waited for the reader, and is not wanted any more
            raise

    async def _reply(self, ask: Ask) -> bytes:
        """Return the encoded reply, or raise what the other side may hear; anything else is a bug, and only logged."""
        try:
            if len(ask.arguments) > self._limits.request_bytes:
                raise TooLarge(f"A request may have {self._limits.request_bytes} bytes here.")
            answer = self._replies.find(ask.name, ask.arguments)
        except (TooLarge, UnknownRequest, BadArguments):
            raise
        except Exception:
            raise self._bug(ask) from None
        late: list[bool] = []

        def cancelled(result: object, _: float) -> object:
            late.append(True)
            return result

        working = maybeDeferred(answer, self).addTimeout(self._limits.seconds, self.clock, cancelled)
        try:
            value = msgspec.msgpack.encode(await working)
        except (CallError, BadArguments):
            raise
        except CancelledError:
            if late:
                raise PeerTimeout("The answer took too long.") from None
            raise
        except Exception:
            raise self._bug(ask) from None
        if len(value) > self._limits.reply_bytes:
            raise TooLarge(f"The reply has {len(value)} bytes, of {self._limits.reply_bytes} that may be.")
        return value

    def _bug(self, ask: Ask) -> InternalError:
        self._log.failure("Answering {name} failed", name=ask.name)
        return InternalError(_BUG)

    def _answered(self, number: int, failure: Failure | None) -> None:
        """Tell the other side how its request ended."""
        self._idle.moved()
        end = end_of(number, failure, bug=_BUG)
        if end is not None:
            self.send_message(end)


def _left(messages: list[Answer]) -> Iterator[object]:
    while messages:
        yield messages.pop()


class CallFactory(Factory):
    """Makes a `CallProtocol` for each connection, of either side: for a listening endpoint, a dialling one, a service.

    Args:
        clock: the reactor, or what else tells the time.
        replies: what this side answers; nothing if it only asks.
        call_limits: what this side gives and takes.
        errors: classes of the service's own errors that the other side may answer with.
        connections: how many there may be at a time; further ones are dropped without a word.
        idle: seconds after which a connection is closed on which nothing is asked, if this side answers anything; None
            or 0 for never. What is under way counts, of either side, however long it takes.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        replies: Replies | None = None,
        *,
        call_limits: CallLimits | None = None,
        errors: Iterable[type[CallError]] = (),
        connections: int = limits.CONNECTIONS,
        idle: float | None = limits.CALLS_IDLE,
    ) -> None:
        if idle is not None and not 0 <= idle < float("inf"):
            raise ValueError(f"idle must be seconds, or None for never, not {idle}")
        self._clock = clock
        self._replies = Replies() if replies is None else replies
        self._limits = CallLimits() if call_limits is None else call_limits
        self._errors = tuple(errors)
        self._most = connections
        self._idle = 0.0 if replies is None else idle or 0.0
        self.open: set[CallProtocol] = set()
        """The connections that there are now."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return the protocol of a new connection; None if there are too many."""
        if len(self.open) >= self._most:
            self._log.warn("There are {most} connections, as many as may be", most=self._most)
            return None
        protocol = CallProtocol(self._clock, self._replies, self._limits, self._errors, self._idle)
        protocol.factory = self
        self.open.add(protocol)
        protocol.gone.addCallback(lambda _: self.open.discard(protocol))
        return protocol
