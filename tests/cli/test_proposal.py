"""What is offered, compared with what is here: sums, names that are taken, and room."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.proposal import SHOWN, Proposal, check_room
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import NoSpace
from twistedp2p.testing.faults import DiskFaults, FaultyDisk
from twistedp2p.transfer.files.local import source_of
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.parts import make_part
from twistedp2p.transfer.files.present import Taken

OLD = 1_600_000_000 * 10**9
SERVER = b"server"
BIG = FileEntry("folder/big.bin", False, 100_000, OLD, False, b"token")
KEEP, OVER, SKIP = Taken.RENAME, Taken.OVERWRITE, Taken.SKIP


class ProposalTests(SynchronousTestCase):
    """An offer of one file in a folder, where the test has put something before."""

    def setUp(self) -> None:
        """Make an empty folder."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        self.disk = RealDisk(os.fsencode(self.root))
        self.addCleanup(self.disk.close)

    def offered(self, *entries: FileEntry) -> Proposal:
        """Return what is offered, compared with the folder."""
        found = Proposal(SERVER)
        found.add([FileEntry("folder", True), *entries], self.disk)
        return found

    def write(self, path: str, size: int, mtime_ns: int = OLD) -> None:
        """Put a file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(bytes(size))
        os.utime(self.root / path, ns=(mtime_ns, mtime_ns))

    def part(self, target: str, size: int, entry: FileEntry = BIG) -> None:
        """Leave a part of the file, as a transfer to that name does that was cut off."""
        name = tuple(part.encode() for part in target.split("/"))
        part = make_part(self.disk, name, source_of(SERVER, entry), entry.size, OldParts(self.disk))
        part.write([bytes(size)])
        part.close()

    def small_disk(self, room: int) -> FaultyDisk:
        """Return a disk with the same files of so many bytes, of which one in a hundred is kept free."""
        faults = DiskFaults(Random(1))
        faults.room = room
        return FaultyDisk(self.disk, faults, lambda: None)

    def test_nothing_is_here(self) -> None:
        """Everything is needed, also where the folder itself is missing."""
        for disk in (self.disk, None):
            offer = Proposal(SERVER)
            offer.add([FileEntry("folder", True), BIG, FileEntry("note", False, 7)], disk)
            self.assertEqual(offer.needed, {KEEP: 100_007, OVER: 100_007, SKIP: 100_007})
            self.assertEqual((offer.files, offer.bytes, offer.names_taken), (2, 100_007, 0))
            self.assertEqual([entry.path for entry in offer.tops], ["folder", "note"])
        self.assertEqual(os.listdir(self.root), [])

    def test_the_file_is_here(self) -> None:
        """A file of the same name and size needs no room; of the same date, too, it is not even asked about."""
        self.write("folder/big.bin", 100_000)
        offer = self.offered(BIG)
        self.assertEqual((set(offer.needed.values()), offer.names_taken), ({0}, 0))
        self.write("folder/big.bin", 100_000, OLD + 1)
        offer = self.offered(BIG)
        self.assertEqual((set(offer.needed.values()), offer.taken), ({0}, ["folder/big.bin"]))

    def test_a_part_is_here(self) -> None:
        """What a part has need not come again; a part of another state of the file is none."""
        self.part("folder/big.bin", 60_000)
        self.assertEqual(set(self.offered(BIG).needed.values()), {40_000})
        self.assertEqual(self.offered(BIG).names_taken, 0)
        self.assertEqual(set(self.offered(evolve(BIG, token=b"other")).needed.values()), {100_000})

    def test_another_file_is_here(self) -> None:
        """A name that another file has is counted; what room it takes depends on what is done with it."""
        self.write("folder/big.bin", 5)
        offer = self.offered(BIG)
        self.assertEqual(offer.needed, {KEEP: 100_000, OVER: 100_000, SKIP: 0})
        self.assertEqual((offer.names_taken, offer.taken), (1, ["folder/big.bin"]))
        self.part("folder/big.bin", 10_000)
        self.part("folder/big (2).bin", 30_000)
        self.assertEqual(self.offered(BIG).needed, {KEEP: 70_000, OVER: 90_000, SKIP: 0})
        self.write("folder/big (2).bin", 6)
        self.write("folder/big (3).bin", 100_000)
        self.assertEqual(self.offered(BIG).needed, {KEEP: 0, OVER: 90_000, SKIP: 0})

    def test_a_folder_is_in_the_way(self) -> None:
        """A folder of the name is never replaced."""
        (self.root / "folder/big.bin").mkdir(parents=True)
        offer = self.offered(BIG)
        self.assertEqual(offer.needed, {KEEP: 100_000, OVER: 0, SKIP: 0})
        self.assertEqual(offer.taken, ["folder/big.bin"])

    def test_many_names(self) -> None:
        """Of many names the first are named, the others counted, whether they are taken or at the top."""
        names = [f"{number:03}" for number in range(SHOWN + 5)]
        for name in names:
            self.write(name, 1)
        offer = Proposal(SERVER)
        for name in names:
            offer.add([FileEntry(name, False, 2)], self.disk)
        self.assertEqual((offer.taken, offer.names_taken), (names[:SHOWN], SHOWN + 5))
        self.assertEqual(([entry.path for entry in offer.tops], offer.more), (names[:SHOWN], 5))

    def test_after_a_folder_that_is_not_here(self) -> None:
        """What comes after a missing folder is looked at again, also where its name begins in the same way."""
        self.write("folders/a", 3)
        self.write("z", 3)
        entries = [BIG, FileEntry("folders", True), FileEntry("folders/a", False, 3), FileEntry("z", False, 3)]
        self.assertEqual(set(self.offered(*entries).needed.values()), {100_000})

    def test_room(self) -> None:
        """What just fits beside the reserve is taken, and one byte more refused, with both numbers in the sentence."""
        disk = self.small_disk(1_000_000)
        check_room(disk, 0)
        check_room(disk, 990_000)
        error = self.assertRaises(NoSpace, check_room, disk, 990_001)
        self.assertEqual(
            str(error),
            "There is not enough room: 990 kB are still to come, and 990 kB are free. "
            "Make room, or choose another folder with --to.",
        )
        self.write("used", 100_000)
        check_room(disk, 890_000)
        self.assertRaises(NoSpace, check_room, disk, 890_001)
        self.write("used", 999_000)
        check_room(disk, 0)
        self.assertRaises(NoSpace, check_room, disk, 1)

    def test_what_is_here_fits(self) -> None:
        """A file whose part is here is received on a disk that has room for the rest only."""
        self.part("folder/big.bin", 60_000)
        needed = self.offered(BIG).needed[KEEP]
        check_room(self.small_disk(101_010), needed)
        self.assertRaises(NoSpace, check_room, self.small_disk(101_009), needed)
