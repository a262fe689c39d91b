"""Disks that fail and processes that die while files are fetched: nothing under a final name is ever half."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from attrs import evolve
from twisted.internet.defer import ensureDeferred

from tests.transfer.files.serving import in_line
from tests.transfer.files.test_downloads import DownloadsTestCase, tree
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import NoSpace, NotWritable
from twistedp2p.testing.faults import CAN_FAIL, DiskFaults, FaultyDisk, Moment
from twistedp2p.transfer.files.downloads import Downloads, Taken
from twistedp2p.transfer.files.local import part_name, source_of
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.progress import FileEvent, What

MIB = 1024 * 1024


class FaultsTestCase(DownloadsTestCase):
    """Files to fetch: small and large ones, new ones and one that replaces another."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.write("new/small", b"small")
        self.write("new/other", b"other")
        self.write("new/large", os.urandom(2 * MIB + 5))
        self.write("old", b"new content")
        (self.root / "empty").mkdir()
        self.entries: list[FileEntry] = self.listing(self.client(), "", deep=True)
        self.faults = DiskFaults(Random(1))
        self.flushed = True
        self.happens: Callable[[FileEvent], object] = lambda _: None
        self.begin_anew()

    def hear(self, event: FileEvent) -> None:
        """Note what happens to a file."""
        self.events.append(event)
        self.happens(event)

    def begin_anew(self) -> None:
        """Empty the target, but for the file that is to be replaced."""
        for path in sorted(self.to.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (self.to / "old").write_bytes(b"old content")

    def leave_old_part(self) -> Path:
        """Leave what an earlier run got of the large file before that changed at the server; return where."""
        _, client = self.begin()
        (entry,) = (entry for entry in self.entries if entry.path == "new/large")
        older = evolve(source_of(client.source, entry), state=b"older")
        part = self.to.joinpath(*map(os.fsdecode, part_name((b"new", b"large"), older)))
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(bytes(MIB))
        return part

    def try_to_fetch(self) -> Downloads:
        """Fetch everything with a process of its own, as far as that goes; a bug is an error of the test."""
        dead: list[bool] = []
        disk = FaultyDisk(RealDisk(os.fsencode(self.to)), self.faults, lambda: dead.append(True))
        _, client = self.begin()
        self.events.clear()
        downloads = Downloads(client, disk, in_line, heard=self.hear, taken=Taken.OVERWRITE)

        async def fetch() -> bool:
            for entry in self.entries:
                await downloads.add(entry, tuple(entry.path.encode().split(b"/")))
            try:
                await downloads.finish()
            except NotWritable:  # not even one file: what was fetched is not on stable storage
                return False
            return True

        fetching = ensureDeferred(fetch())
        self.hub.pump()
        if dead:
            fetching.addErrback(lambda _: None)
        else:
            self.flushed = self.successResultOf(fetching)
        # What the system does when a process is gone.
        for connection in list(self.factory.connections):
            connection.abort("the client is gone")
        self.hub.pump()
        disk.close()
        return downloads

    def calls(self) -> int:
        """Return how many calls of the disk it takes to fetch everything."""
        before = self.faults.calls
        self.try_to_fetch()
        self.same()
        self.begin_anew()
        return self.faults.calls - before

    def check_names(self) -> None:
        """Assert that what has a final name is whole, and that the file to be replaced is old or new."""
        served = tree(self.root)
        for path, data in tree(self.to).items():
            if path == "old":
                self.assertIn(data, (b"old content", b"new content"))
            elif not path.rpartition("/")[2].startswith("."):
                self.assertEqual(data, served[path], path)


class DyingTests(FaultsTestCase):
    """A process that dies in a call of its disk."""

    def test_in_every_call(self) -> None:
        """Whenever it dies, final names have whole files; the next one fetches the rest, and leaves nothing behind.

        Not even what an earlier run had left of an older state of a file.
        """
        self.leave_old_part()
        calls = self.calls()
        for number in range(1, calls + 1):
            for moment in Moment:
                self.leave_old_part()
                self.faults.crash(number, moment)
                self.try_to_fetch()
                self.check_names()
                self.faults.mend()
                self.try_to_fetch()
                self.same()
                self.begin_anew()


class FailingTests(FaultsTestCase):
    """Calls of the disk that fail."""

    def test_an_old_part_that_can_not_be_removed(self) -> None:
        """What can not be removed of an older state of a file stays, and keeps nothing from being fetched."""
        part = self.leave_old_part()
        self.faults.fail(errno.EACCES, where=lambda name: name[-1:] == (os.fsencode(part.name),))
        downloads = self.try_to_fetch()
        self.assertEqual((downloads.totals.files_failed, part.stat().st_size), (0, MIB))
        self.assertGreater(self.faults.failed, 0)
        part.unlink()
        self.same()

    def test_every_call_once(self) -> None:
        """Whichever call fails, that is said of the file it is about, all others arrive, and the next try gets it."""
        calls = self.calls()
        for error in CAN_FAIL:
            for number in range(1, calls + 1):
                self.faults.fail_once(number, error)
                downloads = self.try_to_fetch()
                self.check_names()
                totals = downloads.totals
                self.assertTrue(totals.ended, (error, number))
                if not self.flushed:
                    self.assertEqual((error, number), (errno.EIO, calls), "only the flush of all is about all")
                failed = [event for event in self.events if event.what is What.FAILED]
                self.assertEqual(len(failed), totals.files_failed)
                window = downloads._flight.window
                self.assertEqual((window.under_way, window.unanswered), (0, 0))
                self.faults.mend()
                self.try_to_fetch()
                self.same()
                self.begin_anew()

    def test_a_full_disk(self) -> None:
        """What has no room is said to have none; what came of it is kept, and goes on when there is room."""
        self.faults.room = MIB
        downloads = self.try_to_fetch()
        (failed,) = (event for event in self.events if event.what is What.FAILED)
        self.assertEqual(failed.path, "new/large")
        self.assertIsInstance(failed.error, NoSpace)
        self.assertEqual(downloads.totals.files_done, 3)
        self.check_names()
        self.faults.mend()
        self.try_to_fetch()
        self.same()

    def test_a_disk_that_fills_up(self) -> None:
        """A disk on which others take the room meanwhile keeps what came, and it is not fetched again."""

        def fill(event: FileEvent) -> None:
            if event.what is What.MOVED and not kept:
                kept.append(event.done)
                self.faults.fail(errno.ENOSPC)

        kept: list[int] = []
        self.happens = fill
        downloads = self.try_to_fetch()
        errors = [event.error for event in self.events if event.what is What.FAILED]
        self.assertEqual({type(error) for error in errors}, {NoSpace})
        self.assertTrue(downloads.totals.ended)
        self.check_names()
        self.faults.mend()
        downloads = self.try_to_fetch()
        self.same()
        self.assertGreaterEqual(downloads.totals.bytes_resumed, kept[0])
