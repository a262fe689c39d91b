"""The file `.twistedp2pignore` as it lies on a disk."""

from __future__ import annotations

from twistedp2p.disk.seam import Disk
from twistedp2p.limits import IGNORE_BYTES
from twistedp2p.peer.ignore import IGNORE_NAME, Ignores, parse_ignores

__all__ = ["list_on", "text_on"]

_NAME = (IGNORE_NAME.encode(),)


def text_on(disk: Disk) -> bytes:
    """Return the text of the file, one byte too much of one that is too long.

    Raises FileNotFoundError if there is none, OSError if it can not be read or is no file.
    """
    with disk.open(_NAME) as opened:
        return opened.read_at(0, IGNORE_BYTES + 1)


def list_on(disk: Disk) -> Ignores:
    """Return the list that the file makes, that of the defaults alone if there is none.

    Raises OSError if it can not be read, `ListUnusable` if it is beyond its limits.
    """
    try:
        return parse_ignores(text_on(disk))
    except FileNotFoundError:
        return parse_ignores()
