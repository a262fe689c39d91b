"""Tokens: what stands for one state of a file towards the other side, and the content ids that are known of them.

A token is a keyed hash of inode, size and mtime: it tells nobody anything, and it is the same after a restart of the
server, so that a download can go on.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from blake3 import blake3

from twistedp2p.disk.seam import Stat
from twistedp2p.limits import KNOWN_HASHES, TIMESTAMP_TICK_NS

__all__ = ["KnownHashes", "Tokens"]

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
