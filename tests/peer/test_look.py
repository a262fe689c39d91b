"""Looking at the folder: what differs from the index is reported, and nothing that is only out of sight is missed."""

from __future__ import annotations

import os
import shutil

from tests.peer.bench import Bench, BenchTestCase, content_id
from twistedp2p.errors import FolderUnusable
from twistedp2p.peer.folder import mark
from twistedp2p.peer.looked import Looked
from twistedp2p.versions import Kind


def seen(looked: Looked) -> dict[str, bytes]:
    """Return what was seen: path to content."""
    return {path: observed.content for path, observed, _ in looked.seen}


class LookTests(BenchTestCase):
    """Looks at single paths."""

    def setUp(self) -> None:
        self.it = self.bench()

    def taken(self, **files: bytes) -> Bench:
        """Save files (`__` stands for a slash), and take them in."""
        for path, data in files.items():
            self.it.save(path.replace("__", "/"), data)
        self.it.take_in()
        return self.it

    def test_new_files_are_read(self) -> None:
        """A file without a row is reported with its content, its size and its x bit."""
        self.it.save("run", b"#!", executable=True)
        looked = self.it.look("run")
        (path, observed, manifest), = looked.seen
        self.assertEqual((path, observed.content, observed.size), ("run", content_id(b"#!"), 2))
        self.assertEqual((observed.executable, observed.kind, manifest), (True, Kind.FILE, b""))
        self.assertEqual(looked.paths(), ["run"])

    def test_what_is_as_the_index_says_is_fine(self) -> None:
        """A file and a folder that nobody touched are not reported, and the file is not even opened."""
        it = self.taken(d__f=b"1")
        opened = []
        it.disk.before = lambda verb, name: opened.append(name) if verb == "open" else None
        looked = it.look("d", "d/f")
        self.assertFalse(looked)
        self.assertEqual((set(looked.fine), looked.missing), ({"d", "d/f"}, []))
        self.assertEqual(opened, [])

    def test_changes_are_read(self) -> None:
        """Other bytes and another x bit are seen; a folder above is not concerned."""
        it = self.taken(f=b"1", g=b"1")
        it.save("f", b"22")
        (it.root / "g").chmod(0o755)
        looked = it.look("f", "g")
        self.assertEqual(seen(looked), {"f": content_id(b"22"), "g": content_id(b"1")})
        self.assertEqual([observed.executable for _, observed, _ in looked.seen], [False, True])

    def test_a_new_folder_is_seen_with_all_in_it(self) -> None:
        """One hint for a folder is enough for what was made in it before it was watched."""
        self.it.save("d/e/f", b"1")
        self.assertEqual(set(seen(self.it.look("d"))), {"d", "d/e", "d/e/f"})

    def test_missing_needs_a_second_look(self) -> None:
        """What is not there is suspected at first, and gone when it is looked at again; with all that was in it."""
        it = self.taken(d__f=b"1", g=b"2")
        shutil.rmtree(it.root / "d")
        first, second = it.look("d", "nothing"), it.look("d", confirm=True)
        self.assertEqual((first.missing, first.gone), (["d", "d/f"], []))
        self.assertEqual((second.missing, second.gone), ([], ["d", "d/f"]))
        self.assertEqual(it.look("nothing", confirm=True).gone, [])

    def test_a_renamed_file_is_not_read(self) -> None:
        """A known inode under a new name is reported with its content, and its old name as gone, without reading."""
        it = self.taken(f=b"1")
        (it.root / "f").rename(it.root / "g")
        opened = []
        it.disk.before = lambda verb, name: opened.append(name) if verb == "open" and name == (b"g",) else None
        looked = it.eye.look(["f", "g"])
        self.assertEqual((seen(looked), looked.gone, looked.missing), ({"g": content_id(b"1")}, ["f"], []))
        self.assertEqual(len(opened), 1)  # to sync it

    def test_a_file_renamed_and_changed_is_read(self) -> None:
        """An inode under a new name with other bytes is read; its old name is gone all the same."""
        it = self.taken(f=b"1")
        (it.root / "f").rename(it.root / "g")
        (it.root / "g").write_bytes(b"22")
        looked = it.look("g")
        self.assertEqual((seen(looked), looked.gone), ({"g": content_id(b"22")}, ["f"]))

    def test_a_second_link_is_no_rename(self) -> None:
        """A hard link to a known file is a new file; the old name stays."""
        it = self.taken(f=b"1")
        os.link(it.root / "f", it.root / "g")
        looked = it.look("f", "g")
        self.assertEqual((seen(looked), looked.gone, looked.missing), ({"g": content_id(b"1")}, [], []))

    def test_a_renamed_folder(self) -> None:
        """All that is in a folder is found under its new name, and gone under the old one."""
        it = self.taken(d__e__f=b"1", d__g=b"2")
        (it.root / "d").rename(it.root / "new")
        looked = it.look("d", "new")
        self.assertEqual(set(seen(looked)), {"new", "new/e", "new/e/f", "new/g"})
        self.assertEqual((set(looked.gone), looked.missing), ({"d", "d/e", "d/e/f", "d/g"}, []))

    def test_a_file_renamed_over_another(self) -> None:
        """The name that was taken over has the other content; the old name is gone."""
        it = self.taken(f=b"1", g=b"2")
        (it.root / "f").rename(it.root / "g")
        looked = it.look("f", "g")
        self.assertEqual((seen(looked), looked.gone), ({"g": content_id(b"1")}, ["f"]))

    def test_a_file_in_place_of_a_folder(self) -> None:
        """What was in a folder that is a file now is gone at once, with no second look."""
        it = self.taken(d__e__f=b"1")
        shutil.rmtree(it.root / "d")
        it.save("d", b"file")
        looked = it.look("d")
        self.assertEqual((seen(looked), set(looked.gone)), ({"d": content_id(b"file")}, {"d/e", "d/e/f"}))

    def test_a_folder_in_place_of_a_file(self) -> None:
        """A folder that took the place of a file is seen, and what is in it."""
        it = self.taken(f=b"1")
        (it.root / "f").unlink()
        it.save("f/g", b"2")
        looked = it.look("f")
        self.assertEqual((seen(looked), looked.gone), ({"f": b"", "f/g": content_id(b"2")}, []))

    def test_fresh_files_are_read_later(self) -> None:
        """A file written this very moment is changing: a look does not trust it, and a walk leaves it for a second."""
        now = self.it.save("f", b"1").stat().st_mtime_ns
        self.it.disk.stopped_at_ns = now + 5_000_000
        looked = self.it.look("f")
        self.assertEqual((looked.changing, looked.seen), (["f"], []))
        self.it.disk.stopped_at_ns = now + 500_000_000
        self.assertEqual([looked.changing for looked in self.it.scan()], [["f"], []])
        self.assertEqual(seen(self.it.look("f")), {"f": content_id(b"1")})

    def test_a_walk_leaves_what_is_not_quiet(self) -> None:
        """A path that waits to be quiet is neither reported by a walk nor missing after it."""
        it = self.taken(d__f=b"1")
        it.save("d/f", b"22")
        it.waiting.add("d/f")
        self.assertEqual([(looked.paths(), looked.missing) for looked in it.eye.look_everywhere()], [([], [])] * 2)
        self.assertEqual(it.look("d").paths(), [])
        it.waiting.clear()
        self.assertEqual(it.look("d").paths(), ["d/f"])

    def test_no_mark_no_deletions(self) -> None:
        """In a folder that lost its mark nothing counts as missing: looks and walks end with that error."""
        it = self.taken(f=b"1")
        (it.root / "f").unlink()
        it.disk.unlink(mark.MARK)
        self.assertRaises(FolderUnusable, it.look, "f")
        self.assertRaises(FolderUnusable, it.look, "f", confirm=True)
        self.assertRaises(FolderUnusable, list, it.eye.look_everywhere())

    def test_a_mark_lost_during_a_walk(self) -> None:
        """The mark is looked for again before anything counts as missing."""
        it = self.taken(f=b"1", g=b"2")
        walk = it.eye.look_everywhere()
        next(walk)
        it.disk.unlink(mark.MARK)
        self.assertRaises(FolderUnusable, next, walk)

    def test_a_link_is_hidden_and_hides_no_deletion(self) -> None:
        """A link where a file or a folder was is no deletion of it, nor of what was in the folder."""
        it = self.taken(d__f=b"1", f=b"2")
        shutil.rmtree(it.root / "d")
        (it.root / "d").symlink_to("/")
        (it.root / "f").unlink()
        (it.root / "f").symlink_to("nowhere")
        for confirm in (False, True):
            looked = it.look("d", "d/f", "f", confirm=confirm)
            self.assertEqual((looked.missing, looked.gone, looked.paths()), ([], [], []))
            self.assertLessEqual({"d", "f"}, {name for name, _ in looked.hidden})
        walked = list(it.eye.look_everywhere())
        self.assertEqual([looked.missing for looked in walked], [[]])
        self.assertEqual([name for name, _ in walked[-1].hidden], ["d", "f"])

    def test_a_pipe_is_never_opened(self) -> None:
        """Something that is neither file nor folder is named as not shared."""
        os.mkfifo(self.it.root / "pipe")
        looked = self.it.look("pipe")
        self.assertEqual([name for name, _ in looked.hidden], ["pipe"])
        self.assertEqual(looked.paths(), [])

    def test_a_disk_that_fails_is_no_deletion(self) -> None:
        """What can not be looked at is unreadable, not missing."""
        it = self.taken(f=b"1")

        def fail(verb: str, name: tuple[bytes, ...]) -> None:
            if verb == "stat" and name == (b"f",):
                raise OSError(5, "Input/output error")

        it.disk.before = fail
        looked = it.look("f", confirm=True)
        self.assertEqual((looked.gone, looked.missing, [path for path, _ in looked.unreadable]), ([], [], ["f"]))

    def test_durable_files_are_synced_before_they_are_reported(self) -> None:
        """Few files are opened to be synced; many are synced with the whole disk at once."""
        synced = []
        self.it.disk.before = lambda verb, name: synced.append(verb) if verb == "sync_all" else None
        for number in range(7):
            self.it.save(f"few/{number}", b"1")
        self.it.look("few")
        self.assertEqual(synced, [])
        for number in range(8):
            self.it.save(f"many/{number}", b"2")
        self.it.look("many")
        self.assertEqual(synced, ["sync_all"])

    def test_what_changes_after_the_look_is_not_taken(self) -> None:
        """A file that is saved again, or one that is back, before the look is taken in, is looked at again."""
        it = self.taken(f=b"1")
        it.save("g", b"1")
        (it.root / "f").unlink()
        looked = it.look("f", "g", confirm=True)
        it.save("f", b"back")
        it.save("g", b"again")
        outcome = it.steps.take([looked])
        self.assertEqual(outcome.look, {"f", "g"})
        self.assertEqual(set(it.live()), {"f"})
        it.settle()
        self.assertPeace(it)
