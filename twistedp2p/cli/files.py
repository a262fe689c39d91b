"""``twistedp2p files``: lists what a file server serves."""

from __future__ import annotations

import json

import click
from attrs import asdict

from twistedp2p.cli.interruptible import NOTHING
from twistedp2p.cli.reaching import Session, give_up_option, remote_path, source_argument, with_server
from twistedp2p.cli.words import count, moment, shown, size
from twistedp2p.limits import IGNORE_PATTERN_CHARS
from twistedp2p.transfer.files.client import Server
from twistedp2p.transfer.files.messages import FileEntry

__all__ = ["command"]


@click.command("files")
@source_argument
@click.argument("path", default="")
@click.option("-r", "--recursive", is_flag=True, help="List what is in folders, too.")
@click.option("--pattern", default="", help="Only what it matches: '*.jpg', 'photos/**/2026-*'. With -r, at any depth.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each file or folder.")
@give_up_option
def command(source: Server, path: str, recursive: bool, pattern: str, as_json: bool, give_up: float) -> None:
    """List the files of a server: sizes, times, names, and the total.

    SOURCE is the invite of the server, HOST:PORT of one that anybody may read, '@FILE' with either, '-' to read it
    from standard input, or '@' for what the variable TWISTEDP2P_SOURCE says.
    """
    where = remote_path(path)
    if len(pattern) > IGNORE_PATTERN_CHARS:
        raise click.UsageError(f"A pattern has at most {IGNORE_PATTERN_CHARS} characters.")

    async def work(session: Session) -> int:
        files = folders = total = 0
        async for entries in session.entries(where, deep=recursive, pattern=pattern):
            for entry in entries:
                files, folders = files + (not entry.folder), folders + entry.folder
                total += entry.size
                click.echo(_json(entry) if as_json else _line(entry))
        if not as_json:
            click.echo(f"{count(files, 'file')}, {count(folders, 'folder')}, {size(total)} ({total:,} bytes)")
        return NOTHING if pattern and not files + folders else 0

    with_server(source, work, patience=give_up)


def _line(entry: FileEntry) -> str:
    when = moment(entry.mtime_ns / 1e9)
    if entry.folder:
        return f"{'':>9}  {when:16}  {shown(entry.path)}/"
    return f"{size(entry.size):>9}  {when:16}  {shown(entry.path)}{'*' if entry.executable else ''}"


def _json(entry: FileEntry) -> str:
    said = asdict(entry)
    del said["token"]
    return json.dumps(said)
