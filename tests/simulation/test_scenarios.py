"""What peers of one share do together, told as stories; each is one run of one seed."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.limits import EXPIRY
from twistedp2p.peer.changes import What
from twistedp2p.testing.disk import folder_in_memory
from twistedp2p.testing.nodes import SimPeer, SimTracker
from twistedp2p.testing.trees import FOLDER
from twistedp2p.testing.world import World

SOME = {"letter": b"Dear Ben", "photos/1.jpg": bytes(70_000), "photos/2.jpg": b"2" * 300_000, "empty": b""}


def save(peer: SimPeer, files: dict[str, bytes]) -> None:
    """Save these files at a peer."""
    for path, content in files.items():
        peer.write(path, content)


def contents(peer: SimPeer) -> dict[str, bytes]:
    """Return the files of a peer."""
    return {path: content for path, (content, _) in peer.tree().items() if content != FOLDER}


class WorldCase(SynchronousTestCase):
    """A world with a tracker."""

    seed = 1

    def setUp(self) -> None:
        folder = folder_in_memory()
        world = World(self.seed, folder.__enter__())
        self.addCleanup(folder.__exit__, None, None, None)
        self.world = self.enter(world)
        self.tracker = self.world.tracker()

    def enter(self, world: World) -> World:
        """Enter a world, and leave it at the end of the test."""
        world.__enter__()

        def leave() -> None:
            world.close()
            self.assertEqual([], world.failures)

        self.addCleanup(leave)
        return world

    def settle(self) -> float:
        """Wait until all agree; their folders must be the same then. Return the seconds that it took."""
        seconds = self.world.settle()
        self.world.assert_same()
        return seconds

    def couple(self, files: dict[str, bytes] | None = None) -> tuple[SimPeer, SimPeer]:
        """Return two peers in sync, with `files`."""
        anna, ben = self.world.peers(2)
        save(anna, files or {})
        self.settle()
        return anna, ben


class FirstSyncTests(WorldCase):
    """Folders become one share."""

    def test_both_ways(self) -> None:
        """What two peers have before they meet is at both of them afterwards, folders and modes included."""
        anna, ben = self.world.new_peer("anna"), self.world.new_peer("ben")
        save(anna, SOME)
        anna.make_folder("plans/later")
        ben.write("run", b"#!/bin/sh", executable=True)
        ben.write("diary/monday", b"rain")
        anna.start()
        ben.start()
        self.settle()
        self.assertEqual({**SOME, "run": b"#!/bin/sh", "diary/monday": b"rain"}, contents(anna))
        self.assertEqual((b"#!/bin/sh", True), anna.tree()["run"])
        self.assertEqual((FOLDER, False), ben.tree()["plans/later"])

    def test_silence(self) -> None:
        """Peers that agree say nothing but that they are alive."""
        self.couple(SOME)
        self.world.assert_silent()

    def test_late_joiner(self) -> None:
        """Who joins a share of several peers later gets everything."""
        for peer in self.world.peers(3):
            peer.write(f"of {peer.name}", peer.name.encode())
        self.settle()
        late = self.world.new_peer("late")
        late.start()
        self.settle()
        self.assertEqual({"of peer1", "of peer2", "of peer3"}, set(contents(late)))

    def test_joining_with_equal_files(self) -> None:
        """Equal files are adopted: no content travels, no copy is made, and nothing new is announced of them."""
        anna = self.world.peers(1)[0]
        content = {f"{n}": Random(n).randbytes(50_000) for n in range(10)}
        save(anna, content)
        self.world.settle()
        ben = self.world.new_peer("ben")
        save(ben, content)
        before = self.world.internet.bytes_carried
        ben.start()
        self.settle()
        self.assertEqual(content, contents(ben))
        self.assertLess(self.world.internet.bytes_carried - before, 20_000)

    def test_joining_with_other_files(self) -> None:
        """Of a file that differs from the share's both versions stay, one of them as a conflict copy."""
        anna = self.world.peers(1)[0]
        anna.write("letter", b"from Anna")
        self.world.settle()
        ben = self.world.new_peer("ben")
        ben.write("letter", b"from Ben")
        ben.start()
        self.settle()
        self.assertEqual({b"from Anna", b"from Ben"}, set(contents(anna).values()))
        self.assertEqual(2, len(contents(anna)))

    def test_without_tracker(self) -> None:
        """Peers that find no tracker wait for it."""
        self.tracker.kill()
        anna, _ben = self.world.peers(2)
        anna.write("letter", b"Dear Ben")
        self.world.clock.advance(60)
        self.tracker.start()
        self.assertLess(self.settle(), 15)


class LiveTests(WorldCase):
    """Changes travel at once."""

    def test_edit(self) -> None:
        """A file that is saved again is soon at the other peer, without a copy of the old one."""
        anna, ben = self.couple(SOME)
        anna.write("letter", b"Dear Ben, once more")
        self.assertLess(self.settle(), 0.5)
        self.assertEqual({**SOME, "letter": b"Dear Ben, once more"}, contents(ben))

    def test_in_turn(self) -> None:
        """Two people who save the same file in turn make no conflict."""
        anna, ben = self.couple()
        for turn in range(6):
            (anna, ben)[turn % 2].write("draft", b"%d" % turn)
            self.settle()
        self.assertEqual({"draft": b"5"}, contents(anna))

    def test_rename(self) -> None:
        """A renamed file moves at the other peer; its content does not travel again."""
        anna, ben = self.couple(SOME)
        before = self.world.internet.bytes_carried
        anna.rename("photos/2.jpg", "best/photo.jpg")
        self.assertLess(self.settle(), 0.5)
        self.assertIn("best/photo.jpg", contents(ben))
        self.assertNotIn("photos/2.jpg", contents(ben))
        self.assertLess(self.world.internet.bytes_carried - before, 10_000)

    def test_rename_folder(self) -> None:
        """A renamed folder moves with all that is in it."""
        anna, ben = self.couple(SOME)
        before = self.world.internet.bytes_carried
        ben.rename("photos", "pictures")
        self.assertLess(self.settle(), 1)
        self.assertEqual({"letter", "empty", "pictures", "pictures/1.jpg", "pictures/2.jpg"}, set(anna.tree()))
        self.assertLess(self.world.internet.bytes_carried - before, 10_000)

    def test_rename_is_told(self) -> None:
        """Programs hear of a renamed file, and of one in a renamed folder, with both names: here and at the others."""
        anna, ben = self.couple(SOME)
        heard: list[tuple[str, str, str, str]] = []

        def listen(peer: SimPeer) -> None:
            peer.peer.sync.changed = lambda changes: heard.extend(
                (peer.name, each.by.value, each.old_path, each.path) for each in changes if each.what is What.RENAMED
            )

        listen(anna)
        listen(ben)
        anna.rename("letter", "letters/to ben")
        self.settle()
        anna.rename("photos", "pictures")
        self.settle()
        names = [("letter", "letters/to ben"), ("photos/1.jpg", "pictures/1.jpg"), ("photos/2.jpg", "pictures/2.jpg")]
        told = [(peer.name, by, *each) for peer, by in ((anna, "here"), (ben, "others")) for each in names]
        self.assertEqual(sorted(heard), sorted(told))

    def test_rename_over(self) -> None:
        """A file that is renamed over another one replaces it."""
        anna, ben = self.couple({"draft": b"new", "letter": b"old"})
        anna.rename("draft", "letter")
        self.settle()
        self.assertEqual({"letter": b"new"}, contents(ben))

    def test_delete(self) -> None:
        """A deleted file is gone at the other peer within a second; a folder with all that is in it."""
        anna, ben = self.couple(SOME)
        ben.delete("letter")
        self.assertLess(self.settle(), 1)
        anna.delete("photos")
        self.settle()
        self.assertEqual({"empty"}, set(ben.tree()))

    def test_file_and_folder(self) -> None:
        """A file may take the place of a folder, and a folder that of a file."""
        anna, ben = self.couple({"a/1": b"in a", "b": b"is b"})
        anna.delete("a")
        anna.write("a", b"a file now")
        self.settle()
        ben.delete("b")
        ben.write("b/2", b"in b")
        self.settle()
        self.assertEqual({"a": b"a file now", "b/2": b"in b"}, contents(anna))

    def test_mode(self) -> None:
        """The executable bit travels, also by itself."""
        anna, ben = self.couple({"run": b"#!/bin/sh"})
        anna.write("run", b"#!/bin/sh", executable=True)
        self.settle()
        self.assertEqual((b"#!/bin/sh", True), ben.tree()["run"])


class ObstacleTests(WorldCase):
    """Something that is not shared lies where something shared should be."""

    def obstruct(self, path: str) -> None:
        """Put a link in Ben's way, let Anna make `path`, and see how Ben takes that."""
        anna, ben = self.couple()
        link = ben.folder / "a"
        link.symlink_to("/nowhere")
        if path.endswith("/"):
            anna.make_folder(path.rstrip("/"))
        else:
            anna.write(path, b"in the way of a link")
        before = self.world.clock.calls_made
        self.world.clock.advance(60)
        self.assertLess(self.world.clock.calls_made - before, 2000)
        self.assertFalse(ben.in_sync)
        self.assertIn("not shared", str(ben.peer.sync.errors))
        self.assertTrue(link.is_symlink())
        link.unlink()
        self.settle()
        self.assertEqual({}, ben.peer.sync.errors)

    def test_file(self) -> None:
        """A file is tried again now and then, not all the time, and that is said; once the way is free it comes."""
        self.obstruct("a")

    def test_file_below(self) -> None:
        """So is a file in a folder whose place is taken."""
        self.obstruct("a/y")

    def test_folder(self) -> None:
        """So is a folder."""
        self.obstruct("a/")

    def test_folder_below(self) -> None:
        """So is a folder in a folder whose place is taken."""
        self.obstruct("a/x/")


class ConflictTests(WorldCase):
    """Changes that know nothing of each other."""

    def apart(self, files: dict[str, bytes]) -> tuple[SimPeer, SimPeer, SimPeer]:
        """Return three peers in sync, of which the first is cut off from all others."""
        anna, ben, carl = self.world.peers(3)
        save(anna, files)
        self.settle()
        self.world.partition([anna], [ben, carl, self.tracker])
        return anna, ben, carl

    def test_copy(self) -> None:
        """Of two versions that were saved apart one keeps the name, the other becomes a copy, the same at all peers."""
        anna, ben, carl = self.apart({"plan.txt": b"first"})
        anna.write("plan.txt", b"Anna's")
        ben.write("plan.txt", b"Ben's")
        self.world.clock.advance(20)
        self.world.heal()
        self.settle()
        self.assertEqual({b"Anna's", b"Ben's"}, set(contents(carl).values()))
        copy = next(path for path in contents(carl) if path != "plan.txt")
        self.assertRegex(copy, r"^plan \(conflict .*\)\.txt$")
        self.world.assert_silent()

    def test_save_against_delete(self) -> None:
        """A file that one deletes and another saves stays."""
        anna, ben, carl = self.apart({"plan.txt": b"first"})
        anna.delete("plan.txt")
        ben.write("plan.txt", b"second")
        self.world.clock.advance(20)
        self.world.heal()
        self.settle()
        self.assertEqual({"plan.txt": b"second"}, contents(carl))

    def test_same_change(self) -> None:
        """Who makes the same change as another makes no conflict."""
        anna, ben, carl = self.apart({"plan.txt": b"first", "old": b"old"})
        for peer in (anna, ben):
            peer.write("plan.txt", b"second")
            peer.delete("old")
        self.world.clock.advance(20)
        self.world.heal()
        self.settle()
        self.assertEqual({"plan.txt": b"second"}, contents(carl))

    def test_file_against_folder(self) -> None:
        """Where one makes a file and another a folder, the folder keeps the name, and the file is not lost."""
        anna, ben, carl = self.apart({})
        anna.write("x", b"a file")
        ben.write("x/y", b"in a folder")
        self.world.clock.advance(20)
        self.world.heal()
        self.settle()
        self.assertEqual(b"in a folder", contents(carl)["x/y"])
        self.assertIn(b"a file", contents(carl).values())


class InterruptionTests(WorldCase):
    """Processes, machines and networks fail and come back."""

    def test_peer_killed(self) -> None:
        """A peer that was killed goes on where it was: it takes up what was saved at both meanwhile."""
        anna, ben = self.couple(SOME)
        ben.kill()
        ben.write("letter", b"edited while nothing ran")
        ben.delete("empty")
        anna.write("new", b"while Ben was away")
        self.settle_running(anna)
        ben.start()
        self.settle()
        self.assertEqual(b"edited while nothing ran", contents(anna)["letter"])
        self.assertNotIn("empty", contents(anna))
        self.assertIn("new", contents(ben))

    def test_file_for_folder_while_killed(self) -> None:
        """A file that took the place of a folder while the peer did not run is no conflict either."""
        anna, ben = self.couple({"a/1": b"in a", "a/b/2": b"in b"})
        ben.kill()
        ben.delete("a")
        ben.write("a", b"a file now")
        ben.start()
        self.settle()
        self.assertEqual({"a": b"a file now"}, contents(anna))

    def settle_running(self, *peers: SimPeer) -> None:
        """Wait until those that run agree."""
        self.world.settle()
        self.assertTrue(all(peer.in_sync for peer in peers))

    def test_killed_while_fetching(self) -> None:
        """A peer that is killed at any moment of a first sync completes it after its restart."""
        anna = self.world.peers(1)[0]
        save(anna, {f"{n}": Random(n).randbytes(1 + n * 40_000) for n in range(8)})
        self.world.settle()
        ben = self.world.new_peer("ben")
        ben.start()
        for calls in range(20, 200, 20):
            for _ in range(calls):
                self.world.clock.step()
            ben.restart()
        self.settle()

    def test_power_lost(self) -> None:
        """A machine that lost its power, so that nobody was told, is taken back at once when it returns."""
        anna, ben = self.couple(SOME)
        ben.kill(silently=True)
        anna.write("letter", b"is Ben there?")
        self.world.clock.advance(5)
        ben.start()
        self.assertLess(self.settle(), 30)

    def test_long_absence(self) -> None:
        """A peer that is away for longer than the tracker remembers it takes up all news, deletions too."""
        anna, ben = self.couple(SOME)
        ben.kill()
        anna.delete("letter")
        anna.write("photos/3.jpg", b"3")
        self.settle_running(anna)
        self.world.clock.advance(5 * EXPIRY)
        ben.write("of ben", b"saved meanwhile")
        ben.start()
        self.settle()
        self.assertEqual({"photos/1.jpg", "photos/2.jpg", "photos/3.jpg", "empty", "of ben"}, set(contents(anna)))

    def test_index_lost(self) -> None:
        """A peer that lost its index joins anew with the files that it has: nothing is lost, copied or brought back."""
        anna, ben = self.couple(SOME)
        ben.kill()
        ben.lose_index()
        ben.start()
        self.settle()
        self.assertEqual(SOME, contents(anna))

    def test_stopped(self) -> None:
        """A peer that ends says goodbye: the tracker forgets it at once, and it comes back like any other."""
        _anna, ben = self.couple(SOME)
        ben.stop()
        self.world.clock.advance(1)
        self.assertEqual(1, self.tracker.service.counters.peers)
        ben.start()
        self.settle()

    def test_tracker_wiped(self) -> None:
        """A tracker that comes back with nothing is told everything by the peers, without help, and no file changes."""
        anna, ben = self.couple(SOME)
        items = self.tracker.service.counters.items
        self.tracker.kill()
        anna.write("letter", b"written while there was no tracker")
        self.world.clock.advance(20)
        self.tracker.start()
        self.settle()
        self.assertEqual(items, self.tracker.service.counters.items)
        self.assertEqual(2, self.tracker.service.counters.peers)
        self.assertEqual(b"written while there was no tracker", contents(ben)["letter"])
        self.world.assert_silent()

    def test_second_tracker(self) -> None:
        """If a tracker is gone, the peers meet at the next one that their invite names."""
        other: SimTracker = self.world.tracker("other")
        anna, ben = self.couple(SOME)
        self.tracker.kill(silently=True)
        self.world.clock.advance(120)
        anna.write("letter", b"through the other one")
        self.settle()
        self.assertEqual(2, other.service.counters.peers)
        self.assertEqual(b"through the other one", contents(ben)["letter"])

    def test_tracker_stopped(self) -> None:
        """A tracker that ends says goodbye, and its peers are back soon after it."""
        self.couple(SOME)
        self.tracker.stop()
        self.tracker.start()
        self.assertLess(self.settle(), 15)

    def test_partition(self) -> None:
        """What was saved on both sides of a partition is everywhere after it, in whatever way the network was split."""
        anna, ben, carl = peers = self.world.peers(3)
        save(anna, SOME)
        self.settle()
        for seconds in (1, 50, 500):
            self.world.partition([anna, self.tracker], [ben, carl])
            for peer in peers:
                peer.write(f"{peer.name} {seconds}", b"%d" % seconds + peer.name.encode())
            self.world.clock.advance(seconds)
            self.world.heal()
            self.settle()
        self.assertEqual(9 + len(SOME), len(contents(carl)))

    def test_broken_connections(self) -> None:
        """Connections that break again and again while much is fetched delay it and harm nothing."""
        anna, ben = self.world.peers(2)
        save(anna, {f"{n}": Random(n).randbytes(1 + n * 60_000) for n in range(8)})
        for _ in range(30):
            self.world.clock.advance(0.05)
            self.world.break_connections(anna, ben)
            self.world.break_connections(ben, self.tracker)
        self.settle()

    def test_third_peer_between(self) -> None:
        """Two peers that can not reach each other exchange through a third."""
        anna, ben, _carl = self.world.peers(3)
        self.world.partition([anna], [ben])
        anna.write("letter", b"Dear Ben")
        self.settle()
        self.assertEqual(b"Dear Ben", contents(ben)["letter"])


class SeedTests(SynchronousTestCase):
    """One seed is one run."""

    def trace(self, seed: int) -> str:
        """Return the trace of a story with a kill and a break in it."""
        with folder_in_memory() as folder, World(seed, folder) as world:
            tracker = world.tracker()
            anna, ben = world.peers(2)
            save(anna, SOME)
            world.settle()
            ben.write("letter", b"Dear Anna")
            anna.write("letter", b"Dear Carl")
            world.clock.advance(0.02)
            world.break_connections(anna, tracker)
            ben.restart()
            world.settle()
            world.assert_same()
            return world.trace

    def test_same_seed(self) -> None:
        """The same seed gives the same trace in another folder; another seed gives another one."""
        first = self.trace(3)
        self.assertEqual([first] * 4, [self.trace(3) for _ in range(4)])
        self.assertNotEqual(self.trace(3), self.trace(4))
