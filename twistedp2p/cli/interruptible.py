"""A command that runs until it is done, fails with one sentence, or is interrupted: its exit status says which."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from twistedp2p.cli.words import shown
from twistedp2p.errors import NoSuchFile, TwistedP2PError
from twistedp2p.framing.steady import keep_steady

__all__ = ["INTERRUPTED", "NOTHING", "run_to_end"]

NOTHING = 3
"""Exit status: there was nothing of that name."""
INTERRUPTED = 130
"""Exit status: a person ended it."""


def run_to_end(main: Callable[[Any], Coroutine[Any, Any, int]], *, nothing: int = 1) -> None:
    """Run `main` with the reactor, and end the process with the status that it returns.

    An error is one sentence and status 1, `NoSuchFile` status `nothing`. Ctrl-C and SIGTERM cancel it: the status is
    `INTERRUPTED` unless it returns one all the same.
    """
    interrupted: list[bool] = []

    def begin(reactor: Any) -> Deferred[None]:
        keep_steady(reactor)
        running = Deferred.fromCoroutine(_in_words(main(reactor), interrupted, nothing))

        def interrupt(*_: object) -> None:
            interrupted.append(True)
            reactor.callFromThread(running.cancel)

        def hear() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, interrupt)

        # Once more when the reactor has put in its own.
        hear()
        reactor.callWhenRunning(hear)
        return running

    try:
        react(begin)
    except SystemExit as end:
        sys.exit(end.code)


async def _in_words(work: Coroutine[Any, Any, int], interrupted: list[bool], nothing: int) -> None:
    try:
        status = await work
    except TwistedP2PError as error:
        if interrupted:
            raise SystemExit(INTERRUPTED) from error
        click.echo(f"twistedp2p: {shown(str(error))}", err=True)
        raise SystemExit(nothing if isinstance(error, NoSuchFile) else 1) from error
    except CancelledError as error:
        raise SystemExit(INTERRUPTED) from error
    if status:
        raise SystemExit(status)
