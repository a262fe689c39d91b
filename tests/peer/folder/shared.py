"""A shared folder to test on, and disks that fail, or at which something happens, at a chosen moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Name, Space, Stat
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Publisher
from twistedp2p.peer.folder.trash import TrashStore


def content_id(data: bytes) -> bytes:
    """Return the content id of `data`."""
    return blake3(data).digest()


class TestDisk(RealDisk):
    """A real disk, a second ahead of its files, at which things can be made to happen."""

    __test__ = False  # for pytest: no test case

    def __init__(self, root: bytes) -> None:
        super().__init__(root)
        self.before: dict[str, Callable[[], object]] = {}
        self.failing: dict[tuple[str, Name], OSError] = {}
        self.ahead_ns = 1_000_000_000
        self.room: Space | None = None
        self.synced: list[Name] = []

    def _happen(self, verb: str, name: Name = ()) -> None:
        error = self.failing.get((verb, name))
        if error is not None:
            raise error
        action = self.before.pop(verb, None)
        if action is not None:
            action()

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns

    def entries(self, folder: Name) -> list[tuple[bytes, Stat]]:
        self._happen("entries", folder)
        return super().entries(folder)

    def exchange(self, one: Name, other: Name) -> None:
        self._happen("exchange")
        super().exchange(one, other)

    def rename(self, source: Name, target: Name) -> None:
        self._happen("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Name) -> None:
        self.synced.append(folder)
        super().sync_folder(folder)

    def sync_all(self) -> None:
        self._happen("sync_all")
        self.synced.append((b"*",))

    def space(self) -> Space:
        return super().space() if self.room is None else self.room


class FolderTestCase(SynchronousTestCase):
    """Makes a shared folder in `self.root`, with all that works on it."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tp2p-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.disk = TestDisk(os.fsencode(self.root))
        self.addCleanup(self.disk.close)
        mark.create(self.disk, b"the mark")
        self.names = DiskNames()
        self.now = 0.0
        self.parts = PartStore(self.disk, lambda: self.now)
        self.serial = 0
        self.trash = TrashStore(self.disk, self.entropy)
        self.publisher = Publisher(self.disk, self.names, self.disk.probe(mark.PARTS))

    def entropy(self, count: int) -> bytes:
        """Return bytes that never repeat."""
        self.serial += 1
        return self.serial.to_bytes(count, "big")

    def part(self, data: bytes) -> Name:
        """Return where a part with the content `data` lies; one of that content may have been published before."""
        self.parts.published(content_id(data))
        self.parts.put_small([(content_id(data), data)])
        return PartStore.locate(content_id(data))

    def trash_name(self, path: str = "x") -> Name:
        """Return a new name in the trash."""
        return self.trash.locate(self.trash.allocate(RelPath(path), 1_700_000_000.0))

    def save(self, path: str, data: bytes = b"mine") -> Path:
        """Write a file as a user would."""
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(data)
        return there

    def content(self, name: Name) -> bytes:
        """Return what lies at a name of the disk."""
        with self.disk.open(name) as opened:
            return opened.read_at(0, 1 << 20)

    def tree(self) -> dict[str, bytes | None]:
        """Return all that users see: path to bytes, None for a folder."""
        found: dict[str, bytes | None] = {}
        for there in sorted(self.root.rglob("*")):
            path = there.relative_to(self.root).as_posix()
            if not path.startswith(".twistedp2p"):
                found[path] = there.read_bytes() if there.is_file() else None
        return found
