"""``twistedp2p pause``: lets a shared folder rest, over restarts too."""

from __future__ import annotations

import time
from pathlib import Path

import click

from twistedp2p.cli.folders import for_each, having
from twistedp2p.cli.options import FOLDER, all_option, home_option
from twistedp2p.cli.talk import ask
from twistedp2p.errors import NotServed
from twistedp2p.home import Home
from twistedp2p.peer.settings import PAUSED, Settings

__all__ = ["command"]


@click.command("pause")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@all_option
@home_option
def command(folder: Path | None, every: bool, home: Home) -> None:
    """Let DIR rest until it is resumed: nothing comes, nothing goes, and others do not see this peer.

    What is changed in DIR meanwhile travels when it is resumed. A paused folder stays paused when it is
    started again. Without DIR it is the shared folder that you are in, else the only one of this machine.
    """
    for_each(folder, every, home, lambda one: _pause(one, home))


def _pause(folder: Path, home: Home) -> str:
    try:
        ask(home, folder, "/pause", "POST")
    except NotServed:
        with having(folder):
            settings = Settings(folder / ".twistedp2p")
            if settings.paused_since() is None:
                settings.keep(PAUSED, time.time())
    return f"{folder} is paused; `twistedp2p resume {folder}` lets it go on."
