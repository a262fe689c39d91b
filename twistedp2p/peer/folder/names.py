"""Which name on the disk a path of the share has: the same, but for the Unicode form that the disk's user chose."""

from __future__ import annotations

from twistedp2p.disk.seam import FileKind, Name, Stat
from twistedp2p.errors import BadPath
from twistedp2p.paths import NameRules, RelPath, from_disk
from twistedp2p.peer.values import Signature

__all__ = ["DiskNames", "child_path", "may_be_shared", "signature_of"]


class DiskNames:
    """What scans learned of names that are not stored as they travel; all other paths are their own UTF-8.

    One thread at a time may `learn`; reading is safe meanwhile.
    """

    def __init__(self) -> None:
        self._differing: dict[str, bytes] = {}

    def of(self, path: RelPath) -> Name:
        """Return the disk's name of `path`, which need not exist."""
        if not self._differing:
            return tuple(path.text.encode().split(b"/"))
        name = [self._differing.get(path.text, path.name.encode())]
        for above in path.ancestors():
            name.append(self._differing.get(above.text, above.name.encode()))
        return tuple(reversed(name))

    def learn(self, path: RelPath, component: bytes) -> None:
        """Remember that the last component of `path` is `component` on the disk."""
        if component == path.name.encode():
            self._differing.pop(path.text, None)
        else:
            self._differing[path.text] = component

    def component(self, path: RelPath) -> bytes:
        """Return what the last component of `path` is on the disk."""
        return self._differing.get(path.text, path.name.encode())


def child_path(folder: RelPath | None, component: bytes, rules: NameRules) -> RelPath:
    """Return the path of the disk's `component` in `folder` (None: the top); raises `BadPath` if it stays local."""
    path = from_disk((component,), rules)
    return path if folder is None else folder.child(path.text, rules)


def may_be_shared(component: bytes, rules: NameRules) -> bool:
    """Return whether a file of this name could be shared; False for the state folder of any share."""
    try:
        from_disk((component,), rules)
    except BadPath:
        return False
    return True


def signature_of(stat: Stat) -> Signature:
    """Return what tells this file from a changed one; executable is the owner's x bit.

    Of a folder only device and inode are taken: the rest changes with what is in it.
    """
    if stat.kind is FileKind.FOLDER:
        return Signature(stat.device, stat.inode, 0, 0)
    return Signature(stat.device, stat.inode, stat.size, stat.mtime_ns, bool(stat.mode & 0o100))
