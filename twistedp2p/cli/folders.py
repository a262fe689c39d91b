"""Which shared folder a command means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twistedp2p.errors import FolderUnusable
from twistedp2p.home import Home

__all__ = ["chosen_folder", "is_member"]


def is_member(folder: Path) -> bool:
    """Return whether `folder` itself is a member of a share: whether it has the mark."""
    return (folder / ".twistedp2p" / "mark").is_file()


def chosen_folder(named: Path | None, here: Path, home: Home) -> Path:
    """Return the shared folder that `named` is, or is in; without it, the one of `here`, else the only one.

    Raises `FolderUnusable` if there is none, or more than one.
    """
    for folder in _upwards(named or here):
        if is_member(folder):
            return folder
    if named is not None:
        home.require_mark(named)
        raise FolderUnusable(f"{named} is not a shared folder: make it one with `twistedp2p share` or `join`.")
    members = [member.folder for member in home.members() if is_member(member.folder)]
    if len(members) == 1:
        return members[0]
    if not members:
        raise FolderUnusable("There is no shared folder yet: make one with `twistedp2p share DIR`.")
    raise FolderUnusable(f"Name one of the shared folders: {', '.join(str(member) for member in members)}")


def _upwards(folder: Path) -> Iterator[Path]:
    real = folder.resolve()
    yield real
    yield from real.parents
