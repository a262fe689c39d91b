"""What a command in the foreground shows, on a terminal and in a file."""

from __future__ import annotations

import io
import os
import resource
import threading
from pathlib import Path

from attrs import evolve
from rich.console import Console
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_progress import BUSY, QUIET
from twistedp2p.cli.display import LiveLine, LogLines, Quiet, Several, display_on
from twistedp2p.cli.logs import RotatingFile, Speakers, level_on, log_observer, opened_file
from twistedp2p.cli.options import LogWish
from twistedp2p.cli.progress import line
from twistedp2p.errors import TwistedP2PError
from twistedp2p.web.status import Missing, Rates


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
            self.display.show([status], float(now))
        self.assertEqual(self.lines(), [line(QUIET), f"{line(BUSY)}: a: No.", line(QUIET)])

    def test_progress(self) -> None:
        """While something is missing there is a line every ten seconds."""
        for now in range(21):
            self.display.show([evolve(BUSY, missing=Missing(21 - now, 1000))], float(now))
        files = [text.split(" | ")[1] for text in self.lines()]
        self.assertEqual(files, ["2,979 of 3,000 files", "2,989 of 3,000 files", "2,999 of 3,000 files"])

    def test_standing_still(self) -> None:
        """What is missing and does not come, for want of room say, is said once and not again and again."""
        still = evolve(BUSY, rates=Rates())
        for now in range(100):
            still = evolve(still, missing=evolve(still.missing, first=(f"{now}",)))
            self.display.show([still], float(now))
        self.assertEqual(len(self.lines()), 1)

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
        self.display.show([BUSY], 0.0)
        self.display.show([QUIET], 1.0)
        text = self.stream.getvalue()
        self.assertNotIn("\n", text)
        self.assertIn(line(BUSY)[:39] + "…", text)
        self.assertIn("\r\x1b[2K", text)

    def test_say_above(self) -> None:
        """Other lines go above it, whole, and their brackets are only brackets."""
        self.display.show([QUIET], 0.0)
        self.display.say("[bold]" + "x" * 60)
        self.assertIn("[bold]" + "x" * 60 + "\n", self.stream.getvalue())

    def test_close(self) -> None:
        """At the end the live line is gone and the cursor is back; closing twice, or early, does no harm."""
        self.display.close()
        self.assertEqual(self.stream.getvalue(), "")
        self.display.show([QUIET], 0.0)
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
        return Logger(namespace=namespace, observer=log_observer(self.display, LogLevel.info))

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

    def test_wishes(self) -> None:
        """A terminal gets warnings, a file what is worth noting; -v is for more, twice for all, and -q for less."""
        live, lines = LiveLine(Console(file=self.stream)), self.display
        levels = [(level_on(live, wish).name, level_on(lines, wish).name) for wish in map(LogWish, range(4))]
        self.assertEqual(levels, [("warn", "info"), ("info", "info"), ("debug", "debug"), ("debug", "debug")])
        self.assertEqual(level_on(lines, LogWish(quiet=True)), LogLevel.warn)

    def test_all(self) -> None:
        """Who wants all gets what is worth noting of Twisted too."""
        for namespace in ("twistedp2p.peer", "twisted.internet", "log_legacy"):
            log = Logger(namespace=namespace, observer=log_observer(self.display, LogLevel.debug))
            log.debug("debug {n}", n=namespace)
            log.info("info {n}", n=namespace)
        said = [text.split(" ", 1)[1] for text in self.stream.getvalue().splitlines()]
        self.assertEqual(
            said, ["debug twistedp2p.peer", "info twistedp2p.peer", "info twisted.internet", "info log_legacy"]
        )

    def test_names_the_folder(self) -> None:
        """Of several folders each line names the one whose object has logged it, while that is noted."""
        speakers = Speakers()
        observer = log_observer(self.display, LogLevel.info, speakers.folder_of)

        class Speaker:
            log = Logger(namespace="x", observer=observer)

        one, other = Speaker(), Speaker()
        speakers.add("/one", lambda: [one, self])
        speakers.add("/other", lambda: [other])
        for speaker in (one, other):
            speaker.log.info("hello")
        speakers.remove("/one")
        one.log.info("hello")
        said = [text.split(" ", 1)[1] for text in self.stream.getvalue().splitlines()]
        self.assertEqual(said, ["/one: hello", "/other: hello", "hello"])

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

    def test_quiet(self) -> None:
        """Who wants quiet gets only what must be said, also on a terminal."""
        stream = Terminal()
        display = display_on(stream, {"TERM": "xterm"}, quiet=True)
        self.assertIsInstance(display, Quiet)
        display.show([BUSY], 0.0)
        display.tell("told")
        display.say("said")
        display.close()
        self.assertEqual(stream.getvalue(), "said\n")


class SeveralFoldersTests(SynchronousTestCase):
    """One process, several folders."""

    TWO = (QUIET, evolve(BUSY, folder="/y\x1b"))

    def test_lines(self) -> None:
        """Each line names its folder, and the news of one is no news of the other."""
        stream = io.StringIO()
        display = LogLines(stream, named=True)
        display.show(self.TWO, 0.0)
        display.show((evolve(QUIET, state="syncing"), self.TWO[1]), 1.0)
        said = [text.partition(" ")[2] for text in stream.getvalue().splitlines()]
        self.assertEqual([text.partition(": ")[0] for text in said], ["/x", "/y\\x1b", "/x"])

    def test_live(self) -> None:
        """A terminal has a line for each, and counts those that have no room."""
        stream = io.StringIO()
        display = LiveLine(Console(file=stream, force_terminal=True, width=60, height=20, _environ={"TERM": "xterm"}))
        self.addCleanup(display.close)
        display.show([], 0.0)
        self.assertEqual(stream.getvalue(), "")
        display.show([evolve(QUIET, folder=f"/{number}") for number in range(13)], 0.0)
        text = stream.getvalue()
        self.assertEqual([f"/{number}: in sync" in text for number in (0, 9, 10)], [True, True, False])
        self.assertIn("and 3 more folders", text)

    def test_two_places(self) -> None:
        """What is shown on several displays is shown on each."""
        streams = [io.StringIO(), io.StringIO()]
        display = Several([LogLines(streams[0]), LogLines(streams[1], dated=True)])
        display.tell("told")
        display.say("said")
        display.log("logged", 0.0)
        display.show([QUIET], 0.0)
        display.close()
        plain, dated = (stream.getvalue().splitlines() for stream in streams)
        self.assertEqual(plain[:2], ["told", "said"])
        self.assertEqual((len(plain), len(dated)), (4, 4))
        for text in dated:
            self.assertRegex(text, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


class FileTests(SynchronousTestCase):
    """The log file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "log"

    def test_rotation(self) -> None:
        """A full file becomes FILE.1; no more than so many old ones are kept, and nothing is cut."""
        file = RotatingFile(self.path, 4096, 2)
        self.addCleanup(file.close)
        for number in range(400):
            file.write(f"{number:099}\n")
        self.assertEqual(sorted(os.listdir(self.folder)), ["log", "log.1", "log.2"])
        kept = [path.read_text() for path in (self.folder / "log.2", self.folder / "log.1", self.path)]
        numbers = [int(text) for text in "".join(kept).splitlines()]
        self.assertEqual(numbers, list(range(numbers[0], 400)))
        self.assertLess(max(map(len, kept)), 4096 + 100)

    def test_goes_on(self) -> None:
        """A file that is there is gone on with, and is private."""
        self.path.write_text("before\n")
        file = RotatingFile(self.path, 4096, 2)
        file.write("after \udcff\n")
        file.close()
        self.assertEqual(self.path.read_text(), "before\nafter \\udcff\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_threads(self) -> None:
        """Lines of several threads are whole, also while the file is begun anew."""
        file = RotatingFile(self.path, 4096, 1000)
        self.addCleanup(file.close)

        def write(name: str) -> None:
            for number in range(200):
                file.write(f"{name} {number:0100}\n")

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = [line for path in self.folder.iterdir() for line in path.read_text().splitlines()]
        self.assertEqual((len(set(lines)), {len(line) for line in lines}), (800, {102}))

    def test_can_not_be_opened(self) -> None:
        """A place that can not be written to is one sentence."""
        for path in (self.folder / "nowhere" / "log", self.folder):
            error = self.assertRaises(TwistedP2PError, RotatingFile, path, 4096, 2)
            self.assertIn("--log-file", str(error))

    def test_full_disk(self) -> None:
        """What can not be written is left out, and the program goes on."""
        file = RotatingFile(self.path, 4096, 2)
        self.addCleanup(file.close)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            for _ in range(3):
                file.write("too much for the disk\n")
                file.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        file.write("there is room again\n")
        self.assertEqual(self.path.read_text(), "too much fthere is room again\n")

    def test_not_in_a_shared_folder(self) -> None:
        """A log in a folder that it tells of would never come to rest."""
        wish = LogWish(file=self.path)
        self.assertRaises(TwistedP2PError, opened_file, wish, [self.folder])
        link = self.folder.parent / f"{self.folder.name}-link"
        link.symlink_to(self.folder)
        self.assertRaises(TwistedP2PError, opened_file, LogWish(file=link / "log"), [self.folder])
        self.assertIsNone(opened_file(LogWish(), [self.folder]))
        file = opened_file(wish, [self.folder / "log else"])
        assert file is not None
        file.close()
