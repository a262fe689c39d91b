"""The control API of a running peer: JSON over HTTP on a UNIX socket that only its owner can use.

    GET  /status    the state of the peer: `twistedp2p.web.status` describes it
    GET  /why       ?path=PATH, below the shared folder: {"path", "code", "text", "waiting", "reasons"}
    GET  /invite    {"invite": TEXT}; TEXT is a secret
    GET  /version   {"version": of the package, "api": 1}
    GET  /trash     some of the trash, the newest first: `twistedp2p.peer.purging.Page`; goes on at ?place=
    POST /trash     removes some of it: `Purged`; ?older_than= days, ?pattern=, ?everything=1, ?place=
    POST /stop      the peer ends; answered before it does
    POST /pause     nothing moves any more, until it is resumed; answered when all is quiet
    POST /resume    the peer goes on; answered when others can reach it

An error is answered with a fitting HTTP status and {"error": CODE, "text": SENTENCE}. Whoever can open the
socket is the owner of the folder, so there is nothing to prove.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from twistedp2p import __version__
from twistedp2p.errors import BadArgument, FolderUnusable, TwistedP2PError
from twistedp2p.framing.patience import Patience
from twistedp2p.limits import TRASH_DAYS_MOST
from twistedp2p.peer.purging import Wish

__all__ = ["API_VERSION", "ControlService", "ControlSite", "ControlView", "ProcessControlService"]

API_VERSION = 1

_Answer = tuple[int, Mapping[str, Any]]
_Call = Callable[[Mapping[str, str]], "_Answer | Deferred[_Answer]"]
_Calls = Mapping[bytes, Mapping[bytes, _Call]]


class ProcessView(Protocol):
    """What the API asks of whatever runs. Each raises `TwistedP2PError` if it can not answer now."""

    def status(self) -> Mapping[str, Any]:
        """Return its state, of values that JSON has."""

    def stop(self) -> None:
        """Begin to end it."""


class ControlView(ProcessView, Protocol):
    """What the API asks of a peer."""

    def why(self, path: str) -> Deferred[dict[str, Any]]:
        """Return why what the disk has at `path`, below the shared folder, is not in sync."""

    def invite(self) -> str:
        """Return the invite of the share."""

    def trash(self, place: str | None, pattern: str | None) -> Deferred[dict[str, Any]]:
        """Return some of what is in the trash, after `place`."""

    def purge_trash(self, wish: Wish, place: str | None) -> Deferred[dict[str, Any]]:
        """Remove what is wished of some of what is in the trash, after `place`."""

    def pause(self) -> Deferred[None]:
        """Let the peer rest; fires when it does."""

    def resume(self) -> Deferred[None]:
        """Let the peer go on; fires when it can be reached."""


def _calls_of_process(view: ProcessView) -> _Calls:
    return {
        b"/status": {b"GET": lambda _: (http.OK, view.status())},
        b"/version": {b"GET": lambda _: (http.OK, {"version": __version__, "api": API_VERSION})},
        b"/stop": {b"POST": lambda _: _stop(view)},
    }


def _calls_of_peer(view: ControlView) -> _Calls:
    return {
        **_calls_of_process(view),
        b"/why": {b"GET": lambda arguments: _why(view, arguments)},
        b"/invite": {b"GET": lambda _: (http.OK, {"invite": view.invite()})},
        b"/trash": {
            b"GET": lambda words: view.trash(words.get("place"), words.get("pattern")).addCallback(_ok),
            b"POST": lambda words: view.purge_trash(_wish(words), words.get("place")).addCallback(_ok),
        },
        b"/pause": {b"POST": lambda _: view.pause().addCallback(lambda _: (http.OK, {"paused": True}))},
        b"/resume": {b"POST": lambda _: view.resume().addCallback(lambda _: (http.OK, {"paused": False}))},
    }


class _Api(Resource):
    """Every path of the API.

    A call gets the arguments of the query string, each once, and returns what to answer, or a Deferred of it.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, calls: _Calls) -> None:
        super().__init__()
        self._calls = calls

    def render(self, request: Request) -> int:
        """Answer one request, now or when the answer is known."""
        answering = Deferred.fromCoroutine(self._answered(request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())  # whoever asked hung up
        answering.addErrback(self._not_answered, request)
        return NOT_DONE_YET

    async def _answered(self, request: Request) -> None:
        try:
            result = self._begin(request)
            answer = await result if isinstance(result, Deferred) else result
        except BadArgument as error:
            answer = http.BAD_REQUEST, {"error": error.code, "text": str(error)}
        except TwistedP2PError as error:
            answer = http.SERVICE_UNAVAILABLE, {"error": error.code, "text": str(error)}
        _send(answer, request)

    def _not_answered(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return
        self._log.failure("A request of the control API failed", failure=failure)
        text = "An error of this peer; its log tells more."
        _send((http.INTERNAL_SERVER_ERROR, {"error": "internal", "text": text}), request)

    def _begin(self, request: Request) -> _Answer | Deferred[_Answer]:
        calls = self._calls.get(request.path)
        if calls is None:
            return http.NOT_FOUND, {"error": "not-found", "text": "There is nothing of this name here."}
        call = calls.get(request.method)
        if call is None:
            request.setHeader(b"allow", b", ".join(calls))
            return http.NOT_ALLOWED, {"error": "method", "text": "This can not be done with it."}
        arguments = cast(Mapping[bytes, Sequence[bytes]], request.args or {})
        return call({os.fsdecode(name): os.fsdecode(values[0]) for name, values in arguments.items()})


def _send(answer: _Answer, request: Request) -> None:
    code, body = answer
    text = json.dumps(body).encode() + b"\n"
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(text))
    request.write(text)
    request.finish()


def _ok(body: Mapping[str, Any]) -> _Answer:
    return http.OK, body


def _wish(words: Mapping[str, str]) -> Wish:
    """Return what is to be removed from the trash; it must be said."""
    days, pattern, everything = words.get("older_than"), words.get("pattern"), words.get("everything") == "1"
    if days is None and pattern is None and not everything:
        raise BadArgument("Say what to remove: older_than, pattern or everything.")
    if days is not None and not (days.isdecimal() and int(days) <= TRASH_DAYS_MOST):
        raise BadArgument(f"older_than is a number of days from 0 to {TRASH_DAYS_MOST}.")
    return Wish(None if days is None else int(days), pattern, everything)


def _why(view: ControlView, arguments: Mapping[str, str]) -> _Answer | Deferred[_Answer]:
    path = arguments.get("path")
    if not path:
        raise BadArgument("Say which path: /why?path=PATH.")
    return view.why(path).addCallback(lambda found: (http.OK, found))


def _stop(view: ProcessView) -> _Answer:
    view.stop()
    return http.ACCEPTED, {"stopping": True}


class ControlSite(Site):
    """The HTTP side of the API; keeps no log of requests."""

    noisy = False

    def __init__(self, calls: _Calls, reactor: IReactorTime) -> None:
        super().__init__(_Api(calls), reactor=reactor)

    # The inherited ones write a line for each request, and wake up every second for its date.

    def startFactory(self) -> None:
        """Nothing to open."""

    def stopFactory(self) -> None:
        """Nothing to close."""

    def log(self, request: http.Request) -> None:
        """Write nothing."""


class ProcessControlService(Service):
    """Serves the API of a process that serves several folders, at `path`, a UNIX socket of mode 0600.

    Start it only while this process has the lock of what it serves: a socket that is there is then the leftover of a
    process that was killed, and is removed. Starting raises `FolderUnusable` if there is no folder for it.
    """

    def __init__(self, reactor: IReactorUNIX, clock: IReactorTime, view: ProcessView, path: str) -> None:
        self._reactor = reactor
        self._clock = clock
        self._calls = _calls_of_process(view)
        self._path = path
        self._port: IListeningPort | None = None
        self._patience: Patience | None = None

    def startService(self) -> None:
        """Listen."""
        folder = os.path.dirname(self._path)
        if not os.access(folder, os.W_OK):
            raise FolderUnusable(f"{folder} is missing or can not be written to: the control socket has no place.")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        site = ControlSite(self._calls, self._clock)
        self._port = self._reactor.listenUNIX(self._path, cast("Factory[Any]", site), mode=0o600)
        # Who asks what is wrong must be answered also when it is that too many files are open.
        self._patience = Patience(self._port, self._clock, reserve=True)
        super().startService()

    def stopService(self) -> Deferred[None] | None:
        """Listen no longer; the socket is removed."""
        super().stopService()
        port, self._port = self._port, None
        if self._patience is not None:
            self._patience.close()
        return Deferred.fromCoroutine(_close(port)) if port is not None else None


class ControlService(ProcessControlService):
    """Serves the API of one peer; start it only while this process has the folder's lock."""

    def __init__(self, reactor: IReactorUNIX, clock: IReactorTime, view: ControlView, path: str) -> None:
        super().__init__(reactor, clock, view, path)
        self._calls = _calls_of_peer(view)


async def _close(port: IListeningPort) -> None:
    try:
        stopped = port.stopListening()
        if stopped is not None:
            await stopped
    except FileNotFoundError:
        # The socket was removed, with its folder perhaps. Twisted stops there; this is the rest of what it does.
        tcp.Port.connectionLost(cast(tcp.Port, port), Failure(ConnectionDone()))
