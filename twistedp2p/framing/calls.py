"""Typed requests for programs of others: what may be asked, what answers it, and what can go wrong.

A request is a frozen attrs class that names its reply; both sides have the classes, and nothing else in common:

    @frozen
    class Found:
        lines: tuple[int, ...]

    @frozen
    class Search(Request[Found]):
        word: Annotated[str, Meta(min_length=1, max_length=100)]

    replies = Replies()

    @replies.to(Search)
    async def search(request: Search, caller: CallProtocol) -> Found:
        ...

`calling` has the two sides of the connection. docs/embedding.md shows a whole service, and what travels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

import msgspec
from attrs import Attribute, field, frozen
from msgspec import Meta

from twistedp2p import limits
from twistedp2p.errors import (
    BadArguments,
    ConnectionFull,
    InternalError,
    PeerTimeout,
    ProtocolViolation,
    Refusal,
    TooLarge,
    TwistedP2PError,
    UnknownRequest,
)
from twistedp2p.messages.common import Cancel, Done, Failed
from twistedp2p.messages.common import Request as Number
from twistedp2p.wire import Codec

if TYPE_CHECKING:
    from twistedp2p.framing.calling import CallProtocol

__all__ = [
    "CALLS",
    "Answer",
    "Ask",
    "CallError",
    "CallLimits",
    "Replies",
    "Request",
    "error_of",
    "name_of",
    "reply_type",
]

Reply = TypeVar("Reply")
Asked = TypeVar("Asked", bound="Request[Any]")
_CODE = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_NAME_CHARS = 64


class Request(Generic[Reply]):
    """What one side asks: the base of frozen attrs classes whose fields have types that msgspec knows."""

    __slots__ = ()
    called: ClassVar[str] = ""
    """The name by which it travels; that of the class if it is empty. At most 64 characters."""


class CallError(Refusal):
    """An error that an answer raises so that the asking side hears of it, by its code and its text.

    Subclass it with a `code` of lower-case letters, digits and "-", at most 32. The asking side has the same class
    if its factory was given it, else a `CallError` with that code. A code "cancelled" comes from an answer that was
    cancelled over there by somebody else.
    """

    code = "failed"

    def __init__(self, text: str = "", code: str | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code
        if not _CODE.match(self.code) or self.code in _STANDARD:
            raise ValueError(f"{self.code!r} can not be the code of an error")


_STANDARD: dict[str, type[TwistedP2PError]] = {
    cls.code: cls for cls in (UnknownRequest, BadArguments, TooLarge, InternalError, PeerTimeout, ConnectionFull)
}


def error_of(failed: Failed, own: Iterable[type[CallError]]) -> TwistedP2PError:
    """Return the error that the other side named, as one of `own` if one has its code; `ProtocolViolation` if none."""
    standard = _STANDARD.get(failed.code)
    if standard is not None:
        return standard(failed.text)
    if not _CODE.match(failed.code):
        raise ProtocolViolation("an error has a malformed code")
    for cls in own:
        if cls.code == failed.code:
            error = CallError.__new__(cls)  # its constructor may want other arguments
            CallError.__init__(error, failed.text)
            return error
    return CallError(failed.text, failed.code)


def _at_most(most: int) -> Callable[[Any, Attribute[Any], float], None]:
    def check(_: Any, attribute: Attribute[Any], value: float) -> None:
        if not 0 < value <= most:
            raise ValueError(f"{attribute.name} must be above 0 and at most {most}, not {value}")

    return check


@frozen
class CallLimits:
    """What one side of a connection gives and takes; the two sides may differ. `ValueError` beyond what can be."""

    request_bytes: int = field(default=limits.DATA_BYTES, validator=_at_most(limits.DATA_BYTES))
    """Longest arguments of one request, encoded, sent or taken."""
    reply_bytes: int = field(default=limits.DATA_BYTES, validator=_at_most(limits.DATA_BYTES))
    """Longest reply, encoded, sent or taken."""
    in_flight: int = field(default=limits.REQUESTS_IN_FLIGHT, validator=_at_most(limits.REQUESTS_IN_FLIGHT))
    """Requests without an answer, each way. What is asked beyond waits here; what comes beyond is refused ("full")."""
    seconds: float = field(default=limits.REPLY, validator=_at_most(86_400))
    """How long a request may take, from `ask` to its reply, and how long an answer may be worked on."""


def name_of(request: type[Request[Any]]) -> str:
    """Return the name by which a class of requests travels; one may have a field that is called `called`."""
    called: object = request.called
    return called if isinstance(called, str) and called else request.__name__


def reply_type(request: type[Request[Any]]) -> Any:
    """Return what a class of requests says its reply is; raises TypeError if it says nothing that is there."""
    for cls in request.__mro__:
        for base in cls.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Request:
                (reply,) = get_args(base)
                if not isinstance(reply, (str, TypeVar)) and type(reply).__name__ != "ForwardRef":
                    return reply
    raise TypeError(f"{request.__name__} must be a class {request.__name__}(Request[TheReply]) of a type that is there")


@cache
def decoder_of(what: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return what decodes values of a type; made once for each."""
    return msgspec.msgpack.Decoder(what)


@frozen
class _Registered:
    request: msgspec.msgpack.Decoder[Any]
    answer: Callable[[Any, CallProtocol], Any]


class Replies:
    """What one side answers: a function for each class of requests.

    A function takes the request and the connection that asks, and returns the reply, a Deferred of it, or is a
    coroutine function. What it waits for is cancelled when the asking side cancels, is gone, or time is up.
    """

    def __init__(self) -> None:
        self._registered: dict[str, _Registered] = {}

    def to(self, request: type[Asked]) -> Callable[[Callable[[Asked, CallProtocol], Any]], Any]:
        """Return a decorator that makes a function the answer to `request`.

        Raises TypeError for a class that can not travel, ValueError for a name that is taken or too long.
        """
        name = name_of(request)
        if name in self._registered or len(name) > _NAME_CHARS:
            raise ValueError(f"The name {name!r} is taken, or too long; give the class another `called`.")
        try:
            decoder_of(reply_type(request))
            decoder = msgspec.msgpack.Decoder(request)
        except NameError as error:  # msgspec looks the names of types up where the class was written
            raise TypeError(f"{request.__name__} has a field of a type that can not be found: {error}") from None

        def register(answer: Callable[[Asked, CallProtocol], Any]) -> Callable[[Asked, CallProtocol], Any]:
            self._registered[name] = _Registered(decoder, answer)
            return answer

        return register

    def find(self, name: str, arguments: bytes) -> Callable[[CallProtocol], Any]:
        """Return what answers a request that arrived; raises `UnknownRequest` or `BadArguments`."""
        registered = self._registered.get(name)
        if registered is None:
            raise UnknownRequest(f"There is no request {name!r} here.")
        try:
            request = registered.request.decode(arguments)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadArguments(str(error)) from None
        return lambda caller: registered.answer(request, caller)


# -- what travels -------------------------------------------------------------


@frozen
class Ask:
    """A request, by the name of its class; its arguments are MessagePack of their own, a map from field to value."""

    request: Number
    name: Annotated[str, Meta(max_length=_NAME_CHARS)]
    arguments: Annotated[bytes, Meta(max_length=limits.DATA_BYTES)]


@frozen
class Answer:
    """The reply to that request, MessagePack of its own; `Done` follows."""

    request: Number
    value: Annotated[bytes, Meta(max_length=limits.DATA_BYTES)]


CALLS = Codec({1: Ask, 2: Answer, 3: Done, 4: Failed, 5: Cancel})
"""The conversation between two programs that ask each other; a type byte is never reused."""
