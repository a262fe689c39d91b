"""The disk of a simulated process: a real folder at the time of the simulation; and where such folders are best."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twistedp2p.disk.real import RealDisk

__all__ = ["SimDisk", "folder_in_memory"]

_MEMORY = "/dev/shm"  # noqa: S108  # only ever a folder of our own in it


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Make a temporary folder for a world, in memory if the system has room for files there, and remove it.

    In memory no inode number is used twice. Elsewhere it depends on all that goes on on that disk which number a
    new file gets, and a run may differ from the next one in what is taken for a rename.
    """
    where = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="world-") as folder:
        yield Path(folder)


class SimDisk(RealDisk):
    """A real folder; `wall` is the time, seconds since 1970, that the process believes it to be.

    It should be long past: the kernel stamps files by its own clock, and what is stamped in the future counts as
    neither just written nor old, so that a run does not depend on when it is run.
    """

    def __init__(self, root: bytes, wall: Callable[[], float]) -> None:
        super().__init__(root)
        self._wall = wall

    def now_ns(self) -> int:
        """Return the time of the simulation, nanoseconds since 1970."""
        return int(self._wall() * 1e9)
