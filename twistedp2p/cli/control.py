"""Priorities that a person or a program changes while files move: lines on standard input."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.cli.queue import parse_line
from twistedp2p.cli.words import shown
from twistedp2p.transfer.files.fair import Priority

__all__ = ["Control"]

LINE_BYTES = 8192
"""Longest line: a path has 1,024 bytes, and each may be quoted."""
_READ_BYTES = 65536


@implementer(IReadDescriptor)
class Control:
    """Reads `PATH PRIORITY` lines, from `start` to `stop` or to the end of what is read.

    It is read when there is something to read, and never made non-blocking: a terminal would be so for other programs.

    Args:
        reactor: tells when there is something to read.
        set_priority: changes the priority of a path; returns whether anything of it is still to come.
        descriptor: what is read.
    """

    def __init__(self, reactor: Any, set_priority: Callable[[str, Priority], bool], descriptor: int = 0) -> None:
        self._reactor = reactor
        self._set_priority = set_priority
        self._descriptor = descriptor
        self._rest = b""
        self._skipping = False
        self._reading = False

    def start(self) -> None:
        """Begin to read."""
        self._reading = True
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Read no more; harmless if it does not read."""
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    # -- Twisted calls these --

    def fileno(self) -> int:
        """Return what is read."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what this is called in a log."""
        return "control"

    def doRead(self) -> None:
        """Take what there is to read."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self.stop()
            data = b"\n"  # a last line without its end counts, too
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skipping:
                self._take(line)
            self._skipping = False
        if len(self._rest) > LINE_BYTES:
            self._rest = b""
            if not self._skipping:
                self._skipping = True
                _say("a line is too long")

    def connectionLost(self, reason: Failure) -> None:
        """The reactor reads it no more."""
        self._reading = False

    def _take(self, line: bytes) -> None:
        if len(line) > LINE_BYTES:
            _say("a line is too long")
            return
        text = line.decode(errors="replace")
        try:
            found = parse_line(text)
        except ValueError as error:
            _say(f"{shown(text)}: {error}")
            return
        if found is None:
            return
        path, priority = found
        if priority is None:
            _say(f"{shown(text)}: say PATH PRIORITY")
        elif not self._set_priority(path, priority):
            _say(f"{shown(path) or '.'}: nothing of that is still to come")


def _say(sentence: str) -> None:
    click.echo(f"twistedp2p: standard input, {sentence}", err=True)
