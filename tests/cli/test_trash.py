"""`twistedp2p trash`: listing and emptying, by way of a running peer and of a folder that nobody serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from attrs import asdict
from click.testing import Result
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.cli.test_commands import FolderTestCase, run
from tests.cli.test_share_join import ShareJoinTestCase
from tests.peer.bench import EARLY, Bench
from tests.web.test_api import FakePeer
from twistedp2p.cli.words import day
from twistedp2p.home import Home
from twistedp2p.limits import TRASH_DAYS
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.trash import displaced_at
from twistedp2p.peer.purging import Purger, Wish
from twistedp2p.web.api import ControlService

ODD = "d/a\x1b[31m\n\u2603"


class ServingPeer(FakePeer):
    """A peer with a real trash, which it hands out two files at a time."""

    def __init__(self, purger: Purger) -> None:
        super().__init__()
        self.purger = purger

    def trash(self, place: str | None, pattern: str | None) -> Deferred[dict[str, Any]]:
        return deferToThread(self.purger.page, place, pattern, 2).addCallback(asdict)

    def purge_trash(self, wish: Wish, place: str | None) -> Deferred[dict[str, Any]]:
        return deferToThread(self.purger.purge, wish, place, 2).addCallback(asdict)


class TrashCase(FolderTestCase):
    """A folder with four files in the trash: a version waits for one, and one the index does not know."""

    served = False

    def setUp(self) -> None:
        super().setUp()
        bench = self.bench = Bench()
        self.addCleanup(bench.close)
        for path in ("letter.txt", ODD):
            bench.save(path, b"old " + path.encode())
            bench.take_in()
            bench.theirs(path, b"new " + path.encode())
            bench.plan()
            bench.plan()
        bench.save("g", b"mine")
        bench.take_in()
        loser = bench.theirs("g", b"loser", over=False, mtime_ns=EARLY)
        bench.supply(*[content for content, data in bench.held.items() if data == b"loser"])
        self.assertTrue(loser)
        bench.plan("g")
        bench.steps.recheck_trash(tuple(bench.purger.unchecked))
        self.names = {entry.path: entry.name for entry in bench.index.trash_entries()}
        self.assertEqual(set(self.names), {"letter.txt", ODD, "g"})
        self.stray = bench.root / ".twistedp2p/trash/20200101/0000000000000000.stray"
        self.stray.parent.mkdir()
        self.stray.write_bytes(b"stray")
        os.utime(self.stray, ns=(EARLY, EARLY))
        self.folder = self.new_folder()

    def new_folder(self) -> Path:
        """Return the bench's folder, as a member that nobody serves, or with a peer that does."""
        self.home.remember(self.bench.root, bytes(20))
        shutil.rmtree(self.base / "one")
        self.home.forget(self.base / "one")
        if self.served:
            lock = mark.lock(self.bench.disk)
            self.addCleanup(lock.release)
            peer = ServingPeer(self.bench.purger)
            path = self.home.control_socket(self.bench.root)
            service = ControlService(reactor, reactor, peer, path)  # type: ignore[arg-type]
            service.startService()
            self.addCleanup(service.stopService)
        else:
            self.bench.index.close()
        return self.bench.root

    async def trash(self, *arguments: str, answer: str | None = None) -> Result:
        """Run `twistedp2p trash` in a thread, while the reactor serves."""
        return await deferToThread(run, "trash", *arguments, "--home", str(self.home.path), stdin=answer)

    def left(self) -> set[str]:
        """Return what the trash holds, by what it was called."""
        files = (self.folder / ".twistedp2p/trash").rglob("*")
        return {file.name.partition(".")[2] for file in files if file.is_file()}


class CommandTests(TrashCase):
    """What the commands do; no peer runs, so they open the folder themselves."""

    async def test_list(self) -> None:
        """Each file has a line: when, size, until when and what; then why it stays; no name acts on the terminal."""
        result = await self.trash("list")
        self.assertEqual(result.exit_code, 0, result.output)
        lines = result.stdout.splitlines()
        until = day(displaced_at(self.names["letter.txt"]) + TRASH_DAYS * 86_400)
        (letter,) = [line for line in lines if "letter.txt" in line]
        self.assertEqual(letter.split()[2:], ["14", "B", "to", until, "letter.txt"])
        self.assertIn("d/a\\x1b[31m\\x0a\u2603", result.stdout)
        self.assertNotIn("\x1b", result.stdout)
        at = next(number for number, line in enumerate(lines) if line.endswith(" g"))
        self.assertIn("stays", lines[at])
        self.assertIn("A version waits for it", lines[at + 1])
        self.assertIn("stray", lines[-3])
        self.assertIn("The index does not know it", lines[-2])
        self.assertEqual(lines[-1], f"4 files, {14 + 4 + len(ODD.encode()) + 10} B, in {self.folder}/.twistedp2p/trash")

    async def test_list_some(self) -> None:
        """A word that is no folder is a pattern; --long names the plain file; what is like nothing is said so."""
        result = await self.trash("list", "*.txt", "--long")
        self.assertIn(f"    {self.folder}/.twistedp2p/trash/{self.names['letter.txt']}\n", result.stdout)
        self.assertEqual(result.stdout.splitlines()[-1].split(",")[0], "1 file")
        result = await self.trash("list", str(self.folder), "nothing\x07")
        self.assertEqual(result.stdout, f"Nothing in the trash of {self.folder} is like nothing\\x07.\n")
        self.assertEqual((await self.trash("list", "a", "b", "c")).exit_code, 2)

    async def test_list_json(self) -> None:
        """--json is one object with every file as it is, whatever its name."""
        result = await self.trash("list", str(self.folder), "--json")
        found = json.loads(result.stdout)
        self.assertEqual((found["folder"], found["trash"]), (str(self.folder), f"{self.folder}/.twistedp2p/trash"))
        self.assertEqual({item["path"] for item in found["items"]}, {"letter.txt", ODD, "g", "stray"})
        for item in found["items"]:
            self.assertTrue((Path(found["trash"]) / item["name"]).exists())

    async def test_purge(self) -> None:
        """What is meant goes, what is needed stays with its reason, and both are said."""
        result = await self.trash("purge", "--older-than", "1", "--yes")
        self.assertEqual(result.stdout, "Removed 0 files, 0 B.\n")
        result = await self.trash("purge", "*.txt", "--yes")
        self.assertEqual(result.stdout, "Removed 1 file, 14 B.\n")
        result = await self.trash("purge", str(self.folder), "--all", "--yes")
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], f"Removed 2 files, {len(ODD.encode()) + 4 + 5} B.")
        self.assertTrue(lines[1].startswith("Kept g: A version waits for it"), lines)
        self.assertEqual((len(lines), self.left()), (2, {"g"}))
        result = await self.trash("list", "--json")
        self.assertEqual([item["path"] for item in json.loads(result.stdout)["items"]], ["g"])

    async def test_purge_asks(self) -> None:
        """Nothing goes without a word of what, and without --yes where there is nobody to ask."""
        for arguments in (["purge"], ["purge", "--older-than", "-1", "--yes"], ["purge", "--all"]):
            self.assertEqual((await self.trash(*arguments)).exit_code, 2, arguments)
        self.assertEqual(len(self.left()), 4)

    async def test_purge_of_nothing(self) -> None:
        """When nothing can go there is nothing to ask."""
        result = await self.trash("purge", "g")
        self.assertEqual((result.exit_code, result.stdout.splitlines()[0]), (0, "Removed 0 files, 0 B."))
        self.assertIn("Kept g: ", result.stdout)


class ServedTests(CommandTests):
    """A peer runs, and is asked; it says the same."""

    served = True

    async def test_of_another_version(self) -> None:
        """A peer that answers something else is one sentence, and nothing is removed."""
        other = self.new_member("two")
        peer = FakePeer()
        peer.trash = lambda place, pattern: deferToThread(lambda: {"items": 7})  # type: ignore[method-assign]
        service = ControlService(reactor, reactor, peer, Home(self.home.path).control_socket(other))  # type: ignore[arg-type]
        service.startService()
        self.addCleanup(service.stopService)
        result = await self.trash("list", str(other))
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))


class AtRestTests(TrashCase):
    """What is special about a folder that nobody serves."""

    async def test_no_index(self) -> None:
        """Without an index all is listed, nothing goes, and none is made: that is for the peer."""
        for file in (self.folder / ".twistedp2p").glob("index*"):
            file.unlink()
        result = await self.trash("purge", "--all", "--yes")
        self.assertEqual(result.stdout.count("The index is new"), 4)
        self.assertEqual(len(self.left()), 4)
        self.assertEqual(list((self.folder / ".twistedp2p").glob("index*")), [])

    async def test_days_that_were_chosen(self) -> None:
        """A folder that was told how long to keep its trash says so also at rest."""
        (self.folder / ".twistedp2p/settings.json").write_text('{"chosen": {"trash_days": 2}}')
        result = await self.trash("list", "letter.txt")
        self.assertIn(f" to {day(displaced_at(self.names['letter.txt']) + 2 * 86_400)} ", result.stdout)

    async def test_somebody_has_it(self) -> None:
        """A folder that a process has, but does not answer for, is left alone, with one sentence."""
        lock = mark.lock(self.bench.disk)
        self.addCleanup(lock.release)
        result = await self.trash("purge", "--all", "--yes")
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))
        self.assertIn("Another process serves this folder", result.stderr)
        self.assertEqual(len(self.left()), 4)


class RealPeerTests(ShareJoinTestCase):
    """The whole way, with real processes."""

    def test_what_others_deleted(self) -> None:
        """A file that another member deleted is listed, by a peer and at rest, with the days chosen, and removed."""
        share, invite = self.share()
        join = self.start("join", invite, str(self.two), "--trash-days", "5")
        for command in (share, join):
            command.until("in sync | 2 files")
        (self.one / "from one").unlink()
        join.until("in sync | 1 file ")
        trash = json.loads(self.start("status", "--json", str(self.two)).end()[1])["trash"]
        self.assertEqual((trash["files"], trash["days"], trash["until"] - trash["since"]), (1, 5, 5 * 86_400))
        (item,) = json.loads(self.start("trash", "list", str(self.two), "--json").end()[1])["items"]
        self.assertEqual((item["path"], item["size"], item["until"]), ("from one", 1, trash["until"]))
        done = self.start("trash", "purge", str(self.two), "nothing*", "--yes").end()
        self.assertEqual(done, (0, "Removed 0 files, 0 B.\n", ""))
        for command in (join, share):
            self.assertEqual(command.end(signal.SIGTERM)[0], 0)
        (item,) = json.loads(self.start("trash", "list", str(self.two), "--json").end()[1])["items"]
        self.assertEqual(item["until"], trash["until"])
        self.assertEqual(
            self.start("trash", "purge", str(self.two), "--all", "--yes").end(), (0, "Removed 1 file, 1 B.\n", "")
        )
