"""The files that are being fetched, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twistedp2p import limits
from twistedp2p.disk.seam import Name
from twistedp2p.errors import AlreadyThere, TwistedP2PError
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.pending import Pending
from twistedp2p.transfer.files.progress import FileEvent, Totals, What
from twistedp2p.transfer.files.tasks import Room

__all__ = ["Ledger"]


class Ledger:
    """Every file of which nothing became yet, by the name that was asked for; not more of a priority than are held.

    Args:
        heard: told what happens to each file.
    """

    def __init__(self, heard: Callable[[FileEvent], object]) -> None:
        self.heard = heard
        self.totals = Totals()
        self.known: dict[Priority, int] = dict.fromkeys(Priority, 0)
        """How many files of a priority are fetched or wait for it."""
        self._files: dict[Name, Pending] = {}
        self._room = {priority: Room(self._full(priority)) for priority in Priority}

    def _full(self, priority: Priority) -> Callable[[], bool]:
        return lambda: self.known[priority] >= limits.FILES_WAITING

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def files(self) -> Iterable[Pending]:
        """Those of which nothing became yet."""
        return self._files.values()

    # -- files come and change --

    async def room(self, priority: Priority) -> None:
        """Return when one more file of that priority may be added."""
        await self._room[priority].wait()

    def open(self) -> None:
        """Nobody waits for room any more."""
        for room in self._room.values():
            room.open()

    def to(self, target: Name) -> Pending | None:
        """Return the file that is fetched to a name."""
        return self._files.get(target)

    def add(self, file: Pending) -> bool:
        """Note a file; False if another one is fetched to its name: then it failed, which is said."""
        self.totals.files += 1
        self.totals.bytes += file.entry.size
        other = self._files.get(file.wanted)
        if other is not None:
            self.totals.files_failed += 1
            error = AlreadyThere(f"{other.path} is fetched to the same name; fetch them to two folders.")
            self.heard(FileEvent(What.FAILED, file.path, file.entry.size, 0, error))
            return False
        self._files[file.wanted] = file
        self.known[file.priority] += 1
        return True

    def has(self, file: Pending) -> bool:
        """Whether nothing became of `file` yet, and it was not begun anew."""
        return self._files.get(file.wanted) is file

    def begin_anew(self, file: Pending) -> Pending:
        """Return what stands for `file` from now on, for one more try."""
        anew = Pending(file.entry, file.wanted, file.priority, file.tries + 1)
        self._files[file.wanted] = anew
        return anew

    def changed(self, file: Pending, entry: FileEntry) -> None:
        """The server says something else of a file now."""
        self.totals.bytes += entry.size - file.entry.size
        file.entry = entry

    def set_priority(self, file: Pending, priority: Priority) -> None:
        """Count a file with others."""
        self.known[file.priority] -= 1
        self.known[priority] += 1
        before, file.priority = file.priority, priority
        self._room[before].freed()

    # -- what happens to them --

    def begun(self, file: Pending, offset: int) -> None:
        """The bytes of a file begin to move, from `offset` on: an earlier try left what is before."""
        event = FileEvent(What.BEGUN, file.path, file.entry.size, offset)
        self.totals.began(event)
        self.heard(event)

    def moved(self, file: Pending, size: int, offset: int) -> None:
        """`size` bytes of a file are stored; now it is here up to `offset`."""
        self.totals.moved += size
        self.totals.bytes_done += size
        self.heard(FileEvent(What.MOVED, file.path, file.entry.size, offset))

    def came_whole(self, file: Pending, size: int) -> None:
        """A file of `size` bytes came in one piece, and is in place."""
        self.totals.moved += size
        self.totals.bytes_done += size
        self.done(file)

    def done(self, file: Pending) -> None:
        """A file is in place, verified."""
        self._done(file, What.DONE)

    def skipped(self, file: Pending) -> None:
        """There is nothing to do for a file."""
        self.totals.bytes_done += file.entry.size
        self.totals.files_skipped += 1
        self._done(file, What.SKIPPED)

    def _done(self, file: Pending, what: What) -> None:
        self._forget(file)
        self.totals.files_done += 1
        target = "" if file.target == file.wanted else b"/".join(file.target).decode(errors="replace")
        self.heard(FileEvent(what, file.path, file.entry.size, file.entry.size, target=target))
        self._room[file.priority].freed()

    def failed(self, file: Pending, error: TwistedP2PError) -> None:
        """A file can not be fetched."""
        self._forget(file)
        self.totals.files_failed += 1
        self.heard(FileEvent(What.FAILED, file.path, file.entry.size, 0, error))
        self._room[file.priority].freed()

    def folder_failed(self, path: str, error: TwistedP2PError) -> None:
        """A folder can not be made; those that can are not counted."""
        self.totals.files += 1
        self.totals.files_failed += 1
        self.heard(FileEvent(What.FAILED, path, 0, 0, error))

    def _forget(self, file: Pending) -> None:
        if self._files.pop(file.wanted, None) is not None:
            self.known[file.priority] -= 1
