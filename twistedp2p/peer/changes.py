"""What changed in the folder of a peer, as values for whoever embeds it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import frozen

from twistedp2p.peer.values import Row
from twistedp2p.versions import Kind

__all__ = ["LOST", "By", "Change", "What", "changes_of"]


class What(Enum):
    """What became of a path. Renaming is both: the new name is added, the old one removed."""

    ADDED = "added"
    CHANGED = "changed"  # other content, another executable bit, or a folder instead of a file
    REMOVED = "removed"
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


LOST = Change(What.LOST, "")
"""Stands for all changes that a reader was too slow for, or that a new index does not know of."""


def changes_of(
    rows: Iterable[tuple[str, Row | None, Row | None]],
    by: Callable[[str], By],
    ignored: Callable[[str, Kind], bool] = lambda path, kind: False,
) -> tuple[Change, ...]:
    """Return what it means for a person that rows, given with what they were before, changed.

    What is `ignored` changes for nobody: its row goes, and the file stays. So does a row of which only the base or
    the signature is another.
    """
    found = []
    for path, before, after in rows:
        row = before if after is None else after
        if (
            row is None
            or ignored(path, row.kind)
            or (before is not None and after is not None and _same(before, after))
        ):
            continue
        what = What.REMOVED if after is None else What.ADDED if before is None else What.CHANGED
        is_folder = row.kind is Kind.FOLDER
        there = None if after is None or is_folder else after.signature
        found.append(Change(what, path, by(path), is_folder, 0 if there is None else there.size))
    return tuple(found)


def _same(before: Row, after: Row) -> bool:
    return (before.kind, before.content, before.executable) == (after.kind, after.content, after.executable)
