"""What is kept, said and tried again of what did not work."""

from __future__ import annotations

import errno
import os

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import CorruptContent, FolderUnusable, NoSpace
from twistedp2p.limits import RETRY_FIRST, RETRY_MOST, SAID_AGAIN, SAID_PATHS
from twistedp2p.peer.failures import Complaints, Failures
from twistedp2p.peer.troubles import Code, Trouble, trouble_of

FULL = Trouble(Code.NO_SPACE, "The disk is full.")
IN_THE_WAY = Trouble(Code.OBSTRUCTED, "It is in the way.")


class TroubleTests(SynchronousTestCase):
    """What is told of an error."""

    def test_errors_of_the_system(self) -> None:
        """Each has its code, and a sentence that says what to do and does not speak in error numbers."""
        for number, code, word in (
            (errno.ENOSPC, Code.NO_SPACE, "make room"),
            (errno.EDQUOT, Code.NO_SPACE, "quota"),
            (errno.EROFS, Code.READ_ONLY, "remount,rw"),
            (errno.EMFILE, Code.TOO_MANY_FILES, "ulimit -n"),
            (errno.ENFILE, Code.TOO_MANY_FILES, "fs.file-max"),
            (errno.EIO, Code.DISK_FAILING, "smartctl"),
            (errno.EFBIG, Code.TOO_LARGE, "file system"),
            (errno.ENAMETOOLONG, Code.NAME_NOT_SHARED, "rename it"),
            (errno.EACCES, Code.NO_PERMISSION, "chmod u+rwx"),
            (errno.EPERM, Code.NO_PERMISSION, "chattr"),
            (errno.ETXTBSY, Code.ERROR, "busy"),
        ):
            trouble = trouble_of(OSError(number, os.strerror(number)), "docs/a")
            self.assertEqual(trouble.code, code)
            self.assertIn(word, trouble.text)
            self.assertTrue(trouble.text.endswith("."))
            self.assertNotIn("Errno", trouble.text)

    def test_where_permission_is_missing(self) -> None:
        """The folder that can not be written to is named; a file that can not be read is itself to blame."""
        error = PermissionError(errno.EACCES, "Permission denied")
        self.assertIn("The folder docs/old can not", trouble_of(error, "docs/old/a").text)
        self.assertIn("The shared folder can not", trouble_of(error, "a").text)
        reading = trouble_of(error, "docs/a", reading=True)
        self.assertEqual(reading.code, Code.UNREADABLE)
        self.assertIn("chmod u+r", reading.text)
        self.assertEqual(trouble_of(OSError(errno.ETXTBSY, "busy"), reading=True).code, Code.UNREADABLE)
        self.assertIn("does not say why", trouble_of(OSError()).text)

    def test_errors_of_ours(self) -> None:
        """A sentence of ours is passed on; a fault of the program is called one."""
        for error, code in (
            (NoSpace("Full."), Code.NO_SPACE),
            (FolderUnusable("Gone."), Code.FOLDER_UNUSABLE),
            (CorruptContent("Wrong."), Code.ERROR),
        ):
            self.assertEqual(trouble_of(error), Trouble(code, str(error)))
        unusable = FolderUnusable("The mark can not be read.")
        unusable.__cause__ = OSError(errno.EMFILE, "Too many open files")
        self.assertEqual(trouble_of(unusable).code, Code.TOO_MANY_FILES)
        self.assertIn("corrupt", trouble_of(CorruptContent()).text)
        self.assertIn("the log", trouble_of(ZeroDivisionError()).text)


class ComplaintTests(SynchronousTestCase):
    """What is worth a line in the log."""

    def setUp(self) -> None:
        self.now = 0.0
        self.complaints = Complaints(lambda: self.now)

    def test_what_concerns_all_is_said_once(self) -> None:
        """A full disk is said once for all files, however its sentence changes, for as long as it stands."""
        lines = []
        for number in range(1000):
            self.now += RETRY_MOST
            lines.append(self.complaints.line(f"f{number}", Trouble(Code.NO_SPACE, f"{number} MiB are missing.")))
        self.assertEqual([line for line in lines if line], ["0 MiB are missing."])

    def test_what_came_back_is_said_again(self) -> None:
        """After it was over for a while, the same trouble is news."""
        self.assertIsNotNone(self.complaints.line("", FULL))
        self.now += SAID_AGAIN - 1
        self.assertIsNone(self.complaints.line("", FULL))
        self.now += SAID_AGAIN
        self.assertIsNotNone(self.complaints.line("", FULL))

    def test_a_few_paths_are_named(self) -> None:
        """Of many files with one trouble the first are named, then that there are more, once."""
        lines = [self.complaints.line(f"f{number}", IN_THE_WAY) for number in range(100)]
        self.assertEqual(lines[0], "f0: It is in the way.")
        self.assertEqual([line for line in lines[: SAID_PATHS + 5] if line], lines[: SAID_PATHS + 1])
        self.assertIn("status", lines[SAID_PATHS] or "")
        self.assertEqual(lines[SAID_PATHS + 1 :], [None] * (99 - SAID_PATHS))
        self.assertIsNotNone(self.complaints.line("f", Trouble(Code.UNREADABLE, "No permission.")))
        self.now += SAID_AGAIN
        self.assertEqual(self.complaints.line("later", IN_THE_WAY), "later: It is in the way.")

    def test_what_is_remembered_is_bounded(self) -> None:
        """What was over long ago is forgotten."""
        for number in range(30_000):
            self.now += 1
            self.complaints.line(f"f{number}", IN_THE_WAY)
        self.assertLess(len(self.complaints._said), 11_000)


class FailureTests(SynchronousTestCase):
    """What is kept, and tried again."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tried: list[tuple[float, str]] = []
        self.failures = Failures(self.clock, lambda path: self.tried.append((self.clock.seconds(), path)))

    def test_a_path_is_tried_again_later_and_later(self) -> None:
        """The wait doubles up to the longest; after a success it begins anew."""
        for _ in range(6):
            self.failures.failed("f", IN_THE_WAY)
            self.failures.failed("f", IN_THE_WAY)
            self.clock.pump([1.0] * int(RETRY_MOST))
        self.assertEqual([at % RETRY_MOST for at, _ in self.tried], [5, 10, 20, 40, 0, 0])
        self.assertEqual(self.failures.errors, {"f": IN_THE_WAY})
        self.failures.tried("f", finished=False)
        self.assertEqual(self.failures.errors, {})
        self.failures.failed("f", IN_THE_WAY)
        self.clock.advance(RETRY_MOST - 1)
        self.assertEqual(len(self.tried), 6)
        self.clock.advance(1)
        self.failures.tried("f", finished=True)
        self.failures.failed("f", IN_THE_WAY)
        self.clock.advance(RETRY_FIRST)
        self.assertEqual(len(self.tried), 8)
        self.failures.stop()
        self.failures.failed("f", IN_THE_WAY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_peer_as_a_whole(self) -> None:
        """What the peer can not do waits longer each time, stands until it is over, and each sort stands once."""
        self.assertEqual([self.failures.next_wait("take") for _ in range(5)], [5, 10, 20, 40, 60])
        for what in ("take", "plan"):
            self.failures.trouble(what, FULL)
        self.failures.trouble("watch", Trouble(Code.TOO_MANY_WATCHES, "No more."))
        self.failures.failed("f", Trouble(Code.NO_SPACE, "No room for f."))
        self.failures.failed("g", IN_THE_WAY)
        general = self.failures.general([Trouble(Code.TOO_MANY_FILES, "Files."), IN_THE_WAY])
        self.assertEqual([trouble.text for trouble in general], [FULL.text, "No more.", "Files."])
        for what in ("take", "plan", "watch"):
            self.failures.over(what)
        self.failures.tried("f", finished=True)
        self.assertEqual(self.failures.general(), [])
        self.assertEqual(self.failures.next_wait("take"), RETRY_FIRST)
        self.failures.stop()

    def test_it_is_said_in_the_log(self) -> None:
        """One line for what concerns all, one for a path."""
        events = EventLoggingObserver()
        globalLogPublisher.addObserver(events)
        self.addCleanup(globalLogPublisher.removeObserver, events)
        for path in ("f", "g"):
            self.failures.failed(path, FULL)
        self.failures.trouble("take", FULL)
        self.failures.failed("f", IN_THE_WAY)
        self.assertEqual([event["text"] for event in events], [FULL.text, "f: It is in the way."])
        self.failures.stop()
