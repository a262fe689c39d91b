"""``twistedp2p put``: puts files and folders onto a file server."""

from __future__ import annotations

from pathlib import Path

import click

from twistedp2p.cli.control import Control
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.moving_options import MovingWish, moving_options
from twistedp2p.cli.reaching import Session, remote_path, source_argument, with_server
from twistedp2p.errors import NotWritable
from twistedp2p.transfer.files.client import Server
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.uploading import Uploading, local_files

__all__ = ["command"]


@click.command("put")
@source_argument
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "to", default="", metavar="PATH", help="Folder at the server; its top without it.")
@moving_options
def command(source: Server, files: tuple[Path, ...], to: str, wish: MovingWish) -> None:
    """Put files and whole folders onto a server, below PATH.

    What is there already with the same content is skipped. What was put in part before goes on from there. The server
    verifies every file before it gets its name, and replaces one with other content only with --overwrite. Symbolic
    links, and what is no file or folder, are left out. SOURCE is the invite to write.
    """
    below = remote_path(to)

    async def work(session: Session) -> int:
        connection = await session.client.connected()
        if connection.server is not None and not connection.server.writable:
            raise NotWritable("This invite lets you read only; ask for one that lets you write.")
        moving = moving_on("put", as_json=wish.as_json, quiet=wish.quiet)
        uploading = Uploading(
            session.client,
            session.in_thread,
            heard=lambda event: moving.event(event, uploading.totals),
            overwrite=wish.overwrite,
        )
        tops = [file.expanduser().absolute() for file in files]
        moving.start({"paths": [str(top) for top in tops], "to": below})
        more = True

        def set_priority(path: str, priority: Priority) -> bool:
            return uploading.set_priority(path, priority) or more

        control = Control(session.reactor, set_priority)
        try:
            if wish.control:
                control.start()
            for top in tops:
                async for one in local_files(top, below, session.in_thread, uploading.left_out):
                    await uploading.add(one, wish.priority)
            more = False
            await uploading.finish()
        finally:
            control.stop()
            uploading.stop()
            moving.end(uploading.totals)
        return 1 if uploading.totals.files_failed else 0

    with_server(source, work, patience=wish.give_up)
