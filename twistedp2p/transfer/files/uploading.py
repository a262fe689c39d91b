"""Putting many files onto a server over one connection: several at a time, each with its share of the bytes.

A file is hashed here, then offered; the server says how much of that very content it has, and the rest is sent. What
it has not acknowledged when a connection breaks, it asks for again over the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.disk.seam import OpenFile
from twistedp2p.errors import FileChanged, TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient, is_passing
from twistedp2p.transfer.files.connection import Put
from twistedp2p.transfer.files.fair import Fair, Priority, Said, is_below
from twistedp2p.transfer.files.local_files import LocalFile, local_files, open_and_hash, read_piece
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.progress import FileEvent, Totals, What
from twistedp2p.transfer.files.tasks import Room, Tasks
from twistedp2p.transfer.files.window import Pieces

__all__ = ["LocalFile", "Uploading", "local_files"]

_AT_ONCE = limits.ANSWERS_AT_ONCE
_TRIES = 3
_EXECUTABLE = 0o111


@define(eq=False)
class _File:
    local: LocalFile
    priority: Priority
    put: Put | None = None
    opened: OpenFile | None = None
    at: int = 0
    """The first byte that was not sent."""
    there: int = 0
    """How many bytes the server has, by what it said."""
    sent: Deferred[None] | None = None
    """Fires when all bytes were written."""


class Uploading:
    """Puts what is added, until `finish`.

    Args:
        client: reaches the server.
        in_thread: runs what blocks.
        heard: told what happens to each file.
        overwrite: whether files with other content may be replaced.
    """

    def __init__(
        self,
        client: FilesClient,
        in_thread: InThread,
        *,
        heard: Callable[[FileEvent], object] = lambda _: None,
        overwrite: bool = False,
    ) -> None:
        self.totals = Totals()
        self._client = client
        self._in_thread = in_thread
        self._heard = heard
        self._overwrite = overwrite
        self._waiting: dict[Priority, deque[_File]] = {priority: deque() for priority in Priority}
        self._under_way: set[_File] = set()
        self._said = Said()
        self._fair: Fair[_File] = Fair()
        self._pieces = Pieces()
        self._sending = False
        self._room = Room(lambda: sum(map(len, self._waiting.values())) >= limits.FILES_WAITING)
        self._tasks = Tasks(self._begin_some, self._room.open)

    async def add(self, local: LocalFile, priority: Priority = Priority.NORMAL) -> None:
        """Put a file, or make a folder; waits while too many files wait."""
        await self._room.wait()
        self._tasks.check()
        if local.folder:
            await self._make_folder(local)
            return
        self.totals.files += 1
        self.totals.bytes += local.stat.size
        if self._said:
            priority = self._said.of(local.path) or priority
        self._waiting[priority].append(_File(local, priority))
        self._begin_some()

    def set_priority(self, path: str, priority: Priority) -> bool:
        """Change the priority of a file, or of what is below a folder, from the next piece on; "" is everything.

        The path is the one at the server. It holds for what is added later, too. Returns whether any of it is still
        to be put by now.
        """
        self._said.say(path, priority)
        under_way = [file for file in self._under_way if is_below(file.local.path, path)]
        for file in under_way:
            file.priority = priority
            self._fair.set_weight(file, priority)
        found = [file for waiting in self._waiting.values() for file in waiting if is_below(file.local.path, path)]
        for file in found:
            self._waiting[file.priority].remove(file)
            file.priority = priority
            self._waiting[priority].append(file)
        return bool(under_way or found)

    def left_out(self, path: str, why: TwistedP2PError) -> None:
        """A file or folder can not be put."""
        self.totals.files += 1
        self.totals.files_failed += 1
        self._heard(FileEvent(What.FAILED, path, 0, 0, why))

    def finish(self) -> Deferred[None]:
        """Fires when something became of every file; fails if the server is lost for good. Cancel it to stop."""
        finished = self._tasks.finished()
        self._end_if_done()
        return finished

    def stop(self) -> None:
        """Stop; the server keeps what it has for the next time."""
        self._tasks.stop()

    async def _make_folder(self, local: LocalFile) -> None:
        try:
            await self._client.answer(lambda server: server.make_folder(local.path))
        except TwistedP2PError as error:
            if is_passing(error):
                raise
            self.totals.files += 1
            self._failed_with(local, error)

    def _begin_some(self) -> None:
        for waiting in self._waiting.values():
            while waiting and len(self._under_way) < _AT_ONCE and not self._tasks.broken:
                file = waiting.popleft()
                self._under_way.add(file)
                self._tasks.start(self._put(file))
        self._room.freed()
        self._end_if_done()

    async def _put(self, file: _File) -> None:
        """Put one file, whatever breaks meanwhile."""
        try:
            for number in range(_TRIES):
                try:
                    await self._try(file)
                    return
                except FileChanged:
                    if number == _TRIES - 1:
                        raise
        except TwistedP2PError as error:
            if is_passing(error):
                raise
            self._forget(file)
            self._failed_with(file.local, error)
        finally:
            self._under_way.discard(file)

    async def _try(self, file: _File) -> None:
        """Put the file as it is now."""
        local = file.local
        opened, stat, content = await self._in_thread(open_and_hash, local)
        self.totals.bytes += stat.size - local.stat.size
        file.local = local = LocalFile(local.disk, local.name, local.path, stat)
        file.opened = opened
        try:
            while True:
                try:
                    await self._once(file, content)
                    return
                except TwistedP2PError as error:
                    self._forget(file)
                    if not is_passing(error):
                        raise
                    await self._client.connected()
        finally:
            file.opened = None
            await self._in_thread(opened.close)

    async def _once(self, file: _File, content: bytes) -> None:
        """Put the file over the connection that there is."""
        local, stat = file.local, file.local.stat
        connection = await self._client.connected()
        file.put = put = connection.put(
            local.path,
            size=stat.size,
            mtime_ns=stat.mtime_ns,
            executable=bool(stat.mode & _EXECUTABLE),
            content=content,
            overwrite=self._overwrite,
            moved=lambda offset: self._moved(file, offset),
        )
        # Both fail with the same reason; who waits for one must not let the other go unheard.
        put.done.addErrback(lambda failure: failure)
        try:
            try:
                begun = await put.begun
            finally:
                if put.done.called:
                    put.done.addErrback(lambda _: None)
            file.at = file.there = begun.offset
            self.totals.bytes_done += begun.offset
            if begun.present:
                await put.done
                self.totals.files_skipped += 1
                self._done(local, What.SKIPPED)
                return
            self.totals.bytes_resumed += begun.offset
            self._heard(FileEvent(What.BEGUN, local.path, stat.size, begun.offset))
            await self._send(file)
            put.end()
            await put.done
            self._count(file, stat.size)
            self._done(local, What.DONE)
        except BaseException:
            if not put.done.called:
                put.done.addErrback(lambda _: None)
                put.done.cancel()
            raise
        finally:
            file.put = None

    async def _send(self, file: _File) -> None:
        """Return when all bytes of the file are written, each when it was its turn."""
        if file.at >= file.local.stat.size:
            return
        file.sent = Deferred()
        self._fair.add(file, file.priority)
        if not self._sending:
            self._sending = True
            self._tasks.start(self._send_turns())
        try:
            await file.sent
        finally:
            self._fair.remove(file)
            file.sent = None

    async def _send_turns(self) -> None:
        try:
            while (file := self._fair.next()) is not None:
                size = file.local.stat.size
                length = min(self._pieces.bytes, size - file.at)
                self._fair.charge(file, length)
                try:
                    await self._send_piece(file, length)
                except TwistedP2PError as error:
                    self._sent(file, Failure(error))
                    continue
                if file.at >= size:
                    self._sent(file, None)
        finally:
            self._sending = False

    async def _send_piece(self, file: _File, length: int) -> None:
        put, opened = file.put, file.opened
        if put is None or opened is None:
            return
        data = await self._in_thread(read_piece, file.local, opened, file.at, length)
        if len(data) != length:
            raise FileChanged(f"{file.local.path} became shorter while it was sent.")
        if put.done.called:
            await put.done
        try:
            began = self._client.clock.seconds()
            await put.write(data)
            self._pieces.took(self._client.clock.seconds() - began)
        except Exception:
            # The connection closes; the put says why.
            await put.done
            raise
        file.at += length

    def _moved(self, file: _File, offset: int) -> None:
        """The server says how much of a file has come: what was sent may wait on its way for long."""
        if file.there < offset <= file.local.stat.size:
            self._count(file, offset)
            self._heard(FileEvent(What.MOVED, file.local.path, file.local.stat.size, offset))

    def _count(self, file: _File, offset: int) -> None:
        self.totals.moved += offset - file.there
        self.totals.bytes_done += offset - file.there
        file.there = offset

    def _forget(self, file: _File) -> None:
        """Nothing of a file counts as moved any more."""
        self.totals.bytes_done -= file.there
        file.at = file.there = 0

    def _sent(self, file: _File, failure: Failure | None) -> None:
        self._fair.remove(file)
        if file.sent is not None and not file.sent.called:
            file.sent.callback(failure)

    def _done(self, local: LocalFile, what: What) -> None:
        self.totals.files_done += 1
        self._heard(FileEvent(what, local.path, local.stat.size, local.stat.size))

    def _failed_with(self, local: LocalFile, error: TwistedP2PError) -> None:
        self.totals.files_failed += 1
        self._heard(FileEvent(What.FAILED, local.path, local.stat.size, 0, error))

    def _end_if_done(self) -> None:
        if self._tasks.at_end and not self._under_way and not any(self._waiting.values()):
            self._tasks.end()
