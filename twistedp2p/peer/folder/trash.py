"""Where displaced and deleted files are kept: one plain file each, in a folder for each day."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from attrs import frozen

from twistedp2p.disk.seam import Disk, FileKind, Name
from twistedp2p.limits import COMPONENT_BYTES
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.mark import TRASH
from twistedp2p.peer.folder.names import signature_of
from twistedp2p.peer.folder.read import Read, read
from twistedp2p.peer.values import Signature

__all__ = ["TrashStore", "Trashed", "displaced_at"]

_NAME = re.compile(r"([0-9]{8})/([0-9a-f]{16}\.[^/\0]+)", re.DOTALL)
_DAY = re.compile(r"[0-9]{8}")
_PRIVATE = 0o700
_SERIAL_BYTES = 5


@frozen
class Trashed:
    """One file in the trash: its name there, what it was called, and its signature."""

    name: str
    basename: str
    signature: Signature


class TrashStore:
    """The trash of one shared folder.

    A file's name here is ``YYYYMMDD/HHMMSS<10 hex digits>.<what it was called>``: the day and time (UTC) at which it
    was displaced, and as many random digits as make the name unique. `entropy` gives that many random bytes.
    """

    def __init__(self, disk: Disk, entropy: Callable[[int], bytes]) -> None:
        self._disk = disk
        self._entropy = entropy
        self._days: set[str] = set()

    def allocate(self, path: RelPath, now: float) -> str:
        """Return a name that nothing has, for what lies at `path`; its day, from `now` (s since 1970), is made."""
        moment = datetime.fromtimestamp(now, timezone.utc)
        day = f"{moment:%Y%m%d}"
        if day not in self._days:
            with contextlib.suppress(FileExistsError):
                self._disk.make_folder((*TRASH, day.encode()), _PRIVATE)
                self._disk.sync_folder(TRASH)
            self._days = {day}
        serial = f"{moment:%H%M%S}{self._entropy(_SERIAL_BYTES).hex()}"
        basename = path.name.encode()[: COMPONENT_BYTES - len(serial) - 1].decode("utf-8", "ignore")
        return f"{day}/{serial}.{basename}"

    def locate(self, name: str) -> Name:
        """Return where the disk has the entry `name`; raises `ValueError` for what was never allocated."""
        found = _NAME.fullmatch(name)
        if not found:
            raise ValueError(f"not a name in the trash: {name!r}")
        return (*TRASH, found[1].encode(), found[2].encode())

    def keep(self, source: Name, path: RelPath, now: float) -> str:
        """Move a part that nobody publishes here, so that its bytes stay; return its name. Sync it before saying so."""
        name = self.allocate(path, now)
        self._disk.rename(source, self.locate(name))
        return name

    def days(self) -> list[str]:
        """Return the days of which there is a folder, the newest first."""
        found = [
            component.decode()
            for component, stat in self._disk.entries(TRASH)
            if stat.kind is FileKind.FOLDER and _DAY.fullmatch(component.decode("ascii", "replace"))
        ]
        return found[::-1]

    def entries_of(self, day: str) -> Iterator[Trashed]:
        """Yield what was displaced on one day, the newest first; what others put there is none of ours."""
        try:
            found = self._disk.entries((*TRASH, day.encode()))
        except FileNotFoundError:
            return
        for component, stat in reversed(found):
            name = f"{day}/{component.decode('utf-8', 'replace')}"
            if stat.kind is FileKind.FILE and _NAME.fullmatch(name) and name.encode().endswith(component):
                yield Trashed(name, name.partition(".")[2], signature_of(stat))

    def look(self, name: str) -> Signature | None:
        """Return the signature of the entry now, None if there is none."""
        try:
            return signature_of(self._disk.stat(self.locate(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> Read | None:
        """Return the entry as read now, None if it is gone or somebody still writes to it."""
        found = read(self._disk, self.locate(name))
        return found if isinstance(found, Read) else None

    def has(self, name: str, content: bytes) -> bool:
        """Return whether the entry's bytes have the content id `content`: reads them; a name alone proves nothing."""
        found = self.read(name)
        return found is not None and found.observed.content == content

    def remove(self, name: str) -> None:
        """Remove an entry for good; nothing happens if it is gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(self.locate(name))

    def remove_empty_days(self) -> None:
        """Remove the folders of days from which everything is gone; call it only between two publishes."""
        self._days.clear()
        for day in self.days():
            with contextlib.suppress(OSError):  # it is not empty
                self._disk.remove_folder((*TRASH, day.encode()))


def displaced_at(name: str) -> float:
    """Return when the entry `name` was displaced, seconds since 1970; the start of its day if only that is known."""
    year, month, day = int(name[:4]), int(name[4:6]), int(name[6:8])
    time = name[9:15]
    try:
        moment = datetime(year, month, day, tzinfo=timezone.utc)
        if time.isdecimal():
            with contextlib.suppress(ValueError):
                moment = moment.replace(hour=int(time[:2]), minute=int(time[2:4]), second=int(time[4:]))
        return moment.timestamp()
    except ValueError:
        return 0.0  # no such day: a folder that somebody made by hand
