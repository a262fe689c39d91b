"""Where a content lies on this disk, and that nothing is believed without reading it."""

from __future__ import annotations

import os

from tests.peer.bench import BenchTestCase, content_id
from twistedp2p.disk.seam import Name
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.mark import PARTS

ONE = content_id(b"one")


class ContentsTests(BenchTestCase):
    """Contents in parts, in the trash, in files."""

    def setUp(self) -> None:
        self.it = self.bench()

    def read(self, name: Name | None) -> bytes:
        """Return what lies at a name of the disk."""
        assert name is not None
        with self.it.disk.open(name) as opened:
            return opened.read_at(0, 100)

    def lie(self, path: str, data: bytes) -> None:
        """Change the bytes of a file so that its signature stays, as a failing disk does."""
        there = self.it.root / path
        before = there.stat()
        there.write_bytes(data)
        os.utime(there, ns=(before.st_atime_ns, before.st_mtime_ns))

    def test_unknown_content(self) -> None:
        """What is nowhere is not had, and can not be taken."""
        self.assertFalse(self.it.contents.has(ONE))
        self.assertIsNone(self.it.contents.take(ONE))

    def test_a_part_is_taken_as_it_is(self) -> None:
        """A whole part serves first, under its own name."""
        self.it.parts.put_small([(ONE, b"one")])
        self.assertTrue(self.it.contents.has(ONE))
        self.assertEqual(self.it.contents.take(ONE), self.it.parts.locate(ONE))

    def test_a_file_is_copied(self) -> None:
        """The bytes of a file of the folder are taken as a copy; the file stays."""
        self.it.save("f", b"one")
        self.it.take_in()
        self.assertTrue(self.it.contents.has(ONE))
        taken = self.it.contents.take(ONE)
        self.assertEqual((taken, self.read(taken)), (self.it.parts.locate(ONE), b"one"))
        self.assertEqual(self.it.tree(), {"f": b"one"})

    def test_a_changed_file_is_not_held(self) -> None:
        """A file that was saved or removed since it was read is neither had nor taken."""
        self.it.save("f", b"one")
        self.it.take_in()
        self.it.save("f", b"other")
        self.assertFalse(self.it.contents.has(ONE))
        self.assertIsNone(self.it.contents.take(ONE))
        (self.it.root / "f").unlink()
        self.assertFalse(self.it.contents.has(ONE))

    def test_a_corrupt_file_is_distrusted(self) -> None:
        """Other bytes under the same signature are found by their hash; the next good file serves, and this is read."""
        self.it.save("bad", b"one")
        self.it.save("good", b"one")
        self.it.take_in()
        self.lie("bad", b"two")
        self.assertEqual(self.read(self.it.contents.take(ONE)), b"one")
        row = self.it.index.row("bad")
        assert row is not None
        self.assertIsNone(row.signature)
        self.assertEqual([path for path, _, _ in self.it.look("bad").seen], ["bad"])

    def test_the_only_file_is_corrupt(self) -> None:
        """Then the content is not here any more, and no half copy stays."""
        self.it.save("bad", b"one")
        self.it.take_in()
        self.lie("bad", b"two")
        self.assertIsNone(self.it.contents.take(ONE))
        self.assertFalse(self.it.contents.has(ONE))
        self.assertEqual(os.listdir(self.it.root / ".twistedp2p/parts"), [])

    def trashed(self, data: bytes) -> str:
        """Put a file into the trash by what another member did; return its name there."""
        self.it.save("f", data)
        self.it.take_in()
        self.it.theirs("f", None)
        self.it.plan()
        (entry,) = self.it.index.trash_with_content(content_id(data))
        return entry.name

    def test_the_trash_serves(self) -> None:
        """What was displaced is had and taken; the entry is only forgotten with the commit of the taker."""
        name = self.trashed(b"one")
        self.assertTrue(self.it.contents.has(ONE))
        self.assertEqual(self.it.contents.take(ONE), self.it.trash.locate(name))
        self.assertEqual(self.it.contents.taken, {name})
        self.assertEqual(len(self.it.index.trash_with_content(ONE)), 1)

    def test_a_corrupt_entry_is_passed_over(self) -> None:
        """Bytes in the trash that are others now are not taken."""
        name = self.trashed(b"one")
        (self.it.root / ".twistedp2p/trash" / name).write_bytes(b"two")
        self.assertIsNone(self.it.contents.take(ONE))

    def test_duplicates(self) -> None:
        """Second private files have the same bytes and names of their own; those of an earlier life are removed."""
        self.it.parts.put_small([(ONE, b"one")])
        source = self.it.parts.locate(ONE)
        names = [self.it.contents.duplicate(source, ONE) for _ in range(2)]
        self.assertEqual([self.read(name) for name in names], [b"one", b"one"])
        self.assertEqual(len({source, *names}), 3)
        self.it.restart()
        self.assertEqual([component for component, _ in self.it.disk.entries(PARTS)], [source[-1]])

    def test_names_in_another_unicode_form(self) -> None:
        """A file that the disk has under a decomposed name is found by its path."""
        (self.it.root / "e\u0301").write_bytes(b"one")
        self.it.take_in()
        self.assertEqual(self.it.contents.file_with(ONE), "\u00e9")
        self.assertEqual(self.it.names.of(RelPath("\u00e9")), ("e\u0301".encode(),))
        self.assertEqual(self.read(self.it.contents.take(ONE)), b"one")
