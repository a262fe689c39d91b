"""The trash: plain files by day, found by name and verified by content, purged only when nobody needs them."""

from __future__ import annotations

import re

from tests.peer.folder.shared import FolderTestCase, content_id
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.names import signature_of

DAY = 86_400.0
NOW = 1_700_000_000.0  # 2023-11-14


class TrashTests(FolderTestCase):
    """What is kept, under which name, for how long."""

    def put(self, path: str, data: bytes, now: float = NOW) -> str:
        """Remove a file to the trash; return its name there."""
        self.save(path, data)
        name = self.trash.allocate(RelPath(path), now)
        self.publisher.remove(RelPath(path), self.trash.locate(name))
        return name

    def test_names_tell_the_day_and_what_it_was(self) -> None:
        """A name is day, digits that make it unique, and the old name, cut at a character where it is too long."""
        self.assertEqual(self.trash.allocate(RelPath("d/a b.txt"), NOW), "20231114/0000000000000001.a b.txt")
        long = self.trash.allocate(RelPath("\u00e9" * 127), NOW).partition("/")[2]
        self.assertTrue(re.fullmatch("[0-9a-f]{16}\\.\u00e9{119}", long))
        self.put("\u00e9" * 127, b"1")

    def test_entries_are_what_was_put_in(self) -> None:
        """Each entry is listed with its old name and signature, oldest day first; strangers' files are not."""
        second = self.put("new\nline", b"2", NOW)
        first = self.put("old", b"1", NOW - DAY)
        self.save(".twistedp2p/trash/20231114/stray")
        entries = list(self.trash.entries())
        self.assertEqual([(entry.name, entry.basename) for entry in entries], [(first, "old"), (second, "new\nline")])
        self.assertEqual(entries[0].signature, signature_of(self.disk.stat(self.trash.locate(first))))
        self.assertEqual(self.trash.look(first), entries[0].signature)

    def test_only_its_own_names_lead_anywhere(self) -> None:
        """A name that was never given out, however it is made, is refused."""
        for name in ("", "20231114/../../../x", "../mark", "20231114/0000000000000001", "/etc/passwd", "20231114/x/y"):
            self.assertRaises(ValueError, self.trash.locate, name)

    def test_content_is_proved_by_reading(self) -> None:
        """An entry has a content only as long as its bytes have; one that is gone has none."""
        name = self.put("f", b"data")
        self.assertTrue(self.trash.has(name, content_id(b"data")))
        self.assertFalse(self.trash.has(name, content_id(b"other")))
        self.save(f".twistedp2p/trash/{name}", b"written into")
        self.assertFalse(self.trash.has(name, content_id(b"data")))
        self.disk.unlink(self.trash.locate(name))
        self.assertFalse(self.trash.has(name, content_id(b"data")))
        self.assertIsNone(self.trash.look(name))

    def test_a_part_can_be_kept_and_brought_back(self) -> None:
        """Bytes of a version that is not published are kept, and can be put in place from the trash later."""
        name = self.trash.keep(self.part(b"loser"), RelPath("f"), NOW)
        self.assertTrue(self.trash.has(name, content_id(b"loser")))
        self.publisher.place_new(self.trash.locate(name), RelPath("f (conflict)"))
        self.assertEqual(self.tree(), {"f (conflict)": b"loser"})

    def test_purge_spares_the_young_and_the_needed(self) -> None:
        """Only what is older than the days, and not needed, is removed; an emptied day goes with it."""
        old = self.put("old", b"1", NOW - 31 * DAY)
        needed = self.put("needed", b"2", NOW - 40 * DAY)
        edge = self.put("edge", b"3", NOW - 30 * DAY)
        self.assertEqual(self.trash.purge(NOW, 30, lambda name: name == needed), 1)
        self.assertEqual([entry.name for entry in self.trash.entries()], [needed, edge])
        self.assertFalse((self.root / ".twistedp2p/trash" / old[:8]).exists())
        self.assertEqual(self.trash.purge(NOW, 30, lambda name: False), 1)

    def test_a_day_that_was_purged_is_made_again(self) -> None:
        """A name is good also after the folder of its day was removed."""
        self.put("a", b"1", NOW - 40 * DAY)
        self.trash.purge(NOW, 30, lambda name: False)
        self.assertTrue(self.trash.has(self.put("a", b"1", NOW - 40 * DAY), content_id(b"1")))
