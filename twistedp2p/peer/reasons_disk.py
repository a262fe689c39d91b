"""What lies on this disk at a path, and what there keeps it from being shared: looked up now. Blocks."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from twistedp2p.disk.seam import Disk, FileKind, Name, OtherDevice, Stat
from twistedp2p.errors import BadPath
from twistedp2p.limits import CONTENT_BYTES
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.folder.names import child_path, signature_of
from twistedp2p.peer.troubles import Code, Trouble, trouble_of
from twistedp2p.peer.values import Signature
from twistedp2p.versions import Kind

__all__ = ["OnDisk", "examine", "path_of"]


@frozen
class OnDisk:
    """What lies at a name: `kind` is None if nothing does, or nobody can tell; `trouble` is what keeps it local."""

    kind: FileKind | None = None
    signature: Signature | None = None
    trouble: Trouble | None = None


def path_of(name: Name, rules: NameRules) -> RelPath:
    """Return the path that the disk's `name` has in the share; raises `BadPath` if it has none."""
    path: RelPath | None = None
    for component in name:
        path = child_path(path, component, rules)
    if path is None:
        raise BadPath("This is the shared folder itself: name something in it.")
    return path


def examine(disk: Disk, name: Name, path: RelPath, ignored: Callable[[RelPath, Kind], bool]) -> OnDisk:
    """Look at `name`, which has `path` in the share, and at the folders above it; follows no link."""
    try:
        root = disk.stat(())
        for depth in range(1, len(name)):
            above = RelPath("/".join(path.text.split("/")[:depth]))
            there = disk.stat(name[:depth])
            if there.kind is not FileKind.FOLDER or there.device != root.device:
                return _behind(there, above)
            if ignored(above, Kind.FOLDER):
                return OnDisk(trouble=_ignored(f"The folder {above.text}, which it is in, is ignored"))
        there = disk.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        return OnDisk(trouble=_ignored("It is ignored") if ignored(path, Kind.FILE) else None)
    except OtherDevice:
        return OnDisk(trouble=Trouble(Code.OTHER_DISK, "It is on another disk that is mounted inside the folder."))
    except OSError as error:
        return OnDisk(trouble=trouble_of(error, reading=True))
    return OnDisk(there.kind, signature_of(there), _why_local(disk, name, path, there, root, ignored))


def _behind(above: Stat, path: RelPath) -> OnDisk:
    """Return what can be said of a name below something that is no folder of this share."""
    if above.kind is FileKind.FILE:
        return OnDisk()
    if above.kind is FileKind.FOLDER:
        text = f"Another disk is mounted at {path.text}: what is in it stays local."
        return OnDisk(trouble=Trouble(Code.OTHER_DISK, text))
    text = f"{path.text} is {above.kind.value}: what is behind it stays local."
    return OnDisk(trouble=Trouble(Code.KIND_NOT_SHARED, text))


def _why_local(
    disk: Disk, name: Name, path: RelPath, there: Stat, root: Stat, ignored: Callable[[RelPath, Kind], bool]
) -> Trouble | None:
    if there.kind not in (FileKind.FILE, FileKind.FOLDER):
        return Trouble(Code.KIND_NOT_SHARED, f"It is {there.kind.value}; only files and folders are shared.")
    if there.device != root.device:
        return Trouble(Code.OTHER_DISK, "Another disk is mounted here: what is in it stays local.")
    if ignored(path, Kind.FOLDER if there.kind is FileKind.FOLDER else Kind.FILE):
        return _ignored("It is ignored")
    if there.size > CONTENT_BYTES and there.kind is FileKind.FILE:
        return Trouble(Code.TOO_LARGE, f"It is larger than {CONTENT_BYTES >> 30} GiB, the most that can be shared.")
    try:
        if there.kind is FileKind.FOLDER:
            disk.entries(name)
        else:
            disk.open(name).close()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return trouble_of(error, reading=True)
    return None


def _ignored(what: str) -> Trouble:
    return Trouble(Code.IGNORED, f"{what}, by `.twistedp2pignore` or the default list: it stays local.")
