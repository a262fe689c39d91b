"""``twistedp2p resume``: lets a paused folder go on."""

from __future__ import annotations

from pathlib import Path

import click

from twistedp2p.cli.folders import for_each, having
from twistedp2p.cli.options import FOLDER, all_option, home_option
from twistedp2p.cli.talk import ask
from twistedp2p.errors import NotServed
from twistedp2p.home import Home
from twistedp2p.peer.settings import PAUSED, Settings

__all__ = ["command"]


@click.command("resume")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@all_option
@home_option
def command(folder: Path | None, every: bool, home: Home) -> None:
    """Let DIR, which was paused, go on: what changed meanwhile, here or elsewhere, travels now.

    Without DIR it is the shared folder that you are in, else the only one of this machine.
    """
    for_each(folder, every, home, lambda one: _resume(one, home))


def _resume(folder: Path, home: Home) -> str:
    try:
        ask(home, folder, "/resume", "POST")
    except NotServed:
        with having(folder):
            Settings(folder / ".twistedp2p").keep(PAUSED, None)
        return f"{folder} is not paused any more; no peer runs for it now."
    return f"{folder} goes on."
