"""Reading a folder that is no member of a share, for a look at what joining would do. Writes nothing. Blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import Factory, define

from twistedp2p.disk.seam import Disk
from twistedp2p.limits import SURVEY_TRIES
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.read import Absent, Changing, Read, read
from twistedp2p.peer.folder.scan import Scan
from twistedp2p.peer.values import FOLDER_CONTENT, Observed
from twistedp2p.versions import Kind

__all__ = ["Survey", "survey"]

_PAUSE = 0.05
"""A file that somebody writes to is read again after this, seconds."""


@define
class Survey:
    """How far the reading has come: files, their bytes, and (name, reason) of what is not shared."""

    files: int = 0
    bytes: int = 0
    hidden: list[tuple[str, str]] = Factory(list)


def survey(
    disk: Disk,
    rules: NameRules,
    surveyed: Survey,
    pause: Callable[[float], None],
    ignored: Callable[[RelPath, Kind], bool] = lambda path, kind: False,
) -> Iterator[tuple[str, Observed]]:
    """Yield all that could be shared, folders before what is in them; keeps `surveyed` up to date meanwhile.

    `pause` waits so many seconds; what is `ignored` is not read. Raises `FolderUnusable` if the folder can not be
    listed.
    """
    names = DiskNames()
    scan = Scan(disk, names, rules=rules, ignored=ignored)
    changing: list[RelPath] = []
    for piece in scan.slices():
        for found in piece:
            if found.kind == Kind.FOLDER:
                yield found.path.text, Observed(Kind.FOLDER, FOLDER_CONTENT, signature=found.signature)
            else:
                yield from _file(disk, names, found.path, surveyed, changing)
    surveyed.hidden += [(b"/".join(one.name).decode(errors="surrogateescape"), one.reason) for one in scan.hidden]
    for _ in range(SURVEY_TRIES):
        again, changing = changing, []
        if again:
            pause(_PAUSE)
        for path in again:
            yield from _file(disk, names, path, surveyed, changing)
    surveyed.hidden += [(path.text, "Somebody is writing to it: it is shared once it is quiet.") for path in changing]


def _file(
    disk: Disk, names: DiskNames, path: RelPath, surveyed: Survey, changing: list[RelPath]
) -> Iterator[tuple[str, Observed]]:
    reading = read(disk, names.of(path))
    if isinstance(reading, Read):
        surveyed.files += 1
        surveyed.bytes += reading.observed.size
        yield path.text, reading.observed
    elif isinstance(reading, Changing):
        changing.append(path)
    elif not isinstance(reading, Absent):
        surveyed.hidden.append((path.text, reading.reason))
