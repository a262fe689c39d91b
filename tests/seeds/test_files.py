"""What broke in programs that send files by name: yuran1811/hcmus-socket, hbnnnnnnn/CN-socket-python-project,
hadis98/FTP-Client-Server-Python-Socket-Programming, pratiklotia/Client-Server-Fast-File-Transfer-using-UDP-on-Python,
akshayjoshii/socket_programming and x4nth055/pythoncode-tutorials."""

from __future__ import annotations

import os
from random import Random

from tests.framing.memory import MemoryTransport
from tests.transfer.files.serving import READ, WRITE, ServingTestCase
from tests.transfer.files.test_downloads import MIB, DownloadsTestCase
from twistedp2p import limits
from twistedp2p.errors import BadPath, CorruptContent, NoSuchFile, ProtocolViolation, Unreachable
from twistedp2p.messages.common import Goodbye
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.messages import FILES, ReadRange
from twistedp2p.transfer.hashing import content_id_of

MARKERS = (
    b"EOF",
    b"DONE",
    b"5<SEPARATOR>6",
    b"[accept][terminate]",
    b"DATA<@=#>name<@=#>1024<@=#>",
    b"Content-Length: 0\n",
    b"name;size\nSEN END name",
    len(FILES.encode(ReadRange(1, "file", bytes(16), 0, 1))).to_bytes(4, "big")
    + FILES.encode(ReadRange(1, "file", bytes(16), 0, 1)),
)
"""What some program took for the end of a file, or for a header."""
NAMES = (
    "two words.txt",
    "a  b  HIGH",
    "-rf",
    "name<SEPARATOR>300AAAA",
    "LIST<@=#>name<@=#>5<@=#>",
    "id;name;5",
    "été ü.txt",
    "no ending",
    "folder with words/and, commas. dots",
)
"""What some program took apart at the wrong place, or could not ask for."""
SECRET = b"nobody's business"


def put(test: ServingTestCase, client: FilesConnection, path: str, data: bytes) -> None:
    """Put a file."""
    doing = client.put(path, size=len(data), mtime_ns=0, executable=False, content=content_id_of(data))
    test.wait(doing.begun)
    test.wait(doing.write(data))
    doing.end()
    test.wait(doing.done)


class NamesTests(DownloadsTestCase):
    """Names of files."""

    def test_names_that_lead_out(self) -> None:
        """Four of these programs served `../../secret.txt`, one wrote there. Here nothing is read, changed or said."""
        secret = self.root.parent / "secret.txt"
        secret.write_bytes(SECRET)
        (self.root / "sub").mkdir()
        client = self.client()
        for path in ("../secret.txt", "../../secret.txt", "sub/../../secret.txt", str(secret), "sub/../../root"):
            told = [
                self.refusal(client.listing(path, lambda _: self.fail("it is listed")), BadPath),
                self.refusal(client.read_range(path, b"", 0, 1, lambda *_: self.fail("it is read")), BadPath),
                self.refusal(client.content_of(path, b""), BadPath),
                self.refusal(client.remove(path, deep=True), BadPath),
                self.refusal(client.rename("sub", path, overwrite=True), BadPath),
            ]
            doing = client.put(path, size=1, mtime_ns=0, executable=False, content=content_id_of(b"x"), overwrite=True)
            doing.begun.addErrback(lambda _: None)
            told.append(self.refusal(doing.done, BadPath))
            self.assertNotIn(SECRET.decode(), "".join(told))
        self.assertEqual(secret.read_bytes(), SECRET)
        self.assertEqual(sorted(os.listdir(self.root.parent)), ["root", "secret.txt", "to"])

    def test_names_with_anything_in_them(self) -> None:
        """There a blank or a separator in a name ended it. Here a name has its length said, and may have anything."""
        for number, name in enumerate(NAMES):
            put(self, self.client(), name, b"%d" % number)
            self.assertEqual((self.root / name).read_bytes(), b"%d" % number)
        self.fetch()
        self.same()

    def test_more_names_than_one_read(self) -> None:
        """There a list was one read of 1,024 bytes: from some thirty files on it was cut. Here it is whole."""
        names = [f"holiday photo number {number:05}.jpg" for number in range(1200)]
        for name in names:
            self.write(name)
        self.assertEqual([entry.path for entry in self.listing(self.client())], names)


class SegmentTests(DownloadsTestCase):
    """How the bytes of a connection are cut into reads."""

    def course(self, segment: int) -> None:
        """Put, list and fetch files, and compare."""
        self.hub.segment = segment
        data = Random(1).randbytes(40_000)
        put(self, self.client(), f"{segment}/put", data)
        for size in (0, 1, 300, limits.SMALL_FILE_BYTES + 1):
            self.write(f"{segment}/{size}", Random(size).randbytes(size))
        self.fetch()
        self.same()
        self.assertEqual((self.to / f"{segment}/put").read_bytes(), data)

    def test_one_read_for_all(self) -> None:
        """There a header and data, or `DONE` and the line before, in one read were a crash, or a wait for ever."""
        self.course(0)

    def test_short_reads(self) -> None:
        """There one short read was taken for a whole chunk, and all that followed for something else."""
        for segment in (1, 7, 1023):
            self.course(segment)


class ContentTests(DownloadsTestCase):
    """What is in files."""

    def test_content_that_looks_like_an_end(self) -> None:
        """There a file with EOF in it ended there. Here no content means anything, in small files or large ones."""
        for number, marker in enumerate(MARKERS):
            put(self, self.client(), f"put/{number}", marker)
            self.write(f"small/{number}", marker * 3)
            self.write(f"large/{number}", marker * (2 * limits.SMALL_FILE_BYTES // len(marker)) + marker)
        self.fetch()
        self.same()

    def test_a_hash_that_is_one(self) -> None:
        """There every file had the hash of no bytes, and every check went well. Here one byte is enough to fail it."""
        data = Random(1).randbytes(100_000)
        changed = bytes([data[0] ^ 1]) + data[1:]
        self.assertNotEqual(content_id_of(data), content_id_of(b""))
        client = self.client()
        doing = client.put("file", size=len(data), mtime_ns=0, executable=False, content=content_id_of(data))
        self.wait(doing.begun)
        self.wait(doing.write(changed))
        doing.end()
        self.refusal(doing.done, CorruptContent)
        self.assertFalse((self.root / "file").exists())
        self.write("file", changed)
        self.assertEqual(self.wait(client.content_of("file", self.token(client, "file"))), content_id_of(changed))

    def test_a_size_that_is_compared(self) -> None:
        """There the receiver took whatever came for the whole file. Here less than was said has no name."""
        data = Random(1).randbytes(3 * MIB)
        client = self.client()
        doing = client.put("file", size=len(data), mtime_ns=0, executable=False, content=content_id_of(data))
        self.wait(doing.begun)
        doing.write(data[:195_584])
        self.hub.pump()
        client.abort("the network is gone")
        self.refusal(doing.done, Unreachable)
        self.assertFalse((self.root / "file").exists())
        put_again = self.client().put("file", size=len(data), mtime_ns=0, executable=False, content=content_id_of(data))
        self.assertEqual(self.wait(put_again.begun).offset, 195_584)
        put_again.done.addErrback(lambda _: None)


class PaceTests(ServingTestCase):
    """Who decides how much is read at once."""

    def test_more_than_a_range(self) -> None:
        """There the client said how much is read in one piece. Here it may say so much, and one byte more is an end."""
        most = FILES.encode(ReadRange(1, "file", bytes(16), 0, limits.RANGE_BYTES))
        self.assertEqual(FILES.decode(most), ReadRange(1, "file", bytes(16), 0, limits.RANGE_BYTES))
        over = FILES.encode(ReadRange(1, "file", bytes(16), 0, limits.RANGE_BYTES + 1))
        self.assertRaises(ProtocolViolation, FILES.decode, over)

    def test_pieces_are_the_servers(self) -> None:
        """However long the range, it comes in frames of 256 KiB, and little is read before somebody takes it."""
        self.write("file", bytes(limits.RANGE_BYTES))
        client = self.client()
        token = self.token(client, "file")
        there = client.transport
        assert isinstance(there, MemoryTransport)
        there.paused = True
        lengths: list[int] = []
        asked = client.read_range("file", token, 0, limits.RANGE_BYTES, lambda _, data: lengths.append(len(data)))
        self.hub.pump()
        self.assertLess(sum(map(len, there.other.outbox)), 4 * limits.FILE_DATA_BYTES)
        there.paused = False
        self.wait(asked)
        self.assertLessEqual(max(lengths), limits.FILE_DATA_BYTES)
        self.assertEqual(sum(lengths), limits.RANGE_BYTES)


class OthersTests(DownloadsTestCase):
    """What one client does to the others."""

    def test_a_wrong_wish_ends_itself_only(self) -> None:
        """There a wish for a folder, or a list of a folder that is not there, ended the server."""
        (self.root / "folder").mkdir()
        self.write("file", b"data")
        client, other = self.client(), self.client(READ)
        for path in ("folder", "nothing", "file/below"):
            self.refusal(client.read_range(path, b"", 0, 1, lambda *_: None), NoSuchFile)
        for path in ("nothing", "file/below"):
            self.refusal(client.listing(path, lambda _: None), NoSuchFile)
        for still in (client, other, self.client()):
            self.assertEqual([entry.path for entry in self.listing(still)], ["file", "folder"])

    def test_a_put_without_an_end(self) -> None:
        """There the server waited for it for ever, and took the words of others for its bytes."""
        silent, other = self.client(), self.client()
        doing = silent.put("silent", size=10, mtime_ns=0, executable=False, content=content_id_of(bytes(10)))
        self.wait(doing.begun)
        doing.write(b"half")
        put(self, other, "other", b"list")
        self.assertEqual([entry.path for entry in self.listing(other)], ["other"])
        self.assertEqual((self.root / "other").read_bytes(), b"list")
        doing.write(bytes(6))
        doing.end()
        self.refusal(doing.done, CorruptContent)
        self.assertFalse((self.root / "silent").exists())

    def test_who_leaves_takes_nobody_along(self) -> None:
        """There one client's `exit`, or its broken connection, ended the server, and with it all others."""
        self.write("file", Random(1).randbytes(3 * MIB))
        leaving, breaking, staying = self.client(), self.client(), self.client()
        token = self.token(breaking, "file")
        asked = breaking.read_range("file", token, 0, 3 * MIB, lambda *_: breaking.abort("the cable is cut"))
        self.add_all(self.downloads, self.files)
        finished = self.downloads.finish()
        leaving.close(Goodbye())
        self.wait(finished)
        self.same()
        self.refusal(asked, Unreachable)
        self.assertEqual([entry.path for entry in self.listing(staying)], ["file"])
        self.assertEqual(self.hub.dials, 1)

    def test_an_idle_client_costs_nothing(self) -> None:
        """There a server without work ran in a loop. Here it has nothing to do before it asks who is still there."""
        before = self.hub.clock.seconds()
        for _ in range(3):
            self.listing(self.client(WRITE))
        self.hub.pass_time(limits.REPLY)
        calls = [call.getTime() - before for call in self.hub.clock.getDelayedCalls()]
        self.assertGreaterEqual(min(calls, default=limits.LINK_IDLE), limits.LINK_IDLE)
