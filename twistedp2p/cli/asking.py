"""Questions to a person at a terminal, answered in the reactor's thread, so that Ctrl-C ends them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import click
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["choose"]

T = TypeVar("T")

_LINE = 4096
"""Bytes that a terminal gives at a time, at most: it passes on whole lines."""


async def choose(reactor: Any, question: str, answers: Mapping[str, T], default: T, *, fd: int = 0) -> T:
    """Ask until one of `answers`, or the beginning of one, is typed; nothing but Return is `default`.

    The question goes to standard error, and the answer comes from `fd`, a terminal. Raises `CancelledError` when that
    is closed, as with Ctrl-D.
    """
    while True:
        click.echo(f"{question} ", err=True, nl=False)
        typed = (await _line(reactor, fd)).strip().lower()
        if not typed:
            return default
        meant = {answer for word, answer in answers.items() if word.startswith(typed)}
        if len(meant) == 1:
            return meant.pop()
        click.echo(f"Type {' or '.join(answers)}, or a first letter.", err=True)


def _line(reactor: Any, fd: int) -> Deferred[str]:
    """Return the next line that is typed."""
    reader = _Line(reactor, fd)
    reactor.addReader(reader)
    return reader.came


@implementer(IReadDescriptor)
class _Line:
    """Reads one line of a terminal."""

    def __init__(self, reactor: Any, fd: int) -> None:
        self.came: Deferred[str] = Deferred(lambda _: reactor.removeReader(self))
        self._reactor = reactor
        self._fd = fd

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._fd

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return "terminal"

    def doRead(self) -> None:
        """A line is there, or the end."""
        self._reactor.removeReader(self)
        try:
            data = os.read(self._fd, _LINE)
        except OSError:  # the terminal is gone
            data = b""
        if data:
            self.came.callback(data.decode(errors="replace"))
        else:
            self.came.errback(Failure(CancelledError()))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""
