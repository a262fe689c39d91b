"""What is sent to an echo server: pseudo-random bytes, others for each connection and each message.

So a byte that was damaged, lost, doubled, or sent back to another client is seen.
"""

from __future__ import annotations

import struct

from blake3 import blake3

__all__ = ["Payloads"]


class Payloads:
    """The messages of one run, `size` bytes each; `seed` makes them others in each run."""

    def __init__(self, seed: bytes, size: int) -> None:
        self.size = size
        self._seed = seed

    def stream(self, connection: int, message: int) -> bytes:
        """Return the message of that number of that connection."""
        return blake3(self._seed + struct.pack(">QQ", connection, message)).digest(self.size)

    def datagram(self, connection: int, message: int) -> bytes:
        """Return the same as a datagram, which begins with the message's number (8 bytes)."""
        return struct.pack(">Q", message) + self.stream(connection, message)[8:]

    @staticmethod
    def number(datagram: bytes) -> int | None:
        """Return the number of the message that a datagram says it is; None if it is too short for one."""
        return int.from_bytes(datagram[:8], "big") if len(datagram) >= 8 else None


def first_difference(found: bytes, expected: bytes) -> int:
    """Return where two strings of bytes begin to differ."""
    for at, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return at
    return min(len(found), len(expected))
