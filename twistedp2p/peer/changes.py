"""What changed in the folder of a peer, as values for whoever embeds it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from attrs import frozen

from twistedp2p.peer.values import Row
from twistedp2p.versions import Kind

__all__ = ["LOST", "By", "Change", "What", "changes_of"]


class What(Enum):
    """What became of a path."""

    ADDED = "added"
    CHANGED = "changed"  # other content, another executable bit, or a folder instead of a file
    REMOVED = "removed"
    RENAMED = "renamed"  # a file, unchanged, from `old_path`, where nothing is any more
    LOST = "lost"  # changes before this one are missing: look at the folder


class By(Enum):
    """Where a change comes from."""

    HERE = "here"  # somebody saved or deleted it in this folder
    OTHERS = "others"  # this peer put it in place: what others did, or a conflict copy


@frozen
class Change:
    """Something changed in the folder, and is committed to the index."""

    what: What
    path: str
    """Below the shared folder, with "/"; "" if `what` is LOST."""
    by: By = By.HERE
    is_folder: bool = False
    """Whether it is a folder, or was one if it is removed."""
    size: int = 0
    """Bytes of a file that is there; 0 else."""
    old_path: str = ""
    """What a renamed file was called before; "" if `what` is not RENAMED."""


LOST = Change(What.LOST, "")
"""Stands for all changes that a reader was too slow for, or that a new index does not know of."""


def changes_of(
    rows: Iterable[tuple[str, Row | None, Row | None]],
    by: Callable[[str], By],
    ignored: Callable[[str, Kind], bool] = lambda path, kind: False,
) -> tuple[Change, ...]:
    """Return what it means for a person that the rows of one commit, given with what they were before, changed.

    What is `ignored` changes for nobody: its row goes, and the file stays. So does a row of which only the base or
    the signature is another. A rename is one change, where the rows tell it: the very file that left one path in this
    commit is at another one, as it was. It may have replaced another file there.
    """
    shared = [
        (path, before, after)
        for path, before, after in rows
        if (row := before if after is None else after) is not None and not ignored(path, row.kind)
    ]
    renamed = _renames(shared)
    old_paths = set(renamed.values())
    found = []
    for path, before, after in shared:
        row = before if after is None else after
        if path in old_paths or row is None or (before is not None and after is not None and _same(before, after)):
            continue
        old_path = renamed.get(path, "")
        what = What.REMOVED if after is None else What.ADDED if before is None else What.CHANGED
        is_folder = row.kind is Kind.FOLDER
        there = None if after is None or is_folder else after.signature
        found.append(
            Change(
                What.RENAMED if old_path else what,
                path,
                by(path),
                is_folder,
                0 if there is None else there.size,
                old_path,
            )
        )
    return tuple(found)


def _renames(rows: Sequence[tuple[str, Row | None, Row | None]]) -> dict[str, str]:
    """Return the old path by the new one of each file that was only renamed.

    An inode alone does not tell it: the kernel gives one that is free to the next file.
    """
    left: dict[tuple[int, int], list[tuple[str, Row]]] = {}
    for path, before, after in rows:
        if after is None and before is not None and (inode := _inode(before)) is not None:
            left.setdefault(inode, []).append((path, before))
    found: dict[str, str] = {}
    for path, before, after in rows:
        inode = None if after is None or (before is not None and before.kind is Kind.FOLDER) else _inode(after)
        if after is None or inode is None or (before is not None and _same(before, after)):
            continue
        for old in left.get(inode, ()):
            if _same(old[1], after):
                found[path] = old[0]
                left[inode].remove(old)
                break
    return found


def _inode(row: Row) -> tuple[int, int] | None:
    """Return which file of this machine a row stands for, None if it is a folder or nobody knows."""
    if row.kind is Kind.FOLDER or row.signature is None:
        return None
    return row.signature.device, row.signature.inode


def _same(before: Row, after: Row) -> bool:
    return (before.kind, before.content, before.executable) == (after.kind, after.content, after.executable)
