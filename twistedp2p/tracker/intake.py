"""How a tracker takes in the batches of one member: put together, completed, applied and acknowledged, in order.

1. `Announce`: a piece of a batch; the last one ends it, and the batch waits for its turn;
2. `Need`: the records of the batch that the directory lacks; the member answers with exactly those (`Blobs`),
   in that order, in as many messages as it takes; a shorter answer says that it has them no more;
3. `Announced`: the batch is applied; or `Need` with `everything`: a reference, a number or a record can not be
   resolved, and all that comes before the next full batch is void.

Nothing here knows of connections; what is said leaves through an `Outlet`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.messages.tracker import Announce, Announced, Blobs, Need
from twistedp2p.ranges import to_ranges
from twistedp2p.tracker.batch import Assembly, Batch
from twistedp2p.tracker.registry import Registry, Session
from twistedp2p.tracker.share_directory import Unresolved
from twistedp2p.wire import pack

__all__ = ["Intake", "Outlet"]

_KEY_SIZE = 18
_RANGE_SIZE = 20


class Outlet(Protocol):
    """Where messages leave."""

    def send_stream(self, messages: Iterator[object]) -> Deferred[None]:
        """Send messages at the pace of the reader; fires when they are written."""


class Intake:
    """The batches of one member; `failed` is told why it stopped, unless it was stopped."""

    def __init__(
        self, outlet: Outlet, registry: Registry, session: Session, failed: Callable[[Failure], object]
    ) -> None:
        self._outlet = outlet
        self._registry = registry
        self._session = session
        self._failed = failed
        self._assembly: Assembly | None = None
        self._waiting: deque[Batch] = deque()
        self._current: Batch | None = None
        self._work: Deferred[None] | None = None
        self._taking = False
        self._void = False
        self._wanted = 0
        self._got: list[bytes] = []
        self._reserved = 0
        self._complete: Deferred[list[bytes]] | None = None

    @property
    def busy(self) -> bool:
        """Whether a batch is under way, so that what the directory has of the member is not yet all it said."""
        return self._assembly is not None or self._current is not None or self._void

    def announce(self, piece: Announce) -> None:
        """Take a piece of a batch; raises `ProtocolViolation` if it does not fit what came before."""
        if self._assembly is None:
            if len(self._waiting) >= limits.BATCHES_IN_FLIGHT:
                raise ProtocolViolation("too many batches wait for their acknowledgement")
            self._assembly = Assembly()
        batch = self._assembly.add(piece)
        if batch is None:
            return
        self._assembly = None
        self._waiting.append(batch)
        if not self._taking:
            # What needs no answer ends before `fromCoroutine` returns: only the flag tells that it has.
            self._taking = True
            self._work = Deferred.fromCoroutine(self._take_all())
            self._work.addErrback(self._stopped)

    def blobs(self, message: Blobs) -> None:
        """Take records that were needed; raises `ProtocolViolation` if they were not."""
        if self._complete is None or self._current is None or message.batch != self._current.number:
            raise ProtocolViolation("records came that nobody asked for")
        if len(self._got) + len(message.blobs) > self._wanted or not (message.blobs or message.last):
            raise ProtocolViolation("other records came than were asked for")
        size = sum(map(len, message.blobs))
        self._registry.reserve(size)
        self._reserved += size
        self._got += message.blobs
        if message.last or len(self._got) == self._wanted:
            complete, self._complete = self._complete, None
            complete.callback(self._got)

    def stop(self) -> None:
        """Let go of everything: the connection is gone."""
        self._failed = lambda failure: None
        self._waiting.clear()
        if self._work is not None:
            self._work.cancel()

    def _stopped(self, failure: Failure) -> None:
        self._taking = False
        self._failed(failure)

    async def _take_all(self) -> None:
        while self._waiting:
            self._current = self._waiting.popleft()
            try:
                await self._take(self._current)
            finally:
                self._current = None
                self._registry.release(self._reserved)
                self._reserved = 0
        self._taking = False

    async def _take(self, batch: Batch) -> None:
        """Apply one batch and acknowledge it, or ask for everything."""
        if self._void and not batch.full:
            return
        blobs: dict[bytes, bytes] = {}
        try:
            while missing := await self._session.missing(batch, blobs):
                blobs.update(zip(missing, await self._ask(batch.number, missing), strict=False))
                if missing[-1] not in blobs:
                    raise Unresolved("the member has a record no more")
            applied = await self._session.apply(batch, blobs)
        except Unresolved:
            self._void = True
            await self._outlet.send_stream(iter([Need(batch.number, True, everything=True)]))
            return
        self._void = False
        if applied is not None:
            fields = {"numbers": to_ranges(applied.numbers)}
            pieces = pack(fields, {"numbers": lambda _: _RANGE_SIZE})
            await self._outlet.send_stream(_with_last(pieces, Announced, batch.number))

    async def _ask(self, number: int, keys: list[bytes]) -> list[bytes]:
        """Ask for records and return them; fewer if the member has not all of them any more."""
        self._wanted, self._got = len(keys), []
        complete = self._complete = Deferred()
        pieces = pack({"keys": keys}, {"keys": lambda _: _KEY_SIZE})
        await self._outlet.send_stream(_with_last(pieces, Need, number))
        blobs: list[bytes] = await complete
        return blobs


def _with_last(
    pieces: Iterator[dict[str, tuple[object, ...]]], message: Callable[..., object], number: int
) -> Iterator[object]:
    """Yield a message for each piece, at least one, the last of them marked as such."""
    before: dict[str, tuple[object, ...]] = next(pieces, {})
    for piece in pieces:
        yield message(number, False, **before)
        before = piece
    yield message(number, True, **before)
