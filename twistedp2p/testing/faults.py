"""What may be wrong with a disk: calls that fail, a limit on room, and the end of the process inside of a call.

    faults = DiskFaults(random)
    disk = FaultyDisk(RealDisk(folder), faults, died=kill)
    faults.fail(errno.EIO, often=0.1)       every tenth call fails, until `mend`
    faults.fail_once(17, errno.EIO)         the 17th call from now fails
    faults.room = 1_000_000                 the files of the folder may have so many bytes
    faults.crash(17, Moment.WITHIN)         the process dies in the middle of the 17th call from now

A `FaultyDisk` stands for the disk as one process has it; `DiskFaults` for the disk itself, which goes on when the
process is gone. A call that fails changes nothing, but for a write, of which the first half is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import NoReturn, TypeVar

from attrs import frozen

from twistedp2p.disk.probe import probe
from twistedp2p.disk.seam import Abilities, Disk, Lock, Name, OpenFile, Space, Stat

__all__ = ["CAN_FAIL", "Crashed", "DiskFaults", "FaultyDisk", "FaultyFile", "Moment", "anywhere"]

T = TypeVar("T")

_NAMING = frozenset({"create", "exchange", "link", "make_folder", "remove_folder", "rename", "unlink"})
_FINDING = _NAMING | {"enter", "entries", "open", "open_part", "stat", "sync_folder"}
_GROWING = frozenset({"copy_from", "create", "link", "make_folder", "rename", "resize", "write_at"})
_FILES = frozenset({"copy_from", "file_stat", "read_at", "resize", "set_mode", "set_mtime", "sync", "write_at"})
CAN_FAIL = {
    errno.ENOSPC: _GROWING,
    errno.EDQUOT: _GROWING,
    errno.EIO: _FINDING | _FILES | {"space", "sync_all"},
    errno.EACCES: _FINDING,
    errno.EMFILE: _FINDING,
    errno.EROFS: _NAMING | {"open_part"},
}
"""For each error that can be asked for: the verbs of the seam that a system lets fail with it."""


class Crashed(BaseException):
    """The process died inside of a call of its disk. No `Exception`: nothing in the process may carry on from it."""


class Moment(Enum):
    """When a process dies, by the call that it dies in."""

    BEFORE = "before the call changed anything"
    WITHIN = "when the first half is written; the same as after it for all calls but writing and copying"
    AFTER = "when all is done, and nobody heard of it"


def anywhere(name: Name) -> bool:
    """Whether a fault is felt at this name: at every one."""
    return True


@frozen
class _Failing:
    error: int
    often: float
    where: Callable[[Name], bool]

    def meets(self, verb: str, names: tuple[Name, ...]) -> bool:
        # What is asked of the whole disk (how much room there is, say) fails only where all of it does.
        here = any(map(self.where, names)) if names else self.where is anywhere
        return here and verb in CAN_FAIL[self.error]


class DiskFaults:
    """What is wrong with one disk at the moment; `random` decides which calls fail.

    `calls` counts the calls that were made so far; `log` says what they were, from `record` on. `room` is how many
    bytes the files of the folder may have in all, None if there is no limit but the real one: an index does not count.
    """

    def __init__(self, random: Random) -> None:
        self.calls = 0
        self.failed = 0
        self.room: int | None = None
        self.log: list[str] | None = None
        self._random = random
        self._failing: list[_Failing] = []
        self._crash: tuple[int, Moment] | None = None
        self._once: tuple[int, int] | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self._failing and self.room is None and self._crash is None and self._once is None

    def fail(self, error: int, *, often: float = 1.0, where: Callable[[Name], bool] = anywhere) -> None:
        """Let calls fail with an `errno` of `CAN_FAIL`, so `often` (0 to 1), at the names that `where` says."""
        if error not in CAN_FAIL:
            raise ValueError(f"no call of a disk is known to fail with {os.strerror(error)}")
        self._failing.append(_Failing(error, often, where))

    def fail_once(self, calls: int, error: int) -> None:
        """Let one of the next calls fail, the first one if `calls` is 1, with an `errno`; not if it never fails so."""
        self._once = (self.calls + calls, error)

    def mend(self) -> None:
        """Let nothing be wrong any more."""
        self._failing.clear()
        self._once = None
        self.room = None
        self._crash = None

    def crash(self, calls: int, moment: Moment) -> None:
        """Let the process die in one of its next calls: the first one, if `calls` is 1."""
        self._crash = (self.calls + calls, moment)

    def record(self) -> None:
        """Note from now on in `log` which calls are made."""
        self.log = []

    def begin(self, verb: str, names: tuple[Name, ...]) -> Moment | None:
        """A call is made; return when in it the process dies, None if it does not. Raises what it fails with."""
        self.calls += 1
        if self.log is not None:
            self.log.append(" ".join([verb, *(os.fsdecode(b"/".join(name)) for name in names)]))
        if self._crash is not None and self.calls >= self._crash[0]:
            moment, self._crash = self._crash[1], None
            return moment
        error = self._error(verb, names)
        if error is not None:
            self.failed += 1
            raise OSError(error, os.strerror(error), os.fsdecode(b"/".join(names[0])) if names else None)
        return None

    def _error(self, verb: str, names: tuple[Name, ...]) -> int | None:
        if self._once is not None and self.calls >= self._once[0]:
            (_, error), self._once = self._once, None
            return error if verb in CAN_FAIL[error] else None
        for failing in self._failing:
            if failing.meets(verb, names) and self._random.random() < failing.often:
                return failing.error
        return None


class FaultyDisk:
    """A `disk.seam.Disk` as one process has it; `died` is called when it dies inside of a call.

    A process that died may try what it likes while it is unwound: every call raises `Crashed`.
    """

    def __init__(self, disk: Disk, faults: DiskFaults, died: Callable[[], None]) -> None:
        self._disk = disk
        self._faults = faults
        self._died = died
        self._dead = False
        self._whole = self
        self._above: Name = ()

    def do(
        self, verb: str, names: tuple[Name, ...], call: Callable[[], T], half: Callable[[], object] | None = None
    ) -> T:
        """Make one call; `half` does the first part of it, if it has parts."""
        if self._whole._dead:
            raise Crashed
        try:
            moment = self._faults.begin(verb, tuple((*self._above, *name) for name in names))
        except OSError:
            if half is not None:
                half()
            raise
        if moment is Moment.BEFORE:
            self._die()
        if moment is Moment.WITHIN and half is not None:
            half()
            self._die()
        if moment is None:
            return call()
        # It dies after the call, whether that did something or failed, as one that asks for what is not there.
        with contextlib.suppress(OSError):
            result = call()
            if isinstance(result, (FaultyFile, FaultyDisk)):
                result.close()
        self._die()

    def _die(self) -> NoReturn:
        self._whole._dead = True
        self._died()
        raise Crashed

    def room_for(self, size: int) -> int:
        """Return how many of `size` bytes have room."""
        return size if self._faults.room is None else max(0, min(size, self._faults.room - self._whole._used(())))

    def _used(self, folder: Name) -> int:
        used = 0
        for component, stat in self._disk.entries(folder):
            if stat.kind.name == "FOLDER":
                used += self._used((*folder, component))
            elif not component.startswith(b"index.sqlite"):
                used += stat.size
        return used

    # -- the seam -----------------------------------------------------------

    def enter(self, folder: Name) -> FaultyDisk:
        """See `Disk.enter`: it dies with this one, and its calls are calls of this one."""

        def enter() -> FaultyDisk:
            inside = FaultyDisk(self._disk.enter(folder), self._faults, self._died)
            inside._whole = self._whole
            inside._above = (*self._above, *folder)
            return inside

        return self.do("enter", (folder,), enter)

    def in_place(self) -> bool:
        """See `Disk.in_place`."""
        return self._disk.in_place()

    def stat(self, name: Name) -> Stat:
        """See `Disk.stat`."""
        return self.do("stat", (name,), lambda: self._disk.stat(name))

    def entries(self, folder: Name) -> list[tuple[bytes, Stat]]:
        """See `Disk.entries`."""
        return self.do("entries", (folder,), lambda: self._disk.entries(folder))

    def names(self, folder: Name, after: bytes, most: int, form: Callable[[bytes], bytes] = bytes) -> list[bytes]:
        """See `Disk.names`."""
        return self.do("names", (folder,), lambda: self._disk.names(folder, after, most, form))

    def stats(self, folder: Name, names: Sequence[bytes]) -> list[tuple[bytes, Stat]]:
        """See `Disk.stats`."""
        return self.do("stats", (folder,), lambda: self._disk.stats(folder, names))

    def open(self, name: Name) -> OpenFile:
        """See `Disk.open`."""
        return self.do("open", (name,), lambda: FaultyFile(self, self._disk.open(name), name))

    def open_part(self, name: Name) -> OpenFile:
        """See `Disk.open_part`."""
        return self.do("open_part", (name,), lambda: FaultyFile(self, self._disk.open_part(name), name))

    def create(self, name: Name, mode: int = 0o666) -> OpenFile:
        """See `Disk.create`."""
        return self.do("create", (name,), lambda: FaultyFile(self, self._disk.create(name, mode), name))

    def make_folder(self, name: Name, mode: int = 0o777) -> None:
        """See `Disk.make_folder`."""
        self.do("make_folder", (name,), lambda: self._disk.make_folder(name, mode))

    def remove_folder(self, name: Name) -> None:
        """See `Disk.remove_folder`."""
        self.do("remove_folder", (name,), lambda: self._disk.remove_folder(name))

    def unlink(self, name: Name) -> None:
        """See `Disk.unlink`."""
        self.do("unlink", (name,), lambda: self._disk.unlink(name))

    def rename(self, source: Name, target: Name) -> None:
        """See `Disk.rename`."""
        self.do("rename", (source, target), lambda: self._disk.rename(source, target))

    def replace(self, source: Name, target: Name) -> None:
        """See `Disk.replace`."""
        self.do("replace", (source, target), lambda: self._disk.replace(source, target))

    def exchange(self, one: Name, other: Name) -> None:
        """See `Disk.exchange`."""
        self.do("exchange", (one, other), lambda: self._disk.exchange(one, other))

    def link(self, source: Name, target: Name) -> None:
        """See `Disk.link`."""
        self.do("link", (source, target), lambda: self._disk.link(source, target))

    def sync_folder(self, folder: Name) -> None:
        """See `Disk.sync_folder`."""
        self.do("sync_folder", (folder,), lambda: self._disk.sync_folder(folder))

    def sync_all(self) -> None:
        """See `Disk.sync_all`."""
        self.do("sync_all", (), self._disk.sync_all)

    def space(self) -> Space:
        """See `Disk.space`: with a limit on room, the disk is as large as that."""
        return self.do("space", (), self._space)

    def _space(self) -> Space:
        room = self._faults.room
        return self._disk.space() if room is None else Space(max(0, room - self._whole._used(())), room)

    def now_ns(self) -> int:
        """See `Disk.now_ns`."""
        return self._disk.now_ns()

    def lock(self, name: Name) -> Lock:
        """See `Disk.lock`."""
        return self._disk.lock(name)

    def probe(self, scratch: Name) -> Abilities:
        """See `Disk.probe`; each of its calls is one of this disk."""
        return probe(self, scratch)

    def close(self) -> None:
        """See `Disk.close`."""
        self._disk.close()


class FaultyFile:
    """A `disk.seam.OpenFile` of a `FaultyDisk`; made by it."""

    def __init__(self, disk: FaultyDisk, file: OpenFile, name: Name) -> None:
        self._disk = disk
        self._file = file
        self._names = (name,)

    def stat(self) -> Stat:
        """See `OpenFile.stat`."""
        return self._disk.do("file_stat", self._names, self._file.stat)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `OpenFile.read_at`."""
        return self._disk.do("read_at", self._names, lambda: self._file.read_at(offset, size))

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """See `OpenFile.write_at`: what has room is written."""

        def write() -> None:
            there = self._file.stat().size
            fits = max(0, there - offset) + self._disk.room_for(max(0, offset + len(data) - there))
            if fits < len(data):
                self._file.write_at(offset, data[:fits])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._file.write_at(offset, data)

        half = data[: len(data) // 2]
        self._disk.do("write_at", self._names, write, lambda: self._file.write_at(offset, half))

    def copy_from(self, source: OpenFile, source_offset: int, offset: int, size: int) -> int:
        """See `OpenFile.copy_from`: what has room is copied."""
        original = source._file if isinstance(source, FaultyFile) else source

        def copy() -> int:
            there = self._file.stat().size
            fits = min(size, max(0, there - offset) + self._disk.room_for(max(0, offset + size - there)))
            copied = self._file.copy_from(original, source_offset, offset, fits)
            if fits < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return copied

        def half() -> None:
            self._file.copy_from(original, source_offset, offset, size // 2)

        return self._disk.do("copy_from", self._names, copy, half)

    def resize(self, size: int) -> None:
        """See `OpenFile.resize`: what is added has no blocks, but it is counted as if it had."""

        def resize() -> None:
            grows = max(0, size - self._file.stat().size)
            if self._disk.room_for(grows) < grows:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._file.resize(size)

        self._disk.do("resize", self._names, resize)

    def set_mode(self, mode: int) -> None:
        """See `OpenFile.set_mode`."""
        self._disk.do("set_mode", self._names, lambda: self._file.set_mode(mode))

    def set_mtime(self, mtime_ns: int) -> None:
        """See `OpenFile.set_mtime`."""
        self._disk.do("set_mtime", self._names, lambda: self._file.set_mtime(mtime_ns))

    def sync(self) -> None:
        """See `OpenFile.sync`."""
        self._disk.do("sync", self._names, self._file.sync)

    def close(self) -> None:
        """See `OpenFile.close`: also what a dead process had open is let go of."""
        self._file.close()

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
