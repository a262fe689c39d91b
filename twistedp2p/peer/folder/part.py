"""One content being assembled from its chunks, each verified before it counts as there."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from twistedp2p.disk.seam import OpenFile
from twistedp2p.errors import CorruptContent, NoSpace
from twistedp2p.limits import PART_FLUSH_BYTES, PART_FLUSH_SECONDS, READ_BYTES
from twistedp2p.transfer.chunking import Manifest
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["Part", "full_disk"]


class Part:
    """One content under way; made by `PartStore.open`. One thread at a time.

    What arrives is verified chunk by chunk before it is written. A content without a manifest is one chunk.
    """

    def __init__(
        self, opened: OpenFile, content: bytes, size: int, manifest: Manifest | None, clock: Callable[[], float]
    ) -> None:
        self.content = content
        self.size = size
        self._file = opened
        self._clock = clock
        self._chunks = ((content, size),) if manifest is None else manifest.chunks
        self._offsets = [0] if manifest is None else manifest.offsets()
        self._missing = set(range(len(self._chunks)))
        self._whole = blake3()
        self._hashed = 0
        self._unflushed = 0
        self._flushed_at = clock()

    def recover(self) -> None:
        """Find what an earlier life of this process wrote: hashes all of it, so it blocks for a while."""
        for index, (digest, length) in enumerate(self._chunks):
            if content_id_of(self._file.read_at(self._offsets[index], length)) == digest:
                self._missing.discard(index)

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that are not there yet, in order."""
        return sorted(self._missing)

    def lacking(self) -> int:
        """Return how many bytes are not there yet."""
        return sum(self._chunks[index][1] for index in self._missing)

    def read(self, index: int) -> bytes | None:
        """Return a chunk that is there already, None if it is not: to serve others while this goes on."""
        if index in self._missing:
            return None
        return self._file.read_at(self._offsets[index], self._chunks[index][1])

    def write(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Take chunks (number, bytes), in any order, each verified before it is written; one that is there is skipped.

        Raises:
            CorruptContent: a chunk is not what the manifest says; those before it were written.
            NoSpace: the disk is full.
        """
        for index, data in chunks:
            if index not in self._missing:
                continue
            digest, length = self._chunks[index]
            if len(data) != length or content_id_of(data) != digest:
                raise CorruptContent(f"Chunk {index} is not the one that was asked for: ask another holder.")
            with full_disk():
                self._file.write_at(self._offsets[index], data)
            self._arrived(index, data)
        self._flush_if_due()

    def fill_from(self, source: OpenFile, places: Iterable[tuple[int, int]]) -> list[int]:
        """Copy chunks (number, offset in `source`) from a file on this disk, sharing blocks where the disk can.

        Each is verified after it was copied, so `source` may change meanwhile. Returns the chunks that were right.
        """
        filled = []
        for index, source_offset in places:
            if index not in self._missing:
                continue
            digest, length = self._chunks[index]
            with full_disk():
                self._file.copy_from(source, source_offset, self._offsets[index], length)
            data = self._file.read_at(self._offsets[index], length)
            if content_id_of(data) == digest:
                self._arrived(index, data)
                filled.append(index)
        self._flush_if_due()
        return filled

    def flush(self) -> None:
        """Make what is there survive a power cut."""
        self._file.sync()
        self._unflushed = 0
        self._flushed_at = self._clock()

    def finish(self) -> None:
        """Verify the whole; afterwards the part is closed and may be published.

        Raises:
            CorruptContent: chunks are missing, or the manifest is not that of this content.
        """
        if self._missing:
            raise CorruptContent(f"{len(self._missing)} chunks are still missing.")
        while self._hashed < self.size:
            data = self._file.read_at(self._hashed, min(READ_BYTES, self.size - self._hashed))
            if not data:
                break
            self._whole.update(data)
            self._hashed += len(data)
        if self._whole.digest() != self.content or self._file.stat().size != self.size:
            raise CorruptContent("The chunks do not add up to the content that was asked for: its record is wrong.")
        self.close()

    def close(self) -> None:
        """Let go of the file; what was written stays for the next `PartStore.open`."""
        self._file.close()

    def _arrived(self, index: int, data: bytes) -> None:
        self._missing.discard(index)
        self._unflushed += len(data)
        if self._offsets[index] == self._hashed:
            # In order, as from a single holder: then `finish` need not read it all again.
            self._whole.update(data)
            self._hashed += len(data)

    def _flush_if_due(self) -> None:
        late = self._clock() - self._flushed_at >= PART_FLUSH_SECONDS
        if self._unflushed >= PART_FLUSH_BYTES or (late and self._unflushed):
            self.flush()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Turn the system's error for a full disk, or quota, into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoSpace("The disk of the shared folder is full: make room, and it goes on by itself.") from error
