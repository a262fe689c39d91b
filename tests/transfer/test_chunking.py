"""Content is cut and named alike on every peer, whatever the buffers it arrives in."""

from __future__ import annotations

import struct
from itertools import pairwise

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.errors import CorruptContent, SizeChanged, TooLarge
from twistedp2p.transfer.chunking import (
    Chunker,
    Cutting,
    Hashed,
    Manifest,
    cutting_for,
    manifest_bytes_most,
    manifest_id_of,
)
from twistedp2p.transfer.hashing import content_id_of

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def stream(length: int, label: bytes = b"twistedp2p test vector") -> bytes:
    """Return `length` bytes that look random and are the same everywhere."""
    return blake3(label).digest(length=length)


def hashed(data: bytes, step: int = MIB) -> Hashed:
    """Return what the chunker says of `data`, fed in steps."""
    chunker = Chunker(len(data))
    for at in range(0, len(data), step):
        chunker.feed(memoryview(data)[at : at + step])
    return chunker.finish()


def encoded(size: int, average: int, lengths: list[int], form: int = 1) -> bytes:
    """Return an encoded manifest as anybody could write it."""
    header = struct.pack(">BQII", form, size, average, len(lengths))
    return header + struct.pack(f">{len(lengths)}I", *lengths) + bytes(32) * len(lengths)


class VectorTests(SynchronousTestCase):
    """What may never change, because other peers rely on it."""

    def test_small_contents_have_no_manifest(self) -> None:
        """Up to 64 KiB a content is its own only chunk."""
        for length, content_id in (
            (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1, "e1e0e81d6ea39b0cf8b86ffd440921011f57400cbc3f76a8a171906a9b8d7505"),
            (65536, "ab4b327c93183f0e6fd55be9fd35937c9a700fdc2e0fd0bf45b873a6e7362868"),
        ):
            self.assertEqual(hashed(stream(length)), Hashed(bytes.fromhex(content_id), length, None))

    def test_large_contents_are_cut_where_they_always_were(self) -> None:
        """Cuts, content id and manifest id of pinned contents."""
        for length, content_id, manifest_id, lengths in (
            (
                65537,
                "d0798a7ed5fdfff963c50ba05ddfc11f553df3b92856131255d69fd679914a3b",
                "cdd46a5b12dbd031ddd9059a95147ae1e1cee5904cc626c8ba2ea6276c3eb31e",
                [65537],
            ),
            (
                1048576,
                "0a7d12aebef6722aee899bef7dc5a5c1f18a47f96a67ca6280acb90db67f6481",
                "949da0f1ba1a7975d174e49a75b25258295d4d78b33fad54fd34a6a004427fb8",
                [342193, 279240, 308621, 118522],
            ),
            (
                5000000,
                "c3b0fd147d519e9d5ac458887b562e85757a32a6ec64d6f1fe7f17cff33fc571",
                "4351697f3c2722601b92d8eb825c3a8adf0b93e382071e3e73e7d005a7bebf98",
                [
                    *(342193, 279240, 308621, 292274, 386517, 315812, 356685, 299850),
                    *(292970, 362344, 250152, 308511, 403145, 318617, 311112, 171957),
                ],
            ),
        ):
            found = hashed(stream(length))
            assert found.manifest is not None
            self.assertEqual(found.content_id.hex(), content_id)
            self.assertEqual(found.manifest.manifest_id.hex(), manifest_id)
            self.assertEqual([size for _, size in found.manifest.chunks], lengths)

    def test_manifest_bytes(self) -> None:
        """The encoding is pinned byte for byte."""
        manifest = hashed(stream(70000)).manifest
        assert manifest is not None
        self.assertEqual(
            manifest.encode().hex(),
            "01" "0000000000011170" "00040000" "00000001" "00011170"
            "2a4dd67641d6b1e9831b51e7cb1afab790698647d0a7539ff085aabc553bc219",
        )  # fmt: skip

    def test_parameters(self) -> None:
        """The average is doubled from 2 GiB on and stops at 4 MiB."""
        for size, average in (
            (64 * KIB + 1, 256 * KIB),
            (2 * GIB, 256 * KIB),
            (2 * GIB + 1, 512 * KIB),
            (16 * GIB + 1, 4 * MIB),
            (limits.CONTENT_BYTES, 4 * MIB),
        ):
            self.assertEqual(cutting_for(size), Cutting(average // 4, average, average * 4))
        for size in (64 * KIB, limits.CONTENT_BYTES + 1):
            self.assertRaises(ValueError, cutting_for, size)

    def test_every_manifest_can_be_sent_and_every_chunk_asked_for(self) -> None:
        """The worst manifest of the largest content is within the limit, and so is the longest chunk."""
        self.assertLessEqual(manifest_bytes_most(limits.CONTENT_BYTES), limits.MANIFEST_BYTES)
        self.assertLessEqual(cutting_for(limits.CONTENT_BYTES).longest, limits.RANGE_BYTES)


class ChunkerTests(SynchronousTestCase):
    """What the chunker promises of any content."""

    DATA = stream(6 * MIB + 12345)
    WHOLE = hashed(DATA, step=len(DATA))

    @settings(max_examples=25, deadline=None)
    @given(cuts=st.lists(st.integers(0, 6 * MIB + 12345), max_size=40))
    def test_buffers_do_not_matter(self, cuts: list[int]) -> None:
        """However the bytes are split into buffers, cuts and ids are the same."""
        chunker = Chunker(len(self.DATA))
        edges = [0, *sorted(cuts), len(self.DATA)]
        for begin, end in pairwise(edges):
            chunker.feed(self.DATA[begin:end])
        self.assertEqual(chunker.finish(), self.WHOLE)

    def test_tiny_buffers_do_not_matter(self) -> None:
        """Buffers far smaller than a chunk give the same cuts."""
        self.assertEqual(hashed(self.DATA, step=4099), self.WHOLE)

    def test_hashes_are_of_the_bytes(self) -> None:
        """Each chunk has the hash of its bytes, and the content id is that of all of them."""
        manifest = self.WHOLE.manifest
        assert manifest is not None
        self.assertEqual(self.WHOLE.content_id, content_id_of(self.DATA))
        for offset, (digest, length) in zip(manifest.offsets(), manifest.chunks, strict=True):
            self.assertEqual(digest, content_id_of(self.DATA[offset : offset + length]))

    def test_an_insertion_moves_only_the_chunks_around_it(self) -> None:
        """A byte put in near the beginning leaves most chunks as they were."""
        changed = hashed(self.DATA[:1000] + b"!" + self.DATA[1000:])
        assert changed.manifest is not None and self.WHOLE.manifest is not None
        common = set(changed.manifest.chunks) & set(self.WHOLE.manifest.chunks)
        self.assertGreater(len(common), len(self.WHOLE.manifest.chunks) - 4)

    def test_a_file_that_changes_its_size_is_refused(self) -> None:
        """Growing shows at once, shrinking at the end; neither gives a name."""
        for size in (10, 100_000):
            chunker = Chunker(size)
            chunker.feed(bytes(size))
            self.assertRaises(SizeChanged, chunker.feed, b"x")
            chunker = Chunker(size)
            chunker.feed(bytes(size - 1))
            self.assertRaises(SizeChanged, chunker.finish)

    def test_the_largest_content(self) -> None:
        """The limit can be begun, a byte more can not."""
        Chunker(limits.CONTENT_BYTES)
        self.assertRaises(TooLarge, Chunker, limits.CONTENT_BYTES + 1)


class ManifestTests(SynchronousTestCase):
    """Nothing that is not a manifest is taken for one."""

    def test_round_trip(self) -> None:
        """What is encoded is parsed to the same value."""
        manifest = hashed(stream(3 * MIB)).manifest
        assert manifest is not None
        self.assertEqual(Manifest.parse(manifest.encode(), manifest.manifest_id), manifest)
        self.assertNotEqual(manifest.manifest_id, content_id_of(manifest.encode()))

    def test_another_id(self) -> None:
        """A manifest that was not asked for is refused, however right it is."""
        good = encoded(MIB, 256 * KIB, [512 * KIB, 512 * KIB])
        Manifest.parse(good, manifest_id_of(good))
        self.assertRaises(CorruptContent, Manifest.parse, good, bytes(32))

    def test_hostile_manifests(self) -> None:
        """Wrong format, parameters, lengths, sums and sizes are all refused."""
        average, half = 256 * KIB, 512 * KIB
        good = encoded(MIB, average, [half, half])
        for bad in (
            b"",
            good[:16],
            good[:-1],
            good + b"\0",
            encoded(MIB, average, [half, half], form=2),
            encoded(MIB, average * 2, [half, half]),
            encoded(MIB, average, [half, half, half]),
            encoded(MIB, average, [half, half - 1]),
            encoded(MIB, average, [half, half, 0]),
            encoded(MIB, average, []),
            encoded(MIB, average, [64 * KIB - 1, MIB - 64 * KIB + 1]),
            encoded(2 * MIB, average, [MIB + 1, MIB - 1]),
            encoded(2 * MIB, average, [MIB - 1, MIB + 1]),
            encoded(64 * KIB, average, [64 * KIB]),
            encoded(0, average, []),
            encoded(2**63, average, [MIB]),
            struct.pack(">BQII", 1, MIB, average, 2**32 - 1) + bytes(36),
        ):
            self.assertRaises(CorruptContent, Manifest.parse, bad)
        Manifest.parse(encoded(MIB + 1, average, [MIB, 1]))
        Manifest.parse(encoded(64 * KIB + MIB, average, [64 * KIB, MIB]))

    @given(st.binary(max_size=200))
    def test_junk(self, junk: bytes) -> None:
        """Any bytes are a manifest or corrupt, never another error."""
        try:
            manifest = Manifest.parse(junk)
        except CorruptContent:
            return
        self.assertEqual(manifest.encode(), junk)
