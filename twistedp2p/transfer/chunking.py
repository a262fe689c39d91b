"""Cut content into chunks by what is in it, and name it: content id, chunk hashes, manifest.

A content up to `limits.SMALL_BYTES` is one chunk and has no manifest. Larger ones are cut by FastCDC (the 2020
variant, normalisation level 2, as `pyfastcdc` implements it), so that an insertion moves only the chunks around it.
The parameters are a pure function of the size, hence equal contents have equal manifests on every peer; they, the
encoding of a manifest and both ids are pinned by test vectors and can never change under the same format byte.

Buffers are cut, never files: mapping a file that is truncated meanwhile kills the process. Hashing and cutting
release the GIL; run them in a worker thread.
"""

from __future__ import annotations

import struct

from attrs import frozen
from blake3 import blake3
from pyfastcdc import FastCDC

from twistedp2p import limits
from twistedp2p.errors import CorruptContent, SizeChanged, TooLarge
from twistedp2p.transfer.hashing import content_id_of

__all__ = [
    "Chunker",
    "Cutting",
    "Hashed",
    "Manifest",
    "cutting_for",
    "manifest_bytes_most",
    "manifest_id_of",
]

_MANIFEST_CONTEXT = "twistedp2p 2026 manifest id v1"
_FORMAT = 1
_HEADER = struct.Struct(">BQII")  # format, size, average, number of chunks; then lengths (u32 each), then hashes
_CHUNK_BYTES = 36


@frozen
class Cutting:
    """The parameters of the chunker: shortest (but the last), average and longest chunk, bytes."""

    shortest: int
    average: int
    longest: int


def cutting_for(size: int) -> Cutting:
    """Return how a content of `size` bytes is cut.

    256 KiB on average; doubled until there are at most about 8,192 chunks (from 2 GiB on), up to 4 MiB, which is
    as far as the chunker goes. So the manifest of a file up to 32 GiB is about 0.3 MB long.

    Raises:
        ValueError: for a size that has no manifest: small, or larger than `limits.CONTENT_BYTES`.
    """
    if not limits.SMALL_BYTES < size <= limits.CONTENT_BYTES:
        raise ValueError(f"a content of {size} bytes has no manifest")
    average = limits.CHUNK_AVERAGE
    while size > average * limits.CHUNKS_AIM and average < limits.CHUNK_AVERAGE_MOST:
        average *= 2
    return Cutting(average // 4, average, average * 4)


def manifest_id_of(encoded: bytes) -> bytes:
    """Return the id of an encoded manifest, 32 bytes; never equal to a content id (another hash context)."""
    return blake3(encoded, derive_key_context=_MANIFEST_CONTEXT).digest()


def manifest_bytes_most(size: int) -> int:
    """Return how many bytes the manifest of a content of `size` bytes has at most: all chunks the shortest."""
    return _HEADER.size + _CHUNK_BYTES * (size // cutting_for(size).shortest + 1)


@frozen
class Manifest:
    """What makes up a large content: its chunks as (hash, length), in order."""

    size: int
    average: int
    chunks: tuple[tuple[bytes, int], ...]

    def encode(self) -> bytes:
        """Return the one canonical encoding."""
        lengths = [length for _, length in self.chunks]
        header = _HEADER.pack(_FORMAT, self.size, self.average, len(lengths))
        return b"".join([header, struct.pack(f">{len(lengths)}I", *lengths), *(digest for digest, _ in self.chunks)])

    @property
    def manifest_id(self) -> bytes:
        """The id by which the encoded manifest is asked for."""
        return manifest_id_of(self.encode())

    def offsets(self) -> list[int]:
        """Return where each chunk begins, bytes."""
        offsets, offset = [], 0
        for _, length in self.chunks:
            offsets.append(offset)
            offset += length
        return offsets

    @classmethod
    def parse(cls, encoded: bytes, expected: bytes | None = None) -> Manifest:
        """Return the manifest that `encoded` says, which must have the id `expected` (None: not checked).

        Raises:
            CorruptContent: another id, or not the canonical encoding of any content; nothing of it can be used.
        """
        if expected is not None and manifest_id_of(encoded) != expected:
            raise CorruptContent("The list of chunks that was received is not the one asked for.")
        try:
            form, size, average, count = _HEADER.unpack_from(encoded)
        except struct.error as error:
            raise CorruptContent("The list of chunks is cut off.") from error
        if form != _FORMAT:
            raise CorruptContent("The list of chunks is of a newer format: update twistedp2p.")
        if len(encoded) != _HEADER.size + count * _CHUNK_BYTES:
            raise CorruptContent("The list of chunks has the wrong length.")
        try:
            cutting = cutting_for(size)
        except ValueError as error:
            raise CorruptContent("The list of chunks is of a size that has none.") from error
        if average != cutting.average:
            raise CorruptContent("The list of chunks was made with other parameters.")
        lengths = struct.unpack_from(f">{count}I", encoded, _HEADER.size)
        _check_lengths(lengths, size, cutting)
        first = _HEADER.size + 4 * count
        hashes = (encoded[at : at + 32] for at in range(first, len(encoded), 32))
        return cls(size, average, tuple(zip(hashes, lengths, strict=True)))


def _check_lengths(lengths: tuple[int, ...], size: int, cutting: Cutting) -> None:
    """Raise CorruptContent unless the chunker could have cut `size` bytes like this."""
    if sum(lengths) != size:
        raise CorruptContent("The chunks do not add up to the size.")
    if not 0 < lengths[-1] <= cutting.longest:
        raise CorruptContent("The last chunk is too long or empty.")
    if any(not cutting.shortest <= length <= cutting.longest for length in lengths[:-1]):
        raise CorruptContent("A chunk is shorter or longer than any that is cut.")


@frozen
class Hashed:
    """What was read: its content id, its size in bytes, and its manifest (None for a small content)."""

    content_id: bytes
    size: int
    manifest: Manifest | None


class Chunker:
    """Reads one content of a known size, in buffers of any length, and names it.

    The cuts do not depend on where one buffer ends and the next begins. Holds at most a few of the longest chunks.

    Args:
        size: of the content, bytes; the parameters follow from it.

    Raises:
        TooLarge: more than `limits.CONTENT_BYTES`: such a content can not be shared.
    """

    def __init__(self, size: int) -> None:
        if size > limits.CONTENT_BYTES:
            most = limits.CONTENT_BYTES // 1024**3
            raise TooLarge(f"The file is larger than {most} GiB, the most that can be shared: split it.")
        self._size = size
        self._read = 0
        self._whole = blake3()
        self._cutting = cutting_for(size) if size > limits.SMALL_BYTES else None
        self._pending = bytearray()
        self._chunks: list[tuple[bytes, int]] = []

    def feed(self, buffer: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises:
            SizeChanged: these are more than the size that was named: the file grew; begin again.
        """
        length = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if self._read + length > self._size:
            raise SizeChanged("The file grew while it was read: it is read again when it is quiet.")
        self._read += length
        self._whole.update(buffer)
        if self._cutting is None:
            return
        self._pending += buffer
        if len(self._pending) >= 2 * self._cutting.longest:
            self._cut(self._cutting, final=False)

    def finish(self) -> Hashed:
        """Return the names of what was fed; the chunker is used up.

        Raises:
            SizeChanged: less came than was named: the file shrank; begin again.
        """
        if self._read != self._size:
            raise SizeChanged("The file shrank while it was read: it is read again when it is quiet.")
        manifest = None
        if self._cutting is not None:
            self._cut(self._cutting, final=True)
            manifest = Manifest(self._size, self._cutting.average, tuple(self._chunks))
        return Hashed(self._whole.digest(), self._size, manifest)

    def _cut(self, cutting: Cutting, *, final: bool) -> None:
        """Cut what is pending; unless `final`, only where the bytes to come can not move the cut."""
        cutter = FastCDC(
            cutting.average, min_size=cutting.shortest, max_size=cutting.longest, normalized_chunking=2, seed=0
        )
        total = len(self._pending)
        done = 0
        pieces = cutter.cut_buf(self._pending)
        while done < total and (final or total - done >= cutting.longest):
            data = next(pieces).data
            self._chunks.append((content_id_of(data), data.nbytes))
            done += data.nbytes
            del data
        del pieces  # it exports the buffer, which can not shrink until then
        del self._pending[:done]
