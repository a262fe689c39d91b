"""Puts that stall, and disks that fail: what the client hears, and what is kept."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.defer import Deferred

from tests.transfer.files.serving import ServingTestCase
from tests.transfer.files.test_server_faults import FaultyServerTestCase
from twistedp2p import limits
from twistedp2p.errors import DiskFailed, PeerTimeout
from twistedp2p.transfer.files.connection import Put
from twistedp2p.transfer.files.source import SmallFile
from twistedp2p.transfer.hashing import content_id_of

MIB = 1024 * 1024
DATA = os.urandom(2 * MIB)


class IdleTests(ServingTestCase):
    """A client that begins to put files and then sends nothing."""

    def setUp(self) -> None:
        """Connect."""
        super().setUp()
        self.connection = self.client()

    def begin(self, path: str) -> Put:
        """Begin to put a file, and wait until the server is ready for its bytes."""
        put = self.connection.put(
            path, size=len(DATA), mtime_ns=10**18, executable=False, content=content_id_of(DATA), overwrite=True
        )
        put.done.addErrback(lambda failure: failure)
        self.offset = self.wait(put.begun).offset
        return put

    def finish(self, put: Put, offset: int) -> None:
        """Send the rest."""
        self.wait(put.write(DATA[offset:]))
        put.end()
        self.wait(put.done)

    def test_nothing_comes(self) -> None:
        """A put of which nothing comes for the whole limit fails; what came is kept, and the connection goes on."""
        put = self.begin("file")
        self.hub.pass_time(limits.FILES_PUT_IDLE / 2)
        self.wait(put.write(DATA[:MIB]))
        self.hub.pass_time(limits.FILES_PUT_IDLE - 1)
        self.assertNoResult(put.done)
        self.hub.pass_time(2)
        self.assertIn("kept", self.refusal(put.done, PeerTimeout))
        again = self.begin("file")
        self.assertEqual(self.offset, MIB)
        self.finish(again, MIB)
        self.assertEqual((self.root / "file").read_bytes(), DATA)
        self.assertEqual(self.lost, [])

    def test_a_byte_in_time(self) -> None:
        """A byte just before the limit gives the put the whole time again."""
        put = self.begin("file")
        for at in range(3):
            self.hub.pass_time(limits.FILES_PUT_IDLE - 1)
            self.wait(put.write(DATA[at : at + 1]))
        self.finish(put, 3)
        self.assertEqual((self.root / "file").read_bytes(), DATA)

    def test_the_bytes_of_another_file(self) -> None:
        """A file that waits for its turn does not fail while bytes of another come."""
        first, second = self.begin("a"), self.begin("b")
        for at in range(4):
            self.hub.pass_time(limits.FILES_PUT_IDLE / 2)
            self.wait(first.write(DATA[at : at + 1]))
        self.assertNoResult(second.done)
        self.finish(first, 4)
        self.hub.pass_time(limits.FILES_PUT_IDLE - 1)
        self.assertNoResult(second.done)
        self.hub.pass_time(2)
        self.refusal(second.done, PeerTimeout)

    def test_a_slow_disk(self) -> None:
        """As long as the server writes, the client is not waited for."""
        put = self.begin("file")
        (upload,) = [
            incoming._upload for server in self.factory.connections for incoming in server._puts._coming.values()
        ]
        slow: Deferred[None] = Deferred()
        write = upload.write
        self.patch(upload, "write", lambda data: slow.addCallback(lambda _: write(data)))
        self.wait(put.write(DATA[:MIB]))
        self.hub.pass_time(limits.FILES_PUT_IDLE * 3)
        self.assertNoResult(put.done)
        slow.callback(None)
        self.finish(put, MIB)
        self.assertEqual((self.root / "file").read_bytes(), DATA)

    def test_how_much_has_come(self) -> None:
        """The client hears how much has come, soon after it came and whenever some is written."""
        moved: list[int] = []
        data = bytes(3 * MIB)
        put = self.connection.put(
            "file", size=len(data), mtime_ns=0, executable=False, content=content_id_of(data), moved=moved.append
        )
        put.done.addErrback(lambda failure: failure)
        self.wait(put.begun)
        self.wait(put.write(b"\0" * 5))
        self.hub.pump()
        self.assertEqual(moved, [])
        self.hub.pass_time(limits.PUT_SAID_EVERY)
        self.assertEqual(moved, [5])
        self.wait(put.write(bytes(MIB)))
        self.hub.pump()
        self.assertEqual(moved, [5, limits.DOWNLOAD_RANGE + 5])
        self.wait(put.write(bytes(2 * MIB - 5)))
        put.end()
        self.wait(put.done)
        self.assertLess(len(moved), 6)
        said = list(moved)
        self.hub.pass_time(10)
        self.assertEqual(moved, said)

    def test_nothing_is_left(self) -> None:
        """When no file is being put the server waits for nothing, however long it is quiet."""
        self.finish(self.begin("file"), 0)
        (server,) = self.factory.connections
        self.assertFalse(server._puts._idle.is_set)
        self.begin("other").done.addErrback(lambda _: None)
        self.connection.say_goodbye()
        self.hub.pump()
        self.assertEqual(self.factory.connections, set())


class BrokenDiskTests(FaultyServerTestCase):
    """A disk that gives input/output errors."""

    def setUp(self) -> None:
        """Serve two files."""
        super().setUp()
        self.write("small", b"data")
        self.write("large", DATA)
        self.connection = self.client()

    def broken(self, result: Deferred[Any]) -> None:
        """Assert that the client hears what is wrong."""
        sentence = self.refusal(result, DiskFailed)
        self.assertIn(os.strerror(errno.EIO), sentence)
        self.assertIn("can not read or write", sentence)

    def test_a_sentence(self) -> None:
        """Whatever is asked for, the client hears that the disk fails, and where; the server's log has no bug."""
        token = self.token(self.connection, "large")
        self.faults.fail(errno.EIO)
        ask = self.connection
        self.broken(ask.read_range("large", token, 0, MIB, lambda _, data: None))
        self.broken(ask.content_of("large", token))
        self.broken(ask.listing("", lambda _: None, deep=True))
        self.broken(ask.make_folder("folder"))
        self.broken(ask.rename("small", "other"))
        self.broken(self.send(ask, "new", DATA))
        self.assertEqual(self.flushLoggedErrors(), [])
        self.faults.mend()
        self.assertEqual(len(self.listing(ask)), 2)

    def test_one_of_many(self) -> None:
        """Of many small files only those fail that the disk fails to read."""
        self.write("other", b"data")
        wanted = [(name, self.token(self.connection, name)) for name in ("small", "other")]
        came: dict[int, object] = {}
        self.faults.fail(errno.EIO, where=lambda name: name == (b"small",))
        self.wait(self.connection.read_files(wanted, came.__setitem__))
        self.assertIsInstance(came[0], DiskFailed)
        self.assertIsInstance(came[1], SmallFile)
