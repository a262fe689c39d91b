"""Options and arguments that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from twistedp2p.framing.addresses import Advertised
from twistedp2p.home import Home
from twistedp2p.limits import NAME_CHARS, TRASH_DAYS, TRASH_DAYS_MOST

__all__ = ["FOLDER", "all_option", "home_option", "peer_options"]

FOLDER = click.Path(path_type=Path)
"""A folder that need not exist; what is wrong with it is said by who uses it."""


def _home(context: click.Context, parameter: click.Parameter, value: Path | None) -> Home:
    return Home.find(os.environ) if value is None else Home(value)


def _advertised(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        Advertised.parse(value)
    return value


def _name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (0 < len(value) <= NAME_CHARS and value.isprintable()):
        raise click.BadParameter(f"a name has 1 to {NAME_CHARS} printable characters.")
    return value


def home_option(function: Any) -> Any:
    """Add ``--home``; the command gets a `Home`."""
    return click.option(
        "--home",
        type=FOLDER,
        metavar="DIR",
        callback=_home,
        help="State folder of this person; also TWISTEDP2P_HOME.",
    )(function)


def all_option(function: Any) -> Any:
    """Add ``--all``; the command gets `every`."""
    return click.option("--all", "every", is_flag=True, help="Every shared folder of this person that is there.")(
        function
    )


def peer_options(function: Any) -> Any:
    """Add what can be said of any peer."""
    for option in reversed(_PEER_OPTIONS):
        function = option(function)
    return home_option(function)


_PEER_OPTIONS = (
    click.option(
        "--listen",
        metavar="ENDPOINT",
        multiple=True,
        help="Where other peers reach this one, like tcp:17412 or unix:/run/peer.sock; may repeat. "
        "Without it, a free port is taken and kept.",
    ),
    click.option(
        "--advertise",
        metavar="HOST[:PORT]",
        callback=_advertised,
        help="The address that others are told, if this machine's own is not the right one.",
    ),
    click.option(
        "--name",
        callback=_name,
        help="What other people see this peer called; the name of the machine without it.",
    ),
    click.option(
        "--names",
        type=click.Choice(["posix", "portable"]),
        help="Allow any name in a new share (posix, as without it), or only those that Windows can store.",
    ),
    click.option(
        "--durability",
        type=click.Choice(["durable", "relaxed"]),
        help="durable, as without it, or relaxed: faster, survives a crash of the program but not a power cut.",
    ),
    click.option(
        "--defaults",
        is_flag=True,
        help="Forget what was said of --listen, --advertise, --name and --durability for this folder before.",
    ),
    click.option(
        "--trash-days",
        type=click.IntRange(0, TRASH_DAYS_MOST),
        metavar="DAYS",
        help=f"How long files that others replaced or deleted are kept in the trash; {TRASH_DAYS} without it. "
        "0: until no version waits for them.",
    ),
    click.option(
        "--invite-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the invite to FILE (mode 0600).",
    ),
)
