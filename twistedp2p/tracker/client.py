"""The peer's side of tracking: keep one connection to one of the share's trackers, whatever happens to it.

Trackers are tried in turn, the one that answered last first; between rounds the client waits, longer each time, up to
`limits.BACKOFF_MOST`. What is said on a connection, and what is made of the news, is for `conversation` and for
`Updates`; here is only when there is a connection, and what a person should know while there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import DuplicateDevice, PeerTimeout, Refusal, TwistedP2PError
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.network import TRACKER_ALPN, Network
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Welcome
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.conversation import TrackerConversation, Updates
from twistedp2p.tracker.registry import HoldersEntry

__all__ = ["TrackerClient"]


class TrackerClient:
    """A peer's connection to its trackers, from `start` to `stop`.

    `network` has the device key. `random` returns floats from 0 to 1, for jitter; `entropy` that many random bytes.
    """

    _log = Logger()

    def __init__(
        self,
        network: Network,
        trackers: Sequence[TrackerAddress],
        keys: ShareKeys,
        updates: Updates,
        *,
        random: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._network = network
        self._clock = network.clock
        self._trackers = list(trackers)
        self._keys = keys
        self._updates = updates
        self._random = random
        self._entropy = entropy
        self._conversation: TrackerConversation | None = None
        self._loop: Deferred[None] | None = None
        self._failures = 0
        self._welcomed_at = 0.0
        self._why = "It was not asked yet."
        self._notice = Alarm(self._clock, self._say_unreachable)
        self._backoff = Alarm(self._clock, self._dial)
        self._stopping = False
        self._wanted = False
        self._dial_again: Deferred[None] | None = None
        self._dialling: Deferred[Any] | None = None
        self.error: TwistedP2PError | None = None

    # -- what the peer calls ------------------------------------------------------

    @property
    def welcome(self) -> Welcome | None:
        """The tracker's welcome to this session; None while there is none."""
        return None if self._conversation is None else self._conversation.welcome

    @property
    def tracker(self) -> TrackerAddress:
        """The tracker that is talked to, or was last."""
        return self._trackers[0]

    def start(self) -> None:
        """Begin to dial; from now on `Updates` is told what happens."""
        if self._loop is None:
            self._stopping = False
            self._loop = Deferred.fromCoroutine(self._run())
            self._loop.addErrback(self._ended)

    def stop(self) -> Deferred[None]:
        """Say goodbye, and dial no more; fires when the connection is gone."""
        self._stopping = True
        self._notice.stop()
        loop, self._loop = self._loop, None
        if loop is None:
            return succeed(None)
        if self._conversation is None:
            loop.cancel()
            return succeed(None)
        gone: Deferred[None] = Deferred()
        loop.addBoth(lambda _: gone.callback(None))
        self._conversation.goodbye()
        return gone

    def announce(self, batch: Batch) -> None:
        """Send this batch if there is a session; the next session begins with what is not acknowledged."""
        if self._conversation is not None and self._conversation.welcome is not None:
            self._conversation.announce(batch)

    def who_holds(self, numbers: Iterable[int]) -> Deferred[list[HoldersEntry]]:
        """Ask who holds and who knows these items (at most LIST_ITEMS); fails with `PeerTimeout` without a tracker."""
        if self._conversation is None:
            return fail(PeerTimeout("There is no connection to the tracker."))
        return self._conversation.who_holds(numbers)

    def dial_me(self, member: int) -> bool:
        """Ask `member`, through the tracker, to dial this peer; return whether there was a tracker to ask."""
        if self._conversation is None or self._conversation.welcome is None:
            return False
        self._conversation.dial_me(member)
        return True

    def reconnect(self) -> None:
        """Begin a new session now, also after `DuplicateDevice`: what was said in this one is void."""
        self._failures = 0
        self._wanted = True
        if self._conversation is not None:
            self._conversation.abort("a new session is wanted")
        elif self._dialling is not None:
            self._dialling.cancel()
        else:
            self._dial()

    def check(self) -> None:
        """This machine slept, or its network was gone: find out whether the tracker is there, or dial it, now."""
        if self._conversation is not None and self._conversation.welcome is not None:
            self._conversation.check()
        elif self._dialling is not None or self._backoff.is_set:
            self.reconnect()

    # -- the loop -------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            for address in list(self._trackers):
                await self._try(address)
                if self._stopping:
                    return
                if self._wanted or isinstance(self.error, DuplicateDevice):
                    break
            if isinstance(self.error, DuplicateDevice):
                self.error = None
                await self._until_told()
                continue
            await self._pause()

    async def _try(self, address: TrackerAddress) -> None:
        """Dial one tracker and talk to it for as long as that lasts."""
        self._wanted = False
        conversation = self._conversation_with(address)
        endpoint = self._network.client(address.host, address.port, alpn=TRACKER_ALPN)
        try:
            self._dialling = endpoint.connect(_Once(conversation))
            await self._dialling
        except (CancelledError, ConnectingCancelledError):
            if self._stopping or not self._wanted:
                raise
            return
        except (ConnectError, DNSLookupError, OSError) as refused:
            self._failed(f"The tracker at {address.address} can not be reached: {refused}")
            return
        finally:
            self._dialling = None
        self._conversation = conversation
        try:
            error = await conversation.ended
        finally:
            self._conversation = None
        welcomed = conversation.welcome is not None
        if welcomed:
            self._updates.disconnected()
        self._judge(address, error, welcomed)

    def _conversation_with(self, address: TrackerAddress) -> TrackerConversation:
        return TrackerConversation(
            self._network,
            pin=address.pin,
            where=address.address,
            keys=self._keys,
            updates=self._updates,
            nonce=self._entropy(16),
            random=self._random,
            welcomed=lambda: self._welcomed(address),
        )

    def _welcomed(self, address: TrackerAddress) -> None:
        self._log.info("Connected to the tracker at {where}", where=address.address)
        self._trackers.remove(address)
        self._trackers.insert(0, address)
        self._welcomed_at = self._clock.seconds()
        self.error = None
        self._notice.stop()

    def _judge(self, address: TrackerAddress, error: TwistedP2PError | None, welcomed: bool) -> None:
        """Say what became of a connection."""
        self.error = error
        if self._stopping:
            return
        if welcomed and self._clock.seconds() - self._welcomed_at >= limits.SESSION_STEADY:
            # A session that breaks at once, whosever fault it is, must not be begun several times a second.
            self._failures = 0
        text = str(error) if error is not None else f"The tracker at {address.address} closed the connection."
        if isinstance(error, Refusal):
            self._why = text
            if not self._notice.is_set and not isinstance(error, DuplicateDevice):
                self._notice.set(limits.TRACKER_NOTICE)
            self._updates.refused(error)
        elif welcomed:
            # It was there a moment ago; it counts as gone when it can not be dialled.
            self._why = text
            self._log.info("Lost the tracker: {why}", why=text)
        else:
            self._failed(text)

    def _failed(self, text: str) -> None:
        self._why = text
        if not self._notice.is_set and not self._stopping:
            self._say_unreachable()

    def _say_unreachable(self) -> None:
        self._notice.set(limits.TRACKER_NOTICE)
        self._updates.unreachable(self._why)

    async def _pause(self) -> None:
        """Wait before the next round; `reconnect` cuts it short."""
        seconds = min(limits.BACKOFF_MOST, limits.BACKOFF_FIRST * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        self._backoff.set(seconds * (0.75 + 0.25 * self._random()))
        try:
            await self._until_told()
        finally:
            self._backoff.stop()

    async def _until_told(self) -> None:
        """Wait for `_dial`, unless somebody wanted a new session already."""
        if self._wanted:
            return
        self._dial_again = Deferred()
        try:
            await self._dial_again
        finally:
            self._dial_again = None

    def _dial(self) -> None:
        if self._dial_again is not None:
            again, self._dial_again = self._dial_again, None
            again.callback(None)

    def _ended(self, failure: Failure) -> None:
        self._notice.stop()
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._log.failure("The client of the tracker failed", failure=failure)


class _Once(Factory):
    """Hands out one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: TrackerConversation) -> None:
        self._made = protocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return it."""
        return self._made
