"""``twistedp2p trash``: lists what is kept in the trash of a shared folder, and removes it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import click
import msgspec
from attrs import asdict

from twistedp2p.cli.folders import chosen_folder
from twistedp2p.cli.options import home_option
from twistedp2p.cli.talk import ask
from twistedp2p.cli.words import count, day, moment, shown, size
from twistedp2p.errors import NotServed
from twistedp2p.home import Home
from twistedp2p.limits import CONTROL_WORK, TRASH_DAYS_MOST
from twistedp2p.peer.purging import Item, Page, Purged, Wish

__all__ = ["command"]

_MOST = 20
"""Files that are named one by one as kept; the rest is counted."""

T = TypeVar("T")


class _Trash(Protocol):
    """The trash of one folder, whoever has it open."""

    def page(self, place: str | None = None, pattern: str | None = None) -> Page:
        """Return some files that follow after `place`."""

    def purge(self, wish: Wish, place: str | None = None) -> Purged:
        """Remove what is wished of some files after `place`."""


class _Served:
    """The trash of a folder whose peer runs: the peer does it."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._folder = folder

    def page(self, place: str | None = None, pattern: str | None = None) -> Page:
        """See `_Trash`."""
        return self._ask("GET", Page, place=place, pattern=pattern)

    def purge(self, wish: Wish, place: str | None = None) -> Purged:
        """See `_Trash`."""
        everything = "1" if wish.everything else None
        return self._ask(
            "POST", Purged, older_than=wish.older_than, pattern=wish.pattern, everything=everything, place=place
        )

    def _ask(self, method: str, kind: type[T], **words: object) -> T:
        query = urlencode({name: word for name, word in words.items() if word is not None})
        answer = ask(self._home, self._folder, f"/trash?{query}", method, seconds=CONTROL_WORK)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise NotServed(f"The answer of the peer can not be read ({error}): is it of another version?") from error


@contextmanager
def _open(home: Home, folder: Path) -> Iterator[_Trash]:
    """Give the trash of `folder`: of its running peer, else what lies there."""
    try:
        ask(home, folder, "/version")
    except NotServed:
        from twistedp2p.peer.at_rest import trash_at_rest  # an index, which nobody needs where a peer runs

        with trash_at_rest(folder, home, time.time) as trash:
            yield trash
    else:
        yield _Served(home, folder)


def _folder_and_pattern(words: tuple[str, ...], home: Home) -> tuple[Path, str | None]:
    """Return what [DIR] [PATTERN] says: a single word that is a folder is DIR, any other one is PATTERN."""
    if len(words) > 2:
        raise click.UsageError("Say at most a folder and a pattern; put a pattern into quotes.")
    named = Path(words[0]) if words and (len(words) == 2 or Path(words[0]).is_dir()) else None
    pattern = words[-1] if len(words) == 2 or (words and named is None) else None
    return chosen_folder(named, Path.cwd(), home), pattern


@click.group("trash")
def command() -> None:
    """List or remove what is kept in the trash of a shared folder.

    Files that others replaced or deleted, and the bytes of versions that have no name yet, are plain files
    in DIR/.twistedp2p/trash, by day: to have one back, copy it from there to where you want it.
    """


@command.command("list")
@click.argument("words", metavar="[DIR] [PATTERN]", nargs=-1)
@click.option("--long", is_flag=True, help="Say also where the plain file of each lies.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all that is known.")
@home_option
def _list(words: tuple[str, ...], long: bool, as_json: bool, home: Home) -> None:
    """Say what is in the trash, the newest first: when it came, its size, until when it stays, what it was.

    PATTERN is a shell pattern like 'photos/*.jpg' or '*.txt', for the path, a folder above, or the name. Without
    DIR it is the shared folder that you are in, else the only one. Each is a plain file in DIR/.twistedp2p/trash:
    --long says which. To have one back, copy it from there.
    """
    folder, pattern = _folder_and_pattern(words, home)
    with _open(home, folder) as trash:
        items = _items(trash, pattern)
        if as_json:
            _print_json(folder, items)
        else:
            _print_lines(folder, pattern, items, long)


def _items(trash: _Trash, pattern: str | None) -> Iterator[Item]:
    """Yield all files, a page at a time."""
    place: str | None = None
    while True:
        page = trash.page(place, pattern)
        yield from page.items
        if page.next is None:
            return
        place = page.next


def _place(folder: Path) -> Path:
    return folder / ".twistedp2p" / "trash"


def _print_lines(folder: Path, pattern: str | None, items: Iterator[Item], long: bool) -> None:
    files = total = 0
    for item in items:
        files, total = files + 1, total + item.size
        until = "stays" if item.until is None else f"to {day(item.until)}"
        click.echo(f"{moment(item.since)}  {size(item.size):>7}  {until:13}  {shown(item.path)}")
        if long:
            click.echo(f"    {shown(str(_place(folder) / item.name))}")
        if item.why:
            click.echo(f"    {item.why}")
    if files:
        click.echo(f"{count(files, 'file')}, {size(total)}, in {shown(str(_place(folder)))}")
    elif pattern is None:
        click.echo(f"The trash of {shown(str(folder))} is empty.")
    else:
        click.echo(f"Nothing in the trash of {shown(str(folder))} is like {shown(pattern)}.")


def _print_json(folder: Path, items: Iterator[Item]) -> None:
    """Print one object, an item a line as it comes: nobody has to keep all of it."""
    head = json.dumps({"folder": str(folder), "trash": str(_place(folder))})
    click.echo(f'{head[:-1]}, "items": [', nl=False)
    for number, item in enumerate(items):
        click.echo(f"{',' if number else ''}\n  {json.dumps(asdict(item))}", nl=False)
    click.echo("\n]}")


@command.command("purge")
@click.argument("words", metavar="[DIR] [PATTERN]", nargs=-1)
@click.option(
    "--older-than",
    type=click.IntRange(0, TRASH_DAYS_MOST),
    metavar="DAYS",
    help="Only what came into the trash more than DAYS days ago.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All that PATTERN and --older-than leave, also what the index does not know.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def _purge(words: tuple[str, ...], older_than: int | None, everything: bool, yes: bool, home: Home) -> None:
    """Remove files from the trash for good: those like PATTERN, those older than some days, or all.

    What a version still waits for stays, whatever you say: it may be the only copy.
    """
    folder, pattern = _folder_and_pattern(words, home)
    if older_than is None and pattern is None and not everything:
        raise click.UsageError("Say what to remove: a PATTERN, --older-than DAYS, or --all.")
    wish = Wish(older_than, pattern, everything)
    with _open(home, folder) as trash:
        if not yes and not _agreed(folder, trash, wish):
            click.echo("Nothing was removed.")
            return
        _tell(*_purged(trash, wish))


def _agreed(folder: Path, trash: _Trash, wish: Wish) -> bool:
    """Ask, if there is anything to remove and somebody to ask."""
    now = time.time()
    meant = [0, 0]
    for item in _items(trash, wish.pattern):
        if wish.means(item, now) and not (item.listed and item.why):
            meant = [meant[0] + 1, meant[1] + item.size]
    if not meant[0]:
        return True  # then what is kept, and why, is all there is to say
    if not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: say --yes to remove files for good.")
    what = f"{count(meant[0], 'file')}, {size(meant[1])},"
    return click.confirm(f"Remove {what} from the trash of {shown(str(folder))} for good?", default=False, err=True)


def _purged(trash: _Trash, wish: Wish) -> tuple[Purged, int]:
    """Remove all that is wished; return the sum, with the first of what was kept, and how many were."""
    removed = size_removed = kept_in_all = 0
    kept: list[Item] = []
    place: str | None = None
    while True:
        step = trash.purge(wish, place)
        removed += step.removed
        size_removed += step.bytes
        kept_in_all += len(step.kept)
        kept += step.kept[: _MOST - len(kept)]
        if step.next is None:
            return Purged(removed, size_removed, tuple(kept), (), None), kept_in_all
        place = step.next


def _tell(purged: Purged, kept: int) -> None:
    click.echo(f"Removed {count(purged.removed, 'file')}, {size(purged.bytes)}.")
    for item in purged.kept:
        click.echo(f"Kept {shown(item.path)}: {item.why}")
    if kept > len(purged.kept):
        click.echo(f"Kept {kept - len(purged.kept):,} more; `twistedp2p trash list` says why.")
