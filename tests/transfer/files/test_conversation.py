"""The conversation about named files, from both sides: what may be asked, what comes, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from twisted.internet.defer import CancelledError

from tests.transfer.files.serving import ACCESS, READ, WRITE, ServingTestCase
from twistedp2p import limits
from twistedp2p.errors import (
    AlreadyThere,
    BadPath,
    CorruptContent,
    FileChanged,
    NoSuchFile,
    NotWritable,
    Refusal,
    TwistedP2PError,
    Unreachable,
    WrongPeer,
)
from twistedp2p.transfer.files.connection import FilesConnection, Put
from twistedp2p.transfer.files.listings import Listings
from twistedp2p.transfer.files.messages import FileEntry, ListFolder
from twistedp2p.transfer.files.server import Access
from twistedp2p.transfer.files.source import SmallFile
from twistedp2p.transfer.files.uploads import PARTS
from twistedp2p.transfer.hashing import content_id_of

SECOND = 1_000_000_000
OLD = 1_600_000_000 * SECOND


class AccessTests(ServingTestCase):
    """Who may come in, and what they may do."""

    def test_an_invite_to_write(self) -> None:
        """Who has the invite to write is told so."""
        server = self.client(WRITE).server
        assert server is not None
        self.assertEqual((server.writable, server.name), (True, "served"))

    def test_an_invite_to_read(self) -> None:
        """Who has the invite to read may not change anything."""
        client = self.client(READ)
        assert client.server is not None
        self.assertFalse(client.server.writable)
        self.write("a", b"a")
        self.assertIn("read only", self.refusal(client.remove("a"), NotWritable))
        self.refusal(client.rename("a", "b"), NotWritable)
        self.refusal(client.make_folder("c"), NotWritable)
        put = client.put("d", size=0, mtime_ns=0, executable=False, content=content_id_of(b""))
        self.refusal(put.done, NotWritable)
        self.failureResultOf(put.begun, NotWritable)
        self.assertEqual(os.listdir(self.root), ["a"])

    def test_a_stranger_hears_nothing(self) -> None:
        """Who has no invite, or that of another server, is cut off without a byte."""
        for secret in (None, bytes(16)):
            client = self.client(secret)
            self.assertIsNone(client.server)
            self.assertEqual(client.bytes_in, 0)
            self.assertEqual(len(self.factory.connections), 0)
        self.assertEqual(len(self.lost), 2)

    def test_anonymous(self) -> None:
        """A server that is open to all lets nobody write without the invite to write."""
        self.factory = self.serve(Access(ACCESS.readers, ACCESS.writers, anonymous=True))
        self.write("a", b"hello")
        stranger = self.client(None)
        self.assertEqual([entry.path for entry in self.listing(stranger)], ["a"])
        self.refusal(stranger.remove("a"), NotWritable)
        self.wait(self.client(WRITE).remove("a"))

    def test_another_server(self) -> None:
        """A client that finds another key than its invite pins says nothing to it."""
        client = self.client(WRITE, pin=bytes(16))
        self.assertIsInstance(client.ended, WrongPeer)
        self.assertIsNone(client.server)
        self.assertEqual(len(self.factory.connections), 0)

    def test_goodbye(self) -> None:
        """When the server stops, what was asked fails with a sentence, and the connections are gone."""
        client = self.client()
        asked = client.listing("", lambda _: None)
        stopped = self.factory.say_goodbye()
        self.hub.pump()
        self.failureResultOf(asked, Unreachable)
        self.successResultOf(stopped)


class ListingTests(ServingTestCase):
    """What a listing has in it."""

    def paths(self, client: FilesConnection, path: str = "", **options: object) -> list[str]:
        """Return the paths that are listed."""
        return [entry.path for entry in self.listing(client, path, **options)]

    def setUp(self) -> None:
        """Fill the folder."""
        super().setUp()
        for path in ("b.txt", "a/one", "a/deep/two", "a.txt", "a-b/x"):
            self.write(path, path.encode())
        (self.root / "empty").mkdir()

    def test_one_folder(self) -> None:
        """A folder is listed with what is in it, not below."""
        self.assertEqual(self.paths(self.client()), ["a", "a-b", "a.txt", "b.txt", "empty"])
        self.assertEqual(self.paths(self.client(), "a"), ["a/deep", "a/one"])

    def test_deep_order(self) -> None:
        """A deep listing goes folder by folder, in the order of the components."""
        everything = ["a", "a/deep", "a/deep/two", "a/one", "a-b", "a-b/x", "a.txt", "b.txt", "empty"]
        self.assertEqual(self.paths(self.client(), deep=True), everything)

    def test_going_on_after_any_path(self) -> None:
        """A listing that broke off goes on after whatever came last, and misses and repeats nothing."""
        client = self.client()
        everything = self.paths(client, deep=True)
        for number, path in enumerate(everything):
            self.assertEqual(self.paths(client, deep=True, after=path), everything[number + 1 :], path)
        self.assertEqual(self.paths(client, "a", deep=True, after="a/deep"), ["a/deep/two", "a/one"])

    def test_a_piece_at_a_time(self) -> None:
        """A listing that is asked for in pieces of any size is the same, and what was begun is not begun again."""
        client = self.client()
        everything = self.paths(client, deep=True)
        begun: list[str] = []
        begin = self.folder.listing

        def listing(asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
            begun.append(asked.after)
            return begin(asked)

        (server,) = self.factory.connections
        for most in (1, 2, 4, len(everything), 100):
            begun.clear()
            server._listings = Listings(listing)
            found: list[str] = []
            while True:
                piece = self.paths(client, deep=True, after=found[-1] if found else "", most=most)
                found += piece
                if len(piece) < most:
                    break
            self.assertEqual(found, everything)
            self.assertEqual(begun, [""])
        self.assertEqual(self.paths(client, deep=True, after=everything[2], most=2), everything[3:5])

    def test_only_some_listings_wait(self) -> None:
        """Many listings that are never gone on with cost the room of a few."""
        client = self.client()
        for number in range(1, limits.LISTINGS_PAUSED + 5):
            self.paths(client, pattern="?" * number + "*", most=1)
        (server,) = self.factory.connections
        self.assertLessEqual(len(server._listings._paused), limits.LISTINGS_PAUSED)

    def test_pattern(self) -> None:
        """A pattern chooses by the last name, or, with a slash, by the path."""
        client = self.client()
        self.assertEqual(self.paths(client, deep=True, pattern="*.txt"), ["a.txt", "b.txt"])
        self.assertEqual(self.paths(client, deep=True, pattern="a/**"), ["a", "a/deep", "a/deep/two", "a/one"])

    def test_details(self) -> None:
        """A file is listed with its size, its time and whether it can be run."""
        file = self.write("run", b"12345")
        os.utime(file, ns=(OLD, OLD))
        file.chmod(0o755)
        (entry,) = self.listing(self.client(), "run")
        self.assertEqual((entry.size, entry.mtime_ns, entry.executable, entry.folder), (5, OLD, True, False))

    def test_only_files_and_folders(self) -> None:
        """Links, pipes, sockets and names that can not travel are not there for a client."""
        (self.root / "link").symlink_to("/etc")
        os.mkfifo(self.root / "pipe")
        (self.root / ".twistedp2p").mkdir()
        Path(os.fsdecode(os.fsencode(self.root) + b"/\xff")).write_bytes(b"")
        client = self.client()
        self.assertEqual(self.paths(client), ["a", "a-b", "a.txt", "b.txt", "empty"])
        self.refusal(client.listing("link", lambda _: None), NoSuchFile)
        self.refusal(client.listing("link/passwd", lambda _: None), NoSuchFile)
        self.refusal(client.listing("pipe", lambda _: None), NoSuchFile)

    def test_long_folders(self) -> None:
        """A folder with more names than fit a message, or are held at a time, is listed whole and in order."""
        self.patch(limits, "LISTING_NAMES", 700)
        names = [f"{number:04}{'x' * 200}" for number in range(2000)]
        for name in names:
            self.write(f"many/{name}")
        self.assertEqual(self.paths(self.client(), "many"), [f"many/{name}" for name in names])

    def test_a_name_in_another_normal_form(self) -> None:
        """A name that the disk has decomposed travels composed, and is found by that."""
        (self.root / "u\u0308ber").write_bytes(b"data")
        client = self.client()
        (entry,) = [entry for entry in self.listing(client) if entry.path == "\u00fcber"]
        heard: list[bytes | memoryview] = []
        self.wait(client.read_range("\u00fcber", entry.token, 0, 4, lambda _, data: heard.append(data)))
        self.assertEqual(b"".join(heard), b"data")

    def test_what_leaves_the_folder(self) -> None:
        """No path leads out of the folder or into the server's own."""
        client = self.client()
        for path in ("..", "../x", "/etc/passwd", "a/../../x", ".twistedp2p", "a/./b", "a//b", "a\0b"):
            self.refusal(client.listing(path, lambda _: None), BadPath)
            self.refusal(client.listing("", lambda _: None, after=path), BadPath)
            self.refusal(client.content_of(path, b""), BadPath)
            self.refusal(client.read_range(path, b"", 0, 1, lambda *_: None), BadPath)
            self.refusal(client.read_files([(path, b"")], lambda *_: None), BadPath)
            self.refusal(client.remove(path), BadPath)
            self.refusal(client.rename("a", path), BadPath)
            self.refusal(client.make_folder(path), BadPath)
            put = client.put(path, size=0, mtime_ns=0, executable=False, content=bytes(32))
            put.begun.addErrback(lambda _: None)
            self.refusal(put.done, BadPath)
        self.assertIsNone(client.ended)


class ReadingTests(ServingTestCase):
    """Getting what is in files."""

    def test_ranges(self) -> None:
        """Any range of a file comes as it is, also many at once."""
        data = os.urandom(3 * 1024 * 1024 + 5)
        self.write("big", data)
        client = self.client()
        token = self.token(client, "big")
        ranges = [(0, 1), (0, len(data)), (1024 * 1024 - 1, 2), (len(data) - 1, 1), (65536, 65537)]
        heard: list[dict[int, bytes | memoryview]] = [{} for _ in ranges]
        asked = [
            client.read_range("big", token, offset, length, into.__setitem__)
            for (offset, length), into in zip(ranges, heard, strict=True)
        ]
        for result, (offset, length), into in zip(asked, ranges, heard, strict=True):
            self.wait(result)
            self.assertEqual(b"".join(into[at] for at in sorted(into)), data[offset : offset + length])
            self.assertEqual(min(into), offset)

    def test_beyond_the_end(self) -> None:
        """A range that goes beyond the end is refused, whole, whether it is read at once or piece by piece."""
        for size in (5, limits.DOWNLOAD_RANGE + 5):
            self.write("file", bytes(size))
            client = self.client()
            token = self.token(client, "file")
            said = self.refusal(client.read_range("file", token, 1, size, self.no_bytes), FileChanged)
            self.assertEqual(said, "file is shorter than that.")
            before = client.bytes_in
            self.wait(client.read_range("file", token, 1, size - 1, lambda _, data: None))
            self.assertEqual(client.bytes_in - before, size - 1)

    def no_bytes(self, offset: int, data: bytes | memoryview) -> None:
        """Hear nothing of a range that is refused."""
        self.fail("bytes came")

    def test_a_changed_file(self) -> None:
        """What was asked for by the token of an older state of the file is refused."""
        self.write("file", b"12345")
        client = self.client()
        token = self.token(client, "file")
        self.write("file", b"123456")
        self.refusal(client.read_range("file", token, 0, 5, lambda *_: None), FileChanged)
        self.refusal(client.content_of("file", token), FileChanged)
        heard: list[object] = []
        self.wait(client.read_files([("file", token)], lambda _, what: heard.append(what)))
        self.assertIsInstance(heard[0], FileChanged)

    def test_not_a_file(self) -> None:
        """A folder, and nothing at all, can not be read."""
        (self.root / "folder").mkdir()
        client = self.client()
        for path in ("folder", "nothing", "nothing/at/all"):
            self.refusal(client.read_range(path, b"", 0, 1, lambda *_: None), NoSuchFile)

    def test_small_files(self) -> None:
        """Small files come whole, in the order asked for; what can not come is said in its place."""
        for number in range(limits.SMALL_FILES_PER_REQUEST - 2):
            self.write(f"{number:03}", os.urandom(number))
        self.write("full", os.urandom(limits.SMALL_FILE_BYTES))
        self.write("over", os.urandom(limits.SMALL_FILE_BYTES + 1))
        client = self.client()
        entries = self.listing(client)
        heard: dict[int, SmallFile | TwistedP2PError] = {}
        self.wait(client.read_files([(entry.path, entry.token) for entry in entries], heard.__setitem__))
        self.assertEqual(list(heard), list(range(limits.SMALL_FILES_PER_REQUEST)))
        for position, entry in enumerate(entries):
            if entry.path == "over":
                self.assertIsInstance(heard[position], FileChanged)
            else:
                data = (self.root / entry.path).read_bytes()
                self.assertEqual(heard[position], SmallFile(content_id_of(data), data))

    def test_the_content_id(self) -> None:
        """The content id is that of the whole file, the first time and from memory."""
        data = os.urandom(100_000)
        file = self.write("file", data)
        os.utime(file, ns=(OLD, OLD))
        client = self.client()
        token = self.token(client, "file")
        for _ in range(2):
            self.assertEqual(self.wait(client.content_of("file", token)), content_id_of(data))
        self.write("empty")
        self.assertEqual(self.wait(client.content_of("empty", self.token(client, "empty"))), content_id_of(b""))

    def test_hashed_while_it_is_read(self) -> None:
        """A file that was read in order is not read again for its content id; the hash is right all the same."""
        data = os.urandom(5 * 1024 * 1024 + 1)
        file = self.write("file", data)
        os.utime(file, ns=(OLD, OLD))
        client = self.client()
        token = self.token(client, "file")
        for offset in range(0, len(data), 1_000_000):
            length = min(1_000_000, len(data) - offset)
            self.wait(client.read_range("file", token, offset, length, lambda *_: None))
        # Another file of the same token would not be noticed, if it were read.
        self.folder._open = lambda *_: self.fail("it was read again")  # type: ignore[method-assign]
        self.assertEqual(self.wait(client.content_of("file", token)), content_id_of(data))

    def test_cancelling(self) -> None:
        """A range that is not wanted any more ends, and the connection is good for the next."""
        self.write("big", bytes(8 * 1024 * 1024))
        client = self.client()
        token = self.token(client, "big")
        asked = client.read_range("big", token, 0, 8 * 1024 * 1024, lambda *_: None)
        asked.cancel()
        self.refusal(asked, CancelledError)
        heard: list[bytes | memoryview] = []
        self.wait(client.read_range("big", token, 0, 10, lambda _, data: heard.append(data)))
        self.assertEqual(b"".join(heard), bytes(10))


class PuttingTests(ServingTestCase):
    """Putting files, and other changes."""

    def begin(self, client: FilesConnection, path: str, data: bytes, **options: bool) -> Put:
        """Begin to put `data`."""
        content = content_id_of(data)
        return client.put(
            path, size=len(data), mtime_ns=OLD, executable=options.get("executable", False), content=content,
            overwrite=options.get("overwrite", False),
        )  # fmt: skip

    def put(self, client: FilesConnection, path: str, data: bytes, **options: bool) -> int:
        """Put `data`; return from where on it was sent."""
        put = self.begin(client, path, data, **options)
        begun = self.wait(put.begun)
        if not begun.present:
            for at in range(begun.offset, len(data), 300_000):
                self.wait(put.write(data[at : at + 300_000]))
            put.end()
        self.wait(put.done)
        return int(begun.offset)

    def test_a_new_file(self) -> None:
        """A file that was put has its bytes, its time and its permission to run, and folders are made for it."""
        data = os.urandom(2_500_000)
        self.assertEqual(self.put(self.client(), "new/folder/file", data, executable=True), 0)
        file = self.root / "new/folder/file"
        self.assertEqual(file.read_bytes(), data)
        self.assertEqual(file.stat().st_mtime_ns, OLD)
        self.assertTrue(file.stat().st_mode & 0o100)
        self.put(self.client(), "empty", b"")
        self.assertFalse((self.root / "empty").stat().st_mode & 0o111)

    def test_present_already(self) -> None:
        """The very same file is not sent again."""
        client = self.client()
        self.put(client, "file", b"content")
        self.assertEqual(self.put(client, "file", b"content"), len(b"content"))

    def test_overwriting(self) -> None:
        """Another file is replaced only if that was asked for, and a folder never."""
        client = self.client()
        self.write("file", b"old")
        (self.root / "folder").mkdir()
        put = self.begin(client, "file", b"new")
        put.begun.addErrback(lambda _: None)
        self.assertIn("already", self.refusal(put.done, AlreadyThere))
        self.assertEqual((self.root / "file").read_bytes(), b"old")
        self.put(client, "file", b"new", overwrite=True)
        self.assertEqual((self.root / "file").read_bytes(), b"new")
        put = self.begin(client, "folder", b"new", overwrite=True)
        put.begun.addErrback(lambda _: None)
        self.refusal(put.done, AlreadyThere)

    def test_going_on(self) -> None:
        """A put that broke off goes on with the first byte that is not here, in a later connection."""
        data = os.urandom(3_000_000)
        client = self.client()
        put = self.begin(client, "file", data)
        self.wait(put.begun)
        self.wait(put.write(data[:1_700_001]))
        client.abort("the test pulls the plug")
        self.refusal(put.done, Unreachable)
        self.assertFalse((self.root / "file").exists())
        self.assertEqual(self.put(self.client(), "file", data), 1_700_001)
        self.assertEqual((self.root / "file").read_bytes(), data)
        self.assertEqual(list((self.root / os.fsdecode(b"/".join(PARTS))).iterdir()), [])

    def test_other_bytes(self) -> None:
        """What does not have the content id that was said is not put in place, and not kept."""
        client = self.client()
        put = client.put("file", size=5, mtime_ns=OLD, executable=False, content=content_id_of(b"right"))
        self.wait(put.begun)
        self.wait(put.write(b"wrong"))
        put.end()
        self.refusal(put.done, CorruptContent)
        self.assertFalse((self.root / "file").exists())
        self.assertEqual(self.put(client, "file", b"right"), 0)

    def test_too_few_bytes(self) -> None:
        """A put that ends early fails, and what came is kept for the next time."""
        client = self.client()
        put = self.begin(client, "file", b"123456")
        self.wait(put.begun)
        self.wait(put.write(b"1234"))
        put.end()
        self.refusal(put.done, Refusal)
        self.assertEqual(self.put(client, "file", b"123456"), 4)

    def test_too_many_bytes(self) -> None:
        """Who sends more bytes than it said is cut off; nothing is put in place."""
        client = self.client()
        put = self.begin(client, "file", b"123")
        self.wait(put.begun)
        put.write(b"1234")
        self.hub.pump()
        self.failureResultOf(put.done, Unreachable)
        self.assertFalse((self.root / "file").exists())

    def test_giving_up(self) -> None:
        """A put that is cancelled ends, what is still on its way is dropped, and the connection goes on."""
        client = self.client()
        put = self.begin(client, "file", b"123456")
        self.wait(put.begun)
        put.write(b"12")
        put.done.cancel()
        put.write(b"34")
        self.refusal(put.done, CancelledError)
        self.assertEqual(self.put(client, "file", b"123456"), 2)

    def test_the_name_is_taken_meanwhile(self) -> None:
        """A file that took the name while another was put is not replaced."""
        client = self.client()
        put = self.begin(client, "file", b"123")
        self.wait(put.begun)
        self.wait(put.write(b"123"))
        self.write("file", b"quicker")
        put.end()
        self.refusal(put.done, AlreadyThere)
        self.assertEqual((self.root / "file").read_bytes(), b"quicker")

    def test_twice_at_once(self) -> None:
        """Who puts the very same file again goes on with it: its first connection may be dead, and nobody knows yet."""
        data = os.urandom(3_000_000)
        first = self.begin(self.client(), "file", data)
        self.wait(first.begun)
        self.wait(first.write(data[: 2 * 1024 * 1024]))
        second = self.begin(self.client(), "file", data)
        begun = self.wait(second.begun)
        self.assertEqual(begun.offset, 2 * limits.DOWNLOAD_RANGE)
        first.write(data[2 * 1024 * 1024 :])
        self.hub.pump()
        first.end()
        self.assertIn("another connection", self.refusal(first.done, AlreadyThere))
        self.wait(second.write(data[begun.offset :]))
        second.end()
        self.wait(second.done)
        self.assertEqual((self.root / "file").read_bytes(), data)
        self.assertEqual(self.folder._uploads._under_way, {})

    def test_signs_of_life(self) -> None:
        """While a put is under way the server says how far it is, so that nobody takes it for dead."""
        client = self.client()
        put = self.begin(client, "file", b"123456")
        self.wait(put.begun)
        self.hub.pass_time(limits.REPLY * 3)
        self.assertNoResult(put.done)
        put.done.cancel()
        self.refusal(put.done, CancelledError)

    def test_removing(self) -> None:
        """A file is removed; a folder only if it is empty, or with all that is served of it."""
        client = self.client()
        self.write("folder/deep/file")
        self.write("file")
        self.wait(client.remove("file"))
        self.assertIn("not empty", self.refusal(client.remove("folder"), AlreadyThere))
        (self.root / "folder/deep/link").symlink_to("/etc/passwd")
        self.assertIn("not served", self.refusal(client.remove("folder", deep=True), AlreadyThere))
        self.assertEqual([path.name for path in (self.root / "folder/deep").iterdir()], ["link"])
        (self.root / "folder/deep/link").unlink()
        self.wait(client.remove("folder", deep=True))
        self.assertEqual([name for name in os.listdir(self.root) if not name.startswith(".")], [])
        self.refusal(client.remove("folder"), NoSuchFile)

    def test_renaming(self) -> None:
        """A file or folder is renamed, over another file only if that was asked for."""
        client = self.client()
        self.write("one", b"1")
        self.write("two", b"2")
        self.write("folder/three", b"3")
        self.refusal(client.rename("one", "two"), AlreadyThere)
        self.wait(client.rename("one", "two", overwrite=True))
        self.assertEqual((self.root / "two").read_bytes(), b"1")
        self.wait(client.rename("folder", "a/new/place"))
        self.assertEqual((self.root / "a/new/place/three").read_bytes(), b"3")
        self.refusal(client.rename("two", "a", overwrite=True), AlreadyThere)
        self.refusal(client.rename("nothing", "b"), NoSuchFile)

    def test_making_folders(self) -> None:
        """A folder is made with those above it; one that is there is fine, a file in the way is not."""
        client = self.client()
        self.wait(client.make_folder("a/b/c"))
        self.wait(client.make_folder("a/b/c"))
        self.assertTrue((self.root / "a/b/c").is_dir())
        self.write("file")
        self.refusal(client.make_folder("file/x"), AlreadyThere)

    def test_nothing_through_a_link(self) -> None:
        """A link in the folder leads no change out of it."""
        outside = self.root.parent / "outside"
        outside.mkdir()
        (outside / "file").write_bytes(b"theirs")
        (self.root / "link").symlink_to(outside)
        client = self.client()
        put = self.begin(client, "link/file", b"ours", overwrite=True)
        put.begun.addErrback(lambda _: None)
        self.refusal(put.done, TwistedP2PError)
        self.refusal(client.remove("link/file"), NoSuchFile)
        self.refusal(client.remove("link", deep=True), NoSuchFile)
        self.refusal(client.make_folder("link/new"), TwistedP2PError)
        self.write("mine")
        self.refusal(client.rename("mine", "link/new"), TwistedP2PError)
        self.assertEqual([path.name for path in outside.iterdir()], ["file"])
        self.assertEqual((outside / "file").read_bytes(), b"theirs")

    def test_a_socket_in_the_way(self) -> None:
        """What is no file is never replaced."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.root / "sock"))
        put = self.begin(self.client(), "sock", b"x", overwrite=True)
        put.begun.addErrback(lambda _: None)
        self.refusal(put.done, AlreadyThere)
