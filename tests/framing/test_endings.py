"""How requests and connections ended: what the other side is told, and what is raised here."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion, NoSuchFile, NotHeld, Unreachable, WrongPeer
from twistedp2p.framing.endings import end_of, refusal_of, why_lost
from twistedp2p.messages.common import Done, Failed


class EndOfTests(SynchronousTestCase):
    """The end of a request."""

    def test_answered(self) -> None:
        """What was answered is done."""
        self.assertEqual(end_of(7, None, bug=""), Done(7))

    def test_cancelled(self) -> None:
        """What was cancelled fails as that, without a word."""
        self.assertEqual(end_of(7, Failure(CancelledError()), bug=""), Failed(7, "cancelled", ""))

    def test_nobody_is_there(self) -> None:
        """When the connection is gone nothing is said."""
        self.assertIsNone(end_of(7, Failure(ConnectionDone()), bug=""))

    def test_refused(self) -> None:
        """One of our errors travels by its code and its sentence."""
        self.assertEqual(end_of(7, Failure(NoSuchFile("None.")), bug=""), Failed(7, "no-such-file", "None."))

    def test_a_bug(self) -> None:
        """Any other error is logged, and the other side hears nothing of it."""
        self.assertEqual(end_of(7, Failure(ZeroDivisionError("secret")), bug="A bug."), Failed(7, "internal", "A bug."))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_long_sentence(self) -> None:
        """As much of a sentence travels as a message takes."""
        for length in (limits.SENTENCE_CHARS, limits.SENTENCE_CHARS + 1):
            self.assertEqual(len(refusal_of(7, NotHeld("x" * length)).text), limits.SENTENCE_CHARS)


class WhyLostTests(SynchronousTestCase):
    """Why a connection is lost."""

    def test_what_was_said_counts(self) -> None:
        """What was noted before is the reason, whatever happened to the transport."""
        said = WrongPeer("Another one.")
        self.assertIs(why_lost(said, NoCommonVersion("None."), Failure(ConnectionLost())), said)

    def test_no_common_version(self) -> None:
        """That there is no common version says more than that the connection is gone."""
        met = NoCommonVersion("None.")
        self.assertIs(why_lost(None, met, Failure(ConnectionLost())), met)

    def test_the_transport(self) -> None:
        """Else it is what the transport says, and the other side may be reached again."""
        for met in (None, ValueError("a mistake")):
            why = why_lost(None, met, Failure(ConnectionLost("cut")))
            self.assertIs(type(why), Unreachable)
            self.assertIn("cut", str(why))
