"""The directory in this process: joins the pure `Directory` to the connections that listen to it.

It knows who listens for which member, tells them what concerns them, gathers news of holders for up to
`UPDATE_COALESCE`, passes on who wants to be dialled, and asks the older of two sessions of one device whether it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from twisted.internet.interfaces import IReactorTime

from twistedp2p import limits
from twistedp2p.errors import ConnectionFull, DuplicateDevice
from twistedp2p.framing.alarm import Alarm
from twistedp2p.messages.tracker import Holders, PeerInfo, SetDigest
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.dial_wishes import DialWishes
from twistedp2p.tracker.directory import Directory
from twistedp2p.tracker.registry import HoldersEntry, Joining, Listener, WholeDelta
from twistedp2p.tracker.share_directory import Applied, Joined, ShareDirectory

__all__ = ["LocalDirectory", "LocalSession"]


class LocalDirectory:
    """All shares of a tracker in one process.

    `wall` returns seconds since 1970; `room` is how many bytes of sealed records it may keep.
    """

    def __init__(
        self,
        directory: Directory,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        room: int = limits.TRACKER_BYTES,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self.wall = wall
        self._room = room
        self._reserved = 0
        self._listeners: dict[bytes, dict[int, Listener]] = {}
        self._coalesce: dict[bytes, Alarm] = {}
        self._wishes: dict[bytes, DialWishes] = {}
        self.batches = 0

    @property
    def keepalive(self) -> float:
        """Seconds between signs of life."""
        return self._directory.keepalive

    @property
    def expiry(self) -> float:
        """Seconds of silence after which a member is forgotten."""
        return self._directory.expiry

    # -- for connections -----------------------------------------------------

    async def join(self, joining: Joining, listener: Listener) -> LocalSession:
        """List a member; see `registry.Registry`."""
        share = await self._without_other_session(joining)
        before = share.session_of(joining.node)
        others = tuple(peer for peer in share.peers() if peer.node != joining.node)
        joined = share.join(
            joining.node,
            joining.nonce,
            epoch=joining.epoch,
            cursor=joining.cursor,
            known=joining.known,
            name=joining.name,
            versions=joining.versions,
            addresses=joining.addresses,
            now=self._clock.seconds(),
        )
        listeners = self._listeners.setdefault(joining.share_id, {})
        member = share.member(joined.member)
        assert member is not None
        self._tell_peers(joining.share_id, (member.info,), () if before is None else (before,))
        listeners[joined.member] = listener
        self._holds_changed(joining.share_id)
        return LocalSession(self, joining.share_id, joined, others)

    async def _without_other_session(self, joining: Joining) -> ShareDirectory:
        """Return the share once no live session of the device stands in the way; `DuplicateDevice` if one does."""
        while True:
            share = self._directory.share(joining.share_id)
            session = share.session_of(joining.node)
            other = None if session is None else self._listening(joining.share_id).get(session)
            if session is None or other is None:
                return share
            member = share.member(session)
            # The same process again: it knows better than we that its other connection is dead.
            if member is not None and member.nonce != joining.nonce and await other.ping():
                raise DuplicateDevice(
                    "Another folder with the same device key is connected: this folder is a copy of it."
                )
            # While it was asked, a third may have come.
            if self._listening(joining.share_id).get(session) is other:
                del self._listeners[joining.share_id][session]
                other.replaced()
                return self._directory.share(joining.share_id)

    def reserve(self, size: int) -> None:
        """Set bytes aside for records under way; raises `ConnectionFull` if there is no room."""
        if self._directory.bytes + self._reserved + size > self._room:
            raise ConnectionFull("This tracker keeps as many records as it may; give it a higher limit of memory.")
        self._reserved += size

    def release(self, size: int) -> None:
        """Give them back."""
        self._reserved -= size

    # -- for the service -----------------------------------------------------

    def expire(self) -> None:
        """Forget the members that were silent too long, and tell everybody."""
        for share_id, gone in self._directory.expire(self._clock.seconds()).items():
            for member in gone:
                listener = self._listening(share_id).pop(member.session, None)
                if listener is not None:
                    listener.expired()
            self._tell_peers(share_id, (), tuple(member.session for member in gone))
            self._forget_empty(share_id)

    def stop(self) -> None:
        """Call off what was going to be told."""
        for alarm in self._coalesce.values():
            alarm.stop()
        self._coalesce.clear()

    # -- for sessions ---------------------------------------------------------

    def share(self, share_id: bytes) -> ShareDirectory:
        """Return the directory of one share."""
        return self._directory.share(share_id)

    def now(self) -> float:
        """Return the time, in seconds from anywhere."""
        return self._clock.seconds()

    def applied(self, share_id: bytes, news: bool) -> None:
        """Tell everybody what a batch brought."""
        self.batches += 1
        if news:
            for listener in list(self._listening(share_id).values()):
                listener.log_grew()
        self._holds_changed(share_id)

    def left(self, share_id: bytes, session: int) -> None:
        """Tell everybody that a member said goodbye."""
        self._listening(share_id).pop(session, None)
        self._tell_peers(share_id, (), (session,))
        self._forget_empty(share_id)

    def detached(self, share_id: bytes, session: int) -> None:
        """Note that nobody listens for a member any more."""
        self._listening(share_id).pop(session, None)
        self._forget_empty(share_id)

    def dial_me(self, share_id: bytes, session: int, other: int) -> None:
        """Tell `other` that the member of `session` asks to be dialled, unless it is not there or heard it just now."""
        share = self._directory.share(share_id)
        asking, asked = share.member(session), share.member(other)
        listener = self._listening(share_id).get(other)
        if asking is None or asked is None or listener is None or session == other:
            return
        if self._wishes.setdefault(share_id, DialWishes()).allow(asking.node, asked.node, self._clock.seconds()):
            listener.dial_me(session)

    def _listening(self, share_id: bytes) -> dict[int, Listener]:
        return self._listeners.get(share_id, {})

    def _tell_peers(self, share_id: bytes, up: Collection[PeerInfo], down: Collection[int]) -> None:
        for listener in list(self._listening(share_id).values()):
            listener.peers(up, down)

    def _holds_changed(self, share_id: bytes) -> None:
        """See to it that holder news is told, soon and all at once."""
        if share_id not in self._coalesce:
            self._coalesce[share_id] = Alarm(self._clock, lambda: self._tell_holders(share_id))
        if not self._coalesce[share_id].is_set:
            self._coalesce[share_id].set(limits.UPDATE_COALESCE)

    def _tell_holders(self, share_id: bytes) -> None:
        share = self._directory.share(share_id)
        for session, listener in list(self._listening(share_id).items()):
            if share.has_news(session):
                listener.holds_changed()

    def _forget_empty(self, share_id: bytes) -> None:
        if not self._listening(share_id):
            self._listeners.pop(share_id, None)
            self._wishes.pop(share_id, None)
            alarm = self._coalesce.pop(share_id, None)
            if alarm is not None:
                alarm.stop()


class LocalSession:
    """A member's place in a `LocalDirectory`; see `registry.Session`."""

    def __init__(
        self, directory: LocalDirectory, share_id: bytes, joined: Joined, others: tuple[PeerInfo, ...]
    ) -> None:
        self.joined = joined
        self.others = others
        self._directory = directory
        self._share_id = share_id
        self._session = joined.member

    @property
    def _share(self) -> ShareDirectory:
        return self._directory.share(self._share_id)

    def touch(self) -> None:
        """The member gave a sign of life."""
        self._share.touch(self._session, self._directory.now())

    async def missing(self, batch: Batch, blobs: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the keys of the batch whose records are neither known nor in `blobs`."""
        return self._share.missing(self._session, batch, blobs)

    async def apply(self, batch: Batch, blobs: Mapping[bytes, bytes]) -> Applied | None:
        """Apply a batch whole."""
        applied = self._share.apply(self._session, batch, blobs, self._directory.now())
        if applied is not None:
            self._directory.applied(self._share_id, applied.news)
        return applied

    async def delta(self) -> WholeDelta | None:
        """Return what the member has not read."""
        share = self._share
        delta = share.delta(self._session)
        if delta is None:
            return None
        return WholeDelta(delta.end, (share.entry(item) for item in delta.items))

    def advance(self, end: int) -> None:
        """A delta up to `end` was sent."""
        self._share.advance(self._session, end)

    async def holder_news(self) -> list[Holders]:
        """Return who holds what since this was last asked."""
        news = self._share.holder_news(self._session)
        return [Holders(one.member, tuple(one.held.ranges()), tuple(one.lost.ranges())) for one in news]

    def holders_of(self, numbers: list[int]) -> Iterator[HoldersEntry]:
        """Yield who holds and who knows each of these items."""
        for number in numbers:
            share = self._share
            yield number, share.holders_of(number), share.knowers_of(number)

    def dial_me(self, member: int) -> None:
        """Pass on that this member asks to be dialled."""
        self._directory.dial_me(self._share_id, self._session, member)

    async def agrees(self, known: SetDigest, held: SetDigest) -> bool:
        """Return whether these are the digests of what the directory has of the member."""
        member = self._share.member(self._session)
        return member is not None and (member.known.value(), member.held.value()) == (known, held)

    async def leave(self) -> None:
        """End the session and forget the member."""
        if self._share.leave(self._session) is not None:
            self._directory.left(self._share_id, self._session)

    def detach(self) -> None:
        """The connection is gone."""
        self._directory.detached(self._share_id, self._session)
