"""A file server whose disk is full, read-only, gone or broken: a sentence for the client, and it goes on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from tests.transfer.files.serving import ServingTestCase, in_line
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import NoSpace, NoSuchFile, NotWritable, TwistedP2PError
from twistedp2p.testing.faults import DiskFaults, FaultyDisk, Moment
from twistedp2p.transfer.files.connection import FilesConnection, Put
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.uploads import reserve
from twistedp2p.transfer.hashing import content_id_of

MIB = 1024 * 1024
DATA = os.urandom(3 * MIB + 7)


class FaultyServerTestCase(ServingTestCase):
    """A server whose disk fails as the test says."""

    def setUp(self) -> None:
        """Serve an empty folder."""
        super().setUp()
        self.faults = DiskFaults(Random(1))
        self.dead: list[bool] = []
        self.begin_process()

    def begin_process(self) -> None:
        """Serve the folder by a process that knows nothing of what was before."""
        disk = FaultyDisk(RealDisk(os.fsencode(self.root)), self.faults, lambda: self.dead.append(True))
        self.addCleanup(disk.close)
        self.folder = ServedFolder(disk, self.hub.clock, in_line, bytes(32))
        self.factory._source = self.folder

    def begin(self, client: FilesConnection, path: str = "file", data: bytes = DATA) -> Put:
        """Begin to put a file, over what is there."""
        put = client.put(
            path, size=len(data), mtime_ns=10**18, executable=False, content=content_id_of(data), overwrite=True
        )
        put.begun.addErrback(lambda _: None)
        return put

    def send(self, client: FilesConnection, path: str = "file", data: bytes = DATA) -> Deferred[None]:
        """Put a file as far as that goes."""
        put = self.begin(client, path, data)
        self.hub.pump()
        begun = self.successResultOf(put.begun)
        if begun is not None and not begun.present:
            for at in range(begun.offset, len(data), MIB):
                put.write(data[at : at + MIB]).addErrback(lambda _: None)
                self.hub.pump()
            if not put.done.called:
                put.end()
        self.hub.pump()
        return put.done


class FullDiskTests(FaultyServerTestCase):
    """No room."""

    def test_no_room_from_the_start(self) -> None:
        """What has no room beside the reserve is refused before a byte comes; to the byte."""
        client = self.client()
        room = self.faults.room = len(DATA)
        while room - reserve(self.folder._disk) < len(DATA):
            room = self.faults.room = room + 1
        self.faults.room = room - 1
        self.assertIn("room", self.refusal(self.send(client), NoSpace))
        self.assertFalse((self.root / "file").exists())
        self.faults.room = room
        self.wait(self.send(client))
        self.assertEqual((self.root / "file").read_bytes(), DATA)

    def test_others_take_the_room(self) -> None:
        """A disk that fills up meanwhile fails the put with a sentence; what came is kept, and gone on with."""
        client = self.client()
        put = self.begin(client)
        self.wait(put.begun)
        self.wait(put.write(DATA[:MIB]))
        self.faults.room = MIB
        put.write(DATA[MIB:])
        self.assertIn("full", self.refusal(put.done, NoSpace))
        self.assertFalse((self.root / "file").exists())
        self.faults.mend()
        put = self.begin(client)
        self.assertGreaterEqual(self.wait(put.begun).offset, MIB)
        put.done.addErrback(lambda _: None).cancel()
        self.wait(self.send(client))
        self.assertEqual((self.root / "file").read_bytes(), DATA)


class ReadOnlyTests(FaultyServerTestCase):
    """A disk that became read-only."""

    def test_changes_are_refused(self) -> None:
        """Each change is refused with a sentence, reading goes on, and changes too when it is mended."""
        self.write("old", b"old")
        (self.root / "folder").mkdir()
        client = self.client()
        self.faults.fail(errno.EROFS)
        for change in (
            lambda: self.send(client),
            lambda: client.remove("old"),
            lambda: client.remove("folder"),
            lambda: client.rename("old", "new"),
            lambda: client.make_folder("other"),
        ):
            self.assertIn("permission", self.refusal(change(), NotWritable))
        heard: list[bytes | memoryview] = []
        self.wait(client.read_range("old", self.token(client, "old"), 0, 3, lambda _, data: heard.append(data)))
        self.assertEqual(heard, [b"old"])
        self.faults.mend()
        self.wait(self.send(client))
        self.assertEqual(sorted(os.listdir(self.root)), [".twistedp2p", "file", "folder", "old"])


class VanishedTests(FaultyServerTestCase):
    """A root that somebody removed while it is served."""

    def test_a_sentence(self) -> None:
        """Whoever asks for anything hears that it is gone, not that the folder is empty; the connection goes on."""
        self.write("old", b"old")
        client = self.client()
        token = self.token(client, "old")
        shutil.rmtree(self.root)
        for deep in (False, True):
            self.assertIn("gone", self.refusal(client.listing("", lambda _: None, deep=deep), NoSuchFile))
        asks: list[Callable[[], Deferred[Any]]] = [
            lambda: client.read_range("old", token, 0, 3, lambda _, data: None),
            lambda: client.content_of("old", token),
            lambda: client.remove("old"),
            lambda: client.rename("old", "new"),
            lambda: client.make_folder("folder"),
            lambda: self.send(client),
        ]
        for ask in asks:
            self.refusal(ask(), NoSuchFile)
        self.assertEqual(self.lost, [])


class EveryCallTests(FaultyServerTestCase):
    """A put over an older file, with every call of the disk failing or dying once."""

    def anew(self) -> None:
        """The older file, and nothing else."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        self.write("folder/file", b"old")
        self.begin_process()

    def calls(self) -> int:
        """Return how many calls it takes."""
        self.anew()
        before = self.faults.calls
        self.wait(self.send(self.client(), "folder/file"))
        return self.faults.calls - before

    def check_old_or_new(self) -> bytes:
        """Assert that the name has a whole file."""
        data = (self.root / "folder/file").read_bytes()
        self.assertIn(data, (b"old", DATA))
        return data

    def finish(self) -> None:
        """Put it again; that works, and leaves nothing behind."""
        self.wait(self.send(self.client(), "folder/file"))
        self.assertEqual((self.root / "folder/file").read_bytes(), DATA)
        self.assertEqual(os.listdir(self.root / ".twistedp2p/files"), [])

    def test_failing(self) -> None:
        """Whichever call fails, the name has the old or the new file, the server goes on, and the next put works."""
        calls = self.calls()
        self.assertGreater(calls, 10)
        for error in (errno.EIO, errno.ENOSPC, errno.EROFS):
            for number in range(1, calls + 1):
                self.anew()
                client = self.client()
                self.faults.fail_once(number, error)
                done = self.send(client, "folder/file")
                self.faults.mend()
                done.addErrback(lambda failure: failure.trap(TwistedP2PError))
                self.successResultOf(done)
                self.check_old_or_new()
                self.assertEqual(self.flushLoggedErrors(), [])
                self.finish()
                client.say_goodbye()
                self.hub.pump()

    def test_dying(self) -> None:
        """Whenever the process dies, the name has the old or the new file, and the next process goes on."""
        calls = self.calls()
        for moment in Moment:
            for number in range(1, calls + 1):
                self.anew()
                client = self.client()
                self.faults.crash(number, moment)
                self.send(client, "folder/file").addErrback(lambda _: None)
                self.assertTrue(self.dead)
                self.dead.clear()
                for connection in list(self.factory.connections):
                    connection.abort("the server is gone")
                self.hub.pump()
                self.flushLoggedErrors()
                self.check_old_or_new()
                self.begin_process()
                self.finish()
