"""Memory that is free goes back to the system. Each test is a process of its own: the setting is for all of it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from twistedp2p.limits import LARGE_BLOCK_BYTES, MOVING_BLOCK_BYTES

_MEASURE = """
import ctypes, sys
from twistedp2p.disk.memory import give_back_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Info
if sys.argv[1] == "set":
    assert give_back_memory()
size = int(sys.argv[2])
bytearray(4 * 1024 * 1024)  # is freed at once
before = mallinfo().hblkhd
kept = bytearray(size)
print(mallinfo().hblkhd - before >= size)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo"), reason="not the GNU C library")
@pytest.mark.parametrize(
    ("setting", "size", "by_itself"),
    [
        ("unset", 8 * LARGE_BLOCK_BYTES, False),
        ("set", 8 * LARGE_BLOCK_BYTES, True),
        ("set", LARGE_BLOCK_BYTES // 2, False),
    ],
)
def test_large_blocks_are_given_back(setting: str, size: int, by_itself: bool) -> None:
    """After a large block was freed, the next ones still come from the system, and go back to it; small ones do not."""
    words = [sys.executable, "-c", _MEASURE, setting, str(size)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(by_itself)


_KEEP = """
import sys
from twistedp2p.disk.memory import keep_free_memory
resident = lambda: int(open("/proc/self/statm").read().split()[1])
size = int(sys.argv[2])
if sys.argv[1] == "set":
    assert keep_free_memory(int(sys.argv[3]))
blocks = [bytearray(b"x" * size) for _ in range(4 * 1024 * 1024 // size)]
full = resident()
del blocks
print(full - resident() > 512)  # pages: half of what the blocks had
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo"), reason="not the GNU C library")
@pytest.mark.parametrize(
    ("setting", "size", "block", "given_back"),
    [
        ("unset", 65536, 0, True),
        ("set", 65536, LARGE_BLOCK_BYTES, False),
        ("set", 2 * LARGE_BLOCK_BYTES, LARGE_BLOCK_BYTES, True),
        ("set", 2 * LARGE_BLOCK_BYTES, MOVING_BLOCK_BYTES, False),
        ("set", MOVING_BLOCK_BYTES, MOVING_BLOCK_BYTES, True),
    ],
)
def test_buffers_are_kept(setting: str, size: int, block: int, given_back: bool) -> None:
    """A program that uses buffers again and again may keep their memory when they are free, up to a size."""
    words = [sys.executable, "-c", _KEEP, setting, str(size), str(block)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(given_back)
