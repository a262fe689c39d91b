"""``twistedp2p ignored``: which patterns are in force, and which one ignores a path. Needs no running peer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from twistedp2p.cli.folders import chosen_folder
from twistedp2p.cli.options import FOLDER, home_option
from twistedp2p.cli.words import shown
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Disk
from twistedp2p.errors import BadPath, FolderUnusable
from twistedp2p.home import Home
from twistedp2p.paths import from_disk
from twistedp2p.peer.ignore import DEFAULTS, IGNORE_NAME, Ignores, ListUnusable, Pattern
from twistedp2p.peer.ignore_file import list_on
from twistedp2p.versions import Kind

__all__ = ["command", "list_of"]


@click.command("ignored")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--defaults", is_flag=True, help="Print the default list, and what makes such files.")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
@home_option
def command(folder: Path | None, paths: tuple[Path, ...], defaults: bool, as_json: bool, home: Home) -> None:
    """Print the patterns of what is not shared, in their order: the last one that matches a path decides.

    Without DIR it is the shared folder that you are in, else the only one of this machine. With PATHs, on this disk
    or not, it is said of each which pattern decides about it; the exit status is 1 if none of them is ignored. A PATH
    is looked for from where you are, and then in DIR.
    """
    if defaults:
        _print_defaults(as_json)
        return
    share = chosen_folder(folder, Path.cwd(), home)
    with closing(RealDisk(os.fsencode(share))) as disk:
        ignores = list_of(share, disk)
    if not paths:
        _print_patterns(ignores, as_json)
        return
    answers = [_answer(share, path, ignores) for path in paths]
    if as_json:
        click.echo(json.dumps({"paths": answers}, indent=2))
    else:
        for answer in answers:
            click.echo(_line(answer))
    if not any(answer["ignored"] for answer in answers):
        click.get_current_context().exit(1)


def list_of(share: Path, disk: Disk) -> Ignores:
    """Return the list as it lies on the disk of `share`; a running peer goes by it as soon as it has seen it.

    Raises `FolderUnusable` if it can not be used.
    """
    file = share / IGNORE_NAME
    try:
        return list_on(disk)
    except OSError as error:
        raise FolderUnusable(
            f"{file} can not be read ({error.strerror}): make it a readable file. A running peer goes by the last list."
        ) from error
    except ListUnusable as error:
        raise FolderUnusable(f"{error} A running peer goes by the last list that it could use.") from error


def _print_defaults(as_json: bool) -> None:
    if as_json:
        patterns = [{"pattern": text, "for": reason} for text, reason in DEFAULTS]
        click.echo(json.dumps({"defaults": patterns}, indent=2))
        return
    width = max(len(text) for text, _ in DEFAULTS)
    for text, reason in DEFAULTS:
        click.echo(f"{text:{width}}  # {reason}")


def _print_patterns(ignores: Ignores, as_json: bool) -> None:
    problems = [{"line": one.line, "text": one.text, "reason": one.reason} for one in ignores.problems]
    if as_json:
        patterns = [_pattern(pattern) for pattern in ignores.patterns()]
        click.echo(json.dumps({"patterns": patterns, "problems": problems}, indent=2))
        return
    for pattern in ignores.patterns():
        click.echo(f"{_source(pattern)}:{pattern.line}\t{shown(pattern.text)}")
    for problem in ignores.problems:
        click.echo(f"{IGNORE_NAME}:{problem.line} is not used: {shown(problem.text)}: {problem.reason}", err=True)


def _pattern(pattern: Pattern) -> dict[str, Any]:
    return {"source": _source(pattern), "line": pattern.line, "pattern": pattern.text, "negated": pattern.negated}


def _source(pattern: Pattern) -> str:
    return "default" if pattern.default else IGNORE_NAME


def _answer(share: Path, path: Path, ignores: Ignores) -> dict[str, Any]:
    """Return what decides about one path."""
    inside, kind = _inside(share, path)
    found = ignores.deciding(inside, kind)
    answer: dict[str, Any] = {"path": inside, "ignored": found is not None and not found.negated}
    return {**answer, "by": None if found is None else _pattern(found)}


def _line(answer: dict[str, Any]) -> str:
    state = "ignored" if answer["ignored"] else "not ignored"
    found = answer["by"]
    by = f" by {found['source']}:{found['line']}\t{shown(found['pattern'])}" if found else ""
    return f"{shown(answer['path'])}: {state}{by}"


def _inside(share: Path, path: Path) -> tuple[str, Kind]:
    """Return the path in the share that a person means, and what it is; what is not there is a file without a slash."""
    parts = next(_below(share, path), None)
    if not parts:
        raise click.UsageError(f"{path} is not in {share}.")
    try:
        inside = from_disk([os.fsencode(part) for part in parts]).text
    except BadPath as error:
        raise click.UsageError(str(error)) from error
    there = share.joinpath(*parts)
    if there.is_symlink() or not there.exists():
        return inside, Kind.FOLDER if str(path).endswith("/") else Kind.FILE
    return inside, Kind.FOLDER if there.is_dir() else Kind.FILE


def _below(share: Path, path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the names of `path` below `share`: seen from here, with links above it followed, seen from there."""
    here = Path(os.path.abspath(path))
    for absolute in _ways(here, share, path):
        if absolute != share and absolute.is_relative_to(share):
            yield absolute.relative_to(share).parts


def _ways(here: Path, share: Path, path: Path) -> Iterable[Path]:
    return here, here.parent.resolve() / here.name, Path(os.path.abspath(share / path))
