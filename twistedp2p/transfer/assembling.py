"""Putting contents together: the seam to where they are written, and what happens to the bytes on the way there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twistedp2p.transfer.chunking import Manifest
from twistedp2p.transfer.hashing import content_id_of

__all__ = ["Cut", "Part", "Parts", "store_run"]


class Part(Protocol):
    """One large content being assembled; used by one thread at a time."""

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that are not there yet."""

    def write(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Take chunks (number, bytes)."""

    def close(self) -> None:
        """Let go of it; what was written stays for the next `Parts.open`."""


class Parts(Protocol):
    """Where contents are assembled; every method blocks, and is run in a thread."""

    def put_small(self, contents: Iterable[tuple[bytes, bytes]]) -> None:
        """Store small contents (content id, bytes)."""

    def open(self, content: bytes, size: int, manifest: Manifest | None) -> Any:
        """Return the `Part` of a content, begun anew or gone on with."""

    def finish(self, part: Any) -> None:
        """Verify a part as a whole; raises CorruptContent if it is not that content."""


class Cut:
    """Puts the bytes of a run together into its chunks, as they arrive; each byte is copied once."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._pieces: list[memoryview] = []
        self._left = lengths[0]
        self._cut = 0
        self._chunks: list[bytes] = []
        self.taken = 0

    def take(self, _: int, data: bytes | memoryview) -> None:
        """Take the next bytes of the run."""
        self.taken += len(data)
        view = memoryview(data)
        while view:
            piece, view = view[: self._left], view[self._left :]
            self._pieces.append(piece)
            self._left -= len(piece)
            if not self._left:
                self._chunks.append(b"".join(self._pieces))
                self._pieces = []
                self._cut += 1
                self._left = self._lengths[self._cut] if self._cut < len(self._lengths) else 0
                if not self._left:
                    return

    def chunks(self) -> tuple[int, list[bytes]]:
        """Return the complete chunks that were not returned before, and the place of the first of them in the run."""
        chunks, self._chunks = self._chunks, []
        return self._cut - len(chunks), chunks


def store_run(part: Part, manifest: Manifest, first: int, chunks: list[bytes]) -> list[int]:
    """In a thread: write the chunks that have the right hash; return their numbers."""
    hashes = manifest.chunks[first : first + len(chunks)]
    good = [
        (index, chunk)
        for index, (chunk, (digest, _)) in enumerate(zip(chunks, hashes, strict=True), first)
        if content_id_of(chunk) == digest
    ]
    part.write(good)
    return [index for index, _ in good]
