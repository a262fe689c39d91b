"""An index seen from outside: what is wrong with it is told, and nothing is changed."""

from __future__ import annotations

import os
from pathlib import Path

from tests.peer.test_index import C, IndexCase, file
from twistedp2p.peer.index_outside import Seen, look_at
from twistedp2p.peer.index_schema import STEPS
from twistedp2p.peer.store import Change

LATEST = len(STEPS)


class LookingTests(IndexCase):
    """One index, in all its states."""

    def setUp(self) -> None:
        """Make a folder for the index alone."""
        super().setUp()
        os.mkdir(self.path)
        self.path = os.path.join(self.path, "index.sqlite")

    def look(self) -> Seen:
        """Look at the index; fails if that changes any file."""
        before = self.files()
        seen = look_at(self.path)
        self.assertEqual(self.files(), before)
        self.assertEqual(seen.size, os.path.getsize(self.path))
        return seen

    def files(self) -> dict[str, bytes]:
        """Return all files there."""
        folder = Path(self.path).parent
        return {one.name: one.read_bytes() if one.is_file() else b"" for one in folder.iterdir()}

    def filled(self) -> None:
        """Make a closed index."""
        index = self.open()
        index.apply(Change(3, {f"{number}": file(C[1]) for number in range(500)}))
        index.close()

    def test_closed(self) -> None:
        """A closed index is sound, and has a version."""
        self.filled()
        seen = self.look()
        self.assertEqual((seen.version, seen.wrong, seen.open, seen.closed), (LATEST, "", False, True))

    def test_open(self) -> None:
        """One that a process has open is told to be so."""
        self.open()
        self.assertTrue(self.look().open)

    def test_after_a_kill(self) -> None:
        """One that was not closed is looked at with the log of its last changes."""
        index = self.open()
        index.apply(Change(3, {f"{number}": file(C[1]) for number in range(500)}))
        kept = self.files()
        index.close()
        for name, data in kept.items():
            Path(self.path).with_name(name).write_bytes(data)
        os.unlink(self.path + "-sum")
        seen = self.look()
        self.assertEqual((seen.version, seen.wrong, seen.closed), (LATEST, "", False))

    def test_damaged(self) -> None:
        """Damage is told: by SQLite, by the hash of closing, by what is no file."""
        self.filled()
        data = Path(self.path).read_bytes()
        for start, new in ((0, bytes(2000)), (4096, bytes(8192)), (len(data) - 40, b"x")):
            Path(self.path).write_bytes(data[:start] + new + data[start + len(new) :])
            self.assertTrue(self.look().wrong, start)
        os.unlink(self.path)
        os.mkdir(self.path)
        self.assertTrue(self.look().wrong)

    def test_none(self) -> None:
        """Where there is none, that is an error of the system."""
        self.assertRaises(FileNotFoundError, look_at, self.path)
