"""Parts that an earlier run left of files that changed at their server since then: nobody can go on with them. Blocks.

A folder is read once, before anything is written into it, and not again for each file that comes into it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict
from threading import Lock

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, Name
from twistedp2p.transfer.files.local import mark_of

__all__ = ["OldParts"]


class OldParts:
    """The parts that were in folders when the first file of each was to be fetched. Threads may share it.

    Args:
        disk: the folder that names are names in.
        most: folders of which they are known; the one that was needed least lately is read again.
    """

    def __init__(self, disk: Disk, most: int = limits.OLD_PARTS_FOLDERS) -> None:
        self._disk = disk
        self._most = most
        self._folders: OrderedDict[Name, dict[bytes, list[bytes]]] = OrderedDict()
        self._lock = Lock()

    def make_way(self, part: Name) -> None:
        """Remove the parts beside `part`, which is about to be made, that are of earlier states of the same file.

        That is the same file of the same server, for the same target; what is of another one stays. What can not be
        removed stays too: it is in nobody's way.
        """
        with self._lock:
            found = self._in(part[:-1])
            if not found:
                return
            old = found.pop(mark_of(part[-1]) or b"", [])
        for component in old:
            if component != part[-1]:
                with contextlib.suppress(OSError):
                    self._disk.unlink((*part[:-1], component))

    def _in(self, folder: Name) -> dict[bytes, list[bytes]]:
        """Return the parts in a folder, by what they are of."""
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = self._read(folder)
            if len(self._folders) > self._most:
                self._folders.popitem(last=False)
        self._folders.move_to_end(folder)
        return found

    def _read(self, folder: Name) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = defaultdict(list)
        with contextlib.suppress(OSError):
            # Hidden names come first; of more than so many some parts may stay.
            for component in self._disk.names(folder, b".", limits.LISTING_NAMES):
                mark = mark_of(component)
                if mark is not None:
                    found[mark].append(component)
        return dict(found)
