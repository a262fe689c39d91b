"""Stories that chance tells: what people, machines and networks do to one share, all of it decided by a seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from twistedp2p.limits import RETRY_MOST
from twistedp2p.testing.faults import CAN_FAIL, Moment
from twistedp2p.testing.network import Traits
from twistedp2p.testing.nodes import SimPeer, SimTracker
from twistedp2p.testing.trees import FOLDER, Tree
from twistedp2p.testing.world import World

NAMES = ("a", "b", "a/x", "a/y", "b/z", "b/z/deep", "Grüße.txt", "new\nline")
"""Few, so that people meet; some are a file for one and a folder for another."""
SLEEPS = (2.0, 40.0, 400.0)
"""How long a machine sleeps, seconds: shorter than any time-out, longer than some, longer than all."""
SKEWS = (0.4, 90.0, 3 * 3600.0, 40 * 86400.0)
"""How far a wall clock jumps, seconds, either way."""


class Story:
    """One story: `tell` it; `lines` says what happened."""

    def __init__(self, seed: int, folder: Path, *, peers: int = 4, steps: int = 40) -> None:
        self.lines: list[str] = []
        self._chance = chance = Random(f"story {seed}")
        slowest = chance.choice((0.005, 0.05, 0.3))
        bandwidth = chance.choice((None, None, 2_000_000.0))
        self.world = World(seed, folder, traits=Traits((0.0002, slowest), bandwidth, fragments=chance.random()))
        self._steps = steps
        self._saves = 0
        self.trackers = [self.world.tracker()]
        self.peers = [self.world.new_peer(durable=chance.random() < 0.25) for _ in range(peers)]
        self.accidents = False
        """Whether an index was lost: then names may meet that have no history in common."""
        for peer in self.peers:
            if chance.random() < 0.3:
                peer.skew = self._skew()

    def tell(self) -> None:
        """Let it happen, then let everybody return and agree; raises if anything is lost, differs or goes on."""
        with self.world:
            for peer in self.peers:
                for _ in range(self._chance.randrange(3)):
                    self._act(peer)
                self._start(peer)
            for _ in range(self._steps):
                self._step()
            self._end()

    def _end(self) -> None:
        self._say("all return")
        self.world.heal()
        self.world.internet.let_in()
        for peer in self.peers:
            peer.disk.mend()
        for node in self._nodes:
            node.wake()
            if not node.running:
                node.start()
        # What the disk refused to show is looked at again after a while, and nobody waits for it.
        self.world.clock.advance(RETRY_MOST)
        self.world.settle(1000)
        self.world.assert_same()
        self.world.assert_silent(150)
        self.world.assert_same()
        # Who saves over a file that a crash left half published may have it as a copy: nobody can tell what was seen.
        if not (self.accidents or any(peer.crashes for peer in self.peers)):
            self.world.assert_explained()

    @property
    def _nodes(self) -> list[SimPeer | SimTracker]:
        return [*self.trackers, *self.peers]

    def _say(self, what: str) -> None:
        self.lines.append(f"{self.world.clock.seconds():10.3f}  {what}")

    def _step(self) -> None:
        kind = self._chance.random()
        if kind < 0.55:
            self._act(self._chance.choice(self.peers))
        elif kind < 0.85:
            self._wait()
        else:
            self._chance.choice(self._faults())()

    def _wait(self) -> None:
        seconds = self._chance.choice((0.001, 0.01, 0.05, 0.3, 1.0, 3.0, 15.0, 150.0)) * self._chance.random()
        self.world.clock.advance(seconds)

    # -- people ---------------------------------------------------------------

    def _act(self, peer: SimPeer) -> None:
        tree = peer.tree()
        action = self._chance.choice((self._write, self._write, self._write, self._rename, self._delete, self._make))
        action(peer, tree)

    def _name(self) -> str:
        return self._chance.choice(NAMES)

    def _write(self, peer: SimPeer, tree: Tree) -> None:
        path = self._chance.choice(_files(tree)) if _files(tree) and self._chance.random() < 0.5 else self._name()
        if tree.get(path, (b"", False))[0] == FOLDER or _blocked(tree, path):
            return
        self._saves += 1
        content = f"save {self._saves} at {peer.name}".encode()
        if self._chance.random() < 0.1:
            content = b"what anybody may have"
        elif self._chance.random() < 0.15:
            content += self._chance.randbytes(self._chance.randrange(400_000))
        self._say(f"{peer.name} saves {path!r}: {content[:30]!r}, {len(content)} bytes")
        peer.write(path, content, executable=self._chance.random() < 0.1)

    def _rename(self, peer: SimPeer, tree: Tree) -> None:
        if not tree:
            return
        old, new = self._chance.choice(sorted(tree)), self._name()
        kinds = {tree[old][0] == FOLDER, tree.get(new, (FOLDER, False))[0] == FOLDER}
        in_the_way = new in tree and True in kinds
        if in_the_way or _blocked(tree, new) or f"{new}/".startswith(f"{old}/"):
            return
        self._say(f"{peer.name} renames {old!r} to {new!r}")
        peer.rename(old, new)

    def _delete(self, peer: SimPeer, tree: Tree) -> None:
        if tree:
            path = self._chance.choice(sorted(tree))
            self._say(f"{peer.name} deletes {path!r}")
            peer.delete(path)

    def _make(self, peer: SimPeer, tree: Tree) -> None:
        path = self._name()
        if path not in tree and not _blocked(tree, path):
            self._say(f"{peer.name} makes the folder {path!r}")
            peer.make_folder(path)

    # -- machines and the network ---------------------------------------------

    def _faults(self) -> list[Callable[[], None]]:
        peer = [self._end_peer, self._start_peer, self._start_peer, self._sleep, self._move, self._jump]
        disk = [self._crash, self._crash, self._fail, self._fill, self._mend]
        return [*peer, *disk, self._tracker, self._partition, self._shut, self._heal, self._break]

    def _end_peer(self) -> None:
        peer = self._chance.choice(self.peers)
        if not peer.running:
            return
        how = self._chance.choice(("killed", "without power", "stopped", "killed, index lost"))
        if how == "killed, index lost" and not (all(other.running for other in self.peers) and self.world.settled):
            # With the index goes the knowledge of a deletion that nobody was told of: the others would wait for ever
            # for what was deleted, until somebody gives it up.
            how = "killed"
        self._say(f"{peer.name} is {how}")
        if how == "stopped":
            peer.stop()
        else:
            peer.kill(silently=how == "without power")
        if how == "killed, index lost":
            self.accidents = True
            peer.lose_index()

    def _start_peer(self) -> None:
        peer = self._chance.choice(self.peers)
        if not peer.running:
            self._start(peer)

    def _start(self, peer: SimPeer) -> None:
        self._say(f"{peer.name} starts")
        try:
            peer.start()
        except OSError as error:
            self._say(f"{peer.name} can not start: {error}")

    def _sleep(self) -> None:
        node = self._chance.choice(self._nodes)
        if node.running and not node.asleep:
            seconds = self._chance.choice(SLEEPS) * self._chance.random()
            self._say(f"{node.name} sleeps for {seconds:.1f} s")
            node.sleep(seconds)

    def _move(self) -> None:
        peer = self._chance.choice(self.peers)
        if not peer.asleep:
            peer.move()
            self._say(f"{peer.name} has the address {peer.host} now")

    def _skew(self) -> float:
        return self._chance.choice(SKEWS) * self._chance.uniform(-1, 1)

    def _jump(self) -> None:
        peer = self._chance.choice(self.peers)
        peer.skew = self._skew()
        self._say(f"the clock of {peer.name} is off by {peer.skew:.1f} s")

    # -- disks ----------------------------------------------------------------

    def _crash(self) -> None:
        peer = self._chance.choice(self.peers)
        calls, moment = self._chance.randrange(1, 120), self._chance.choice(list(Moment))
        self._say(f"{peer.name} will die {moment.name} call {calls} of its disk from now on")
        peer.disk.crash(calls, moment)

    def _fail(self) -> None:
        peer = self._chance.choice(self.peers)
        error, often = self._chance.choice(sorted(CAN_FAIL)), self._chance.choice((0.02, 0.2, 1.0))
        seconds = self._chance.choice((1.0, 30.0, 200.0)) * self._chance.random()
        self._say(f"for {seconds:.1f} s calls of the disk of {peer.name} fail, {often:g}: {os.strerror(error)}")
        peer.disk.fail(error, often=often)
        self.world.clock.callLater(seconds, peer.disk.mend)

    def _fill(self) -> None:
        peer = self._chance.choice(self.peers)
        peer.disk.room = self._chance.choice((0, 1000, 500_000))
        self._say(f"the disk of {peer.name} has room for {peer.disk.room} bytes")

    def _mend(self) -> None:
        peer = self._chance.choice(self.peers)
        self._say(f"the disk of {peer.name} is well: {peer.disk.failed} calls have failed, {peer.crashes} crashes")
        peer.disk.mend()

    def _tracker(self) -> None:
        tracker = self._chance.choice(self.trackers)
        if not tracker.running:
            self._say(f"{tracker.name} starts")
            tracker.start()
        elif self._chance.random() < 0.5:
            self._say(f"{tracker.name} is killed")
            tracker.kill(silently=self._chance.random() < 0.3)
        else:
            self._say(f"{tracker.name} is killed and starts")
            tracker.restart()

    def _partition(self) -> None:
        nodes = self._nodes
        some = self._chance.sample(nodes, self._chance.randrange(1, len(nodes)))
        self._say(f"cut off from the others: {', '.join(node.name for node in some)}")
        self.world.partition(some, [node for node in nodes if node not in some])

    def _shut(self) -> None:
        callers = self._chance.sample(self.peers, self._chance.randrange(1, len(self.peers)))
        others = [peer for peer in self.peers if peer not in callers]
        self._say(f"no calls from {', '.join(peer.name for peer in callers)} to the other peers")
        self.world.shut_out(callers, others)

    def _heal(self) -> None:
        self._say("the network is whole")
        self.world.heal()
        self.world.internet.let_in()

    def _break(self) -> None:
        one, other = self._chance.sample(self._nodes, 2)
        broken = self.world.break_connections(one, other)
        self._say(f"{broken} connections between {one.name} and {other.name} break")


def _files(tree: Tree) -> list[str]:
    return sorted(path for path, (content, _) in tree.items() if content != FOLDER)


def _blocked(tree: Tree, path: str) -> bool:
    """Whether a file is where a folder above `path` would have to be."""
    parts = path.split("/")
    above = ("/".join(parts[:n]) for n in range(1, len(parts)))
    return any(tree.get(folder, (FOLDER, False))[0] != FOLDER for folder in above)
