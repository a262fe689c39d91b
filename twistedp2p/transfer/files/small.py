"""Small files are looked at, asked for and put in place by the batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import DeferredSemaphore

from twistedp2p import limits
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.client import is_passing
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.fetching import Fetching
from twistedp2p.transfer.files.local import source_of
from twistedp2p.transfer.files.pending import Pending
from twistedp2p.transfer.files.placing import Small, flush, place_small, small_here
from twistedp2p.transfer.files.source import SmallFile

__all__ = ["SmallFiles"]

_WORKERS = 2
"""Worker threads that are at the disk for small files at a time: their calls are short, and more of them would mostly
wait for each other's turn in the interpreter."""
_AT_ONCE = 8
"""Requests for small files that are under way at the same time, and batches that are being looked at."""


class SmallFiles:
    """Those that wait to be asked for, in each priority, and those that are."""

    def __init__(self, fetching: Fetching) -> None:
        self._flight = fetching.flight
        self._disk = fetching.disk
        self._worker = DeferredSemaphore(_WORKERS)
        self._in_thread = fetching.in_thread
        self._old = fetching.old
        self._present = fetching.present
        self._ledger = fetching.ledger
        self._anew = fetching.anew
        self._tasks = fetching.tasks
        self._ready: dict[Priority, deque[Pending]] = {priority: deque() for priority in Priority}
        self._looking = 0
        self._requests = 0
        self._unflushed = False

    @property
    def may_look(self) -> bool:
        """Whether one more batch may be looked at."""
        return self._looking < _AT_ONCE

    def look(self, batch: Sequence[Pending]) -> None:
        """Find out which of these files are here; the others are ready to be asked for."""
        self._looking += 1
        self._tasks.start(self._look(batch))

    async def _look(self, batch: Sequence[Pending]) -> None:
        try:
            sizes = [(file.target, file.entry.size) for file in batch]
            here = await self._worker.run(self._in_thread, small_here, self._disk, sizes)
        finally:
            self._looking -= 1
        for file, (size, content) in zip(batch, here, strict=True):
            if size is not None and self._present.is_in_the_way(file, size):
                self._tasks.start(self._compare(file, size, content))
            else:
                self._is_ready(file)

    async def _compare(self, file: Pending, size: int, content: bytes | None) -> None:
        """Skip a file that is here already, else fail it, or fetch it over the other."""
        try:
            enough = await self._present.is_enough(file, size, content)
        except TwistedP2PError as error:
            self._ledger.failed(file, error)
            return
        if enough:
            self._ledger.skipped(file)
        else:
            self._is_ready(file)

    def _is_ready(self, file: Pending) -> None:
        self._ready[file.priority].append(file)
        if file.priority not in self._flight.fair:
            self._flight.fair.add(file.priority, file.priority)

    def move(self, file: Pending, priority: Priority) -> bool:
        """Let a file be asked for with those of another priority; False if it is not ready to be asked for."""
        if file not in self._ready[file.priority]:
            return False
        self._ready[file.priority].remove(file)
        self._ready[priority].append(file)
        if priority not in self._flight.fair:
            self._flight.fair.add(priority, priority)
        return True

    def ask(self, priority: Priority, connection: FilesConnection) -> bool:
        """Ask for a batch; return whether there was room for one more request."""
        if self._requests >= _AT_ONCE:
            return False
        batch = self._batch(self._ready[priority])
        if not self._ready[priority]:
            self._flight.fair.remove(priority)
        if batch:
            size = sum(file.entry.size for file in batch)
            self._flight.fair.charge(priority, size)
            self._flight.window.asked(size)
            self._requests += 1
            self._tasks.start(self._fetch(batch, size, connection))
        return True

    def _batch(self, ready: deque[Pending]) -> list[Pending]:
        """Take as many as one request may name, and as are worth while to be asked for at a time."""
        batch: list[Pending] = []
        left = self._flight.window.range_bytes
        while ready and left > 0 and len(batch) < limits.SMALL_FILES_PER_REQUEST:
            batch.append(ready.popleft())
            left -= batch[-1].entry.size
        return batch

    async def _fetch(self, batch: Sequence[Pending], size: int, connection: FilesConnection) -> None:
        came: dict[int, SmallFile | TwistedP2PError] = {}
        seconds, window = connection.clock.seconds, self._flight.window
        asked_at = seconds()

        def take(at: int, file: SmallFile | TwistedP2PError) -> None:
            if not came:
                window.began(seconds() - asked_at)
            came[at] = file

        try:
            await connection.read_files([(file.path, file.entry.token) for file in batch], take)
        except TwistedP2PError as error:
            self._flight.not_answered(error)
            if not is_passing(error):
                came = {at: came.get(at, error) for at in range(len(batch))}
        finally:
            self._requests -= 1
            size_here = sum(len(file.data) for file in came.values() if isinstance(file, SmallFile))
            window.answered(size_here, more=bool(self._flight.fair))
        window.storing += 1
        try:
            await self._place({batch[at]: file for at, file in came.items() if isinstance(file, SmallFile)})
        finally:
            window.storing -= 1
            window.stored(size)
        for at, file in enumerate(batch):
            why = came.get(at)
            if why is None:
                self._is_ready(file)  # the connection broke before it came
            elif not isinstance(why, SmallFile):
                self._anew.begin_or_fail(file, why)

    async def _place(self, good: dict[Pending, SmallFile]) -> None:
        """Write files that came."""
        server = self._flight.client.source
        small = [
            Small(
                file.target,
                source_of(server, file.entry),
                came.content,
                came.data,
                file.entry.mtime_ns,
                file.entry.executable,
            )
            for file, came in good.items()
        ]
        self._unflushed = True
        overwrite = self._present.overwrite
        outcomes = await self._worker.run(self._in_thread, place_small, self._disk, small, overwrite, self._old)
        for (file, came), outcome in zip(good.items(), outcomes, strict=True):
            if outcome is None:
                self._ledger.came_whole(file, len(came.data))
            else:
                self._anew.begin_or_fail(file, outcome)

    def flush(self) -> bool:
        """Begin to flush all that was put in place since the last flush; return whether there was anything."""
        if self._unflushed:
            self._unflushed = False
            self._tasks.start(self._flush())
            return True
        return False

    async def _flush(self) -> None:
        await self._in_thread(flush, self._disk)
