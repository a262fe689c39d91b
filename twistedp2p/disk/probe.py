"""What a file system can do, found by trying: its name and its documentation say too little (FUSE, NFS, exFAT)."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

from twistedp2p.disk.seam import Abilities, Disk, Name

__all__ = ["probe"]

_CAN_NOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK)
_MTIME = 1_000_000_001_123_456_789
"""Odd in its seconds and in every digit after: what a disk drops of it shows how exactly it stores."""
_STEPS_NS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
_COMPOSED = "tp2p-probe-\u00e9".encode()
_DECOMPOSED = "tp2p-probe-e\u0301".encode()
_A, _B, _UPPER = b"tp2p-probe-a", b"tp2p-probe-b", b"TP2P-PROBE-A"


def probe(disk: Disk, scratch: Name) -> Abilities:
    """Return what the file system of `disk` can do, tried out in the folder `scratch`, which is left as it was.

    Raises `OSError` if not even a file can be made there.
    """
    a, b = (*scratch, _A), (*scratch, _B)
    _clean(disk, scratch)
    try:
        with disk.create(a) as made:
            made.set_mtime(_MTIME)
            granularity = _granularity(made.stat().mtime_ns)
        case_sensitive = _refuses(lambda: disk.stat((*scratch, _UPPER)), FileNotFoundError)
        hard_links = _can(lambda: disk.link(a, b))
        if not hard_links:
            disk.create(b).close()
        noreplace = _refuses(lambda: disk.rename(a, b), FileExistsError)
        exchange = _can(lambda: disk.exchange(a, b))
        return Abilities(exchange, noreplace, hard_links, case_sensitive, _normalises(disk, scratch), granularity)
    finally:
        _clean(disk, scratch)


def _normalises(disk: Disk, scratch: Name) -> bool:
    disk.create((*scratch, _DECOMPOSED)).close()
    return _DECOMPOSED not in (name for name, _ in disk.entries(scratch))


def _clean(disk: Disk, scratch: Name) -> None:
    for name in (_A, _B, _UPPER, _COMPOSED, _DECOMPOSED):
        with contextlib.suppress(FileNotFoundError):
            disk.unlink((*scratch, name))


def _granularity(mtime_ns: int) -> int:
    for step in _STEPS_NS:
        if _MTIME // step * step == mtime_ns:
            return step
    return _STEPS_NS[-1]


def _can(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError as error:
        if error.errno not in _CAN_NOT:
            raise
        return False
    return True


def _refuses(action: Callable[[], object], error: type[OSError]) -> bool:
    """Return whether `action` raises `error`; what it can not do at all counts as not refused."""
    try:
        _can(action)
    except error:
        return True
    return False
