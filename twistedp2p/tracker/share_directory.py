"""The directory of one share: who is alive, and who knows and holds which item. Pure: `now` is an argument.

A share has one compacted log (`share_log`); a member is a cursor into it, a set of items that it *knows* and one that
it *holds*. Batches are applied whole or not at all, and what a member is sent next is a whole delta: everything between
its cursor and the end of the log, read at one instant and kept until it is sent, whatever is forgotten meanwhile.
docs/design.md says why nothing less will do. Sealed records are opaque here.

An *epoch* is one life of a share's numbers: within it a number is never given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen
from blake3 import blake3

from twistedp2p import limits
from twistedp2p.errors import ConnectionFull, ProtocolViolation, TwistedP2PError
from twistedp2p.messages.tracker import Address, Entry, PeerInfo, SetDigest
from twistedp2p.tracker.batch import Batch, ItemRef
from twistedp2p.tracker.digest import Digest
from twistedp2p.tracker.holder_news import HolderLog, HolderNews
from twistedp2p.tracker.numbers import NumberSet
from twistedp2p.tracker.share_log import Item, ShareLog

__all__ = ["Applied", "Delta", "Joined", "Member", "ShareDirectory", "Unresolved"]

_ENTRY_HOLDERS = 16
_HOLDERS = 64


class Unresolved(TwistedP2PError):
    """A batch names items that are not here (any more), or a set that nobody has: the peer must say everything."""

    code = "unresolved"


@frozen
class Joined:
    """What a member is welcomed with: its session number, and where it stands in the log (see `messages.Welcome`)."""

    member: int
    epoch: bytes
    target: int
    last_applied: int
    same: bool


@frozen
class Applied:
    """What became of a batch: the `numbers` of its items by key, sorted by key, and whether the log has grown.

    `numbers` is empty for a batch that had been applied before and has an item that is forgotten meanwhile.
    """

    numbers: tuple[int, ...]
    news: bool


@frozen
class Delta:
    """All items between a member's cursor and `end`, as of one instant; it keeps them, also if they are forgotten."""

    end: int
    items: tuple[Item, ...]


class Member:
    """One live session of one node in one share; only its `ShareDirectory` changes it."""

    def __init__(self, session: int, node: bytes, nonce: bytes, info: PeerInfo, now: float) -> None:
        self.session = session
        self.node = node
        self.nonce = nonce
        self.info = info
        self.seen = now
        self.cursor = 0
        self.last_applied = 0
        self.knows = NumberSet()
        self.holds = NumberSet()
        self.known = Digest()
        self.held = Digest()
        self.echoes = NumberSet()  # said to be held in this very session: needs no delta
        self.news_read = 0
        self.must_say_all = False


class ShareDirectory:
    """The members and items of one share."""

    def __init__(
        self,
        entropy: Callable[[int], bytes],
        *,
        expiry: float = limits.EXPIRY,
        room: Callable[[], int] = lambda: limits.TRACKER_BYTES,
        peers: int = limits.PEERS_PER_SHARE,
        items_per_peer: int = limits.ITEMS_PER_PEER,
    ) -> None:
        self.epoch = entropy(16)
        self.log = ShareLog()
        self._expiry = expiry
        self._room = room
        self._most_peers = peers
        self._items_per_peer = items_per_peer
        self._members: dict[int, Member] = {}
        self._sessions: dict[bytes, int] = {}
        self._last_session = 0
        self._news = HolderLog()

    # -- members ------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._members)

    def session_of(self, node: bytes) -> int | None:
        """Return the session by which `node` is a live member, None if it is not one."""
        return self._sessions.get(node)

    def member(self, session: int) -> Member | None:
        """Return the live member of that session, None if it is over."""
        return self._members.get(session)

    def peers(self) -> list[PeerInfo]:
        """Return all live members as they are listed."""
        return [member.info for member in self._members.values()]

    def join(
        self,
        node: bytes,
        nonce: bytes,
        *,
        epoch: bytes,
        cursor: int,
        known: SetDigest,
        name: str,
        versions: tuple[int, ...],
        addresses: tuple[Address, ...],
        now: float,
    ) -> Joined:
        """Begin a session of `node`, in place of an older one if there is one, and say where it stands.

        What the older session announced stays, so that a short break costs nothing; after a restart (another
        `nonce`) only until the new process has announced itself. Whether an older session may be replaced is for the
        caller to find out (`session_of`). Raises `ConnectionFull` at the limit of members.
        """
        before = self._members.get(self._sessions.get(node, -1))
        if before is None and len(self._members) >= self._most_peers:
            raise ConnectionFull(f"This share has {self._most_peers} live members already; try again later.")
        self._last_session += 1
        session = self._last_session
        member = Member(session, node, nonce, PeerInfo(session, node, name, versions, addresses), now)
        member.news_read = self._news.end
        same = known == self.log.digest.value()
        if same:
            member.cursor = self.log.end
        elif epoch == self.epoch and cursor <= self.log.end:
            member.cursor = cursor
        if before is not None:
            self._take_over(member, before)
        self._members[session] = member
        self._sessions[node] = session
        return Joined(session, self.epoch, self.log.end, member.last_applied, same)

    def _take_over(self, member: Member, before: Member) -> None:
        member.knows, member.holds = before.knows, before.holds
        member.known, member.held = before.known, before.held
        if member.nonce == before.nonce:
            member.last_applied = before.last_applied
        del self._members[before.session]
        if member.holds:
            self._news.tell(HolderNews(member.session, member.holds.copy(), NumberSet()))

    def touch(self, session: int, now: float) -> None:
        """Note that a member gave a sign of life."""
        member = self._members.get(session)
        if member is not None:
            member.seen = now

    def leave(self, session: int) -> Member | None:
        """End a session at once and forget what only it knew; return its member, None if it was over already."""
        member = self._members.pop(session, None)
        if member is not None:
            del self._sessions[member.node]
            self._say(member, NumberSet(), NumberSet())
        return member

    def expire(self, now: float) -> list[Member]:
        """Forget the members that were silent too long, and return them."""
        silent = [member for member in self._members.values() if now - member.seen > self._expiry]
        for member in silent:
            self.leave(member.session)
        return silent

    # -- batches ------------------------------------------------------------

    def missing(self, session: int, batch: Batch, blobs: Mapping[bytes, bytes] | None = None) -> list[bytes]:
        """Return the keys in `batch`, sorted, of records that are neither here nor in `blobs`.

        Ask again when they came: an item that was here may be forgotten meanwhile.
        """
        member = self._members.get(session)
        if member is None or self._is_old(member, batch):
            return []
        have = blobs or {}
        return [key for key in batch.new_keys() if self.log.find(key) is None and key not in have]

    def resolve(self, reference: tuple[SetDigest, SetDigest]) -> tuple[NumberSet, NumberSet] | None:
        """Return the sets of items (known, held) that have these digests, None if no member has such a set."""
        found = [self._set_of(digest) for digest in reference]
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    def _set_of(self, digest: SetDigest) -> NumberSet | None:
        if digest == SetDigest():
            return NumberSet()
        for member in self._members.values():
            if member.known.count == digest.count and member.known.value() == digest:
                return member.knows.copy()
            if member.held.count == digest.count and member.held.value() == digest:
                return member.holds.copy()
        if digest == self.log.digest.value():
            return NumberSet(item.number for item in self.log.since(0))
        return None

    def apply(self, session: int, batch: Batch, blobs: Mapping[bytes, bytes], now: float) -> Applied | None:
        """Apply `batch` of that session, whole; `blobs` has the records that were `missing`.

        Returns None if the session is over, or the batch builds on one that could not be applied. A batch that was
        applied before changes nothing and is acknowledged again. Raises `Unresolved` if the peer must say everything,
        `ProtocolViolation` for a blob that is not what its key says and for more items than a peer may have,
        `ConnectionFull` if there is no room; then nothing changed.
        """
        member = self._members.get(session)
        if member is None:
            return None
        member.seen = now
        keys = batch.new_keys()
        if self._is_old(member, batch):
            again = [item.number for key in keys if (item := self.log.find(key)) is not None]
            return Applied(tuple(again) if len(again) == len(keys) else (), False)
        if member.must_say_all and not batch.full:
            return None
        try:
            fresh = self._take(member, batch, keys, blobs)
        except Unresolved:
            member.must_say_all = True
            raise
        member.must_say_all = False
        member.last_applied = batch.number
        return Applied(tuple(self._number(key) for key in keys), fresh)

    def _take(self, member: Member, batch: Batch, keys: list[bytes], blobs: Mapping[bytes, bytes]) -> bool:
        """Check `batch`, then make it so; return whether the log has grown."""
        if not batch.full and batch.number != member.last_applied + 1:
            raise Unresolved("a batch before this one was lost")
        fresh = self._new_blobs(keys, blobs)
        if _is_bare(batch):
            assert batch.reference is not None
            resolved = self.resolve(batch.reference)
            if resolved is None or resolved[1].minus(resolved[0]):
                raise Unresolved("nobody has this set of items")
            knows, holds = resolved
        else:
            self._check(member, batch)
            for key in sorted(fresh):
                self.log.append(key, fresh[key])
            knows, holds = self._after(member, batch)
        self._say(member, knows, holds)
        if batch.full:
            member.echoes = NumberSet()
        member.echoes.update(self._numbers(batch.held))
        return bool(fresh)

    @staticmethod
    def _is_old(member: Member, batch: Batch) -> bool:
        return batch.number <= member.last_applied and not batch.full

    def _new_blobs(self, keys: list[bytes], blobs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Return the records that the log lacks, checked."""
        fresh: dict[bytes, bytes] = {}
        for key in keys:
            if self.log.find(key) is None:
                blob = blobs.get(key)
                if blob is None:
                    raise Unresolved("a record was forgotten before its batch was complete")
                if blake3(blob).digest(len(key)) != key:
                    raise ProtocolViolation("a sealed record is not what its key says")
                fresh[key] = blob
        if fresh and sum(map(len, fresh.values())) > self._room():
            raise ConnectionFull("This tracker keeps as many records as it may; give it a higher limit of memory.")
        return fresh

    def _check(self, member: Member, batch: Batch) -> None:
        """Raise if `batch` can not be applied as a whole."""
        for reference in (*batch.known, *batch.held, *batch.gone):
            # Also what is gone: the item may be known by another number since the peer heard of this one.
            if isinstance(reference, int) and self.log.find(reference) is None:
                raise Unresolved("a batch names an item by a number that stands for nothing here")
        count = 0 if batch.full else len(member.knows) - len(self._numbers(batch.gone))
        for reference in (*batch.known, *batch.held):
            item = self.log.find(reference)
            count += batch.full or item is None or item.number not in member.knows
        if count > self._items_per_peer:
            raise ProtocolViolation(f"a peer announces more than {self._items_per_peer} items")

    def _after(self, member: Member, batch: Batch) -> tuple[NumberSet, NumberSet]:
        """Return what `member` knows and holds after `batch`; its records are in the log."""
        held, known = self._numbers(batch.held), self._numbers(batch.known)
        if batch.full:
            known.update(held)
            return known, held
        gone = self._numbers(batch.gone)
        knows = member.knows.minus(gone)
        holds = member.holds.minus(gone).minus(known)
        knows.update(known)
        knows.update(held)
        holds.update(held)
        return knows, holds

    def _numbers(self, references: Iterable[ItemRef]) -> NumberSet:
        """Return the numbers of those of the items that are in the log."""
        return NumberSet(item.number for reference in references if (item := self.log.find(reference)) is not None)

    def _number(self, key: bytes) -> int:
        item = self.log.find(key)
        assert item is not None
        return item.number

    def _item(self, number: int) -> Item:
        item = self.log.find(number)
        assert item is not None
        return item

    def _say(self, member: Member, knows: NumberSet, holds: NumberSet) -> None:
        """Replace what `member` knows and holds; forget what nobody knows any more."""
        held, lost = holds.minus(member.holds), member.holds.minus(holds)
        for number in lost:
            item = self._item(number)
            item.holders -= 1
            member.held.remove(item.key)
        for number in held:
            item = self._item(number)
            item.holders += 1
            member.held.add(item.key)
        for number in knows.minus(member.knows):
            item = self._item(number)
            item.knowers += 1
            member.known.add(item.key)
        for number in member.knows.minus(knows):
            item = self._item(number)
            member.known.remove(item.key)
            self.log.release(item)
        member.knows, member.holds = knows, holds
        if (held or lost) and member.session in self._members:
            self._news.tell(HolderNews(member.session, held, lost))

    # -- what members are sent ----------------------------------------------

    def delta(self, session: int) -> Delta | None:
        """Return all between the member's cursor and the end of the log; None if the session is over, or has read all.

        What the member said in this session that it holds is left out: its index has it.
        """
        member = self._members.get(session)
        if member is None or member.cursor >= self.log.end:
            return None
        echoes = member.echoes
        items = self.log.since(member.cursor)
        return Delta(self.log.end, tuple(item for item in items if item.number not in echoes))

    def entry(self, item: Item) -> Entry:
        """Return an item of a delta as it travels, with some of those who hold it now."""
        return Entry(item.number, item.blob, self._some(item.number, item.holders, _ENTRY_HOLDERS, holding=True))

    def advance(self, session: int, end: int) -> None:
        """Note that a delta up to `end` was sent to a member."""
        member = self._members.get(session)
        if member is not None:
            member.cursor = max(member.cursor, min(end, self.log.end))

    def holders_of(self, number: int, most: int = _HOLDERS) -> tuple[int, ...]:
        """Return the sessions of members that hold this item, at most `most` of them."""
        item = self.log.find(number)
        return () if item is None else self._some(number, item.holders, most, holding=True)

    def knowers_of(self, number: int, most: int = _HOLDERS) -> tuple[int, ...]:
        """Return the sessions of members that know this item, at most `most` of them."""
        item = self.log.find(number)
        return () if item is None else self._some(number, item.knowers, most, holding=False)

    def _some(self, number: int, count: int, most: int, *, holding: bool) -> tuple[int, ...]:
        found: list[int] = []
        most = min(most, count)
        if most:
            for member in self._members.values():
                if number in (member.holds if holding else member.knows):
                    found.append(member.session)
                    if len(found) == most:
                        break
        return tuple(found)

    def holder_news(self, session: int) -> list[HolderNews]:
        """Return who holds what since this was last asked for the member, as far as it does not hold that itself.

        A member that asks too seldom misses some; `holders_of` answers when it matters.
        """
        member = self._members.get(session)
        if member is None:
            return []
        merged = self._news.since(member.news_read)
        member.news_read = self._news.end
        self._news.forget(min(other.news_read for other in self._members.values()))
        alive = (news for news in merged.values() if news.member in self._members and news.member != session)
        return [news for one in alive if (news := one.without(member.holds))]

    def has_news(self, session: int) -> bool:
        """Whether anything changed since `holder_news` was last asked for the member."""
        member = self._members.get(session)
        return member is not None and member.news_read < self._news.end


def _is_bare(batch: Batch) -> bool:
    """Whether a full batch came as its reference alone."""
    reference = batch.reference
    return reference is not None and reference[0].count > 0 and not (batch.known or batch.held)
