"""How what was asked and how a connection ended: as the message that tells the other side, and as an error here."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion, TwistedP2PError, Unreachable, error_to_code
from twistedp2p.messages.common import Done, Failed

__all__ = ["end_of", "refusal_of", "why_lost"]

_log = Logger()


def end_of(request: int, failure: Failure | None, *, bug: str) -> Done | Failed | None:
    """Return the message that says how the answer to a request ended; None if nobody is there to hear it.

    Args:
        request: its number.
        failure: why it was not answered; None if it was.
        bug: the sentence for a failure that is none of `errors`: it is logged, and the other side hears no more.
    """
    if failure is None:
        return Done(request)
    if failure.check(CancelledError):
        return Failed(request, "cancelled", "")
    if failure.check(ConnectionDone):
        return None
    if isinstance(failure.value, TwistedP2PError):
        return refusal_of(request, failure.value)
    _log.failure("A request could not be answered", failure=failure)
    return Failed(request, "internal", bug)


def refusal_of(request: int, error: TwistedP2PError) -> Failed:
    """Return the message that says why a request is not answered."""
    return Failed(request, error_to_code(error), str(error)[: limits.SENTENCE_CHARS])


def why_lost(said: TwistedP2PError | None, met: Exception | None, reason: Failure) -> TwistedP2PError:
    """Return why a connection is lost.

    Args:
        said: what was noted before, by this side or by the other: that is why, if it is there.
        met: the error that ended it on this side.
        reason: what the transport says.
    """
    if said is not None:
        return said
    if isinstance(met, NoCommonVersion):
        return met
    return Unreachable(f"The connection was lost: {reason.getErrorMessage()}")
