"""What a person or a script sees of files that move: bars on a terminal, else lines; JSON when asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import click

from twistedp2p.cli.words import count, duration, rate, shown, size
from twistedp2p.transfer.files.progress import FileEvent, Totals, What

__all__ = ["Bars", "Moving", "moving_on"]

_EVERY = 0.25
"""Seconds between two lines about the bytes of one file or of all, and between two looks of the bars."""
_BARS = 8
"""Files that have a bar of their own; the others are counted in the one below."""
_BAR_BYTES = 1_000_000
"""A shorter file has none: it is over before it can be read."""


class Moving(Protocol):
    """Where what happens is shown."""

    def start(self, asked: Mapping[str, object]) -> None:
        """It begins: what was asked for, by names that a script reads."""

    def event(self, event: FileEvent, totals: Totals) -> None:
        """Something happened to a file."""

    def end(self, totals: Totals) -> None:
        """Nothing more happens."""


def moving_on(verb: str, *, as_json: bool, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Moving:
    """Return what shows files that are, as `verb` says, "fetched" or "put"."""
    if as_json:
        return _Json(clock)
    if not quiet and sys.stderr.isatty():
        return Bars(verb, clock)
    return _Lines(verb, clock, quiet)


class _Lines:
    """What failed, and at the end what was done."""

    def __init__(self, verb: str, clock: Callable[[], float], quiet: bool) -> None:
        self._verb = verb
        self._clock = clock
        self._began = clock()
        self._quiet = quiet

    def start(self, asked: Mapping[str, object]) -> None:
        """See `Moving`; a person knows what was typed."""

    def event(self, event: FileEvent, totals: Totals) -> None:
        """See `Moving`."""
        if event.what is What.FAILED:
            click.echo(f"twistedp2p: {shown(event.path)}: {shown(str(event.error))}", err=True)
        elif event.what is What.DONE and event.target and not self._quiet:
            click.echo(_elsewhere(self._verb, event), err=True)

    def end(self, totals: Totals) -> None:
        """See `Moving`."""
        if not self._quiet:
            click.echo(_summary(self._verb, totals, self._clock() - self._began), err=True)


class Bars(_Lines):
    """A bar for each file that is under way, and one for all."""

    def __init__(self, verb: str, clock: Callable[[], float]) -> None:
        super().__init__(verb, clock, False)
        # Here: nobody else waits for it to be imported.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=1 / _EVERY,
        )
        self._all = self._progress.add_task("all", total=None)
        self._tasks: dict[str, Any] = {}
        self._shown_at = 0.0
        self._progress.start()

    def event(self, event: FileEvent, totals: Totals) -> None:
        """See `Moving`."""
        if event.what is What.FAILED:
            said = f"{shown(event.path)}: {shown(str(event.error))}"
            self._progress.console.print(said, markup=False, highlight=False)
        elif event.what is What.DONE and event.target:
            self._progress.console.print(_elsewhere(self._verb, event), markup=False, highlight=False)
        if event.what in (What.BEGUN, What.MOVED):
            task = self._tasks.get(event.path)
            if task is None and len(self._tasks) < _BARS and event.size >= _BAR_BYTES:
                name = shown(event.path)
                task = self._progress.add_task(name if len(name) <= 40 else f"...{name[-37:]}", total=event.size)
                self._tasks[event.path] = task
            if task is not None:
                self._progress.update(task, completed=event.done)
        elif event.path in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.path))
        now = self._clock()
        if now - self._shown_at >= _EVERY / 2:
            self._shown_at = now
            self._show(totals)

    def end(self, totals: Totals) -> None:
        """See `Moving`."""
        self._show(totals)
        self._progress.stop()
        super().end(totals)

    def _show(self, totals: Totals) -> None:
        done = f"{totals.files_done:,} of {count(totals.files, 'file')}"
        self._progress.update(self._all, description=done, completed=totals.bytes_done, total=totals.bytes)


class _Json:
    """One JSON object a line, for scripts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._said: dict[str, float] = {}
        self._progress_at = self._began

    def start(self, asked: Mapping[str, object]) -> None:
        """See `Moving`."""
        _print({"event": "start", **asked})

    def event(self, event: FileEvent, totals: Totals) -> None:
        """See `Moving`."""
        now = self._clock()
        if event.what is not What.MOVED:
            if event.what is not What.BEGUN:
                self._said.pop(event.path, None)
            self._say(event)
        elif now - self._said.get(event.path, -1.0) >= _EVERY:
            self._said[event.path] = now
            self._say(event)
        if now - self._progress_at >= _EVERY:
            self._progress_at = now
            _print(
                {
                    "event": "progress",
                    "files": totals.files,
                    "files_done": totals.files_done,
                    "bytes": totals.bytes,
                    "bytes_done": totals.bytes_done,
                }
            )

    def _say(self, event: FileEvent) -> None:
        said: dict[str, object] = {"event": event.what.value, "path": event.path, "size": event.size}
        if event.what in (What.BEGUN, What.MOVED):
            said["done"] = event.done
        if event.target:
            said["target"] = event.target
        if event.error is not None:
            said |= {"code": event.error.code, "error": str(event.error)}
        _print(said)

    def end(self, totals: Totals) -> None:
        """See `Moving`."""
        _print(
            {
                "event": "end",
                "files": totals.files,
                "bytes": totals.bytes,
                "files_done": totals.files_done,
                "files_skipped": totals.files_skipped,
                "files_failed": totals.files_failed,
                "bytes_resumed": totals.bytes_resumed,
                "bytes_moved": totals.moved,
                "seconds": round(self._clock() - self._began, 3),
            }
        )


def _print(said: dict[str, object]) -> None:
    click.echo(json.dumps(said))


def _elsewhere(verb: str, event: FileEvent) -> str:
    """Say under which name a file came whose own is taken."""
    return f"{shown(event.path)} exists with other content; {verb} as {shown(event.target.rpartition('/')[2])}."


def _summary(verb: str, totals: Totals, seconds: float) -> str:
    moved = totals.files_done - totals.files_skipped
    parts = [f"{count(moved, 'file')} {verb}, {size(totals.moved)} in {_short(seconds)}"]
    if totals.moved and seconds >= 1:
        parts[0] += f" ({rate(totals.moved / seconds)})"
    if totals.bytes_resumed:
        parts.append(f"{size(totals.bytes_resumed)} were here from before")
    if totals.files_skipped:
        parts.append(f"{totals.files_skipped:,} already there")
    if totals.files_failed:
        parts.append(f"{totals.files_failed:,} failed")
    if not totals.ended:
        left = totals.files - totals.files_done - totals.files_failed
        parts.append(f"{left:,} not finished, the same command goes on from here")
    return "; ".join(parts)


def _short(seconds: float) -> str:
    """Return how long something took; a tenth of a second counts when it is short."""
    return duration(seconds) if seconds >= 9.5 else f"{seconds:.1f} s"
