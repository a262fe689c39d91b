"""Whom to ask for which content next.  Pure: no clock, no Twisted; `now` is an argument, in seconds.

A content is a number of *pieces*: a small one is a single piece, a large one is its chunks. Each content waits in the
queue of every holder that may be asked for it (small ones in those of the few holders that rendezvous hashing ranks
first), ordered by priority, small before large, first-ranked holder first, then by age. A holder with room takes from
its own queue: so small contents spread over the holders, and a holder that has done its own share takes from the
others'. Runs of a large content go to all its holders at once; the faster one simply comes back more often.

`next_for` says what to ask of a node; the caller reports what became of it with `got`, `refused`, `corrupt`, and then
ends the question with `again`, which puts back what did not come. What one slow holder has been asked for is, at the
end, asked of an idle one too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from math import inf

from twistedp2p import limits
from twistedp2p.transfer.asks import Ask, AskContents, AskManifest, AskRun, pieces_of
from twistedp2p.transfer.wanted import FIRST_WINDOW, Asked, Entry, Load, Wanted

__all__ = ["Swarm"]

_SMALL_RANKS = 4  # a small content waits in the queues of this many holders: more would only cost memory
_LARGE_RANKS = 16  # a large one in those of this many: more than saturate any link
_SLOW_AFTER = 2.0  # seconds after which what was asked of one holder is asked of an idle one too
_LOOK_AGAIN = 0.25  # seconds until it is looked at again whether somebody is idle
_MIX = 0x9E3779B97F4A7C15  # odd, from the golden ratio: spreads content ids over nodes


class Swarm:
    """Everything that is wanted, who holds it, and what is in flight.

    At most `limits.CONNECTION_BYTES_IN_FLIGHT` and one more question are in flight with one node, and
    `limits.BYTES_IN_FLIGHT` and one more in all; bytes count until the question has ended, that is until they
    are stored. A new holder begins with less, so that slow ones do not take up the whole.
    """

    def __init__(self) -> None:
        self._wanted: dict[bytes, Wanted] = {}
        self._queues: dict[bytes, list[Entry]] = {}
        self._loads: dict[bytes, Load] = {}
        self._later: list[tuple[float, bytes]] = []
        self._size = 0
        self._orders = count()

    # -- what is wanted --

    def __contains__(self, content: object) -> bool:
        return content in self._wanted

    def __len__(self) -> int:
        return len(self._wanted)

    def want(
        self,
        content: bytes,
        size: int,
        holders: Iterable[bytes],
        now: float,
        *,
        manifest: bytes = b"",
        manifest_bytes: int = 0,
        others: Iterable[bytes] = (),
        priority: int = 0,
    ) -> None:
        """Begin to want a content; a large one (with a manifest id) is asked for once `chunks` was called.

        Args:
            holders: nodes that hold it.
            others: nodes to try while no holder can be asked.
            priority: smaller is sooner, for example the size.
        """
        wanted = Wanted(
            content, size, manifest, manifest_bytes, priority, next(self._orders), dict.fromkeys(holders), set(others),
            lengths=None if manifest else (size,),
        )  # fmt: skip
        wanted.missing = size
        if not manifest:
            wanted.offsets, wanted.left = [0], 1
            wanted.put_back(0)
        self._wanted[content] = wanted
        self._queue(wanted, now)

    def chunks(self, content: bytes, lengths: tuple[int, ...], missing: Collection[int], now: float) -> None:
        """The manifest of a large content is known: these are its chunks, and those that are missing here."""
        wanted = self._wanted.get(content)
        if wanted is None:
            return
        wanted.lengths, offset = lengths, 0
        for length in lengths:
            wanted.offsets.append(offset)
            offset += length
        wanted.asked.clear()
        wanted.todo.clear()
        wanted.left = len(missing)
        wanted.missing = sum(lengths[piece] for piece in missing)
        for piece in missing:
            wanted.put_back(piece)
        self._queue(wanted, now)

    def holders(
        self, content: bytes, holders: Mapping[bytes, frozenset[int] | None], others: Iterable[bytes], now: float
    ) -> None:
        """Replace the holders of a content: each with the chunks that it has, or None if it has all."""
        wanted = self._wanted.get(content)
        if wanted is not None:
            wanted.holders, wanted.others = dict(holders), set(others)
            self._queue(wanted, now)

    def prioritise(self, content: bytes, priority: int, now: float) -> None:
        """Ask for a content sooner or later than so far."""
        wanted = self._wanted.get(content)
        if wanted is not None and wanted.priority != priority:
            wanted.priority = priority
            wanted.queued.clear()
            self._queue(wanted, now)

    def drop(self, content: bytes) -> None:
        """Want this content no more."""
        self._wanted.pop(content, None)

    # -- what became of a question --

    def got(self, content: bytes, pieces: Collection[int], node: bytes) -> bool:
        """These pieces have come from that node and are stored; return whether the content is complete."""
        wanted = self._wanted.get(content)
        if wanted is None or wanted.lengths is None:
            return False
        load = self._load(node)
        for piece in pieces:
            if piece in wanted.asked or piece in wanted.todo:
                wanted.asked.pop(piece, None)
                wanted.todo.discard(piece)
                wanted.left -= 1
                wanted.missing -= wanted.lengths[piece]
                load.window = min(limits.CONNECTION_BYTES_IN_FLIGHT, load.window + wanted.lengths[piece])
        return wanted.left == 0

    def missing(self, content: bytes) -> int:
        """Return how many bytes of a content have not come yet."""
        wanted = self._wanted.get(content)
        return 0 if wanted is None else wanted.missing

    def refused(self, content: bytes, node: bytes, now: float) -> None:
        """That node does not hold it, or failed: it is not asked for this content for `limits.HOLDER_RETRY`."""
        wanted = self._wanted.get(content)
        if wanted is not None:
            wanted.retry[node] = now + limits.HOLDER_RETRY

    def corrupt(self, content: bytes, node: bytes, now: float) -> None:
        """That node served bad bytes: it is not asked for this content for `limits.BAD_HOLDER`.

        A single rotten file must not cut off the only holder of everything else; but after
        `limits.BAD_STRIKES` of them the node is asked for nothing at all for that time.
        """
        load = self._load(node)
        load.strikes += 1
        if load.strikes >= limits.BAD_STRIKES:
            load.strikes = 0
            self._stop_asking(node, load, now)
        wanted = self._wanted.get(content)
        if wanted is not None:
            wanted.retry[node] = now + limits.BAD_HOLDER

    def unreachable(self, node: bytes, until: float, now: float) -> None:
        """That node can not be asked before `until`: its share goes to others."""
        load = self._load(node)
        load.down, load.window = until, FIRST_WINDOW
        self._empty_queue(node, now)

    def reachable(self, node: bytes, now: float) -> None:
        """That node can be asked again, sooner than was said: it takes its share of what is wanted."""
        load = self._load(node)
        if load.down <= now:
            return
        load.down = now
        for wanted in self._wanted.values():
            if node in wanted.holders or node in wanted.others:
                self._queue(wanted, now)

    def again(self, ask: Ask, now: float) -> None:
        """That question has ended: whatever did not come is asked for again, and its bytes count no more."""
        load = self._load(ask.node)
        load.requests -= 1
        load.size -= ask.size
        self._size -= ask.size
        for content, pieces in pieces_of(ask):
            wanted = self._wanted.get(content)
            if wanted is None or (isinstance(ask, AskManifest) and wanted.lengths is not None):
                continue
            for piece in pieces:
                asked = wanted.asked.get(piece)
                if asked is not None and ask.node in asked.nodes:
                    asked.nodes.discard(ask.node)
                    if not asked.nodes:
                        del wanted.asked[piece]
                        wanted.put_back(piece)
            self._queue(wanted, now)

    def useless(self, ask: Ask) -> bool:
        """Whether nothing that was asked for is missing any more."""
        if isinstance(ask, AskManifest):
            return ask.content not in self._wanted
        return not any(
            content in self._wanted and any(piece in self._wanted[content].asked for piece in pieces)
            for content, pieces in pieces_of(ask)
        )

    # -- what to ask next --

    def nodes(self, now: float) -> list[bytes]:
        """Return the nodes that there may be something to ask of."""
        while self._later and self._later[0][0] <= now:
            when, content = heappop(self._later)
            wanted = self._wanted.get(content)
            if wanted is not None and wanted.look_at == when:
                wanted.look_at = inf
                self._queue(wanted, now)
        return [node for node, queue in self._queues.items() if queue and self._may_ask(node, now)]

    def wake_at(self) -> float | None:
        """Return when `nodes` may have more to say although nothing happened; None: never."""
        return self._later[0][0] if self._later else None

    def next_for(self, node: bytes, now: float) -> Ask | None:
        """Return the next question for a node, which then counts as in flight; None: nothing (now)."""
        load = self._load(node)
        full = load.size >= load.window or load.requests >= limits.REQUESTS_IN_FLIGHT // 2
        if full or self._size >= limits.BYTES_IN_FLIGHT or not self._may_ask(node, now):
            return None
        queue = self._queues.get(node, [])
        ask: Ask | None = None
        while queue and ask is None:
            wanted = self._head(queue, node, now)
            if wanted is None:
                continue
            if not wanted.manifest:
                ask = self._ask_contents(queue, node, now)
            elif wanted.lengths is None:
                ask = self._ask_manifest(wanted, node, now)
            else:
                ask = self._ask_run(wanted, node, now)
            if ask is None:
                self._leave_queue(queue, node, now)
        if not queue:
            self._queues.pop(node, None)
        if ask is not None:
            load.requests += 1
            load.size += ask.size
            self._size += ask.size
        return ask

    # -- how --

    def _load(self, node: bytes) -> Load:
        return self._loads.setdefault(node, Load())

    def _may_ask(self, node: bytes, now: float) -> bool:
        load = self._load(node)
        return max(load.banned, load.down) <= now

    def _free_at(self, wanted: Wanted, node: bytes) -> float:
        """Return from when on this node may be asked for this content."""
        load = self._load(node)
        return max(wanted.retry.get(node, 0.0), load.banned, load.down)

    def _askable(self, wanted: Wanted, now: float) -> list[bytes]:
        """Return the nodes to ask for this content: its holders, or the others if no holder can be asked."""
        for nodes in (wanted.holders, wanted.others):
            free = [node for node in nodes if self._free_at(wanted, node) <= now]
            if free:
                return free
        return []

    def _queue(self, wanted: Wanted, now: float) -> None:
        """Put a content into the queues of those that may be asked for it now; if nobody may, look again later."""
        if not self._has_work(wanted):
            return
        nodes = self._askable(wanted, now)
        if not nodes:
            times = [self._free_at(wanted, node) for node in (*wanted.holders, *wanted.others)]
            if times:
                self._look_again(wanted, min(times))
            return
        seed = int.from_bytes(wanted.content[:8], "big")
        if len(nodes) > 1:
            nodes.sort(key=lambda node: ((int.from_bytes(node[:8], "big") ^ seed) * _MIX) % 2**64)
        large = bool(wanted.manifest)
        for rank, node in enumerate(nodes[: _LARGE_RANKS if large else _SMALL_RANKS]):
            if node not in wanted.queued:
                wanted.queued.add(node)
                entry = Entry(wanted.priority, large, 0 if large else rank, wanted.order, wanted.content)
                heappush(self._queues.setdefault(node, []), entry)

    def _look_again(self, wanted: Wanted, when: float) -> None:
        if when < wanted.look_at:
            wanted.look_at = when
            heappush(self._later, (when, wanted.content))

    def _has_work(self, wanted: Wanted) -> bool:
        if wanted.lengths is None:
            return 0 not in wanted.asked
        return bool(wanted.todo or wanted.asked)

    def _head(self, queue: list[Entry], node: bytes, now: float) -> Wanted | None:
        """Return what the first entry of a queue stands for; None if it was stale, and is removed."""
        entry = queue[0]
        wanted = self._wanted.get(entry.content)
        if wanted is None or wanted.order != entry.order or entry.priority != wanted.priority:
            heappop(queue)
            return None
        known = node in wanted.holders or node in wanted.others
        if not known or self._free_at(wanted, node) > now or not self._has_work(wanted):
            heappop(queue)
            wanted.queued.discard(node)
            self._queue(wanted, now)
            return None
        return wanted

    def _leave_queue(self, queue: list[Entry], node: bytes, now: float) -> None:
        """Take the first entry out: nothing to ask of this node; others may be at it, and may be slow: look again."""
        wanted = self._wanted[heappop(queue).content]
        wanted.queued.discard(node)
        if wanted.asked and not any(node in asked.nodes for asked in wanted.asked.values()):
            oldest = min(asked.since for asked in wanted.asked.values())
            self._look_again(wanted, max(oldest + _SLOW_AFTER, now + _LOOK_AGAIN))

    def _take(self, wanted: Wanted, node: bytes, now: float) -> int | None:
        """Return the next piece of a content to ask of a node, marked as asked for; None: nothing to ask."""
        piece = wanted.next_piece(wanted.holders.get(node))
        if piece is not None:
            wanted.todo.discard(piece)
            wanted.asked[piece] = Asked(now, {node})
            return piece
        if self._load(node).size or wanted.todo:
            return None
        for piece, asked in wanted.asked.items():  # idle, and somebody else is slow
            have = wanted.holders.get(node)
            slow = asked.since + _SLOW_AFTER <= now and node not in asked.nodes and len(asked.nodes) < 2
            if slow and (have is None or piece in have):
                asked.nodes.add(node)
                return piece
        return None

    def _ask_contents(self, queue: list[Entry], node: bytes, now: float) -> AskContents | None:
        """Group small contents from the head of a queue into one question."""
        contents: list[bytes] = []
        size = priority = 0
        while queue and len(contents) < limits.SMALL_CONTENTS_PER_REQUEST and size < limits.RUN_BYTES:
            wanted = self._head(queue, node, now)
            if wanted is None:
                continue
            if wanted.manifest:
                break
            if self._take(wanted, node, now) is None:
                if not contents:
                    return None
                self._leave_queue(queue, node, now)
                continue
            heappop(queue)
            wanted.queued.discard(node)
            if not contents:
                priority = wanted.priority
            contents.append(wanted.content)
            size += wanted.size
        return AskContents(node, tuple(contents), size, priority) if contents else None

    def _ask_manifest(self, wanted: Wanted, node: bytes, now: float) -> AskManifest:
        wanted.asked[0] = Asked(now, {node})
        return AskManifest(node, wanted.content, wanted.manifest, wanted.manifest_bytes, wanted.priority)

    def _ask_run(self, wanted: Wanted, node: bytes, now: float) -> AskRun | None:
        """Take the lowest chunk that is not asked for and those right behind it, up to `limits.RUN_BYTES`."""
        assert wanted.lengths is not None
        first = self._take(wanted, node, now)
        if first is None:
            return None
        have = wanted.holders.get(node)
        size, last = wanted.lengths[first], first + 1
        nodes = wanted.asked[first].nodes
        while last < len(wanted.lengths) and size + wanted.lengths[last] <= limits.RUN_BYTES:
            if len(nodes) > 1 or last not in wanted.todo or (have is not None and last not in have):
                break
            wanted.todo.discard(last)
            wanted.asked[last] = Asked(now, {node})
            size, last = size + wanted.lengths[last], last + 1
        return AskRun(node, wanted.content, first, last - first, wanted.offsets[first], size, wanted.priority)

    def _stop_asking(self, node: bytes, load: Load, now: float) -> None:
        load.banned = now + limits.BAD_HOLDER
        self._empty_queue(node, now)

    def _empty_queue(self, node: bytes, now: float) -> None:
        """Give what waits for a node to whoever else may be asked."""
        for entry in self._queues.pop(node, []):
            wanted = self._wanted.get(entry.content)
            if wanted is not None and wanted.order == entry.order:
                wanted.queued.discard(node)
                self._queue(wanted, now)
