"""The memory of this process: what is free goes back to the system.

The C library takes a large block from the system by itself and gives it back when it is freed. But by default glibc
counts a block as large only if it is longer than the longest one that was freed so far. After the first large file all
buffers lie in its heaps, between small things that stay, and the heaps only grow.
"""

from __future__ import annotations

import ctypes

from twistedp2p.limits import LARGE_BLOCK_BYTES

__all__ = ["give_back_memory"]

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


def give_back_memory() -> bool:
    """Let every block from `LARGE_BLOCK_BYTES` on be given back when it is freed; return whether that can be had.

    It counts for the whole process, so only programs call it. Other C libraries than glibc have other ways, and their
    own defaults stay.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) == 1
