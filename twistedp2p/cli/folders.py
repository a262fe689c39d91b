"""Which shared folder a command means, and having it for oneself for a moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from twistedp2p.errors import FolderBusy, FolderUnusable, TwistedP2PError
from twistedp2p.home import Home, locked

__all__ = ["chosen_folder", "for_each", "having", "is_member"]


def is_member(folder: Path) -> bool:
    """Return whether `folder` itself is a member of a share: whether it has the mark."""
    return os.path.isfile(folder / ".twistedp2p" / "mark")  # False as well where one may not look


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
    members = _members(home)
    if len(members) == 1:
        return members[0]
    if not members:
        raise FolderUnusable("There is no shared folder yet: make one with `twistedp2p share DIR`.")
    raise FolderUnusable(f"Name one of the shared folders: {', '.join(str(member) for member in members)}")


def for_each(named: Path | None, every: bool, home: Home, do: Callable[[Path], str]) -> None:
    """Do something for one folder, or for `every` one that is there, and print what it returns.

    Raises what `do` raises, but goes on with the others first. Exits with status 1 if some of several failed.
    """
    if every and named is not None:
        raise click.UsageError("Say a folder or --all, not both.")
    if not every:
        click.echo(do(chosen_folder(named, Path.cwd(), home)))
        return
    failed = False
    for folder in _members(home):
        try:
            click.echo(do(folder))
        except TwistedP2PError as error:
            failed = True
            click.echo(f"twistedp2p: {error}", err=True)
    if failed:
        raise SystemExit(1)


@contextmanager
def having(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Keep all processes from serving `folder` meanwhile; waits up to `patience` seconds for one that does.

    Raises `FolderBusy` if it still serves it then, `FolderUnusable` if the folder can not be locked.
    """
    try:
        handle = os.open(folder / ".twistedp2p" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise FolderUnusable(f"{folder} can not be locked ({error.strerror}).") from error
    try:
        if not locked(handle, patience):
            raise FolderBusy(f"The process that serves {folder} goes on: end it, and try again.")
        yield
    finally:
        os.close(handle)


def _members(home: Home) -> list[Path]:
    return [member.folder for member in home.members() if is_member(member.folder)]


def _upwards(folder: Path) -> Iterator[Path]:
    real = folder.resolve()
    yield real
    yield from real.parents
