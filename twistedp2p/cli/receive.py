"""``twistedp2p receive``: receives what somebody sends, by their code."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from random import SystemRandom

import click
from attrs import frozen

from twistedp2p.cli.asking import choose
from twistedp2p.cli.calling_back import TrackerWay
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.moving import moving_on
from twistedp2p.cli.proposal import Proposal, check_room
from twistedp2p.cli.reaching import Session, give_up_option, with_server
from twistedp2p.cli.receiver_key import receiver_key
from twistedp2p.cli.words import count, shown, size
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import ConnectionFull, FolderUnusable, NoSuchFile, PeerTimeout, TooLarge, Unreachable
from twistedp2p.home import Home
from twistedp2p.identity.files_code import SendCode
from twistedp2p.identity.given import given_text
from twistedp2p.limits import OFFERED_NAMES
from twistedp2p.transfer.files.client import Server
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.messages import FileEntry

__all__ = ["Receiving", "command"]

CODE_VARIABLE = "TWISTEDP2P_CODE"
_TAKEN = {"keep": Taken.RENAME, "overwrite": Taken.OVERWRITE, "skip": Taken.SKIP}
"""What a person may say about names that are taken."""


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
    taken = Taken.OVERWRITE if overwrite else Taken.SKIP if skip else None
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("There is nobody to ask: say --yes to receive it whatever it is.")
    live = sys.stderr.isatty() and not as_json and not quiet
    receiving = Receiving(to, taken, asks=not yes, as_json=as_json, quiet=quiet, live=live)
    ways = [] if code.tracker is None else [TrackerWay(code, os.urandom, SystemRandom().random)]
    with receiver_key(Home.find(os.environ), code.keys().share_id) as device:
        with_server(Server.of(code), receiving.work, patience=give_up, ways=ways, device=device)


@frozen
class Receiving:
    """One run: hear what is offered, ask, fetch it."""

    to: Path
    taken: Taken | None
    """What to do where another file is, if that was said."""
    asks: bool
    as_json: bool
    quiet: bool
    live: bool = False
    """Whether a person sees on a terminal how much is listed."""
    most: int = OFFERED_NAMES
    """Files and folders that may be offered."""

    async def work(self, session: Session) -> int:
        """Do it; return the exit status."""
        offer = await self._hear(session)
        if offer.gone is not None:
            click.echo(f"twistedp2p: {shown(str(offer.gone))}", err=True)
            if not offer.tops:
                return 1
        taken = await self._agree(session, offer) if self.asks else self.taken or Taken.RENAME
        if taken is None:
            await (await session.client.connected()).received(0, 0, accepted=False)
            click.echo("Nothing was received.", err=True)
            return 1
        return await self._fetch(session, offer, taken)

    async def _hear(self, session: Session) -> Proposal:
        """Return what is offered, compared with what is here; nothing is written."""
        offer = Proposal(session.client.source)
        disk = await session.in_thread(_open, self.to)
        try:
            async for entries in self._listed(session, offer):
                await session.in_thread(offer.add, entries, disk)
                if self.live:
                    listed = f"{count(offer.files, 'file')} listed so far, {size(offer.bytes)}"
                    click.echo(f"\r\x1b[K{listed}", err=True, nl=False)
        finally:
            if self.live:
                click.echo("\r\x1b[K", err=True, nl=False)
            if disk is not None:
                disk.close()
        offer.agreed.end()
        return offer

    async def _agree(self, session: Session, offer: Proposal) -> Taken | None:
        """Show what is offered, and ask; return what to do where another file is, or None if it is not wanted."""
        for line in _lines(offer):
            click.echo(line, err=True)
        to = shown(str(self.to.expanduser().absolute()))
        question = f"Receive {count(offer.files, 'file')}, {size(offer.bytes)}, into {to}? [Y/n]"
        if not await choose(session.reactor, question, {"yes": True, "no": False}, True):
            return None
        if self.taken is not None or not offer.names_taken:
            return self.taken or Taken.RENAME
        click.echo(f"{count(offer.names_taken, 'name is', 'names are')} taken here:", err=True)
        for path in offer.taken:
            click.echo(f"           {shown(path)}", err=True)
        if offer.names_taken > len(offer.taken):
            click.echo(f"and {offer.names_taken - len(offer.taken):,} more", err=True)
        question = "Where the content is another: keep both, overwrite, or skip? [Keep/overwrite/skip]"
        return await choose(session.reactor, question, _TAKEN, Taken.RENAME)

    async def _fetch(self, session: Session, offer: Proposal, taken: Taken) -> int:
        """Fetch what is offered; whoever was asked gets what they agreed to, and nothing else."""
        moving = moving_on("received", as_json=self.as_json, quiet=self.quiet)
        to = str(self.to.expanduser().absolute())
        moving.start({"to": to, "files": offer.files, "bytes": offer.bytes})
        fetching = Fetching(session, self.to, moving, taken=taken, as_listed=self.asks)
        try:
            await session.in_thread(check_room, fetching.disk, offer.needed[taken])
            pages = self._listed(session, offer)
            async for entries in offer.agreed.held_to(pages) if self.asks else pages:
                await fetching.add_entries(entries)
            await fetching.finish()
            status = fetching.status or int(offer.gone is not None)
            if not status:
                await _tell(session, offer)
        finally:
            fetching.close()
        return status

    async def _listed(self, session: Session, offer: Proposal) -> AsyncIterator[Sequence[FileEntry]]:
        """Yield all that is offered; what is gone does not keep the rest from being received.

        Raises `TooLarge` when that is more than may be, before anything of it is yielded that is beyond.
        """
        names = 0
        try:
            async for entries in session.entries("", deep=True):
                names += len(entries)
                if names > self.most:
                    raise TooLarge(
                        f"More than {self.most:,} files and folders are offered; ask for some of them at a time, "
                        "or for one archive of all."
                    )
                yield entries
        except NoSuchFile as error:
            offer.gone = error


async def _tell(session: Session, offer: Proposal) -> None:
    """Tell the sender that everything is here; if it can not be told, that changes nothing here."""
    try:
        await session.ask(lambda connection: connection.received(offer.files, offer.bytes))
    except (ConnectionFull, PeerTimeout, Unreachable) as error:
        text = f"Everything is here; only the sender could not be told, and may wait on. {error}"
        click.echo(f"twistedp2p: {shown(text)}", err=True)


def _open(to: Path) -> RealDisk | None:
    """Return the folder where it shall arrive, None if there is none yet."""
    try:
        return RealDisk(os.fsencode(to.expanduser().absolute()))
    except FolderUnusable:  # whoever fetches into it says why
        return None


def _lines(offer: Proposal) -> Iterator[str]:
    for entry in offer.tops:
        what = "folder" if entry.folder else size(entry.size)
        yield f"{what:>9}  {shown(entry.path)}"
    if offer.more:
        yield f"and {count(offer.more, 'more name', 'more names')}"
