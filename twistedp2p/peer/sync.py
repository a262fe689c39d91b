"""The loop of a peer: observe -> announce -> plan -> fetch -> publish.

News comes from three sides: the observer (this disk), the tracker client (other peers' records, who holds what)
and the fetcher (a content is here). Each only adds to what is waiting; one loop takes it up, one step at a time
in the state thread (`steps`), and hands on what the step leaves: a batch for the tracker, contents to fetch, paths to
plan or to look at again. Nothing is decided here about versions, and nothing here touches a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p.errors import TwistedP2PError
from twistedp2p.limits import FULL_SCAN, INDEX_AGAIN, TRASH_AGAIN
from twistedp2p.messages.tracker import Entry, PeerInfo, Welcome
from twistedp2p.peer.changes import Change
from twistedp2p.peer.failures import Complaints, Failures
from twistedp2p.peer.first_list import FirstList
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.index_file import IndexDamaged
from twistedp2p.peer.looked import Looked, divide
from twistedp2p.peer.path_queue import PathQueue
from twistedp2p.peer.purging import Purged, Wish
from twistedp2p.peer.replica import IndexLost
from twistedp2p.peer.steps import Outcome, Steps
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.wants import Wants
from twistedp2p.peer.workers import Workers
from twistedp2p.tracker.batch import Batch

__all__ = ["Sync"]

PATHS_PER_STEP = 4096
"""Paths planned in one step: a moved tree is renamed, not copied, if its old and its new names come together."""


class Announcing(Protocol):
    """What the loop needs of the tracker client."""

    def announce(self, batch: Batch) -> None:
        """Send this batch, if the session stands; it is sent again after a break otherwise."""

    def reconnect(self) -> None:
        """Begin a new session: what was said in this one is void."""


class Observing(Protocol):
    """What the loop needs of the observer."""

    @property
    def idle(self) -> bool:
        """Whether nothing seen on the disk waits to be reported."""

    def look(self, paths: Iterable[str]) -> None:
        """Look at these paths again."""

    def scan(self) -> None:
        """Look at the whole folder."""


class Sync:
    """One peer's loop; it lives in the reactor's thread and as long as its service."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        workers: Workers,
        steps: Steps,
        holdings: Holdings,
        new_rid: Callable[[], bytes],
        complaints: Complaints | None = None,
    ) -> None:
        self._clock = clock
        self._workers = workers
        self._steps = steps
        self._new_rid = new_rid
        self.holdings = holdings
        self.wants = Wants(holdings, self._arrived, self._not_fetched)
        self.failures = Failures(clock, lambda path: self._arrived((path,)), complaints)
        self.tracker: Announcing | None = None
        self.observer: Observing | None = None
        self._looked: list[Looked] = []
        self._to_plan = PathQueue()
        self._running = False
        self._stopped = False
        self._steps_under_way = 0
        self._waiting: list[Deferred[None]] = []
        self._failed_steps: set[IDelayedCall] = set()
        self._rechecks: set[IDelayedCall] = set()
        self._recheck_later: list[tuple[str, ...] | None] = []
        self._healing: list[Deferred[None]] = []
        self._next_index = float("-inf")
        self._index_wait = INDEX_AGAIN
        self._after_scan: set[str] = set()
        self._relist_failed = False
        self.first_list = FirstList(clock, steps.ignores, self._kick)
        self.changed: Callable[[tuple[Change, ...]], object] = lambda changes: None
        """Hears what changed in the folder, after the commit."""
        self.rescan: Callable[[], None] = self._scan
        """Looks at the whole folder; whoever watches it puts the watches anew first."""

    # -- what others ask ----------------------------------------------------

    @property
    def errors(self) -> dict[str, Trouble]:
        """What did not work, by path; it is tried again by itself."""
        return self.failures.errors

    def not_taken(self) -> list[str]:
        """Return the paths that were seen to have changed, and are no versions yet."""
        return [path for looked in self._looked for path in looked.paths()]

    @property
    def in_sync(self) -> bool:
        """Whether this peer has nothing left to do: all that is known is here, all that is here is announced."""
        return (
            not (self._running or self._steps_under_way or self._looked or self._to_plan or self._failed_steps)
            and not (self._after_scan or self._steps.ignores.under_way)
            and self._steps.settled
            and not (len(self.wants) or self.errors)
            and (self.observer is None or self.observer.idle)
        )

    def when_in_sync(self) -> Deferred[None]:
        """Return a Deferred that fires when this peer is in sync, at once if it is."""
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self.settle()
        return waiting

    def settle(self) -> None:
        """Tell those who wait for it if this peer is in sync now."""
        if self._waiting and self.in_sync:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    # -- from the observer --------------------------------------------------

    def looked(self, looked: Looked) -> None:
        """Take what the observer saw; it becomes versions once others have been heard."""
        self._looked.append(looked)
        self._kick()

    # -- from the tracker client --------------------------------------------

    def welcomed(self, welcome: Welcome) -> Deferred[None]:
        """Begin a session with the tracker; fires when it is noted."""
        self.holdings.new_session(welcome.member)
        return self._session_step(self._workers.state(self._steps.welcome, welcome))

    def delta_entries(self, entries: tuple[Entry, ...]) -> Deferred[None]:
        """Stage (a piece of) a delta; fires when that is done."""
        return self._session_step(self._workers.state(self._steps.stage, entries).addCallback(self._staged))

    def _staged(self, items: list[tuple[str, int, tuple[int, ...]]]) -> None:
        self.holdings.learn(items)

    def delta_end(self, end: int) -> Deferred[None]:
        """Join the staged delta; fires when it is committed, so that the next may come."""

        def joined(outcome: Outcome) -> Outcome:
            self.holdings.heard(end)
            return outcome

        return self._session_step(self._workers.state(self._steps.end_delta, end).addCallback(joined))

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        """Note that the tracker has applied `batch` and gave these numbers to its items by key, in order."""
        self._step(self._workers.state(self._steps.acknowledged, batch, numbers))

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        """Return the sealed records of these keys."""
        return self._workers.state(self._steps.blobs, keys)

    def say_all(self, whole: bool = False) -> None:
        """Announce in full: what the tracker has of this peer differs, or (`whole`) it did not know the reference."""
        self._step(self._workers.state(self._steps.say_all, whole))

    def peers(self, up: Iterable[PeerInfo], down: Iterable[int]) -> None:
        """Take in who came up and who is gone; offer what is wanted to those who came up."""
        self.holdings.change_peers(up, down)
        self.wants.reoffer()

    def holders(self, member: int, held: Iterable[int], lost: Iterable[int]) -> None:
        """Take in what a member holds now, and offer what is wanted to it."""
        held = list(held)
        self.holdings.change_holders(member, held, lost)
        self.wants.reoffer(self.holdings.paths_of(held))

    def disconnected(self) -> None:
        """End the session with the tracker; what is known goes on being fetched."""
        self._step(self._workers.state(self._steps.disconnected))

    def _session_step(self, step: Deferred[Any]) -> Deferred[None]:
        """Count a step of the conversation; after one that failed, nothing more of this session may be taken in.

        What it failed to note is told again only in a new session: a later step must not move the cursor beyond it.
        So the result fires no sooner than this session is given up, and the next message waits for the result.
        """

        def failed(failure: Failure) -> Deferred[None]:
            if failure.check(IndexLost):
                said = "{reason}; this peer begins a new index, nothing on disk is touched"
                self._log.warn(said, reason=str(failure.value))
                return self.lose_index()
            if failure.check(IndexDamaged):
                return self.index_damaged(str(failure.value))
            self._failed(failure, "session")
            given_up: Deferred[None] = Deferred()

            def give_up() -> None:
                if self.tracker is not None:
                    self.tracker.reconnect()
                given_up.callback(None)

            self._retry(give_up, "session")
            return given_up

        def worked(result: Any) -> Any:
            self.failures.over("session")
            return result

        return self._step(step.addCallbacks(worked, failed))

    def _step(self, step: Deferred[Any]) -> Deferred[None]:
        """Count a step that others started, and take up what it leaves."""
        self._steps_under_way += 1

        def done(result: Outcome | Failure | None) -> None:
            self._steps_under_way -= 1
            if isinstance(result, Failure):
                self._failed(result)
            else:
                self.failures.over("step")
                if result is not None:
                    self._absorb(result)
            if self._recheck_later and self._steps.caught:
                waiting, self._recheck_later = self._recheck_later, []
                for names in waiting:
                    self.recheck_trash(names)
            self._kick()

        return step.addBoth(done)

    def _failed(self, failure: Failure, what: str = "step") -> None:
        """Say what went wrong; what this disk refuses is no fault of the program, and is told in words."""
        if failure.check(IndexDamaged):
            self.index_damaged(str(failure.value))
        elif failure.check(TwistedP2PError, OSError):
            self.failures.trouble(what, trouble_of(failure.value))
        elif not (self._stopped and failure.check(CancelledError)):
            self._log.failure("A step failed", failure=failure)

    def lose_index(self) -> Deferred[None]:
        """Begin a new index, as one who joins, in a new session."""

        def again(outcome: Outcome) -> Outcome:
            self._looked.clear()
            self._to_plan.clear()
            if self.tracker is not None:
                self.tracker.reconnect()
            self._scan()
            self.failures.over("index")
            healing, self._healing = self._healing, []
            for one in healing:
                one.callback(None)
            return outcome

        def failed(failure: Failure) -> None:
            # Until it is done nothing is taken and nothing joined: it must not stay so.
            if failure.check(TwistedP2PError, OSError):
                self.failures.trouble("index", trouble_of(failure.value))
            else:
                self._failed(failure, "index")
            self._retry(self.lose_index, "index")

        losing = self._workers.state(self._steps.lose_index, self._new_rid())
        return self._step(losing.addCallbacks(again, failed))

    def index_damaged(self, reason: str) -> Deferred[None]:
        """Begin a new index, in a new session, in place of one that can not be read; fires when that is done.

        At once the first time. A disk that damages one after the other gets a new one less and less often; until
        then nothing is taken, joined or made.
        """
        done: Deferred[None] = Deferred()
        self._healing.append(done)
        if len(self._healing) == 1:
            said = f"{reason} It is set aside and a new one begun; the files of the folder are not touched."
            self.failures.trouble("index", trouble_of(IndexDamaged(said)))
            now = self._clock.seconds()
            wait = max(0.0, self._next_index - now)
            self._index_wait = INDEX_AGAIN if now > self._next_index + FULL_SCAN else self._index_wait * 2
            self._next_index = now + wait + min(self._index_wait, FULL_SCAN)
            self._later(wait, self.lose_index, self._failed_steps)
        return done

    # -- the loop -----------------------------------------------------------

    def _kick(self) -> None:
        """Start the loop, if it stands, in the next turn of the reactor: news that comes together is taken together."""
        if not self._running and not self._stopped:
            self._running = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        Deferred.fromCoroutine(self._work()).addErrback(self._failed).addCallback(self._rest)

    async def _work(self) -> None:
        while not self._stopped and (step := self._next()) is not None:
            self._absorb(await step())

    def _rest(self, _: None) -> None:
        self._running = False
        if self._next() is not None:
            self._kick()
        self.settle()

    def _next(self) -> Callable[[], Coroutine[Any, Any, Outcome]] | None:
        """Return what begins the next step, or None if there is nothing to do now."""
        if self._stopped:
            return None
        if self._steps.caught and any(map(self.first_list.may_take, self._seen())):
            return self._take
        if self._steps.ignores.under_way and self._steps.caught and not self._relist_failed:
            return self._relist
        if self._to_plan and self._steps.may_act and (not self.first_list.alone or IGNORE_NAME in self._to_plan):
            return self._plan
        return None

    def _seen(self) -> Iterator[str]:
        return (path for looked in self._looked for path in looked.paths())

    async def _relist(self) -> Outcome:
        try:
            outcome = await self._workers.state(self._steps.relist)
        except Exception:
            self._relist_failed = True
            self._failed(Failure(), "relist")
            self._retry(self._relist_again, "relist")
            return Outcome()
        self.failures.over("relist")
        return outcome

    def _relist_again(self) -> None:
        self._relist_failed = False
        self._kick()

    async def _take(self) -> Outcome:
        looked, self._looked = self._looked, []
        if self._steps.ignores.waits:
            looked, self._looked = divide(looked, self.first_list.may_take)
        try:
            outcome = await self._workers.state(self._steps.take, looked)
        except Exception:
            # What was seen must not be forgotten: it is looked at again when the trouble may be over.
            self._failed(Failure(), "take")
            self._retry(lambda: self._look_again([path for look in looked for path in look.paths()]), "take")
            return Outcome()
        self.failures.over("take")
        return outcome

    async def _plan(self) -> Outcome:
        if self.first_list.alone:
            self._to_plan.take_only(IGNORE_NAME)
            paths = [IGNORE_NAME]
        else:
            paths = self._to_plan.take(PATHS_PER_STEP)
        try:
            outcome = await self._workers.state(self._steps.plan, paths)
        except Exception:
            self._failed(Failure(), "plan")
            self._retry(lambda: self._arrived(paths), "plan")
            return Outcome()
        self.failures.over("plan")
        return outcome

    def _look_again(self, paths: Iterable[str]) -> None:
        if self.observer is not None:
            self.observer.look(paths)

    def _retry(self, again: Callable[[], object], what: str) -> None:
        """Make good for a step that failed when the trouble may be over; this peer is not in sync before."""
        self._later(self.failures.next_wait(what), again, self._failed_steps)

    def _later(self, seconds: float, what: Callable[[], object], timers: set[IDelayedCall]) -> None:
        """Do something after some seconds, unless this peer ends before."""
        if self._stopped:
            return

        def due() -> None:
            timers.discard(call)
            what()
            self.settle()

        call = self._clock.callLater(seconds, due)
        timers.add(call)

    def _absorb(self, outcome: Outcome) -> None:
        """Hand on what a step left; what is left when this peer ends is found again at the next start."""
        self.changed(outcome.changes)  # which is not found again
        if self._stopped:
            return
        self.first_list.mind()
        if outcome.plan_after_scan is not None:
            self._after_scan |= outcome.plan_after_scan
            self.rescan()
        for batch in outcome.batches:
            if self.tracker is not None:
                self.tracker.announce(batch)
        self._to_plan.update(outcome.plan)
        if outcome.look and self.observer is not None:
            self.observer.look(outcome.look)
        held_up = {path for path, _ in outcome.errors}
        wanted = {want.path for want in outcome.wants}
        for path in outcome.planned:
            if path not in held_up:
                self.failures.tried(path, path not in wanted)
        self.wants.replace(outcome.planned, outcome.wants, held_up)
        for path, trouble in outcome.errors:
            self.failures.failed(path, trouble)
        if outcome.displaced:
            # A program that had one of these open may have gone on writing to it.
            self._later(TRASH_AGAIN, lambda: self.recheck_trash(outcome.displaced), self._rechecks)

    def _scan(self) -> None:
        if self.observer is not None:
            self.observer.scan()

    def scanned(self) -> None:
        """Take up what waited for the end of a full scan."""
        waited, self._after_scan = self._after_scan, set()
        self._arrived(waited)
        self.recheck_trash()

    def recheck_trash(self, names: tuple[str, ...] | None = None) -> None:
        """Look again at these files in the trash, or at all (after a full scan): somebody may have written to them.

        What was written becomes a version, and so it waits, like every save, until others have been heard.
        """
        if not self._steps.caught:
            self._recheck_later.append(names)
            return

        def worked(outcome: Outcome) -> Outcome:
            self.failures.over("trash")
            if names is None or not self._steps.trash_days:
                self._purge(Wish(self._steps.trash_days))
            return outcome

        def failed(failure: Failure) -> None:
            # What a program wrote there must not be forgotten.
            self._failed(failure, "trash")
            self._retry(lambda: self.recheck_trash(names), "trash")

        self._step(self._workers.state(self._steps.recheck_trash, names).addCallbacks(worked, failed))

    def _purge(self, wish: Wish, place: str | None = None) -> None:
        """Remove from the trash what is wished, some files in each step."""

        def go_on(purged: Purged) -> None:
            if purged.next is not None and not self._stopped:
                self._purge(wish, purged.next)

        self._step(self._workers.state(self._steps.purge_trash, wish, place).addCallback(go_on))

    def purge_trash(self, wish: Wish, place: str | None) -> Deferred[Purged]:
        """Remove what a person wishes of some files of the trash; what was written to since it came is brought back."""

        def bring_back(purged: Purged) -> Purged:
            if purged.written:
                self.recheck_trash(purged.written)
            return purged

        return self._workers.state(self._steps.purge_trash, wish, place).addCallback(bring_back)

    # -- what did not work, and the end -------------------------------------

    def _arrived(self, paths: Iterable[str]) -> None:
        self._to_plan.update(paths)
        self._kick()

    def _not_fetched(self, paths: Iterable[str], trouble: Trouble) -> None:
        for path in paths:
            self.failures.failed(path, trouble)

    def stop(self) -> None:
        """Take up nothing more; what runs in the state thread finishes by itself."""
        self._stopped = True
        self.failures.stop()
        for timer in (*self._failed_steps, *self._rechecks):
            timer.cancel()
        self.first_list.stop()
        for timers in (self._failed_steps, self._rechecks):
            timers.clear()
        self.wants.stop()
        for one in list(self._waiting):
            one.cancel()
