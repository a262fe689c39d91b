"""Listening where the user said, with Twisted's endpoint texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from OpenSSL.SSL import Error as TLSError
from twisted.application import strports
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory, IReactorCore
from twisted.python.usage import UsageError

from twistedp2p.tap.starting import OneSentenceService

__all__ = ["check_endpoint", "listening"]


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
