"""How `twistedp2p doctor` gathers its facts: nothing that hangs holds it up, and nothing is made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistedp2p.cli import examining
from twistedp2p.cli.diagnosis import Finding, Level
from twistedp2p.cli.doctor import examined_folder, lines
from twistedp2p.cli.examining import Examination, in_thread
from twistedp2p.errors import BadInvite
from twistedp2p.home import Home
from twistedp2p.limits import CHECK_SECONDS


class ThreadedClock(Clock):
    """A reactor whose calls from threads wait until `take` runs them."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._came = Event()

    def callFromThread(self, call: Callable[..., object], *args: Any) -> None:
        """Keep it."""
        self._waiting.append((call, args))
        self._came.set()

    def take(self) -> None:
        """Wait for a call from a thread, and run it."""
        assert self._came.wait(10)
        self._came.clear()
        for call, args in self._waiting:
            call(*args)
        self._waiting.clear()


class ThreadTests(SynchronousTestCase):
    """What blocks runs in a thread that nobody waits for."""

    def setUp(self) -> None:
        """Make a reactor, and an examination that only notes what it is told."""
        self.reactor = ThreadedClock()
        self.told: list[Finding] = []
        home = Home(Path(self.mktemp()))
        self.examination = Examination(self.reactor, home, None, self.told.append)

    def check(self, call: Callable[[], list[Finding]]) -> Deferred[None]:
        """Run one check called "disk"."""
        return Deferred.fromCoroutine(self.examination._blocking("disk", call))

    def test_result(self) -> None:
        """What the call returns is returned, from another thread; the deadline is over then."""
        result = in_thread(self.reactor, lambda: (current_thread().daemon, 7))
        self.assertNoResult(result)
        self.reactor.take()
        self.assertEqual(self.successResultOf(result), (True, 7))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_hangs(self) -> None:
        """A call that does not end is given up; when it ends after all, nobody listens."""
        go_on = Event()
        result = in_thread(self.reactor, go_on.wait)
        self.reactor.advance(CHECK_SECONDS)
        self.failureResultOf(result, TimeoutError)
        go_on.set()
        self.reactor.take()

    def test_hanging_check(self) -> None:
        """A check that does not end is a problem, and has a name."""
        go_on = Event()
        self.addCleanup(go_on.set)
        checking = self.check(lambda: [Finding("disk", Level.OK, str(go_on.wait()))])
        self.reactor.advance(CHECK_SECONDS)
        self.assertIsNone(self.successResultOf(checking))
        self.assertEqual([(found.check, found.level) for found in self.told], [("disk", Level.PROBLEM)])

    def test_failing_check(self) -> None:
        """What the system or we refuse is told in a sentence; a bug is not swallowed."""
        for error, words in ((PermissionError(13, "Permission denied"), "denied"), (BadInvite("Cut off."), "Cut off.")):

            def fail(error: Exception = error) -> list[Finding]:
                raise error

            checking = self.check(fail)
            self.reactor.take()
            self.assertIsNone(self.successResultOf(checking))
            self.assertIn(words, self.told.pop().text)
        checking = self.check(lambda: [1 // 0])  # type: ignore[list-item]
        self.reactor.take()
        self.failureResultOf(checking, ZeroDivisionError)


class MachineTests(TestCase):
    """The checks of a machine, with the real reactor."""

    timeout = 20

    async def test_nothing_is_made(self) -> None:
        """A state folder that is not there is not made; each check is there once."""
        from twisted.internet import reactor

        home = Path(self.mktemp()) / "state"
        told: list[Finding] = []
        examination = Examination(reactor, Home(home), None, told.append, wall=lambda: 1_800_000_000.0)
        worst = await examination.run()
        self.assertEqual(told, examination.findings)
        names = [found.check for found in told]
        self.assertEqual(
            sorted(names),
            ["clock", "home", "libraries", "open-files", "openssl", "python", "sqlite", "twisted", "watches"],
        )
        self.assertIsNot(worst, Level.PROBLEM, told)
        self.assertFalse(home.exists())


class FolderTests(SynchronousTestCase):
    """Facts of folders."""

    def setUp(self) -> None:
        """Make a folder with a state folder and two others."""
        temporary = tempfile.TemporaryDirectory(prefix="p2p-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(os.path.realpath(temporary.name)) / "share"
        for name in ("a/b", "c", ".twistedp2p/parts", "c/.twistedp2p"):
            (self.folder / name).mkdir(parents=True)

    def test_folders(self) -> None:
        """The folder and all below it need a watch, but for the state folder."""
        self.assertEqual(examining._folders_in(self.folder), 5)

    def test_which(self) -> None:
        """Inside of a share it is that; else what was named, or nothing."""
        inside = self.folder / "a" / "b"
        self.assertIsNone(examined_folder(None, inside))
        self.assertEqual(examined_folder(inside, self.folder), inside)
        (self.folder / ".twistedp2p" / "mark").touch()
        self.assertEqual(examined_folder(None, inside), self.folder)
        self.assertEqual(examined_folder(inside, Path("/")), self.folder)
        self.assertEqual(examined_folder(Path("/nowhere"), inside), Path("/nowhere"))

    def test_secrets(self) -> None:
        """A key that others can read is told, with the command that mends it."""
        for name in ("key.pem", "invite"):
            (self.folder / ".twistedp2p" / name).touch(0o600)
        (self.folder / ".twistedp2p").chmod(0o700)
        self.assertEqual([found.level for found in examining._permissions(self.folder)], [Level.OK])
        (self.folder / ".twistedp2p" / "key.pem").chmod(0o644)
        (found,) = examining._permissions(self.folder)
        self.assertEqual(found.level, Level.WARNING)
        self.assertIn("chmod go=", found.advice)

    def test_lines(self) -> None:
        """A finding is one line, and one for what to do; names of others can do nothing to a terminal."""
        self.assertEqual(lines(Finding("a", Level.OK, "fine")), ["ok       a: fine"])
        bad = Finding("a", Level.PROBLEM, "\x1b[2Jbad.", "Mend it.")
        self.assertEqual(lines(bad), ["problem  a: \\x1b[2Jbad.", "         -> Mend it."])
