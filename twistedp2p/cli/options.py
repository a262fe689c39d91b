"""Options and arguments that several commands have."""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from twistedp2p.framing.addresses import Advertised
from twistedp2p.home import Home
from twistedp2p.limits import (
    LOG_BYTES,
    LOG_BYTES_LEAST,
    LOG_FILES,
    LOG_FILES_MOST,
    NAME_CHARS,
    TRASH_DAYS,
    TRASH_DAYS_MOST,
)

__all__ = ["FOLDER", "LogWish", "all_option", "home_option", "log_options", "peer_options"]

FOLDER = click.Path(path_type=Path)
"""A folder that need not exist; what is wrong with it is said by who uses it."""


@frozen
class LogWish:
    """What a person wants to see of the log.

    `verbose`: how often -v was said; `quiet`: only warnings and errors on stderr. `file` gets what is worth noting,
    or all if `verbose` is 2; it is begun anew when it has `size` bytes, and `files` older ones are kept.
    """

    verbose: int = 0
    quiet: bool = False
    file: Path | None = None
    size: int = LOG_BYTES
    files: int = LOG_FILES


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
    return log_options(home_option(function))


def log_options(function: Any) -> Any:
    """Add what a command that stays in the foreground shows of its log; the command gets `log`, a `LogWish`."""

    @wraps(function)
    def with_log(
        *arguments: Any, verbose: int, quiet: bool, log_file: Path | None, log_size: int, log_files: int, **words: Any
    ) -> Any:
        if verbose and quiet:
            raise click.UsageError("Say --verbose or --quiet, not both.")
        return function(*arguments, log=LogWish(verbose, quiet, log_file, log_size, log_files), **words)

    found: Any = with_log
    for option in reversed(_LOG_OPTIONS):
        found = option(found)
    return found


_LOG_OPTIONS = (
    click.option(
        "-v", "--verbose", count=True, help="Show what is worth noting also on a terminal; twice: all that is logged."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show only warnings and errors."),
    click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write the log to FILE too (mode 0600).",
    ),
    click.option(
        "--log-size",
        type=click.IntRange(LOG_BYTES_LEAST),
        default=LOG_BYTES,
        show_default=True,
        metavar="BYTES",
        help="Begin FILE anew when it is this long; the old one becomes FILE.1.",
    ),
    click.option(
        "--log-files",
        type=click.IntRange(1, LOG_FILES_MOST),
        default=LOG_FILES,
        show_default=True,
        metavar="N",
        help="Keep this many old ones.",
    ),
)


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
        help="Forget what was said of --listen, --advertise, --name, --durability and --trash-days before.",
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
