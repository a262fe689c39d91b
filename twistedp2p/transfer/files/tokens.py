"""Tokens: what stands for one state of a file towards the other side, and the content ids that are known of them.

A token is a keyed hash of inode, size and mtime: it tells nobody anything, and it is the same after a restart of the
server, so that a download can go on.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from threading import Lock

from blake3 import blake3

from twistedp2p.disk.seam import Stat
from twistedp2p.limits import HASHED_AT_ONCE, KNOWN_HASHES, TIMESTAMP_TICK_NS

__all__ = ["HashesUnderWay", "KnownHashes", "Tokens"]

_STATE = struct.Struct(">QQq")
_WORD = 2**64


class Tokens:
    """Makes tokens with a key of 32 bytes, which the server keeps to itself."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, stat: Stat) -> bytes:
        """Return the token, 16 bytes, of a file in this state."""
        state = _STATE.pack(stat.inode % _WORD, stat.size % _WORD, stat.mtime_ns)
        return blake3(state, key=self._key).digest(16)

    def of_name(self, text: str) -> str:
        """Return what a file of our own about `text` is called, 32 hexadecimal digits."""
        return blake3(text.encode(), key=self._key).hexdigest(16)


class KnownHashes:
    """The content ids of files that were hashed, by their tokens; the oldest are forgotten. Threads may share it."""

    def __init__(self, most: int = KNOWN_HASHES) -> None:
        self._most = most
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, token: bytes) -> bytes | None:
        """Return the content id of the file with that token, None if it is not known."""
        return self._known.get(token)

    def add(self, token: bytes, content: bytes, stat: Stat, now_ns: int) -> None:
        """Keep a content id, unless the file was written so lately that the next write may leave the same token."""
        if not 0 <= now_ns - stat.mtime_ns <= TIMESTAMP_TICK_NS:
            self._known[token] = content
            while len(self._known) > self._most:
                self._known.popitem(last=False)


class HashesUnderWay:
    """Hashes files while they are read for somebody, so that they need not be read once more. Threads may share it.

    Only what is read from the first byte to the last, nearly in order, is hashed: each piece as it comes, or after the
    one before it, if that is only a little late.
    """

    _LATE = 8

    def __init__(self, most: int = HASHED_AT_ONCE) -> None:
        self._most = most
        self._files: OrderedDict[bytes, _Hashing] = OrderedDict()
        self._lock = Lock()

    def read(self, token: bytes, size: int, offset: int, data: bytes) -> bytes | None:
        """These bytes were read of a file of `size` bytes; return its content id if they were the last."""
        with self._lock:
            hashing = self._files.get(token)
            if hashing is None:
                if offset and (offset > self._LATE * len(data) or len(self._files) == self._most):
                    return None  # it was not read from the first byte, or is none of those that are hashed
                hashing = self._files[token] = _Hashing()
                while len(self._files) > self._most:
                    self._files.popitem(last=False)
        with hashing.lock:
            hashing.late[offset] = data
            while (piece := hashing.late.pop(hashing.at, None)) is not None:
                hashing.hasher.update(piece)
                hashing.at += len(piece)
            if hashing.at < size and len(hashing.late) <= self._LATE:
                return None
            whole = hashing.at == size
        with self._lock:
            self._files.pop(token, None)
        return hashing.hasher.digest() if whole else None


class _Hashing:
    def __init__(self) -> None:
        self.lock = Lock()
        self.hasher = blake3()
        self.at = 0
        self.late: dict[int, bytes] = {}
