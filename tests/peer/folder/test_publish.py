"""Steps that change the folder: nothing is lost, whoever saves at the same moment."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from attrs import evolve

from tests.peer.folder.shared import FolderTestCase
from twistedp2p.disk import syscalls
from twistedp2p.disk.real import RealDisk, RealFile
from twistedp2p.disk.seam import Name
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.names import signature_of
from twistedp2p.peer.folder.publish import Displaced, Obstacle, Publisher, Replaced
from twistedp2p.peer.values import Signature

MTIME = 1_600_000_000_000_000_000


class PlaceTests(FolderTestCase):
    """Putting a file where nothing is."""

    def test_a_new_file_is_complete_when_it_appears(self) -> None:
        """Content, mtime and x bit are as asked for, and the signature is that of the disk."""
        result = self.publisher.place_new(self.part(b"#!"), RelPath("run"), executable=True, mtime_ns=MTIME)
        assert isinstance(result, Signature)
        self.assertEqual(result, signature_of(self.disk.stat((b"run",))))
        self.assertEqual((result.executable, result.mtime_ns, result.size), (True, MTIME, 2))
        self.assertEqual(self.tree(), {"run": b"#!"})
        self.assertEqual(os.listdir(self.root / ".twistedp2p/parts"), [])

    def test_the_x_bit_follows_the_right_to_read(self) -> None:
        """Who may not read a file gets no right to run it."""
        part = self.part(b"1")
        os.chmod(self.root / ".twistedp2p/parts" / part[-1].decode(), 0o640)
        self.publisher.place_new(part, RelPath("run"), executable=True)
        self.assertEqual((self.root / "run").stat().st_mode & 0o777, 0o750)

    def test_what_is_there_is_never_replaced(self) -> None:
        """A file, a folder, a link at the name: each is told apart, and the part stays."""
        self.save("file")
        (self.root / "folder").mkdir()
        (self.root / "link").symlink_to("nowhere")
        part = self.part(b"theirs")
        results = [self.publisher.place_new(part, RelPath(name)) for name in ("file", "folder", "link", "no/where")]
        self.assertEqual(results, [Obstacle.OCCUPIED, Obstacle.FOLDER, Obstacle.FOREIGN, Obstacle.NO_PARENT])
        self.assertEqual(self.content(part), b"theirs")
        self.assertEqual(self.tree()["file"], b"mine")

    def test_a_file_above_is_no_parent(self) -> None:
        """A path below a file, or below a link, can not be published."""
        self.save("file")
        (self.root / "link").symlink_to("/tmp")
        part = self.part(b"theirs")
        self.assertIs(self.publisher.place_new(part, RelPath("file/x")), Obstacle.NO_PARENT)
        self.assertIs(self.publisher.place_new(part, RelPath("link/x")), Obstacle.NO_PARENT)
        self.assertIs(self.publisher.replace(part, RelPath("file/x"), self.trash_name()), Obstacle.NO_PARENT)
        self.assertIs(self.publisher.make_folder(RelPath("file/x")), Obstacle.OCCUPIED)
        self.assertIs(self.publisher.make_folder(RelPath("link/x")), Obstacle.FOREIGN)

    def test_names_of_any_kind(self) -> None:
        """Line breaks, spaces and an empty content are published like any other."""
        for name in ("a\nb", " ", "\u00e9", "-rf", "x" * 255):
            result = self.publisher.place_new(self.part(b""), RelPath(name))
            assert isinstance(result, Signature)
        self.assertEqual(set(self.tree().values()), {b""})
        self.assertEqual(len(self.tree()), 5)

    def test_a_folder_stored_decomposed_is_found(self) -> None:
        """A path is published into the folder that has it in another Unicode form on this disk."""
        (self.root / "e\u0301").mkdir()
        self.names.learn(RelPath("\u00e9"), "e\u0301".encode())
        self.publisher.place_new(self.part(b"1"), RelPath("\u00e9/f"))
        self.assertEqual(self.tree(), {"e\u0301": None, "e\u0301/f": b"1"})


class ReplaceTests(FolderTestCase):
    """Putting a file in place of another."""

    def test_the_old_file_goes_to_the_trash(self) -> None:
        """The new one is in place with the old one's permissions, the old one in the trash with its signature."""
        old = self.save("file")
        old.chmod(0o600)
        before = signature_of(self.disk.stat((b"file",)))
        trash = self.trash_name()
        result = self.publisher.replace(self.part(b"theirs"), RelPath("file"), trash, executable=True, mtime_ns=MTIME)
        assert isinstance(result, Replaced)
        self.assertEqual(result.displaced, before)
        self.assertEqual(result.signature, signature_of(self.disk.stat((b"file",))))
        self.assertEqual((self.tree(), self.content(trash)), ({"file": b"theirs"}, b"mine"))
        self.assertEqual(old.stat().st_mode & 0o777, 0o700)

    def test_a_staged_file_is_exchanged(self) -> None:
        """What was moved to the trash name before is put in place from there."""
        self.save("file")
        trash = self.trash_name()
        staged = self.publisher.stage(self.part(b"theirs"), trash)
        self.assertEqual((staged, self.content(trash)), (trash, b"theirs"))
        self.assertIsInstance(self.publisher.replace(staged, RelPath("file"), trash), Replaced)
        self.assertEqual((self.tree(), self.content(trash)), ({"file": b"theirs"}, b"mine"))

    def test_obstacles_change_nothing(self) -> None:
        """Nothing, a folder or a link at the name: told apart; the part stays where it is."""
        (self.root / "folder").mkdir()
        (self.root / "link").symlink_to("nowhere")
        part = self.part(b"theirs")
        results = [
            self.publisher.replace(part, RelPath(name), self.trash_name()) for name in ("none", "folder", "link")
        ]
        self.assertEqual(results, [Obstacle.GONE, Obstacle.FOLDER, Obstacle.FOREIGN])
        self.assertEqual(self.content(part), b"theirs")

    def test_a_file_removed_in_the_last_moment(self) -> None:
        """A removal just before the exchange leaves the part where it was, and nothing in the trash."""
        file = self.save("file")
        part, trash = self.part(b"theirs"), self.trash_name()
        self.disk.before["exchange"] = file.unlink
        self.assertIs(self.publisher.replace(part, RelPath("file"), trash), Obstacle.GONE)
        self.assertEqual(self.content(part), b"theirs")
        self.assertRaises(FileNotFoundError, self.disk.stat, trash)

    def test_a_folder_put_there_in_the_last_moment(self) -> None:
        """A folder that takes the place of the file just before the exchange is given back with all that is in it."""
        file = self.save("file")
        part = self.part(b"theirs")

        def swap() -> None:
            file.unlink()
            self.save("file/inside")

        self.disk.before["exchange"] = swap
        self.assertIs(self.publisher.replace(part, RelPath("file"), self.trash_name()), Obstacle.FOLDER)
        self.assertEqual(self.tree(), {"file": None, "file/inside": b"mine"})
        self.assertEqual(self.content(part), b"theirs")

    def test_a_save_in_the_last_moment_is_in_the_trash(self) -> None:
        """A save between look and exchange is displaced whole, and its signature tells that it is another."""
        file = self.save("file")
        before = signature_of(self.disk.stat((b"file",)))
        trash = self.trash_name()

        def save() -> None:
            os.replace(self.save("save~", b"saved"), file)

        self.disk.before["exchange"] = save
        result = self.publisher.replace(self.part(b"theirs"), RelPath("file"), trash)
        assert isinstance(result, Replaced)
        self.assertNotEqual(result.displaced, before)
        self.assertEqual((self.tree(), self.content(trash)), ({"file": b"theirs"}, b"saved"))

    def test_a_failing_disk_puts_the_part_back(self) -> None:
        """An error of the exchange leaves the file in place and the part where it was."""
        self.save("file")
        part, trash = self.part(b"theirs"), self.trash_name()

        def fail() -> None:
            raise OSError(5, "Input/output error")

        self.disk.before["exchange"] = fail
        self.assertRaises(OSError, self.publisher.replace, part, RelPath("file"), trash)
        self.assertEqual((self.tree(), self.content(part)), ({"file": b"mine"}, b"theirs"))


class WithoutExchangeTests(FolderTestCase):
    """A file system that can not exchange two names."""

    def setUp(self) -> None:
        super().setUp()
        self.publisher = Publisher(self.disk, self.names, evolve(self.disk.probe(mark.PARTS), exchange=False))

        def refuse() -> None:
            raise AssertionError("no exchange here")

        self.disk.before["exchange"] = refuse

    def test_replaces_by_displacing(self) -> None:
        """The old file goes to the trash first, then the new one is put in place."""
        self.save("file")
        part, trash = self.part(b"theirs"), self.trash_name()
        self.assertEqual(self.publisher.stage(part, trash), part)
        result = self.publisher.replace(part, RelPath("file"), trash, mtime_ns=MTIME)
        assert isinstance(result, Replaced)
        self.assertEqual(result.signature, signature_of(self.disk.stat((b"file",))))
        self.assertEqual((self.tree(), self.content(trash)), ({"file": b"theirs"}, b"mine"))

    def test_a_save_in_the_gap_stays(self) -> None:
        """Who saves while the name is free keeps the name; the old file is in the trash, the part where it was."""
        self.save("file")
        part, trash = self.part(b"theirs"), self.trash_name()

        def save_after_next() -> None:
            self.disk.before["rename"] = lambda: self.save("file", b"saved")

        self.disk.before["rename"] = save_after_next
        result = self.publisher.replace(part, RelPath("file"), trash)
        self.assertIsInstance(result, Displaced)
        self.assertEqual((self.tree(), self.content(trash)), ({"file": b"saved"}, b"mine"))
        self.assertEqual(self.content(part), b"theirs")


class RemoveTests(FolderTestCase):
    """Moving files to the trash, and elsewhere."""

    def test_a_removed_file_is_in_the_trash(self) -> None:
        """It is gone from the folder, whole in the trash, and its signature is told."""
        self.save("file")
        before = signature_of(self.disk.stat((b"file",)))
        trash = self.trash_name()
        self.assertEqual(self.publisher.remove(RelPath("file"), trash), Displaced(before))
        self.assertEqual((self.tree(), self.content(trash)), ({}, b"mine"))

    def test_obstacles(self) -> None:
        """Nothing, a folder, a link: told apart and left."""
        (self.root / "folder").mkdir()
        (self.root / "link").symlink_to("nowhere")
        results = [self.publisher.remove(RelPath(name), self.trash_name()) for name in ("none", "folder", "link")]
        self.assertEqual(results, [Obstacle.GONE, Obstacle.FOLDER, Obstacle.FOREIGN])
        self.assertTrue((self.root / "link").is_symlink())

    def test_a_folder_put_there_in_the_last_moment_is_given_back(self) -> None:
        """A folder that is moved to the trash by mistake comes back as it was."""
        file = self.save("file")

        def swap() -> None:
            file.unlink()
            self.save("file/inside")

        self.disk.before["rename"] = swap
        self.assertIs(self.publisher.remove(RelPath("file"), self.trash_name()), Obstacle.FOLDER)
        self.assertEqual(self.tree(), {"file": None, "file/inside": b"mine"})

    def test_moves_what_is_expected(self) -> None:
        """A rename keeps the inode, the mtime and the x bit: nothing is copied."""
        self.save("old")
        before = signature_of(self.disk.stat((b"old",)))
        self.publisher.make_folder(RelPath("d"))
        result = self.publisher.move(RelPath("old"), RelPath("d/new"), self.trash_name(), before)
        self.assertEqual(result, before)
        self.assertEqual(before, signature_of(self.disk.stat((b"d", b"new"))))
        self.assertEqual(self.tree(), {"d": None, "d/new": b"mine"})

    def test_does_not_move_onto_something(self) -> None:
        """A target that is taken, or a source that changed, leaves both files in place."""
        self.save("old", b"1")
        self.save("new", b"2")
        before = signature_of(self.disk.stat((b"old",)))
        move = self.publisher.move
        self.assertIs(move(RelPath("old"), RelPath("new"), self.trash_name(), before), Obstacle.OCCUPIED)
        self.save("old", b"changed")
        self.assertIs(move(RelPath("old"), RelPath("other"), self.trash_name(), before), Obstacle.CHANGED)
        self.assertIs(move(RelPath("none"), RelPath("other"), self.trash_name(), before), Obstacle.GONE)
        self.assertEqual(self.tree(), {"old": b"changed", "new": b"2"})

    def test_a_save_while_moving_loses_nothing(self) -> None:
        """If somebody saves at the old name while the file is on its way back, it lies in the trash."""
        self.save("old", b"1")
        self.save("new", b"2")
        before = signature_of(self.disk.stat((b"old",)))
        trash = self.trash_name()

        def at_the_second() -> None:
            self.disk.before["rename"] = lambda: self.save("old", b"saved")

        self.disk.before["rename"] = at_the_second
        result = self.publisher.move(RelPath("old"), RelPath("new"), trash, before)
        self.assertEqual(result, Displaced(before))
        self.assertEqual(self.tree(), {"old": b"saved", "new": b"2"})
        self.assertEqual(self.content(trash), b"1")


class FolderStepsTests(FolderTestCase):
    """Making and removing folders, and the x bit."""

    def test_makes_missing_parents(self) -> None:
        """All folders that were missing are made and told, the top one first."""
        (self.root / "a").mkdir()
        self.assertEqual(self.publisher.make_folder(RelPath("a/b/c")), [RelPath("a/b"), RelPath("a/b/c")])
        self.assertEqual(self.publisher.make_folder(RelPath("a/b/c")), [])
        self.assertEqual(self.tree(), {"a": None, "a/b": None, "a/b/c": None})

    def test_a_file_where_a_folder_should_be(self) -> None:
        """A file or link in the way of a folder is told and left."""
        self.save("file")
        (self.root / "link").symlink_to("/tmp")
        self.assertIs(self.publisher.make_folder(RelPath("file")), Obstacle.OCCUPIED)
        self.assertIs(self.publisher.make_folder(RelPath("link")), Obstacle.FOREIGN)
        self.assertIs(self.publisher.remove_folder(RelPath("file")), Obstacle.OCCUPIED)
        self.assertIs(self.publisher.remove_folder(RelPath("link")), Obstacle.FOREIGN)

    def test_only_an_empty_folder_is_removed(self) -> None:
        """A folder with something in it stays; an empty one goes; one that is gone is gone."""
        self.save("d/file")
        self.assertIs(self.publisher.remove_folder(RelPath("d")), False)
        (self.root / "d/file").unlink()
        self.assertIs(self.publisher.remove_folder(RelPath("d")), True)
        self.assertIs(self.publisher.remove_folder(RelPath("d")), True)
        self.assertIs(self.publisher.remove_folder(RelPath("d/e")), True)
        self.assertEqual(self.tree(), {})

    def test_the_x_bit_is_set_and_cleared(self) -> None:
        """Only the x bits change, and only of the file that is expected."""
        file = self.save("file")
        file.chmod(0o640)
        before = signature_of(self.disk.stat((b"file",)))
        result = self.publisher.set_executable(RelPath("file"), True, before)
        self.assertEqual(result, evolve(before, executable=True))
        self.assertEqual(file.stat().st_mode & 0o777, 0o750)
        self.assertIs(self.publisher.set_executable(RelPath("file"), False, before), Obstacle.CHANGED)
        self.assertIs(self.publisher.set_executable(RelPath("none"), False, before), Obstacle.GONE)
        (self.root / "link").symlink_to("file")
        self.assertIs(self.publisher.set_executable(RelPath("link"), False, before), Obstacle.FOREIGN)
        self.assertEqual(file.stat().st_mode & 0o777, 0o750)

    def test_a_users_chmod_at_the_same_moment_is_seen(self) -> None:
        """The signature that is returned is ours: a chmod right after it does not pass for what we did."""
        file = self.save("file")
        file.chmod(0o644)
        before = signature_of(self.disk.stat((b"file",)))

        class RacedFile(RealFile):
            def set_mode(self, mode: int) -> None:
                super().set_mode(mode)
                file.chmod(0o644)

        class RacedDisk(RealDisk):
            def open(self, name: Name) -> RealFile:
                return RacedFile(os.open(file, os.O_RDONLY))

        disk = RacedDisk(os.fsencode(self.root))
        self.addCleanup(disk.close)
        publisher = Publisher(disk, self.names, disk.probe(mark.PARTS))
        result = publisher.set_executable(RelPath("file"), True, before)
        self.assertNotEqual(result, signature_of(self.disk.stat((b"file",))))

    def test_sync_flushes_what_was_touched(self) -> None:
        """Each folder whose names changed is flushed once; for many, the whole file system is."""
        self.publisher.make_folder(RelPath("a"))
        self.publisher.place_new(self.part(b"1"), RelPath("a/f"))
        self.disk.synced.clear()
        self.publisher.sync()
        self.assertEqual(self.disk.synced, [(), mark.PARTS, (b"a",)])
        self.publisher.sync()
        self.assertEqual(len(self.disk.synced), 3)
        for number in range(20):
            self.publisher.make_folder(RelPath(f"d{number}"))
        self.publisher.sync()
        self.assertEqual(self.disk.synced[3:], [(b"*",)])


class RaceTests(FolderTestCase):
    """A program saves all the time while versions of others are published at the same name."""

    def check_and_rename(self, source: Name, path: Path) -> None:
        """Publish as it must not be done: look, then replace."""
        if path.is_file():
            self.save_in_between()
            os.replace(self.root.joinpath(*(part.decode() for part in source)), path)

    def save_in_between(self) -> None:
        """Save as a program does: a new file, renamed over the old one."""
        os.replace(self.save("save~", b"precious"), self.root / "file")

    def test_the_harness_sees_a_loss(self) -> None:
        """Publishing by check and rename loses a save that comes in between; so these tests are not blind."""
        self.save("file")
        self.check_and_rename(self.part(b"theirs"), self.root / "file")
        self.assertNotIn(b"precious", self.everything())

    def test_the_same_save_survives_an_exchange(self) -> None:
        """The save that the other way loses is in the trash."""
        self.save("file")
        self.disk.before["exchange"] = self.save_in_between
        self.publisher.replace(self.part(b"theirs"), RelPath("file"), self.trash_name())
        self.assertIn(b"precious", self.everything())

    def test_no_save_is_lost_in_a_race(self) -> None:
        """Of hundreds of saves each is in place, in the trash, or was overwritten by the same program."""
        self.save("file", b"user -1")
        overwritten: list[bytes] = []
        stop = threading.Event()
        saved = 0

        def save_on() -> None:
            nonlocal saved
            fd = os.open(self.root, os.O_RDONLY)
            while not stop.is_set():
                save = self.save("save~", b"user %d" % saved)
                try:
                    # By exchange, so that the program itself knows what it overwrote.
                    syscalls.renameat2(fd, b"save~", fd, b"file", syscalls.RENAME_EXCHANGE)
                except FileNotFoundError:
                    save.rename(self.root / "file")
                else:
                    overwritten.append(save.read_bytes())
                saved += 1
            os.close(fd)

        program = threading.Thread(target=save_on)
        program.start()
        try:
            for number in range(400):
                part = self.part(b"theirs %d" % number)
                self.assertIsInstance(self.publisher.replace(part, RelPath("file"), self.trash_name()), Replaced)
        finally:
            stop.set()
            program.join()
        left = {*self.everything(), *overwritten}
        self.assertEqual([n for n in range(-1, saved) if b"user %d" % n not in left], [])
        self.assertGreater(saved, 0)

    def everything(self) -> set[bytes]:
        """Return every content in the folder and in its trash."""
        return {there.read_bytes() for there in self.root.rglob("*") if there.is_file()}
