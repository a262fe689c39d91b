"""Faults of machines, disks and networks, one at a time: each comes, passes, and leaves all folders identical."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from functools import partial
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.disk.seam import Name
from twistedp2p.limits import CHUNK_AVERAGE, EXPIRY, RETRY_MOST
from twistedp2p.testing.disk import folder_in_memory
from twistedp2p.testing.faults import CAN_FAIL, Moment
from twistedp2p.testing.network import Traits
from twistedp2p.testing.nodes import SimPeer, SimTracker
from twistedp2p.testing.world import World

from .test_scenarios import SOME, WorldCase, contents, save

LONG = os.environ.get("TWISTEDP2P_LONG") == "1"
LARGE = 12_000_000
CHUNK_MOST = 4 * CHUNK_AVERAGE
"""The longest chunk of a file of `LARGE` bytes."""
DAY = 86_400.0


def slow(world: World, bytes_a_second: float) -> None:
    """Let every wire carry only so much, so that a large file takes its time."""
    world.internet.traits = Traits((0.001, 0.01), bytes_a_second, fragments=0.1)


class FaultCase(WorldCase):
    """A world in which something goes wrong."""

    def assert_has(self, files: dict[str, bytes], peer: SimPeer) -> None:
        """Raise, naming the paths, unless a peer has these files and no others."""
        here = contents(peer)
        self.assertEqual([], sorted(path for path in files.keys() | here if files.get(path) != here.get(path)))


class TrackerTests(FaultCase):
    """The tracker goes and comes."""

    def test_wiped_while_peers_edit(self) -> None:
        """A tracker that loses all it knows again and again, while everybody saves, costs nobody a file."""
        peers = self.world.peers(3)
        for turn in range(8):
            for peer in peers:
                peer.write(f"of {peer.name}", b"%d %s" % (turn, peer.name.encode()))
                peer.write("of all", b"%d all %s" % (turn, peer.name.encode()))
            self.world.clock.advance(0.02 * turn)
            self.tracker.restart()
            peers[turn % 3].write(f"after {turn}", b"after %d" % turn)
            self.world.clock.advance(0.3 * turn)
        self.settle()
        self.world.assert_explained()
        self.world.assert_silent()
        self.assertEqual(3, self.tracker.service.counters.peers)

    def test_restarted_often(self) -> None:
        """A tracker that is restarted 20 times in a row changes no file, and all are back at it soon after the last."""
        anna, ben = self.couple(SOME)
        for _ in range(20):
            self.tracker.restart()
            self.world.clock.advance(0.7)
        anna.write("letter", b"at last")
        self.assertLess(self.settle(), 15)
        self.assert_has({**SOME, "letter": b"at last"}, ben)


class OrderTests(FaultCase):
    """Two peers and a tracker end and begin, in every order, one as a person ends it, one killed, one without power."""

    def end(self, node: SimPeer | SimTracker, how: str) -> None:
        """End a process."""
        if how == "stopped":
            node.stop()
        else:
            node.kill(silently=how == "without power")

    def test_every_order(self) -> None:
        """Whatever ends how and begins when, with saves in between: in the end both have all, without a hand."""
        anna, ben = self.couple(SOME)
        nodes: list[SimPeer | SimTracker] = [anna, ben, self.tracker]
        for turn, (ends, begins) in enumerate(itertools.product(itertools.permutations(nodes), repeat=2)):
            hows = ("stopped", "killed", "without power")
            for node, how in zip(ends, hows[turn % 3 :] + hows[: turn % 3], strict=True):
                self.end(node, how)
                anna.write(f"{turn % 4}", f"{turn} after {node.name}".encode())
                self.world.clock.advance((0.01, 1, EXPIRY + 20)[turn % 3])
            for node in begins:
                node.start()
                ben.write(f"{turn % 5} of ben", f"{turn} before {node.name}".encode())
                self.world.clock.advance((0.02, 3, 20)[turn % 3])
            self.settle()
        self.world.assert_explained()
        self.world.assert_silent()


class NetworkTests(FaultCase):
    """The network is split, and machines move and sleep."""

    def test_halves(self) -> None:
        """Two halves that both went on become one: what differs is kept as copies, and nothing else is copied."""
        one, two, three, four = self.world.peers(4)
        save(one, SOME)
        self.settle()
        self.world.partition([one, two, self.tracker], [three, four])
        for peer in (one, three):
            peer.write("letter", f"letter of {peer.name}".encode())
            peer.write(f"new of {peer.name}", peer.name.encode())
        two.delete("empty")
        four.rename("photos/1.jpg", "photos/best.jpg")
        self.world.clock.advance(2 * EXPIRY)
        one.write("letter", b"letter of peer1, again")
        self.world.clock.advance(20)
        self.world.heal()
        self.settle()
        self.world.assert_explained()
        self.world.assert_silent()
        found = contents(four)
        copies = [path for path in found if "(conflict" in path]
        self.assertEqual(1, len(copies))
        self.assertEqual(
            {b"letter of peer1, again", b"letter of peer3"}, {found["letter"], *(found[path] for path in copies)}
        )
        self.assertNotIn("empty", list(found))
        self.assertIn("photos/best.jpg", list(found))

    def test_moved_while_serving(self) -> None:
        """A machine that gets another address in the middle of a transfer is found there, and the rest comes."""
        self.move_half_way(lambda anna, ben: anna.move())

    def test_moved_while_fetching(self) -> None:
        """So is one that is fetching."""
        self.move_half_way(lambda anna, ben: ben.move())

    def test_both_moved(self) -> None:
        """So are both at the same time."""

        def both(anna: SimPeer, ben: SimPeer) -> None:
            anna.move()
            ben.move()

        self.move_half_way(both)

    def move_half_way(self, move: Callable[[SimPeer, SimPeer], object]) -> None:
        """Let Ben fetch a large file of Anna's, move somebody half way, and see it arrive."""
        slow(self.world, 500_000)
        anna, ben = self.couple()
        anna.write("film", Random(1).randbytes(LARGE // 4))
        begin = self.world.internet.bytes_carried
        self.world.clock.run_until(lambda: self.world.internet.bytes_carried > begin + LARGE // 8, 60)
        self.assert_has({}, ben)
        move(anna, ben)
        self.assertLess(self.settle(), 120)
        anna.write("letter", b"at the new address")
        self.assertLess(self.settle(), 20)

    def test_asleep(self) -> None:
        """A machine that slept, for a moment or for a night, takes up all news when it wakes, and gives its own."""
        anna, ben, carl = self.world.peers(3)
        save(anna, SOME)
        self.settle()
        for seconds in (0.5, 40.0, 8 * 3600.0):
            ben.write("before sleep", b"%d" % seconds)
            ben.sleep(seconds)
            anna.write("letter", b"written while Ben slept %d" % seconds)
            self.world.clock.advance(seconds + 0.1)
            self.assertLess(self.settle(), 60)
        self.world.assert_explained()
        self.assert_has(contents(anna), carl)

    def test_tracker_asleep(self) -> None:
        """A tracker that sleeps longer than its peers wait for it has them all back when it wakes."""
        anna, _ben = self.couple(SOME)
        self.tracker.sleep(400)
        anna.write("letter", b"to nobody")
        self.world.clock.advance(400.1)
        self.assertLess(self.settle(), 60)


class ResumeTests(FaultCase):
    """Half a large file is not fetched twice."""

    def setUp(self) -> None:
        super().setUp()
        slow(self.world, 4_000_000)
        self.film = Random(1).randbytes(LARGE)

    def half_way(self, *others: SimPeer) -> int:
        """Let a transfer go on until half of the file has come; return what had been carried when it began."""
        begin = self.world.internet.bytes_carried
        self.world.clock.run_until(lambda: self.world.internet.bytes_carried > begin + LARGE // 2, 60)
        return begin

    def assert_cheap(self, begin: int) -> None:
        """Raise unless all in all no more was carried than the file, one chunk, and what goes with it."""
        carried = self.world.internet.bytes_carried - begin
        self.assertGreater(carried, LARGE)
        self.assertLess(carried, LARGE + CHUNK_MOST + LARGE // 50)

    def test_holder_dies(self) -> None:
        """When the holder dies half way another one gives the rest, and at most one chunk comes twice."""
        anna, ben = self.couple({"film": self.film})
        ben.kill()
        carl = self.world.new_peer("carl")
        carl.start()
        begin = self.half_way()
        self.assert_has({}, carl)
        anna.kill()
        ben.start()
        self.world.settle()
        self.assert_has({"film": self.film}, carl)
        self.assert_cheap(begin)

    def test_fetcher_dies(self) -> None:
        """When the fetcher is killed half way it goes on after its restart, and at most one chunk comes twice."""
        self.couple({"film": self.film})
        carl = self.world.new_peer("carl")
        carl.start()
        begin = self.half_way()
        carl.restart()
        self.settle()
        self.assert_cheap(begin)


class DiskTests(FaultCase):
    """Disks fill up and fail."""

    def test_full(self) -> None:
        """What fits on a full disk arrives, the rest when there is room; nothing is lost, and others go on."""
        anna, ben, carl = self.world.peers(3)
        files = {f"{n}": Random(n).randbytes(90_000 + 1000 * n) for n in range(20)}
        ben.disk.room = 1_000_000
        save(anna, files)
        self.world.clock.run_until(lambda: carl.in_sync and contents(carl) == files, 60)
        self.world.clock.advance(100)
        self.assertFalse(ben.in_sync)
        here = contents(ben)
        self.assertTrue(8 <= len(here) <= 10, len(here))
        self.assert_has({path: files[path] for path in here}, ben)
        self.assertIn("make room", str(ben.peer.sync.errors))
        ben.write("of ben", b"saved on a full disk")
        anna.delete("19")
        self.world.clock.run_until(lambda: contents(carl).get("of ben") == b"saved on a full disk", 60)
        self.world.clock.run_until(lambda: "19" not in carl.tree(), 60)
        ben.disk.mend()
        self.settle()
        self.world.assert_explained()
        self.world.assert_silent()

    def test_one_bad_file(self) -> None:
        """A file that the disk can not write waits, and says why; all others come."""

        def film(name: Name) -> bool:
            return name[-1:] == (b"film",)

        anna, ben = self.couple(SOME)
        ben.disk.fail(errno.EIO, where=film)
        anna.write("film", b"a film")
        anna.write("letter", b"and a letter")
        self.world.clock.advance(30)
        self.assert_has({**SOME, "letter": b"and a letter"}, ben)
        self.assertEqual({"film"}, set(ben.peer.sync.errors))
        ben.disk.mend()
        self.settle()

    def test_one_unreadable_file(self) -> None:
        """A file that the disk can not read is not deleted for the others; it is taken when it can be read."""
        anna, ben = self.couple(SOME)
        anna.disk.fail(errno.EIO, where=lambda name: name == (b"letter",))
        anna.write("letter", b"nobody can read this")
        anna.write("other", b"but this")
        self.world.clock.advance(30)
        self.assert_has({**SOME, "other": b"but this"}, ben)
        anna.disk.mend()
        self.world.clock.advance(70)
        self.settle()
        self.assertEqual(b"nobody can read this", contents(ben)["letter"])

    def test_every_error(self) -> None:
        """Whichever error the disk of one peer has for a while: all others go on, and afterwards all is the same."""
        anna, ben, carl = self.world.peers(3)
        for turn, error in enumerate((errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS)):
            for often in (1.0, 0.3):
                ben.disk.fail(error, often=often)
                save(anna, {path: content + b"%d %f" % (turn, often) for path, content in SOME.items()})
                ben.write(f"of ben {turn}", b"%d %f" % (turn, often))
                self.world.clock.advance(20)
                self.assertEqual(contents(anna)["letter"], contents(carl)["letter"])
                ben.disk.mend()
                self.world.clock.advance(70)
                self.settle()
        self.assertGreater(ben.disk.failed, 20)
        self.world.assert_explained()
        self.world.assert_silent()


class ClockTests(FaultCase):
    """Clocks are wrong."""

    def test_days_apart(self) -> None:
        """With clocks that are days apart the version of who knew the other one wins, as ever, and nothing is lost."""
        anna, ben, carl = self.world.peers(3)
        anna.skew, ben.skew, carl.skew = 3 * DAY, -40 * DAY, 0.0
        for turn in range(6):
            (anna, ben, carl)[turn % 3].write("draft", b"draft %d" % turn)
            self.settle()
            self.assertEqual({"draft": b"draft %d" % turn}, contents(ben))

    def test_jumps(self) -> None:
        """A clock that jumps while files are saved loses none, and makes no copies."""
        anna, ben = self.couple(SOME)
        for turn, skew in enumerate((3600.0, -3600.0, 30 * DAY, -30 * DAY, 0.0)):
            anna.write("letter", b"before %d" % turn)
            anna.skew = skew
            anna.write("letter", b"after %d" % turn)
            self.world.clock.advance(0.05)
            ben.skew = -skew
            ben.write("empty", b"of ben %d" % turn)
            self.settle()
        self.assertEqual({"letter", "photos/1.jpg", "photos/2.jpg", "empty"}, set(contents(ben)))

    def test_conflict(self) -> None:
        """Which of two versions keeps the name does not depend on whose clock is ahead, but on how much each knew."""
        for ahead in (False, True):
            folder = self.enterContext(folder_in_memory())
            with World(2, folder) as world:
                world.tracker()
                anna, ben = world.peers(2)
                anna.skew = 5 * DAY if ahead else -5 * DAY
                anna.write("plan", b"first")
                world.settle()
                world.partition([anna], [ben, *world.trackers.values()])
                anna.write("plan", b"of anna")
                for turn in range(2):
                    ben.write("plan", b"of ben %d" % turn)
                    world.clock.advance(20)
                world.heal()
                world.settle()
                world.assert_same()
                self.assertEqual(b"of ben 1", contents(anna)["plan"])
                self.assertEqual({b"of ben 1", b"of anna"}, set(contents(ben).values()))


class EveryCallTests(SynchronousTestCase):
    """A call of the disk fails, or the process dies inside of it: every single one of a small sync."""

    calls: list[str]

    def sync(self, trouble: Callable[[SimPeer], object]) -> SimPeer:
        """Let Ben take up files, a conflict, a rename and deletions of Anna's, with `trouble`; start him if he died.

        Raises unless both end with all that was saved, and fall silent.
        """
        folder = self.enterContext(folder_in_memory())
        with World(1, folder) as world:
            world.tracker()
            anna, ben = world.new_peer("anna"), world.new_peer("ben", durable=True)
            save(anna, {"letter": b"first", "a/moved": b"m" * 3000, "gone": b"gone soon", "film": b"f" * 70_000})
            anna.start()
            ben.start()
            world.settle()
            trouble(ben)
            anna.write("letter", b"second")
            anna.write("new/deep", b"new")
            anna.rename("a/moved", "b/moved")
            anna.delete("gone")
            ben.write("film", b"F" * 70_001)
            for peer in (anna, ben):
                peer.write("plan", f"plan of {peer.name}".encode())
            for seconds in (3, 3, RETRY_MOST):
                world.clock.advance(seconds)
                if not ben.running:
                    ben.write("meanwhile", b"saved while nothing ran")
                    ben.start()
                    anna.write("letter", b"third")
            # What a disk did not show is looked at again after a while, and nobody waits for it.
            world.clock.advance(RETRY_MOST)
            world.settle()
            self.calls, ben.disk.log = ben.disk.log or [], None
            world.assert_same()
            world.assert_silent(150)
            self.assertTrue({b"F" * 70_001, b"plan of anna", b"plan of ben"} <= set(contents(anna).values()))
            self.assertFalse({"gone", "a/moved"} & set(contents(ben)))
            # What nobody knows of would stay.
            for path in ("new", "b", "letter"):
                anna.delete(path)
            world.settle()
            world.assert_same()
        return ben

    def test_failing(self) -> None:
        """Whichever call fails, with whichever error: a while later all is there, and the same."""
        self.sync(lambda ben: ben.disk.record())
        calls = self.calls
        for error in CAN_FAIL if LONG else (errno.EIO, errno.ENOSPC):
            able = [number for number, call in enumerate(calls, 1) if call.partition(" ")[0] in CAN_FAIL[error]]
            self.assertGreater(len(able), 15)
            for number in able if LONG else able[:: len(able) // 15]:
                with self.subTest(call=f"{number}: {calls[number - 1]}", error=os.strerror(error)):
                    ben = self.sync(partial(self.fail_once, number, error))
                    self.assertEqual(1, ben.disk.failed)

    @staticmethod
    def fail_once(number: int, error: int, ben: SimPeer) -> None:
        """Let that call of Ben's disk fail, counted from now."""
        ben.disk.fail_once(number, error)

    def test_dying(self) -> None:
        """Wherever it dies, and whether before, within or after that call: after a restart all is there."""
        self.sync(lambda ben: ben.disk.record())
        calls = self.calls
        self.assertGreater(len(calls), 100)
        for number in range(1, len(calls) + 1, 1 if LONG else 13):
            tearable = calls[number - 1].startswith(("write_at", "copy_from"))
            for moment in Moment if tearable else (Moment.BEFORE, Moment.AFTER):
                with self.subTest(call=f"{number}: {calls[number - 1]}", moment=moment.name):
                    ben = self.sync(partial(self.crash, number, moment))
                    self.assertEqual(1, ben.crashes)

    @staticmethod
    def crash(number: int, moment: Moment, ben: SimPeer) -> None:
        """Let Ben die in that call of his disk, counted from now."""
        ben.disk.crash(number, moment)

    def test_at_start(self) -> None:
        """A process that dies again and again in the first calls after its start goes on from there in the end."""
        folder = self.enterContext(folder_in_memory())
        with World(1, folder) as world:
            world.tracker()
            anna, ben = world.peers(2)
            save(anna, SOME)
            for number in range(1, 120, 1 if LONG else 7):
                world.clock.advance(1)
                if ben.running:
                    ben.kill()
                ben.disk.crash(number, Moment.AFTER)
                ben.start()
                anna.write("letter", b"%d" % number)
            ben.disk.mend()
            if not ben.running:
                ben.start()
            world.settle()
            world.assert_same()
            self.assertGreater(ben.crashes, 5)
