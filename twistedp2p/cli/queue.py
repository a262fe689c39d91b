"""A queue of files to fetch that a person edits while they are fetched: one `PATH [PRIORITY]` a line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p.cli.reaching import remote_path
from twistedp2p.cli.words import shown
from twistedp2p.errors import BadPath, FolderUnusable, NoSuchFile
from twistedp2p.transfer.files.fair import Priority

__all__ = ["QueueFile", "parse_line", "parse_queue"]

LOOK = 1.0
"""How often the file is looked at, seconds."""
AGAIN = 10.0
"""How often what was not there is looked for again, seconds."""


class Queue(Protocol):
    """What the lines are given to."""

    @property
    def idle(self) -> bool:
        """Whether something became of everything that was added."""

    def check(self) -> None:
        """Raise if nothing can be fetched any more."""

    def find(self, path: str, priority: Priority) -> Coroutine[Any, Any, None]:
        """Fetch a file or folder; raises `NoSuchFile` if it is not there."""

    def missing(self, path: str, error: NoSuchFile) -> None:
        """A file or folder is not there, and is not looked for any more."""

    def set_priority(self, path: str, priority: Priority) -> object:
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
            found = parse_line(line)
        except ValueError as error:
            wrong.append(f"line {number}: {error}.")
        else:
            if found is not None:
                path, priority = found
                wanted[path] = default if priority is None else priority
    return wanted, wrong


def parse_line(line: str) -> tuple[str, Priority | None] | None:
    """Return the path and the priority of one line, None for what it leaves out; raises ValueError with the reason."""
    words = shlex.split(line, comments=True)
    if not words:
        return None
    if len(words) > 2:
        raise ValueError("a path with spaces must be in quotes")
    try:
        return remote_path(words[0]), Priority.named(words[1]) if len(words) == 2 else None
    except KeyError:
        raise ValueError(f"{shown(words[1])} is not critical, high, normal or low") from None
    except BadPath as error:
        raise ValueError(str(error).removesuffix(".")) from None


@frozen
class _Missing:
    error: NoSuchFile
    again_at: float


class QueueFile:
    """Follows the file of a queue.

    What is listed and not there is looked for again, every `AGAIN` seconds as long as the line stands there. With
    `until_done` that ends when all else is done: what was looked for once more, and is not there, is missing then.

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
        self._first: frozenset[str] = frozenset()
        self._wanted: frozenset[str] = frozenset()
        self._missing: dict[str, _Missing] = {}
        self._looked_once_more = False
        self._said: set[str] = set()
        self._seen: tuple[int, int, int] | None = None
        self._adding: set[Deferred[None]] = set()
        self._broken: Failure | None = None

    async def follow(self, first: Sequence[str] = ()) -> None:
        """Give the paths `first`, and the lines as they come, to the queue, until all is done, or for ever."""
        try:
            self._first = self._wanted = frozenset(first)
            for path in first:
                self._known[path] = self._default
                self._add(path, self._default)
            while True:
                if self._changed():
                    self._take()
                if self._broken is not None:
                    self._broken.raiseException()
                self._queue.check()
                self._look_again(lambda missing: self._reactor.seconds() >= missing.again_at)
                if self._until_done and self._queue.idle and not self._adding and self._is_over():
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
        self._wanted = self._first.union(wanted)
        self._looked_once_more = False
        for path in self._missing.keys() - self._wanted:
            del self._missing[path], self._known[path]

    def _is_over(self) -> bool:
        """Look once more for what is missing; return whether that has been done, and say what is missing then."""
        if self._missing and not self._looked_once_more:
            self._looked_once_more = True
            self._look_again(lambda _: True)
            return False
        for path, missing in self._missing.items():
            self._queue.missing(path, missing.error)
        return True

    def _look_again(self, due: Callable[[_Missing], bool]) -> None:
        for path in [path for path, missing in self._missing.items() if due(missing)]:
            del self._missing[path]
            self._add(path, self._known[path])

    def _not_there(self, path: str, error: NoSuchFile) -> None:
        if path not in self._wanted:
            del self._known[path]  # its line was removed meanwhile
            return
        self._missing[path] = _Missing(error, self._reactor.seconds() + AGAIN)
        self._say(f"{shown(path)}: {shown(str(error))} It is looked for again every {AGAIN:g} s.")

    def _add(self, path: str, priority: Priority) -> None:
        """Have a path fetched. Its listing may take long, and must not keep others, or other priorities, waiting."""
        adding = Deferred.fromCoroutine(self._queue.find(path, priority))
        self._adding.add(adding)

        def added(result: object) -> None:
            self._adding.discard(adding)
            if isinstance(result, Failure) and isinstance(result.value, NoSuchFile):
                self._not_there(path, result.value)
            elif isinstance(result, Failure) and self._broken is None:
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
