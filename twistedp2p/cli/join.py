"""``twistedp2p join``: a peer of a share that somebody else began."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from twistedp2p.cli.folders import is_member
from twistedp2p.cli.options import peer_options
from twistedp2p.identity.given import INVITE_VARIABLE, given_invite, invite_in_environment
from twistedp2p.identity.invite import Invite

__all__ = ["command"]


@click.command("join")
@click.argument("words", metavar="[INVITE] DIR", nargs=-1)
@peer_options
def command(words: tuple[str, ...], **options: Any) -> None:
    """Make the folder DIR a member of the share that INVITE admits to; what DIR holds already is merged.

    INVITE is the line that `twistedp2p share` prints, @FILE for a file with it, or - to read it from
    standard input, so that others on this machine can not see it. Without INVITE, the variable
    TWISTEDP2P_INVITE has it. It stays in the foreground; end it with Ctrl-C. On a folder that is a member
    already it goes on with that.
    """
    folder, invite = _folder_and_invite(words)
    from twistedp2p.cli.foreground import run  # all of a peer: only a command that runs one waits for it

    run(folder, invite, None, begins=False, **options)


def _folder_and_invite(words: tuple[str, ...]) -> tuple[Path, Invite | None]:
    """Return what the arguments say; no invite for a folder that is a member already."""
    if not 1 <= len(words) <= 2 or words[-1].startswith("tp2p1:"):
        raise click.UsageError("Say which invite, and which folder: twistedp2p join INVITE DIR")
    folder = Path(words[-1])
    if len(words) == 2:
        if words[0] == "-" and sys.stdin.isatty():
            click.echo("Paste the invite: ", nl=False, err=True)
        return folder, given_invite(words[0], sys.stdin)
    invite = invite_in_environment(os.environ, sys.stdin)
    if invite is None and not is_member(folder):
        raise click.UsageError(f"There is no invite: say INVITE, @FILE or -, or set {INVITE_VARIABLE}.")
    return folder, invite
