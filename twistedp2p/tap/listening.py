"""Listening where the user said: endpoint texts, and one sentence when it does not work.

A bad endpoint text is found while the options are parsed (`check_endpoint`). A port that is in
use is found when the service starts; twistd would then show a traceback, so the services
here end the program with one sentence and exit status 1 instead (`OneSentenceService`).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from OpenSSL.SSL import Error as TLSError
from twisted.application import strports
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReactorCore
from twisted.python.usage import UsageError

from twistedp2p.errors import TwistedP2PError

__all__ = ["CannotStart", "OneSentenceService", "check_endpoint", "listening"]


class CannotStart(SystemExit, Exception):
    """The program can not start; carries the sentence that says why and what to do.

    Uncaught, a SystemExit prints its sentence and ends the program with status 1. It is an
    Exception too because twistd catches only those to remove its pidfile and to tell the
    process in the foreground; a plain SystemExit leaves that one waiting for ever.
    """


class OneSentenceService(MultiService):
    """A group of services; if one of them can not start, the program ends with one sentence.

    It is meant to be what `makeService` returns. Only errors that a person can do
    something about are shortened; a bug in a child keeps its traceback.
    """

    def privilegedStartService(self) -> None:
        """Start what must start before privileges are given up; CannotStart if it can not."""
        with _ending_with_a_sentence():
            super().privilegedStartService()

    def startService(self) -> None:
        """Start the rest; CannotStart if it can not."""
        with _ending_with_a_sentence():
            super().startService()


def listening(
    endpoints: Sequence[str], make_factory: Callable[[], IProtocolFactory], reactor: IReactorCore
) -> OneSentenceService:
    """Return a service that listens on each of `endpoints`, with one factory each.

    The texts are Twisted's endpoint descriptions and have passed `check_endpoint`.
    """
    group = OneSentenceService()
    for endpoint in endpoints:
        strports.service(endpoint, make_factory(), reactor=reactor).setServiceParent(group)
    return group


def check_endpoint(text: str, reactor: IReactorCore) -> None:
    """Raise UsageError, in one sentence, unless `text` describes something to listen on."""
    try:
        serverFromString(reactor, text)
    except (ValueError, TypeError, LookupError, OSError, TLSError) as error:
        raise UsageError(
            f"--listen {text!r} is not an endpoint to listen on ({error}); write it like tcp:8000:interface=127.0.0.1."
        ) from error


@contextmanager
def _ending_with_a_sentence() -> Iterator[None]:
    """Turn the errors of starting that a person can mend into CannotStart."""
    try:
        yield
    except CannotListenError as error:
        raise CannotStart(_why_not_listening(error)) from error
    except (OSError, OverflowError) as error:
        raise CannotStart(f"Can not start: {error}.") from error
    except TwistedP2PError as error:
        raise CannotStart(str(error)) from error


def _why_not_listening(error: CannotListenError) -> str:
    """Return the sentence for a port or socket path that can not be had."""
    path = error.port if isinstance(error.port, (str, bytes)) else None
    if path is not None:
        where = path if isinstance(path, str) else path.decode(errors="replace")
    else:
        where = f"{error.interface or 'any address'}, port {error.port}"
    reason = error.socketError
    # Twisted gives a text, not an error, when the lock beside a UNIX socket is held.
    if getattr(reason, "errno", None) == errno.EADDRINUSE or reason == "Cannot acquire lock":
        return f"Something else listens on {where} already; stop it, or name another endpoint with --listen."
    what = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"Can not listen on {where} ({what}); name another endpoint with --listen."
