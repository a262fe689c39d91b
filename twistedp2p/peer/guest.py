"""A guest of a share: hears from a tracker what the members know, announces nothing, and leaves.

A guest proves membership with the invite, under a device key that is thrown away. The others see it listed while it
listens; it has no address, knows nothing and holds nothing, so none of them has anything to do about it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twistedp2p.errors import TwistedP2PError
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.network import Network
from twistedp2p.identity.invite import Invite
from twistedp2p.identity.proof import NONCE_BYTES
from twistedp2p.limits import GUEST_PATIENCE, GUEST_PEERS
from twistedp2p.messages.tracker import Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.peer.rehearsal import Rehearsal
from twistedp2p.peer.tracking import VERSIONS
from twistedp2p.peer.workers import Workers
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.tracker.updates import HelloFacts

__all__ = ["Guest", "hear"]


async def hear(
    rehearsal: Rehearsal,
    invite: Invite,
    *,
    network: Network,
    workers: Workers,
    entropy: Callable[[int], bytes],
    random: Callable[[], float],
) -> int:
    """Let `rehearsal` hear all that the members of the share know; return how many of them are alive.

    `network` has a device key that nothing else has. Raises `TwistedP2PError` if no tracker can be reached, or none
    lets this guest in.
    """
    guest = Guest(rehearsal, workers, entropy(NONCE_BYTES), network, alone=len(invite.trackers) == 1)
    client = TrackerClient(
        network=network, trackers=invite.trackers, keys=invite.keys(), updates=guest, entropy=entropy, random=random
    )
    client.start()
    try:
        return await guest.done
    finally:
        guest.stop()
        await client.stop()
        await workers.state(lambda: None)  # what is still being taken in ends first


class Guest:
    """Takes the news from a tracker for a rehearsal; see `tracker.updates.Updates` for the verbs.

    `nonce` is new (16 bytes). `alone`: there is no other tracker to try when one can not be reached.
    """

    def __init__(self, rehearsal: Rehearsal, workers: Workers, nonce: bytes, network: Network, *, alone: bool) -> None:
        self._rehearsal = rehearsal
        self._workers = workers
        self._nonce = nonce
        self._alone = alone
        self._alive: set[int] = set()
        self._heard = False
        self._why = "It did not answer."
        self._patience = Alarm(network.clock, self._give_up)
        self._patience.set(GUEST_PATIENCE)
        self._nobody = Alarm(network.clock, self._end)
        self._result: int | Failure | None = None
        # Not at once: who hears of it ends the client, which must not be in the middle of something.
        self._tell = Alarm(network.clock, self._told)
        self.done: Deferred[int] = Deferred()
        """Fires with the number of live members once all that they know was heard."""

    def stop(self) -> None:
        """Wait for nothing any more."""
        for alarm in (self._patience, self._nobody, self._tell):
            alarm.stop()

    # -- asked --------------------------------------------------------------

    def hello(self) -> Deferred[HelloFacts]:
        """Return that this is nobody, and how far it has read."""
        index = self._rehearsal.index
        nothing = SetDigest()
        return succeed(
            HelloFacts(
                nonce=self._nonce,
                name="(only looking)",
                versions=VERSIONS,
                addresses=(),
                epoch=index.epoch,
                cursor=index.cursor,
                known=nothing,
                held=nothing,
            )
        )

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        """Return that nothing was announced."""
        return succeed((SetDigest(), SetDigest()))

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        """Return nothing: nothing was announced."""
        return succeed([])

    # -- told ---------------------------------------------------------------

    def welcomed(self, welcome: Welcome) -> Deferred[None]:
        """A session begins."""
        self._patience.stop()
        return self._workers.state(self._rehearsal.welcome, welcome).addCallbacks(self._took, self._broke)

    def delta_entries(self, entries: tuple[Entry, ...]) -> Deferred[None]:
        """A piece of a delta."""
        return self._workers.state(self._rehearsal.stage, entries).addErrback(self._broke)

    def delta_end(self, end: int) -> Deferred[None]:
        """The delta is complete."""
        return self._workers.state(self._rehearsal.end_delta, end).addCallbacks(self._took, self._broke)

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        """Members came up, and members are gone."""
        self._alive.update(info.member for info in up)
        self._alive.difference_update(down)
        self._end_if_all()

    def disconnected(self) -> None:
        """The session is over: what is missing is heard in the next one."""
        self._alive.clear()
        if self._result is None:
            self._patience.set(GUEST_PATIENCE)
            self._workers.state(self._rehearsal.disconnected).addErrback(self._broke)

    def refused(self, error: TwistedP2PError) -> None:
        """The tracker refused this guest."""
        self._fail(error)

    def unreachable(self, text: str) -> None:
        """There is no tracker."""
        self._why = text
        if self._alone:
            self._give_up()

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        """Nothing was announced."""

    def say_all(self, whole: bool) -> None:
        """There is nothing to say."""

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        """Who holds what does not matter here."""

    def dial_me(self, member: int) -> None:
        """Nobody can want anything of a guest."""

    # -- the end ------------------------------------------------------------

    def _took(self, _: None) -> None:
        if self._rehearsal.caught and not self._heard:
            self._heard = True
            # A tracker that lists nobody does not say so.
            self._nobody.set(GUEST_PEERS)
        self._end_if_all()

    def _end_if_all(self) -> None:
        if self._heard and self._alive:
            self._end()

    def _end(self) -> None:
        self._finish(len(self._alive))

    def _give_up(self) -> None:
        self._fail(TwistedP2PError(self._why))

    def _fail(self, error: TwistedP2PError) -> None:
        self._finish(Failure(error))

    def _broke(self, failure: Failure) -> None:
        self._finish(failure)

    def _finish(self, result: int | Failure) -> None:
        if self._result is None:
            self._result = result
            self._tell.set(0)

    def _told(self) -> None:
        self.done.callback(self._result)  # type: ignore[arg-type]  # a Failure fails it
