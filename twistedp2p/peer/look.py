"""Looking at the shared folder: what differs from the index, in a worker thread. Decides nothing about versions.

A look compares what lies on the disk with the rows of the index, reads what differs, and reports it. A file that was
renamed is recognised by its inode and is not read. What is missing is only *suspected* to be deleted: a second
look confirms it, unless its inode was seen under a new name in the same look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from twistedp2p.disk.seam import Disk, FileKind, OtherDevice
from twistedp2p.errors import FolderUnusable
from twistedp2p.limits import QUIET_AFTER_WRITE
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.names import DiskNames, signature_of
from twistedp2p.peer.folder.read import Absent, Changing, Read, Reading, Unreadable, read
from twistedp2p.peer.folder.scan import IGNORED, Found, Scan
from twistedp2p.peer.index import Index
from twistedp2p.peer.look_renames import Renames
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.troubles import trouble_of
from twistedp2p.peer.values import FOLDER_CONTENT, Observed, Row, Signature
from twistedp2p.versions import Kind, Live, winner

__all__ = ["LEFT_OVER", "Eye"]

LEFT_OVER = "Others removed this folder; it stays because something in it is not shared."

SYNC_ALL_FROM = 8
"""From this many files on, flushing the file system once is cheaper than each file."""


class Eye:
    """Looks at one shared folder; every method blocks.

    `ignored` says what is not shared by the person's choice, `waiting` which paths are not quiet yet: those are
    left for the look that follows when they are.
    """

    def __init__(
        self,
        disk: Disk,
        names: DiskNames,
        index: Index,
        *,
        rules: NameRules,
        durable: bool,
        ignored: Callable[[RelPath, Kind], bool] = lambda path, kind: False,
        waiting: Callable[[str], bool] = lambda path: False,
    ) -> None:
        self._disk = disk
        self._names = names
        self._index = index
        self._rules = rules
        self._durable = durable
        self._ignored = ignored
        self._waiting = waiting
        self._renames = Renames(index, self.signature, self._may_be_gone)

    def look(self, paths: Iterable[str], confirm: bool = False) -> Looked:
        """Look at these paths, and at all that is in a folder that is new; `confirm`: this is the second look.

        Raises `FolderUnusable` if the folder has lost its mark: then nothing in it counts as missing.
        """
        looked = Looked()
        for path in sorted(set(paths)):
            self._look_at(path, looked, confirm)
        self._renames.match(looked)
        if looked.missing or looked.gone:
            mark.require(self._disk)
        self._sync(looked)
        return looked

    def look_everywhere(self) -> Iterator[Looked]:
        """Look at the whole folder, in slices; what is missing comes with the last one."""
        mark.require(self._disk)
        scan = Scan(self._disk, self._names, rules=self._rules, ignored=self._ignored)
        found: set[str] = set()
        for piece in scan.slices(500):
            looked = Looked()
            for one in piece:
                found.add(one.path.text)
                self._compare_if_quiet(one, looked)
            self._renames.match(looked)
            self._sync(looked)
            yield looked
        last = Looked()
        for path, row in self._index.rows_below(""):
            if path not in found and self._may_be_gone(path, row) and scan.covers(RelPath.parse(path, self._rules)):
                last.missing.append(path)
        _hide(scan, last)
        self._renames.match(last)
        mark.require(self._disk)
        yield last

    def ignores(self, path: RelPath, kind: Kind) -> bool:
        """Whether a path is not shared by the person's choice."""
        return self._ignored(path, kind)

    def is_fine(self, path: str, signature: Signature | None) -> bool:
        """Whether what lies at `path` still has this signature (None: whether nothing lies there)."""
        return self.signature(path) == signature

    def signature(self, path: str) -> Signature | None:
        """Return what lies at `path` now, None if nothing does."""
        try:
            return signature_of(self._disk.stat(self._names.of(RelPath(path))))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def still(self, path: str, observed: Observed) -> bool:
        """Whether what was observed at `path` is there unchanged; of a folder, only whether it is that folder.

        What can not be looked at now counts as changed: it is looked at again.
        """
        try:
            now, then = self.signature(path), observed.signature
        except OSError:
            return False
        if now is None or then is None or observed.kind == Kind.FILE:
            return now == then
        return (now.device, now.inode) == (then.device, then.inode)

    def is_absent(self, path: str) -> bool:
        """Whether nothing lies at `path` for sure: what can not be looked at may be there."""
        try:
            return self.signature(path) is None
        except OSError:
            return False

    def read(self, path: str) -> Reading:
        """Read what lies at `path`."""
        return read(self._disk, self._names.of(RelPath(path)))

    # -- one path -----------------------------------------------------------

    def _look_at(self, path: str, looked: Looked, confirm: bool) -> None:
        rel = RelPath(path)
        try:
            stat = self._disk.stat(self._names.of(rel))
        except (FileNotFoundError, NotADirectoryError):
            self._absent(path, looked, confirm)
            return
        except OtherDevice:
            looked.hidden.append((path, "It is on another disk that is mounted inside the folder."))
            return
        except OSError as error:
            looked.unreadable.append((path, trouble_of(error, reading=True)))
            return
        if stat.kind not in (FileKind.FILE, FileKind.FOLDER):
            looked.hidden.append((path, f"It is {stat.kind.value}; only files and folders are shared."))
            return
        kind = Kind.FOLDER if stat.kind is FileKind.FOLDER else Kind.FILE
        if self._ignored(rel, kind):
            looked.hidden.append((path, IGNORED))
            return
        self._compare(Found(rel, kind, signature_of(stat)), looked)
        if kind == Kind.FOLDER:
            self._look_below(rel, looked)

    def _look_below(self, folder: RelPath, looked: Looked) -> None:
        """Compare all that is in a folder, because events may have come before it was watched."""
        scan = Scan(self._disk, self._names, start=folder, rules=self._rules, ignored=self._ignored)
        found: set[str] = set()
        try:
            for piece in scan.slices():
                for one in piece:
                    found.add(one.path.text)
                    self._compare_if_quiet(one, looked)
        except FolderUnusable as error:
            # This one folder can not be listed: nothing in it counts as missing, and all else goes on.
            if not isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                looked.unreadable.append((folder.text, trouble_of(error.__cause__, reading=True)))
            return
        _hide(scan, looked)
        for path, row in self._index.rows_below(folder.text):
            if path not in found and self._may_be_gone(path, row) and scan.covers(RelPath(path)):
                looked.missing.append(path)

    def _absent(self, path: str, looked: Looked, confirm: bool) -> None:
        if self._is_behind_link(RelPath(path), looked):
            return
        row = self._index.row(path)
        if row is not None and self._may_be_gone(path, row):
            (looked.gone if confirm else looked.missing).append(path)
        self._absent_below(path, looked, confirm)

    def _is_behind_link(self, path: RelPath, looked: Looked) -> bool:
        """Whether a folder above is a link now, or can not be looked at: then nobody can tell what is gone."""
        for above in path.ancestors():
            try:
                kind = self._disk.stat(self._names.of(above)).kind
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OtherDevice:
                return True
            except OSError as error:
                looked.unreadable.append((path.text, trouble_of(error, reading=True)))
                return True
            return kind not in (FileKind.FILE, FileKind.FOLDER)
        return False

    def _absent_below(self, path: str, looked: Looked, confirm: bool) -> None:
        for other, row in self._index.rows_below(path):
            if self._may_be_gone(other, row):
                (looked.gone if confirm else looked.missing).append(other)

    def _may_be_gone(self, path: str, row: Row) -> bool:
        """Whether this would count as missing if nothing lies at `path`: what is ignored never does."""
        return not self._ignored(RelPath(path), row.kind)

    def _compare_if_quiet(self, found: Found, looked: Looked) -> None:
        """Compare what a walk came upon, but leave what somebody may be in the middle of writing."""
        path = found.path.text
        if self._waiting(path):
            return
        age = self._disk.now_ns() - found.signature.mtime_ns
        if found.kind == Kind.FILE and 0 <= age < QUIET_AFTER_WRITE * 1e9 and self._index.row(path) is None:
            looked.changing.append(path)
            return
        self._compare(found, looked)

    def _compare(self, found: Found, looked: Looked) -> None:
        path, signature = found.path.text, found.signature
        row = self._index.row(path)
        if row is not None and row.kind == found.kind:
            if found.kind == Kind.FOLDER:
                if row.signature is not None and (row.signature.device, row.signature.inode) == (
                    signature.device,
                    signature.inode,
                ):
                    looked.fine.append(path)
                    if row.base is None and self._is_left_over(path):
                        looked.hidden.append((path, LEFT_OVER))
                    return
            elif row.signature == signature:
                looked.fine.append(path)
                return
        if found.kind == Kind.FOLDER:
            looked.seen.append((path, Observed(Kind.FOLDER, FOLDER_CONTENT, signature=signature), b""))
            return
        if row is not None and row.kind == Kind.FOLDER:
            # A file where a folder was: what was in that is gone for sure. Were it gone only after a second look,
            # the folder would keep the name meanwhile, and the new file would become a conflict copy.
            mark.require(self._disk)
            self._absent_below(path, looked, confirm=True)
        renamed = self._renames.known_file(path, signature) if row is None else None
        if renamed is not None:
            looked.seen.append((path, renamed, b""))
            return
        self._read(found.path, looked)

    def _read(self, path: RelPath, looked: Looked) -> None:
        reading = read(self._disk, self._names.of(path))
        if isinstance(reading, Read):
            looked.seen.append((path.text, reading.observed, reading.manifest))
        elif isinstance(reading, Changing):
            looked.changing.append(path.text)
        elif isinstance(reading, Absent):
            self._absent(path.text, looked, confirm=False)
        elif isinstance(reading, Unreadable):
            looked.unreadable.append((path.text, reading.trouble))
        else:
            looked.hidden.append((path.text, reading.reason))

    def _is_left_over(self, path: str) -> bool:
        """Whether others removed a folder that is still here: something is in it that is not shared."""
        if isinstance(winner(self._index.record(path))[1], Live):
            return False
        return next(iter(self._index.live_below(path)), None) is None

    def _sync(self, looked: Looked) -> None:
        """Make what was read durable before it is announced; a file that changed meanwhile is seen to later."""
        files = [path for path, observed, _ in looked.seen if observed.kind == Kind.FILE]
        if not self._durable or not files:
            return
        if len(files) >= SYNC_ALL_FROM:
            self._disk.sync_all()
            return
        for path in files:
            try:
                with self._disk.open(self._names.of(RelPath(path))) as opened:
                    opened.sync()
            except (FileNotFoundError, NotADirectoryError):
                continue


def _hide(scan: Scan, looked: Looked) -> None:
    """Report what a walk came upon and can not be shared, or not be listed now."""
    for hidden in scan.hidden:
        if hidden.trouble is None or hidden.path is None:
            looked.hidden.append((_shown(hidden.name), hidden.reason))
        else:
            looked.unreadable.append((hidden.path.text, hidden.trouble))


def _shown(name: tuple[bytes, ...]) -> str:
    return b"/".join(name).decode(errors="replace")
