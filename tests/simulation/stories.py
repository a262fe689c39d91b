"""Stories that chance tells: what people, machines and networks do to one share, all of it decided by a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from twistedp2p.testing.network import Traits
from twistedp2p.testing.nodes import SimPeer, SimTracker
from twistedp2p.testing.trees import FOLDER, Tree
from twistedp2p.testing.world import World

NAMES = ("a", "b", "a/x", "a/y", "b/z", "b/z/deep", "Grüße.txt", "new\nline")
"""Few, so that people meet; some are a file for one and a folder for another."""


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
        self.peers = [self.world.new_peer() for _ in range(peers)]

    def tell(self) -> None:
        """Let it happen, then let everybody return and agree; raises if anything is lost, differs or goes on."""
        with self.world:
            for peer in self.peers:
                for _ in range(self._chance.randrange(3)):
                    self._act(peer)
                peer.start()
            for _ in range(self._steps):
                self._step()
            self._end()

    def _end(self) -> None:
        self._say("all return")
        self.world.heal()
        for node in self._nodes:
            if not node.running:
                node.start()
        self.world.settle(1000)
        self.world.assert_same()
        self.world.assert_silent(150)
        self.world.assert_same()

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
        peer = [self._end_peer, self._start_peer, self._start_peer]
        return [*peer, self._tracker, self._partition, self._heal, self._break]

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
            peer.lose_index()

    def _start_peer(self) -> None:
        peer = self._chance.choice(self.peers)
        if not peer.running:
            self._say(f"{peer.name} starts")
            peer.start()

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

    def _heal(self) -> None:
        self._say("the network is whole")
        self.world.heal()

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
