"""What the facts of a machine, a folder and a network mean for a person: pure functions from facts to findings.

`examining` gathers the facts; `doctor` prints the findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from enum import Enum

from attrs import frozen

from twistedp2p.cli.words import count, shown, size
from twistedp2p.disk.machine import MountedAt, Watches
from twistedp2p.disk.seam import Abilities, Space
from twistedp2p.framing.knock import Answer, Ending
from twistedp2p.limits import FREE_SPACE_BYTES, PEER_CONNECTIONS, TIMESTAMP_TICK_NS
from twistedp2p.peer.index_outside import Seen
from twistedp2p.peer.index_schema import STEPS

__all__ = [
    "Finding",
    "Level",
    "judge_abilities",
    "judge_answer",
    "judge_clock",
    "judge_free_files",
    "judge_index",
    "judge_libraries",
    "judge_mounted",
    "judge_open_files",
    "judge_private",
    "judge_space",
    "judge_version",
    "judge_watches",
    "worst",
]

_FEW_FILES = 1024
_RELEASED = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
_FAR_AWAY = datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()
_FEW_INODES = 1000
_NEARLY = 0.9
_REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "lustre", "beegfs", "virtiofs", "vboxsf", "fuse.sshfs")
_POOR = ("vfat", "msdos", "exfat", "ntfs", "fuseblk", "hfs")


class Level(str, Enum):
    """How bad it is: only a problem keeps something from working."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """What one check found: its name, for scripts; one sentence; and what to do, if there is something to do."""

    check: str
    level: Level
    text: str
    advice: str = ""


def _ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


# -- this machine -----------------------------------------------------------------


def judge_version(check: str, name: str, found: str, least: str) -> Finding:
    """Judge the version of something that we need; `least` is the oldest that works."""
    if _numbers(found) >= _numbers(least):
        return _ok(check, f"{name} {found}")
    return Finding(check, Level.PROBLEM, f"{name} {found} is too old.", f"Install {least} or later.")


def judge_libraries(needed: Iterable[tuple[str, str, str | None]]) -> Finding:
    """Judge libraries: their name, the oldest version that works, and the one that is there (None: there is none)."""
    wanting = []
    number = 0
    for name, least, found in needed:
        number += 1
        if found is None:
            wanting.append(f"{name} is missing")
        elif _numbers(found) < _numbers(least):
            wanting.append(f"{name} is {found}, and {least} is needed")
    if wanting:
        return Finding(
            "libraries", Level.PROBLEM, f"{'; '.join(wanting)}.", "Install twistedp2p again: pip install -U twistedp2p"
        )
    return _ok("libraries", f"all {number} libraries are there, in versions that work")


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, (3, 10) for 3.10rc1: enough to compare releases."""
    numbers = []
    for part in version.split("."):
        found = re.match(r"\d+", part)
        if found is None:
            break
        numbers.append(int(found[0]))
    return tuple(numbers)


def judge_open_files(soft: int, hard: int) -> Finding:
    """Judge how many files a process may have open, and how far it may raise that."""
    if soft >= _FEW_FILES:
        return _ok("open-files", f"{soft:,} files may be open at once")
    raised = f"Raise it: ulimit -n {min(4 * _FEW_FILES, hard)}, or LimitNOFILE= of a service."
    level = Level.PROBLEM if soft < PEER_CONNECTIONS else Level.WARNING
    return Finding("open-files", level, f"Only {soft:,} files may be open at once.", raised)


def judge_watches(watches: Watches, folders: int = 0) -> Finding:
    """Judge inotify's limits; `folders` are those that a peer, which does not run yet, will need a watch for each."""
    name = "watches"
    if watches.most is None:
        return Finding(
            name,
            Level.WARNING,
            "This system has no inotify: changes are found by scans only, once an hour.",
            "Use Linux if changes must be seen at once.",
        )
    used = watches.used or 0
    queues, queues_most = watches.queues_used or 0, watches.queues_most
    if queues_most is not None and queues >= queues_most:
        return Finding(
            name,
            Level.PROBLEM,
            f"All {count(queues_most, 'inotify instance')} of this user are in use.",
            f"Raise the limit: sysctl fs.inotify.max_user_instances={2 * queues_most} (and in /etc/sysctl.d).",
        )
    needed = used + folders
    said = f"{used:,} of {watches.most:,} watches are in use" + (
        f", and {count(folders, 'folder')} will need one" if folders else ""
    )
    if needed <= _NEARLY * watches.most:
        return _ok(name, said)
    level = Level.PROBLEM if needed > watches.most else Level.WARNING
    least = max(2 * needed, 2 * watches.most)
    return Finding(
        name,
        level,
        f"{said}: changes in folders without a watch are seen by scans only.",
        f"Raise the limit: sysctl fs.inotify.max_user_watches={least} (and in /etc/sysctl.d).",
    )


def judge_clock(now: float) -> Finding:
    """Judge the clock of this machine, seconds since 1970."""
    if _RELEASED <= now < _FAR_AWAY:
        return _ok("clock", f"it is {datetime.fromtimestamp(now, timezone.utc):%Y-%m-%d %H:%M} UTC here")
    return Finding(
        "clock",
        Level.PROBLEM,
        f"This machine's clock says that it is {datetime.fromtimestamp(max(now, 0), timezone.utc):%Y}.",
        "Set it, best by network time.",
    )


def judge_private(check: str, path: str, mode: int, mine: bool, writable: bool) -> Finding:
    """Judge a folder or file of secrets: its permission bits, whether it belongs to this user, who may write to it."""
    if not writable:
        return Finding(
            check, Level.PROBLEM, f"{path} can not be written to.", "Give yourself permission, or choose another one."
        )
    if not mine:
        return Finding(check, Level.WARNING, f"{path} belongs to another user.", "Start twistedp2p as its owner.")
    if mode & 0o077:
        return Finding(check, Level.WARNING, f"Others may use {path}, and it has secrets.", f"chmod go= {path}")
    return _ok(check, f"{path} is yours alone")


# -- the folder ---------------------------------------------------------------------


def judge_space(space: Space) -> Finding:
    """Judge the room on the disk of the folder by the floor that fetching keeps."""
    floor = min(FREE_SPACE_BYTES, space.total // 100)
    said = f"{size(space.free)} of {size(space.total)} are free"
    if space.free < floor:
        return Finding(
            "space", Level.PROBLEM, f"{said}: below {size(floor)} nothing is fetched.", "Make room on that disk."
        )
    if space.free < 2 * floor:
        return Finding(
            "space", Level.WARNING, f"{said}: below {size(floor)} nothing will be fetched.", "Make room on that disk."
        )
    return _ok("space", said)


def judge_free_files(free: int, total: int) -> Finding | None:
    """Judge how many more files the disk takes; None if it has no such limit."""
    if not total or free >= _FEW_INODES:
        return None
    level = Level.WARNING if free else Level.PROBLEM
    text = f"The disk takes only {count(free, 'more file', 'more files')}."
    return Finding("space", level, text, "Remove some files.")


def judge_mounted(mounted: MountedAt, read_only: bool) -> Finding:
    """Judge the kind of file system that the folder is on."""
    name = "file-system"
    kind = mounted.kind or "of a kind that the system does not tell"
    if read_only:
        return Finding(
            name,
            Level.PROBLEM,
            f"The disk of the folder ({kind}) is read-only: nothing can be stored.",
            f"Mount it for writing: mount -o remount,rw {mounted.place or 'PLACE'}",
        )
    if mounted.kind.startswith(_REMOTE):
        return Finding(
            name,
            Level.WARNING,
            f"The folder is on a network file system ({kind}): changes by other machines are seen by scans only.",
            "Run the peer on the machine that has the disk.",
        )
    if mounted.kind.startswith(_POOR):
        return Finding(
            name,
            Level.WARNING,
            f"The folder is on {kind}, which has no permissions, and may be torn by a power cut.",
            "Use a file system of Linux, such as ext4 or Btrfs.",
        )
    return _ok(name, f"the folder is on {kind}")


def judge_abilities(found: Abilities) -> list[Finding]:
    """Judge what the file system of the folder could do when it was tried."""
    wanting = []
    if not found.noreplace and not found.hard_links:
        wanting.append((Level.PROBLEM, "It can not rename without replacing, nor make hard links: nothing is stored."))
    if not found.exchange:
        wanting.append((Level.WARNING, "It can not exchange two names: a replaced file is not there for an instant."))
    if not found.case_sensitive:
        wanting.append((Level.WARNING, "It takes `a` and `A` for one name: of two such files only one is stored."))
    if found.normalises:
        wanting.append((Level.WARNING, "It changes the Unicode form of names."))
    if found.mtime_granularity_ns > TIMESTAMP_TICK_NS:
        seconds = found.mtime_granularity_ns / 1e9
        wanting.append((Level.WARNING, f"It keeps times to {seconds:g} s: files just written are read twice."))
    if not wanting:
        return [_ok("abilities", "the file system can all that is needed")]
    return [Finding("abilities", level, text, "Use another file system for the folder.") for level, text in wanting]


def judge_index(seen: Seen) -> Finding:
    """Judge an index by what it looks like from outside."""
    said = f"{size(seen.size)}, schema {seen.version}"
    if seen.open:
        return _ok("index", f"{size(seen.size)}, in use by a process, which checked it when it opened it")
    if seen.version > len(STEPS):
        return Finding(
            "index", Level.PROBLEM, f"The index is of a later version ({seen.version}).", "Update twistedp2p."
        )
    if seen.wrong:
        return Finding(
            "index",
            Level.PROBLEM,
            f"The index is damaged ({shown(seen.wrong)[:200]}).",
            "Start the peer: it sets the index aside and reads the folder anew, and no file is lost. Look at the disk.",
        )
    if not seen.closed:
        return _ok("index", f"{said}; it was not closed, so the next start checks all of it")
    return _ok("index", f"{said}, sound")


# -- the network --------------------------------------------------------------------


def judge_answer(check: str, who: str, place: str, answer: Answer, expected: bytes, actual: bytes) -> Finding:
    """Judge what answered at `place`, where `who` should be.

    `expected` and `actual` are the pin or node id of who should be there, and of who is (empty: nobody).
    """
    if answer.ending is Ending.NO_ROUTE:
        return Finding(
            check,
            Level.PROBLEM,
            f"{who} can not be reached at {place} ({shown(answer.why)}).",
            "See that it runs, that the address is right, and that no firewall is in between.",
        )
    if answer.ending is Ending.NO_TLS:
        return Finding(
            check,
            Level.PROBLEM,
            f"What answers at {place} is not {_lower(who)}: it speaks another protocol.",
            "See which program has that port there.",
        )
    if answer.ending is Ending.NO_VERSION:
        return Finding(
            check,
            Level.PROBLEM,
            f"{who} at {place} speaks no version of the conversation that this one speaks.",
            "Update the older of the two.",
        )
    if actual != expected:
        return Finding(
            check,
            Level.PROBLEM,
            f"What answers at {place} has another key than {_lower(who)}.",
            "If it was set up anew, ask for a new invite; if not, something stands between you and it.",
        )
    return _ok(check, f"{_lower(who)} answers at {place}, with the right key")


def worst(findings: Sequence[Finding]) -> Level:
    """Return the worst level of these."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)


def _lower(who: str) -> str:
    return who[:1].lower() + who[1:] if who.startswith(("The ", "This ", "Another ")) else who
