"""The state folder of a person: what it keeps, with several processes at once, and what it refuses."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import stat
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import FolderUnusable, HomeUnusable
from twistedp2p.home import Home, _private_temporary, write_private
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.limits import SOCKET_PATH_BYTES

SHARE = bytes(range(20))
TRACKER = TrackerAddress("192.0.2.7", 17411, bytes(16))
INVITE = Invite(bytes(range(16)), (TRACKER,))


def _remember_many(home: str, folders: list[str]) -> None:
    for folder in folders:
        Home(Path(home)).remember(Path(folder), SHARE)


class HomeTestCase(SynchronousTestCase):
    """A home and a folder to be shared, both new."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.home = Home(self.base / "home")
        self.folder = self.new_folder("folder")

    def new_folder(self, name: str) -> Path:
        """Return a new folder that has a mark."""
        folder = self.base / name
        (folder / ".twistedp2p").mkdir(parents=True)
        (folder / ".twistedp2p" / "mark").write_bytes(b"mark")
        return folder


class FindTests(SynchronousTestCase):
    """Where the state folder is."""

    def test_named(self) -> None:
        """TWISTEDP2P_HOME names the state folder."""
        self.assertEqual(Home.find({"TWISTEDP2P_HOME": "/x/y"}).path, Path("/x/y"))

    def test_usual_place(self) -> None:
        """Without it, or if it is empty, the state folder is at the platform's place, under our name."""
        self.assertEqual(Home.find({}).path.name, "twistedp2p")
        self.assertEqual(Home.find({"TWISTEDP2P_HOME": ""}).path, Home.find({}).path)

    def test_nothing_is_made_by_looking(self) -> None:
        """Reading from a state folder that does not exist finds nothing and makes nothing."""
        home = Home(Path(self.mktemp()))
        self.assertEqual(home.members(), [])
        self.assertIsNone(home.default_invite())
        self.assertIsNone(home.tracker_address())
        self.assertIsNone(home.stamp(Path("/nowhere")))
        self.assertFalse(home.path.exists())


class MemberTests(HomeTestCase):
    """The folders that are members here."""

    def test_remembered(self) -> None:
        """A remembered folder is a member, of that share, by its real path."""
        link = self.base / "link"
        link.symlink_to(self.folder)
        self.home.remember(link, SHARE)
        [member] = Home(self.home.path).members()
        self.assertEqual(member.folder, Path(os.path.realpath(self.folder)))
        self.assertEqual(member.share_id, SHARE)
        self.assertEqual(self.home.member(self.folder), member)

    def test_forgotten(self) -> None:
        """A forgotten folder is no member, keeps no stamp and may lack its mark; others are untouched."""
        other = self.new_folder("other")
        for folder in (self.folder, other):
            self.home.remember(folder, SHARE)
            self.home.set_stamp(folder, b"stamp")
        self.home.forget(self.folder)
        self.home.forget(self.base / "never a member")
        self.assertEqual([member.folder.name for member in self.home.members()], ["other"])
        self.assertIsNone(self.home.stamp(self.folder))
        shutil.rmtree(self.folder)
        self.home.require_mark(self.folder)

    def test_forgotten_share(self) -> None:
        """The default invite goes with the last folder of its share, and not before."""
        other = self.new_folder("other")
        share = INVITE.keys().share_id
        self.home.set_default_invite(INVITE)
        for folder in (self.folder, other):
            self.home.remember(folder, share)
        self.home.forget(self.folder)
        self.home.forget_share(SHARE)
        self.home.forget_share(share)
        self.assertEqual(self.home.default_invite(), INVITE)
        self.home.forget(other)
        self.home.forget_share(SHARE)
        self.assertEqual(self.home.default_invite(), INVITE)
        self.home.forget_share(share)
        self.assertIsNone(self.home.default_invite())
        self.home.forget_share(share)

    def test_lost_mark(self) -> None:
        """A member that has lost its mark is refused, with the question whether its disk is mounted."""
        self.home.remember(self.folder, SHARE)
        self.home.require_mark(self.folder)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        error = self.assertRaises(FolderUnusable, self.home.require_mark, self.folder)
        self.assertIn("not mounted?", str(error))

    def test_never_a_member(self) -> None:
        """A folder without a mark that is no member is not refused, nor one of which only the stamp is known."""
        bare = self.base / "bare"
        self.home.require_mark(bare)
        self.home.set_stamp(bare, b"stamp")
        self.home.require_mark(bare)
        self.assertEqual(self.home.members(), [])

    def test_stamp(self) -> None:
        """A stamp is kept with the folder, over a change of its share, until the next one."""
        self.home.set_stamp(self.folder, b"one")
        self.home.remember(self.folder, SHARE)
        self.assertEqual(self.home.stamp(self.folder), b"one")
        self.home.set_stamp(self.folder, b"two")
        self.assertEqual(Home(self.home.path).stamp(self.folder), b"two")
        self.assertEqual(len(self.home.members()), 1)

    def test_renamed_folder(self) -> None:
        """A member folder that was renamed keeps its stamp, and its old name is free again."""
        self.home.remember(self.folder, SHARE)
        self.home.set_stamp(self.folder, b"stamp")
        renamed = self.folder.rename(self.base / "renamed")
        self.assertEqual(self.home.stamp(renamed), b"stamp")
        self.home.remember(renamed, SHARE)
        self.assertEqual([member.folder.name for member in self.home.members()], ["renamed"])
        self.home.require_mark(self.folder)

    def test_copied_folder(self) -> None:
        """A copy of a member folder has no stamp, so that its index is known to be a copy."""
        self.home.remember(self.folder, SHARE)
        self.home.set_stamp(self.folder, b"stamp")
        copy = self.base / "copy"
        shutil.copytree(self.folder, copy)
        self.assertIsNone(self.home.stamp(copy))

    def test_copy_by_hard_links(self) -> None:
        """A copy made of hard links has the same mark, but the original is still there: no stamp either."""
        self.home.remember(self.folder, SHARE)
        self.home.set_stamp(self.folder, b"stamp")
        copy = self.base / "copy"
        shutil.copytree(self.folder, copy, copy_function=os.link)
        self.assertIsNone(self.home.stamp(copy))

    def test_path_that_is_not_text(self) -> None:
        """A folder whose name is not UTF-8 is kept like any other."""
        folder = self.new_folder(os.fsdecode(b"caf\xe9"))
        self.home.remember(folder, SHARE)
        self.assertEqual(self.home.members()[0].folder, Path(os.path.realpath(folder)))

    def test_damaged(self) -> None:
        """Damaged or newer files are named in a sentence, not taken for an empty list."""
        self.home.remember(self.folder, SHARE)
        file = self.home.path / "folders.json"
        good = file.read_text()
        for text in ("", "[]", "{}", '{"version": 2, "folders": {}}', '{"version": 1, "folders": []}', good[:-9]):
            file.write_text(text)
            error = self.assertRaises(HomeUnusable, self.home.members)
            self.assertIn(str(file), str(error))
            self.assertRaises(HomeUnusable, self.home.set_stamp, self.folder, b"stamp")
            self.assertEqual(file.read_text(), text)

    def test_two_processes(self) -> None:
        """Processes that remember folders at once lose none of each other's."""
        folders = [str(self.new_folder(f"many/{n}")) for n in range(24)]
        spawn = multiprocessing.get_context("spawn")
        processes = [
            spawn.Process(target=_remember_many, args=(str(self.home.path), folders[n::2])) for n in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            self.assertEqual(process.exitcode, 0)
        self.assertEqual(len(self.home.members()), len(folders))


class FileTests(HomeTestCase):
    """How files are written."""

    def test_private(self) -> None:
        """Folders are 0700 and files 0600, whatever the umask."""
        old = os.umask(0)
        try:
            self.home.remember(self.folder, SHARE)
            self.home.set_default_invite(INVITE)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(self.home.path.stat().st_mode), 0o700)
        for file in self.home.path.iterdir():
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)

    def test_replaced_whole(self) -> None:
        """Writing replaces a file, also a more public one, and leaves no temporary file behind."""
        file = self.base / "file"
        file.write_text("a longer text than the next one")
        file.chmod(0o644)
        write_private(file, b"next")
        self.assertEqual(file.read_bytes(), b"next")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(sorted(p.name for p in self.base.iterdir()), ["file", "folder"])

    def test_failed_write(self) -> None:
        """A write that fails leaves no temporary file behind."""
        (self.base / "target").mkdir()
        self.assertRaises(OSError, write_private, self.base / "target", b"data")
        self.assertEqual(sorted(p.name for p in self.base.iterdir()), ["folder", "target"])

    def test_unusable(self) -> None:
        """A state folder that can not be made is named in a sentence that says what to do."""
        (self.base / "file").write_text("")
        home = Home(self.base / "file" / "home")
        for call in (
            lambda: home.remember(self.folder, SHARE),
            lambda: home.set_default_invite(INVITE),
        ):
            error = self.assertRaises(HomeUnusable, call)
            self.assertIn("--home", str(error))

    def test_lock_excludes(self) -> None:
        """While one holds the lock, another does not get it; afterwards it does."""
        with self.home.lock():
            handle = os.open(self.home.path / "lock", os.O_RDWR)
            self.addCleanup(os.close, handle)
            self.assertRaises(BlockingIOError, fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class DefaultTests(HomeTestCase):
    """The default share and the tracker of this machine."""

    def test_default_invite(self) -> None:
        """The default invite is kept as it was set."""
        self.home.set_default_invite(INVITE)
        self.assertEqual(Home(self.home.path).default_invite(), INVITE)

    def test_damaged_invite(self) -> None:
        """A damaged default invite is an error that names the file and shows nothing of it."""
        self.home.set_default_invite(INVITE)
        text = INVITE.text()[:-3]
        (self.home.path / "invite").write_text(text)
        error = self.assertRaises(HomeUnusable, self.home.default_invite)
        self.assertIn(str(self.home.path / "invite"), str(error))
        self.assertNotIn(text[-20:], str(error))

    def test_tracker_address(self) -> None:
        """The address that a tracker left is found; a damaged one is an error that names the file."""
        (self.home.path / "tracker").mkdir(parents=True)
        file = self.home.path / "tracker" / "address"
        file.write_text(TRACKER.text() + "\n")
        self.assertEqual(self.home.tracker_address(), TRACKER)
        file.write_bytes(b"\xff\xfe")
        self.assertIn(str(file), str(self.assertRaises(HomeUnusable, self.home.tracker_address)))


class ControlSocketTests(HomeTestCase):
    """Where the control socket of a folder is."""

    def test_inside(self) -> None:
        """It is in the folder itself, whatever name of the folder is given."""
        folder = Path("/tmp/.")
        self.assertEqual(self.home.control_socket(folder), "/tmp/.twistedp2p/control.sock")

    def test_longest_inside(self) -> None:
        """A path of exactly the longest length is used; one byte more, and it is not."""
        rest = len("/tmp//.twistedp2p/control.sock")
        for name in ("é" + "x" * (SOCKET_PATH_BYTES - rest - 2), "x" * (SOCKET_PATH_BYTES - rest)):
            path = self.home.control_socket(Path("/tmp") / name)
            self.assertEqual(len(os.fsencode(path)), SOCKET_PATH_BYTES)
            self.assertTrue(path.startswith(f"/tmp/{name}/"))
            self.assertFalse(self.home.control_socket(Path("/tmp") / f"{name}x").startswith(f"/tmp/{name}"))

    def test_in_home(self) -> None:
        """For a long path it is in the state folder, another one for each folder, the same each time."""
        home = Home(Path(tempfile.mkdtemp(prefix="p2p-", dir="/tmp")))
        self.addCleanup(shutil.rmtree, home.path)
        one, two = (self.base / ("x" * 200) / name for name in "ab")
        self.assertEqual(home.control_socket(one), Home(home.path).control_socket(one))
        self.assertEqual(os.path.dirname(home.control_socket(one)), str(home.path / "sockets"))
        self.assertNotEqual(home.control_socket(one), home.control_socket(two))

    def test_of_a_folder_that_can_only_be_read(self) -> None:
        """It is in the state folder, and found there; when the folder can be written to again, it is in the folder."""
        home = Home(Path(tempfile.mkdtemp(prefix="p2p-", dir="/tmp")))
        self.addCleanup(shutil.rmtree, home.path)
        folder = Path("/tmp/some folder")
        inside = home.new_control_socket(folder, writable=True)
        self.assertEqual(inside, "/tmp/some folder/.twistedp2p/control.sock")
        self.assertEqual(home.control_socket(folder), inside)
        outside = home.new_control_socket(folder, writable=False)
        self.assertEqual(os.path.dirname(outside), str(home.path / "sockets"))
        self.assertEqual(home.control_socket(folder), inside)
        for left in (outside, f"{outside}.lock"):
            os.symlink("nowhere", left)
        self.assertEqual(home.control_socket(folder), outside)
        self.assertEqual(home.new_control_socket(folder, writable=True), inside)
        self.assertEqual((home.control_socket(folder), os.listdir(home.path / "sockets")), (inside, []))

    def test_both_long(self) -> None:
        """If the state folder's path is too long as well, it is in a folder of /tmp that is ours alone."""
        home = Home(self.base / ("y" * 100))
        path = home.control_socket(self.base / ("x" * 100))
        self.assertLessEqual(len(path), SOCKET_PATH_BYTES)
        folder = os.lstat(os.path.dirname(path))
        self.assertEqual((folder.st_uid, stat.S_IMODE(folder.st_mode)), (os.geteuid(), 0o700))

    def test_open_temporary_folder(self) -> None:
        """A folder of /tmp that others may use is refused."""
        for name, mode in (("shared", 0o777), ("readable", 0o750)):
            (self.base / name).mkdir()
            (self.base / name).chmod(mode)
            self.assertRaises(HomeUnusable, _private_temporary, str(self.base / name))
        (self.base / "link").symlink_to(self.folder)
        self.assertRaises(HomeUnusable, _private_temporary, str(self.base / "link"))
