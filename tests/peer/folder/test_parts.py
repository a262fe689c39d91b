"""Contents under way: verified before they count, and never begun all over again."""

from __future__ import annotations

import os
import random

from hypothesis import given
from hypothesis import strategies as st

from tests.peer.folder.shared import FolderTestCase, content_id
from twistedp2p.disk.seam import Space
from twistedp2p.errors import CorruptContent, NoSpace
from twistedp2p.limits import FREE_SPACE_BYTES, PART_FLUSH_BYTES, PART_FLUSH_SECONDS, PART_ORPHAN_SECONDS
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.part import Part
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.transfer.chunking import Chunker, Manifest

DATA = random.Random(7).randbytes(1_500_000)
ID = content_id(DATA)


def manifest_of(data: bytes) -> Manifest:
    """Return how `data` is cut."""
    chunker = Chunker(len(data))
    chunker.feed(data)
    manifest = chunker.finish().manifest
    assert manifest is not None
    return manifest


MANIFEST = manifest_of(DATA)
CHUNKS = [
    (index, DATA[offset : offset + length])
    for index, (offset, (_, length)) in enumerate(zip(MANIFEST.offsets(), MANIFEST.chunks, strict=True))
]


class LargeTests(FolderTestCase):
    """A content that comes in chunks."""

    def open(self) -> Part:
        """Return the part of the large content."""
        part = self.parts.open(ID, len(DATA), MANIFEST)
        self.addCleanup(part.close)
        return part

    def bytes_of_part(self) -> bytes:
        """Return what lies in the part."""
        return (self.root / ".twistedp2p/parts" / ID.hex()).read_bytes()

    @given(st.permutations(CHUNKS))
    def test_chunks_come_in_any_order(self, chunks: list[tuple[int, bytes]]) -> None:
        """Whatever the order, and some twice, the content is whole in the end, and not before."""
        part = self.open()
        missing = set(range(len(CHUNKS)))
        for index, data in chunks:
            self.assertEqual(part.missing(), sorted(missing))
            part.write([(index, data)])
            part.write([(index, data)])
            self.assertEqual(part.read(index), data)
            missing.discard(index)
        self.parts.finish(part)
        self.assertTrue(self.parts.has(ID))
        self.assertEqual(self.bytes_of_part(), DATA)
        self.parts.drop(ID)

    def test_a_bad_chunk_is_refused(self) -> None:
        """Wrong bytes, and right ones of another length, are not written; those before them in the call are."""
        part = self.open()
        self.assertRaises(CorruptContent, part.write, [CHUNKS[0], (1, b"x" * len(CHUNKS[1][1]))])
        self.assertRaises(CorruptContent, part.write, [(1, CHUNKS[1][1] + b"x")])
        self.assertEqual(part.missing(), list(range(1, len(CHUNKS))))
        self.assertIsNone(part.read(1))

    def test_a_content_with_holes_is_not_whole(self) -> None:
        """Before every chunk is there it can not be finished, and what came of it is removed."""
        part = self.open()
        part.write(CHUNKS[1:])
        self.assertRaises(CorruptContent, self.parts.finish, part)
        self.assertFalse(self.parts.has(ID))

    def test_a_manifest_of_another_content_is_found_out(self) -> None:
        """Chunks that are all right by a manifest, but do not add up to the content named, are given up."""
        named = content_id(b"another")
        part = self.parts.open(named, len(DATA), MANIFEST)
        part.write(CHUNKS)
        self.assertRaises(CorruptContent, self.parts.finish, part)
        self.assertFalse(self.parts.has(named))
        self.assertEqual(os.listdir(self.root / ".twistedp2p/parts"), [])

    def test_a_restart_goes_on_where_it_was(self) -> None:
        """After a kill, every chunk that was written is there; a torn one is not."""
        part = self.open()
        part.write([CHUNKS[0], CHUNKS[2]])
        part.close()
        path = self.root / ".twistedp2p/parts" / ID.hex()
        with path.open("r+b") as torn:
            torn.seek(MANIFEST.offsets()[1])
            torn.write(CHUNKS[1][1][:1000])
        self.parts = PartStore(self.disk, lambda: self.now)
        part = self.open()
        self.assertEqual(part.missing(), [index for index, _ in CHUNKS if index not in (0, 2)])
        part.write(CHUNKS)
        self.parts.finish(part)
        self.assertEqual(self.bytes_of_part(), DATA)

    def test_chunks_are_taken_from_files_of_this_disk(self) -> None:
        """A chunk is copied from wherever it lies in another file; one that is not there is not believed."""
        self.save("old version", b"inserted" + DATA[: len(DATA) // 2])
        part = self.open()
        places = [(index, offset + 8) for index, offset in enumerate(MANIFEST.offsets())]
        with self.disk.open((b"old version",)) as source:
            filled = part.fill_from(source, places)
        self.assertEqual(filled, list(range(len(filled))))
        self.assertTrue(0 < len(filled) < len(CHUNKS))
        self.assertEqual(part.missing(), list(range(len(filled), len(CHUNKS))))
        part.write(CHUNKS)
        self.parts.finish(part)
        self.assertEqual(self.bytes_of_part(), DATA)

    def test_a_content_without_manifest_is_one_chunk(self) -> None:
        """A small content, the empty one too, can be written like a large one."""
        for data in (b"", b"small"):
            part = self.parts.open(content_id(data), len(data), None)
            self.assertEqual(part.missing(), [0])
            part.write([(0, data)])
            self.parts.finish(part)
            self.assertTrue(self.parts.has(content_id(data)))

    def test_what_came_is_flushed_now_and_then(self) -> None:
        """After so many bytes, or so many seconds with something new, the part is flushed."""
        flushed = []

        class Counting(Part):
            def flush(self) -> None:
                flushed.append(self._unflushed)
                super().flush()

        size = PART_FLUSH_BYTES + 1
        data = bytes(size)
        opened = self.disk.create((*mark.PARTS, b"big"))
        part = Counting(opened, content_id(data), size, None, lambda: self.now)
        self.addCleanup(part.close)
        part.write([(0, data)])
        self.assertEqual(flushed, [size])
        opened.resize(0)
        part = Counting(self.disk.create((*mark.PARTS, b"late")), ID, len(DATA), MANIFEST, lambda: self.now)
        self.addCleanup(part.close)
        part.write(CHUNKS[:1])
        self.now += PART_FLUSH_SECONDS
        part.write([])
        part.write([])
        self.assertEqual(flushed, [size, len(CHUNKS[0][1])])


class SmallTests(FolderTestCase):
    """Contents that come whole, and many at a time."""

    def test_many_are_stored_in_a_call(self) -> None:
        """Each is there under its content id; one that is there already is left alone."""
        contents = [(content_id(data), data) for data in (b"1", b"22", b"")]
        self.parts.put_small([*contents, contents[0]])
        for content, data in contents:
            self.assertTrue(self.parts.has(content))
            self.assertEqual(self.content(PartStore.locate(content)), data)

    def test_what_has_another_hash_is_refused(self) -> None:
        """Bytes that are not the content named are not stored; those before them are."""
        good = content_id(b"good")
        self.assertRaises(CorruptContent, self.parts.put_small, [(good, b"good"), (content_id(b"x"), b"bad")])
        self.assertTrue(self.parts.has(good))
        self.assertFalse(self.parts.has(content_id(b"x")))

    def test_a_torn_one_of_an_earlier_life_is_replaced(self) -> None:
        """What a crash left under the name does not count."""
        content = content_id(b"whole")
        self.save(f".twistedp2p/parts/{content.hex()}", b"whole, and what was never written")
        self.assertFalse(self.parts.has(content))
        self.parts.put_small([(content, b"whole")])
        self.assertEqual(self.content(PartStore.locate(content)), b"whole")

    def test_a_copy_of_a_file_of_this_disk(self) -> None:
        """A content is copied from a file that has it, and not from one that has other bytes by now."""
        self.save("f", DATA)
        self.assertTrue(self.parts.take_copy((b"f",), ID))
        self.assertTrue(self.parts.has(ID))
        self.assertEqual(self.content(PartStore.locate(ID))[:100], DATA[:100])
        self.assertFalse(self.parts.take_copy((b"f",), content_id(b"else")))
        self.assertEqual(len(os.listdir(self.root / ".twistedp2p/parts")), 1)
        self.assertFalse(self.parts.take_copy((b"none",), content_id(b"none")))

    def test_published_parts_are_forgotten(self) -> None:
        """A part that was moved away is not there any more, and can come again."""
        content = content_id(b"1")
        self.disk.rename(self.part(b"1"), (b"f",))
        self.parts.published(content)
        self.assertFalse(self.parts.has(content))
        self.parts.sync()
        self.part(b"1")
        self.assertTrue(self.parts.has(content))

    def test_a_failed_flush_gives_the_parts_up(self) -> None:
        """What could not be made durable is not whole: the system has marked its pages as written."""
        contents = [(content_id(data), data) for data in (b"%d" % number for number in range(20))]
        self.parts.put_small(contents)

        def fail() -> None:
            raise OSError(5, "Input/output error")

        self.disk.before["sync_all"] = fail
        self.assertRaises(OSError, self.parts.sync)
        self.assertEqual([self.parts.has(content) for content, _ in contents], [False] * 20)
        self.parts.put_small(contents)
        self.parts.sync()
        self.assertEqual(self.disk.synced[-1], (b"*",))

    def test_orphans_are_removed_at_start(self) -> None:
        """Parts that nobody touched for a day go; younger ones, whole ones and other files stay."""
        old, young, whole = (content_id(data) for data in (b"old", b"young", b"whole"))
        self.part(b"whole")
        for content in (old, young):
            self.save(f".twistedp2p/parts/{content.hex()}", b"...")
        self.save(".twistedp2p/parts/readme")
        long_ago = self.disk.now_ns() - int(PART_ORPHAN_SECONDS * 1e9) - 1
        for name in (old.hex(), whole.hex(), "readme"):
            os.utime(self.root / ".twistedp2p/parts" / name, ns=(long_ago, long_ago))
        self.assertEqual(self.parts.remove_orphans(), 1)
        left = {young.hex(), whole.hex(), "readme"}
        self.assertEqual(set(os.listdir(self.root / ".twistedp2p/parts")), left)


class SpaceTests(FolderTestCase):
    """A disk is never filled to the brim."""

    def test_the_floor_stays_free(self) -> None:
        """1 GiB, or a hundredth of a small disk, is never used; both sides of the edge."""
        self.disk.room = Space(FREE_SPACE_BYTES + 10, FREE_SPACE_BYTES * 1000)
        self.parts.require_space(10)
        with self.assertRaisesRegex(NoSpace, "make room"):
            self.parts.require_space(11)
        self.disk.room = Space(110, 10_000)
        self.parts.require_space(10)
        self.assertRaises(NoSpace, self.parts.require_space, 11)

    def test_nothing_is_begun_without_room(self) -> None:
        """Small contents, parts of any claimed size and copies are refused before anything is written."""
        self.save("f", DATA)
        self.disk.room = Space(0, 10_000)
        self.assertRaises(NoSpace, self.parts.put_small, [(content_id(b"1"), b"1")])
        self.assertRaises(NoSpace, self.parts.take_copy, (b"f",), ID)
        self.disk.room = None
        self.assertRaises(NoSpace, self.parts.open, ID, 2**62, MANIFEST)
        self.assertEqual(os.listdir(self.root / ".twistedp2p/parts"), [])
