"""A short visit at a tracker, to hear what it says to a member: who is alive, and what time it is.

The guest proves membership with a device key of its own, says that it has nothing, and leaves as soon as it was told
who is there. So it is listed for a moment, and no session of a device that runs is disturbed.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError

from twistedp2p.errors import PeerTimeout, TwistedP2PError
from twistedp2p.framing.network import TRACKER_ALPN, Network
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import ShareKeys
from twistedp2p.limits import REFUSAL_LINGER, REPLY
from twistedp2p.messages.tracker import Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.tracker.conversation import TrackerConversation
from twistedp2p.tracker.updates import HelloFacts

__all__ = ["Visit", "visit"]

_NOTHING = SetDigest(0, bytes(16))


@frozen
class Visit:
    """What a guest was told: the time on the tracker's clock (seconds since 1970; None if it does not tell), and who is
    alive."""

    time: float | None = None
    peers: tuple[PeerInfo, ...] = ()


def visit(
    network: Network,
    tracker: TrackerAddress,
    keys: ShareKeys,
    *,
    versions: tuple[int, ...],
    entropy: Callable[[int], bytes],
) -> Deferred[Visit]:
    """Return what this tracker tells a member of the share; fails with a `TwistedP2PError`, which has a sentence.

    `network` must have a device key of its own; `versions` are those that this package speaks with peers.
    """
    return Deferred.fromCoroutine(_visit(network, tracker, keys, versions, entropy))


async def _visit(
    network: Network,
    tracker: TrackerAddress,
    keys: ShareKeys,
    versions: tuple[int, ...],
    entropy: Callable[[int], bytes],
) -> Visit:
    guest = _Guest(entropy(16), versions)
    conversation = TrackerConversation(
        network,
        pin=tracker.pin,
        where=tracker.address,
        keys=keys,
        updates=guest,
        nonce=entropy(16),
        random=lambda: 0.0,
        welcomed=lambda: None,
    )
    guest.leave = conversation.goodbye
    try:
        await connectProtocol(network.client(tracker.host, tracker.port, alpn=TRACKER_ALPN), conversation)
    except (ConnectError, DNSLookupError, OSError) as error:
        raise TwistedP2PError(f"The tracker at {tracker.address} can not be reached: {error}") from error
    waking = [network.clock.callLater(REPLY, conversation.abort, PeerTimeout(f"{tracker.address} is silent."))]
    guest.arrived = lambda: waking.append(network.clock.callLater(REFUSAL_LINGER, conversation.goodbye))
    try:
        why = await conversation.ended
    finally:
        for call in waking:
            if call.active():
                call.cancel()
    if conversation.welcome is None:
        raise why or TwistedP2PError(f"The tracker at {tracker.address} hung up.")
    return guest.told


class _Guest:
    """Takes the news of one short session; see `Updates`."""

    def __init__(self, nonce: bytes, versions: tuple[int, ...]) -> None:
        self._facts = HelloFacts(nonce, "doctor", versions, (), b"", 0, _NOTHING, _NOTHING)
        self.told = Visit()
        self.arrived: Callable[[], object] = lambda: None
        self.leave: Callable[[], object] = lambda: None

    def hello(self) -> Deferred[HelloFacts]:
        """Say that nothing is known or held, and that nobody can reach this one."""
        return succeed(self._facts)

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        """Nothing was announced."""
        return succeed((_NOTHING, _NOTHING))

    def welcomed(self, welcome: Welcome) -> None:
        """Note the time. Who is alive is told next, if anybody is."""
        self.told = evolve(self.told, time=welcome.time)
        self.arrived()

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        """Note who is alive, and leave."""
        self.told = evolve(self.told, peers=self.told.peers + up)
        self.leave()

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        """Nothing was announced."""
        return succeed([])

    def delta_entries(self, entries: tuple[Entry, ...]) -> None:
        """Not taken in."""

    def delta_end(self, end: int) -> None:
        """Not taken in."""

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        """Nothing was announced."""

    def say_all(self, whole: bool) -> None:
        """Nothing to say."""

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        """Not taken in."""

    def dial_me(self, member: int) -> None:
        """Nobody is dialled."""

    def disconnected(self) -> None:
        """The visit is over."""

    def refused(self, error: TwistedP2PError) -> None:
        """`ended` has it."""

    def unreachable(self, text: str) -> None:
        """`visit` fails with it."""
