"""Tracker conversation, the tracker's side: members announce what they hold and learn who else is there.

    peer                                            tracker
    1. Hello (proof, addresses, place in the log)   checks the proof; says nothing to a stranger
                                                    Welcome, Peers (who else is there), then deltas
    2. Announce, a batch in pieces                  Need (records it lacks; or everything)
       Blobs                                        Announced (`intake`)
    3.                                              Peers (up and down), Delta (a whole one, in pieces),
                                                    Holders (gathered for 50 ms)
       WhoHolds                                     HoldersOf, until each item is answered
       DialMe (let that member dial me)             DialMe, to that member
    4. KeepAlive                                    Alive
       Pong                                         Ping (another session has your device key)
    5. Goodbye                                      the member is forgotten; or the tracker's own: come back later

The state of shares is a `registry.Registry`; framing, deadlines and rates are `framing.frames`; nothing here
resolves, stores or keeps time beyond one answer. docs/protocol.md has the messages byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Coroutine
from enum import Enum
from itertools import chain
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import PeerTimeout, ProtocolViolation, TwistedP2PError
from twistedp2p.framing.admission import Ticket
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import dialler_of, verify
from twistedp2p.framing.network import TRACKER_ALPN, Network, host_of
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.messages.common import Goodbye, Ping, Pong
from twistedp2p.messages.tracker import Alive, Announce, Blobs, DialMe, Hello, KeepAlive, PeerInfo, Welcome, WhoHolds
from twistedp2p.ranges import from_ranges
from twistedp2p.tracker.intake import Intake
from twistedp2p.tracker.outgoing import (
    delta_messages,
    holders_messages,
    holders_of_messages,
    listed_addresses,
    peers_messages,
)
from twistedp2p.tracker.registry import Joining, Registry, Session
from twistedp2p.tracker.wire import TRACKER

__all__ = ["TrackerProtocol"]

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


class State(Enum):
    """How far the conversation has come."""

    FRESH = "fresh"  # Hello may arrive, and nothing else
    JOINING = "joining"  # the directory is asked; nothing may arrive
    JOINED = "joined"  # everything but Hello may arrive
    OVER = "over"  # the member left, was replaced or forgotten; nothing counts


class TrackerProtocol(FrameProtocol):
    """One member's connection; made by the service for each caller, gone when the connection is lost."""

    _log = Logger()

    def __init__(self, network: Network, registry: Registry, ticket: Ticket, advertise: str | None = None) -> None:
        super().__init__(
            network, TRACKER, alpn=TRACKER_ALPN, dialled=False, first_frame_bytes=limits.HELLO_FRAME_BYTES
        )
        self._registry = registry
        self._ticket = ticket
        self._advertise = advertise
        self.ended: Deferred[None] = Deferred()
        """Fires when the connection is gone."""
        self._state = State.FRESH
        self._channel: Channel | None = None
        self._session: Session | None = None
        self._intake: Intake | None = None
        self._work: set[Deferred[None]] = set()
        self._listing = False
        self._up: dict[int, PeerInfo] = {}
        self._down: set[int] = set()
        self._asking: dict[int, None] = {}
        self._feeding = False
        self._grew = False
        self._telling = False
        self._held_changed = False
        self._pings: list[Deferred[bool]] = []
        self._no_pong = Alarm(self.clock, lambda: self._answer_pings(False))

    # -- FrameProtocol calls these -------------------------------------------

    def secured(self, channel: Channel) -> None:
        """Remember to what a proof must be bound; say nothing."""
        self._channel = channel

    def message_received(self, message: object) -> None:
        """Dispatch on the type of the message."""
        if isinstance(message, Hello):
            self._on_hello(message)
            return
        if self._state is not State.JOINED:
            raise ProtocolViolation(f"{type(message).__name__} came before Hello was answered")
        assert self._session is not None and self._intake is not None
        self._session.touch()
        self._answer_pings(True)
        match message:
            case Announce():
                self._intake.announce(message)
            case Blobs():
                self._on_blobs(message)
            case WhoHolds():
                self._on_who_holds(message)
            case DialMe():
                self._session.dial_me(message.member)
            case KeepAlive():
                self._start(self._on_keepalive(message))
            case Pong():
                pass
            case Goodbye():
                self._start(self._on_goodbye())
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not for a tracker")

    def link_lost(self, reason: Failure) -> None:
        """Stop what is under way; the member stays listed until it expires, as it may come back."""
        self._ticket.leave()
        self._leave_off()
        if self._session is not None and self._state is State.JOINED:
            self._session.detach()
        self._state = State.OVER
        self.ended.callback(None)

    # -- the service calls this ------------------------------------------------

    def say_goodbye(self) -> None:
        """End the connection because the tracker stops; the member comes back when there is one again."""
        if self._session is not None and self._state is State.JOINED:
            self._session.detach()
        self._state = State.OVER
        self._leave_off()
        if self.proven:
            self.close(Goodbye())
        else:
            self.abort("the tracker stops")

    # -- the directory calls these (registry.Listener) -------------------------

    def peers(self, up: Collection[PeerInfo], down: Collection[int]) -> None:
        """Tell who came and who went, once what is being told is through."""
        for member in down:
            if self._up.pop(member, None) is None:
                self._down.add(member)
        self._up.update((peer.member, peer) for peer in up)
        self._list_soon()

    def dial_me(self, member: int) -> None:
        """Tell who asks to be dialled, once the member was told that it is there."""
        self._asking[member] = None
        self._list_soon()

    def _list_soon(self) -> None:
        if self._state is State.JOINED and not self._listing:
            self._listing = True
            self._start(self._list_peers())

    def log_grew(self) -> None:
        """Send what is new, once what is being sent is through."""
        self._grew = True
        if self._state is State.JOINED and not self._feeding:
            self._feeding = True
            self._start(self._feed())

    def holds_changed(self) -> None:
        """Tell who holds what, once what is being told is through."""
        self._held_changed = True
        if self._state is State.JOINED and not self._telling:
            self._telling = True
            self._start(self._tell_holders())

    async def ping(self) -> bool:
        """Ask the member whether it lives; anything that it says within DUPLICATE_PING seconds is a yes."""
        if self._state is not State.JOINED:
            return False
        answer: Deferred[bool] = Deferred()
        self._pings.append(answer)
        if not self._no_pong.is_set:
            self._no_pong.set(limits.DUPLICATE_PING)
            self.send_message(Ping())
        return await answer

    def replaced(self) -> None:
        """Make way for another session of the same device."""
        self._state = State.OVER
        self._leave_off()
        self.abort("another session of the same device took its place")

    def expired(self) -> None:
        """Close, so that the member comes back if it is alive after all."""
        self._state = State.OVER
        self._leave_off()
        self.refuse(PeerTimeout(f"Nothing was heard of this peer for {self._registry.expiry:g} seconds."))

    # -- messages, in the order of the conversation ---------------------------

    def _on_hello(self, hello: Hello) -> None:
        if self._state is not State.FRESH or self._channel is None:
            raise ProtocolViolation("a second Hello")
        verify(hello.proof, Role.DIAL_TRACKER, self._channel, None)
        if not all(_HOST.fullmatch(address.host) for address in hello.addresses):
            raise ProtocolViolation("an address that is none")
        self.set_proven()
        self._state = State.JOINING
        self._start(self._join(hello, self._channel))

    async def _join(self, hello: Hello, channel: Channel) -> None:
        self._ticket.prove()
        seen = host_of(self.transport)
        joining = Joining(
            share_id=hello.proof.share_id,
            node=dialler_of(channel),
            nonce=hello.nonce,
            name=hello.name,
            versions=hello.versions,
            addresses=listed_addresses(hello.addresses, seen, self._advertise),
            epoch=hello.epoch,
            cursor=hello.cursor,
            known=hello.known,
        )
        session = await self._registry.join(joining, self)
        self._session = session
        self._intake = Intake(self, self._registry, session, self._failed)
        self._state = State.JOINED
        joined = session.joined
        self._log.info("{name} joined as {member} from {seen}", name=hello.name, member=joined.member, seen=seen)
        self.send_message(
            Welcome(
                member=joined.member,
                seen=seen,
                keepalive=self._registry.keepalive,
                expiry=self._registry.expiry,
                epoch=joined.epoch,
                target=joined.target,
                last_applied=joined.last_applied,
                same=joined.same,
                time=self._registry.wall(),
            )
        )
        self.peers(session.others, ())
        self.log_grew()

    def _on_blobs(self, message: Blobs) -> None:
        assert self._intake is not None
        try:
            self._intake.blobs(message)
        except ProtocolViolation:
            raise
        except TwistedP2PError as error:
            self.refuse(error)

    def _on_who_holds(self, message: WhoHolds) -> None:
        assert self._session is not None
        numbers = from_ranges(message.numbers, limits.LIST_ITEMS, ascending=False)
        if not numbers:
            raise ProtocolViolation("a question about no item")
        answers = self._session.holders_of(numbers)
        self.send_stream(holders_of_messages(answers)).addErrback(_ignore_loss)

    async def _on_keepalive(self, message: KeepAlive) -> None:
        assert self._session is not None and self._intake is not None
        # While a batch is under way the two can not agree, and the batch settles it.
        same = self._intake.busy or await self._session.agrees(message.known, message.held)
        self.send_message(Alive(same))

    async def _on_goodbye(self) -> None:
        assert self._session is not None
        self._state = State.OVER
        self._leave_off()
        await self._session.leave()
        self.close()

    # -- what the member is sent ----------------------------------------------

    async def _list_peers(self) -> None:
        try:
            while (self._up or self._down or self._asking) and self._state is State.JOINED:
                up, down, asking = list(self._up.values()), sorted(self._down), list(self._asking)
                self._up.clear()
                self._down.clear()
                self._asking.clear()
                await self.send_stream(chain(peers_messages(up, down), map(DialMe, asking)))
        finally:
            self._listing = False

    async def _feed(self) -> None:
        """Send whole deltas until there is nothing new."""
        assert self._session is not None
        try:
            while self._grew and self._state is State.JOINED:
                self._grew = False
                delta = await self._session.delta()
                if delta is not None:
                    await self.send_stream(delta_messages(delta))
                    self._session.advance(delta.end)
        finally:
            self._feeding = False

    async def _tell_holders(self) -> None:
        assert self._session is not None
        try:
            while self._held_changed and self._state is State.JOINED:
                self._held_changed = False
                news = await self._session.holder_news()
                if news:
                    await self.send_stream(holders_messages(news))
        finally:
            self._telling = False

    # -- work under way ---------------------------------------------------------

    def _start(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Run something that takes several steps; it dies with the conversation."""
        running = Deferred.fromCoroutine(work)
        self._work.add(running)

        def done(result: Failure | None) -> None:
            self._work.discard(running)
            if isinstance(result, Failure):
                self._failed(result)

        running.addBoth(done)

    def _failed(self, failure: Failure) -> None:
        """End the conversation as the failure asks for; a bug is logged as one."""
        if failure.check(CancelledError, ConnectionDone):
            return
        error = failure.value
        if isinstance(error, TwistedP2PError) and not isinstance(error, ProtocolViolation):
            self.refuse(error)
            return
        if not isinstance(error, ProtocolViolation):
            self._log.failure("The tracker's conversation failed", failure=failure)
        self.abort(error if isinstance(error, TwistedP2PError) else str(error))

    def _leave_off(self) -> None:
        self._no_pong.stop()
        self._answer_pings(False)
        if self._intake is not None:
            self._intake.stop()
        for running in list(self._work):
            running.cancel()

    def _answer_pings(self, alive: bool) -> None:
        self._no_pong.stop()
        pings, self._pings = self._pings, []
        for answer in pings:
            answer.callback(alive)


def _ignore_loss(failure: Failure) -> None:
    """Whom the answer was for is gone."""
    failure.trap(ConnectionDone)
