"""What broke in peers of the file synchroniser that a course on networks sets (ZifanSi/p2p-file-synchronizer,
ahmed-z5645/Peer-To-Peer-File-Synchronizer, ssh-vom/4C03, dankunlee/P2P-File-Sharing), as stories of whole shares."""

from __future__ import annotations

from random import Random

from tests.simulation.test_scenarios import WorldCase, contents, save
from twistedp2p.limits import EXPIRY
from twistedp2p.testing.network import Traits

LARGE = Random(1).randbytes(3_000_000)


class CopiesTests(WorldCase):
    """Where a file can be had."""

    def test_a_copy_is_as_good(self) -> None:
        """There one owner was known of each file, who had it first: when that one died, nobody could have it."""
        anna, ben = self.couple({"file": LARGE})
        anna.kill(silently=True)
        carl = self.world.new_peer("carl")
        carl.start()
        self.world.clock.run_until(lambda: contents(carl) == {"file": LARGE}, EXPIRY, "Carl has it")
        self.assertTrue(ben.running)

    def test_a_dead_owner_ends_nothing(self) -> None:
        """There the call that nobody took ended the thread that synchronised: no more news in either direction."""
        self.world.internet.traits = Traits((0.001, 0.01), 1_000_000.0)
        anna, ben = self.world.peers(2)
        anna.write("file", LARGE)
        self.world.clock.run_until(lambda: bool(ben.peer.sync.wants.all()), 60, "Ben wants it")
        anna.kill()
        self.world.clock.advance(60)
        ben.write("news", b"from Ben")
        carl = self.world.new_peer("carl")
        carl.write("more", b"from Carl")
        carl.start()
        both = {"news": b"from Ben", "more": b"from Carl"}
        self.world.clock.run_until(lambda: contents(ben) == contents(carl) == both, 60, "they have each other's")
        anna.start()
        self.settle()
        self.assertEqual(contents(carl), {"file": LARGE, **both})


class ContentTests(WorldCase):
    """What arrives."""

    def test_what_its_holder_lost_is_not_empty(self) -> None:
        """There `not here` was an answer of no bytes: an empty file with the new date replaced the good one."""
        anna, ben = self.couple({"file": b"good"})
        ben.kill()
        anna.write("file", LARGE)
        self.world.settle()
        (anna.folder / "file").unlink()
        ben.start()
        self.world.clock.advance(1)
        self.assertNotEqual(contents(ben).get("file"), b"")
        anna.write("file", LARGE)
        self.settle()
        self.assertEqual(contents(ben), {"file": LARGE})

    def test_half_a_file_has_no_name(self) -> None:
        """There 195,584 of 3,000,000 bytes got the name and the new date, so that the rest never came."""
        self.world.internet.traits = Traits((0.001, 0.01), 1_000_000.0)
        anna, ben = self.couple({"file": b"old"})
        anna.write("file", LARGE)
        self.world.clock.run_until(lambda: 0 < ben.peer.fetcher.progress().missing < 2_000_000, 60, "a part of it")
        anna.kill()
        self.world.clock.advance(5)
        self.assertEqual(contents(ben), {"file": b"old"})
        anna.start()
        self.settle()
        self.assertEqual(contents(ben), {"file": LARGE})

    def test_dates_decide_nothing(self) -> None:
        """There the later date won: a save on a machine with a slow clock, or of an old date, was undone or unseen."""
        anna, ben = self.couple({"file": b"first"})
        ben.skew = -7 * 86400.0
        ben.write("file", b"second")
        self.settle()
        self.assertEqual(contents(anna), {"file": b"second"})
        anna.kill()
        anna.skew = -3650 * 86400.0
        anna.write("file", b"third")
        anna.start()
        self.settle()
        self.assertEqual(contents(ben), {"file": b"third"})

    def test_programs_are_files(self) -> None:
        """There `*.py`, `*.so` and `*.dll` were no files of the folder, because the program itself lay in it."""
        files = {"run.py": b"print()", "lib.so": b"\x7fELF", "lib.dll": b"MZ", "sub/inner.txt": b"in a folder"}
        anna, ben = self.couple()
        save(anna, files)
        self.settle()
        self.assertEqual(contents(ben), files)
