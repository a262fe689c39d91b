"""One random schedule: users, faults and half-done work, then everybody comes back and the ledger is checked."""

from __future__ import annotations

from random import Random

from .checks import check_end
from .heal import heal, settle_down
from .peer import Killed, Peer
from .rules import Rules
from .world import World

__all__ = ["Schedule", "run"]

_TREES = (
    ("a", "b"),
    ("a", "b", "c"),
    ("a", "d/x"),
    ("d/x", "d/y", "a"),
    ("d", "d/x", "b"),
    ("d/e/z", "d/x", "d/e"),
)


_COPY = " (conflict "


def run(seed: int, rules: Rules, trace: list[str] | None = None) -> World:
    """Run the schedule of `seed`; raises `Failure` if a promise was broken."""
    schedule = Schedule(seed, rules)
    schedule.world.trace = trace
    schedule.run()
    return schedule.world


class Schedule:
    """The choices of one seed."""

    def __init__(self, seed: int, rules: Rules) -> None:
        rng = self.rng = Random(seed)
        world = self.world = World(rng, rules)
        self.paths = _TREES[int(rng.random() ** 1.5 * len(_TREES))]
        self.folders = sorted({path[:place] for path in self.paths for place in range(len(path)) if path[place] == "/"})
        self.steps = rng.randint(25, 40)
        self.accident = rng.choices(("", "restore", "delete", "clone"), (54, 34, 6, 6))[0]
        self.accident_at = rng.randrange(self.steps // 3, self.steps)
        self.backup_at = rng.randrange(0, self.accident_at)
        self.gone_at = rng.randrange(5, self.steps) if rng.random() < 0.2 else -1
        self.ignoring = rng.random() < 0.15
        self.killing = rng.choice((0.0, 0.02, 0.08))
        world.saving = rng.choice((0.0, 0.03, 0.15))
        world.same_time = rng.random() < 0.6
        world.in_step = rng.random() < 0.5
        for name in "ABC":
            world.new_peer(name)
        self.victim = rng.choice(world.peers)

    def run(self) -> None:
        """Begin, take the steps, heal, check."""
        self._begin()
        for step in range(self.steps):
            self._step(step)
        heal(self.world)
        check_end(self.world)

    def _begin(self) -> None:
        rng, world = self.rng, self.world
        shared = {path: world.new_content() for path in self.paths}
        for peer in world.peers:
            files = rng.choice(("shared", "shared", "none", "own")) if peer is not world.peers[0] else "shared"
            for path in self.paths:
                if files != "none" and rng.random() < 0.7:
                    content = shared[path] if files == "shared" else world.new_content()
                    world.user_saves(peer, path, content)
            peer.start()
            peer.connect()
            if rng.random() < 0.7:
                settle_down(world)

    # -- one step -----------------------------------------------------------

    def _step(self, step: int) -> None:
        rng, world = self.rng, self.world
        if step == self.backup_at:
            self.victim.backup = (self.victim.store.copy(), self.victim.outer_stamp)
        if step == self.gone_at and sum(not peer.gone for peer in world.peers) > 2:
            self._leave_for_ever(rng.choice([peer for peer in world.peers if peer is not self.victim]))
        if step == self.accident_at and self.accident and not self.victim.gone:
            self._accident(self.victim)
        peer = rng.choice([peer for peer in world.peers if not peer.gone])
        if self.ignoring and rng.random() < 0.15:
            self._ignore(peer)
        chance = rng.random()
        if chance < 0.3:
            for _ in range(rng.choice((1, 1, 2))):
                self._user(peer)
        elif chance < 0.42:
            self._scan(peer)
        elif chance < 0.93:
            for _ in range(rng.randint(1, 6)):
                self._work(peer)
        else:
            self._fault(peer)

    def _user(self, peer: Peer) -> None:
        rng, world = self.rng, self.world
        known = sorted(peer.disk.entries)
        path = rng.choice(known) if known and rng.random() < 0.25 else rng.choice(self.paths)
        what = rng.random()
        if what < 0.55:
            contents = sorted(world.saved) if rng.random() < 0.12 else []
            content = rng.choice(contents) if contents else world.new_content()
            if peer.disk.is_folder(path) and rng.random() < 0.5:
                world.user_removes(peer, path)
            done = world.user_saves(peer, path, content)
            world.log(f"{peer.name} save {path} {content.hex()[:4]} {done}")
        elif what < 0.75:
            world.log(f"{peer.name} remove {path}")
            world.user_removes(peer, path)
        elif what < 0.9 or not self.folders:
            old = rng.choice(known) if known else path
            copies = [one for one in known if _COPY in one]
            if copies and rng.random() < 0.5:
                # A person who prefers the other version puts it back.
                old = rng.choice(copies)
                path = old.partition(_COPY)[0]
            done = not peer.disk.is_folder(old) and world.user_moves(peer, old, path)
            world.log(f"{peer.name} move {old} {path} {done}")
        else:
            self._user_of_folders(peer, rng.choice(self.folders))

    def _user_of_folders(self, peer: Peer, folder: str) -> None:
        rng, world = self.rng, self.world
        what = rng.random()
        if what < 0.4:
            world.log(f"{peer.name} mkdir {folder}")
            peer.disk.make_folders(folder)
        elif what < 0.7:
            world.log(f"{peer.name} rmtree {folder}")
            world.user_removes(peer, folder)
        else:
            other = rng.choice(["f", "g", *self.folders])
            old, new = (folder, other) if rng.random() < 0.6 else (other, folder)
            if peer.disk.is_folder(old):
                done = world.user_moves(peer, old, new)
                world.log(f"{peer.name} move folder {old} {new} {done}")

    def _scan(self, peer: Peer) -> None:
        rng = self.rng
        paths = sorted(peer.everywhere())
        if paths and rng.random() < 0.6:
            paths = rng.sample(paths, rng.randint(1, len(paths)))
        done = peer.scan([*paths, *sorted(peer.to_look)])
        peer.to_look.clear()
        self.world.log(f"{peer.name} scan {paths} {done}")

    def _work(self, peer: Peer) -> None:
        rng, world = self.rng, self.world
        what = rng.random()
        if what < 0.3:
            most = rng.choice((1, 1, 2, 1000))
            done = peer.receive(most)
            world.log(f"{peer.name} receive {most} {done}")
            if done and most < 1000 and rng.random() < 0.5:
                self._plan(peer)
        elif what < 0.45:
            done = peer.announce()
            world.log(f"{peer.name} announce {done}")
        elif what < 0.6:
            done = world.apply(peer)
            world.log(f"{peer.name} apply {done}")
        elif what < 0.66:
            done = peer.hear()
            world.log(f"{peer.name} hear {done}")
        elif what < 0.72:
            done = peer.connect()
            world.log(f"{peer.name} connect {done}")
        elif what < 0.86:
            if not self.ignoring or rng.random() < 0.5 or not peer.judge():
                self._plan(peer)
        elif peer.wants:
            path = rng.choice(sorted(peer.wants))
            done = world.fetch(peer, path, rng.randrange(2))
            world.log(f"{peer.name} fetch {path} {done}")

    def _plan(self, peer: Peer) -> None:
        rng, world = self.rng, self.world
        paths = sorted(peer.to_plan)
        if paths and rng.random() < 0.4:
            paths = rng.sample(paths, rng.randint(1, len(paths)))
        world.log(f"{peer.name} plan {paths}")
        world.chaos = self.killing or 1e-9
        try:
            peer.plan(paths, rng.choice((1, 2, 1000)))
        except Killed:
            world.log(f"  {peer.name} killed")
            peer.stop()
        finally:
            world.chaos = 0.0

    # -- faults -------------------------------------------------------------

    def _fault(self, peer: Peer) -> None:
        rng, world = self.rng, self.world
        what = rng.random()
        if what < 0.55:
            if peer.running:
                peer.stop()
                world.log(f"{peer.name} stop")
                if rng.random() < 0.2:
                    world.expire(peer.node)
                    world.log(f"{peer.name} expires")
            else:
                peer.start()
                peer.connect()
                world.log(f"{peer.name} start")
        elif what < 0.75:
            world.log(f"{peer.name} break")
            peer.disconnect()
            if rng.random() < 0.3:
                world.expire(peer.node)
                world.log(f"{peer.name} expires")
        elif what < 0.85:
            world.log("wipe")
            world.wipe_tracker()
        elif self.ignoring:
            self._ignore(peer)

    def _ignore(self, peer: Peer) -> None:
        peer.ignore(peer.ignored ^ {self.rng.choice([*self.paths, *self.folders])})
        self.world.log(f"{peer.name} ignores {sorted(peer.ignored)}")

    def _leave_for_ever(self, peer: Peer) -> None:
        self.world.log(f"{peer.name} is gone for ever")
        peer.stop()
        peer.gone = True
        if self.rng.random() < 0.7:
            self.world.expire(peer.node)

    def _accident(self, peer: Peer) -> None:
        self.world.log(f"{peer.name}: {self.accident}")
        if self.accident == "restore":
            self._restore(peer)
        elif self.accident == "delete":
            peer.stop()
            self.world.accident(peer)
            peer.store.reset(self.world.random_bytes(8))
            self._edit_and_start(peer)
        else:
            self._clone(peer)

    def _restore(self, peer: Peer) -> None:
        if peer.backup is None:
            return
        peer.stop()
        self.world.accident(peer)
        store, outer = peer.backup
        peer.store = store.copy()
        if self.rng.random() < 0.5:
            peer.outer_stamp = outer
        self._edit_and_start(peer)

    def _edit_and_start(self, peer: Peer) -> None:
        if self.rng.random() < 0.7:
            for _ in range(self.rng.randint(1, 3)):
                self._user(peer)
        if self.rng.random() < 0.7:
            peer.start()
            peer.scan(sorted(peer.everywhere()))
            peer.connect()

    def _clone(self, peer: Peer) -> None:
        rng, world = self.rng, self.world
        twin = world.new_peer(peer.name.lower(), peer.disk.copy(same_inodes=rng.random() < 0.5))
        twin.store = peer.store.copy()
        twin.trash, twin.parts = peer.trash.copy(), peer.parts.copy()
        twin.node = peer.node
        twin.outer_stamp = peer.outer_stamp if rng.random() < 0.5 else b"another"
        world.accident(peer)
        self._edit_and_start(twin)
