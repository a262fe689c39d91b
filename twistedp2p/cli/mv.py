"""``twistedp2p mv``: renames a file or folder of a file server."""

from __future__ import annotations

import click

from twistedp2p.cli.reaching import Session, give_up_option, remote_path, source_argument, with_server
from twistedp2p.transfer.files.client import Server

__all__ = ["command"]


@click.command("mv")
@source_argument
@click.argument("path")
@click.argument("to")
@click.option("--overwrite", is_flag=True, help="Replace a file that has the new name.")
@give_up_option
def command(source: Server, path: str, to: str, overwrite: bool, give_up: float) -> None:
    """Rename a file or folder of a server; TO is its whole new path.

    SOURCE is the invite to write.
    """

    async def work(session: Session) -> int:
        connection = await session.client.connected()
        await connection.rename(remote_path(path), remote_path(to), overwrite=overwrite)
        return 0

    with_server(source, work, patience=give_up)
