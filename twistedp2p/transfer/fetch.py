"""Fetching contents from whoever holds them, until they lie complete and verified in the parts store.

    want -> (a holder) manifest -> parts.open -> (many holders) runs of chunks -> parts: write, finish -> fired
    want -> (a holder) many small contents in one reply -> parts: one call for all of them -> fired

`swarm` decides whom to ask for what; `links` has the connections; `parts` writes, in worker threads. What is in
flight or waits to be written counts against the swarm's limits, so memory is bounded whichever side is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import CorruptContent, TwistedP2PError, Unreachable
from twistedp2p.framing.alarm import Alarm
from twistedp2p.transfer.asks import Ask, AskContents, AskManifest, AskRun
from twistedp2p.transfer.assembling import Cut, Part, Parts, store_run
from twistedp2p.transfer.chunking import Manifest, manifest_bytes_most
from twistedp2p.transfer.client import NotSent
from twistedp2p.transfer.connections import Connection, Connections
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.transfer.progress import Meter, Progress
from twistedp2p.transfer.swarm import Swarm

__all__ = ["Fetcher"]


_NOTHING = content_id_of(b"")


@define(eq=False)
class _Fetch:
    """One content that is being fetched, and who waits for it."""

    content: bytes
    size: int
    priority: int
    results: list[Deferred[None]] = field(factory=list)
    part: Part | None = None
    manifest: Manifest | None = None
    lock: DeferredLock = field(factory=DeferredLock)
    storing: bool = False


class Fetcher:
    """Fetches what is wanted; lives as long as the peer.

    Args:
        links: the connections.
        parts: where contents are assembled.
        run_in_thread: runs a blocking function with arguments in a worker thread.
        clock: tells the time.
    """

    _log = Logger()

    def __init__(
        self, *, links: Connections, parts: Parts, run_in_thread: Callable[..., Deferred[Any]], clock: IReactorTime
    ) -> None:
        self._links = links
        self._parts = parts
        self._in_thread = run_in_thread
        self._clock = clock
        self._swarm = Swarm()
        self._fetches: dict[bytes, _Fetch] = {}
        self._flights: dict[Ask, Deferred[Any]] = {}
        self._connecting: dict[bytes, Alarm] = {}
        self._meter = Meter()
        self._pump_at = Alarm(clock, self._pump)
        self._due = 0.0
        self._some_ended = False

    # -- what is wanted --

    def __contains__(self, content: object) -> bool:
        return content in self._fetches

    def want(
        self,
        content: bytes,
        size: int,
        manifest: bytes,
        *,
        holders: Collection[bytes],
        others: Collection[bytes] = (),
        priority: int = 0,
    ) -> Deferred[None]:
        """Fetch a content; several wants of one content share one fetch.

        Args:
            content: its id.
            size: bytes, as its record says.
            manifest: the id of its manifest; empty for a small content.
            holders: nodes that hold it.
            others: nodes to ask while no holder can be.
            priority: a smaller number is fetched sooner.

        Returns:
            A Deferred that fires when the content is in the parts store. It fails if the disk does, with
            `CorruptContent` if the record is wrong, or with `CancelledError`; otherwise it goes on until there is
            a holder. Cancelling it ends the fetch if nobody else waits for it.
        """
        result: Deferred[None] = Deferred(partial(self._abandon, content))
        fetch = self._fetches.get(content)
        if fetch is None:
            fetch = self._fetches[content] = _Fetch(content, size, priority)
            fetch.results.append(result)
            self._begin(fetch, manifest, holders, others, priority)
        else:
            fetch.results.append(result)
            self._swarm.holders(content, dict.fromkeys(holders), others, self._clock.seconds())
            self.prioritise(content, min(priority, fetch.priority))
        self._pump_in(0.0)
        return result

    def update_holders(
        self,
        content: bytes,
        holders: Mapping[bytes, frozenset[int] | None] | Collection[bytes],
        others: Collection[bytes] = (),
    ) -> None:
        """Replace who holds a content that is being fetched; a mapping tells which chunks each has (None: all)."""
        known = dict(holders) if isinstance(holders, Mapping) else dict.fromkeys(holders)
        self._swarm.holders(content, known, others, self._clock.seconds())
        self._pump_in(0.0)

    def link_changed(self, node: bytes) -> None:
        """The connection with a node came or went: one that is there can be asked at once, whoever dialled."""
        if self._links.link(node) is not None:
            self._swarm.reachable(node, self._clock.seconds())
            if self._fetches:
                self._pump_in(0.0)

    def prioritise(self, content: bytes, priority: int) -> None:
        """Fetch a content sooner, or later, than so far."""
        fetch = self._fetches.get(content)
        if fetch is None:
            return
        fetch.priority = priority
        self._swarm.prioritise(content, priority, self._clock.seconds())
        self._pump_in(0.0)

    def cancel(self, content: bytes) -> None:
        """Give up a content: all who wait for it hear `CancelledError`; what was written stays."""
        self._end(content, Failure(CancelledError()))

    def stop(self) -> None:
        """Give up everything."""
        for content in list(self._fetches):
            self.cancel(content)
        self._pump_at.stop()

    def missing(self, content: bytes) -> int | None:
        """Return how many bytes of a content are not here yet; None if it is not being fetched."""
        return self._swarm.missing(content) if content in self._fetches else None

    def asked(self) -> dict[bytes, set[bytes]]:
        """Return which nodes were asked for each content, and did not answer yet."""
        found: dict[bytes, set[bytes]] = {}
        for ask in self._flights:
            for content in ask.contents if isinstance(ask, AskContents) else (ask.content,):
                found.setdefault(content, set()).add(ask.node)
        return found

    def progress(self) -> Progress:
        """Return how far fetching has come."""
        return Progress(
            contents=len(self._fetches),
            wanted=sum(fetch.size for fetch in self._fetches.values()),
            missing=sum(map(self._swarm.missing, self._fetches)),
            received=self._meter.total,
            speed=self._meter.speed(self._clock.seconds()),
            by_node=dict(self._meter.by_node),
        )

    def _begin(
        self, fetch: _Fetch, manifest: bytes, holders: Collection[bytes], others: Collection[bytes], priority: int
    ) -> None:
        small = fetch.size <= limits.SMALL_BYTES
        if not small and (not manifest or fetch.size > limits.CONTENT_BYTES):
            self._end(
                fetch.content, Failure(CorruptContent("The record of this file is wrong: it can not be fetched."))
            )
            return
        most = 0 if small else manifest_bytes_most(fetch.size)
        self._swarm.want(
            fetch.content,
            fetch.size,
            holders,
            self._clock.seconds(),
            manifest=b"" if small else manifest,
            manifest_bytes=most,
            others=others,
            priority=priority,
        )
        if fetch.content == _NOTHING:  # nobody needs to send nothing
            self._look_after(self._store_small(b"", [(fetch.content, b"")]), (fetch.content,))

    def _abandon(self, content: bytes, result: Deferred[None]) -> None:
        fetch = self._fetches.get(content)
        if fetch is not None and result in fetch.results:
            fetch.results.remove(result)
            if not fetch.results:
                self.cancel(content)

    def _end(self, content: bytes, outcome: Failure | None) -> None:
        """A content is here, or given up: tell all who wait."""
        fetch = self._fetches.pop(content, None)
        if fetch is None:
            return
        self._swarm.drop(content)
        self._some_ended = True
        self._pump_in(0.0)
        part, fetch.part = fetch.part, None
        if part is not None:
            self._look_after(self._locked(fetch, part.close), ())
        for result in fetch.results:
            result.errback(outcome) if outcome is not None else result.callback(None)

    # -- asking --

    def _pump_in(self, seconds: float) -> None:
        due = self._clock.seconds() + seconds
        if not self._pump_at.is_set or due < self._due:
            self._due = due
            self._pump_at.set(seconds)

    def _pump(self) -> None:
        """Ask every node that there is something to ask of, in turns, until all have enough to do."""
        now = self._clock.seconds()
        if self._some_ended:
            self._some_ended = False
            for useless in [reply for ask, reply in self._flights.items() if self._swarm.useless(ask)]:
                useless.cancel()
        nodes = self._swarm.nodes(now)
        while nodes:
            nodes = [node for node in nodes if self._ask_next(node, now)]
        wake = self._swarm.wake_at()
        if wake is not None:
            self._pump_in(max(wake - now, 0.0))

    def _ask_next(self, node: bytes, now: float) -> bool:
        """Ask a node one thing; return whether there may be more."""
        link = self._links.link(node)
        if link is None:
            self._connect(node, now)
            return False
        ask = self._swarm.next_for(node, now)
        if ask is None:
            return False
        match ask:
            case AskContents():
                work = self._fetch_contents(link, ask)
            case AskManifest():
                work = self._fetch_manifest(link, ask)
            case AskRun():
                work = self._fetch_run(link, ask)
        self._look_after(work, ask.contents if isinstance(ask, AskContents) else (ask.content,), ask)
        return True

    def _connect(self, node: bytes, now: float) -> None:
        if node in self._connecting:
            return
        late = self._connecting[node] = Alarm(self._clock, lambda: self._late(node))
        late.set(limits.DIAL_ME_AFTER)
        self._links.connection(node).addCallbacks(
            self._connected, self._not_connected, callbackArgs=(node,), errbackArgs=(node,)
        )

    def _late(self, node: bytes) -> None:
        """The connection with a node takes its time: ask others meanwhile for what it has."""
        now = self._clock.seconds()
        self._swarm.unreachable(node, now + limits.HANDSHAKE + limits.DIAL_ME_WAIT, now)
        self._pump_in(0.0)

    def _connected(self, _: object, node: bytes) -> None:
        self._connecting.pop(node).stop()
        self._swarm.reachable(node, self._clock.seconds())
        self._pump_in(0.0)

    def _not_connected(self, failure: Failure, node: bytes) -> None:
        self._connecting.pop(node).stop()
        if not failure.check(TwistedP2PError, CancelledError):
            self._log.failure("Connecting failed", failure=failure)
        now = self._clock.seconds()
        self._swarm.unreachable(node, now + max(self._links.wait_for(node), limits.BACKOFF_FIRST), now)
        self._pump_in(0.0)

    def _look_after(self, work: Any, contents: Iterable[bytes], ask: Ask | None = None) -> Deferred[None]:
        """Run a coroutine to its end; a bug in it ends the fetches that it was for, not the others.

        The result fires when it has ended, and never fails.
        """

        def broke(failure: Failure) -> None:
            self._log.failure("Fetching failed", failure=failure)
            for content in contents:
                self._end(content, failure)

        def ended(_: object) -> None:
            if ask is not None:
                self._swarm.again(ask, self._clock.seconds())
                self._pump_in(0.0)

        return Deferred.fromCoroutine(work).addErrback(broke).addBoth(ended)

    async def _reply(self, ask: Ask, lacking: Callable[[], Iterable[bytes]], reply: Deferred[Any]) -> Any:
        """Return the reply to a question; None if there is none, and then note that the node failed with `lacking`."""
        self._flights[ask] = reply
        now = self._clock.seconds
        try:
            return await reply
        except (CancelledError, Unreachable):
            pass  # it is not to blame for what it was asked for
        except CorruptContent:
            for content in lacking():
                self._swarm.corrupt(content, ask.node, now())
        except TwistedP2PError as error:
            self._log.debug("A holder failed: {error}", error=error)
            for content in lacking():
                self._swarm.refused(content, ask.node, now())
        finally:
            self._flights.pop(ask, None)
        return None

    # -- small contents --

    async def _fetch_contents(self, link: Connection, ask: AskContents) -> None:
        got: dict[bytes, bytes] = {}
        reply = link.fetch_contents(ask.contents, got.__setitem__, priority=ask.priority)
        rest: NotSent | None = await self._reply(ask, lambda: set(ask.contents).difference(got), reply)
        if rest is not None:
            for content in rest.missing:
                self._swarm.refused(content, ask.node, self._clock.seconds())
            for content in rest.corrupt:
                self._swarm.corrupt(content, ask.node, self._clock.seconds())
        self._meter.add(ask.node, sum(map(len, got.values())), self._clock.seconds())
        await self._store_small(ask.node, list(got.items()))

    async def _store_small(self, node: bytes, got: list[tuple[bytes, bytes]]) -> None:
        """Write small contents that are still wanted, all in one call; nothing is written by two at a time."""
        wanted = []
        for content, data in got:
            fetch = self._fetches.get(content)
            if fetch is not None and not fetch.storing:
                fetch.storing = True
                wanted.append((content, data))
        if not wanted:
            return
        try:
            await self._in_thread(self._parts.put_small, wanted)
        except (TwistedP2PError, OSError) as error:
            for content, _ in wanted:
                self._end(content, Failure(error))
            return
        for content, _ in wanted:
            self._swarm.got(content, (0,), node)
            self._end(content, None)

    # -- large contents --

    async def _fetch_manifest(self, link: Connection, ask: AskManifest) -> None:
        reply = link.fetch_manifest(ask.manifest, most=ask.size, priority=ask.priority)
        encoded = await self._reply(ask, lambda: (ask.content,), reply)
        fetch = self._fetches.get(ask.content)
        if encoded is None or fetch is None:
            return
        try:
            await self._locked(fetch, self._open, fetch, encoded)
        except (TwistedP2PError, OSError) as error:
            self._end(ask.content, Failure(error))
            return
        if self._fetches.get(ask.content) is not fetch:  # given up while it was being opened, or just after
            part, fetch.part = fetch.part, None
            if part is not None:
                await self._locked(fetch, part.close)
            return
        assert fetch.part is not None and fetch.manifest is not None
        missing = fetch.part.missing()
        lengths = tuple(length for _, length in fetch.manifest.chunks)
        self._swarm.chunks(ask.content, lengths, missing, self._clock.seconds())
        if not missing:
            await self._finish(fetch)

    def _open(self, fetch: _Fetch, encoded: bytes) -> None:
        """In a thread: make sense of a manifest, and see what is on disk already."""
        manifest = Manifest.parse(encoded)
        if manifest.size != fetch.size:
            raise CorruptContent("The record of this file is wrong: its size is not that of its chunks.")
        fetch.part, fetch.manifest = self._parts.open(fetch.content, fetch.size, manifest), manifest

    async def _fetch_run(self, link: Connection, ask: AskRun) -> None:
        fetch = self._fetches.get(ask.content)
        if fetch is None or fetch.manifest is None or fetch.part is None:
            return
        cut = Cut([length for _, length in fetch.manifest.chunks[ask.first : ask.first + ask.count]])
        storing: list[Deferred[None]] = []  # at most one

        def take(offset: int, data: bytes | memoryview) -> None:
            cut.take(offset, data)
            # What has come is written while the rest is on its way: whatever ends this process, or that of the holder,
            # costs the chunk that is half here.
            if not storing or storing[-1].called:
                storing[:] = [self._look_after(self._store_arrived(fetch, ask, cut), (ask.content,))]

        reply = link.fetch_range(ask.content, ask.offset, ask.size, take, priority=ask.priority)
        await self._reply(ask, lambda: (ask.content,), reply)
        self._meter.add(ask.node, cut.taken, self._clock.seconds())
        for under_way in storing:
            await under_way
        await self._store_arrived(fetch, ask, cut)

    async def _store_arrived(self, fetch: _Fetch, ask: AskRun, cut: Cut) -> None:
        """Write the chunks that are complete, and those that become complete meanwhile."""
        while self._fetches.get(ask.content) is fetch:
            place, chunks = cut.chunks()
            if not chunks:
                return
            try:
                good: list[int] = await self._locked(fetch, self._store, fetch, ask.first + place, chunks)
            except (TwistedP2PError, OSError) as error:
                self._end(ask.content, Failure(error))
                return
            if self._fetches.get(ask.content) is not fetch or fetch.part is None:
                return
            if len(good) < len(chunks):
                self._swarm.corrupt(ask.content, ask.node, self._clock.seconds())
            if self._swarm.got(ask.content, good, ask.node):
                await self._finish(fetch)

    def _store(self, fetch: _Fetch, first: int, chunks: list[bytes]) -> list[int]:
        """In a thread: write the chunks that are right, unless the fetch ended while this waited for its turn."""
        if fetch.part is None or fetch.manifest is None:
            return []
        return store_run(fetch.part, fetch.manifest, first, chunks)

    async def _finish(self, fetch: _Fetch) -> None:
        part, fetch.part = fetch.part, None  # whatever still comes is too late
        try:
            await self._locked(fetch, self._parts.finish, part)
        except (TwistedP2PError, OSError) as error:
            self._end(fetch.content, Failure(error))
            return
        self._end(fetch.content, None)

    async def _locked(self, fetch: _Fetch, work: Callable[..., Any], *args: Any) -> Any:
        """Run `work` in a thread while no other works on that content."""
        await fetch.lock.acquire()
        try:
            return await self._in_thread(work, *args)
        finally:
            fetch.lock.release()
