"""What other members get of this folder: only bytes that have not changed since they were read."""

from __future__ import annotations

import os

from tests.peer.bench import BenchTestCase, content_id
from twistedp2p.errors import NotHeld
from twistedp2p.limits import SMALL_BYTES
from twistedp2p.peer.serving import Serving

ONE = content_id(b"one")


class ServingTests(BenchTestCase):
    """Contents are served from files, the trash and parts."""

    def setUp(self) -> None:
        it = self.it = self.bench()
        self.serving = Serving(
            disk=it.disk, names=it.names, index=it.index, parts=it.parts, trash=it.trash, workers=it.workers
        )

    def small(self, *contents: bytes) -> list[bytes | None]:
        """Ask for small contents."""
        return self.successResultOf(self.serving.read_contents(contents))

    def test_files_are_served(self) -> None:
        """A small file as a whole, any file in ranges; what is not here is None, or fails."""
        self.it.save("f", b"one")
        self.it.take_in()
        self.assertEqual(self.small(ONE, content_id(b"two")), [b"one", None])
        opened = self.successResultOf(self.serving.open(ONE))
        self.assertEqual(opened.size, 3)
        self.assertEqual(self.successResultOf(opened.read(1, 2)), b"ne")
        opened.close()
        self.failureResultOf(self.serving.open(content_id(b"two")), NotHeld)

    def test_a_changed_file_is_not_served(self) -> None:
        """A file that was saved since it was read is not held, nor one with other bytes and the same signature."""
        self.it.save("f", b"one")
        self.it.take_in()
        before = (self.it.root / "f").stat()
        (self.it.root / "f").write_bytes(b"two")
        self.failureResultOf(self.serving.open(ONE), NotHeld)
        self.assertEqual(self.small(ONE), [None])
        os.utime(self.it.root / "f", ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertEqual(self.small(ONE), [None])

    def test_a_file_that_changes_while_it_is_served(self) -> None:
        """A range of a file that changed, or became shorter, since it was opened is not given."""
        self.it.save("f", b"one")
        self.it.take_in()
        opened = self.successResultOf(self.serving.open(ONE))
        self.addCleanup(opened.close)
        self.failureResultOf(opened.read(0, 4), NotHeld)
        (self.it.root / "f").write_bytes(b"other")
        self.failureResultOf(opened.read(0, 3), NotHeld)

    def test_a_file_that_is_replaced_while_it_is_served(self) -> None:
        """Who has begun to read a file gets all of it, also after another took its name."""
        self.it.save("f", b"one")
        self.it.take_in()
        opened = self.successResultOf(self.serving.open(ONE))
        self.addCleanup(opened.close)
        self.it.save("f", b"two")
        self.assertEqual(self.successResultOf(opened.read(0, 3)), b"one")

    def test_trash_and_parts_are_served(self) -> None:
        """What was displaced and what was fetched are served like files."""
        self.it.save("f", b"one")
        self.it.take_in()
        self.it.theirs("f", None)
        self.it.plan()
        two = content_id(b"two")
        self.it.parts.put_small([(two, b"two")])
        self.assertEqual(self.it.tree(), {})
        self.assertEqual(self.small(ONE, two), [b"one", b"two"])
        for content in (ONE, two):
            opened = self.successResultOf(self.serving.open(content))
            self.assertEqual(opened.size, 3)
            opened.close()

    def test_another_file_serves_instead(self) -> None:
        """Where one of two equal files was changed or removed, the other is served."""
        for path in ("a", "b", "c"):
            self.it.save(path, b"one")
        self.it.take_in()
        (self.it.root / "a").unlink()
        self.it.save("b", b"two")
        self.assertEqual(self.small(ONE), [b"one"])
        self.successResultOf(self.serving.open(ONE)).close()

    def test_large_files_are_not_small(self) -> None:
        """A content over the limit for whole answers is only served in ranges, and its list of chunks is kept."""
        data = os.urandom(16) * (SMALL_BYTES // 8)
        self.it.save("f", data)
        self.it.take_in()
        self.assertEqual(self.small(content_id(data)), [None])
        self.successResultOf(self.serving.open(content_id(data))).close()
        manifest = self.it.live()["f"].manifest
        self.assertTrue(self.successResultOf(self.serving.manifest(manifest)))
        self.failureResultOf(self.serving.manifest(b"?" * 32), NotHeld)
