"""`twistedp2p leave`: the share is forgotten, the files stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from click.testing import Result

from tests.cli.test_commands import FolderTestCase, run
from tests.cli.test_share_join import ShareJoinTestCase
from twistedp2p.cli.folders import having
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions

INVITE = Invite(bytes(range(16)), (TrackerAddress("192.0.2.7", 17411, bytes(16)),))


class LeaveTests(FolderTestCase):
    """A folder that no peer serves."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.base / "share"
        self.state = self.folder / ".twistedp2p"
        self.join()
        (self.folder / "letter").write_text("Dear Ben")

    def join(self) -> None:
        """Make the folder a member."""
        member = Member(PeerOptions(self.folder, self.home, invite=INVITE))
        member.open()
        member.open_index().close()
        member.close()

    def leave(self, *arguments: str, folder: Path | None = None) -> Result:
        """Run the command."""
        return run("leave", str(folder or self.folder), *arguments, "--home", str(self.home.path))

    def members(self) -> list[Path]:
        """Return the folders that the home knows."""
        return [member.folder for member in self.home.members()]

    def test_all_is_forgotten(self) -> None:
        """Key, secret and index are gone, the home has forgotten the folder, and its files are as they were."""
        result = self.leave("--yes")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertEqual(os.listdir(self.folder), ["letter"])
        self.assertEqual((self.folder / "letter").read_text(), "Dear Ben")
        self.assertNotIn(self.folder, self.members())
        self.assertIsNone(self.home.stamp(self.folder))

    def test_again(self) -> None:
        """A folder that was left is an ordinary one: it can not be left again, and can join again."""
        self.leave("--yes")
        result = self.leave("--yes")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("nothing to leave", result.stderr)
        self.join()
        self.assertIn(self.folder, self.members())

    def test_trash_is_kept(self) -> None:
        """What is in the trash stays, under a name that is never shared; a second time under another one."""
        for number, name in enumerate((".twistedp2p-trash", ".twistedp2p-trash-2")):
            (self.state / "trash" / "20260101").mkdir(parents=True)
            (self.state / "trash" / "20260101" / "1.old").write_text(str(number))
            result = self.leave("--yes")
            self.assertIn(str(self.folder / name), result.stdout)
            self.assertEqual((self.folder / name / "20260101" / "1.old").read_text(), str(number))
            self.join()

    def test_trash_is_deleted(self) -> None:
        """Only who says so loses the trash, and is told how much it is."""
        (self.state / "trash" / "1.old").write_text("old")
        result = self.leave("--yes", "--delete-trash")
        self.assertIn("1 file, 3 B", result.stderr)
        self.assertEqual(os.listdir(self.folder), ["letter"])

    def test_empty_trash(self) -> None:
        """An empty trash leaves nothing behind."""
        (self.state / "trash" / "20260101").mkdir(parents=True)
        self.leave("--yes")
        self.assertEqual(os.listdir(self.folder), ["letter"])

    def test_nobody_to_ask(self) -> None:
        """Where nobody can answer, nothing is done without --yes."""
        result = self.leave()
        self.assertEqual((result.exit_code, result.stderr.count("--yes")), (1, 1))
        self.assertTrue((self.state / "key.pem").exists())

    def test_not_there(self) -> None:
        """A folder that is not there any more can be forgotten."""
        shutil.rmtree(self.folder)
        result = self.leave("--yes")
        self.assertEqual(result.exit_code, 0)
        self.assertNotIn(self.folder, self.members())
        self.assertEqual(self.leave("--yes").exit_code, 1)

    def test_no_mark(self) -> None:
        """A member that has lost its mark can be left too."""
        (self.state / "mark").unlink()
        self.assertEqual(self.leave("--yes").exit_code, 0)
        self.assertEqual(os.listdir(self.folder), ["letter"])

    def test_interrupted(self) -> None:
        """A leave that was interrupted can be said again, whatever it had done already."""
        self.home.forget(self.folder)
        (self.state / "key.pem").unlink()
        self.assertEqual(self.leave("--yes").exit_code, 0)
        self.assertEqual(os.listdir(self.folder), ["letter"])

    def test_busy(self) -> None:
        """A folder that another process has, and that does not answer, is not touched."""
        with having(self.folder):
            result = self.leave("--yes")
        self.assertEqual(result.exit_code, 1)
        self.assertTrue((self.state / "key.pem").exists())
        self.assertIn(self.folder, self.members())

    def test_default_share(self) -> None:
        """The default invite of this person goes with the last folder of its share."""
        self.home.set_default_invite(INVITE)
        self.leave("--yes")
        self.assertIsNone(self.home.default_invite())

    def test_not_shared(self) -> None:
        """An ordinary folder, and one inside a shared folder, can not be left."""
        inside = self.folder / "inside"
        inside.mkdir()
        for folder in (self.base, inside):
            self.assertIn("nothing to leave", self.leave("--yes", folder=folder).stderr)
        self.assertTrue((self.state / "key.pem").exists())

    def test_asked(self) -> None:
        """A person at a terminal is asked, and nothing happens unless the answer is yes."""
        program = (
            "import os, pty, sys\n"
            "pid, terminal = pty.fork()\n"
            "if pid == 0: os.execv(sys.executable, [sys.executable, '-m', 'twistedp2p.cli', *sys.argv[2:]])\n"
            "os.write(terminal, sys.argv[1].encode() + b'\\n')\n"
            "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        )
        arguments = ["leave", str(self.folder), "--home", str(self.home.path)]
        for answer, there in (("n", True), ("y", False)):
            done = subprocess.run([sys.executable, "-c", program, answer, *arguments], check=False, timeout=60)
            self.assertEqual((done.returncode, self.state.exists()), (int(there), there))


class RunningTests(ShareJoinTestCase):
    """A folder that a peer serves."""

    def test_peer_ends(self) -> None:
        """The peer ends first; that its tracker ends with it is said."""
        share, invite = self.share()
        share.until("in sync")
        code, out, err = self.start("leave", str(self.one), "--yes").end()
        self.assertEqual((code, share.end()[0]), (0, 0), err)
        self.assertIn("The tracker of this share runs here", err)
        self.assertIn("belongs to no share", out)
        self.assertEqual(os.listdir(self.one), ["from one"])
        again, other = self.share()
        self.assertNotEqual(other, invite)
        again.end(15)
