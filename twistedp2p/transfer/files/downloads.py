"""Fetching many named files over one connection: several at a time, each with its share of the bytes.

    add -> waits -> is it here already? -> small ones by the batch, others by ranges -> in place, verified

Whose range is asked for next, `fair` says. At most `limits.CONNECTION_BYTES_IN_FLIGHT` bytes are asked for and not
stored, however many files there are. A file is written in order to a part beside its target, see `local`; what came
before a connection broke is kept, and the rest is asked for over the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import AlreadyThere, CorruptContent, FileChanged, TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient, is_passing
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.fair import Fair, Priority
from twistedp2p.transfer.files.local import (
    LocalPart,
    Small,
    flush,
    free_name,
    hash_of,
    make_local_folder,
    make_part,
    place_small,
    sizes_of,
    small_here,
)
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.progress import FileEvent, Totals, What
from twistedp2p.transfer.files.source import SmallFile

__all__ = ["Downloads", "Taken"]

_TRIES = 3
"""A file that changes at the server while it is fetched, or comes with other bytes, is begun anew so often."""
_SMALL_AT_ONCE = 8
"""Requests for small files that are under way at the same time."""


class Taken(Enum):
    """What to do with a file where another one with other content has its name."""

    FAIL = "fail"
    OVERWRITE = "overwrite"
    RENAME = "rename"  # NAME (2), NAME (3), ...
    SKIP = "skip"


@define(eq=False)
class _File:
    entry: FileEntry
    wanted: Name
    """The name that was asked for."""
    priority: Priority
    tries: int = 1
    active: bool = False
    part: LocalPart | None = None
    next: int = 0
    """The first byte that was not asked for yet."""
    again: list[tuple[int, int]] = field(factory=list)
    """Ranges (offset, length) that were asked for in vain."""
    came: dict[int, _Range] = field(factory=dict)
    writing: bool = False
    target: Name = field(init=False)
    """The name that it gets: another one if that is taken, and if that was said."""

    def __attrs_post_init__(self) -> None:
        self.target = self.wanted

    @property
    def path(self) -> str:
        return self.entry.path


@define(eq=False)
class _Range:
    offset: int
    length: int
    pieces: list[bytes] = field(factory=list)


class Downloads:
    """Fetches what is added, until `finish`.

    Args:
        client: reaches the server.
        disk: the folder that targets are names in.
        in_thread: runs what blocks; of one file one call at a time.
        heard: told what happens to each file.
        taken: what to do where a file with other content is.
        in_flight: bytes that may be asked for and not stored.
    """

    _log = Logger()

    def __init__(
        self,
        client: FilesClient,
        disk: Disk,
        in_thread: InThread,
        *,
        heard: Callable[[FileEvent], object] = lambda _: None,
        taken: Taken = Taken.FAIL,
        in_flight: int = limits.CONNECTION_BYTES_IN_FLIGHT,
    ) -> None:
        self.totals = Totals()
        self._client = client
        self._disk = disk
        self._in_thread = in_thread
        self._heard = heard
        self._taken = taken
        self._overwrite = taken is Taken.OVERWRITE
        self._room = in_flight
        self._waiting: dict[Priority, deque[_File]] = {priority: deque() for priority in Priority}
        self._small: dict[Priority, deque[_File]] = {priority: deque() for priority in Priority}
        self._files: dict[Name, _File] = {}
        self._known: dict[Priority, int] = dict.fromkeys(Priority, 0)
        self._active: dict[Priority, int] = dict.fromkeys(Priority, 0)
        self._checking = 0
        self._small_requests = 0
        self._small_placed = False
        self._fair: Fair[_File | Priority] = Fair()
        self._connection: FilesConnection | None = None
        self._connecting = False
        self._pumping = False
        self._pump_again = False
        self._tasks: set[Deferred[None]] = set()
        self._no_more = False
        self._broken: Failure | None = None
        self._room_to_add: dict[Priority, deque[Deferred[None]]] = {priority: deque() for priority in Priority}
        self._ended: Deferred[None] | None = None

    # -- what the caller says --

    async def add(self, entry: FileEntry, target: Name, priority: Priority = Priority.NORMAL) -> None:
        """Fetch a file to the name `target`, or make that folder; waits while too many files of its priority wait.

        A file that is being fetched already is not counted twice: it gets the more urgent of the two priorities.
        """
        while self._known[priority] >= limits.FILES_WAITING and self._broken is None:
            room: Deferred[None] = Deferred()
            self._room_to_add[priority].append(room)
            await room
        self.check()
        file = _File(entry, target, priority)
        other = self._files.get(target)
        if other is not None and other.path == entry.path:
            self._set_priority(other, max(priority, other.priority))
            return
        if entry.folder:
            await self._make_folder(file)
            return
        self.totals.files += 1
        self.totals.bytes += entry.size
        if other is not None:
            self.totals.files_failed += 1
            error = AlreadyThere(f"{other.path} is fetched to the same name; fetch them to two folders.")
            self._heard(FileEvent(What.FAILED, entry.path, entry.size, 0, error))
            return
        self._files[target] = file
        self._known[priority] += 1
        self._waiting[priority].append(file)
        self._pump()

    def set_priority(self, path: str, priority: Priority) -> bool:
        """Change the priority of a file, or of what is below a folder, from the next range on; "" is everything.

        Returns whether any of it is still to be fetched.
        """
        found = [
            file for file in self._files.values() if not path or file.path == path or file.path.startswith(f"{path}/")
        ]
        for file in found:
            self._set_priority(file, priority)
        self._pump()
        return bool(found)

    def _set_priority(self, file: _File, priority: Priority) -> None:
        if file.priority is priority:
            return
        if file in self._waiting[file.priority]:
            self._waiting[file.priority].remove(file)
            self._waiting[priority].append(file)
        elif file in self._small[file.priority]:
            self._small[file.priority].remove(file)
            self._small[priority].append(file)
            if priority not in self._fair:
                self._fair.add(priority, priority)
        elif file.active:
            self._active[file.priority] -= 1
            self._active[priority] += 1
        self._known[file.priority] -= 1
        self._known[priority] += 1
        self._let_add(file.priority)
        file.priority = priority
        self._fair.set_weight(file, priority)

    def finish(self) -> Deferred[None]:
        """Fires when something became of every file, and small ones are flushed; nothing may be added any more.

        Fails if the server is lost for good. Cancel it to stop: what came is kept for the next time.
        """
        self._no_more = True
        self._ended = Deferred(lambda _: self.stop())
        if self._broken is not None:
            self._ended.errback(self._broken)
        self._end_if_done()
        return self._ended

    def check(self) -> None:
        """Raise if everything ended, because the server is lost for good or `stop` was called."""
        if self._broken is not None:
            self._broken.raiseException()

    def stop(self) -> None:
        """Stop fetching; what came is kept for the next time."""
        self._break(Failure(CancelledError()))

    # -- what is next --

    def _pump(self) -> None:
        """Begin whatever has room; called while that is going on, it is done once more."""
        self._pump_again = True
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._pump_again and self._broken is None:
                self._pump_again = False
                self._begin_some()
        finally:
            self._pumping = False
        self._end_if_done()

    def _begin_some(self) -> None:
        self._promote()
        while self._room > 0 and self._connection is not None:
            turn = self._fair.next()
            if turn is None:
                break
            if isinstance(turn, Priority):
                if not self._ask_small(turn, self._connection):
                    break
            else:
                self._ask_range(turn, self._connection)
        if self._connection is None and len(self._fair) and not self._connecting:
            self._connecting = True
            self._task(self._connect())

    def _promote(self) -> None:
        """Let files that wait be looked at: the small ones by the batch, the others one by one."""
        for priority, waiting in self._waiting.items():
            while waiting and self._checking < _SMALL_AT_ONCE:
                if waiting[0].entry.size <= limits.SMALL_FILE_BYTES:
                    batch: list[_File] = []
                    while (
                        waiting
                        and len(batch) < limits.SMALL_FILES_PER_REQUEST
                        and waiting[0].entry.size <= limits.SMALL_FILE_BYTES
                    ):
                        batch.append(waiting.popleft())
                    self._checking += 1
                    self._task(self._check_small(batch))
                elif self._active[priority] < limits.FILES_AT_ONCE:
                    file = waiting.popleft()
                    file.active = True
                    self._active[priority] += 1
                    self._task(self._begin(file))
                else:
                    break

    async def _connect(self) -> None:
        try:
            self._connection = await self._client.connected()
        finally:
            self._connecting = False

    async def _now(self) -> FilesConnection:
        """Return a connection for a request that is not about ranges."""
        return await self._client.connected()

    # -- small files --

    async def _check_small(self, batch: Sequence[_File]) -> None:
        """Sort small files: those that are not here are ready to be asked for."""
        try:
            here = await self._in_thread(small_here, self._disk, [(file.target, file.entry.size) for file in batch])
        finally:
            self._checking -= 1
        for file, (size, content) in zip(batch, here, strict=True):
            if size is None or (self._overwrite and size not in (-1, file.entry.size)):
                self._ready_small(file)
            else:
                self._task(self._compare(file, size, content))

    async def _compare(self, file: _File, size: int, content: bytes | None) -> None:
        """Skip a small file that is here already, else fail it, or fetch it over the other."""
        try:
            if not await self._is_here(file, size, content):
                self._ready_small(file)
        except TwistedP2PError as error:
            self._failed(file, error)

    def _ready_small(self, file: _File) -> None:
        self._small[file.priority].append(file)
        if file.priority not in self._fair:
            self._fair.add(file.priority, file.priority)

    def _ask_small(self, priority: Priority, connection: FilesConnection) -> bool:
        """Ask for a batch of small files; return whether there was room for one more request."""
        if self._small_requests >= _SMALL_AT_ONCE:
            return False
        ready = self._small[priority]
        batch = [ready.popleft() for _ in range(min(len(ready), limits.SMALL_FILES_PER_REQUEST))]
        if not ready:
            self._fair.remove(priority)
        if batch:
            size = sum(file.entry.size for file in batch)
            self._fair.charge(priority, size)
            self._room -= size
            self._small_requests += 1
            self._task(self._fetch_small(batch, size, connection))
        return True

    async def _fetch_small(self, batch: Sequence[_File], size: int, connection: FilesConnection) -> None:
        came: dict[int, SmallFile | TwistedP2PError] = {}
        try:
            await connection.read_files([(file.path, file.entry.token) for file in batch], came.__setitem__)
        except TwistedP2PError as error:
            self._not_answered(error)
            if not is_passing(error):
                came = {at: came.get(at, error) for at in range(len(batch))}
        finally:
            self._small_requests -= 1
        try:
            good = {at: file for at, file in came.items() if isinstance(file, SmallFile)}
            small = [
                Small(batch[at].target, file.content, file.data, batch[at].entry.mtime_ns, batch[at].entry.executable)
                for at, file in good.items()
            ]
            self._small_placed = True
            outcomes = await self._in_thread(place_small, self._disk, small, self._overwrite)
        finally:
            self._room += size
        for at, outcome in zip(good, outcomes, strict=True):
            if outcome is None:
                self.totals.moved += len(good[at].data)
                self.totals.bytes_done += len(good[at].data)
                self._done(batch[at], What.DONE)
            else:
                self._again_or_failed(batch[at], outcome)
        for at, file in enumerate(batch):
            why = came.get(at)
            if why is None:
                self._ready_small(file)  # the connection broke before it came
            elif not isinstance(why, SmallFile):
                self._again_or_failed(file, why)

    # -- other files --

    async def _begin(self, file: _File) -> None:
        """Find out how much of a file is here, and let it wait for its turns."""
        try:
            (size,) = await self._in_thread(sizes_of, self._disk, [file.target])
            compare = size is not None and not (self._overwrite and size not in (-1, file.entry.size))
            if compare and await self._is_here(file, size or 0):
                self._leave(file)
                return
            source = self._client.source + file.path.encode() + b"\0" + file.entry.token
            file.part = await self._in_thread(make_part, self._disk, file.target, source, file.entry.size)
        except TwistedP2PError as error:
            self._leave(file)
            self._failed(file, error)
            return
        file.next = file.part.offset
        event = FileEvent(What.BEGUN, file.path, file.entry.size, file.part.offset)
        self.totals.began(event)
        self._heard(event)
        if file.next < file.entry.size:
            self._fair.add(file, file.priority)
        else:
            self._task(self._complete(file))

    async def _is_here(self, file: _File, size: int, content: bytes | None = None) -> bool:
        """Return True if nothing is left to do, which is said; False if the file is to be fetched.

        `size` is what is here, -1 if that is no file, and `content` its content id if that is known. Raises
        `AlreadyThere` if another one is in its way.
        """
        if size == file.entry.size:
            here = content or await self._in_thread(hash_of, self._disk, file.target)
            if here == await self._content_of(file):
                self.totals.bytes_done += size
                self.totals.files_skipped += 1
                self._done(file, What.SKIPPED)
                return True
        if size == -1 or not self._overwrite:
            return await self._other_is_here(file)
        return False

    async def _other_is_here(self, file: _File) -> bool:
        """Something else has the name: do what was said about that; return whether nothing is left to do."""
        shown = b"/".join(file.target).decode(errors="replace")
        if self._taken is Taken.SKIP:
            self.totals.bytes_done += file.entry.size
            self.totals.files_skipped += 1
            self._done(file, What.SKIPPED)
            return True
        if self._taken is not Taken.RENAME:
            raise AlreadyThere(f"{shown} is there already with other content; --overwrite replaces it.")
        content = await self._content_of(file)
        file.target, same = await self._in_thread(free_name, self._disk, file.target, file.entry.size, content)
        if same:
            self.totals.bytes_done += file.entry.size
            self.totals.files_skipped += 1
            self._done(file, What.SKIPPED)
        return same

    async def _content_of(self, file: _File) -> bytes:
        """Ask for the content id of a file until there is an answer."""
        while True:
            connection = await self._now()
            try:
                return await connection.content_of(file.path, file.entry.token)
            except TwistedP2PError as error:
                if not is_passing(error):
                    raise

    def _ask_range(self, file: _File, connection: FilesConnection) -> None:
        if file.again:
            offset, length = file.again.pop(0)
        else:
            offset, length = file.next, min(limits.DOWNLOAD_RANGE, file.entry.size - file.next)
            file.next += length
        if not file.again and file.next >= file.entry.size:
            self._fair.remove(file)
        self._fair.charge(file, length)
        self._room -= length
        self._task(self._fetch_range(file, _Range(offset, length), connection))

    async def _fetch_range(self, file: _File, wanted: _Range, connection: FilesConnection) -> None:
        pieces = wanted.pieces
        try:
            await connection.read_range(
                file.path, file.entry.token, wanted.offset, wanted.length, lambda _, data: pieces.append(data)
            )
        except TwistedP2PError as error:
            came = sum(map(len, pieces))
            self._room += wanted.length - came
            if not is_passing(error):
                self._room += came
                self._again_or_failed(file, error)
                return
            self._not_answered(error)
            if file.part is not None and came < wanted.length:
                file.again.append((wanted.offset + came, wanted.length - came))
                file.again.sort()
                if file not in self._fair:
                    self._fair.add(file, file.priority)
            if not came:
                return
            wanted.length = came
        if file.part is None:
            self._room += wanted.length  # it was given up, or begun anew, meanwhile
            return
        file.came[wanted.offset] = wanted
        if not file.writing:
            await self._write(file)

    async def _write(self, file: _File) -> None:
        """Write what came in order."""
        part = file.part
        if part is None:
            return
        file.writing = True
        try:
            while part.offset in file.came:
                pieces: list[bytes] = []
                size = 0
                while size < limits.DOWNLOAD_WRITE and (found := file.came.pop(part.offset + size, None)) is not None:
                    pieces += found.pieces
                    size += found.length
                try:
                    await self._in_thread(part.write, pieces)
                finally:
                    self._room += size
                self.totals.moved += size
                self.totals.bytes_done += size
                self._heard(FileEvent(What.MOVED, file.path, file.entry.size, part.offset))
                self._pump()
        except TwistedP2PError as error:
            self._give_up(file, error)
            return
        finally:
            file.writing = False
        if part.offset == file.entry.size and file.part is part:
            await self._complete(file)

    async def _complete(self, file: _File) -> None:
        """All bytes are here: verify them, and put the file in place."""
        assert file.part is not None
        entry = file.entry
        try:
            content = await self._content_of(file)
            await self._in_thread(file.part.finish, content, entry.mtime_ns, entry.executable, self._overwrite)
        except TwistedP2PError as error:
            self._again_or_failed(file, error)
            return
        file.part = None
        self._leave(file)
        self._done(file, What.DONE)

    # -- what became of them --

    def _not_answered(self, error: TwistedP2PError) -> None:
        """A request failed; if the connection is gone, the next one is dialled."""
        if is_passing(error):
            self._connection = None

    def _again_or_failed(self, file: _File, error: TwistedP2PError) -> None:
        """Begin a file anew that changed at the server or came wrong; anything else is said."""
        if self._files.get(file.wanted) is not file:
            return  # another range of it said so before
        if isinstance(error, (FileChanged, CorruptContent)) and file.tries < _TRIES:
            self._let_go(file, drop=True)
            self._task(self._anew(file))
        else:
            self._give_up(file, error)

    async def _anew(self, file: _File) -> None:
        """Ask for the state that a file has now, and fetch that."""
        found: list[FileEntry] = []
        anew = _File(file.entry, file.wanted, file.priority, file.tries + 1)
        self._files[file.wanted] = anew
        try:
            while True:
                found.clear()
                try:
                    await (await self._now()).listing(file.path, found.extend)
                    break
                except TwistedP2PError as error:
                    if not is_passing(error):
                        raise
            if len(found) != 1 or found[0].folder or found[0].path != file.path:
                raise FileChanged(f"{file.path} is no file any more.")
            entry = found[0]
        except TwistedP2PError as error:
            self._failed(anew, error)
            return
        self.totals.bytes += entry.size - file.entry.size
        anew.entry = entry
        self._waiting[anew.priority].append(anew)

    def _give_up(self, file: _File, error: TwistedP2PError) -> None:
        if self._files.get(file.wanted) is file:
            self._let_go(file)
            self._failed(file, error)

    def _let_go(self, file: _File, *, drop: bool = False) -> None:
        """Forget what is under way of a file; with `drop` what came is of no use any more."""
        self._fair.remove(file)
        self._room += sum(found.length for found in file.came.values())
        file.came.clear()
        part, file.part = file.part, None
        self._leave(file)
        if part is not None:
            self.totals.bytes_done -= part.offset
            self._in_thread(part.drop if drop else part.close).addErrback(lambda _: None)

    def _leave(self, file: _File) -> None:
        """Another file of its priority may begin."""
        if file.active:
            file.active = False
            self._active[file.priority] -= 1

    def _failed(self, file: _File, error: TwistedP2PError) -> None:
        self._forget(file)
        self.totals.files_failed += 1
        self._heard(FileEvent(What.FAILED, file.path, file.entry.size, 0, error))
        self._let_add(file.priority)

    def _done(self, file: _File, what: What) -> None:
        self._forget(file)
        self.totals.files_done += 1
        self._heard(FileEvent(what, file.path, file.entry.size, file.entry.size))
        self._let_add(file.priority)

    def _forget(self, file: _File) -> None:
        if self._files.pop(file.wanted, None) is not None:
            self._known[file.priority] -= 1

    def _let_add(self, priority: Priority) -> None:
        waiting = self._room_to_add[priority]
        if waiting and self._known[priority] < limits.FILES_WAITING:
            waiting.popleft().callback(None)

    async def _make_folder(self, folder: _File) -> None:
        """Make a folder that is listed; if that can not be, say so, and go on."""
        try:
            await self._in_thread(make_local_folder, self._disk, folder.target)
        except TwistedP2PError as error:
            self.totals.files += 1
            self.totals.files_failed += 1
            self._heard(FileEvent(What.FAILED, folder.path, 0, 0, error))

    # -- tasks --

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that nobody waits for; an error that is not about one file ends everything."""
        task = Deferred.fromCoroutine(work)
        self._tasks.add(task)

        def ended(result: object) -> None:
            self._tasks.discard(task)
            if isinstance(result, Failure):
                self._break(result)
            self._pump()

        task.addBoth(ended)

    def _break(self, failure: Failure) -> None:
        """Stop everything, because of `failure`."""
        if self._broken is not None:
            return
        self._broken = failure
        for task in list(self._tasks):
            task.cancel()
        for file in self._files.values():
            if file.part is not None:
                self._in_thread(file.part.close).addErrback(lambda _: None)
        for waiting in self._room_to_add.values():
            while waiting:
                waiting.popleft().callback(None)
        if self._ended is not None and not self._ended.called:
            self._ended.errback(failure)

    def _end_if_done(self) -> None:
        if self._ended is None or self._ended.called or self._broken is not None or self._tasks or self._files:
            return
        if self._small_placed:
            self._small_placed = False
            self._task(self._flush())
        else:
            self._ended.callback(None)

    async def _flush(self) -> None:
        await self._in_thread(flush, self._disk)
