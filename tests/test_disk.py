"""The real disk: no name leads out of the folder, nothing is replaced, and what it can do is found by trying."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.disk import syscalls
from twistedp2p.disk.probe import probe
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Disk, FileKind, Name, NotRegular, OtherDevice
from twistedp2p.errors import FolderUnusable


class DiskTestCase(SynchronousTestCase):
    """Makes a folder `self.root` in a folder of its own, and a disk on it."""

    def setUp(self) -> None:
        self.outside = Path(tempfile.mkdtemp(prefix="tp2p-"))
        self.addCleanup(shutil.rmtree, self.outside)
        self.root = self.outside / "share"
        self.root.mkdir()
        self.disk: Disk = RealDisk(os.fsencode(self.root))
        self.addCleanup(self.disk.close)

    def write(self, name: Name, data: bytes) -> None:
        """Make a file."""
        with self.disk.create(name) as made:
            made.write_at(0, data)

    def read(self, name: Name) -> bytes:
        """Return what is in a file."""
        with self.disk.open(name) as opened:
            return opened.read_at(0, 1 << 20)


class EnterTests(DiskTestCase):
    """A folder that was entered is a disk of its own."""

    def setUp(self) -> None:
        super().setUp()
        self.disk.make_folder((b"a",))
        self.disk.make_folder((b"a", b"b"))
        self.write((b"a", b"b", b"old"), b"old")

    def enter(self, *folder: bytes) -> Disk:
        """Return a folder as a disk."""
        inside = self.disk.enter(folder)
        self.addCleanup(inside.close)
        return inside

    def next_descriptor(self) -> int:
        """Return the number that the next file gets: the lowest that is free."""
        fd = os.open(self.root, os.O_RDONLY)
        os.close(fd)
        return fd

    def test_every_verb(self) -> None:
        """Names are those in the folder, one or several components long, for everything that a disk does."""
        inside = self.enter(b"a")
        self.assertEqual(inside.stat(()).kind, FileKind.FOLDER)
        self.assertEqual([name for name, _ in inside.entries(())], [b"b"])
        with inside.create((b"new",)) as made:
            made.write_at(0, b"new")
        inside.rename((b"new",), (b"b", b"new"))
        with self.assertRaises(FileExistsError):
            inside.rename((b"b", b"new"), (b"b", b"old"))
        inside.replace((b"b", b"new"), (b"b", b"old"))
        inside.link((b"b", b"old"), (b"other",))
        inside.make_folder((b"c",))
        inside.remove_folder((b"c",))
        inside.unlink((b"other",))
        with self.assertRaises(FileNotFoundError):
            inside.stat((b"other",))
        self.assertEqual(self.read((b"a", b"b", b"old")), b"new")

    def test_it_stays_that_folder(self) -> None:
        """What is made in it is made in that very folder, also when another one got its name meanwhile."""
        inside = self.enter(b"a", b"b")
        self.assertTrue(inside.in_place())
        self.disk.rename((b"a", b"b"), (b"moved",))
        (self.root / "a" / "b").symlink_to(self.outside)
        inside.create((b"new",)).close()
        self.assertFalse(inside.in_place())
        self.assertEqual(sorted(os.listdir(self.root / "moved")), ["new", "old"])
        self.assertEqual(os.listdir(self.outside), ["share"])

    def test_what_is_no_folder(self) -> None:
        """A file, or nothing, can not be entered."""
        for name in ((b"a", b"b", b"old"), (b"nothing",)):
            with self.assertRaises(OSError):
                self.disk.enter(name)

    def test_it_is_let_go_of(self) -> None:
        """Nothing stays open of it, and the disk that it is of stays open."""
        before = self.next_descriptor()
        for _ in range(10):
            inside = self.disk.enter((b"a", b"b"))
            inside.stat((b"old",))
            inside.close()
        self.assertEqual(self.next_descriptor(), before)
        self.assertEqual(self.read((b"a", b"b", b"old")), b"old")


class NamesTests(DiskTestCase):
    """Names are walked from the folder, and follow nothing."""

    def test_a_missing_folder_is_a_sentence(self) -> None:
        """A folder that is not there is said to be perhaps not mounted."""
        with self.assertRaisesRegex(FolderUnusable, "not mounted"):
            RealDisk(os.fsencode(self.outside / "nothing"))

    def test_any_bytes_make_a_name(self) -> None:
        """Spaces, line breaks, bytes that are no UTF-8 and decomposed letters are stored and listed as they are."""
        names = [b" ", b"a\nb", b"\xff\xfe", "e\u0301".encode(), "\u00e9".encode(), b"-rf", b"x" * 255]
        for name in names:
            self.write((name,), name)
        self.assertEqual([name for name, _ in self.disk.entries(())], sorted(names))
        self.assertEqual([self.read((name,)) for name in names], names)

    def test_a_symlinked_parent_is_an_error_for_every_verb(self) -> None:
        """No verb works through a link to a folder outside."""
        (self.outside / "secret").mkdir()
        (self.outside / "secret" / "f").write_bytes(b"canary")
        (self.root / "link").symlink_to(self.outside / "secret")
        self.write((b"mine",), b"mine")
        inside = (b"link", b"f")
        for action in (
            lambda: self.disk.stat(inside),
            lambda: self.disk.enter((b"link",)),
            lambda: self.disk.enter(inside),
            lambda: self.disk.entries((b"link",)),
            lambda: self.disk.open(inside),
            lambda: self.disk.open_part(inside),
            lambda: self.disk.create((b"link", b"new")),
            lambda: self.disk.make_folder((b"link", b"new")),
            lambda: self.disk.remove_folder((b"link", b"new")),
            lambda: self.disk.unlink(inside),
            lambda: self.disk.rename((b"mine",), (b"link", b"new")),
            lambda: self.disk.rename(inside, (b"got",)),
            lambda: self.disk.exchange((b"mine",), inside),
            lambda: self.disk.link((b"mine",), (b"link", b"new")),
            lambda: self.disk.lock((b"link", b"new")),
            lambda: self.disk.sync_folder((b"link",)),
        ):
            self.assertRaises(NotADirectoryError, action)
        self.assertEqual(os.listdir(self.outside / "secret"), ["f"])
        self.assertEqual((self.outside / "secret" / "f").read_bytes(), b"canary")

    def test_a_symlink_is_seen_and_not_opened(self) -> None:
        """A link is told from a file, and refused when it is to be opened as one."""
        (self.root / "link").symlink_to("/etc/passwd")
        self.assertIs(self.disk.stat((b"link",)).kind, FileKind.SYMLINK)
        with self.assertRaises(NotRegular) as caught:
            self.disk.open((b"link",))
        self.assertIs(caught.exception.kind, FileKind.SYMLINK)

    def test_what_is_no_file_is_not_opened(self) -> None:
        """Pipes, sockets and folders are refused at once, without waiting for anybody."""
        os.mkfifo(self.root / "pipe")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.fspath(self.root / "socket"))
        (self.root / "folder").mkdir()
        kinds = {}
        for name in (b"pipe", b"socket", b"folder"):
            with self.assertRaises(NotRegular) as caught:
                self.disk.open((name,))
            kinds[name] = caught.exception.kind
        self.assertEqual(kinds, {b"pipe": FileKind.OTHER, b"socket": FileKind.OTHER, b"folder": FileKind.FOLDER})
        with self.assertRaises(NotRegular):
            self.disk.open(())

    def test_another_device_is_not_entered(self) -> None:
        """A file system that is mounted inside the folder is told apart and not walked into."""
        disk = RealDisk(b"/")
        self.addCleanup(disk.close)
        self.assertNotEqual(disk.stat((b"proc",)).device, disk.stat(()).device)
        with self.assertRaises(OtherDevice) as caught:
            disk.stat((b"proc", b"version"))
        self.assertEqual(caught.exception.errno, errno.EXDEV)

    def test_no_descriptor_is_left_open(self) -> None:
        """Walks that fail at any depth, and ones that succeed, close what they opened."""
        before = len(os.listdir("/proc/self/fd"))
        (self.root / "a" / "b").mkdir(parents=True)
        (self.root / "a" / "link").symlink_to("b")
        self.write((b"a", b"b", b"f"), b"1")
        for name in ((b"a", b"b", b"f"), (b"a", b"b", b"f", b"g"), (b"a", b"link", b"f"), (b"x", b"y"), (b"a", b"x")):
            for verb in (self.disk.stat, self.disk.open, self.disk.entries, self.disk.create):
                try:
                    found = verb(name)
                except OSError:
                    continue
                if hasattr(found, "close"):
                    found.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_in_place_tells_whether_the_path_still_leads_here(self) -> None:
        """A folder that was moved away, or replaced by another, is not in place any more."""
        self.assertTrue(self.disk.in_place())
        self.root.rename(self.outside / "moved")
        self.assertFalse(self.disk.in_place())
        self.root.mkdir()
        self.assertFalse(self.disk.in_place())

    def test_swapping_a_folder_for_a_link_lets_nothing_out(self) -> None:
        """While somebody swaps a folder for a link to outside, no write and no removal reaches outside."""
        canary = self.outside / "canary"
        canary.mkdir()
        (canary / "victim").write_bytes(b"alive")
        (self.root / "d").mkdir()
        (self.root / "link").symlink_to(canary)
        stop = threading.Event()

        def swap() -> None:
            fd = os.open(self.root, os.O_RDONLY)
            while not stop.is_set():
                syscalls.renameat2(fd, b"d", fd, b"link", syscalls.RENAME_EXCHANGE)
            os.close(fd)

        swapper = threading.Thread(target=swap)
        swapper.start()
        made = refused = 0
        try:
            for number in range(600):
                try:
                    self.write((b"d", b"%d" % number), b"x")
                    made += 1
                except NotADirectoryError:
                    refused += 1
                for name in (b"victim", b"%d" % number):
                    try:
                        self.disk.unlink((b"d", name))
                    except (NotADirectoryError, FileNotFoundError):
                        continue
        finally:
            stop.set()
            swapper.join()
        self.assertEqual(os.listdir(canary), ["victim"])
        self.assertEqual(made + refused, 600)


class StepsTests(DiskTestCase):
    """The verbs that change something."""

    def test_rename_never_replaces(self) -> None:
        """A rename onto a file, an empty folder or a dangling link fails and changes nothing."""
        self.write((b"new",), b"new")
        self.write((b"file",), b"old")
        (self.root / "folder").mkdir()
        (self.root / "link").symlink_to("nowhere")
        for target in (b"file", b"folder", b"link"):
            self.assertRaises(FileExistsError, self.disk.rename, (b"new",), (target,))
        self.assertEqual(self.read((b"file",)), b"old")
        self.assertEqual(self.read((b"new",)), b"new")

    def test_rename_without_the_system_call_never_replaces_either(self) -> None:
        """Where no-replace renames are unknown, a file is renamed by a second name, which never replaces."""

        class OldDisk(RealDisk):
            def _rename(self, source: Name, target: Name, flags: int) -> None:
                raise OSError(errno.EINVAL, "Invalid argument")

        disk = OldDisk(os.fsencode(self.root))
        self.addCleanup(disk.close)
        self.write((b"new",), b"new")
        self.write((b"file",), b"old")
        self.assertRaises(FileExistsError, disk.rename, (b"new",), (b"file",))
        disk.rename((b"new",), (b"other",))
        self.assertEqual(sorted(os.listdir(self.root)), ["file", "other"])
        self.assertEqual((self.read((b"file",)), self.read((b"other",))), (b"old", b"new"))
        abilities = probe(disk, ())
        self.assertEqual((abilities.exchange, abilities.noreplace), (False, True))

    def test_exchange_swaps(self) -> None:
        """After an exchange both are there, each under the other's name; a missing one changes nothing."""
        self.write((b"a",), b"1")
        self.write((b"b",), b"2")
        self.disk.exchange((b"a",), (b"b",))
        self.assertEqual((self.read((b"a",)), self.read((b"b",))), (b"2", b"1"))
        self.assertRaises(FileNotFoundError, self.disk.exchange, (b"a",), (b"c",))
        self.assertEqual(self.read((b"a",)), b"2")

    def test_create_is_exclusive(self) -> None:
        """A file, or a link that dangles, is never opened by `create`."""
        self.write((b"a",), b"1")
        (self.root / "link").symlink_to(self.outside / "made")
        self.assertRaises(FileExistsError, self.disk.create, (b"a",))
        self.assertRaises(FileExistsError, self.disk.create, (b"link",))
        self.assertFalse((self.outside / "made").exists())

    def test_copies_ranges(self) -> None:
        """A range of another file is copied to where it is asked for; the end of the source is the end."""
        self.write((b"a",), b"0123456789")
        with self.disk.open((b"a",)) as source, self.disk.create((b"b",)) as copy:
            self.assertEqual(copy.copy_from(source, 2, 5, 4), 4)
            self.assertEqual(copy.copy_from(source, 8, 0, 100), 2)
            self.assertEqual(copy.read_at(0, 100), b"89\0\0\x002345")
            self.assertEqual(copy.read_at(20, 5), b"")

    def test_extreme_mtimes_are_kept_as_well_as_the_disk_can(self) -> None:
        """No mtime, however far off, is an error."""
        with self.disk.create((b"a",)) as made:
            for mtime_ns in (0, -1, 1_700_000_000_123_456_789, 2**63, 2**200, -(2**200)):
                made.set_mtime(mtime_ns)
            made.set_mtime(1_600_000_000_000_000_000)
            self.assertEqual(made.stat().mtime_ns, 1_600_000_000_000_000_000)

    def test_a_lock_is_held_until_released(self) -> None:
        """A second lock of one file is refused while the first is held."""
        first = self.disk.lock((b"lock",))
        self.assertRaises(BlockingIOError, self.disk.lock, (b"lock",))
        first.release()
        first.release()
        self.disk.lock((b"lock",)).release()

    def test_space_and_flushing_work(self) -> None:
        """There is room, less than the whole; everything can be flushed."""
        space = self.disk.space()
        self.assertTrue(0 < space.free <= space.total)
        self.write((b"a",), b"1")
        with self.disk.open_part((b"a",)) as opened:
            opened.sync()
        self.disk.sync_folder(())
        self.disk.sync_all()


class ProbeTests(DiskTestCase):
    """What a file system can do is found by trying."""

    def test_this_file_system(self) -> None:
        """On Linux's usual file systems everything works, and nothing is left behind."""
        abilities = self.disk.probe(())
        self.assertTrue(abilities.exchange and abilities.noreplace and abilities.hard_links)
        self.assertTrue(abilities.case_sensitive)
        self.assertFalse(abilities.normalises)
        self.assertLessEqual(abilities.mtime_granularity_ns, 10_000_000)
        self.assertEqual(os.listdir(self.root), [])

    def test_a_poor_file_system_is_seen_as_one(self) -> None:
        """No links, no safe rename, one case, coarse times: each is noticed, as on a memory card."""
        root = self.root

        class Card(RealDisk):
            def link(self, source: Name, target: Name) -> None:
                raise PermissionError(errno.EPERM, "Operation not permitted")

            def _rename(self, source: Name, target: Name, flags: int) -> None:
                raise OSError(errno.EINVAL, "Invalid argument")

            def stat(self, name: Name):  # type: ignore[no-untyped-def]
                return super().stat(tuple(component.lower() for component in name))

        disk = Card(os.fsencode(root))
        self.addCleanup(disk.close)
        abilities = disk.probe(())
        self.assertFalse(abilities.exchange or abilities.noreplace or abilities.hard_links or abilities.case_sensitive)
        self.assertEqual(os.listdir(root), [])

    def test_a_failing_disk_is_an_error(self) -> None:
        """A disk that fails while it is tried out is not taken for a poor one."""

        class Broken(RealDisk):
            def link(self, source: Name, target: Name) -> None:
                raise OSError(errno.EIO, "Input/output error")

        disk = Broken(os.fsencode(self.root))
        self.addCleanup(disk.close)
        self.assertRaises(OSError, disk.probe, ())
