"""``twistedp2p get``: fetches files and folders from a file server."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click
from twisted.internet.defer import Deferred

from twistedp2p.cli.control import Control
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.moving_options import MovingWish, moving_options
from twistedp2p.cli.queue import QueueFile
from twistedp2p.cli.reaching import Session, remote_path, source_argument, with_server
from twistedp2p.errors import FileChanged, NoSuchFile
from twistedp2p.limits import RANGE_BYTES
from twistedp2p.transfer.files.client import Server
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.messages import FileEntry

__all__ = ["command"]


def _range(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int | None] | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})?", value)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise click.BadParameter("write FIRST-LAST, the first byte being 0, or FIRST- for all that follows.")
    return int(match[1]), int(match[2]) if match[2] else None


@click.command("get")
@source_argument
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where to put what is fetched; the current folder without it.",
)
@click.option(
    "--queue",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Fetch what FILE lists, one 'PATH [PRIORITY]' a line, and watch it for new and changed lines.",
)
@click.option("--until-done", is_flag=True, help="With --queue: end when everything that it lists is there.")
@click.option(
    "--range",
    "part",
    metavar="FIRST-LAST",
    callback=_range,
    help="Write these bytes of one file to standard output; the first byte is 0.",
)
@moving_options
def command(
    source: Server,
    paths: tuple[str, ...],
    to: Path | None,
    queue: Path | None,
    until_done: bool,
    part: tuple[int, int | None] | None,
    wish: MovingWish,
) -> None:
    """Fetch files and whole folders into DIR; '.' is all that the server has.

    What is there already with the same content is skipped, by its hash. What was fetched in part before, until
    Ctrl-C, a kill or a lost network, goes on from there. Every file is verified before it gets its name, and a file
    with other content is replaced only with --overwrite. SOURCE is as for `twistedp2p files`.
    """
    wanted = [remote_path(path) for path in paths]
    if part is not None:
        if len(wanted) != 1 or queue is not None or to is not None:
            raise click.UsageError("--range is about one file, and goes to standard output: name it alone.")
        with_server(source, lambda session: _print_range(session, wanted[0], *part), patience=wish.give_up)
        return
    if until_done and queue is None:
        raise click.UsageError("--until-done is about a queue: --queue FILE.")
    if not wanted and queue is None:
        raise click.UsageError("Say what to fetch: paths, '.' for everything, or --queue FILE.")

    async def work(session: Session) -> int:
        moving = moving_on("fetched", as_json=wish.as_json, quiet=wish.quiet)
        taken = Taken.OVERWRITE if wish.overwrite else Taken.FAIL
        fetching = Fetching(session, to or Path(), moving, taken=taken)
        asked = {"paths": [path or "." for path in wanted], "queue": None if queue is None else str(queue)}
        moving.start({**asked, "to": str((to or Path()).expanduser().absolute())})
        more = queue is None

        def set_priority(path: str, priority: Priority) -> bool:
            return fetching.set_priority(path, priority) or more

        control = Control(session.reactor, set_priority)
        try:
            if wish.control:
                control.start()
            if queue is not None:
                await QueueFile(queue, session.reactor, fetching, wish.priority, until_done).follow(wanted)
            else:
                for path in wanted:
                    await fetching.add(path, wish.priority)
            more = False
            await fetching.finish()
        finally:
            control.stop()
            fetching.close()
        return fetching.status

    with_server(source, work, patience=wish.give_up)


async def _print_range(session: Session, path: str, first: int, last: int | None) -> int:
    """Write some bytes of a file to standard output."""
    found: list[FileEntry] = []
    await session.ask(lambda connection: connection.listing(path, found.extend))
    if len(found) != 1 or found[0].folder or found[0].path != path:
        raise NoSuchFile(f"{path} is not a file there.")
    entry = found[0]
    if first >= entry.size:
        raise FileChanged(f"{path} has {entry.size:,} bytes only.")
    at, end = first, entry.size if last is None else min(last + 1, entry.size)
    while at < end:
        data = await _bytes(session, entry, at, min(RANGE_BYTES, end - at))
        await session.in_thread(_write_out, data)
        at += len(data)
    return 0


async def _bytes(session: Session, entry: FileEntry, at: int, length: int) -> bytes:
    pieces: list[bytes | memoryview] = []

    def question(connection: FilesConnection) -> Deferred[None]:
        pieces.clear()
        return connection.read_range(entry.path, entry.token, at, length, lambda _, data: pieces.append(data))

    await session.ask(question)
    return b"".join(pieces)


def _write_out(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever read it has enough; the interpreter must not complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
