"""Fetching many named files over one connection: several at a time, each with its share of the bytes.

    add -> waits -> is it here already? -> small ones by the batch, others by ranges -> in place, verified

Whose range is asked for next, `fair` says. At most `limits.CONNECTION_BYTES_IN_FLIGHT` bytes are asked for and not
stored, however many files there are. A file is written in order to a part beside its target, see `parts`; what came
before a connection broke is kept, and the rest is asked for over the next one.

    downloads   what the caller says, and what is next
    ledger      which files there are, and what became of them
    present     what has their names here
    small       small files, by the batch
    ranges      larger files, range by range
    anew        one more try of what changed meanwhile
    window      how much is asked for ahead
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from twistedp2p import limits
from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import TwistedP2PError
from twistedp2p.transfer.files.anew import Anew
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.fair import Priority, is_below
from twistedp2p.transfer.files.fetching import Fetching
from twistedp2p.transfer.files.ledger import Ledger
from twistedp2p.transfer.files.local import make_local_folder
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.pending import Flight, Pending
from twistedp2p.transfer.files.present import Present, Taken
from twistedp2p.transfer.files.progress import FileEvent, Totals
from twistedp2p.transfer.files.ranges import RangedFiles
from twistedp2p.transfer.files.small import SmallFiles
from twistedp2p.transfer.files.tasks import Tasks
from twistedp2p.transfer.files.window import Window

__all__ = ["Downloads", "Taken"]


class Downloads:
    """Fetches what is added, until `finish`.

    Args:
        client: reaches the server.
        disk: the folder that targets are names in.
        in_thread: runs what blocks; of one file one call at a time.
        heard: told what happens to each file.
        taken: what to do where a file with other content is.
        as_listed: whether a file that changes at the server fails, instead of being taken as it is then.
        in_flight: bytes that may be asked for and not stored.
    """

    def __init__(
        self,
        client: FilesClient,
        disk: Disk,
        in_thread: InThread,
        *,
        heard: Callable[[FileEvent], object] = lambda _: None,
        taken: Taken = Taken.FAIL,
        as_listed: bool = False,
        in_flight: int = limits.CONNECTION_BYTES_IN_FLIGHT,
    ) -> None:
        self._client = client
        self._disk = disk
        self._in_thread = in_thread
        self._waiting: dict[Priority, deque[Pending]] = {priority: deque() for priority in Priority}
        self._connecting = False
        self._pumping = False
        self._pump_again = False
        self._tasks = tasks = Tasks(self._pump, self._broke)
        self._ledger = ledger = Ledger(heard)
        self._flight = flight = Flight(client, Window(client.clock, in_flight))
        present = Present(client, disk, in_thread, taken)
        anew = Anew(client, ledger, tasks, self._wait, as_listed=as_listed)
        fetching = Fetching(flight, disk, in_thread, OldParts(disk), present, ledger, anew, tasks)
        self._small = SmallFiles(fetching)
        self._ranged = RangedFiles(fetching)

    @property
    def totals(self) -> Totals:
        """How far it is."""
        return self._ledger.totals

    # -- what the caller says --

    async def add(self, entry: FileEntry, target: Name, priority: Priority = Priority.NORMAL) -> None:
        """Fetch a file to the name `target`, or make that folder; waits while too many files of its priority wait.

        A file that is being fetched already is not counted twice: it gets the more urgent of the two priorities.
        """
        await self._ledger.room(priority)
        self.check()
        other = self._ledger.to(target)
        if other is not None and other.path == entry.path:
            self._set_priority(other, max(priority, other.priority))
            return
        if entry.folder:
            await self._make_folder(entry, target)
            return
        file = Pending(entry, target, priority)
        if self._ledger.add(file):
            self._wait(file)
            self._pump()

    def set_priority(self, path: str, priority: Priority) -> bool:
        """Change the priority of a file, or of what is below a folder, from the next range on; "" is everything.

        Returns whether any of it is still to be fetched.
        """
        found = [file for file in self._ledger.files if is_below(file.path, path)]
        for file in found:
            self._set_priority(file, priority)
        self._pump()
        return bool(found)

    def finish(self) -> Deferred[None]:
        """Fires when something became of every file, and small ones are flushed; nothing may be added any more.

        Fails if the server is lost for good. Cancel it to stop: what came is kept for the next time.
        """
        finished = self._tasks.finished()
        self._end_if_done()
        return finished

    def check(self) -> None:
        """Raise if everything ended, because the server is lost for good or `stop` was called."""
        self._tasks.check()

    def stop(self) -> None:
        """Stop fetching; what came is kept for the next time."""
        self._tasks.stop()

    def _set_priority(self, file: Pending, priority: Priority) -> None:
        if file.priority is priority:
            return
        if file in self._waiting[file.priority]:
            self._waiting[file.priority].remove(file)
            self._waiting[priority].append(file)
        elif not self._small.move(file, priority):
            self._ranged.move(file, priority)
        self._flight.fair.set_weight(file, priority)
        self._ledger.set_priority(file, priority)

    async def _make_folder(self, entry: FileEntry, target: Name) -> None:
        """Make a folder that is listed; if that can not be, say so, and go on."""
        try:
            await self._in_thread(make_local_folder, self._disk, target)
        except TwistedP2PError as error:
            self._ledger.folder_failed(entry.path, error)

    # -- what is next --

    def _wait(self, file: Pending) -> None:
        """Let a file wait to be looked at."""
        self._waiting[file.priority].append(file)

    def _pump(self) -> None:
        """Begin whatever has room; called while that is going on, it is done once more."""
        self._pump_again = True
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._pump_again and not self._tasks.broken:
                self._pump_again = False
                self._begin_some()
        finally:
            self._pumping = False
        self._end_if_done()

    def _begin_some(self) -> None:
        self._promote()
        flight = self._flight
        while flight.connection is not None and not flight.window.is_full:
            turn = flight.fair.next()
            if turn is None:
                break
            if isinstance(turn, Priority):
                if not self._small.ask(turn, flight.connection):
                    break
            else:
                self._ranged.ask(turn, flight.connection)
        if flight.connection is None and len(flight.fair) and not self._connecting:
            self._connecting = True
            self._tasks.start(self._connect())

    def _promote(self) -> None:
        """Let files that wait be looked at: the small ones by the batch, the others one by one."""
        for priority, waiting in self._waiting.items():
            while waiting and self._small.may_look:
                if waiting[0].entry.size <= limits.SMALL_FILE_BYTES:
                    self._small.look(_next_small(waiting))
                elif self._ranged.may_begin(priority):
                    self._ranged.begin(waiting.popleft())
                else:
                    break

    async def _connect(self) -> None:
        try:
            self._flight.connection = await self._client.connected()
            self._flight.window.reconnected()
        finally:
            self._connecting = False

    # -- the end --

    def _broke(self) -> None:
        """Everything ends too early."""
        self._ranged.close()
        self._ledger.open()

    def _end_if_done(self) -> None:
        if self._tasks.at_end and not self._ledger and not self._small.flush():
            self._tasks.end()


def _next_small(waiting: deque[Pending]) -> list[Pending]:
    """Take the small files at the head of those that wait, as many as one request may name."""
    batch: list[Pending] = []
    while waiting and len(batch) < limits.SMALL_FILES_PER_REQUEST and waiting[0].entry.size <= limits.SMALL_FILE_BYTES:
        batch.append(waiting.popleft())
    return batch
