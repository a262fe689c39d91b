"""Look at all of the shared folder, or at one folder of it: what is there, and what is not shared and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from twistedp2p.disk.seam import Disk, FileKind, Name, Stat
from twistedp2p.errors import BadPath, FolderUnusable
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder.mark import STATE
from twistedp2p.peer.folder.names import DiskNames, child_path, signature_of
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.values import Signature
from twistedp2p.versions import Kind

__all__ = ["IGNORED", "Found", "Hidden", "Listing", "Scan", "listing"]

IGNORED = "It is ignored."
"""The reason of what is not shared by choice."""


@frozen
class Found:
    """A file or folder that can be shared, as a look at it says; it was not read."""

    path: RelPath
    kind: Kind
    signature: Signature


@frozen
class Hidden:
    """Something on the disk that is not shared; `reason` is a sentence. `path` is None if the name has none.

    `trouble` says so if it would be shared, but can not be listed now.
    """

    name: Name
    path: RelPath | None
    reason: str
    trouble: Trouble | None = None


@frozen
class Listing:
    """All that one folder holds, as of one look: complete."""

    found: tuple[Found, ...]
    hidden: tuple[Hidden, ...]


def _nothing(path: RelPath, kind: Kind) -> bool:
    return False


def listing(
    disk: Disk,
    names: DiskNames,
    folder: RelPath | None,
    *,
    rules: NameRules = NameRules.POSIX,
    ignored: Callable[[RelPath, Kind], bool] = _nothing,
) -> Listing:
    """Return all that is in `folder` (None: the top of the share), and let `names` learn the disk's names.

    Raises:
        OSError: the folder is not there, or can not be listed in full; then nothing is known of what is in it.
    """
    above = () if folder is None else names.of(folder)
    here = disk.stat(above)
    found: list[Found] = []
    hidden: list[Hidden] = []
    taken: dict[RelPath, bytes] = {}
    for component, stat in _known_first(disk.entries(above), names, folder, rules):
        name = (*above, component)
        if component == STATE[0]:
            continue
        try:
            path = child_path(folder, component, rules)
        except BadPath as error:
            hidden.append(Hidden(name, None, str(error)))
            continue
        reason = _why_not(stat, here)
        if path in taken:
            hidden.append(Hidden(name, None, f"Another name differs from it only in its Unicode form: {path.name!r}."))
        elif reason:
            taken[path] = component
            hidden.append(Hidden(name, path, reason))
        else:
            taken[path] = component
            kind = Kind.FOLDER if stat.kind is FileKind.FOLDER else Kind.FILE
            if ignored(path, kind):
                hidden.append(Hidden(name, path, IGNORED))
            else:
                found.append(Found(path, kind, signature_of(stat)))
    for path, component in taken.items():
        names.learn(path, component)
    return Listing(tuple(found), tuple(hidden))


def _why_not(stat: Stat, here: Stat) -> str:
    """Return why what `stat` describes is not shared, "" if it is; `here` is the folder that it is in."""
    if stat.kind not in (FileKind.FILE, FileKind.FOLDER):
        return f"It is {stat.kind.value}; only files and folders are shared."
    if stat.device != here.device:
        return "It is on another disk that is mounted inside the folder."
    return ""


def _known_first(
    entries: list[tuple[bytes, Stat]], names: DiskNames, folder: RelPath | None, rules: NameRules
) -> list[tuple[bytes, Stat]]:
    """Order `entries` so that of two names for one path the one comes first that had it before, else the NFC one."""

    def rank(entry: tuple[bytes, Stat]) -> tuple[bool, bytes]:
        component = entry[0]
        if component.isascii():
            return False, component
        try:
            path = child_path(folder, component, rules)
        except BadPath:
            return True, component
        return names.component(path) != component, component

    return sorted(entries, key=rank)


class Scan:
    """One walk over the shared folder, or over what is below `start`.

    After `slices` has ended, `hidden` is what is not shared, and `unlisted` the paths that the walk can not
    speak of: folders that could not be listed, other file systems, links, ignored ones. Neither they nor
    anything below them may count as absent.
    """

    def __init__(
        self,
        disk: Disk,
        names: DiskNames,
        *,
        start: RelPath | None = None,
        rules: NameRules = NameRules.POSIX,
        ignored: Callable[[RelPath, Kind], bool] = _nothing,
    ) -> None:
        self.hidden: list[Hidden] = []
        self.unlisted: set[RelPath] = set()
        self._disk = disk
        self._names = names
        self._start = start
        self._rules = rules
        self._ignored = ignored

    def slices(self, most: int = 1000) -> Iterator[list[Found]]:
        """Yield what is found, parents before what is in them, about `most` at a time, so that a caller may pause.

        A folder that is removed meanwhile yields nothing more. Raises `FolderUnusable` if the top of the share
        can not be listed, or `start` is not there.
        """
        pending = [self._start]
        gathered: list[Found] = []
        while pending:
            folder = pending.pop()
            for found in self._folder(folder):
                gathered.append(found)
                if found.kind is Kind.FOLDER:
                    pending.append(found.path)
                if len(gathered) >= most:
                    yield gathered
                    gathered = []
        if gathered:
            yield gathered

    def covers(self, path: RelPath) -> bool:
        """Return whether this walk can speak of `path`: if it was not found, it is absent."""
        if self._start is not None and path != self._start and not path.is_below(self._start):
            return False
        return path not in self.unlisted and not any(above in self.unlisted for above in path.ancestors())

    def _folder(self, folder: RelPath | None) -> tuple[Found, ...]:
        try:
            listed = listing(self._disk, self._names, folder, rules=self._rules, ignored=self._ignored)
        except OSError as error:
            if folder == self._start:
                raise FolderUnusable(f"The shared folder can not be listed ({error.strerror}).") from error
            assert folder is not None
            self.unlisted.add(folder)
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                trouble = trouble_of(error, reading=True)
                self.hidden.append(Hidden(self._names.of(folder), folder, trouble.text, trouble))
            return ()
        self.hidden += listed.hidden
        self.unlisted.update(hidden.path for hidden in listed.hidden if hidden.path is not None)
        return listed.found
