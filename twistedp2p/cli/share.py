"""``twistedp2p share``: a peer, and a tracker in the same process unless another one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twistedp2p.cli.options import FOLDER, peer_options
from twistedp2p.identity.invite import TrackerAddress

__all__ = ["command"]


@click.command("share")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--tracker",
    metavar="HOST:PORT:PIN",
    help="Use this tracker, written as it prints itself. Without it, this process runs one for this share.",
)
@peer_options
def command(folder: Path, tracker: str | None, **words: Any) -> None:
    """Share the folder DIR, and print the invite that admits other machines.

    It stays in the foreground; end it with Ctrl-C. On a folder that is a member of a share already
    it goes on with that.
    """
    from twistedp2p.cli.foreground import run  # all of a peer: only a command that runs one waits for it

    run(folder, None, None if tracker is None else TrackerAddress.parse(tracker), begins=True, **words)
