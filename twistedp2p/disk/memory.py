"""The memory of this process: what is free goes back to the system.

The C library takes a large block from the system by itself and gives it back when it is freed. But by default glibc
counts a block as large only if it is longer than the longest one that was freed so far. After the first large file all
buffers lie in its heaps, between small things that stay, and the heaps only grow.
"""

from __future__ import annotations

import ctypes

from twistedp2p.limits import KEPT_FREE_BYTES, LARGE_BLOCK_BYTES

__all__ = ["give_back_memory", "keep_free_memory"]

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of glibc's malloc.h
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD


def give_back_memory() -> bool:
    """Let every block from `LARGE_BLOCK_BYTES` on be given back when it is freed; return whether that can be had.

    It counts for the whole process, so only programs call it. Other C libraries than glibc have other ways, and their
    own defaults stay.
    """
    return _set(_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def keep_free_memory(block_bytes: int = LARGE_BLOCK_BYTES) -> bool:
    """Let `KEPT_FREE_BYTES` at the end of the heap stay when they are free; return whether that can be had.

    Blocks shorter than `block_bytes` are taken from the heap. By default glibc keeps 128 KiB, or twice the longest
    block that it gave back so far. A program that reads into a buffer and frees it, again and again, would have its
    pages taken away and given back, all zero, for every read: a third of its time. Programs call it, as above.
    """
    return _set(_TRIM_THRESHOLD, KEPT_FREE_BYTES) and _set(_MMAP_THRESHOLD, block_bytes)


def _set(name: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(name, value) == 1
