"""Walking a folder in the order in which it is listed, whatever the names are."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.walk import locate, look, walk

NAMES = st.sampled_from(
    ["a", "a.txt", "a b", "A", "f", "z", "e\u0301", "\u00e9", "\u212b", "\u00c5", "A\u030a",
     "o\u0302\u0301", "\u1ed1", "\uf900"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


class WalkTests(SynchronousTestCase):
    """What is found, and in which order."""

    @settings(max_examples=60, deadline=None)
    @given(st.sets(PATHS, max_size=12), st.sampled_from([1, 2, 3, 100]))
    def test_order(self, paths: set[str], at_once: int) -> None:
        """Paths rise strictly, each can be located, and a walk goes on after any of them with just the rest."""
        with tempfile.TemporaryDirectory() as folder:
            for path in paths:
                try:
                    (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / path).write_bytes(b"")
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    continue
            left_out: list[str] = []
            self.patch(limits, "LISTING_NAMES", at_once)
            disk = RealDisk(os.fsencode(folder))
            try:
                top = look(disk, "")

                def hear(path: str, why: TwistedP2PError) -> None:
                    left_out.append(path)

                found = list(walk(disk, top, deep=True, left_out=hear))
                order = [one.path.encode().split(b"/") for one in found]
                self.assertEqual(order, sorted(order))
                self.assertEqual(len({one.path for one in found}), len(found))
                for number, one in enumerate(found):
                    self.assertEqual(one.path, unicodedata.normalize("NFC", one.path))
                    self.assertEqual(locate(disk, one.path), one.name)
                    rest = [other.path for other in walk(disk, top, deep=True, after=one.path)]
                    self.assertEqual(rest, [other.path for other in found[number + 1 :]])
                there = {
                    unicodedata.normalize("NFC", str(path.relative_to(folder))) for path in Path(folder).rglob("*")
                }
                self.assertLessEqual({one.path for one in found}, there)
                if not left_out and at_once == 100:
                    self.assertEqual({one.path for one in found}, there)
            finally:
                disk.close()

    def test_two_names_that_travel_as_one(self) -> None:
        """Of names that differ only in their normal form that in form C is found, the others are told, at any page."""
        for at_once in (1, 2, 3, 4, 100):
            with self.subTest(at_once=at_once), tempfile.TemporaryDirectory() as folder:
                for name in ("a", "\u212b", "A\u030a", "\u00c5", "e\u0301", "z"):
                    (Path(folder) / name).write_bytes(b"")
                self.patch(limits, "LISTING_NAMES", at_once)
                told: list[tuple[str, str]] = []
                disk = RealDisk(os.fsencode(folder))

                def hear(path: str, why: TwistedP2PError, told: list[tuple[str, str]] = told) -> None:
                    told.append((path, str(why)))

                found = list(walk(disk, look(disk, ""), deep=True, left_out=hear))
                rest = [one.path for one in walk(disk, look(disk, ""), deep=True, after="\u00c5")]
                disk.close()
                self.assertEqual([one.path for one in found], ["a", "z", "\u00c5", "\u00e9"])
                self.assertEqual(found[2].name, ("\u00c5".encode(),))
                self.assertEqual(rest, ["\u00e9"])
                self.assertEqual([path for path, _ in told], ["A\u030a", "\u212b"])
                self.assertIn("rename one of them", told[0][1])
