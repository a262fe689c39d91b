"""A world: trackers, peers and their people in one process and in virtual time; one seed is one run.

    with World(seed, folder) as world:
        world.tracker()
        anna, ben = world.peers(2)
        anna.write("letter", b"Dear Ben")
        world.settle()
        assert ben.tree() == anna.tree()

Only TLS, threads and the watch are replaced; folders, indexes and keys are real, below `folder`. What happens by
chance depends on the seed alone. When the world ends it raises if anything was logged as a failure.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.identity.invite import Invite
from twistedp2p.identity.share import SECRET_BYTES
from twistedp2p.testing.clock import SimClock, Stuck
from twistedp2p.testing.network import Internet, Traits
from twistedp2p.testing.nodes import SimPeer, SimTracker
from twistedp2p.testing.trees import FOLDER, Ledger

__all__ = ["World"]

SETTLE_SECONDS = 300.0
"""In this time all must be in sync once nothing is in the way: three expiries of a tracker."""


class World:
    """All that there is in one run.

    Args:
        seed: decides all that chance decides.
        folder: an empty folder of this disk for the folders and state of all nodes.
        traits: what the wires are like.
        keepalive, expiry: of the trackers, seconds.
    """

    def __init__(
        self,
        seed: int | str,
        folder: Path,
        *,
        traits: Traits | None = None,
        keepalive: float = limits.KEEPALIVE,
        expiry: float = limits.EXPIRY,
    ) -> None:
        self.seed = seed
        self.folder = folder
        self.keepalive = keepalive
        self.expiry = expiry
        self.clock = SimClock()
        self.internet = Internet(self.clock, self.chance("wires"), traits)
        self.ledger = Ledger()
        self.failures: list[str] = []
        self.trackers: dict[str, SimTracker] = {}
        self.members: dict[str, SimPeer] = {}
        self._invite: Invite | None = None
        self._hosts = 0
        self._observer = cast(ILogObserver, self._logged)
        globalLogPublisher.addObserver(self._observer)

    def chance(self, *what: object) -> Random:
        """Return chance for one purpose, which depends on nothing else that happens."""
        return Random(repr((self.seed, *what)))  # noqa: S311  # the same seed must give the same run

    # -- nodes ----------------------------------------------------------------

    def tracker(self, name: str = "tracker") -> SimTracker:
        """Start a tracker; all must be there before the first peer, so that the invite names them."""
        assert self._invite is None, "there is an invite already"
        self.trackers[name] = SimTracker(self, name, self.new_host())
        return self.trackers[name]

    @property
    def invite(self) -> Invite:
        """The invite of the world's share, made when it is first asked for."""
        if self._invite is None:
            addresses = tuple(tracker.address for tracker in self.trackers.values())
            self._invite = Invite(self.chance("secret").randbytes(SECRET_BYTES), addresses)
        return self._invite

    def new_peer(self, name: str | None = None, *, durable: bool = False) -> SimPeer:
        """Return a peer that is not started: its folder is there to be filled; `durable`: it syncs what it writes."""
        name = name or f"peer{len(self.members) + 1}"
        self.members[name] = SimPeer(self, name, self.new_host(), self.invite, durable=durable)
        return self.members[name]

    def peers(self, count: int) -> list[SimPeer]:
        """Start so many peers with empty folders."""
        made = [self.new_peer() for _ in range(count)]
        for peer in made:
            peer.start()
        return made

    def new_host(self) -> str:
        """Return an address that no machine has, or had."""
        self._hosts += 1
        return f"10.0.{self._hosts // 250}.{self._hosts % 250 + 1}"

    @property
    def _running(self) -> list[SimPeer]:
        return [peer for peer in self.members.values() if peer.running]

    # -- time -----------------------------------------------------------------

    def wait_for(self, deferred: Deferred[Any]) -> None:
        """Let time go by until this fires; raises what it fails with."""
        results: list[object] = []
        deferred.addBoth(results.append)
        self.clock.run_until(lambda: bool(results), SETTLE_SECONDS, "what was begun")
        if isinstance(results[0], Failure):
            results[0].raiseException()

    def settle(self, limit: float = SETTLE_SECONDS) -> float:
        """Let time go by until all peers that run are in sync, and agree; return how many seconds it took."""
        try:
            return self.clock.run_until(lambda: self.settled, limit, "that all peers are in sync")
        except Stuck as stuck:
            raise Stuck("\n".join([str(stuck), *(peer.standing() for peer in self.members.values())])) from None

    @property
    def settled(self) -> bool:
        """Whether all peers that run are in sync, know the same and hold all but what they ignore, and their tracker
        knows them."""
        running = self._running
        if not all(peer.in_sync for peer in running):
            return False
        # A peer may not have heard yet that its tracker is gone.
        alive = [tracker.service.counters.peers for tracker in self.trackers.values() if tracker.running]
        if sum(alive) < len(running):
            return False
        first = running[0].peer.index.own_digests()[0] if running else None
        for peer in running:
            known, held = peer.peer.index.own_digests()
            if known != first or held.count != known.count - peer.peer.index.totals().ignored:
                return False
        return True

    # -- what may happen to the network ---------------------------------------

    def partition(self, some: Iterable[SimPeer | SimTracker], others: Iterable[SimPeer | SimTracker]) -> None:
        """Let nothing through between some nodes and others."""
        self.internet.partition([node.host for node in some], [node.host for node in others])

    def heal(self) -> None:
        """End all partitions."""
        self.internet.heal()

    def shut_out(self, callers: Iterable[SimPeer | SimTracker], nodes: Iterable[SimPeer | SimTracker]) -> None:
        """Let nothing answer calls of some nodes to others; those can still dial them. `internet.let_in` ends it."""
        self.internet.shut_out([caller.host for caller in callers], [node.host for node in nodes])

    def break_connections(self, one: SimPeer | SimTracker, other: SimPeer | SimTracker) -> int:
        """Break all connections between two nodes, with what is on the way; return how many there were."""
        return self.internet.break_connections(one.host, other.host)

    # -- what must be true ----------------------------------------------------

    def assert_same(self) -> None:
        """Raise unless all folders hold the same, and nothing that anybody saved is lost."""
        trees = {peer.name: peer.tree() for peer in self.members.values()}
        first_name, first = next(iter(trees.items()))
        for name, tree in trees.items():
            differing = sorted(path for path in first.keys() | tree.keys() if first.get(path) != tree.get(path))
            assert not differing, f"{first_name} and {name} differ in {differing[:10]}"
        lost = self.ledger.lost(first)
        assert not lost, f"lost: {lost[:10]}"

    def assert_explained(self) -> None:
        """Raise if there is a conflict copy where nobody saved two versions that knew nothing of each other."""
        for peer in self.members.values():
            contents = {path: content for path, (content, _) in peer.tree().items() if content != FOLDER}
            superfluous = self.ledger.lineage.unexplained(contents)
            assert not superfluous, f"{peer.name} has conflict copies without a conflict: {superfluous[:10]}"

    def assert_silent(self, seconds: float = 600.0) -> None:
        """Raise unless all stay in sync for a while, and say nothing but that they are alive."""
        batches = self._batches()
        self.clock.advance(seconds)
        assert self.settled, [peer.standing() for peer in self._running]
        assert self._batches() == batches, f"{self._batches() - batches} batches were announced without a change"

    def _batches(self) -> int:
        return sum(tracker.service.counters.batches for tracker in self.trackers.values() if tracker.running)

    @property
    def trace(self) -> str:
        """A hash of all that has arrived anywhere so far, and when."""
        return self.internet.trace

    # -- the end --------------------------------------------------------------

    def _logged(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.critical and "log_failure" in event:
            self.unexpected(event["log_failure"].getTraceback())

    def unexpected(self, what: object) -> None:
        """Note what must not have happened; the end of the world raises it."""
        self.failures.append(f"at {self.clock.seconds():.3f} s: {what}")

    def close(self) -> None:
        """Kill all that runs, and take no more notice of the log."""
        for peer in self.members.values():
            if peer.running:
                peer.kill()
            peer.close_left()
        for tracker in self.trackers.values():
            if tracker.running:
                tracker.kill()
        globalLogPublisher.removeObserver(self._observer)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            assert not self.failures, "\n".join(self.failures)
