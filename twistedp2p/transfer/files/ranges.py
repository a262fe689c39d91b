"""Larger files are asked for by ranges, and written in order to parts beside their targets."""

from __future__ import annotations

from twistedp2p import limits
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.client import is_passing
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.fetching import Fetching
from twistedp2p.transfer.files.local import sizes_of, source_of
from twistedp2p.transfer.files.parts import make_part
from twistedp2p.transfer.files.pending import Pending, Range

__all__ = ["RangedFiles"]


class RangedFiles:
    """Those that are under way: in each priority `limits.FILES_AT_ONCE` of them."""

    def __init__(self, fetching: Fetching) -> None:
        self._flight = fetching.flight
        self._disk = fetching.disk
        self._in_thread = fetching.in_thread
        self._old = fetching.old
        self._present = fetching.present
        self._ledger = fetching.ledger
        self._anew = fetching.anew
        self._tasks = fetching.tasks
        self.active: dict[Priority, int] = dict.fromkeys(Priority, 0)
        """How many files of a priority are under way."""

    def may_begin(self, priority: Priority) -> bool:
        """Whether one more file of that priority may begin."""
        return self.active[priority] < limits.FILES_AT_ONCE

    def move(self, file: Pending, priority: Priority) -> None:
        """Count a file with those of another priority."""
        if file.active:
            self.active[file.priority] -= 1
            self.active[priority] += 1

    def close(self) -> None:
        """Everything ends: let go of what is here of each file."""
        for file in self._ledger.files:
            if file.part is not None:
                self._in_thread(file.part.close).addErrback(lambda _: None)

    # -- the beginning of a file --

    def begin(self, file: Pending) -> None:
        """Find out how much of a file is here, and let it wait for its turns."""
        file.active = True
        self.active[file.priority] += 1
        self._tasks.start(self._begin(file))

    async def _begin(self, file: Pending) -> None:
        try:
            (size,) = await self._in_thread(sizes_of, self._disk, [file.target])
            if self._present.is_in_the_way(file, size) and await self._present.is_enough(file, size or 0):
                self._leave(file)
                self._ledger.skipped(file)
                return
            source = source_of(self._flight.client.source, file.entry)
            size = file.entry.size
            file.part = await self._in_thread(make_part, self._disk, file.target, source, size, self._old)
        except TwistedP2PError as error:
            self._leave(file)
            self._ledger.failed(file, error)
            return
        file.next = file.part.offset
        self._ledger.begun(file, file.part.offset)
        if file.next < file.entry.size:
            self._flight.fair.add(file, file.priority)
        else:
            self._tasks.start(self._complete(file))

    # -- its ranges --

    def ask(self, file: Pending, connection: FilesConnection) -> None:
        """Ask for the next range of a file: it is its turn."""
        flight = self._flight
        if file.again:
            offset, length = file.again.pop(0)
        else:
            offset, length = file.next, min(flight.window.range_bytes, file.entry.size - file.next)
            file.next += length
        if not file.again and file.next >= file.entry.size:
            flight.fair.remove(file)
        flight.fair.charge(file, length)
        flight.window.asked(length)
        self._tasks.start(self._fetch(file, Range(offset, length), connection))

    async def _fetch(self, file: Pending, wanted: Range, connection: FilesConnection) -> None:
        seconds, window = connection.clock.seconds, self._flight.window
        asked_at, pieces = seconds(), wanted.pieces

        def take(_: int, data: bytes | memoryview) -> None:
            if not pieces:
                window.began(seconds() - asked_at)
            pieces.append(data)

        try:
            try:
                await connection.read_range(file.path, file.entry.token, wanted.offset, wanted.length, take)
            finally:
                window.answered(sum(map(len, pieces)), more=bool(self._flight.fair))
        except TwistedP2PError as error:
            if not self._came_in_part(file, wanted, error):
                return
        if file.part is None:
            self._flight.window.stored(wanted.length)  # it was given up, or begun anew, meanwhile
            return
        file.came[wanted.offset] = wanted
        if not file.writing:
            await self._write(file)

    def _came_in_part(self, file: Pending, wanted: Range, error: TwistedP2PError) -> bool:
        """Not all of a range came: keep what did, and let the rest be asked for again; return whether any did."""
        came = sum(map(len, wanted.pieces))
        if not is_passing(error):
            self._flight.window.stored(wanted.length)
            self._fail(file, error)
            return False
        self._flight.window.stored(wanted.length - came)
        self._flight.not_answered(error)
        if file.part is not None and came < wanted.length:
            file.again.append((wanted.offset + came, wanted.length - came))
            file.again.sort()
            if file not in self._flight.fair:
                self._flight.fair.add(file, file.priority)
        wanted.length = came
        return came > 0

    async def _write(self, file: Pending) -> None:
        """Write what came in order."""
        part = file.part
        if part is None:
            return
        file.writing = True
        self._flight.window.storing += 1
        try:
            while part.offset in file.came:
                pieces: list[bytes | memoryview] = []
                size = 0
                while size < limits.DOWNLOAD_WRITE and (found := file.came.pop(part.offset + size, None)) is not None:
                    pieces += found.pieces
                    size += found.length
                try:
                    await self._in_thread(part.write, pieces)
                finally:
                    self._flight.window.stored(size)
                self._ledger.moved(file, size, part.offset)
                self._tasks.go_on()
        except TwistedP2PError as error:
            self._give_up(file, error)
            return
        finally:
            self._flight.window.storing -= 1
            file.writing = False
        if part.offset == file.entry.size and file.part is part:
            await self._complete(file)

    # -- its end --

    async def _complete(self, file: Pending) -> None:
        """All bytes are here: verify them, and put the file in place."""
        assert file.part is not None
        entry = file.entry
        try:
            content = await self._present.content_of(file)
            await self._in_thread(file.part.finish, content, entry.mtime_ns, entry.executable, self._present.overwrite)
        except TwistedP2PError as error:
            self._fail(file, error)
            return
        file.part = None
        self._leave(file)
        self._ledger.done(file)

    def _fail(self, file: Pending, error: TwistedP2PError) -> None:
        """Begin a file anew that changed at the server or came wrong; anything else is said."""
        if self._ledger.has(file):
            self._let_go(file, drop=self._anew.would_help(file, error))
            self._anew.begin_or_fail(file, error)

    def _give_up(self, file: Pending, error: TwistedP2PError) -> None:
        if self._ledger.has(file):
            self._let_go(file)
            self._ledger.failed(file, error)

    def _let_go(self, file: Pending, *, drop: bool = False) -> None:
        """Forget what is under way of a file; with `drop` what came is of no use any more."""
        self._flight.fair.remove(file)
        self._flight.window.stored(sum(found.length for found in file.came.values()))
        file.came.clear()
        part, file.part = file.part, None
        self._leave(file)
        if part is not None:
            self._ledger.totals.bytes_done -= part.offset
            self._in_thread(part.drop if drop else part.close).addErrback(lambda _: None)

    def _leave(self, file: Pending) -> None:
        """Another file of its priority may begin."""
        if file.active:
            file.active = False
            self.active[file.priority] -= 1
