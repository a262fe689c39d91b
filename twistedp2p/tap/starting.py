"""Starting, or saying in one sentence why not.

When a service can not start, twistd shows a traceback, or logs the error and goes on deaf.
Here the program ends with status 1 and one sentence: at once for what fails while the service
is started (`OneSentenceService`), and a moment later for what takes a while (`BeginningService`).
Only errors that a person can do something about are shortened; a bug keeps its traceback.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.errors import TwistedP2PError

__all__ = ["BeginningService", "CannotStart", "OneSentenceService", "exit_with_status_1", "in_one_sentence"]


class CannotStart(SystemExit, Exception):
    """The program can not start; carries the sentence that says why and what to do.

    Uncaught, a SystemExit prints its sentence and ends the program with status 1. It is an
    Exception too because twistd catches only those to remove its pidfile and to tell the
    process in the foreground; a plain SystemExit leaves that one waiting for ever.
    """


class OneSentenceService(MultiService):
    """A group of services; raises `CannotStart` if one of them can not start.

    It is meant to be what `makeService` returns.
    """

    def privilegedStartService(self) -> None:
        """Start what must start before privileges are given up."""
        with in_one_sentence():
            super().privilegedStartService()

    def startService(self) -> None:
        """Start the rest."""
        with in_one_sentence():
            super().startService()


class BeginningService(Service):
    """A service whose start takes a while: if it fails, the reactor stops and the program ends with status 1.

    Args:
        begin: starts; its Deferred fails if that did not work.
        end: stops; called also after a start that failed.
        reactor: what to stop.
        fail: called when the start has failed; makes the exit status 1.
    """

    _log = Logger()

    def __init__(
        self,
        begin: Callable[[], Deferred[None]],
        end: Callable[[], Deferred[None]],
        reactor: IReactorCore,
        fail: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._end = end
        self._reactor = reactor
        self._fail = fail

    def startService(self) -> None:
        """Begin; what `begin` raises is raised."""
        super().startService()
        self._begin().addErrback(self._not_begun)

    def stopService(self) -> Deferred[None]:
        """End."""
        super().stopService()
        return self._end()

    def _not_begun(self, failure: Failure) -> None:
        if not self.running:
            return  # it was stopped meanwhile, which is why it did not begin
        sentence = None if failure.value is None else _sentence_for(failure.value)
        if sentence is None:
            self._log.failure("The service can not start", failure=failure)
        else:
            self._log.critical("{sentence}", sentence=sentence)
        self._fail()
        # The reactor may not run yet: what fails may fail at once.
        self._reactor.callWhenRunning(self._stop_reactor)

    def _stop_reactor(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            self._log.debug("The reactor stops already")


def exit_with_status_1() -> None:
    """Make the process end with status 1 when it ends by itself.

    Neither twistd nor twist lets a service choose the status, and Python ignores a
    SystemExit at that time. Threads have ended and Twisted has cleaned up by then.
    """
    atexit.register(_exit_with_status_1)


def _exit_with_status_1() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _sentence_for(error: BaseException) -> str | None:
    """Return what to tell a person about `error`; None for a bug."""
    if isinstance(error, TwistedP2PError):
        return str(error)
    if isinstance(error, CannotListenError):
        return _why_not_listening(error)
    if isinstance(error, (OSError, OverflowError)):
        return f"Can not start: {error}."
    return None


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Raise `CannotStart` for an error that a person can mend, in making a service or in starting it."""
    try:
        yield
    except Exception as error:
        sentence = _sentence_for(error)
        if sentence is None:
            raise
        raise CannotStart(sentence) from error


def _why_not_listening(error: CannotListenError) -> str:
    """Return the sentence for a port or socket path that can not be had."""
    path = error.port if isinstance(error.port, (str, bytes)) else None
    where = os.fsdecode(path) if path is not None else f"{error.interface or 'any address'}, port {error.port}"
    reason = error.socketError
    # Twisted gives a text, not an error, when the lock beside a UNIX socket is held.
    if getattr(reason, "errno", None) == errno.EADDRINUSE or reason == "Cannot acquire lock":
        return f"Something else listens on {where} already; stop it, or name another endpoint with --listen."
    what = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"Can not listen on {where} ({what}); name another endpoint with --listen."
