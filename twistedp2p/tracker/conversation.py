"""Tracker conversation, the peer's side: one connection to a tracker, from the pin of its key to the goodbye.

    peer                                            tracker
    1. checks the pin; Hello                        Welcome
    2. Announce, several batches under way          Need, Announced
       Blobs, a run for each Need
    3.                                              Peers, Delta, Holders
       WhoHolds                                     HoldersOf
       DialMe (let that member dial me)             DialMe (that member asks you to dial it)
    4. KeepAlive at every interval                  Alive, within `limits.REPLY`
       Pong                                         Ping
    5. Goodbye                                      closes

What arrives is handed to `Updates`; nothing is decided here. Reading stops while a delta is committed, so that a
share of any size arrives at the pace of this disk. Dialling again after a break is `client`'s task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import (
    NoCommonVersion,
    PeerTimeout,
    ProtocolViolation,
    TwistedP2PError,
    WrongTracker,
    code_to_error,
)
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import TRACKER_ALPN, TRACKER_VERSION, Network
from twistedp2p.framing.versions import no_common_version
from twistedp2p.identity.device import pin_of
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Goodbye, Ping, Pong, Refused
from twistedp2p.messages.tracker import (
    Alive,
    Announced,
    Blobs,
    Delta,
    DialMe,
    Hello,
    Holders,
    HoldersOf,
    KeepAlive,
    Need,
    Peers,
    Welcome,
    WhoHolds,
)
from twistedp2p.ranges import from_ranges, to_ranges
from twistedp2p.tracker.batch import Batch, announcements
from twistedp2p.tracker.registry import HoldersEntry
from twistedp2p.tracker.updates import HelloFacts, Updates
from twistedp2p.tracker.wire import TRACKER
from twistedp2p.wire import pieces

__all__ = ["HelloFacts", "TrackerConversation", "Updates"]


class TrackerConversation(FrameProtocol):
    """One connection to a tracker; made by `client.TrackerClient` for each dial, gone when the connection is lost.

    `ended` fires with the error that ended it when the connection is lost, None if nobody is to blame.
    """

    _log = Logger()

    def __init__(
        self,
        network: Network,
        *,
        pin: bytes,
        where: str,
        keys: ShareKeys,
        updates: Updates,
        nonce: bytes,
        random: Callable[[], float],
        welcomed: Callable[[], object],
    ) -> None:
        super().__init__(
            network, TRACKER, alpn=TRACKER_ALPN, dialled=True, first_frame_bytes=limits.HELLO_FRAME_BYTES
        )
        self._pin = pin
        self._where = where
        self._keys = keys
        self._updates = updates
        self._nonce = nonce
        self._random = random
        self._welcomed = welcomed
        self.ended: Deferred[TwistedP2PError | None] = Deferred()
        self.welcome: Welcome | None = None
        self._said_hello = False
        self._batches: deque[Batch] = deque()
        self._in_flight: list[int] = []
        self._numbers: list[int] = []
        self._needs: deque[Need] = deque()
        self._short: set[int] = set()
        self._answering = False
        self._questions: deque[tuple[int, list[HoldersEntry], Deferred[list[HoldersEntry]]]] = deque()
        self._judge: deque[bool] = deque()
        self._work: set[Deferred[Any]] = set()
        self._next_keepalive = Alarm(self.clock, lambda: self._start(self._say_alive()))
        self._no_answer = Alarm(self.clock, self._on_silence)

    # -- what the client calls -------------------------------------------------

    def announce(self, batch: Batch) -> None:
        """Send a batch, once fewer than `BATCHES_IN_FLIGHT` are unacknowledged."""
        self._batches.append(batch)
        self._send_batches()

    def who_holds(self, numbers: Iterable[int]) -> Deferred[list[HoldersEntry]]:
        """Ask who holds and who knows these items (at most LIST_ITEMS); fails with `PeerTimeout` after a break."""
        asked = list(numbers)
        if not asked:
            return succeed([])
        if not self.proven:
            return fail(PeerTimeout("There is no connection to the tracker."))
        answer: Deferred[list[HoldersEntry]] = Deferred()
        self._questions.append((len(asked), [], answer))
        self.send_message(WhoHolds(to_ranges(asked)))
        return answer

    def check(self) -> None:
        """Find out whether the tracker is still there: it has `limits.LINK_CHECK` seconds to say something."""
        if self.proven:
            self._start(self._say_alive(limits.LINK_CHECK))

    def dial_me(self, member: int) -> None:
        """Ask the tracker to let this member know that it should dial this peer."""
        if self.proven:
            self.send_message(DialMe(member))

    def goodbye(self) -> None:
        """End the session on purpose: the tracker forgets this peer at once."""
        if self.proven:
            self.close(Goodbye())
        else:
            self.abort("not needed any more")

    # -- FrameProtocol calls these ----------------------------------------------

    def secured(self, channel: Channel) -> None:
        """Say hello, if this is the tracker that the invite means; say nothing to any other."""
        if pin_of(channel.acceptor_spki) != self._pin:
            self.abort(
                WrongTracker(
                    f"The tracker at {self._where} has another key than the invite says. If it was set up anew, ask "
                    "for a new invite; if not, something stands between you and it."
                )
            )
            return
        self._start(self._say_hello(channel))

    def message_received(self, message: object) -> None:
        """Dispatch on the type of the message."""
        self._no_answer.stop()
        if isinstance(message, Refused):
            self.error = code_to_error(message.code, message.text)
            self.close()
        elif isinstance(message, Welcome):
            self._on_welcome(message)
        elif self.welcome is None:
            raise ProtocolViolation(f"{type(message).__name__} came before Welcome")
        else:
            self._dispatch(message)

    def _dispatch(self, message: object) -> None:
        match message:
            case Need():
                self._on_need(message)
            case Announced():
                self._on_announced(message)
            case Peers():
                self._updates.peers(message.up, message.down)
            case Delta():
                self._on_delta(message)
            case Holders():
                held = from_ranges(message.held, limits.ITEMS_PER_PEER)
                lost = from_ranges(message.lost, limits.ITEMS_PER_PEER)
                self._updates.holders(message.member, held, lost)
            case DialMe():
                self._updates.dial_me(message.member)
            case HoldersOf():
                self._on_holders_of(message)
            case Alive():
                self._on_alive(message)
            case Ping():
                self.send_message(Pong())
            case Goodbye():
                self.close()
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not for a peer")

    def link_lost(self, reason: Failure) -> None:
        """End all that waits for the tracker."""
        self._next_keepalive.stop()
        self._no_answer.stop()
        self._batches.clear()
        for running in list(self._work):
            running.cancel()
        questions, self._questions = self._questions, deque()
        for _, _, answer in questions:
            answer.errback(Failure(PeerTimeout("The connection to the tracker was lost.")))
        self.ended.callback(self._why(reason))

    def _why(self, reason: Failure) -> TwistedP2PError | None:
        if isinstance(self.error, NoCommonVersion):
            return NoCommonVersion(no_common_version(f"The tracker at {self._where}", (), (TRACKER_VERSION,)))
        if self.error is None and self._said_hello and self.welcome is None:
            return TwistedP2PError(
                f"The tracker at {self._where} hung up without a word: it does not take this peer for a member."
            )
        if self.error is None and self.welcome is None:
            return TwistedP2PError(f"The tracker at {self._where} broke off: {reason.getErrorMessage()}")
        return self.error

    # -- messages, in the order of the conversation -----------------------------

    async def _say_hello(self, channel: Channel) -> None:
        facts = await self._updates.hello()
        proof = prove(self._keys, Role.DIAL_TRACKER, channel, self._nonce)
        self._said_hello = True
        self.send_message(
            Hello(
                proof=proof,
                nonce=facts.nonce,
                name=facts.name,
                versions=facts.versions,
                addresses=facts.addresses,
                epoch=facts.epoch,
                cursor=facts.cursor,
                known=facts.known,
                held=facts.held,
            )
        )

    def _on_welcome(self, message: Welcome) -> None:
        if self.welcome is not None or not self._said_hello:
            raise ProtocolViolation("a Welcome that nobody waits for")
        self.welcome = message
        self.set_proven()
        self._set_keepalive()
        self._welcomed()
        self.hold_reading(self._updates.welcomed(message))

    def _on_need(self, message: Need) -> None:
        if message.batch not in self._in_flight:
            raise ProtocolViolation("records of another batch are needed than was announced")
        if message.everything:
            self._in_flight.clear()
            self._batches.clear()
            self._updates.say_all(True)
            return
        self._needs.append(message)
        if not self._answering:
            self._answering = True
            self._start(self._answer_needs())

    async def _answer_needs(self) -> None:
        """Send the records that are needed, a run for each message, in order."""
        try:
            while self._needs:
                need = self._needs.popleft()
                if need.batch in self._short:
                    continue
                blobs = await self._updates.need(need.keys)
                if len(blobs) == len(need.keys):
                    await self.send_stream(_blobs_messages(need, blobs))
                else:
                    self._short.add(need.batch)
                    await self.send_stream(iter([Blobs(need.batch, True, ())]))
        finally:
            self._answering = False

    def _on_announced(self, message: Announced) -> None:
        if message.batch not in self._in_flight:
            raise ProtocolViolation("a batch was acknowledged that was not announced")
        self._numbers += from_ranges(message.numbers, limits.ITEMS_PER_PEER, ascending=False)
        if len(self._numbers) > limits.ITEMS_PER_PEER:
            raise ProtocolViolation("a batch got more numbers than it can have items")
        if message.last:
            numbers, self._numbers = self._numbers, []
            del self._in_flight[: self._in_flight.index(message.batch) + 1]
            self._short.discard(message.batch)
            self._updates.announced(message.batch, tuple(numbers))
            self._send_batches()

    def _on_delta(self, message: Delta) -> None:
        waits = [self._updates.delta_entries(message.entries)] if message.entries else []
        if message.last:
            waits.append(self._updates.delta_end(message.end))
        for wait in waits:
            self.hold_reading(wait)

    def _on_holders_of(self, message: HoldersOf) -> None:
        if not self._questions or not message.entries:
            raise ProtocolViolation("an answer to no question")
        count, entries, answer = self._questions[0]
        entries += message.entries
        if len(entries) > count:
            raise ProtocolViolation("an answer about more items than were asked for")
        if len(entries) == count:
            self._questions.popleft()
            answer.callback(entries)

    def _on_alive(self, message: Alive) -> None:
        if not self._judge:
            raise ProtocolViolation("an Alive that nobody waits for")
        if self._judge.popleft() and not message.same:
            self._log.info("The tracker has something else of this peer; announcing everything again")
            self._updates.say_all(False)

    # -- sending ------------------------------------------------------------------

    def _send_batches(self) -> None:
        while self._batches and self.proven and len(self._in_flight) < limits.BATCHES_IN_FLIGHT:
            batch = self._batches.popleft()
            self._in_flight.append(batch.number)
            messages = announcements(batch, reference_only=batch.reference is not None)
            self.send_stream(iter(messages)).addErrback(lambda failure: failure.trap(ConnectionDone) and None)

    async def _say_alive(self, patience: float = limits.REPLY) -> None:
        """Say that this peer lives, and what the tracker should have of it; the tracker must answer in time."""
        known, held = await self._updates.said()
        # What is under way, or waits to be sent, is in the digests and not yet with the tracker.
        self._judge.append(not self._in_flight and not self._batches)
        self.send_message(KeepAlive(known, held))
        if not self._no_answer.is_set or patience < limits.REPLY:
            self._no_answer.set(patience)
        self._set_keepalive()

    def _set_keepalive(self) -> None:
        """Peers that joined together do not speak together: each interval is up to a fifth shorter."""
        assert self.welcome is not None
        self._next_keepalive.set(self.welcome.keepalive * (1 - 0.2 * self._random()))

    def _on_silence(self) -> None:
        if self.paused:
            self._no_answer.set(limits.REPLY)
        else:
            self.abort(PeerTimeout(f"The tracker at {self._where} does not answer any more."))

    def _start(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        running = Deferred.fromCoroutine(work)
        self._work.add(running)

        def done(result: Failure | None) -> None:
            self._work.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError, ConnectionDone):
                self._log.failure("The conversation with the tracker failed", failure=result)
                self.abort("an error of this peer")

        running.addBoth(done)


def _blobs_messages(need: Need, blobs: list[bytes]) -> Iterator[Blobs]:
    before: tuple[bytes, ...] = ()
    for piece in pieces(blobs, lambda blob: len(blob) + 5):
        if before:
            yield Blobs(need.batch, False, before)
        before = tuple(piece)
    yield Blobs(need.batch, need.last, before)
