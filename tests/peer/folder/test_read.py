"""Reading a file: its names in one pass, or why there is nothing to share."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.peer.folder.shared import FolderTestCase, content_id
from twistedp2p.disk.real import RealFile
from twistedp2p.disk.seam import Name
from twistedp2p.limits import CONTENT_BYTES, READ_BYTES, SMALL_BYTES, TIMESTAMP_TICK_NS
from twistedp2p.peer.folder.names import signature_of
from twistedp2p.peer.folder.read import Absent, Changing, NotShared, Read, Unreadable, read
from twistedp2p.peer.troubles import Code
from twistedp2p.transfer.chunking import Manifest
from twistedp2p.versions import Kind


class MeddledFile(RealFile):
    """A file to which something happens after its first read."""

    def __init__(self, fd: int, meddle: Callable[[], object]) -> None:
        super().__init__(fd)
        self._meddle = [meddle]

    def read_at(self, offset: int, size: int) -> bytes:
        data = super().read_at(offset, size)
        while self._meddle:
            self._meddle.pop()()
        return data


class ReadTests(FolderTestCase):
    """What `read` returns."""

    def reading(self, path: str) -> Read:
        """Return what was read at a path that can be shared."""
        found = read(self.disk, tuple(path.encode().split(b"/")))
        assert isinstance(found, Read), found
        return found

    def meddled(self, path: Path, meddle: Callable[[], object]) -> object:
        """Return what is read while `meddle` happens."""
        disk = self.disk

        class Meddled:
            """The disk, but for one file."""

            def open(self, name: Name) -> RealFile:
                return MeddledFile(os.open(path, os.O_RDONLY), meddle)

            def now_ns(self) -> int:
                return disk.now_ns()

        return read(Meddled(), (path.name.encode(),))  # type: ignore[arg-type]

    def test_a_small_file(self) -> None:
        """Content id, size, mtime, x bit and signature are those of the file; it has no manifest."""
        file = self.save("a\nb \u00e9", b"hello")
        file.chmod(0o744)
        found = self.reading("a\nb \u00e9")
        stat = self.disk.stat(("a\nb \u00e9".encode(),))
        observed = found.observed
        self.assertEqual((observed.kind, observed.content), (Kind.FILE, content_id(b"hello")))
        self.assertEqual((observed.size, observed.mtime_ns, observed.executable), (5, stat.mtime_ns, True))
        self.assertEqual(observed.signature, signature_of(stat))
        self.assertEqual((observed.manifest, found.manifest), (b"", b""))

    def test_an_empty_file(self) -> None:
        """Nothing is a content like any other."""
        self.save("empty", b"")
        self.assertEqual(self.reading("empty").observed.content, content_id(b""))

    def test_executable_is_the_owners_bit(self) -> None:
        """The x bits of others do not count."""
        self.save("f").chmod(0o611)
        self.assertFalse(self.reading("f").observed.executable)

    def test_a_large_file_has_a_manifest(self) -> None:
        """The manifest comes encoded, its id in what was observed, and its chunks are those of the bytes."""
        data = random.Random(1).randbytes(3 * READ_BYTES + 17)
        self.save("large", data)
        found = self.reading("large")
        manifest = Manifest.parse(found.manifest, found.observed.manifest)
        self.assertEqual(found.observed.content, content_id(data))
        offset = 0
        for digest, length in manifest.chunks:
            self.assertEqual(content_id(data[offset : offset + length]), digest)
            offset += length
        self.assertEqual(offset, len(data))

    def test_the_edge_between_small_and_large(self) -> None:
        """A content of exactly the limit has no manifest, one byte more has."""
        for size, has_one in ((SMALL_BYTES, False), (SMALL_BYTES + 1, True)):
            self.save("edge", bytes(size))
            self.assertEqual(bool(self.reading("edge").manifest), has_one)

    def test_a_folder(self) -> None:
        """A folder is read as one; its signature does not change with what is in it."""
        (self.root / "d").mkdir()
        before = self.reading("d").observed
        self.save("d/f")
        after = self.reading("d").observed
        self.assertEqual((after.kind, after.content), (Kind.FOLDER, b""))
        self.assertEqual(before.signature, after.signature)

    def test_what_is_not_there(self) -> None:
        """A missing name, a missing folder, a file in place of a folder: there is nothing."""
        self.save("file")
        for name in ((b"no",), (b"no", b"no"), (b"file", b"no")):
            self.assertEqual(read(self.disk, name), Absent())

    def test_what_is_not_shared_says_why(self) -> None:
        """Links and pipes are named as what they are; nobody waits for a pipe."""
        (self.root / "link").symlink_to("/etc/passwd")
        os.mkfifo(self.root / "pipe")
        link, pipe = read(self.disk, (b"link",)), read(self.disk, (b"pipe",))
        assert isinstance(link, NotShared) and isinstance(pipe, NotShared)
        self.assertIn("symbolic link", link.reason)
        self.assertIn("pipe", pipe.reason)

    def test_a_file_beyond_the_limit_is_not_shared(self) -> None:
        """A file too large for any manifest is refused before it is read."""
        file = self.save("huge", b"")
        try:
            os.truncate(file, CONTENT_BYTES + 1)
        except OSError:  # a file system whose files can not be that large has none to refuse
            os.truncate(file, 0)
            return
        self.assertIsInstance(read(self.disk, (b"huge",)), NotShared)

    def test_a_failing_disk_is_not_an_absent_file(self) -> None:
        """A file that the disk does not give is unreadable, and said to be."""
        file = self.save("file", bytes(10))

        def fail() -> None:
            raise OSError(5, "Input/output error")

        found = self.meddled(file, fail)
        assert isinstance(found, Unreadable)
        self.assertEqual((found.trouble.code, found.reason), (Code.DISK_FAILING, found.trouble.text))

    def test_a_file_that_changes_while_it_is_read(self) -> None:
        """Growing, shrinking, an overwritten byte and a chmod while it is read are all seen."""
        data = bytes(READ_BYTES + 10)
        changes: list[Callable[[Path], object]] = [
            lambda file: os.truncate(file, len(data) + 1),
            lambda file: os.truncate(file, len(data) - 1),
            lambda file: file.write_bytes(b"x" * len(data)),
            lambda file: file.chmod(0o777),
        ]
        for change in changes:
            file = self.save("file", data)
            file.chmod(0o600)
            self.assertEqual(self.meddled(file, lambda change=change, file=file: change(file)), Changing())  # type: ignore[misc]
        self.assertIsInstance(self.meddled(self.save("file", data), lambda: None), Read)

    def test_a_file_of_this_very_moment_is_read_again_later(self) -> None:
        """Within one tick of the clock another write would go unseen; an mtime in the future says nothing."""
        file = self.save("file")
        now = self.disk.now_ns()
        for age, expected in ((0, Changing), (TIMESTAMP_TICK_NS - 1, Changing), (TIMESTAMP_TICK_NS, Read), (-1, Read)):
            os.utime(file, ns=(now - age, now - age))
            self.disk.now_ns = lambda: now  # type: ignore[method-assign]
            self.assertIsInstance(read(self.disk, (b"file",)), expected)
