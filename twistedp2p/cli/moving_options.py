"""The options that `get` and `put` have in common."""

from __future__ import annotations

from functools import wraps
from typing import Any

import click
from attrs import frozen

from twistedp2p.cli.reaching import SOURCE_FROM_INPUT, SOURCE_VARIABLE, give_up_option
from twistedp2p.transfer.files.fair import Priority

__all__ = ["MovingWish", "moving_options"]


@frozen
class MovingWish:
    """What a person wants of files that move, and to see of them.

    `overwrite`: replace files that have other content. `priority`: the share of the bytes. `control`: change
    priorities by lines on standard input. `as_json`: one object a line; `quiet`: only what failed. `give_up`: seconds
    without the server.
    """

    overwrite: bool
    priority: Priority
    control: bool
    as_json: bool
    quiet: bool
    give_up: float


def moving_options(function: Any) -> Any:
    """Add what can be said of files that move; the command gets `wish`, a `MovingWish`."""

    @wraps(function)
    def with_wish(
        *arguments: Any,
        overwrite: bool,
        priority: str,
        control: bool,
        as_json: bool,
        quiet: bool,
        give_up: float,
        **words: Any,
    ) -> Any:
        if control and click.get_current_context().meta.get(SOURCE_FROM_INPUT):
            raise click.UsageError(
                "SOURCE and --control can not both come from standard input; give SOURCE as '@FILE', or '@' with "
                f"{SOURCE_VARIABLE} set."
            )
        wish = MovingWish(overwrite, Priority.named(priority), control, as_json, quiet, give_up)
        return function(*arguments, wish=wish, **words)

    found: Any = give_up_option(with_wish)
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


_OPTIONS = (
    click.option("--overwrite", is_flag=True, help="Replace files that have other content."),
    click.option(
        "--priority",
        type=click.Choice([priority.word for priority in Priority]),
        default="normal",
        show_default=True,
        help="The share of the bytes: critical 64, high 16, normal 4, low 1.",
    ),
    click.option(
        "--control", is_flag=True, help="Change priorities meanwhile: 'PATH PRIORITY' lines on standard input."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print what happens as one JSON object a line."),
    click.option("-q", "--quiet", is_flag=True, help="Show only what failed."),
)
