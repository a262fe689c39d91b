"""A dry run tells what joining does: it is tried on random pairs of folders, which then really join."""

from __future__ import annotations

import os
from base64 import b32encode
from pathlib import Path
from random import Random

from twisted.internet.defer import Deferred

from tests.simulation.test_scenarios import WorldCase
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import TwistedP2PError
from twistedp2p.identity.device import DeviceKey
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.guest import hear
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.ignoring import list_in
from twistedp2p.peer.rehearsal import Forecast, Group, Rehearsal
from twistedp2p.peer.survey import Survey, survey
from twistedp2p.testing.disk import folder_in_memory
from twistedp2p.testing.network import SimNetwork
from twistedp2p.testing.nodes import SimPeer
from twistedp2p.testing.trees import FOLDER, Tree
from twistedp2p.testing.workers import SimWorkers
from twistedp2p.testing.world import World
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.versions import Dead, Kind, Live, winner

NAMES = ("a", "b", "c.txt", "d", "e.txt")


def author_of(rid: bytes) -> str:
    """Return how conflict copies name the author whose replica id that is."""
    return b32encode(rid).decode().lower()[:6]


def fill(peer: SimPeer, chance: Random, common: list[bytes]) -> None:
    """Fill a folder at random: names and contents are often those of the others."""
    for _ in range(chance.randrange(14)):
        path = "/".join(chance.choice(NAMES) for _ in range(chance.choice((1, 1, 1, 2, 2, 3))))
        what = chance.random()
        content = common[len(path) % len(common)] if what < 0.5 else chance.choice(common)
        if what > 0.8:
            content = chance.randbytes(chance.randrange(200))
        try:
            if chance.random() < 0.1:
                peer.make_folder(path)
            else:
                peer.write(path, content, executable=chance.random() < 0.2)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # what is there has the name


class Dry:
    """A dry run in a world."""

    def __init__(self, world: World, folder: Path, most: int | None = None) -> None:
        self.world = world
        chance = world.chance("dry run", folder)
        network = SimNetwork(world.internet, "10.9.9.9", DeviceKey.generate(chance.randbytes))
        ignores = list_in(folder)
        self.rehearsal = Rehearsal(world.invite.keys(), chance.randbytes(8), most, ignores.ignored)
        hearing = hear(
            self.rehearsal,
            world.invite,
            network=network,
            workers=SimWorkers(network.clock, chance),
            entropy=chance.randbytes,
            random=chance.random,
        )
        alive: list[int] = []
        self.surveyed = Survey()
        self.forecast: Forecast
        try:
            world.wait_for(Deferred.fromCoroutine(hearing).addCallback(alive.append))
        except BaseException:
            self.rehearsal.close()
            raise
        finally:
            network.kill()
        self.members = alive[0]
        if folder.exists():
            disk = RealDisk(os.fsencode(folder))

            def ignored(path: RelPath, kind: Kind) -> bool:
                return ignores.ignored(path.text, kind)

            for path, seen in survey(disk, NameRules.POSIX, self.surveyed, lambda seconds: None, ignored):
                self.rehearsal.see(path, seen)
            disk.close()
        self.forecast = self.rehearsal.play()

    def tree(self) -> dict[str, bytes]:
        """Return what the folder would hold: path -> content id, folders too."""
        return {path: row.content for path, row in self.rehearsal.index.rows_below("")}


def size_of(tree: Tree) -> int:
    """Return the bytes of all files."""
    return sum(len(content) for content, _ in tree.values() if content != FOLDER)


def contents_of(tree: Tree) -> set[bytes]:
    """Return the contents of all files."""
    return {content for content, _ in tree.values() if content != FOLDER}


def paths(group: Group, folders: bool | None = None) -> set[str]:
    """Return the paths of a group; of folders only, of files only, or of all."""
    return {line.path for line in group.lines if folders is None or line.folder == folders}


class TrialTests(WorldCase):
    """Dry run first, then the real thing."""

    def trial(self, seed: int) -> None:
        """Fill two or three folders at random; two begin, one joins, after a dry run that said what that does."""
        with folder_in_memory() as place, World(seed, place) as world:
            world.tracker()
            chance = world.chance("folders")
            common = [chance.randbytes(chance.randrange(100)) for _ in range(6)]
            anna, ben, cleo = (world.new_peer(name) for name in ("anna", "ben", "cleo"))
            for peer in (anna, ben, cleo):
                fill(peer, chance, common)
            anna.start()
            ben.start()
            world.settle()
            for path, (content, _) in sorted(anna.tree().items()):
                if chance.random() < 0.2 and (anna.folder / path).exists():
                    anna.delete(path)
                    if content == FOLDER and chance.random() < 0.5:
                        ben.write(f"{path}/z", b"still in use")  # a folder that is deleted, and there all the same
            world.settle()
            before, theirs = self.all_of(cleo.folder), anna.tree()
            dry = Dry(world, cleo.folder)
            self.assertEqual(self.all_of(cleo.folder), before, "the dry run changed the folder")
            self.assertEqual(dry.members, 2)
            mine = cleo.tree()
            world.assert_silent(1.0)
            cleo.start()
            rid = cleo.peer.index.rid
            world.settle()
            self.compare(seed, dry, mine, theirs, cleo, rid)
            dry.rehearsal.close()

    def compare(self, seed: int, dry: Dry, mine: Tree, theirs: Tree, cleo: SimPeer, rid: bytes) -> None:
        """Compare what was foretold with what happened."""
        forecast, index, after = dry.forecast, cleo.peer.index, cleo.tree()
        rows = dict(index.rows_below(""))

        def real(path: str) -> str:
            """Return the name that a foretold conflict copy has: the real peer has another replica id."""
            return path.replace(f" {author_of(dry.rehearsal.index.rid)} ", f" {author_of(rid)} ")

        self.assertEqual(
            {real(path): content for path, content in dry.tree().items()},
            {path: row.content for path, row in rows.items() if row.base is not None},
            seed,
        )
        winners = {path: winner(index.record(path)) for path in index.paths()}
        minted = {path for path, (dot, value) in winners.items() if dot.rid == rid and isinstance(value, Live)}
        kept_name = {line.path for line in forecast.copy.lines if not line.yours}
        self.assertEqual(paths(forecast.send) | kept_name, minted, seed)
        same = {path for path in mine if path in theirs and mine[path][0] == theirs[path][0]}
        self.assertEqual(paths(forecast.adopt), same - minted, seed)
        self.assertEqual(paths(forecast.copy), {path for path in mine if path in theirs} - same, seed)
        copies = {real(line.copy) for line in forecast.copy.lines if line.copy}
        self.assertEqual(copies - after.keys(), set(), seed)
        new = {path for path in after if path not in mine and path in rows and rows[path].base is not None}
        self.assertEqual(paths(forecast.fetch), new - copies, seed)
        self.assertEqual(forecast.displaced, 0, seed)
        before, now = contents_of(mine), contents_of(after)
        self.assertEqual(before - now, set(), seed)
        self.assertEqual(forecast.fetch_bytes, sum(len(content) for content in now - before), seed)
        self.assertLessEqual(forecast.fetch_bytes, sum(cleo.peer.fetcher.progress().by_node.values()), seed)
        self.assertEqual(forecast.more_bytes, max(0, size_of(after) - size_of(mine)), seed)
        modes = {path for path in paths(forecast.adopt, folders=False) if mine[path][1] != after[path][1]}
        self.assertEqual(forecast.modes, len(modes), seed)

    def all_of(self, folder: Path) -> dict[str, tuple[int, int]]:
        """Return all that lies in a folder, with times: also what is never shared."""
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in (folder, *folder.rglob("*"))}

    def test_a_folder_that_nobody_made(self) -> None:
        """A folder that is there only because something is in it has the name, and a file of that name gets a copy."""
        anna, ben = self.couple({"p/f": b"1"})
        self.world.partition([anna], [ben, self.tracker])
        anna.delete("p")
        ben.write("p/z", b"still in use")
        self.world.clock.advance(5.0)
        self.world.heal()
        self.settle()
        self.assertIsInstance(winner(anna.peer.index.record("p"))[1], Dead)
        cleo = self.world.new_peer("cleo")
        cleo.write("p", b"mine")
        theirs = anna.tree()
        dry = Dry(self.world, cleo.folder)
        self.addCleanup(dry.rehearsal.close)
        (line,) = dry.forecast.copy.lines
        self.assertEqual((line.path, line.yours, paths(dry.forecast.fetch)), ("p", True, {"p/z"}))
        mine = cleo.tree()
        cleo.start()
        rid = cleo.peer.index.rid
        self.settle()
        self.compare(0, dry, mine, theirs, cleo, rid)

    def test_random_folders(self) -> None:
        """Whatever lies in the folders: what is adopted, sent, fetched and copied is what was foretold."""
        for seed in range(100):
            self.trial(seed)


class GuestTests(WorldCase):
    """Who only looks at a share."""

    def test_ignored(self) -> None:
        """What the list that lies in the folder ignores is neither sent nor fetched, and said not to be shared."""
        anna = self.world.new_peer("anna")
        anna.write(IGNORE_NAME, b"*.log\n")
        anna.write("letter", b"Dear Cleo")
        anna.start()
        self.world.settle()
        cleo = self.world.new_peer("cleo")
        for path, content in ((IGNORE_NAME, b"*.log\n"), ("mine", b"mine"), ("x.log", b"log"), ("y.swp", b"swap")):
            cleo.write(path, content)
        dry = Dry(self.world, cleo.folder)
        self.addCleanup(dry.rehearsal.close)
        self.assertEqual({"mine"}, paths(dry.forecast.send))
        self.assertEqual({"letter"}, paths(dry.forecast.fetch))
        self.assertEqual({IGNORE_NAME}, paths(dry.forecast.adopt))
        self.assertEqual({"x.log", "y.swp"}, {name for name, _ in dry.surveyed.hidden})
        self.assertEqual(content_id_of(b"*.log\n"), dry.rehearsal.content_of(IGNORE_NAME))
        cleo.start()
        self.world.settle()
        self.assertEqual({IGNORE_NAME, "letter", "mine"}, set(anna.tree()))

    def test_nobody_notices(self) -> None:
        """A look changes nothing: no batch is announced, no member asks or fetches, and the guest is gone at once."""
        anna, ben = self.couple({"letter": b"Dear Ben", "d/f": bytes(70_000)})
        digests = [peer.peer.index.own_digests() for peer in (anna, ben)]
        batches = self.tracker.service.counters.batches
        dry = Dry(self.world, self.world.folder / "missing")
        self.addCleanup(dry.rehearsal.close)
        self.assertEqual(dry.members, 2)
        self.assertEqual(paths(dry.forecast.fetch, folders=False), {"letter", "d/f"})
        self.assertFalse((self.world.folder / "missing").exists())
        self.world.clock.advance(1.0)
        self.assertEqual(self.tracker.service.counters.peers, 2)
        self.assertEqual(len(anna.peer.holdings.peers), 1)
        self.assertEqual([peer.peer.index.own_digests() for peer in (anna, ben)], digests)
        self.assertEqual(self.tracker.service.counters.batches, batches)

    def test_nobody_is_there(self) -> None:
        """A share of which nobody runs has nothing to tell: the number of members says so."""
        dry = Dry(self.world, self.world.folder / "missing")
        self.addCleanup(dry.rehearsal.close)
        self.assertEqual((dry.members, dry.forecast.fetch.files), (0, 0))

    def test_an_empty_share(self) -> None:
        """Members that have nothing are members: all would be sent."""
        self.couple()
        folder = self.world.folder / "mine"
        folder.mkdir()
        (folder / "f").write_bytes(b"x")
        os.utime(folder / "f", (1, 1))
        dry = Dry(self.world, folder)
        self.addCleanup(dry.rehearsal.close)
        self.assertEqual((dry.members, paths(dry.forecast.send)), (2, {"f"}))

    def test_no_tracker(self) -> None:
        """Without a tracker there is one sentence, at once."""
        self.couple()
        self.tracker.kill()
        error = self.assertRaises(TwistedP2PError, Dry, self.world, self.world.folder / "missing")
        self.assertIn("can not be reached", str(error))

    def test_several_trackers(self) -> None:
        """If one tracker is gone, another one is asked."""
        with folder_in_memory() as place, World(3, place) as world:
            first = world.tracker("first")
            world.tracker("second")
            (anna,) = world.peers(1)
            anna.write("f", b"x")
            world.settle()
            first.kill()
            world.settle()
            dry = Dry(world, place / "missing")
            self.assertEqual((dry.members, paths(dry.forecast.fetch)), (1, {"f"}))
            dry.rehearsal.close()

    def test_first_of_each_kind(self) -> None:
        """A rehearsal names so many paths of each kind, and counts all."""
        self.couple({f"f{number}": b"%d" % number for number in range(9)})
        dry = Dry(self.world, self.world.folder / "missing", most=4)
        self.addCleanup(dry.rehearsal.close)
        fetch = dry.forecast.fetch
        self.assertEqual((fetch.files, fetch.bytes, len(fetch.lines)), (9, 9, 4))
