"""What somebody offers, as the person sees it who may receive it: names, sums, and what of it is here already."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from twistedp2p.cli.agreed import Agreed
from twistedp2p.cli.words import size
from twistedp2p.disk.seam import Disk, FileKind, Stat
from twistedp2p.errors import NoSpace, NoSuchFile
from twistedp2p.paths import RelPath
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.needed import bytes_to_come, stat_here
from twistedp2p.transfer.files.present import Taken
from twistedp2p.transfer.files.uploads import reserve

__all__ = ["SHOWN", "Proposal", "check_room"]

SHOWN = 20
"""Names that are listed for a person; the rest is counted."""


@define
class Proposal:
    """An offer while it is listed; `server` stands for the sender, as `FilesClient.source` does."""

    server: bytes
    agreed: Agreed = field(factory=Agreed)
    tops: list[FileEntry] = field(factory=list)
    more: int = 0
    """Names at the top beside `tops`."""
    files: int = 0
    bytes: int = 0
    gone: NoSuchFile | None = None
    """What the sender says is there no more."""
    needed: dict[Taken, int] = field(factory=lambda: dict.fromkeys((Taken.RENAME, Taken.OVERWRITE, Taken.SKIP), 0))
    """Bytes of room that it takes here, or less, by what is done with names that are taken."""
    taken: list[str] = field(factory=list)
    """The first of the names that files have here which may be others."""
    names_taken: int = 0
    _absent: str = "/"
    """A folder that is not here."""

    def add(self, entries: Sequence[FileEntry], disk: Disk | None) -> None:
        """Take the next entries of the list, and look what of them is on `disk`, if there is any; blocks."""
        self.agreed.listed(entries)
        for entry in entries:
            if "/" not in entry.path:
                if len(self.tops) < SHOWN:
                    self.tops.append(entry)
                else:
                    self.more += 1
            self.files += not entry.folder
            self.bytes += entry.size
            self._look(entry, disk)

    def _look(self, entry: FileEntry, disk: Disk | None) -> None:
        name = tuple(part.encode() for part in RelPath(entry.path).parts)
        # In a folder that is not here nothing is; a list comes in order, so that this is about one folder at a time.
        absent = disk is None or entry.path.startswith(f"{self._absent}/")
        here = None if disk is None or absent else stat_here(disk, name)
        if entry.folder:
            if here is None and not absent:
                self._absent = entry.path
            return
        if here is not None and _may_be_another(here, entry):
            self.names_taken += 1
            if len(self.taken) < SHOWN:
                self.taken.append(entry.path)
        for taken in self.needed:
            if disk is None or absent:
                self.needed[taken] += entry.size
            else:
                self.needed[taken] += bytes_to_come(disk, name, entry, here, server=self.server, taken=taken)


def _may_be_another(here: Stat, entry: FileEntry) -> bool:
    """Whether what is here may differ from a file that is offered, by what can be seen without reading it."""
    return here.kind is not FileKind.FILE or (here.size, here.mtime_ns) != (entry.size, entry.mtime_ns)


def check_room(disk: Disk, needed: int) -> None:
    """Raise `NoSpace` unless `needed` bytes fit on a disk beside what is kept free of it."""
    free = max(disk.space().free - reserve(disk), 0)
    if needed > free:
        raise NoSpace(
            f"There is not enough room: {size(needed)} are still to come, and {size(free)} are free. "
            "Make room, or choose another folder with --to."
        )
