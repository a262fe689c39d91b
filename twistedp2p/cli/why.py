"""``twistedp2p why``: the reason why a file or folder is not in sync."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from twistedp2p.cli.folders import is_member
from twistedp2p.cli.options import home_option
from twistedp2p.cli.report import reasons
from twistedp2p.cli.talk import ask
from twistedp2p.cli.words import shown
from twistedp2p.errors import FolderUnusable, NotServed
from twistedp2p.home import Home
from twistedp2p.web.status import parse_why

__all__ = ["command"]


@click.command("why")
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path, readable=False))
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@home_option
def command(path: Path, as_json: bool, home: Home) -> None:
    """Say why PATH is not in sync, and what to do about it.

    PATH is a file or folder in a shared folder; it need not be on this disk. Of a folder it is said as well what
    is not in sync in it. The exit status is 1 if no peer runs: then it is said what the disk alone can tell.
    """
    folder, inside = _located(path, home)
    try:
        answer, served = ask(home, folder, f"/why?path={quote(os.fsencode(inside))}"), True
    except NotServed as error:
        answer, served = _without_peer(folder, inside, str(error)), False
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        found = parse_why(answer)
        click.echo(f"{shown(found.path)}: {shown(found.text)} [{shown(found.code)}]")
        click.echo("".join(f"{line}\n" for line in reasons(found.reasons, found.waiting)), nl=False)
    if not served:
        click.get_current_context().exit(1)


def _located(path: Path, home: Home) -> tuple[Path, str]:
    """Return the shared folder that `path` is in, and the rest of it; a link at its end is not followed."""
    for absolute in _ways(path):
        for above in (absolute, *absolute.parents):
            if is_member(above):
                inside = str(absolute.relative_to(above))
                if inside == ".":
                    raise click.UsageError("Say what in the shared folder; `twistedp2p status` tells of all of it.")
                return above, inside
    for above in next(_ways(path)).parents:
        home.require_mark(above)
    raise FolderUnusable(f"{path} is in no shared folder: make one with `twistedp2p share` or `join`.")


def _ways(path: Path) -> Iterator[Path]:
    """Yield `path` as it was said, and as it is when the links above it are followed."""
    said = Path(os.path.abspath(path))
    yield said
    yield said.parent.resolve() / said.name


def _without_peer(folder: Path, inside: str, why: str) -> dict[str, Any]:
    """Return what can be told of a path when no peer runs: what keeps it local for good, if that is so."""
    from twistedp2p.peer.reasons_offline import without_peer  # the file system is looked at only now

    found = without_peer(folder, inside)
    text = why if found is None else f"{found.text} And: {why}"
    code = "no-peer" if found is None else found.code.value
    return {"path": inside, "code": code, "text": text, "waiting": [], "reasons": []}
