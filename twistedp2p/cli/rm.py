"""``twistedp2p rm``: removes files and folders of a file server."""

from __future__ import annotations

import click

from twistedp2p.cli.reaching import Session, give_up_option, remote_path, source_argument, with_server
from twistedp2p.cli.words import shown
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.client import Server

__all__ = ["command"]


@click.command("rm")
@source_argument
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Remove folders with all that is served of them.")
@give_up_option
def command(source: Server, paths: tuple[str, ...], recursive: bool, give_up: float) -> None:
    """Remove files and empty folders of a server, for good.

    What is not served in a folder, like a symbolic link, stays, and the folder with it. SOURCE is the invite to write.
    """

    async def work(session: Session) -> int:
        status = 0
        for path in map(remote_path, paths):
            try:
                await (await session.client.connected()).remove(path, deep=recursive)
            except TwistedP2PError as error:
                click.echo(f"twistedp2p: {shown(path)}: {shown(str(error))}", err=True)
                status = 1
        return status

    with_server(source, work, patience=give_up)
