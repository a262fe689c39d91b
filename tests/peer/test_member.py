"""A folder as a member: which share it belongs to, who it is, and when it must begin anew."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadInvite, FolderBusy, FolderUnusable, KeyUnusable, TwistedP2PError
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions

TRACKER = TrackerAddress("127.0.0.1", 7, b"t" * 16)
OTHER_TRACKER = TrackerAddress("127.0.0.1", 8, b"u" * 16)
INVITE = Invite(b"s" * 16, (TRACKER,))
STRANGE_INVITE = Invite(b"z" * 16, (TRACKER,))


class PowerCut(Exception):
    """The process ends here."""


class MemberTestCase(SynchronousTestCase):
    """A home and folders of a person, in a temporary place."""

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="tp2p-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.home = Home(self.base / "home")
        self.folder = self.base / "folder"

    def member(self, folder: Path | None = None, **options: Any) -> Member:
        """Return an unopened member."""
        return Member(PeerOptions(folder or self.folder, options.pop("home", self.home), **options))

    def opened(self, folder: Path | None = None, **options: Any) -> Member:
        """Return an opened member, closed when the test ends."""
        member = self.member(folder, **options)
        member.open()
        self.addCleanup(member.close)
        return member

    def refusal(self, kind: type[TwistedP2PError], folder: Path | None = None, **options: Any) -> str:
        """Open a member that can not be opened, and return the sentence; the folder must be free after that."""
        member = self.member(folder, **options)
        error = self.assertRaises(kind, member.open)
        descriptors = os.listdir("/proc/self/fd")
        self.assertRaises(kind, self.member(folder, **options).open)
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(descriptors), "a descriptor is left open")
        return str(error)


class ShareTests(MemberTestCase):
    """Beginning a share, joining one, going on with one."""

    def test_begin(self) -> None:
        """A new share has a secret of its own, the tracker that was named, and a private file with its invite."""
        first = self.opened(tracker=TRACKER)
        second = self.opened(self.base / "second", new_share=True, tracker=TRACKER)
        self.assertEqual(first.invite.trackers, (TRACKER,))
        self.assertNotEqual(first.keys.share_id, second.keys.share_id)
        self.assertEqual(Invite.parse((self.folder / ".twistedp2p/invite").read_text()), first.invite)
        self.assertEqual((self.folder / ".twistedp2p/invite").stat().st_mode & 0o777, 0o600)
        self.assertEqual([kept.share_id for kept in self.home.members()], [first.keys.share_id, second.keys.share_id])

    def test_begin_with_a_tracker_of_this_process(self) -> None:
        """The address of the tracker in this process is asked for only when a share begins."""
        asked: list[int] = []

        def own_tracker() -> TrackerAddress:
            asked.append(1)
            return OTHER_TRACKER

        for _ in range(2):
            member = self.member()
            member.open(own_tracker)
            member.close()
            self.assertEqual((member.invite.trackers, asked), ((OTHER_TRACKER,), [1]))

    def test_begin_without_a_tracker(self) -> None:
        """With no tracker to be found nothing is begun, and the sentence says how to get one."""
        self.assertIn("twistd -n tracker", self.refusal(TwistedP2PError))
        self.assertFalse((self.folder / ".twistedp2p/mark").exists())
        self.assertEqual(self.home.members(), [])

    def test_join(self) -> None:
        """An invite admits to its share, also with a folder that has files already."""
        self.folder.mkdir()
        (self.folder / "letter").write_bytes(b"Dear Ben")
        member = self.opened(invite=INVITE)
        self.assertEqual((member.invite, member.keys.share_id), (INVITE, INVITE.keys().share_id))
        self.assertEqual((self.folder / "letter").read_bytes(), b"Dear Ben")

    def test_go_on(self) -> None:
        """A member needs no options the next time, and keeps its key."""
        first = self.opened(invite=INVITE)
        first.close()
        again = self.opened()
        self.assertEqual((again.invite, again.key.node_id), (INVITE, first.key.node_id))

    def test_the_default_share(self) -> None:
        """The first share that is begun without being named is the one that later folders join, if they are empty."""
        (self.base / "home/tracker").mkdir(parents=True)
        (self.base / "home/tracker/address").write_text(TRACKER.text())
        first = self.opened()
        second = self.opened(self.base / "second")
        self.assertEqual(second.invite, first.invite)
        full = self.base / "full"
        full.mkdir()
        (full / "letter").write_bytes(b"Dear Ben")
        sentence = self.refusal(FolderUnusable, full)
        self.assertIn("--join", sentence)
        self.assertIn("--new-share", sentence)
        third = self.opened(full, new_share=True)
        self.assertNotEqual(third.keys.share_id, first.keys.share_id)
        self.assertEqual(self.home.default_invite(), first.invite)

    def test_an_invite_of_another_share(self) -> None:
        """A member folder does not change its share, and keeps the invite that it has."""
        self.opened(invite=INVITE).close()
        self.assertIn("another share", self.refusal(BadInvite, invite=STRANGE_INVITE))
        self.assertIn("--new-share", self.refusal(FolderUnusable, new_share=True))
        self.assertEqual(self.opened().invite, INVITE)

    def test_other_trackers_of_the_share(self) -> None:
        """An invite of the same share, or a tracker that is named, brings other addresses, and they are kept."""
        self.opened(invite=INVITE).close()
        moved = Invite(INVITE.secret, (OTHER_TRACKER,))
        self.opened(invite=moved).close()
        self.assertEqual(self.member_invite(), moved)
        self.opened(tracker=TRACKER).close()
        self.assertEqual(self.member_invite(), INVITE)

    def member_invite(self) -> Invite:
        """Return the invite that the folder keeps."""
        member = self.opened()
        member.close()
        return member.invite

    def test_the_invite_is_written_where_it_is_wanted(self) -> None:
        """`invite_file` gets the invite, readable only by this person; where it can not be, a sentence says so."""
        self.opened(invite=INVITE, invite_file=self.base / "invite").close()
        self.assertEqual(Invite.parse((self.base / "invite").read_text()), INVITE)
        self.assertEqual((self.base / "invite").stat().st_mode & 0o777, 0o600)
        sentence = self.refusal(FolderUnusable, invite_file=self.base / "nowhere/invite")
        self.assertIn("nowhere/invite", sentence)


class AccessTests(MemberTestCase):
    """Folders that can not be served now."""

    def test_busy(self) -> None:
        """One process serves a folder; once it is closed another may."""
        first = self.opened(invite=INVITE)
        self.refusal(FolderBusy)
        first.close()
        first.close()
        self.opened()

    def test_no_mark(self) -> None:
        """A member without its mark may be a disk that is not mounted: nothing is made there."""
        self.opened(invite=INVITE).close()
        away = self.folder.rename(self.base / "away")
        self.assertIn("mounted", self.refusal(FolderUnusable))
        self.folder.mkdir()
        self.assertIn("mounted", self.refusal(FolderUnusable, invite=INVITE))
        self.assertEqual(os.listdir(self.folder), [])
        self.folder.rmdir()
        away.rename(self.folder)
        self.opened()

    def test_a_renamed_folder(self) -> None:
        """A member that was renamed is the same one: same key, same index."""
        first = self.opened(invite=INVITE)
        index = first.open_index()
        rid = index.rid
        index.close()
        first.close()
        renamed = self.opened(self.folder.rename(self.base / "renamed"))
        index = renamed.open_index()
        self.addCleanup(index.close)
        self.assertEqual((renamed.key.node_id, index.rid), (first.key.node_id, rid))

    def test_the_folder_is_a_file(self) -> None:
        """What is no folder is refused with its path."""
        self.folder.write_bytes(b"")
        self.assertIn(str(self.folder), self.refusal(FolderUnusable, invite=INVITE))

    def test_the_state_is_a_file(self) -> None:
        """A file in the place of the state folder is named, and the folder is let go."""
        self.folder.mkdir()
        (self.folder / ".twistedp2p").write_bytes(b"")
        self.assertIn("move it away", self.refusal(FolderUnusable, invite=INVITE))

    def test_damaged_secrets(self) -> None:
        """An invite or a key that is damaged, or no file, is a sentence, not a traceback."""
        self.opened(invite=INVITE).close()
        state = self.folder / ".twistedp2p"
        for name, kind in (("invite", BadInvite), ("key.pem", KeyUnusable)):
            kept = (state / name).read_bytes()
            (state / name).write_bytes(b"\xff\xfe\x00")
            self.refusal(kind)
            (state / name).unlink()
            (state / name).mkdir()
            self.assertIn(name, self.refusal(FolderUnusable if name == "invite" else kind))
            (state / name).rmdir()
            (state / name).write_bytes(kept)
        self.opened()

    def test_a_lost_invite(self) -> None:
        """Without the share's secret the sentence says where it can be had."""
        self.opened(invite=INVITE).close()
        (self.folder / ".twistedp2p/invite").unlink()
        self.assertIn("twistedp2p invite", self.refusal(FolderUnusable))


class SettingsTests(MemberTestCase):
    """What is kept for a folder."""

    def test_kept(self) -> None:
        """A setting is there the next time; another one does not touch it."""
        member = self.opened(invite=INVITE)
        self.assertIsNone(member.setting("peer_port"))
        member.keep_setting("peer_port", 17)
        member.keep_setting("other", "x")
        member.close()
        again = self.opened()
        self.assertEqual((again.setting("peer_port"), again.setting("other")), (17, "x"))

    def test_damaged(self) -> None:
        """Damaged settings are as none at all, and are replaced."""
        member = self.opened(invite=INVITE)
        path = self.folder / ".twistedp2p/settings.json"
        for damaged in (b"{", b"[1]", b"\xff"):
            path.write_bytes(damaged)
            self.assertIsNone(member.setting("peer_port"))
            member.keep_setting("peer_port", 17)
            self.assertEqual(json.loads(path.read_text()), {"peer_port": 17})


class IdentityTests(MemberTestCase):
    """Copies and old states of an index must not go on under their old name."""

    def run_once(self, folder: Path | None = None, **options: Any) -> tuple[bytes, bytes]:
        """Open a member and its index, close both, and return (node id, replica id)."""
        member = self.opened(folder, **options)
        try:
            index = member.open_index()
            try:
                return member.key.node_id, index.rid
            finally:
                index.close()
        finally:
            member.close()

    def test_the_same_each_time(self) -> None:
        """A folder that is served again and again stays who it is."""
        first = self.run_once(invite=INVITE)
        self.assertEqual([self.run_once() for _ in range(3)], [first] * 3)

    def test_a_copy(self) -> None:
        """A copy of a member folder gets a key and an index of its own; the original goes on."""
        first = self.run_once(invite=INVITE)
        shutil.copytree(self.folder, self.base / "copy")
        copied = self.run_once(self.base / "copy")
        self.assertNotEqual(copied[0], first[0])
        self.assertNotEqual(copied[1], first[1])
        self.assertEqual(self.run_once(), first)
        self.assertEqual(self.run_once(self.base / "copy"), copied)

    def test_a_restored_index(self) -> None:
        """A backup of the index from before the last start is an old one, and begins anew under a new key."""
        first = self.run_once(invite=INVITE)
        shutil.copytree(self.folder / ".twistedp2p", self.base / "backup")
        self.run_once()
        shutil.copytree(self.base / "backup", self.folder / ".twistedp2p", dirs_exist_ok=True)
        restored = self.run_once()
        self.assertNotEqual(restored[0], first[0])
        self.assertNotEqual(restored[1], first[1])

    def test_an_unknown_home(self) -> None:
        """A folder that this person's state folder does not know may be a copy from another machine."""
        first = self.run_once(invite=INVITE)
        moved = self.run_once(home=Home(self.base / "other home"))
        self.assertNotEqual(moved[0], first[0])
        self.assertNotEqual(moved[1], first[1])

    def test_a_lost_index(self) -> None:
        """An index that was removed is a new one; the device stays the same."""
        first = self.run_once(invite=INVITE)
        for file in (self.folder / ".twistedp2p").glob("index.sqlite*"):
            file.unlink()
        again = self.run_once()
        self.assertEqual(again[0], first[0])
        self.assertNotEqual(again[1], first[1])

    def test_an_index_of_another_share(self) -> None:
        """An index that was put here from another share is begun anew."""
        strange = self.run_once(self.base / "strange", invite=STRANGE_INVITE)
        first = self.run_once(invite=INVITE)
        shutil.copy(self.base / "strange/.twistedp2p/index.sqlite", self.folder / ".twistedp2p/index.sqlite")
        again = self.run_once()
        self.assertNotIn(again[1], (first[1], strange[1]))
        self.assertEqual(self.run_once(), again)

    def test_a_crash_between_the_two_stamps(self) -> None:
        """The index has the new stamp and the state folder still the old one: that is no accident, once or twice."""
        first = self.run_once(invite=INVITE)

        class CutShort(Home):
            def set_stamp(self, folder: Path, stamp: bytes) -> None:
                raise PowerCut

        for _ in range(2):
            member = self.opened(home=CutShort(self.home.path))
            self.assertRaises(PowerCut, member.open_index)
            member.close()
        self.assertEqual(self.run_once(), first)


class UnwritableTests(MemberTestCase):
    """A folder that was shared before, and can only be read now."""

    def setUp(self) -> None:
        super().setUp()
        self.denied: OSError | None = None
        member = self.opened(invite=INVITE, name="anna")
        index = member.open_index()
        self.node, self.rid = member.key.node_id, index.rid
        index.close()
        member.close()
        self.state = self.folder / ".twistedp2p"

    def reader(self, **options: Any) -> Member:
        """Return an opened member of the folder, which can not be written to for as long as `denied` says so."""
        self.denied = PermissionError(13, "Permission denied")
        member = Member(PeerOptions(self.folder, self.home, **options), denied=lambda state: self.denied)
        member.open()
        self.addCleanup(member.close)
        return member

    def contents(self) -> dict[str, bytes]:
        """Return what the files of the state folder hold."""
        return {path.name: path.read_bytes() for path in self.state.iterdir() if path.is_file()}

    def test_nothing_is_written_to_it(self) -> None:
        """It is opened, by another name and with other trackers too, and its index serves; no file in it changes."""
        before = self.contents()
        member = self.reader(name="other", invite=Invite(INVITE.secret, (OTHER_TRACKER,)))
        self.assertIs(member.unwritable, self.denied)
        self.assertEqual(member.invite.trackers, (OTHER_TRACKER,))
        index = member.open_index()
        self.assertEqual((member.key.node_id, index.rid), (self.node, self.rid))
        index.epoch = b"e" * 16
        index.close()
        member.close()
        self.assertEqual(self.contents(), before)
        self.assertEqual(list((self.home.path / "read-only").iterdir()), [])

    def test_the_same_afterwards(self) -> None:
        """When it can be written to at the next start, it is the same peer, with the index of the start before."""
        member = self.reader()
        member.open_index().close()
        member.close()
        again = self.opened()
        index = again.open_index()
        self.addCleanup(index.close)
        self.assertEqual((again.unwritable, again.key.node_id, index.rid), (None, self.node, self.rid))

    def test_taken_back(self) -> None:
        """When it can be written to while it is served, what the index learnt meanwhile is in the folder."""
        member = self.reader()
        index = member.open_index()
        index.ignore_text = b"learnt"
        self.assertFalse(member.is_writable_again())
        self.denied = None
        self.assertTrue(member.is_writable_again())
        (self.state / "index.sqlite-wal").write_bytes(b"of the old one")
        index.close()
        member.take_back()
        self.assertIsNone(member.unwritable)
        index = member.open_index()
        self.assertEqual((index.rid, index.ignore_text), (self.rid, b"learnt"))
        index.close()
        member.close()
        self.assertEqual(list((self.home.path / "read-only").iterdir()), [])
        again = self.opened()
        index = again.open_index()
        self.addCleanup(index.close)
        self.assertEqual((again.key.node_id, index.rid, index.ignore_text), (self.node, self.rid, b"learnt"))

    def test_not_taken_back(self) -> None:
        """If the index can not be put back after all, the copy goes on to serve, and it is tried again later."""
        member = self.reader()
        member.open_index().close()
        moved = self.base / "state"
        self.state.rename(moved)
        member.take_back()
        moved.rename(self.state)
        self.assertIs(member.unwritable, self.denied)
        index = member.open_index()
        self.assertEqual(index.rid, self.rid)
        index.close()
        member.take_back()
        self.assertIsNone(member.unwritable)

    def test_what_a_killed_process_left(self) -> None:
        """A copy that was left when a process was killed is made anew."""
        killed = self.reader()
        index = killed.open_index()
        self.addCleanup(index.close)
        assert killed._lock is not None
        killed._lock.release()
        member = self.reader()
        found = member.open_index()
        self.addCleanup(found.close)
        self.assertEqual(found.rid, self.rid)
