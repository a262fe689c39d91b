"""``twistedp2p invite``: prints the invite of a shared folder again."""

from __future__ import annotations

from pathlib import Path

import click

from twistedp2p.cli.folders import chosen_folder
from twistedp2p.cli.options import FOLDER, home_option
from twistedp2p.cli.talk import ask
from twistedp2p.errors import FolderUnusable, NotServed
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite

__all__ = ["command"]


@click.command("invite")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@home_option
def command(folder: Path | None, home: Home) -> None:
    """Print the invite of the shared folder DIR, one line. Who has it is let in: it is a secret.

    Without DIR it is the shared folder that you are in, else the only one of this machine.
    """
    click.echo(_invite_of(chosen_folder(folder, Path.cwd(), home), home))


def _invite_of(folder: Path, home: Home) -> str:
    """Return what a running peer says, for it knows its address of today; else what was kept last."""
    try:
        return str(ask(home, folder, "/invite")["invite"])
    except (NotServed, KeyError):
        pass
    file = folder / ".twistedp2p" / "invite"
    try:
        return Invite.parse(file.read_text("utf-8", errors="replace")).text()
    except OSError as error:
        raise FolderUnusable(f"The invite in {file} can not be read ({error.strerror}).") from error
