"""The trash: plain files by day, found by name and verified by content."""

from __future__ import annotations

import os
import re

from tests.peer.folder.shared import FolderTestCase, content_id
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.names import signature_of
from twistedp2p.peer.folder.trash import Trashed, displaced_at

DAY = 86_400.0
NOW = 1_700_000_000.0  # 2023-11-14 22:13:20


class TrashTests(FolderTestCase):
    """What is kept, under which name, for how long."""

    def put(self, path: str, data: bytes, now: float = NOW) -> str:
        """Remove a file to the trash; return its name there."""
        self.save(path, data)
        name = self.trash.allocate(RelPath(path), now)
        self.publisher.remove(RelPath(path), self.trash.locate(name))
        return name

    def test_names_tell_the_day_and_what_it_was(self) -> None:
        """A name is day, time, digits that make it unique, and the old name, cut at a character if it is too long."""
        self.assertEqual(self.trash.allocate(RelPath("d/a b.txt"), NOW), "20231114/2213200000000001.a b.txt")
        long = self.trash.allocate(RelPath("\u00e9" * 127), NOW).partition("/")[2]
        self.assertTrue(re.fullmatch("[0-9a-f]{16}\\.\u00e9{119}", long))
        self.put("\u00e9" * 127, b"1")

    def test_names_tell_when(self) -> None:
        """The moment of a name is that of its displacement, or the start of its day if no time can be read in it."""
        self.assertEqual(displaced_at(self.trash.allocate(RelPath("f"), NOW + 0.9)), NOW)
        start = NOW - NOW % DAY
        for serial in ("99", "ab", "24"):
            self.assertEqual(displaced_at(f"20231114/{serial}00000000000000.f"), start)
        self.assertEqual(displaced_at("20231399/0000000000000000.f"), 0.0)

    def everything(self) -> list[Trashed]:
        """Return all entries."""
        return [entry for day in self.trash.days() for entry in self.trash.entries_of(day)]

    def test_entries_are_what_was_put_in(self) -> None:
        """Each entry is listed with its old name and signature, newest first; strangers' files are not."""
        second = self.put("new\nline", b"2", NOW)
        first = self.put("old", b"1", NOW - DAY)
        third = self.put("later", b"3", NOW + 1)
        for name in (b"stray", b"0000000000000000.\xff"):
            (self.root / ".twistedp2p/trash/20231114" / os.fsdecode(name)).touch()
        (self.root / ".twistedp2p/trash/of mine").mkdir()
        entries = self.everything()
        self.assertEqual(
            [(entry.name, entry.basename) for entry in entries],
            [(third, "later"), (second, "new\nline"), (first, "old")],
        )
        self.assertEqual(entries[-1].signature, signature_of(self.disk.stat(self.trash.locate(first))))
        self.assertEqual(self.trash.look(first), entries[-1].signature)
        self.assertEqual(list(self.trash.entries_of("20200101")), [])

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

    def test_removing(self) -> None:
        """What is removed is gone, also a second time; the folder of a day goes when it is empty, and only then."""
        old, edge = self.put("old", b"1", NOW - 31 * DAY), self.put("edge", b"3", NOW)
        for _ in range(2):
            self.trash.remove(old)
        self.trash.remove_empty_days()
        self.assertEqual([entry.name for entry in self.everything()], [edge])
        self.assertFalse((self.root / ".twistedp2p/trash" / old[:8]).exists())

    def test_a_day_that_was_removed_is_made_again(self) -> None:
        """A name is good also after the folder of its day was removed."""
        self.trash.remove(self.put("a", b"1"))
        self.trash.remove_empty_days()
        self.assertTrue(self.trash.has(self.put("a", b"1"), content_id(b"1")))
