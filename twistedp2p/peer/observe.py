"""The observer: decides when to look at what on this disk, and hands on what was found.

The watcher is only a hint: a full scan at start and once an hour remains the truth. A path is looked at once it is
quiet; one that is missing is looked at twice before it counts as deleted; one that somebody writes to is looked
at again later. One look runs at a time, in a bulk thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.errors import TwistedP2PError
from twistedp2p.limits import DELETE_SECOND_LOOK_LIVE, DELETE_SECOND_LOOK_SCAN, FULL_SCAN, RETRY_FIRST, RETRY_MOST
from twistedp2p.peer.failures import Complaints
from twistedp2p.peer.index_file import IndexDamaged
from twistedp2p.peer.look import Eye
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.reasons import Phase
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.workers import Workers

__all__ = ["Observer", "Quieting"]

T = TypeVar("T")

CHANGING_AGAIN = 0.05
"""A file that changed while it was read is tried again after this, doubling, at most `CHANGING_MOST`."""
CHANGING_MOST = 60.0
PATHS_PER_LOOK = 2000


class Quieting(Protocol):
    """What is needed of the debouncer of watch events."""

    def due(self, now: float) -> list[str]:
        """Return, and forget, the paths that are quiet now."""

    def next_at(self) -> float | None:
        """Return when the next path will be quiet, None if none waits."""

    def waiting(self) -> Iterable[str]:
        """Return the paths that are not quiet yet."""


class Observer:
    """Looks at one folder; `found` takes each `Looked` that has something.

    `settled` is called when all is quiet, `scanned` at the end of each full scan, `damaged` when the index can not be
    read any more.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        workers: Workers,
        eye: Eye,
        quiet: Quieting,
        found: Callable[[Looked], None],
        settled: Callable[[], None],
        scanned: Callable[[], None] = lambda: None,
        damaged: Callable[[str], object] = lambda reason: None,
        complaints: Complaints | None = None,
        full_scan: float = FULL_SCAN,
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._eye = eye
        self._quiet = quiet
        self._found = found
        self._settled = settled
        self._scan_ended = scanned
        self._damaged = damaged
        self._full_scan = full_scan
        self._due: set[str] = set()
        self._second_looks: dict[str, float] = {}
        self._changing: dict[str, tuple[float, float]] = {}
        self._unreadable_again: dict[str, tuple[float, float]] = {}
        self._complaints = complaints or Complaints(clock.seconds)
        self._scan_wanted = False
        self._incomplete = True
        self._slices: Iterator[Looked] | None = None
        self._busy = False
        self._timer: IDelayedCall | None = None
        self._hourly: IDelayedCall | None = None
        self._stopped = True
        self.hidden: dict[str, str] = {}
        self.unreadable: dict[str, Trouble] = {}
        """What can not be read now, and why; it is looked at again by itself."""
        self.trouble: Trouble | None = None
        """Why the folder as a whole can not be looked at."""
        self.scanned = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be looked at and the last full scan is complete."""
        return not (
            self._busy
            or self.scanning
            or self._incomplete
            or self._due
            or self._second_looks
            or self._changing
            or self._quiet.next_at() is not None
        )

    @property
    def scanning(self) -> bool:
        """Whether a full scan is under way or wanted."""
        return self._slices is not None or self._scan_wanted

    def phases(self) -> dict[str, Phase]:
        """Return where this is with each path that changed on the disk and was not reported yet."""
        return {
            **dict.fromkeys(self._due, Phase.DUE),
            **dict.fromkeys(self._second_looks, Phase.MISSING),
            **dict.fromkeys(self._changing, Phase.CHANGING),
            **dict.fromkeys(self._quiet.waiting(), Phase.QUIET),
        }

    def start(self) -> None:
        """Begin with a full scan."""
        self._stopped = False
        self.scan()

    def stop(self) -> None:
        """Look no more; a look under way ends by itself and is not reported."""
        self._stopped = True
        for timer in (self._timer, self._hourly):
            if timer is not None and timer.active():
                timer.cancel()

    def look(self, paths: Iterable[str]) -> None:
        """Look at these paths soon."""
        self._due.update(paths)
        self._arm()

    def scan(self) -> None:
        """Look at the whole folder soon: at start, once an hour, and when the watcher lost events."""
        self._scan_wanted = True
        self._arm()

    def hinted(self) -> None:
        """Note that the debouncer was told something."""
        self._arm()

    # -- when ---------------------------------------------------------------

    def _arm(self) -> None:
        """Set the timer to the moment at which there is something to look at."""
        if self._stopped or self._busy:
            return
        now = self._clock.seconds()
        at = self._next_at(now)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if at is None:
            self._settled()
        else:
            self._timer = self._clock.callLater(max(0.0, at - now), self._wake)

    def _next_at(self, now: float) -> float | None:
        if self._due or self.scanning:
            return now
        later = (*self._changing.values(), *self._unreadable_again.values())
        moments = [*self._second_looks.values(), *(at for at, _ in later)]
        quiet = self._quiet.next_at()
        if quiet is not None:
            moments.append(quiet)
        return min(moments, default=None)

    def _wake(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        self._due.update(self._quiet.due(now))
        for later in (self._changing, self._unreadable_again):
            self._due.update(path for path, (at, _) in later.items() if at <= now)
        confirm = sorted(path for path, at in self._second_looks.items() if at <= now)
        if confirm:
            for path in confirm:
                del self._second_looks[path]
            looking = self._workers.bulk(self._eye.look, confirm, True)
            self._run(looking, lambda looked: self._looked_at(confirm, looked))
        elif self._due:
            paths = sorted(self._due)[:PATHS_PER_LOOK]
            self._due.difference_update(paths)
            self._run(self._workers.bulk(self._eye.look, paths), lambda looked: self._looked_at(paths, looked))
        elif self.scanning:
            self._scan_on()
        else:
            self._arm()

    def _run(self, looking: Deferred[T], took: Callable[[T], None]) -> None:
        self._busy = True

        def done(result: T | Failure) -> None:
            self._busy = False
            if self._stopped:
                return
            if isinstance(result, Failure):
                self._failed(result)
            else:
                self.trouble = None
                took(result)
            self._arm()

        looking.addBoth(done)

    def _failed(self, failure: Failure) -> None:
        """Say what is wrong with the folder, and try again later: nothing counts as missing meanwhile."""
        self._slices = None
        self._incomplete = True
        if failure.check(IndexDamaged):
            self._damaged(str(failure.value))
        elif not failure.check(TwistedP2PError, OSError):
            self._log.failure("Looking at the folder failed", failure=failure)
        self.trouble = trouble_of(failure.value, reading=True)
        self._say("", self.trouble)
        self._rescan_in(DELETE_SECOND_LOOK_SCAN * 5)

    # -- what was found -----------------------------------------------------

    def _looked_at(self, paths: Iterable[str], looked: Looked) -> None:
        """Take in a look at these paths: of one that came and went again, a look has nothing to say."""
        for path in set(paths).difference(looked.changing):
            self._changing.pop(path, None)
            self.hidden.pop(path, None)
        for path in set(paths).difference(path for path, _ in looked.unreadable):
            self._read_at_last(path)
        self._took(looked)

    def _took(self, looked: Looked, second_look: float = DELETE_SECOND_LOOK_LIVE) -> None:
        now = self._clock.seconds()
        for path in (*looked.fine, *(seen[0] for seen in looked.seen), *looked.gone):
            self._changing.pop(path, None)
            self._second_looks.pop(path, None)
            self._read_at_last(path)
        for path in looked.missing:
            self._changing.pop(path, None)
            self._second_looks.setdefault(path, now + second_look)
        for path in looked.changing:
            wait = min(CHANGING_MOST, self._changing.get(path, (0.0, CHANGING_AGAIN / 2))[1] * 2)
            self._changing[path] = (now + wait, wait)
        for name, reason in looked.hidden:
            self.hidden[name] = reason
            self._changing.pop(name, None)
        for path, trouble in looked.unreadable:
            wait = min(RETRY_MOST, self._unreadable_again.get(path, (0.0, RETRY_FIRST / 2))[1] * 2)
            self._unreadable_again[path] = (now + wait, wait)
            self._changing.pop(path, None)
            self.unreadable[path] = trouble
            self._say(path, trouble)
        if looked:
            self._found(looked)

    def _read_at_last(self, path: str) -> None:
        self.unreadable.pop(path, None)
        self._unreadable_again.pop(path, None)

    def _say(self, path: str, trouble: Trouble) -> None:
        line = self._complaints.line(path, trouble)
        if line is not None:
            self._log.warn("{text}", text=line)

    def _scan_on(self) -> None:
        """Take the next slice of the full scan, so that what is due comes in between."""
        if self._slices is None:
            self._scan_wanted = False
            self.scanned = 0
            self.hidden.clear()
            self._slices = self._eye.look_everywhere()

        def took(looked: Looked | None) -> None:
            if looked is None:
                self._slices = None
                self._incomplete = False
                self._rescan_in(self._full_scan)
                self._scan_ended()
            else:
                self.scanned += len(looked.seen) + len(looked.fine)
                self._took(looked, DELETE_SECOND_LOOK_SCAN)

        self._run(self._workers.bulk(next, self._slices, None), took)

    def _rescan_in(self, seconds: float) -> None:
        if self._hourly is not None and self._hourly.active():
            self._hourly.cancel()
        self._hourly = self._clock.callLater(seconds, self.scan)
