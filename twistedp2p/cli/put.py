"""``twistedp2p put``: puts files and folders onto a file server."""

from __future__ import annotations

from pathlib import Path

import click

from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.reaching import Session, Source, give_up_option, remote_path, source_argument, with_server
from twistedp2p.errors import NotWritable
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.uploading import Uploading, local_files

__all__ = ["command"]


@click.command("put")
@source_argument
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "to", default="", metavar="PATH", help="Folder at the server; its top without it.")
@click.option("--overwrite", is_flag=True, help="Replace files that have other content.")
@click.option(
    "--priority",
    type=click.Choice([priority.word for priority in Priority]),
    default="normal",
    show_default=True,
    help="The share of the bytes beside other puts of this command.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what happens as one JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Show only what failed.")
@give_up_option
def command(
    source: Source,
    files: tuple[Path, ...],
    to: str,
    overwrite: bool,
    priority: str,
    as_json: bool,
    quiet: bool,
    give_up: float,
) -> None:
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
        moving = moving_on("put", as_json=as_json, quiet=quiet)
        uploading = Uploading(
            session.client,
            session.in_thread,
            heard=lambda event: moving.event(event, uploading.totals),
            overwrite=overwrite,
        )
        try:
            for file in files:
                top = file.expanduser().absolute()
                async for one in local_files(top, below, session.in_thread, uploading.left_out):
                    await uploading.add(one, Priority.named(priority))
            await uploading.finish()
        finally:
            uploading.stop()
            moving.end(uploading.totals)
        return 1 if uploading.totals.files_failed else 0

    with_server(source, work, patience=give_up)
