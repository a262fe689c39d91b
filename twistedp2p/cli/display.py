"""What a command that stays in the foreground shows: a live line on a terminal, else lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from twistedp2p.cli.progress import line, news
from twistedp2p.cli.words import shown
from twistedp2p.web.status import Status

__all__ = ["Display", "Lines", "LiveLine", "LogLines", "Quiet", "Several", "display_on"]

_LOG_PROGRESS_SECONDS = 10.0
"""While something is missing, a log gets a line of progress this often."""
_LIVE_LINES = 10
"""Folders that have a live line of their own; the others are counted."""


class Lines(Protocol):
    """Something that lines are written to."""

    def write(self, text: str, /) -> object:
        """Write."""

    def flush(self) -> object:
        """Let others read what was written."""


class Display(Protocol):
    """Where a person looks while peers run."""

    refresh: float
    """How often `show` wants to be called, seconds."""

    def say(self, text: str) -> None:
        """Show a line that stays, whatever the person does not want to see: an error, a warning."""

    def tell(self, text: str) -> None:
        """Show a line that stays."""

    def log(self, text: str, seconds: float) -> None:
        """Show a line of what was logged at a moment, seconds since 1970."""

    def show(self, statuses: Sequence[Status], now: float) -> None:
        """Show how things stand at `now`, seconds; each status is of another folder."""

    def close(self) -> None:
        """Leave the place tidy; nothing is shown afterwards but by `say`, `tell` and `log`."""


class Quiet:
    """Only what must be said."""

    refresh = 60.0

    def __init__(self, stream: Lines) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def tell(self, text: str) -> None:
        """Write nothing."""

    def log(self, text: str, seconds: float) -> None:
        """Write a line with the time of day."""
        self.say(f"{_time(seconds)} {text}")

    def show(self, statuses: Sequence[Status], now: float) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Nothing is left open."""


class LiveLine:
    """A terminal: a line for each folder at the bottom is kept up to date, other lines go above them."""

    refresh = 0.5

    def __init__(self, console: Console) -> None:
        self._console = console
        # Not refreshed by a thread of its own; gone when it ends.
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def say(self, text: str) -> None:
        """Print a line above the live ones."""
        self._console.print(Text(text), soft_wrap=True)

    def tell(self, text: str) -> None:
        """Print a line above the live ones."""
        self.say(text)

    def log(self, text: str, seconds: float) -> None:
        """Print a line with the time of day above the live ones."""
        self.say(f"{_time(seconds)} {text}")

    def show(self, statuses: Sequence[Status], now: float) -> None:
        """Replace the live lines; each is cut at the width of the terminal."""
        if not self._live.is_started:
            if not statuses:
                return
            self._live.start()
        if len(statuses) == 1:
            lines = [line(statuses[0])]
        else:
            lines = [f"{shown(status.folder)}: {line(status)}" for status in statuses[:_LIVE_LINES]]
        if len(statuses) > _LIVE_LINES:
            lines.append(f"and {len(statuses) - _LIVE_LINES:,} more folders")
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Remove the live lines."""
        self._live.stop()


class LogLines:
    """A file or a pipe: a line whenever something changes, and now and then while something is missing.

    `named`: each line names the folder. `dated`: each has the date too.
    """

    refresh = 1.0

    def __init__(self, stream: Lines, *, named: bool = False, dated: bool = False) -> None:
        self._stream = stream
        self._named = named
        self._format = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"
        self._dated = dated
        self._last: dict[str, tuple[Status, float]] = {}

    def say(self, text: str) -> None:
        """Write a line."""
        if self._dated:
            text = f"{_time(_now(), self._format)} {text}"
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def tell(self, text: str) -> None:
        """Write a line."""
        self.say(text)

    def log(self, text: str, seconds: float) -> None:
        """Write a line with the time."""
        self._stream.write(f"{_time(seconds, self._format)} {text}\n")
        self._stream.flush()

    def show(self, statuses: Sequence[Status], now: float) -> None:
        """Write a line for each folder of which there is news."""
        for status in statuses:
            before, said_at = self._last.get(status.folder, (None, 0.0))
            text = news(before, status)
            if text is None and _moved(before, status) and now - said_at >= _LOG_PROGRESS_SECONDS:
                text = line(status)
            if text is not None:
                self._last[status.folder] = status, now
                self.log(f"{shown(status.folder)}: {text}" if self._named else text, _now())

    def close(self) -> None:
        """Nothing is left open."""


def _moved(before: Status | None, now: Status) -> bool:
    """Whether something is missing, and has become more or less since then: what stands still is no news."""
    if before is None or not now.missing.files:
        return False
    one, other = before.missing, now.missing
    return (one.files, one.bytes) != (other.files, other.bytes) or now.rates.inward >= 1


class Several:
    """Several displays as one."""

    def __init__(self, displays: Sequence[Display]) -> None:
        self._displays = displays
        self.refresh = min(display.refresh for display in displays)

    def say(self, text: str) -> None:
        """Say it on all of them."""
        for display in self._displays:
            display.say(text)

    def tell(self, text: str) -> None:
        """Tell it on all of them."""
        for display in self._displays:
            display.tell(text)

    def log(self, text: str, seconds: float) -> None:
        """Log it on all of them."""
        for display in self._displays:
            display.log(text, seconds)

    def show(self, statuses: Sequence[Status], now: float) -> None:
        """Show it on all of them."""
        for display in self._displays:
            display.show(statuses, now)

    def close(self) -> None:
        """Close all of them."""
        for display in self._displays:
            display.close()


def display_on(stream: TextIO, environ: Mapping[str, str], *, quiet: bool = False, named: bool = False) -> Display:
    """Return the display that fits `stream`: a live line needs a terminal that can rewrite a line (TERM)."""
    if quiet:
        return Quiet(stream)
    console = Console(file=stream, highlight=False, _environ=environ)
    # Not what rich makes of FORCE_COLOR: that is about colours.
    live = stream.isatty() and not console.is_dumb_terminal
    return LiveLine(console) if live else LogLines(stream, named=named)


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()


def _time(seconds: float, form: str = "%H:%M:%S") -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone().strftime(form)
