"""``twistedp2p receive``: receives what somebody sends, by their code."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import SystemRandom

import click
from attrs import define, field, frozen

from twistedp2p.cli.agreed import Agreed
from twistedp2p.cli.calling_back import TrackerWay
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.reaching import Session, Source, give_up_option, with_server
from twistedp2p.cli.words import count, shown, size
from twistedp2p.errors import NoSpace, NoSuchFile
from twistedp2p.identity.files_code import SendCode
from twistedp2p.identity.given import given_text
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.uploads import reserve

__all__ = ["command"]

CODE_VARIABLE = "TWISTEDP2P_CODE"
_SHOWN = 20
"""Names at the top that are listed; the rest is counted."""


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

    You see names and sizes, and agree, before anything is written; what is not what you agreed to is not taken. What
    is there already with the same content is skipped; a file with other content stays, and the new one is called
    NAME (2). What was cut off goes on when you say the same again.
    """
    if overwrite and skip:
        raise click.UsageError("Say --overwrite or --skip, not both.")
    taken = Taken.OVERWRITE if overwrite else Taken.SKIP if skip else Taken.RENAME
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: say --yes to receive it whatever it is.")
    receiving = _Receiving(to, taken, asks=not yes, as_json=as_json, quiet=quiet)
    ways = [] if code.tracker is None else [TrackerWay(code, os.urandom, SystemRandom().random)]
    with_server(
        Source(code.places, None), receiving.work, patience=give_up, keys=code.keys(), pin=code.pin, ways=ways
    )


@define
class _Offer:
    """What is offered: the names at the top, the sums, and what the sender says is gone."""

    agreed: Agreed = field(factory=Agreed)
    tops: list[FileEntry] = field(factory=list)
    files: int = 0
    bytes: int = 0
    more: int = 0
    gone: NoSuchFile | None = None

    def add(self, entries: Sequence[FileEntry]) -> None:
        """Take the next entries of the list."""
        self.agreed.listed(entries)
        for entry in entries:
            if "/" not in entry.path:
                if len(self.tops) < _SHOWN:
                    self.tops.append(entry)
                else:
                    self.more += 1
            self.files += not entry.folder
            self.bytes += entry.size


@frozen
class _Receiving:
    """One run: hear what is offered, ask, fetch it."""

    to: Path
    taken: Taken
    asks: bool
    as_json: bool
    quiet: bool

    async def work(self, session: Session) -> int:
        """Do it; return the exit status."""
        offer = _Offer()
        async for entries in self._listed(session, offer):
            offer.add(entries)
        offer.agreed.end()
        if offer.gone is not None:
            click.echo(f"twistedp2p: {shown(str(offer.gone))}", err=True)
            if not offer.tops:
                return 1
        if self.asks and not await session.in_thread(_ask, offer, self.to):
            await (await session.client.connected()).received(0, 0, accepted=False)
            click.echo("Nothing was received.", err=True)
            return 1
        return await self._fetch(session, offer)

    async def _fetch(self, session: Session, offer: _Offer) -> int:
        """Fetch what is offered; whoever was asked gets what they agreed to, and nothing else."""
        moving = moving_on("received", as_json=self.as_json, quiet=self.quiet)
        fetching = Fetching(session, self.to, moving, taken=self.taken, as_listed=self.asks)
        try:
            _check_room(fetching, offer)
            pages = self._listed(session, offer)
            async for entries in offer.agreed.held_to(pages) if self.asks else pages:
                await fetching.add_entries(entries)
            await fetching.finish()
            status = fetching.status or int(offer.gone is not None)
            if not status:
                await session.ask(lambda connection: connection.received(offer.files, offer.bytes))
        finally:
            fetching.close()
        return status

    async def _listed(self, session: Session, offer: _Offer) -> AsyncIterator[Sequence[FileEntry]]:
        """Yield all that is offered; what is gone does not keep the rest from being received."""
        try:
            async for entries in session.entries("", deep=True):
                yield entries
        except NoSuchFile as error:
            offer.gone = error


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
