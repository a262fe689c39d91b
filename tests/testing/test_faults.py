"""Disks that fail: what a fault hits, how far a call comes, and that a dead process does nothing any more."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Disk
from twistedp2p.testing.faults import CAN_FAIL, Crashed, DiskFaults, FaultyDisk, Moment

FILE, OTHER = (b"file",), (b"other",)


class FaultCase(SynchronousTestCase):
    """A disk with one file."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "file").write_bytes(b"0123456789")
        self.faults = DiskFaults(Random(1))
        self.deaths = 0
        self.disk = self.start()

    def start(self) -> Disk:
        """Return the disk as a new process has it."""
        real = RealDisk(bytes(self.root))
        self.addCleanup(real.close)
        return FaultyDisk(real, self.faults, self._died)

    def _died(self) -> None:
        self.deaths += 1

    def assert_fails(self, error: int, call: Callable[[], object]) -> None:
        """Raise unless `call` fails with this errno."""
        self.assertEqual(error, self.assertRaises(OSError, call).errno)

    def content(self, name: str = "file") -> bytes:
        """Return what is in a file."""
        return (self.root / name).read_bytes()


class FailTests(FaultCase):
    """Calls fail for a while."""

    def test_well(self) -> None:
        """A disk that is well does what the real one does."""
        with self.disk.open_part(FILE) as opened, self.disk.create(OTHER) as made:
            opened.write_at(5, b"abc")
            made.copy_from(opened, 0, 0, 8)
            made.resize(9)
        self.assertEqual((b"01234abc89", b"01234abc\0"), (self.content(), self.content("other")))
        self.assertTrue(self.faults.well)
        self.assertTrue(self.disk.probe(()).exchange)

    def test_fail_and_mend(self) -> None:
        """A call that fails changes nothing; after `mend` all is well."""
        self.faults.fail(errno.EIO)
        self.assert_fails(errno.EIO, lambda: self.disk.unlink(FILE))
        self.assertEqual(b"0123456789", self.content())
        self.faults.mend()
        self.disk.unlink(FILE)
        self.assertFalse((self.root / "file").exists())

    def test_where(self) -> None:
        """A fault at some names is not felt at others; a rename has two names."""
        self.faults.fail(errno.EIO, where=lambda name: name == FILE)
        self.disk.create(OTHER).close()
        self.assert_fails(errno.EIO, lambda: self.disk.stat(FILE))
        self.assert_fails(errno.EIO, lambda: self.disk.exchange(OTHER, FILE))
        self.disk.space()
        self.disk.sync_all()

    def test_which(self) -> None:
        """Only calls that a system lets fail so do: a full disk can be read."""
        self.faults.fail(errno.ENOSPC)
        with self.disk.open_part(FILE) as opened:
            self.assertEqual(b"01", opened.read_at(0, 2))
            self.assert_fails(errno.ENOSPC, lambda: opened.write_at(10, b"x"))
        self.assert_fails(errno.ENOSPC, lambda: self.disk.create(OTHER))

    def test_inside_of_a_folder(self) -> None:
        """What is done in a folder that was entered has its whole name, is counted, and has room with all the rest."""
        self.disk.make_folder((b"folder",))
        self.faults.fail(errno.EIO, where=lambda name: name == (b"folder", b"file"))
        before = self.faults.calls
        inside = self.disk.enter((b"folder",))
        self.addCleanup(inside.close)
        self.assert_fails(errno.EIO, lambda: inside.create(FILE))
        inside.create(OTHER).close()
        self.assertEqual(self.faults.calls, before + 3)
        self.faults.mend()
        self.faults.room = 12
        with inside.open_part(OTHER) as opened:
            self.assert_fails(errno.ENOSPC, lambda: opened.write_at(0, b"abc"))
        self.assertEqual(inside.space().free, 0)
        self.faults.mend()
        self.faults.fail_once(1, errno.EACCES)
        self.assert_fails(errno.EACCES, lambda: self.disk.enter((b"folder",)))

    def test_death_inside_of_a_folder(self) -> None:
        """A process that dies in a folder that it entered is dead everywhere, and dies once."""
        self.disk.make_folder((b"folder",))
        inside = self.disk.enter((b"folder",))
        self.addCleanup(inside.close)
        self.faults.crash(1, Moment.BEFORE)
        self.assertRaises(Crashed, inside.create, FILE)
        self.assertRaises(Crashed, self.disk.stat, FILE)
        self.assertRaises(Crashed, inside.stat, FILE)
        self.assertEqual(self.deaths, 1)

    def test_often(self) -> None:
        """Of many calls about as many fail as were asked for."""
        self.faults.fail(errno.EACCES, often=0.3)
        failed = 0
        for _ in range(200):
            try:
                self.disk.stat(FILE)
            except PermissionError:
                failed += 1
        self.assertEqual(failed, self.faults.failed)
        self.assertTrue(30 < failed < 90, failed)

    def test_once(self) -> None:
        """A single call can be chosen to fail; it does not if no system lets it fail so."""
        self.faults.fail_once(2, errno.EIO)
        self.disk.stat(FILE)
        self.assert_fails(errno.EIO, lambda: self.disk.stat(FILE))
        self.disk.stat(FILE)
        self.faults.fail_once(1, errno.ENOSPC)
        self.disk.stat(FILE)
        self.disk.unlink(FILE)
        self.assertEqual((1, True), (self.faults.failed, self.faults.well))

    def test_unknown_error(self) -> None:
        """An error that no call is known to fail with is a mistake of the test."""
        self.assertRaises(ValueError, self.faults.fail, errno.ELOOP)
        for error in CAN_FAIL:
            self.faults.fail(error)

    def test_half_a_write(self) -> None:
        """Of a write that fails the first half is there."""
        with self.disk.open_part(FILE) as opened:
            self.faults.fail(errno.EIO)
            self.assert_fails(errno.EIO, lambda: opened.write_at(0, b"abcdef"))
        self.assertEqual(b"abc3456789", self.content())


class RoomTests(FaultCase):
    """A limit on what the files may have in all."""

    def test_room(self) -> None:
        """What fits is written, the rest is refused; what is overwritten needs no room."""
        self.faults.room = 15
        with self.disk.open_part(FILE) as opened:
            opened.write_at(0, b"abcdefghij")
            self.assert_fails(errno.ENOSPC, lambda: opened.write_at(8, b"0123456789"))
            self.assertEqual(b"abcdefgh0123456", self.content())
            self.assert_fails(errno.ENOSPC, lambda: opened.resize(16))
        self.assertEqual((0, 15), (self.disk.space().free, self.disk.space().total))

    def test_copy(self) -> None:
        """A copy, too, ends where the room does."""
        self.faults.room = 14
        with self.disk.open(FILE) as source, self.disk.create(OTHER) as copy:
            self.assert_fails(errno.ENOSPC, lambda: copy.copy_from(source, 0, 0, 10))
        self.assertEqual(b"0123", self.content("other"))

    def test_room_comes_back(self) -> None:
        """What is removed, by whomever, makes room."""
        self.faults.room = 10
        (self.root / "file").unlink()
        with self.disk.create(OTHER) as made:
            made.write_at(0, b"0123456789")
        self.assertEqual(0, self.disk.space().free)


class CrashTests(FaultCase):
    """The process dies inside of a call."""

    def test_moments(self) -> None:
        """It dies before the call, when half is written, or when all is."""
        for moment, left in (
            (Moment.BEFORE, b"0123456789"),
            (Moment.WITHIN, b"ab23456789"),
            (Moment.AFTER, b"abcd456789"),
        ):
            with self.subTest(moment=moment):
                (self.root / "file").write_bytes(b"0123456789")
                with self.start().open_part(FILE) as opened:
                    self.faults.crash(1, moment)
                    self.assertRaises(Crashed, opened.write_at, 0, b"abcd")
                self.assertEqual(left, self.content())

    def test_in_which_call(self) -> None:
        """It dies in that call, counted from now, and in none before."""
        self.faults.crash(3, Moment.BEFORE)
        self.disk.stat(FILE)
        self.disk.stat(FILE)
        self.assertRaises(Crashed, self.disk.stat, FILE)
        self.assertEqual((1, 3), (self.deaths, self.faults.calls))

    def test_after_a_call_that_fails(self) -> None:
        """It dies after a call that finds nothing as well."""
        self.faults.crash(1, Moment.AFTER)
        self.assertRaises(Crashed, self.disk.stat, (b"nothing",))
        self.assertEqual(1, self.deaths)

    def test_dead(self) -> None:
        """A dead process can do nothing any more; the next one can."""
        opened = self.disk.open_part(FILE)
        self.faults.crash(1, Moment.AFTER)
        self.assertRaises(Crashed, self.disk.open, FILE)
        self.assertRaises(Crashed, self.disk.unlink, FILE)
        self.assertRaises(Crashed, opened.write_at, 0, b"x")
        opened.close()
        self.assertEqual((1, b"0123456789"), (self.deaths, self.content()))
        self.start().unlink(FILE)

    def test_no_exception(self) -> None:
        """Nothing that carries on from errors carries on from a death."""
        self.assertFalse(issubclass(Crashed, Exception))

    def test_log(self) -> None:
        """What is called can be noted."""
        self.disk.stat(FILE)
        self.faults.record()
        self.disk.entries(())
        self.disk.rename(FILE, OTHER)
        self.assertEqual(["entries ", "rename file other"], self.faults.log)
