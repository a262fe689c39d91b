"""Options and arguments that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from twistedp2p.home import Home

__all__ = ["FOLDER", "home_option"]

FOLDER = click.Path(path_type=Path)
"""A folder that need not exist; what is wrong with it is said by who uses it."""


def _home(context: click.Context, parameter: click.Parameter, value: Path | None) -> Home:
    return Home.find(os.environ) if value is None else Home(value)


def home_option(function: Any) -> Any:
    """Add ``--home``; the command gets a `Home`."""
    return click.option(
        "--home",
        type=FOLDER,
        metavar="DIR",
        callback=_home,
        help="State folder of this person; also TWISTEDP2P_HOME.",
    )(function)
