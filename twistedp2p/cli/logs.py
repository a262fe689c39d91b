"""What of the log a person sees where: on stderr, and in a file that is begun anew when it is long."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import frozen
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from twistedp2p.cli.display import Display, LiveLine, LogLines, Several, display_on
from twistedp2p.cli.options import LogWish
from twistedp2p.cli.words import shown
from twistedp2p.errors import TwistedP2PError

__all__ = ["RotatingFile", "Speakers", "begin_showing", "log_observer"]

_OF_OTHERS = ("log_legacy", "twisted")
"""Namespaces that are not ours: they tell of each factory and connection."""


def level_on(display: Display, wish: LogWish) -> LogLevel:
    """Return what is shown on stderr: what is below this is not."""
    level: LogLevel = LogLevel.info
    if wish.verbose >= 2:
        level = LogLevel.debug
    elif wish.quiet or (isinstance(display, LiveLine) and not wish.verbose):
        level = LogLevel.warn
    return level


def opened_file(wish: LogWish, shared: Iterable[Path]) -> RotatingFile | None:
    """Return the log file, opened, None if none is wanted.

    `shared` are the shared folders, in which it must not be: each line would travel, and that make the next one.
    Raises `TwistedP2PError`.
    """
    if wish.file is None:
        return None
    real = wish.file.expanduser().absolute().parent.resolve() / wish.file.name
    for folder in shared:
        if real.is_relative_to(folder.resolve()):
            raise TwistedP2PError(f"{wish.file} is in the shared folder {folder}: name a --log-file elsewhere.")
    return RotatingFile(real, wish.size, wish.files)


class RotatingFile:
    """A log file (mode 0600) for several threads; when it is full it becomes FILE.1, and so on.

    Raises `TwistedP2PError` if it can not be opened. What can not be written later, as on a full disk, is left out.
    """

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._lock = threading.RLock()
        try:
            self._file = LogFile(path.name, str(path.parent), size, defaultMode=0o600, maxRotatedFiles=files)
        except (OSError, AssertionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "there is no such folder"
            raise TwistedP2PError(
                f"The log can not be written to {path} ({reason}): name another --log-file."
            ) from error

    def write(self, text: str) -> None:
        """Write a line, if that is possible."""
        # A name that is not UTF-8 has surrogates in it.
        data = text.encode("utf-8", errors="backslashreplace").decode()
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._file.write(data)

    def flush(self) -> None:
        """Let others read what was written."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def close(self) -> None:
        """Write no more."""
        with self._lock, contextlib.suppress(OSError):
            self._file.close()


class Speakers:
    """Which folder an object that logs belongs to: asked by those who show a log of several folders."""

    def __init__(self) -> None:
        self._folders: dict[str, Callable[[], Iterable[object]]] = {}

    def add(self, folder: str, objects: Callable[[], Iterable[object]]) -> None:
        """Note what gives the objects of `folder`: they come and go."""
        self._folders[folder] = objects

    def remove(self, folder: str) -> None:
        """Forget what belongs to `folder`."""
        self._folders.pop(folder, None)

    def folder_of(self, source: object) -> str | None:
        """Return the folder of what has logged something; None if it belongs to none."""
        for folder, objects in list(self._folders.items()):
            if any(one is source for one in objects()):
                return folder
        return None


@implementer(ILogObserver)
@frozen
class _Sayer:
    """Says what is logged."""

    display: Display
    folder_of: Callable[[object], str | None]

    def __call__(self, event: LogEvent) -> None:
        """Say one event; what a name in it does to a terminal is spelled out."""
        folder = self.folder_of(event.get("log_source"))
        name = "" if folder is None else f"{shown(folder)}: "
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        for part in text.splitlines():
            self.display.log(f"{name}{shown(part)}", event["log_time"])


def log_observer(
    display: Display, level: LogLevel, folder_of: Callable[[object], str | None] = lambda source: None
) -> ILogObserver:
    """Return the observer that says on `display` what is logged at `level` or above; of others' code a level less."""
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    for namespace in _OF_OTHERS:
        predicate.setLogLevelForNamespace(namespace, LogLevel.info if level is LogLevel.debug else LogLevel.warn)
    return FilteringLogObserver(_Sayer(display, folder_of), [predicate])


def begin_showing(wish: LogWish, shared: Iterable[Path], *, named: bool = False) -> tuple[Display, Speakers]:
    """Begin to show the log of this process on stderr, and in a file if one is wanted.

    `shared` are the folders that this process serves; `named`: each line names the one that it is about, if it is
    noted in what is returned. Raises `TwistedP2PError`.
    """
    screen = display_on(sys.stderr, os.environ, quiet=wish.quiet, named=named)
    speakers = Speakers()
    displays, observers = [screen], [log_observer(screen, level_on(screen, wish), speakers.folder_of)]
    file = opened_file(wish, shared)
    if file is not None:
        lines = LogLines(file, named=named, dated=True)
        level = LogLevel.debug if wish.verbose >= 2 else LogLevel.info
        displays.append(lines)
        observers.append(log_observer(lines, level, speakers.folder_of))
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)
    return (screen if file is None else Several(displays)), speakers
