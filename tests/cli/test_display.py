"""What a command in the foreground shows, on a terminal and in a file."""

from __future__ import annotations

import io

from attrs import evolve
from rich.console import Console
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_progress import BUSY, QUIET
from twistedp2p.cli.display import LiveLine, LogLines, display_on, log_observer
from twistedp2p.cli.progress import line
from twistedp2p.web.status import Missing


class LogLinesTests(SynchronousTestCase):
    """A file or a pipe."""

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.display = LogLines(self.stream)

    def lines(self) -> list[str]:
        """Return what was written, without the time of day."""
        return [text.partition(" ")[2] for text in self.stream.getvalue().splitlines()]

    def test_news_only(self) -> None:
        """A line is written when there is news, not each time."""
        for now, status in enumerate((QUIET, QUIET, BUSY, BUSY, QUIET)):
            self.display.show(status, float(now))
        self.assertEqual(self.lines(), [line(QUIET), f"{line(BUSY)}: a: No.", line(QUIET)])

    def test_progress(self) -> None:
        """While something is missing there is a line every ten seconds."""
        for now in range(21):
            self.display.show(evolve(BUSY, missing=Missing(21 - now, 1000)), float(now))
        files = [text.split(" | ")[1] for text in self.lines()]
        self.assertEqual(files, ["2,979 of 3,000 files", "2,989 of 3,000 files", "2,999 of 3,000 files"])

    def test_say(self) -> None:
        """What is said is a line as it is."""
        self.display.say("[bold]x")
        self.assertEqual(self.stream.getvalue(), "[bold]x\n")


class LiveLineTests(SynchronousTestCase):
    """A terminal."""

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.console = Console(
            file=self.stream, force_terminal=True, width=40, highlight=False, _environ={"TERM": "xterm"}
        )
        self.display = LiveLine(self.console)
        self.addCleanup(self.display.close)

    def test_one_line(self) -> None:
        """The live line is replaced in place, and cut at the width of the terminal."""
        self.display.show(BUSY, 0.0)
        self.display.show(QUIET, 1.0)
        text = self.stream.getvalue()
        self.assertNotIn("\n", text)
        self.assertIn(line(BUSY)[:39] + "…", text)
        self.assertIn("\r\x1b[2K", text)

    def test_say_above(self) -> None:
        """Other lines go above it, whole, and their brackets are only brackets."""
        self.display.show(QUIET, 0.0)
        self.display.say("[bold]" + "x" * 60)
        self.assertIn("[bold]" + "x" * 60 + "\n", self.stream.getvalue())

    def test_close(self) -> None:
        """At the end the live line is gone and the cursor is back; closing twice, or early, does no harm."""
        self.display.close()
        self.assertEqual(self.stream.getvalue(), "")
        self.display.show(QUIET, 0.0)
        self.display.close()
        self.display.close()
        self.assertTrue(self.stream.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), repr(self.stream.getvalue()))


class LogObserverTests(SynchronousTestCase):
    """What is logged, as a person sees it."""

    def setUp(self) -> None:
        self.stream = io.StringIO()
        self.display = LogLines(self.stream)

    def log(self, namespace: str) -> Logger:
        """Return a logger whose events are shown."""
        return Logger(namespace=namespace, observer=log_observer(self.display))

    def test_levels(self) -> None:
        """A file gets what is worth noting, and of Twisted only warnings; a terminal gets warnings."""
        for namespace in ("twistedp2p.peer", "twisted.internet", "log_legacy"):
            self.log(namespace).debug("debug {n}", n=namespace)
            self.log(namespace).info("info {n}", n=namespace)
            self.log(namespace).warn("warn {n}", n=namespace)
        said = [text.split(" ", 1)[1] for text in self.stream.getvalue().splitlines()]
        self.assertEqual(
            said, ["info twistedp2p.peer", "warn twistedp2p.peer", "warn twisted.internet", "warn log_legacy"]
        )
        self.assertEqual(LiveLine(Console(file=self.stream)).level, LogLevel.warn)

    def test_hostile_name(self) -> None:
        """A name from the network can not act on the terminal, nor look like another line."""
        self.log("twistedp2p").info("{name} came", name="\x1b[2Jevil\x9b")
        self.assertEqual(self.stream.getvalue().split(" ", 1)[1], "\\x1b[2Jevil\\x9b came\n")

    def test_bug(self) -> None:
        """A bug is shown with its traceback, line by line."""
        self.log("twistedp2p").failure("It broke", failure=Failure(ZeroDivisionError("by zero")))
        lines = self.stream.getvalue().splitlines()
        self.assertTrue(lines[0].endswith(" It broke"), lines)
        self.assertIn("ZeroDivisionError: by zero", lines[-1])


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class DisplayOnTests(SynchronousTestCase):
    """Which display a stream gets."""

    def test_file(self) -> None:
        """What is no terminal gets lines, also where colours are wanted at any price."""
        self.assertIsInstance(display_on(io.StringIO(), {}), LogLines)
        self.assertIsInstance(display_on(io.StringIO(), {"FORCE_COLOR": "1", "TERM": "xterm"}), LogLines)

    def test_terminal(self) -> None:
        """A terminal gets the live line, unless it can not rewrite one."""
        self.assertIsInstance(display_on(Terminal(), {"TERM": "xterm"}), LiveLine)
        self.assertIsInstance(display_on(Terminal(), {"TERM": "dumb"}), LogLines)
