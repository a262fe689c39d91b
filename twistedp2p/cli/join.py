"""``twistedp2p join``: a peer of a share that somebody else began."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from twistedp2p.cli.folders import is_member
from twistedp2p.cli.options import peer_options
from twistedp2p.errors import FolderUnusable
from twistedp2p.identity.given import INVITE_VARIABLE, given_invite, invite_in_environment
from twistedp2p.identity.invite import Invite

__all__ = ["command"]


@click.command("join")
@click.argument("words", metavar="[INVITE] DIR", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only say what joining would do; nothing is changed anywhere.")
@click.option(
    "--list", "whole_list", is_flag=True, help="With --dry-run: name every path, not just the first of each kind."
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print one JSON object.")
@peer_options
def command(words: tuple[str, ...], dry_run: bool, whole_list: bool, as_json: bool, **options: Any) -> None:
    """Make the folder DIR a member of the share that INVITE admits to; what DIR holds already is merged.

    INVITE is the line that `twistedp2p share` prints, @FILE for a file with it, or - to read it from
    standard input, so that others on this machine can not see it. Without INVITE, the variable
    TWISTEDP2P_INVITE has it. It stays in the foreground; end it with Ctrl-C. On a folder that is a member
    already it goes on with that.

    With --dry-run it reads DIR, asks the share's tracker what the others have, and says what would be
    adopted, sent, fetched, and kept twice.
    """
    if (whole_list or as_json) and not dry_run:
        raise click.UsageError("--list and --json belong to --dry-run.")
    folder, invite = _folder_and_invite(words)
    if dry_run:
        from twistedp2p.cli.dry_run import dry_run as run_dry

        if invite is None:
            raise FolderUnusable(f"{folder} is a member of a share already: there is nothing to join.")
        run_dry(folder, invite, whole_list=whole_list, as_object=as_json)
        return
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
