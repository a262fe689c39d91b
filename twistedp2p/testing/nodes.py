"""Trackers and peers of a simulation: the real ones, on a network in memory, started and killed at will."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, DeferredList

from twistedp2p.disk.real import RealDisk
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.limits import TRACKER_PORT
from twistedp2p.messages.tracker import Address
from twistedp2p.paths import RelPath
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.folder.hints import Hint, What
from twistedp2p.peer.index import Index
from twistedp2p.peer.member import Member
from twistedp2p.peer.options import PeerOptions
from twistedp2p.testing.clock import SimClock
from twistedp2p.testing.disk import SimDisk
from twistedp2p.testing.faults import Crashed, DiskFaults, FaultyDisk
from twistedp2p.testing.network import Internet, SimNetwork
from twistedp2p.testing.trees import Ledger, Tree, UserFolder, read_tree
from twistedp2p.testing.workers import SimWorkers
from twistedp2p.tracker.service import TrackerService, load_key

__all__ = ["SimPeer", "SimTracker", "Surroundings"]

PEER_PORT = 17412
FIRST_MOMENT = 1_000_000_000
"""When a simulation begins, seconds since 1970; see `disk.SimDisk` for why that is long past."""


class Surroundings(Protocol):
    """What nodes share: the world that they are in."""

    clock: SimClock
    internet: Internet
    ledger: Ledger
    folder: Path
    keepalive: float
    expiry: float

    def chance(self, *what: object) -> Random:
        """Return chance for one purpose, which depends on nothing else that happens."""

    def new_host(self) -> str:
        """Return an address that no machine has."""

    def wait_for(self, deferred: Deferred[Any]) -> None:
        """Let time go by until this fires; raises what it fails with."""

    def unexpected(self, what: object) -> None:
        """Note what must not have happened."""


class _Node:
    """A machine with an address, and at most one process at a time."""

    def __init__(self, world: Surroundings, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self._world = world
        self._starts = 0
        self._network: SimNetwork | None = None
        # What a killed process held is kept: collecting it would run its `finally` clauses, as no kill does.
        self._remains: list[object] = []

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._network is not None

    @property
    def asleep(self) -> bool:
        """Whether there is a process, and its machine sleeps."""
        return self._network is not None and self._network.suspended

    def sleep(self, seconds: float | None = None) -> None:
        """Let the machine sleep, for so many seconds or until `wake`: its clocks go on, and it does nothing."""
        network = self._network
        assert network is not None, f"{self.name} does not run"
        network.suspend()
        if seconds is not None:
            self._world.clock.callLater(seconds, lambda: network.resume() if network.suspended else None)

    def wake(self) -> None:
        """Let the machine go on, if it sleeps."""
        if self._network is not None and self._network.suspended:
            self._network.resume()

    def _entropy(self) -> Callable[[int], bytes]:
        return self._world.chance(self.name, self._starts, "entropy").randbytes

    def _end_process(self, silently: bool) -> None:
        assert self._network is not None, f"{self.name} does not run"
        self._network.kill(silently=silently)
        self._network = None


class SimTracker(_Node):
    """A tracker; its key and port outlive its process, what it knows does not."""

    def __init__(self, world: Surroundings, name: str, host: str) -> None:
        super().__init__(world, name, host)
        self._home = world.folder / name
        self._key = load_key(self._home, self._entropy())
        self.address = TrackerAddress(host, TRACKER_PORT, self._key.pin)
        self.service: TrackerService
        self.start()

    def start(self) -> None:
        """Start a process, which knows nothing of any share."""
        assert not self.running, f"{self.name} runs already"
        self._starts += 1
        self._network = SimNetwork(self._world.internet, self.host, self._key)
        self.service = TrackerService(
            home=self._home,
            listen=[f"tcp:{TRACKER_PORT}"],
            keepalive=self._world.keepalive,
            expiry=self._world.expiry,
            entropy=self._entropy(),
            network=self._network,
            key=self._key,
            wall=lambda: FIRST_MOMENT + self._world.clock.seconds(),
        )
        self.service.startService()

    def stop(self) -> None:
        """End the process as SIGTERM does."""
        self._world.wait_for(self.service.stopService())
        self._end_process(silently=False)

    def kill(self, *, silently: bool = False) -> None:
        """End the process at once; `silently`: the machine loses its power, so that nobody is told."""
        self._remains.append(self.service)
        self._end_process(silently)

    def restart(self) -> None:
        """Kill the process and start another one: all state is lost."""
        self.kill()
        self.start()


class SimPeer(_Node):
    """A peer, and the person who uses its folder; the folder is there whether or not the process runs.

    `disk` is what is wrong with its disk. `skew` is how far its wall clock is from that of the others, seconds.
    """

    def __init__(self, world: Surroundings, name: str, host: str, invite: Invite, *, durable: bool = False) -> None:
        super().__init__(world, name, host)
        self.folder = world.folder / name / "share"
        self.folder.mkdir(parents=True)
        self.disk = DiskFaults(world.chance(name, "disk"))
        self.skew = 0.0
        self.crashes = 0
        self._options = PeerOptions(
            folder=self.folder, home=Home(world.folder / name / "home"), invite=invite, name=name, durable=durable
        )
        self._left: list[Member | Index] = []
        self._dying: Deferred[object] | None = None
        self._user = UserFolder(self.folder, name, world.ledger)
        self._member: Member
        self._index: Index
        self._saves = 0
        self.peer: Peer

    # -- its process ----------------------------------------------------------

    def start(self) -> None:
        """Start a process; it may die at once, in a call of its disk. Raises the `OSError` that hinders it."""
        assert not self.running, f"{self.name} runs already"
        self.close_left()
        self._starts += 1
        self._member = Member(self._options, self._entropy())
        self._member.open()
        self._left = [self._member]
        self._member.disk.close()
        disk = FaultyDisk(SimDisk(os.fsencode(self.folder), self._wall), self.disk, self._died)
        self._member.disk = cast(RealDisk, disk)  # only a real watch needs more than the seam
        self._index = self._member.open_index()
        self._left = [self._index, self._member]
        try:
            self._build()
        except Crashed:
            pass
        except OSError:
            self._end_process(silently=False)
            self.close_left()
            raise

    def _build(self) -> None:
        world = self._world
        self._network = network = SimNetwork(world.internet, self.host, self._member.key)
        self.peer = Peer(
            self._member,
            self._index,
            network=network,
            clock=network.clock,
            workers=SimWorkers(network.clock, world.chance(self.name, self._starts, "threads")),
            entropy=world.chance(self.name, self._starts, "peer").randbytes,
            random=world.chance(self.name, self._starts, "jitter").random,
            wall=self._wall,
            name=self.name,
        )
        self.peer.tracking.cloned = lambda: world.unexpected(f"{self.name} was taken for a copy of itself")
        listening = Deferred.fromCoroutine(self.peer.listen([f"tcp:{PEER_PORT}"]))
        world.wait_for(listening)
        self.peer.start(lambda: [Address(self.host, PEER_PORT)])

    def _wall(self) -> float:
        return FIRST_MOMENT + self._world.clock.seconds() + self.skew

    def _died(self) -> None:
        """The process dies inside of a call of its disk, which is below us on the stack: what it has open stays so."""
        self.crashes += 1
        self._end_process(silently=False)
        if self._dying is not None and not self._dying.called:
            self._dying.callback(None)

    def move(self) -> None:
        """Give the machine another address: nothing gets to or from the old one any more."""
        self.host = self._world.new_host()
        if self._network is not None:
            self._network.move(self.host)

    def stop(self) -> None:
        """End the process as SIGTERM does: it says goodbye; it may die before that, in a call of its disk."""
        self.wake()
        ended: Deferred[object] = Deferred.fromCoroutine(self.peer.stop())
        self._dying = Deferred()
        self._world.wait_for(DeferredList([ended, self._dying], fireOnOneCallback=True, fireOnOneErrback=True))
        if self.running:
            self._let_go(silently=False)

    def kill(self, *, silently: bool = False) -> None:
        """End the process at once, the folder stays; `silently`: the machine loses its power, nobody is told."""
        self._let_go(silently)

    def _let_go(self, silently: bool) -> None:
        self._end_process(silently)
        self.close_left()

    def _end_process(self, silently: bool) -> None:
        self._remains += vars(self).get("peer", ()), self._member
        super()._end_process(silently)

    def close_left(self) -> None:
        """Close what a process that is gone had open, as its system does; once it is not on the stack any more."""
        left, self._left = self._left, []
        for one in left:
            one.close()

    def restart(self) -> None:
        """Kill the process and start another one."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let the peer rest: it says goodbye, and the process keeps the folder and its index."""
        self._world.wait_for(Deferred.fromCoroutine(self.peer.stop()))
        self._end_process(silently=False)

    def resume(self) -> None:
        """Let a paused peer go on."""
        assert not self.running, f"{self.name} is not paused"
        self._starts += 1
        self._build()

    def lose_index(self) -> None:
        """Remove the index of a peer that does not run."""
        assert not self.running, f"{self.name} still runs"
        for file in (self.folder / ".twistedp2p").glob("index.sqlite*"):
            file.unlink()

    @property
    def in_sync(self) -> bool:
        """Whether the process runs, has a tracker and has nothing left to do."""
        return self.running and self.peer.client.welcome is not None and self.peer.sync.in_sync

    def standing(self) -> str:
        """Return, for a person, what this peer waits for."""
        if not self.running:
            return f"{self.name} does not run"
        sync = self.peer.sync
        tracker = "" if self.peer.client.welcome else " without a tracker"
        return (
            f"{self.name}{tracker}: in sync {sync.in_sync}, wants {len(sync.wants)}, "
            f"unsettled {self.peer.index.unsettled(5)}, errors {sync.errors}"
        )

    # -- its person -----------------------------------------------------------

    def tree(self) -> Tree:
        """Return what the folder holds."""
        return read_tree(self.folder)

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Save a file."""
        self._saves += 1
        # No two saves have the same time, as on a real disk, whose clock is finer than a person.
        now = int(self._wall() * 1e6) * 1000 + self._saves % 1000
        new = self._new_folder(path)
        self._user.write(path, content, now, executable)
        self._hint(new or Hint(RelPath(path), What.CLOSED))

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, over a file that is there."""
        folder = self._new_folder(new)
        self._user.rename(old, new)
        if folder is not None:
            self._hint(folder)
        self._hint(Hint(RelPath(new), What.MOVED_IN, RelPath(old)))

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it."""
        self._user.delete(path)
        self._hint(Hint(RelPath(path), What.GONE))

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it."""
        new = self._new_folder(path)
        self._user.make_folder(path)
        self._hint(new or Hint(RelPath(path), What.FOLDER))

    def _new_folder(self, path: str) -> Hint | None:
        """Return what a watch tells of the folders that are made for `path`: only the topmost one."""
        new = [folder for folder in RelPath(path).ancestors() if not (self.folder / folder.text).exists()]
        return Hint(new[-1], What.FOLDER) if new else None

    def _hint(self, hint: Hint) -> None:
        """Tell the process what its watch would."""
        if self.running:
            self.peer.quiet.add(hint, self._world.clock.seconds())
            self.peer.observer.hinted()
