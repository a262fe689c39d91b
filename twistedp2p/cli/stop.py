"""``twistedp2p stop``: ends the peer of a shared folder, and waits until it has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from twistedp2p.cli.folders import for_each, having
from twistedp2p.cli.options import FOLDER, all_option, home_option
from twistedp2p.cli.talk import ask, ask_at, serves
from twistedp2p.errors import FolderBusy, NotServed
from twistedp2p.home import Home
from twistedp2p.limits import STOP_WAIT

__all__ = ["command", "stop_peer"]


@click.command("stop")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@all_option
@home_option
def command(folder: Path | None, every: bool, home: Home) -> None:
    """End the peer that serves DIR; when this returns it has said goodbye, and closed its index.

    With it ends its process, unless that serves other folders too: `twistedp2p run` goes on with those, and
    comes back to DIR when it is started anew. Without DIR it is the shared folder that you are in, else the
    only one of this machine. --all ends every peer of this person, and `twistedp2p run`.
    """
    if every:
        if folder is not None:
            raise click.UsageError("Say a folder or --all, not both.")
        _stop_run(home)
    for_each(folder, every, home, lambda one: stop_peer(one, home))


def _stop_run(home: Home) -> None:
    """End the process that serves all folders, if there is one."""
    try:
        ask_at(home.run_socket(), "/stop", "POST", "`twistedp2p run`")
    except NotServed:
        return
    try:
        with home.running(STOP_WAIT):
            click.echo("`twistedp2p run` has ended.")
    except FolderBusy:
        raise FolderBusy("`twistedp2p run` goes on: end its process, and try again.") from None


def stop_peer(folder: Path, home: Home) -> str:
    """End the peer of `folder`, and return what to tell; raises `FolderBusy` if it goes on after `STOP_WAIT`."""
    if not serves(home, folder):
        return f"No peer runs for {folder}."
    with contextlib.suppress(NotServed):  # it may have ended since
        ask(home, folder, "/stop", "POST")
    with having(folder, STOP_WAIT):
        return f"The peer of {folder} has ended."
