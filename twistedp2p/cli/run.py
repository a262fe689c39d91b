"""``twistedp2p run``: goes on with every shared folder of this person, in one process."""

from __future__ import annotations

from typing import Any

import click

from twistedp2p.cli.options import LogWish, home_option, log_options
from twistedp2p.home import Home

__all__ = ["command"]


@click.command("run")
@click.option("--wait", is_flag=True, help="Without any shared folder, wait for the first one: for a service.")
@home_option
@log_options
def command(**words: Any) -> None:
    """Go on with every folder that was shared or joined here, as after a restart of the machine.

    It stays in the foreground; end it with Ctrl-C. A folder that can not be served now, for example because its
    disk is not mounted, is tried again at least once a minute, and keeps none of the others from it. A folder that
    is shared or joined meanwhile is gone on with when that command ends.
    """
    _run(**words)


def _run(home: Home, wait: bool, log: LogWish) -> None:
    from twistedp2p.cli.foreground import run_all  # all of a peer: only a command that runs one waits for it

    run_all(home, log, waits=wait)
