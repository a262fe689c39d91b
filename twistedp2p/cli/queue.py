"""A queue of files to fetch that a person edits while they are fetched: one `PATH [PRIORITY]` a line."""

from __future__ import annotations

import shlex
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p.cli.reaching import remote_path
from twistedp2p.cli.words import shown
from twistedp2p.errors import BadPath, FolderUnusable
from twistedp2p.transfer.files.fair import Priority

__all__ = ["QueueFile", "parse_queue"]

LOOK = 1.0
"""How often the file is looked at, seconds."""


class Queue(Protocol):
    """What the lines are given to."""

    @property
    def idle(self) -> bool:
        """Whether something became of everything that was added."""

    def check(self) -> None:
        """Raise if nothing can be fetched any more."""

    def add(self, path: str, priority: Priority) -> Coroutine[Any, Any, None]:
        """Fetch a file or folder."""

    def set_priority(self, path: str, priority: Priority) -> None:
        """Change the priority of a file or folder."""


def parse_queue(text: str, default: Priority) -> tuple[dict[str, Priority], list[str]]:
    """Return the paths that a queue lists, each with its priority, and a sentence for each line that can not be read.

    A line is a path, in quotes if there are spaces in it, and maybe a priority; ``#`` begins a comment. A path that
    is listed twice has its last priority.
    """
    wanted: dict[str, Priority] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if len(words) > 2:
                raise ValueError("a path with spaces must be in quotes")
            priority = default if len(words) == 1 else Priority.named(words[1])
            wanted[remote_path(words[0])] = priority
        except KeyError:
            wrong.append(f"line {number}: {shown(words[1])} is not critical, high, normal or low.")
        except ValueError as error:
            wrong.append(f"line {number}: {error}.")
        except BadPath as error:
            wrong.append(f"line {number}: {error}")
    return wanted, wrong


class QueueFile:
    """Follows the file of a queue.

    Args:
        file: where the lines are; it may come later.
        reactor: tells the time.
        queue: what the lines are given to.
        default: the priority of a line that has none.
        until_done: whether to end when everything that is listed was fetched.
    """

    def __init__(self, file: Path, reactor: Any, queue: Queue, default: Priority, until_done: bool) -> None:
        self._file = file
        self._reactor = reactor
        self._queue = queue
        self._default = default
        self._until_done = until_done
        self._known: dict[str, Priority] = {}
        self._said: set[str] = set()
        self._seen: tuple[int, int, int] | None = None
        self._adding: set[Deferred[None]] = set()
        self._broken: Failure | None = None

    async def follow(self, first: Sequence[str] = ()) -> None:
        """Give the paths `first`, and the lines as they come, to the queue, until all is done, or for ever."""
        try:
            for path in first:
                self._known[path] = self._default
                self._add(path, self._default)
            while True:
                if self._changed():
                    self._take()
                if self._broken is not None:
                    self._broken.raiseException()
                self._queue.check()
                if self._until_done and self._queue.idle:
                    return
                await self._wait()
        finally:
            for adding in list(self._adding):
                adding.cancel()

    def _changed(self) -> bool:
        try:
            stat = self._file.stat()
        except OSError:
            if self._until_done and self._seen is None:
                raise FolderUnusable(f"The queue {self._file} can not be read; write it first.") from None
            return False
        seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        changed, self._seen = seen != self._seen, seen
        return changed

    def _take(self) -> None:
        try:
            text = self._file.read_text("utf-8", errors="replace")
        except OSError as error:
            self._seen = None  # so that it is looked at again
            self._say(f"can not be read ({error.strerror})")
            return
        wanted, wrong = parse_queue(text, self._default)
        for sentence in wrong:
            self._say(sentence)
        # The shallow first, so that what is said of a file outweighs what is said of its folder.
        for path, priority in sorted(wanted.items(), key=lambda item: item[0].count("/") + bool(item[0])):
            if path in self._known and self._known[path] is not priority:
                self._queue.set_priority(path, priority)
        for path, priority in sorted(wanted.items(), key=lambda item: -item[1]):
            if path not in self._known:
                self._add(path, priority)
        self._known.update(wanted)

    def _add(self, path: str, priority: Priority) -> None:
        """Have a path fetched. Its listing may take long, and must not keep others, or other priorities, waiting."""
        adding = Deferred.fromCoroutine(self._queue.add(path, priority))
        self._adding.add(adding)

        def added(result: object) -> None:
            self._adding.discard(adding)
            if isinstance(result, Failure) and self._broken is None:
                self._broken = result

        adding.addBoth(added)

    def _say(self, sentence: str) -> None:
        """Say it once, however often it is read again."""
        if sentence not in self._said:
            self._said.add(sentence)
            click.echo(f"twistedp2p: {self._file}, {sentence}", err=True)

    def _wait(self) -> Deferred[None]:
        call = self._reactor.callLater(LOOK, lambda: waiting.callback(None))
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        return waiting
