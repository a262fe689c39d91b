"""Hash what a file has. Blocks: for worker threads; reading and hashing release the GIL."""

from __future__ import annotations

from blake3 import blake3

from twistedp2p import limits
from twistedp2p.disk.seam import OpenFile

__all__ = ["content_id_of", "hasher_of"]


def content_id_of(data: bytes | bytearray | memoryview) -> bytes:
    """Return the content id of `data`, 32 bytes; also the hash by which a chunk is named."""
    return blake3(data).digest()


def hasher_of(file: OpenFile, size: int) -> blake3:
    """Return a hasher that has the first `size` bytes of a file; it can go on from there.

    Its digest is the content id of these bytes. A file that is shorter is hashed as it is. Raises OSError.
    """
    hasher = blake3()
    for offset in range(0, size, limits.READ_BYTES):
        hasher.update(file.read_at(offset, min(limits.READ_BYTES, size - offset)))
    return hasher
