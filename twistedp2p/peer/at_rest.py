"""The trash of a shared folder that no process serves: opened by itself, under the folder's lock. Blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from twistedp2p.disk.real import RealDisk
from twistedp2p.home import Home
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.member import RID_BYTES, Member
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.purging import Purger

__all__ = ["trash_at_rest"]


@contextmanager
def trash_at_rest(folder: Path, home: Home, wall: Callable[[], float]) -> Iterator[Purger]:
    """Give the trash of `folder`, and keep every peer from serving it meanwhile; `wall` gives seconds since 1970.

    A damaged index is left for the peer, which knows what to do about it. Raises `FolderBusy` if a process serves the
    folder, `FolderUnusable` if it is not there or is none, `IndexUnusable`.
    """
    with closing(RealDisk(os.fsencode(folder))) as disk:
        mark.require(disk)
        lock = mark.lock(disk)
        try:
            with closing(_index(folder / ".twistedp2p" / "index.sqlite")) as index:
                days = Member(PeerOptions(folder, home)).trash_days
                yield Purger(index, TrashStore(disk, os.urandom), days=days, wall=wall)
        finally:
            lock.release()


def _index(path: Path) -> Index:
    """Return the index at `path`, or one that knows nothing if there is none: that is for the peer to begin."""
    return Index(str(path) if path.exists() else ":memory:", os.urandom(RID_BYTES), seal=_no_item, key_of=_no_item)


def _no_item(record: bytes) -> bytes:
    raise AssertionError("the trash is no reason to write a record")
