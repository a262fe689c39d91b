"""``twistedp2p receive``: receives what somebody sends, by their code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import SystemRandom

import click
from attrs import define

from twistedp2p.cli.calling_back import TrackerWay
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.reaching import Session, Source, give_up_option, with_server
from twistedp2p.cli.words import count, shown, size
from twistedp2p.errors import NoSpace
from twistedp2p.identity.files_code import SendCode
from twistedp2p.identity.given import given_text
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.uploads import reserve

__all__ = ["command"]

CODE_VARIABLE = "TWISTEDP2P_CODE"
_SHOWN = 20
"""Names at the top that are listed; the rest is counted."""


@define
class _Offer:
    tops: list[FileEntry]
    files: int = 0
    bytes: int = 0
    more: int = 0


def _code(context: click.Context, parameter: click.Parameter, value: str | None) -> SendCode:
    text = value or os.environ.get(CODE_VARIABLE)
    if not text:
        raise click.UsageError(f"Give the code, '-' to read it from standard input, '@FILE', or set {CODE_VARIABLE}.")
    return SendCode.parse(given_text(text, sys.stdin))


@click.command("receive")
@click.argument("code", required=False, callback=_code)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where to put what arrives; the current folder without it.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--overwrite", is_flag=True, help="Replace files that have other content.")
@click.option("--skip", is_flag=True, help="Leave out files where another one is.")
@click.option("--json", "as_json", is_flag=True, help="Print what happens as one JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Show only what failed.")
@give_up_option
def command(
    code: SendCode, to: Path, yes: bool, overwrite: bool, skip: bool, as_json: bool, quiet: bool, give_up: float
) -> None:
    """Receive what `twistedp2p send` offers by that CODE, into DIR.

    You see names and sizes, and agree, before anything is written. What is there already with the same content is
    skipped; a file with other content stays, and the new one is called NAME (2). What was cut off goes on when you say
    the same again.
    """
    if overwrite and skip:
        raise click.UsageError("Say --overwrite or --skip, not both.")
    taken = Taken.OVERWRITE if overwrite else Taken.SKIP if skip else Taken.RENAME
    asks = not yes
    if asks and not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: say --yes to receive it whatever it is.")

    async def work(session: Session) -> int:
        offer = await _listing(session)
        fetching: Fetching | None = None
        if asks:
            agreed = await session.in_thread(_ask, offer, to)
            if not agreed:
                await (await session.client.connected()).received(0, 0, accepted=False)
                click.echo("Nothing was received.", err=True)
                return 1
        moving = moving_on("received", as_json=as_json, quiet=quiet)
        fetching = Fetching(session, to, moving, taken=taken)
        try:
            _check_room(fetching, offer)
            await fetching.add("", Priority.NORMAL)
            await fetching.finish()
            status = fetching.status
            if not status:
                await session.ask(lambda connection: connection.received(offer.files, offer.bytes))
        finally:
            fetching.close()
        return status

    ways = [] if code.tracker is None else [TrackerWay(code, os.urandom, SystemRandom().random)]
    with_server(Source(code.places, None), work, patience=give_up, keys=code.keys(), pin=code.pin, ways=ways)


async def _listing(session: Session) -> _Offer:
    """Return what is offered: the names at the top, and the sums."""
    offer = _Offer([])
    async for entries in session.entries("", deep=True):
        for entry in entries:
            if "/" not in entry.path:
                if len(offer.tops) < _SHOWN:
                    offer.tops.append(entry)
                else:
                    offer.more += 1
            offer.files += not entry.folder
            offer.bytes += entry.size
    return offer


def _ask(offer: _Offer, to: Path) -> bool:
    for entry in offer.tops:
        what = "folder" if entry.folder else size(entry.size)
        click.echo(f"{what:>9}  {shown(entry.path)}", err=True)
    if offer.more:
        click.echo(f"and {count(offer.more, 'more name', 'more names')}", err=True)
    text = f"Receive {count(offer.files, 'file')}, {size(offer.bytes)}, into {shown(str(to.expanduser().absolute()))}?"
    return click.confirm(text, default=True, err=True)


def _check_room(fetching: Fetching, offer: _Offer) -> None:
    free = fetching.disk.space().free - reserve(fetching.disk)
    if offer.bytes > free:
        raise NoSpace(
            f"There is not enough room: {size(offer.bytes)} are offered, and {size(max(free, 0))} are free. "
            "Make room, or choose another folder with --to."
        )
