"""What this machine allows and what is used of it: watches, open files, mounted file systems. Linux tells in /proc."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from attrs import frozen

__all__ = ["MountedAt", "Watches", "mounted_at", "open_files", "raise_open_files", "watches"]

_PROC = Path("/proc")
_INFINITE = 2**31


@frozen
class Watches:
    """inotify for this user: folders watched and queues of events, in use and at most. None: the system does not tell.

    What other programs of the user need counts as well.
    """

    used: int | None = None
    most: int | None = None
    queues_used: int | None = None
    queues_most: int | None = None


@frozen
class MountedAt:
    """The file system that a folder is on: its kind as the system calls it (ext4, nfs4, fuse.sshfs), and where it
    is mounted; "" if the system does not tell."""

    kind: str = ""
    place: str = ""


def open_files() -> tuple[int, int]:
    """Return how many files one process of this user may have open, and how far it may raise that itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(_INFINITE if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))  # type: ignore[return-value]


def raise_open_files(wanted: int) -> int:
    """Let this process have `wanted` files open, or as many as the system lets it; return how many it may have now.

    Nothing is lowered.
    """
    soft, hard = open_files()
    if soft < wanted:
        # A system may refuse a number that is its hard limit by name only (macOS: kern.maxfilesperproc).
        with contextlib.suppress(OSError, ValueError):
            unchanged = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), unchanged))
    return open_files()[0]


def watches(proc: Path = _PROC, user: int | None = None) -> Watches:
    """Return how many watches there are and may be for `user` (by default this one); other users' are not seen."""
    most, queues_most = (_number(proc / "sys/fs/inotify" / name) for name in ("max_user_watches", "max_user_instances"))
    if most is None:
        return Watches()
    used = queues = 0
    for process in _processes(proc, os.geteuid() if user is None else user):
        for opened in _queues_of(process):
            queues += 1
            used += _watches_of(process / "fdinfo" / opened)
    return Watches(used, most, queues, queues_most)


def mounted_at(folder: Path, table: Path = _PROC / "self/mountinfo") -> MountedAt:
    """Return the file system that `folder`, a real path, is on, as `table` (see proc(5), mountinfo) tells."""
    best = MountedAt()
    try:
        lines = os.fsdecode(table.read_bytes()).splitlines()
    except OSError:
        return best
    for line in lines:
        before, dash, after = line.partition(" - ")
        words, kind = before.split(" "), after.split(" ")[0]
        if dash and len(words) > 4:
            place = _unescaped(words[4])
            # Of several at one place the last one hides the others.
            if folder.is_relative_to(place) and len(place) >= len(best.place):
                best = MountedAt(kind, place)
    return best


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _processes(proc: Path, user: int) -> list[Path]:
    found = []
    with contextlib.suppress(OSError), os.scandir(proc) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if entry.name.isdigit() and entry.stat().st_uid == user:
                    found.append(Path(entry.path))
    return found


def _queues_of(process: Path) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(process / "fd"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "fd" / name) in ("anon_inode:inotify", "inotify"):
                    found.append(name)
    return found


def _watches_of(information: Path) -> int:
    try:
        return sum(line.startswith(b"inotify ") for line in information.read_bytes().splitlines())
    except OSError:
        return 0


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
