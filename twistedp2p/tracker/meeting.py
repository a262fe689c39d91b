"""Meeting one other node at a tracker: for two that share a secret and nothing else.

Both are members of a share that follows from the secret, say that they have nothing, and hear of each other: where the
other listens, and that it can not reach this one and wants to be dialled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed

from twistedp2p.errors import TwistedP2PError
from twistedp2p.framing.network import Network
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Address, Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.tracker.updates import HelloFacts

__all__ = ["Meeting"]

_NOTHING = SetDigest(0, bytes(16))


class Meeting:
    """A place in the list of a tracker, from `start` to `stop`.

    Args:
        network: with the device key of this node.
        tracker: where to meet.
        keys: of the share that both are members of.
        addresses: where this node listens.
        name: by which it is shown to people.
        random: floats from 0 to 1, for waits.
        entropy: random bytes.
        came: told of a node that is there, or moved.
        asked: told of a node that wants to be dialled by this one.
        trouble: told why the tracker can not be used, in a sentence.
    """

    def __init__(
        self,
        network: Network,
        tracker: TrackerAddress,
        keys: ShareKeys,
        *,
        addresses: Sequence[Address],
        name: str,
        random: Callable[[], float],
        entropy: Callable[[int], bytes],
        came: Callable[[PeerInfo], object] = lambda _: None,
        asked: Callable[[PeerInfo], object] = lambda _: None,
        trouble: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._facts = HelloFacts(entropy(16), name, (1,), tuple(addresses), b"", 0, _NOTHING, _NOTHING)
        self._came = came
        self._asked = asked
        self._trouble = trouble
        self._there: dict[int, PeerInfo] = {}
        self._client = TrackerClient(network, [tracker], keys, self, random=random, entropy=entropy)

    def start(self) -> None:
        """Go to the tracker, and again when the connection breaks."""
        self._client.start()

    def stop(self) -> Deferred[None]:
        """Leave; fires when the connection is gone."""
        return self._client.stop()

    def ask_to_dial(self, node: bytes) -> bool:
        """Ask a node that is there to dial this one; return whether it could be told."""
        numbers = [number for number, info in self._there.items() if info.node == node]
        return bool(numbers) and self._client.dial_me(numbers[0])

    # -- what the tracker says, see `Updates` --

    def hello(self) -> Deferred[HelloFacts]:
        """Say where this node listens."""
        return succeed(self._facts)

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        """Nothing was announced."""
        return succeed((_NOTHING, _NOTHING))

    def welcomed(self, welcome: Welcome) -> None:
        """Who is there is told next."""
        self._there.clear()

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        """Note who is there."""
        for number in down:
            self._there.pop(number, None)
        for info in up:
            self._there[info.member] = info
            self._came(info)

    def dial_me(self, member: int) -> None:
        """Somebody wants to be dialled."""
        if member in self._there:
            self._asked(self._there[member])

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

    def disconnected(self) -> None:
        """The client dials again."""
        self._there.clear()

    def refused(self, error: TwistedP2PError) -> None:
        """Tell why."""
        self._trouble(str(error))

    def unreachable(self, text: str) -> None:
        """Tell why."""
        self._trouble(text)
