"""Questions at a terminal."""

from __future__ import annotations

import os
import pty
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.asking import choose


class Reading:
    """A reactor that reads when the test says so."""

    def __init__(self) -> None:
        self.readers: list[IReadDescriptor] = []
        self.addReader = self.readers.append
        self.removeReader = self.readers.remove

    def read(self) -> None:
        """Let whoever reads read."""
        for reader in list(self.readers):
            reader.doRead()


class AskingTests(SynchronousTestCase):
    """What may be typed, and what becomes of it."""

    def setUp(self) -> None:
        """Open a terminal."""
        self.person, self.program = pty.openpty()
        self.addCleanup(os.close, self.program)
        self.reactor = Reading()

    def ask(self, **answers: int) -> Deferred[Any]:
        """Ask; the default is 0."""
        return ensureDeferred(choose(self.reactor, "Well?", answers, 0, fd=self.program))

    def type(self, text: str) -> None:
        """Type something at the terminal."""
        os.write(self.person, text.encode())
        self.reactor.read()

    def test_answers(self) -> None:
        """An answer, the beginning of one in whatever case, and just Return for the default."""
        for typed, meant in (("yes", 1), ("y", 1), (" Ye ", 1), ("NO", 2), ("n", 2), ("", 0)):
            asked = self.ask(yes=1, no=2)
            self.assertNoResult(asked)
            self.type(f"{typed}\n")
            self.assertEqual(self.successResultOf(asked), meant, typed)
            self.assertEqual(self.reactor.readers, [])
        os.close(self.person)

    def test_anything_else_is_asked_again(self) -> None:
        """What is no answer, or could be two, is not taken for one."""
        asked = self.ask(skip=1, seek=2)
        for typed in ("maybe", "s", "skipping", "\x7f\u00e4"):
            self.type(f"{typed}\n")
            self.assertNoResult(asked)
        self.type("sk\n")
        self.assertEqual(self.successResultOf(asked), 1)
        os.close(self.person)

    def test_no_answer(self) -> None:
        """Ctrl-D, a terminal that goes away, and whoever cancels end the question, and nothing is read any more."""
        asked = self.ask(yes=1)
        self.type("\x04")
        self.failureResultOf(asked, CancelledError)
        asked = self.ask(yes=1)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.reactor.readers, [])
        asked = self.ask(yes=1)
        os.close(self.person)
        self.reactor.read()
        self.failureResultOf(asked, CancelledError)
