"""Priorities on standard input: what is read, what is refused, and when it ends."""

from __future__ import annotations

import contextlib
import io
import os

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.control import LINE_BYTES, Control
from twistedp2p.transfer.files.fair import Priority


class FakeReactor:
    """Notes who wants to read."""

    def __init__(self) -> None:
        self.readers: set[Control] = set()

    def addReader(self, reader: Control) -> None:
        """Take a reader."""
        self.readers.add(reader)

    def removeReader(self, reader: Control) -> None:
        """Forget it."""
        self.readers.remove(reader)


class ControlTests(SynchronousTestCase):
    """Lines that come over a pipe."""

    def setUp(self) -> None:
        """Begin to read."""
        read, self.pipe = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(lambda: None if self.pipe is None else os.close(self.pipe))
        self.reactor = FakeReactor()
        self.told: list[tuple[str, Priority]] = []
        self.control = Control(self.reactor, self.set_priority, read)
        self.control.start()

    def set_priority(self, path: str, priority: Priority) -> bool:
        """Take a priority; of "gone" nothing is to come."""
        self.told.append((path, priority))
        return path != "gone"

    def write(self, text: bytes) -> str:
        """Write bytes, have them read, and return what was said about them."""
        os.write(self.pipe, text)
        return self.read()

    def read(self) -> str:
        """Have it read once, and return what was said."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.control.doRead()
        return said.getvalue()

    def test_lines(self) -> None:
        """A line is a path and a priority, as in a queue; '.' is everything; comments and empty lines are left out."""
        said = self.write(b"films/dune.mkv low\n\n# soon\n'a b' critical # now\n. HIGH\n")
        self.assertEqual(self.told, [("films/dune.mkv", Priority.LOW), ("a b", Priority.CRITICAL), ("", Priority.HIGH)])
        self.assertEqual(said, "")

    def test_pieces(self) -> None:
        """A line counts when its end is there, however it comes; the last one also without."""
        for byte in "höhe low".encode():
            self.assertEqual(self.write(bytes((byte,))), "")
        self.assertEqual(self.told, [])
        self.write(b"\nb high")
        self.assertEqual(self.told, [("höhe", Priority.LOW)])
        os.close(self.pipe)
        self.addCleanup(setattr, self, "pipe", None)
        self.pipe = os.open(os.devnull, os.O_WRONLY)
        self.assertEqual(self.read(), "")
        self.assertEqual(self.told[1:], [("b", Priority.HIGH)])
        self.assertEqual(self.reactor.readers, set())
        self.control.stop()

    def test_wrong_lines(self) -> None:
        """Each wrong line is said, with what is wrong, and the next one counts."""
        for line, why in (
            (b"a", "say PATH PRIORITY"),
            (b"a soon", "soon is not critical, high, normal or low"),
            (b"a b low", "in quotes"),
            (b"'a low", "quotation"),
            (b"../a low", "no name of a file"),
            (b"\xff\x1b low x", "in quotes"),
        ):
            said = self.write(line + b"\n")
            self.assertIn(why, said)
            self.assertNotIn("\x1b", said)
        self.assertIn("gone: nothing of that is still to come", self.write(b"gone low\n"))
        self.assertEqual(self.told, [("gone", Priority.LOW)])
        self.assertEqual(self.write(b"a low\n"), "")

    def test_long_lines(self) -> None:
        """A line may have so many bytes, and not one more; what is longer is dropped to its end, in bounded memory."""
        path = "/".join(["n" * 100] * 5)
        line = f"{path} low #".encode()
        fits = line + b"x" * (LINE_BYTES - len(line))
        self.assertEqual(self.write(fits + b"\n"), "")
        self.assertEqual(len(self.told), 1)
        self.assertIn("too long", self.write(fits + b"x\n"))
        said = "".join(self.write(b"x" * LINE_BYTES) for _ in range(5))
        self.assertEqual(said.count("too long"), 1)
        self.assertLessEqual(len(self.control._rest), LINE_BYTES)
        self.assertEqual(self.write(b" low\nnext high\n"), "")
        self.assertEqual(self.told[1:], [("next", Priority.HIGH)])

    def test_stop(self) -> None:
        """When it is told to stop it reads no more, however often that is said."""
        self.control.stop()
        self.control.stop()
        self.assertEqual(self.reactor.readers, set())
