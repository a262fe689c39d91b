"""What a command that stays in the foreground shows on stderr: a live line on a terminal, else lines of a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Protocol, TextIO

from attrs import frozen
from rich.console import Console
from rich.live import Live
from rich.text import Text
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)
from zope.interface import implementer

from twistedp2p.cli.progress import line, news
from twistedp2p.cli.words import shown
from twistedp2p.web.status import Status

__all__ = ["Display", "LiveLine", "LogLines", "display_on", "log_observer"]

_LOG_PROGRESS_SECONDS = 10.0
"""While something is missing, a log gets a line of progress this often."""


class Display(Protocol):
    """Where a person looks while a peer runs."""

    refresh: float
    """How often `show` wants to be called, seconds."""
    level: LogLevel
    """What is logged below this is not said."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def show(self, status: Status, now: float) -> None:
        """Show how things stand at `now`, seconds."""

    def close(self) -> None:
        """Leave the place tidy; nothing is shown afterwards but by `say`."""


class LiveLine:
    """A terminal: one line at the bottom is kept up to date, other lines go above it."""

    refresh = 0.5
    level = LogLevel.warn

    def __init__(self, console: Console) -> None:
        self._console = console
        # Not refreshed by a thread of its own; gone when it ends.
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        self._console.print(Text(text), soft_wrap=True)

    def show(self, status: Status, now: float) -> None:
        """Replace the live line; it is cut at the width of the terminal."""
        if not self._live.is_started:
            self._live.start()
        self._live.update(Text(line(status), no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Remove the live line."""
        self._live.stop()


class LogLines:
    """A file or a pipe: a line whenever something changes, and now and then while something is missing."""

    refresh = 1.0
    level = LogLevel.info

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Status | None = None
        self._said_at = 0.0

    def say(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def show(self, status: Status, now: float) -> None:
        """Write a line if there is news."""
        text = news(self._last, status)
        if text is None and status.missing.files and now - self._said_at >= _LOG_PROGRESS_SECONDS:
            text = line(status)
        if text is not None:
            self._last, self._said_at = status, now
            self.say(f"{_time(datetime.now(timezone.utc).timestamp())} {text}")

    def close(self) -> None:
        """Nothing is left open."""


def display_on(stream: TextIO, environ: Mapping[str, str]) -> Display:
    """Return the display that fits `stream`: a live line needs a terminal that can rewrite a line (TERM)."""
    console = Console(file=stream, highlight=False, _environ=environ)
    # Not what rich makes of FORCE_COLOR: that is about colours.
    return LiveLine(console) if stream.isatty() and not console.is_dumb_terminal else LogLines(stream)


@implementer(ILogObserver)
@frozen
class _Sayer:
    """Says what is logged."""

    display: Display

    def __call__(self, event: LogEvent) -> None:
        """Say one event; what a name in it does to a terminal is spelled out."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        for number, part in enumerate(text.splitlines()):
            self.display.say(shown(part) if number else f"{_time(event['log_time'])} {shown(part)}")


def log_observer(display: Display, quiet: Iterable[str] = ("log_legacy", "twisted")) -> ILogObserver:
    """Return the observer that says on `display` what is logged, and of the namespaces `quiet` only warnings."""
    predicate = LogLevelFilterPredicate(defaultLogLevel=display.level)
    for namespace in quiet:
        predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    return FilteringLogObserver(_Sayer(display), [predicate])


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone().strftime("%H:%M:%S")
