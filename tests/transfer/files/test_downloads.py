"""Fetching many files: what arrives, what is skipped, what goes on after a break, and what is said about it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from tests.framing.memory import Made
from tests.transfer.files.serving import ACCESS, SERVER, WHERE, ServingTestCase, in_line
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.disk.real import RealDisk
from twistedp2p.disk.seam import Name
from twistedp2p.errors import AlreadyThere, TwistedP2PError, Unreachable
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.network import FILES_ALPN
from twistedp2p.identity.files_code import FilesInvite
from twistedp2p.transfer.files.client import FilesClient, Server
from twistedp2p.transfer.files.downloads import Downloads, Taken
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.local import Source, part_name, source_of
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.old_parts import OldParts
from twistedp2p.transfer.files.parts import make_part
from twistedp2p.transfer.files.progress import FileEvent, What
from twistedp2p.transfer.files.server import FilesServerProtocol
from twistedp2p.transfer.files.window import Window

OLD = 1_600_000_000 * 10**9
MIB = 1024 * 1024


class DownloadsTestCase(ServingTestCase):
    """A client that fetches from the served folder into the folder `to`."""

    def setUp(self) -> None:
        """Make the target."""
        super().setUp()
        self.to = self.root.parent / "to"
        self.to.mkdir()
        self.local = RealDisk(os.fsencode(self.to))
        self.addCleanup(self.local.close)
        self.events: list[FileEvent] = []
        self.downloads, self.files = self.begin()

    def begin(
        self, invite: FilesInvite | None = None, in_thread: Any = in_line, **options: Any
    ) -> tuple[Downloads, FilesClient]:
        """Return new downloads, over a connection of their own."""
        network = self.hub.network(device(2), "10.0.0.2")
        invite = invite or self.invite()
        client = FilesClient(network, Server.of(invite), name="me", entropy=bytes, random=Random(1))
        return Downloads(client, self.local, in_thread, heard=self.events.append, **options), client

    def add_all(self, downloads: Downloads, client: FilesClient, priority: Priority = Priority.NORMAL) -> None:
        """Add all that the server lists."""

        async def add() -> None:
            entries: list[FileEntry] = []
            await (await client.connected()).listing("", entries.extend, deep=True)
            for entry in entries:
                await downloads.add(entry, tuple(entry.path.encode().split(b"/")), priority)

        self.wait(ensureDeferred(add()))

    def fetch(self, **options: Any) -> Downloads:
        """Fetch everything, and return how it went."""
        downloads, client = self.begin(**options)
        self.add_all(downloads, client)
        self.wait(downloads.finish())
        return downloads

    def same(self) -> None:
        """Assert that all files and folders that are served are here, and nothing else."""
        self.assertEqual(tree(self.root), tree(self.to))


def tree(root: Path) -> dict[str, bytes | None]:
    """Return the paths below a folder, with the bytes of files."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if ".twistedp2p" not in path.parts
    }


class FetchingTests(DownloadsTestCase):
    """What arrives."""

    def test_everything(self) -> None:
        """Files of all sizes, folders and empty folders arrive, with times and permissions to run."""
        for size in (0, 1, limits.SMALL_FILE_BYTES, limits.SMALL_FILE_BYTES + 1, MIB, 5 * MIB + 3):
            file = self.write(f"a/b/{size}", os.urandom(size))
            os.utime(file, ns=(OLD, OLD))
            file.chmod(0o755 if size % 2 else 0o644)
        (self.root / "empty/er").mkdir(parents=True)
        downloads = self.fetch()
        self.same()
        for path in (self.root / "a/b").iterdir():
            here = self.to / "a/b" / path.name
            self.assertEqual(here.stat().st_mtime_ns, OLD)
            self.assertEqual(bool(here.stat().st_mode & 0o100), bool(path.stat().st_mode & 0o100), path.name)
        totals = downloads.totals
        self.assertTrue(totals.ended)
        self.assertEqual((totals.files, totals.files_done, totals.files_failed, totals.files_skipped), (6, 6, 0, 0))
        self.assertEqual((totals.bytes_done, totals.moved), (totals.bytes, totals.bytes))

    def test_many_small_files(self) -> None:
        """More small files than are held at a time arrive."""
        self.patch(limits, "FILES_WAITING", 300)
        for number in range(1000):
            self.write(f"{number % 7}/{number}", b"%d" % number)
        downloads, client = self.begin()
        entries: list[FileEntry] = []
        self.wait(self.client().listing("", entries.extend, deep=True))

        async def add() -> None:
            for entry in entries:
                await downloads.add(entry, tuple(entry.path.encode().split(b"/")))
                self.assertLessEqual(downloads.totals.files - downloads.totals.files_done, 300)

        adding = ensureDeferred(add())
        self.wait(adding)
        self.wait(downloads.finish())
        self.same()
        client.close()

    def test_nothing(self) -> None:
        """Fetching nothing ends at once."""
        self.wait(self.downloads.finish())

    def test_what_is_here_is_skipped(self) -> None:
        """The very files that are here are not fetched again, whatever their size."""
        for size in (0, 10, limits.SMALL_FILE_BYTES + 1, MIB):
            self.write(f"{size}", os.urandom(size))
        self.fetch()
        self.events.clear()
        downloads = self.fetch()
        self.assertEqual({event.what for event in self.events}, {What.SKIPPED})
        self.assertEqual((downloads.totals.moved, downloads.totals.files_skipped), (0, 4))

    def test_other_content_is_not_overwritten(self) -> None:
        """A file with other content stays and is said to be in the way, unless overwriting was asked for."""
        for size in (5, 2 * MIB):
            self.write(f"same-{size}", bytes(size))
            (self.to / f"same-{size}").write_bytes(b"x" * size)
            self.write(f"longer-{size}", bytes(size))
            (self.to / f"longer-{size}").write_bytes(b"short")
        self.write("folder", b"a file there")
        (self.to / "folder").mkdir()
        self.write("link", b"a file there")
        (self.to / "link").symlink_to("nowhere")
        before = {path.name: path.read_bytes() for path in self.to.iterdir() if path.is_file()}
        downloads = self.fetch()
        self.assertEqual(downloads.totals.files_failed, 6)
        self.assertEqual({type(event.error) for event in self.events if event.what is What.FAILED}, {AlreadyThere})
        self.assertEqual({path.name: path.read_bytes() for path in self.to.iterdir() if path.is_file()}, before)
        self.events.clear()
        downloads = self.fetch(taken=Taken.OVERWRITE)
        self.assertEqual(downloads.totals.files_failed, 2)
        said = {event.path: str(event.error) for event in self.events if event.what is What.FAILED}
        self.assertEqual(set(said), {"folder", "link"})
        for text in said.values():
            self.assertIn("is no file; move it away", text)
        for name in before:
            self.assertEqual((self.to / name).read_bytes(), (self.root / name).read_bytes())

    def test_a_free_name(self) -> None:
        """Where another file is, a new one gets a free name, once; or it is left out, as was said."""
        self.write("note.txt", b"theirs")
        self.write("big", b"t" * MIB)
        (self.to / "note.txt").write_bytes(b"mine")
        (self.to / "big").write_bytes(b"mine")
        self.assertEqual(self.fetch(taken=Taken.SKIP).totals.files_skipped, 2)
        for _ in range(2):
            self.fetch(taken=Taken.RENAME)
            self.assertEqual(sorted(os.listdir(self.to)), ["big", "big (2)", "note (2).txt", "note.txt"])
            ends = {event.path: event.target for event in self.events if event.what in (What.DONE, What.SKIPPED)}
            self.assertEqual(ends, {"big": "big (2)", "note.txt": "note (2).txt"})
        self.assertEqual((self.to / "note (2).txt").read_bytes(), b"theirs")
        self.assertEqual((self.to / "note.txt").read_bytes(), b"mine")
        self.write("note.txt", b"theirs again")
        self.fetch(taken=Taken.RENAME)
        self.assertEqual((self.to / "note (3).txt").read_bytes(), b"theirs again")

    def test_a_file_that_changes_meanwhile(self) -> None:
        """A file that changes at the server after it was listed arrives as it is now."""
        self.write("small", b"old")
        self.write("large", bytes(3 * MIB))
        entries: list[FileEntry] = []
        self.wait(self.client().listing("", entries.extend))
        self.write("small", b"newer")
        self.write("large", b"n" * (2 * MIB))

        async def add() -> None:
            for entry in entries:
                await self.downloads.add(entry, (entry.path.encode(),))

        self.wait(ensureDeferred(add()))
        self.wait(self.downloads.finish())
        self.same()
        self.assertEqual(self.downloads.totals.bytes, self.downloads.totals.bytes_done)

    def test_a_file_that_goes(self) -> None:
        """A file that is gone when it is asked for fails with a sentence; the others arrive."""
        for name in ("a", "b"):
            self.write(name, b"data")
            self.write(f"{name}{name}", bytes(MIB))
        entries: list[FileEntry] = []
        self.wait(self.client().listing("", entries.extend))
        for name in ("a", "aa"):
            (self.root / name).unlink()

        async def add() -> None:
            for entry in entries:
                await self.downloads.add(entry, (entry.path.encode(),))

        self.wait(ensureDeferred(add()))
        self.wait(self.downloads.finish())
        self.same()
        self.assertEqual(sorted(event.path for event in self.events if event.what is What.FAILED), ["a", "aa"])

    def test_bytes_that_are_asked_for_are_bounded(self) -> None:
        """Never are more bytes asked for than may be, and at the end none is."""
        for number in range(5):
            self.write(f"{number}", bytes(4 * MIB))
        downloads, client = self.begin(in_flight=200_000)
        seen: list[int] = []

        class Watched(Window):
            """Writes down how much is asked for."""

            def asked(self, length: int) -> None:
                super().asked(length)
                seen.append(self.under_way)

        window = downloads._flight.window = Watched(client.clock, 200_000)
        self.add_all(downloads, client)
        self.wait(downloads.finish())
        self.same()
        self.assertEqual((window.under_way, window.unanswered), (0, 0))
        self.assertTrue(200_000 - limits.DATA_SENT_BYTES < max(seen) <= 200_000)

    def test_a_disk_that_is_slower_than_the_way(self) -> None:
        """What came and is not written counts too: memory stays bounded while the disk does not keep up."""
        for number in range(40):
            self.write(f"large/{number}", Random(number).randbytes(MIB))
            self.write(f"small/{number}", Random(number).randbytes(30_000))
        waiting: list[Deferred[None]] = []

        def slowly(work: Callable[..., Any], *args: Any, **options: Any) -> Deferred[Any]:
            if work.__name__ not in ("write", "place_small"):
                return in_line(work, *args, **options)
            held: Deferred[None] = Deferred()
            waiting.append(held)
            return held.addCallback(lambda _: work(*args, **options))

        downloads, client = self.begin(in_thread=slowly, in_flight=3 * MIB)
        self.add_all(downloads, client)
        finished = downloads.finish()
        for turn in range(10_000):
            self.hub.pass_time(0.1)
            self.assertLess(downloads._flight.window.under_way, 3 * MIB + limits.DOWNLOAD_RANGE)
            if not waiting:
                break
            waiting.pop(turn % len(waiting)).callback(None)
        self.successResultOf(finished)
        self.same()

    def test_no_name_leads_out(self) -> None:
        """A link in the target folder is not followed."""
        outside = Path(tempfile.mkdtemp(dir=self.root.parent))
        self.write("folder/small", b"1")
        self.write("folder/large", bytes(MIB))
        (self.to / "folder").symlink_to(outside)
        downloads, client = self.begin()
        entries: list[FileEntry] = []
        self.wait(self.client().listing("folder", entries.extend))

        async def add() -> None:
            for entry in entries:
                await downloads.add(entry, tuple(entry.path.encode().split(b"/")))

        self.wait(ensureDeferred(add()))
        self.wait(downloads.finish())
        self.assertEqual(list(outside.iterdir()), [])
        self.assertEqual(downloads.totals.files_failed, 2)
        client.close()


class TwiceTests(DownloadsTestCase):
    """Files and folders that are named more than once, or are in the way of each other."""

    def entry(self, path: str) -> FileEntry:
        """Return what the server says of a file."""
        (entry,) = self.listing(self.client(), path)
        return entry

    def add(self, entry: FileEntry, target: str, priority: Priority = Priority.NORMAL) -> None:
        """Add a file to be fetched to the path `target`; nothing is delivered yet."""
        adding = self.downloads.add(entry, tuple(target.encode().split(b"/")), priority)
        self.successResultOf(ensureDeferred(adding))

    def test_the_same_file_twice(self) -> None:
        """A file that is added while it is fetched comes once, with the most urgent of its priorities."""
        for size in (7, 2 * MIB):
            self.write(f"{size}", os.urandom(size))
        for entry in [self.entry("7"), self.entry(f"{2 * MIB}")]:
            for priority in (Priority.NORMAL, Priority.HIGH, Priority.LOW):
                self.add(entry, entry.path, priority)
        self.assertEqual([file.priority for file in self.downloads._ledger.files], [Priority.HIGH] * 2)
        self.wait(self.downloads.finish())
        self.same()
        self.assertEqual((self.downloads.totals.files, self.downloads.totals.files_done), (2, 2))

    def test_to_two_places(self) -> None:
        """A file that is wanted at two places comes to both."""
        for size in (7, 2 * MIB):
            self.write(f"{size}", os.urandom(size))
        for entry in [self.entry("7"), self.entry(f"{2 * MIB}")]:
            self.add(entry, entry.path)
            self.add(entry, f"folder/{entry.path}")
        self.wait(self.downloads.finish())
        served = tree(self.root)
        below = {f"folder/{path}": data for path, data in served.items()}
        self.assertEqual(tree(self.to), {**served, "folder": None, **below})

    def test_two_files_to_one_name(self) -> None:
        """Of two files that are wanted under one name at a time one comes, and the other is said to be in the way."""
        self.write("a/file", bytes(2 * MIB))
        self.write("b/file", b"other")
        one, other = self.entry("a/file"), self.entry("b/file")
        self.add(one, "file")
        self.add(other, "file")
        self.wait(self.downloads.finish())
        self.assertEqual(tree(self.to), {"file": bytes(2 * MIB)})
        (failed,) = (event for event in self.events if event.what is What.FAILED)
        self.assertEqual(failed.path, "b/file")
        self.assertIn("a/file is fetched to the same name", str(failed.error))
        self.assertTrue(self.downloads.totals.ended)

    def test_a_folder_that_can_not_be_made(self) -> None:
        """Where a file or a link is in the way of a folder, that is said, and all else arrives."""
        (self.root / "folder").mkdir()
        (self.root / "link").mkdir()
        self.write("file", b"1")
        (self.to / "folder").write_bytes(b"in the way")
        (self.to / "link").symlink_to(self.root)
        downloads, client = self.begin()
        self.add_all(downloads, client)
        self.wait(downloads.finish())
        self.assertEqual((self.to / "file").read_bytes(), b"1")
        failed = sorted(event.path for event in self.events if event.what is What.FAILED)
        self.assertEqual(failed, ["folder", "link"])
        self.assertTrue((self.to / "link").is_symlink())
        client.close()

    def test_urgent_ones_do_not_wait_for_room(self) -> None:
        """However many files of one priority wait, there is room for those of another."""
        self.patch(limits, "FILES_WAITING", 2)
        for name in ("a", "b", "c", "urgent"):
            self.write(name, bytes(MIB))
        entries = {name: self.entry(name) for name in ("a", "b", "c", "urgent")}
        order: list[str] = []
        self.downloads._ledger.heard = lambda event: order.append(event.path) if event.what is What.DONE else None
        for name in ("a", "b"):
            self.successResultOf(ensureDeferred(self.downloads.add(entries[name], (name.encode(),), Priority.LOW)))
        third = ensureDeferred(self.downloads.add(entries["c"], (b"c",), Priority.LOW))
        self.assertNoResult(third)
        adding = self.downloads.add(entries["urgent"], (b"urgent",), Priority.CRITICAL)
        self.successResultOf(ensureDeferred(adding))
        self.wait(third)
        self.wait(self.downloads.finish())
        self.same()

    def test_a_file_that_must_be_as_it_was_listed(self) -> None:
        """With `as_listed` a file that changed fails with one sentence, and the others arrive."""
        self.write("small", b"as listed")
        self.write("large", bytes(MIB))
        self.write("quiet", b"quiet")
        downloads, client = self.begin(as_listed=True)
        entries = [self.entry(name) for name in ("large", "quiet", "small")]
        self.write("small", b"something else")
        self.write("large", bytes(MIB + 1))
        for entry in entries:
            self.successResultOf(ensureDeferred(downloads.add(entry, (entry.path.encode(),))))
        self.wait(downloads.finish())
        self.assertEqual(tree(self.to), {"quiet": b"quiet"})
        failed = {event.path: str(event.error) for event in self.events if event.what is What.FAILED}
        sentence = "It changed there after it was listed, and is left out; ask again."
        self.assertEqual(failed, {"small": sentence, "large": sentence})
        self.assertEqual((downloads.totals.files_failed, downloads.totals.files_done), (2, 1))
        client.close()

    def test_a_file_that_becomes_something_else(self) -> None:
        """A file that is a folder, or nothing, when it is asked for is said to be no file any more."""
        entries = []
        for name in ("small", "large"):
            self.write(name, bytes(MIB) if name == "large" else b"1")
            entries.append(self.entry(name))
            (self.root / name).unlink()
            (self.root / name).mkdir()
        for entry in entries:
            self.successResultOf(ensureDeferred(self.downloads.add(entry, (entry.path.encode(),))))
        self.wait(self.downloads.finish())
        self.assertEqual(tree(self.to), {})
        self.assertEqual(self.downloads.totals.files_failed, 2)


class BreakingTests(DownloadsTestCase):
    """Connections that break, and downloads that are stopped."""

    def test_the_connection_breaks(self) -> None:
        """What came is kept, the rest is asked for over the next connection, and little comes twice."""
        for number in range(3):
            self.write(f"{number}", os.urandom(6 * MIB))
        for number in range(300):
            self.write(f"small/{number}", os.urandom(100))
        breaks = [0]

        def cut(event: FileEvent) -> None:
            self.events.append(event)
            if event.what is What.MOVED and breaks[0] < 5:
                breaks[0] += 1
                for connection in list(self.factory.connections):
                    connection.abort("the test cuts the line")

        self.downloads._ledger.heard = cut
        self.add_all(self.downloads, self.files)
        finished = self.downloads.finish()
        self.hub.pump()
        self.hub.pass_time(60)
        self.successResultOf(finished)
        self.same()
        self.assertEqual(breaks[0], 5)

    def test_the_connection_breaks_before_the_last_word(self) -> None:
        """When all bytes of a range came, but not the word that they are all, they are not asked for again."""
        self.write("big", os.urandom(3 * MIB))
        (entry,) = self.listing(self.client(), "big")
        network = self.hub.network(device(SERVER), WHERE[0])
        ticket = Admission()
        speechless: list[Speechless] = []

        def make(address: IAddress | None) -> FilesServerProtocol:
            assert address is not None
            entered = ticket.enter(address)
            assert entered is not None
            kind = FilesServerProtocol if speechless else Speechless
            protocol = kind(network=network, source=self.folder, access=ACCESS, ticket=entered, name="")
            if isinstance(protocol, Speechless):
                speechless.append(protocol)
            return protocol

        network.listen(f"tcp:{WHERE[1]}", Made(make), alpn=FILES_ALPN)
        self.successResultOf(ensureDeferred(self.downloads.add(entry, (b"big",))))
        finished = self.downloads.finish()
        self.hub.pump()
        self.assertNoResult(finished)
        speechless[0].abort("the server falls over")
        self.hub.pass_time(1)
        self.successResultOf(finished)
        self.same()
        self.assertEqual(self.files.received, 3 * MIB)

    def test_stopped_and_begun_again(self) -> None:
        """A download that is stopped keeps what came; the next one asks for the rest only."""
        data = os.urandom(20 * MIB)
        self.write("big", data)

        def stop(event: FileEvent) -> None:
            if event.what is What.MOVED and event.done >= 7 * MIB:
                self.downloads.stop()

        self.downloads._ledger.heard = stop
        self.add_all(self.downloads, self.files)
        finished = self.downloads.finish()
        self.hub.pump()
        self.failureResultOf(finished, CancelledError)
        (part,) = self.to.iterdir()
        kept = part.stat().st_size
        self.assertGreaterEqual(kept, 7 * MIB)
        downloads = self.fetch()
        self.same()
        self.assertEqual((downloads.totals.moved, downloads.totals.bytes_resumed), (len(data) - kept, kept))

    def test_a_damaged_part(self) -> None:
        """A part that was damaged while nobody looked is noticed by the hash, and the file is fetched anew."""
        self.write("big", os.urandom(3 * MIB))
        self.downloads._ledger.heard = lambda event: self.downloads.stop() if event.what is What.MOVED else None
        self.add_all(self.downloads, self.files)
        self.downloads.finish().addErrback(lambda _: None)
        self.hub.pump()
        (part,) = self.to.iterdir()
        part.write_bytes(bytes(part.stat().st_size))
        self.fetch()
        self.same()

    def cut_off(self, invite: FilesInvite | None = None, taken: Taken = Taken.FAIL) -> set[str]:
        """Fetch everything until some of it came, and return the names of what that left."""
        downloads, client = self.begin(invite, taken=taken)
        downloads._ledger.heard = lambda event: downloads.stop() if event.what is What.MOVED else None
        self.add_all(downloads, client)
        downloads.finish().addErrback(lambda _: None)
        self.hub.pump()
        return {path.name for path in self.to.iterdir()}

    def test_a_file_that_changed_between_two_runs(self) -> None:
        """What came of a file that changed since then is removed when the file is begun anew, of small ones too."""
        for name in ("big", "n" * (limits.COMPONENT_BYTES - 4), "smaller"):
            self.write(name, bytes(3 * MIB))
            self.assertEqual(len(self.cut_off()), 1)
            for state in range(2):
                self.write(name, b"%d" % state * (2 * MIB))
                left = self.cut_off()
                self.assertEqual(len(left), 1, "one part, that of the last state")
            self.write(name, b"at last" * (1 if name == "smaller" else MIB))
            self.fetch()
            self.same()
            (self.root / name).unlink()
            (self.to / name).unlink()

    def test_what_is_of_others_stays(self) -> None:
        """Parts of another server, of another target and of another path there stay, and so does what is no part."""
        self.write("big", bytes(3 * MIB))
        self.write("other", bytes(3 * MIB))
        (self.to / ".big.part").write_bytes(b"mine")
        (self.to / ".big.tp2p-0123456789abcdef.part").write_bytes(b"mine")
        (self.to / "big.tp2p-0123456789abcdef-0123456789abcdef.part").write_bytes(b"mine")
        entries = {entry.path: entry for entry in self.listing(self.client())}
        theirs = Source(b"another server\0big", entries["big"].token)
        ours = self.files.source
        for target, source in (
            ("big", theirs),
            ("big (2)", source_of(ours, entries["big"])),
            ("big", source_of(ours, entries["other"])),
        ):
            (self.to / part_name((target.encode(),), source)[0].decode()).write_bytes(b"some")
        before = {path.name for path in self.to.iterdir()}
        self.write("big", b"new" * MIB)
        self.fetch()
        self.assertEqual({path.name for path in self.to.iterdir()}, before | {"big", "other"})

    def test_an_interrupted_download_of_another_server(self) -> None:
        """Two servers have a file of one name: what came of the one is gone on with when the other's changed."""
        data = os.urandom(3 * MIB)
        self.write("big", data)
        (mine,) = self.cut_off()
        kept = (self.to / mine).stat().st_size
        other = self.invite(writable=False)
        self.assertEqual(len(self.cut_off(other)), 2)
        stat = (self.root / "big").stat()
        for state in range(2):
            os.utime(self.root / "big", ns=(OLD + state, OLD + state))
            left = self.cut_off(other)
            self.assertEqual(len(left), 2)
            self.assertIn(mine, left)
        os.utime(self.root / "big", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        downloads = self.fetch()
        self.assertEqual(downloads.totals.bytes_resumed, kept)
        self.assertEqual((self.to / "big").read_bytes(), data)

    def test_a_folder_is_read_once(self) -> None:
        """However many files come into a folder, it is read once for what earlier runs left."""
        read: list[Name] = []

        class Watched(RealDisk):
            def names(self, folder: Name, after: bytes, *rest: Any) -> list[bytes]:
                read.append(folder)
                return super().names(folder, after, *rest)

        disk = Watched(os.fsencode(self.to))
        self.addCleanup(disk.close)
        old = OldParts(disk, 2)
        for _ in range(3):
            for folder in (b"a", b"b"):
                make_part(disk, (folder, b"name"), Source(b"file", b"state"), 1, old).close()
        self.assertEqual(read, [(b"a",), (b"b",)])
        make_part(disk, (b"c", b"name"), Source(b"file", b"state"), 1, old).close()
        make_part(disk, (b"b", b"name"), Source(b"file", b"state"), 1, old).close()
        make_part(disk, (b"a", b"name"), Source(b"file", b"state"), 1, old).close()
        self.assertEqual(read, [(b"a",), (b"b",), (b"c",), (b"a",)])

    def test_a_server_that_is_gone(self) -> None:
        """When the server can not be reached for long, everything ends with a sentence that says where."""
        self.write("big", bytes(3 * MIB))

        def die(event: FileEvent) -> None:
            self.hub.listeners.clear()
            for connection in list(self.factory.connections):
                connection.abort("the server dies")

        self.downloads._ledger.heard = die
        self.add_all(self.downloads, self.files)
        finished = self.downloads.finish()
        self.hub.pass_time(limits.FILES_PATIENCE + limits.BACKOFF_MOST)
        error = self.failureResultOf(finished, Unreachable).value
        self.assertIn("10.0.0.1:17413 can not be reached", str(error))


class FairnessTests(DownloadsTestCase):
    """Shares of the bytes."""

    def test_shares(self) -> None:
        """While files of all priorities wait, their bytes come as 64, 16, 4 and 1."""
        moved = dict.fromkeys((priority.word for priority in Priority), 0)
        before: dict[str, int] = {}
        downloads, client = self.begin(in_flight=8 * MIB)

        def heard(event: FileEvent) -> None:
            if event.what is What.BEGUN and event.path == "low":
                before.update(moved)
            elif event.what is What.MOVED:
                moved[event.path] = event.done
                if before and moved["critical"] - before["critical"] >= 100 * MIB:
                    downloads.stop()

        async def add() -> None:
            connection = await client.connected()
            for priority in Priority:
                entries: list[FileEntry] = []
                await connection.listing(priority.word, entries.extend)
                await downloads.add(entries[0], (priority.word.encode(),), priority)

        for priority in Priority:
            with (self.root / priority.word).open("wb") as file:
                file.truncate(140 * MIB)
        downloads._ledger.heard = heard
        self.wait(ensureDeferred(add()))
        finished = downloads.finish()
        self.hub.pump()
        self.failureResultOf(finished, CancelledError)
        for priority in Priority:
            came = moved[priority.word] - before[priority.word]
            expected = 100 * MIB * priority / Priority.CRITICAL
            self.assertLessEqual(abs(came - expected), 2 * MIB + expected * 0.05, priority.word)

    def test_changing_a_priority(self) -> None:
        """The priority of a file can be changed in whatever state it is; of one that is done it can not."""
        self.write("small", b"1")
        self.write("large", bytes(3 * MIB))
        changed: list[bool] = []

        def heard(event: FileEvent) -> None:
            if event.what is What.BEGUN:
                changed.append(self.downloads.set_priority("large", Priority.CRITICAL))

        self.downloads._ledger.heard = heard
        self.add_all(self.downloads, self.files, Priority.LOW)
        self.wait(self.downloads.finish())
        self.assertEqual(changed, [True])
        self.assertFalse(self.downloads.set_priority("large", Priority.LOW))
        self.assertFalse(self.downloads.set_priority("nothing", Priority.LOW))
        self.assertEqual(set(self.downloads._ledger.known.values()), {0})
        self.assertEqual(set(self.downloads._ranged.active.values()), {0})


class Speechless(FilesServerProtocol):
    """A server that never says that an answer is complete."""

    def _answered(self, request: int, failure: Failure | None) -> None:
        pass


class Falling(FilesServerProtocol):
    """A server that hangs up whenever it is asked for something."""

    def message_received(self, message: object) -> None:
        """Hang up once the client was let in."""
        if self.proven:
            self.abort("the server falls over")
        else:
            super().message_received(message)


class ReachingTests(DownloadsTestCase):
    """Finding the server."""

    def test_a_void_invite(self) -> None:
        """An invite that the server does not take is said to be so at once, without trying again."""
        network = self.hub.network(device(2), "10.0.0.2")
        invite = self.invite()
        from twistedp2p.identity.share import ShareKeys

        void = Server(invite.places, ShareKeys.derive(bytes(16), False), invite.pin)
        client = FilesClient(network, void, entropy=bytes, random=Random(1))
        text = self.refusal(client.connected(), TwistedP2PError)
        self.assertIn("does not take this invite", text)
        self.assertEqual(self.hub.dials, 1)

    def test_the_next_address(self) -> None:
        """When one address does not answer, the next is tried soon."""
        from twistedp2p.identity.codes import Place

        network = self.hub.network(device(2), "10.0.0.2")
        invite = self.invite()
        self.hub.silent.add(("10.0.0.2", "10.0.0.9"))
        server = Server((Place("10.0.0.9", 1), *invite.places), invite.keys(), invite.pin)
        client = FilesClient(network, server, entropy=bytes, random=Random(1))
        connected: Deferred[Any] = client.connected()
        self.hub.pump()
        self.assertNoResult(connected)
        self.hub.pass_time(limits.NEXT_ADDRESS)
        self.successResultOf(connected)
        client.close()

    def test_a_server_that_hangs_up_again_and_again(self) -> None:
        """A server that hangs up whenever it is asked is dialled with longer and longer waits, and not for ever."""
        self.write("file", b"1")
        (entry,) = self.listing(self.client(), "file")
        network = self.hub.network(device(SERVER), WHERE[0])
        admission = Admission()

        def falling(address: IAddress | None) -> Falling:
            assert address is not None
            ticket = admission.enter(address)
            assert ticket is not None
            return Falling(network=network, source=self.folder, access=ACCESS, ticket=ticket, name="falling")

        network.listen(f"tcp:{WHERE[1]}", Made(falling), alpn=FILES_ALPN)
        self.successResultOf(ensureDeferred(self.downloads.add(entry, (b"file",))))
        finished = self.downloads.finish()
        before = self.hub.dials
        self.hub.pass_time(60)
        self.assertLessEqual(self.hub.dials - before, 15)
        self.assertNoResult(finished)
        self.hub.pass_time(limits.FILES_PATIENCE)
        self.assertIn("again and again", str(self.failureResultOf(finished, Unreachable).value))
