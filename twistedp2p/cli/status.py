"""``twistedp2p status``: asks a running peer what it is doing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from twistedp2p.cli.folders import chosen_folder
from twistedp2p.cli.options import FOLDER, home_option
from twistedp2p.cli.report import report
from twistedp2p.cli.talk import ask
from twistedp2p.home import Home
from twistedp2p.web.status import parse_status

__all__ = ["command"]


@click.command("status")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
@home_option
def command(folder: Path | None, as_json: bool, home: Home) -> None:
    """Say whether DIR is in sync, what is missing, who is alive and what moves.

    Without DIR it is the shared folder that you are in, else the only one of this machine.
    The exit status is 1 if no peer runs for it.
    """
    answer = ask(home, chosen_folder(folder, Path.cwd(), home), "/status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo("\n".join(report(parse_status(answer))))
