"""Putting many files: what arrives, what is skipped, what goes on after a break."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, ensureDeferred

from tests.transfer.files.serving import ServingTestCase, in_line
from tests.transfer.files.test_downloads import tree
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.errors import AlreadyThere, BadPath, NoSuchFile, Unreachable
from twistedp2p.transfer.files.client import FilesClient, Server
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.progress import FileEvent, What
from twistedp2p.transfer.files.uploading import Uploading, local_files

MIB = 1024 * 1024
OLD = 1_600_000_000 * 10**9


class UploadingTestCase(ServingTestCase):
    """A client that puts what is in the folder `mine`."""

    def setUp(self) -> None:
        """Make what is put."""
        super().setUp()
        self.mine = self.root.parent / "mine"
        self.mine.mkdir()
        self.events: list[FileEvent] = []

    def save(self, path: str, data: bytes) -> Path:
        """Write a file of our own."""
        file = self.mine / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def begin(self, *tops: Path, below: str = "", **options: Any) -> Uploading:
        """Put files and folders; deliver nothing yet."""
        network = self.hub.network(device(2), "10.0.0.2")
        invite = self.invite()
        client = FilesClient(network, Server.of(invite), name="me", entropy=bytes, random=Random(1))
        heard = options.pop("heard", self.events.append)
        uploading = Uploading(client, in_line, heard=heard, **options)

        async def add() -> None:
            for top in tops:
                async for local in local_files(top, below, in_line, uploading.left_out):
                    await uploading.add(local)

        self.adding = ensureDeferred(add())
        return uploading

    def put(self, *tops: Path, **options: Any) -> Uploading:
        """Put files and folders; return how it went."""
        uploading = self.begin(*tops, **options)
        self.wait(self.adding)
        self.wait(uploading.finish())
        return uploading


class UploadingTests(UploadingTestCase):
    """What arrives."""

    def test_everything(self) -> None:
        """Files of all sizes and folders arrive, with times and permissions to run; links do not."""
        for size in (0, 1, MIB, 3 * MIB + 1):
            file = self.save(f"a/{size}", os.urandom(size))
            os.utime(file, ns=(OLD, OLD))
            file.chmod(0o755 if size % 2 else 0o644)
        (self.mine / "empty").mkdir()
        (self.mine / "link").symlink_to("/etc/passwd")
        uploading = self.put(self.mine)
        (self.mine / "link").unlink()
        self.assertEqual(tree(self.root / "mine"), tree(self.mine))
        for file in (self.mine / "a").iterdir():
            there = self.root / "mine/a" / file.name
            self.assertEqual(there.stat().st_mtime_ns, OLD)
            self.assertEqual(bool(there.stat().st_mode & 0o100), bool(file.stat().st_mode & 0o100))
        totals = uploading.totals
        self.assertEqual((totals.files, totals.files_done, totals.files_failed), (4, 4, 0))
        self.assertEqual((totals.bytes_done, totals.moved), (totals.bytes, totals.bytes))

    def test_many(self) -> None:
        """More files than are held at a time arrive below the folder that was said."""
        self.patch(limits, "FILES_WAITING", 20)
        for number in range(100):
            self.save(f"{number}", b"%d" % number)
        self.put(self.mine, below="deep/down")
        self.assertEqual(tree(self.root / "deep/down/mine"), tree(self.mine))

    def test_what_is_there_is_skipped(self) -> None:
        """The very files that are there are not sent again."""
        self.save("a", b"a")
        self.save("b", bytes(MIB))
        self.put(self.mine)
        self.events.clear()
        uploading = self.put(self.mine)
        self.assertEqual({event.what for event in self.events}, {What.SKIPPED})
        self.assertEqual(uploading.totals.moved, 0)

    def test_other_content(self) -> None:
        """A file with other content is said to be in the way, and replaced only if that was asked for."""
        file = self.save("file", b"new")
        self.write("file", b"old")
        uploading = self.put(file)
        self.assertEqual(uploading.totals.files_failed, 1)
        self.assertIsInstance(self.events[-1].error, AlreadyThere)
        self.put(file, overwrite=True)
        self.assertEqual((self.root / "file").read_bytes(), b"new")

    def test_what_can_not_be_put(self) -> None:
        """What is not there, or has a name that can not travel, is said to be so; all else arrives."""
        (self.mine / "folder").mkdir()
        self.save("folder/good", b"1")
        (self.mine / os.fsdecode(b"folder/bad \xff")).write_bytes(b"2")
        long = "n" * 200
        deep = self.mine / "folder"
        while len(str(deep)) + 201 < limits.PATH_BYTES:
            deep = deep / long
        deep.mkdir(parents=True)
        (deep / "far").write_bytes(b"3")
        uploading = self.put(self.mine / "nothing", self.mine / "folder", below="/".join([long] * 3))
        failed = {event.path: event.error for event in self.events if event.what is What.FAILED}
        self.assertIsInstance(failed.pop(str(self.mine / "nothing")), NoSuchFile)
        self.assertEqual({type(error) for error in failed.values()}, {BadPath})
        self.assertTrue(any("bad" in path for path in failed))
        self.assertEqual(uploading.totals.files_failed, len(failed) + 1)
        self.assertTrue(uploading.totals.ended)
        self.assertEqual((self.root / long / long / long / "folder/good").read_bytes(), b"1")

    def test_the_connection_breaks(self) -> None:
        """After a break the rest is sent over the next connection."""
        self.save("big", os.urandom(12 * MIB))
        for number in range(50):
            self.save(f"small/{number}", os.urandom(10))
        breaks: list[int] = []

        def cut(event: FileEvent) -> None:
            if event.what is What.MOVED and event.path.endswith("big") and len(breaks) < 4:
                breaks.append(event.done)
                for connection in list(self.factory.connections):
                    connection.abort("the test cuts the line")

        uploading = self.begin(self.mine, heard=cut)
        self.hub.pump()
        self.hub.pass_time(30)
        self.successResultOf(self.adding)
        finished = uploading.finish()
        self.hub.pass_time(30)
        self.successResultOf(finished)
        self.assertEqual(tree(self.root / "mine"), tree(self.mine))
        self.assertEqual(len(breaks), 4)
        self.assertEqual(uploading.totals.bytes_done, uploading.totals.bytes)

    def test_what_waits_on_its_way_has_not_moved(self) -> None:
        """Bytes that were sent, and wait in buffers, are not said to have moved before the server has them."""
        file = self.save("big", os.urandom(3 * MIB))
        uploading = self.begin(file)
        finished = uploading.finish()
        while not any(event.what is What.BEGUN for event in self.events):
            for link in list(self.hub.links):
                link.step()
        (client,) = [link for link in self.hub.links if link.sent > link.other.sent]
        client.other.paused = True
        self.hub.pump()
        self.hub.pass_time(10)
        self.assertGreater(sum(map(len, client.outbox)), 100_000)
        self.assertEqual((uploading.totals.moved, uploading.totals.bytes_done), (0, 0))
        client.other.paused = False
        self.hub.pump()
        self.wait(finished)
        self.assertEqual((uploading.totals.moved, uploading.totals.bytes_done), (3 * MIB, 3 * MIB))

    def test_stopped_and_begun_again(self) -> None:
        """What the server has of a put that was stopped is not sent again."""
        file = self.save("big", os.urandom(20 * MIB))
        stopped: list[Uploading] = []

        def stop(event: FileEvent) -> None:
            if event.what is What.MOVED and event.done >= 5 * MIB:
                stopped[0].stop()

        uploading = self.begin(file, heard=stop)
        stopped.append(uploading)
        self.hub.pump()
        self.failureResultOf(uploading.finish(), CancelledError)
        uploading = self.put(file)
        self.assertEqual((self.root / "big").read_bytes(), file.read_bytes())
        self.assertGreaterEqual(uploading.totals.bytes_resumed, 4 * MIB)
        self.assertEqual(uploading.totals.moved, 20 * MIB - uploading.totals.bytes_resumed)

    def test_a_server_that_is_gone(self) -> None:
        """When the server can not be reached for long, the put ends with a sentence."""
        file = self.save("big", bytes(9 * MIB))

        def die(event: FileEvent) -> None:
            self.hub.listeners.clear()
            for connection in list(self.factory.connections):
                connection.abort("the server dies")

        uploading = self.begin(file, heard=die)
        self.hub.pump()
        finished = uploading.finish()
        self.hub.pass_time(limits.FILES_PATIENCE + limits.BACKOFF_MOST)
        self.failureResultOf(finished, Unreachable)


class PriorityTests(UploadingTestCase):
    """Whose bytes go first."""

    def test_changing_a_priority(self) -> None:
        """What is more urgent gets more of the bytes from the next piece on."""
        changed: list[bool] = []
        ends: list[str] = []

        def heard(event: FileEvent) -> None:
            if event.what is What.MOVED and not changed:
                changed.append(uploading.set_priority("to/c", Priority.CRITICAL))
                changed.append(uploading.set_priority("to/a", Priority.LOW))
                changed.append(uploading.set_priority("to/nothing", Priority.LOW))
            elif event.what is What.DONE:
                ends.append(event.path)

        uploading = self.begin(*(self.save(name, bytes(20 * MIB)) for name in "abc"), below="to", heard=heard)
        self.wait(self.adding)
        self.wait(uploading.finish())
        self.assertEqual(changed, [True, True, False])
        self.assertEqual(ends, ["to/c", "to/b", "to/a"])
        self.assertFalse(uploading.set_priority("", Priority.LOW))

    def test_what_waits_and_what_comes_later(self) -> None:
        """A priority holds for files under way, for those that wait, and for those that are found later."""
        self.patch(limits, "FILES_WAITING", 5)
        ends: list[str] = []
        uploading = self.begin(
            *(self.save(f"{number:02}", b"%d" % number) for number in range(30)),
            below="to",
            heard=lambda event: ends.append(event.path) if event.what is What.DONE else None,
        )
        self.assertEqual(uploading.totals.files, limits.ANSWERS_AT_ONCE + 5)
        self.assertTrue(uploading.set_priority("to", Priority.LOW))
        self.assertTrue(uploading.set_priority("to/00", Priority.HIGH))
        self.assertTrue(uploading.set_priority("to/08", Priority.CRITICAL))
        self.assertFalse(uploading.set_priority("to/29", Priority.CRITICAL))
        under_way = {file.local.path: file.priority for file in uploading._under_way}
        self.assertEqual((under_way["to/00"], under_way["to/01"]), (Priority.HIGH, Priority.LOW))
        self.wait(self.adding)
        self.wait(uploading.finish())
        self.assertEqual(tree(self.root / "to"), tree(self.mine))
        self.assertLess(ends.index("to/08"), ends.index("to/04"))
        self.assertLess(ends.index("to/29"), ends.index("to/28"))
