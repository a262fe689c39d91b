"""The state folder: the mark says that the shared folder is really there."""

from __future__ import annotations

import os
import shutil

from tests.peer.folder.shared import FolderTestCase
from twistedp2p.errors import FolderBusy, FolderUnusable
from twistedp2p.peer.folder import mark


class MarkTests(FolderTestCase):
    """What is in the state folder, and what its absence means."""

    def test_a_new_folder_gets_a_private_state(self) -> None:
        """The state folder and its folders are closed to others; the mark can be read back."""
        self.assertEqual((self.root / ".twistedp2p").stat().st_mode & 0o777, 0o700)
        self.assertEqual(sorted(os.listdir(self.root / ".twistedp2p")), ["mark", "parts", "trash"])
        self.assertEqual(mark.require(self.disk), b"the mark")
        self.assertTrue(mark.has_mark(self.disk))

    def test_the_same_mark_again_is_fine(self) -> None:
        """Making the folder a member twice changes nothing; of another share it can not be made one."""
        mark.create(self.disk, b"the mark")
        with self.assertRaisesRegex(FolderUnusable, "another share"):
            mark.create(self.disk, b"other")
        self.assertEqual(mark.require(self.disk), b"the mark")
        self.assertEqual(sorted(os.listdir(self.root / ".twistedp2p")), ["mark", "parts", "trash"])

    def test_a_creation_cut_short_is_taken_up_again(self) -> None:
        """What a crash in the midst of making the mark left is replaced."""
        (self.root / ".twistedp2p/mark").rename(self.root / ".twistedp2p/mark.new")
        mark.create(self.disk, b"new mark")
        self.assertEqual(mark.require(self.disk), b"new mark")

    def test_without_mark_the_folder_is_unusable(self) -> None:
        """A missing mark asks whether the disk is mounted."""
        shutil.rmtree(self.root / ".twistedp2p")
        self.assertFalse(mark.has_mark(self.disk))
        with self.assertRaisesRegex(FolderUnusable, "not mounted"):
            mark.require(self.disk)

    def test_a_moved_folder_is_unusable(self) -> None:
        """A folder that is not at its path any more is not synchronised, though the mark is in it."""
        moved = self.root.with_name(self.root.name + "-moved")
        self.root.rename(moved)
        self.addCleanup(moved.rename, self.root)
        with self.assertRaisesRegex(FolderUnusable, "moved"):
            mark.require(self.disk)

    def test_a_state_folder_that_is_a_link_is_refused(self) -> None:
        """The state is never kept where a link leads."""
        (self.root / ".twistedp2p").rename(self.root / "elsewhere")
        (self.root / ".twistedp2p").symlink_to("elsewhere")
        self.assertRaises(FolderUnusable, mark.require, self.disk)
        self.assertRaises(FolderUnusable, mark.create, self.disk, b"the mark")
        self.assertRaises(FolderUnusable, mark.lock, self.disk)

    def test_one_process_serves_a_folder(self) -> None:
        """While the folder is locked it is busy for others; then not any more."""
        held = mark.lock(self.disk)
        with self.assertRaisesRegex(FolderBusy, "Another process"):
            mark.lock(self.disk)
        held.release()
        mark.lock(self.disk).release()
