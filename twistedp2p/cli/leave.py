"""``twistedp2p leave``: a folder of this machine is no member of its share any more; its files stay."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from twistedp2p.cli.folders import having, is_member
from twistedp2p.cli.options import FOLDER, home_option
from twistedp2p.cli.stop import stop_peer
from twistedp2p.cli.words import count, size
from twistedp2p.errors import BadInvite, FolderUnusable
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite
from twistedp2p.peer.settings import TRACKER_PORT_KEPT, Settings

__all__ = ["command"]


@click.command("leave")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-trash", is_flag=True, help="Delete what is in the trash of DIR, instead of keeping it.")
@home_option
def command(folder: Path, yes: bool, delete_trash: bool, home: Home) -> None:
    """Make DIR an ordinary folder again: its peer ends, and its key, secret and index are removed.

    All files in DIR stay, and nothing changes for the other members. What is in its trash is moved to
    DIR/.twistedp2p-trash. A folder that is not there any more is forgotten.
    """
    real = Path(os.path.realpath(folder))
    known = home.member(real)
    if not (real / ".twistedp2p").is_dir():
        if known is None or known.share_id is None:
            raise FolderUnusable(f"{folder} is not a shared folder: there is nothing to leave.")
        _confirm(f"{known.folder} is not there. Forget that it was shared?", yes)
        home.forget(known.folder)
        click.echo(f"{known.folder} is forgotten. If it comes back, its files are as they were.")
        return
    if not is_member(real) and known is None:
        raise FolderUnusable(f"{folder} is not a shared folder: there is nothing to leave.")
    for line in _warnings(real, delete_trash):
        click.echo(line, err=True)
    _confirm(f"Leave the share of {real}, and keep its files?", yes)
    stop_peer(real, home)
    with having(real):
        kept = _leave(real, home, delete_trash)
    click.echo(f"{real} belongs to no share any more; its files are as they were.")
    if kept is not None:
        click.echo(f"What was in its trash is in {kept}; delete it when you need it no more.")


def _warnings(folder: Path, delete_trash: bool) -> Iterator[str]:
    state = folder / ".twistedp2p"
    if Settings(state).get(TRACKER_PORT_KEPT) is not None:
        yield (
            "The tracker of this share runs here, and ends for good: the other members keep their files, and find "
            "each other no more."
        )
    files, total = _contents(state / "trash")
    if files and delete_trash:
        yield f"The trash is deleted: {count(files, 'file')}, {size(total)}."


def _confirm(question: str, yes: bool) -> None:
    """Ask a person; raises `FolderUnusable` if there is none, and click's abort if the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise FolderUnusable("Nobody is there to be asked: say --yes to leave.")
    click.confirm(question, abort=True, err=True)


def _leave(folder: Path, home: Home, delete_trash: bool) -> Path | None:
    """Forget the share of `folder`, which nobody serves; return where its trash is now, None if that was empty.

    Interrupted anywhere, it can be said again.
    """
    state = folder / ".twistedp2p"
    share = _share_of(state)
    home.forget(folder)
    if share is not None:
        home.forget_share(share)
    try:
        kept = None if delete_trash else _keep_trash(folder, state / "trash")
        # The secrets go first.
        for name in ("key.pem", "invite"):
            (state / name).unlink(missing_ok=True)
        shutil.rmtree(state)
    except OSError as error:
        raise FolderUnusable(
            f"{folder} is forgotten, but {error.filename or state} can not be removed ({error.strerror}): "
            "remove it by hand."
        ) from error
    return kept


def _share_of(state: Path) -> bytes | None:
    try:
        return Invite.parse((state / "invite").read_text("utf-8", errors="replace")).keys().share_id
    except (OSError, BadInvite):
        return None


def _keep_trash(folder: Path, trash: Path) -> Path | None:
    """Move the trash, if anything is in it, to a name that is never shared and not taken."""
    if not _contents(trash)[0]:
        return None
    number = 1
    while True:
        kept = folder / f".twistedp2p-trash{'' if number == 1 else f'-{number}'}"
        try:
            kept.mkdir(0o700)
            break
        except FileExistsError:
            number += 1
    trash.replace(kept)  # over the empty folder that keeps the name
    return kept


def _contents(folder: Path) -> tuple[int, int]:
    """Return how many files are in a folder and below, and their size."""
    files = total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            files += 1
            total += os.lstat(os.path.join(place, name)).st_size
    return files, total
