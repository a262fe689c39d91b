"""Why a file is not in sync: each reason is brought about among whole peers, told, and gone when it is over."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Callable
from random import Random
from typing import Any

from attrs import evolve

from tests.simulation.test_scenarios import WorldCase, contents
from twistedp2p import limits
from twistedp2p.disk.seam import Space, Stat
from twistedp2p.errors import CorruptContent
from twistedp2p.paths import RelPath
from twistedp2p.peer.folder.hints import Hint, What
from twistedp2p.peer.reasons import Phase
from twistedp2p.peer.status import StatusBoard
from twistedp2p.testing.network import Traits
from twistedp2p.testing.nodes import SimPeer

LARGE = Random(7).randbytes(3_000_000)


class Refusals:
    """Verbs of a peer's disk that fail with an error at some names; `end` lets them work again."""

    def __init__(self, peer: SimPeer, number: int, *verbs: str, at: Callable[[tuple[bytes, ...]], bool]) -> None:
        self._disk = peer.peer.bench.disk
        self._verbs = verbs
        self.count = 0
        for verb in verbs:
            setattr(self._disk, verb, self._failing(getattr(self._disk, verb), number, at))

    def _failing(self, usual: Any, number: int, at: Callable[[tuple[bytes, ...]], bool]) -> Any:
        def verb(*names: Any) -> Any:
            if any(isinstance(name, tuple) and at(name) for name in names):
                self.count += 1
                raise OSError(number, os.strerror(number))
            return usual(*names)

        return verb

    def end(self) -> None:
        """Let the disk work again."""
        for verb in self._verbs:
            delattr(self._disk, verb)


def named(*components: str) -> Callable[[tuple[bytes, ...]], bool]:
    """Return whether a name is this one."""
    return lambda name: name == tuple(component.encode() for component in components)


def in_share(name: tuple[bytes, ...]) -> bool:
    """Whether a name is one that users see."""
    return bool(name) and name[0] != b".twistedp2p"


class ReasonCase(WorldCase):
    """Two peers, anna and ben, in sync."""

    def setUp(self) -> None:
        super().setUp()
        self.anna, self.ben = self.couple({"before": b"1"})
        self.boards: dict[str, StatusBoard] = {}

    def board(self, peer: SimPeer) -> StatusBoard:
        """Return what a peer tells of itself."""
        clock = self.world.clock.seconds
        found = self.boards.get(peer.name)
        if found is None or found._peer is not peer.peer:
            found = self.boards[peer.name] = StatusBoard(peer.peer, clock, clock)
        return found

    def why(self, peer: SimPeer, path: str) -> str:
        """Return the code of the reason that a peer gives for a path; the sentence is kept in `text`."""
        answers: list[dict[str, Any]] = []
        self.world.wait_for(self.board(peer).why(path).addCallback(answers.append))
        self.answer = answers[0]
        self.text = self.answer["text"]
        self.assertTrue(self.text.endswith("."), self.text)
        self.assertNotIn("Errno", self.text)
        return str(self.answer["code"])

    def waiting(self, peer: SimPeer) -> dict[str, str]:
        """Return the codes of the paths that the status says are not in sync."""
        return {waits["path"]: waits["code"] for waits in self.board(peer).status()["waiting"]}

    def errors(self, peer: SimPeer) -> list[tuple[str, str]]:
        """Return paths and codes of what the status says went wrong."""
        return [(error["path"], error["code"]) for error in self.board(peer).status()["errors"]]

    def until(self, happened: Callable[[], bool]) -> None:
        """Let time go by until something has happened."""
        self.world.clock.run_until(happened, 300)

    def wait(self, seconds: float) -> None:
        """Let so much time go by."""
        self.world.clock.advance(seconds)

    def assertOver(self, peer: SimPeer, path: str) -> None:
        """All agree again, and nothing is left of the trouble."""
        self.settle()
        self.assertEqual(self.why(peer, path), "in-sync")
        status = self.board(peer).status()
        self.assertEqual((status["waiting"], status["reasons"], status["errors"]), ([], [], []))


class InSyncTests(ReasonCase):
    """Nothing is wrong."""

    def test_in_sync(self) -> None:
        """A file, and one that was deleted."""
        self.assertEqual(self.why(self.ben, "before"), "in-sync")
        self.anna.delete("before")
        self.settle()
        self.assertEqual(self.why(self.ben, "before"), "in-sync")
        self.assertIn("deleted", self.text)

    def test_unknown_path(self) -> None:
        """There is nothing of that name anywhere."""
        self.assertEqual(self.why(self.ben, "nothing/of/this"), "unknown-path")

    def test_paused(self) -> None:
        """Everything of a folder that is paused waits for that."""
        self.board(self.ben).paused_since = 1.0
        self.assertEqual(self.why(self.ben, "before"), "paused")

    def test_a_folder(self) -> None:
        """Of a folder it is told as well what is not in sync in it."""
        self.anna.write("d/in", b"1")
        self.settle()
        Refusals(self.ben, errno.EACCES, "rename", at=named("d", "new"))
        self.anna.write("d/new", b"2")
        self.wait(5)
        self.assertEqual(self.why(self.ben, "d"), "in-sync")
        self.assertEqual([waits["path"] for waits in self.answer["waiting"]], ["d/new"])
        self.assertEqual(self.answer["reasons"][0]["files"], 1)


class OnThisDiskTests(ReasonCase):
    """What this disk has, and others do not."""

    def test_waiting_quiet(self) -> None:
        """A file that changed a moment ago."""
        self.ben.write("f", b"1")
        self.ben._hint(Hint(RelPath("f"), What.MODIFIED))
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("waiting-quiet", {"f": "waiting-quiet"}))
        self.assertOver(self.ben, "f")

    def test_changing(self) -> None:
        """A file that somebody writes to while it is read."""
        self.ben.write("f", b"1")
        now = int((self.ben._wall() + limits.QUIET_AFTER_CLOSE) * 1e9)
        os.utime(self.ben.folder / "f", ns=(now, now))
        self.until(lambda: self.ben.peer.observer.phases().get("f") is Phase.CHANGING)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("changing", {"f": "changing"}))
        self.assertOver(self.ben, "f")

    def test_second_look(self) -> None:
        """A file that vanished a moment ago."""
        self.ben.delete("before")
        self.wait(0.1)
        self.assertEqual(self.why(self.ben, "before"), "second-look")
        self.assertEqual(self.waiting(self.ben), {"before": "second-look"})
        self.assertOver(self.ben, "before")

    def test_not_read_yet(self) -> None:
        """A file of which no watch told."""
        (self.ben.folder / "f").write_bytes(b"1")
        self.assertEqual(self.why(self.ben, "f"), "not-read-yet")
        self.wait(limits.FULL_SCAN)
        self.assertOver(self.ben, "f")

    def test_unreadable(self) -> None:
        """A file without permission to read it is named with what to do; all else goes on, and it is tried again."""
        refusals = Refusals(self.ben, errno.EACCES, "open", at=named("f"))
        self.ben.write("f", b"1")
        self.ben.write("g", b"2")
        self.wait(10)
        self.assertEqual(self.why(self.ben, "f"), "unreadable")
        self.assertIn("chmod u+r", self.text)
        self.assertEqual((self.waiting(self.ben), self.errors(self.ben)), ({"f": "unreadable"}, [("f", "unreadable")]))
        self.assertEqual(contents(self.anna), {"before": b"1", "g": b"2"})
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f")
        self.assertEqual(contents(self.anna)["f"], b"1")

    def test_a_folder_that_can_not_be_listed(self) -> None:
        """What is in it is not deleted, nothing else waits, and it is tried again."""
        self.ben.write("d/f", b"1")
        self.settle()
        refusals = Refusals(self.ben, errno.EACCES, "entries", at=named("d"))
        self.ben.write("d/g", b"2")
        self.ben._hint(Hint(RelPath("d"), What.FOLDER))
        self.ben.write("h", b"3")
        self.ben.peer.observer.scan()
        self.wait(10)
        self.assertEqual(self.why(self.ben, "d"), "unreadable")
        self.assertEqual({"before", "d/f", "h"} - contents(self.anna).keys(), set())
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "d")
        self.assertEqual(contents(self.anna)["d/g"], b"2")

    def test_behind_a_folder_that_can_not_be_entered(self) -> None:
        """Nobody can tell what is in there; that is said, and not that there is nothing."""
        Refusals(self.ben, errno.EACCES, "stat", "entries", at=lambda name: name[:1] == (b"d",))
        (self.ben.folder / "d").mkdir()
        self.assertEqual(self.why(self.ben, "d/f"), "unreadable")

    def test_disk_failing(self) -> None:
        """A file that the disk does not give."""
        refusals = Refusals(self.ben, errno.EIO, "open", at=named("f"))
        self.ben.write("f", b"1")
        self.wait(1)
        self.assertEqual((self.why(self.ben, "f"), self.errors(self.ben)), ("disk-failing", [("", "disk-failing")]))
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f")

    def test_not_announced(self) -> None:
        """A file that is safe here, in the moment in which the others are told."""
        self.ben.write("f", b"1")
        self.until(lambda: self.ben.peer.index.row("f") is not None)
        self.assertEqual(self.why(self.ben, "f"), "not-announced")
        self.assertOver(self.ben, "f")

    def test_no_tracker(self) -> None:
        """A file that is saved while there is no tracker is told to nobody, and said to wait for one."""
        self.tracker.kill()
        self.wait(30)
        self.ben.write("f", b"1")
        self.wait(5)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("no-tracker", {"f": "no-tracker"}))
        self.assertIn("reached", self.text)
        self.tracker.start()
        self.assertOver(self.ben, "f")

    def test_no_tracker_since_the_start(self) -> None:
        """Nothing is taken in before others were heard; it is not read again and again meanwhile."""
        self.tracker.kill()
        self.ben.kill()
        self.ben.write("f", b"1")
        self.ben.start()
        self.wait(30)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("no-tracker", {"f": "no-tracker"}))
        self.tracker.start()
        self.assertOver(self.ben, "f")

    def test_not_caught_up(self) -> None:
        """While the news of a session that has begun is still being read."""
        self.ben.kill()
        self.anna.write("of anna", b"2")
        self.ben.write("f", b"1")
        self.until(lambda: self.anna.in_sync)
        self.ben.start()
        self.until(lambda: self.ben.peer.client.welcome is not None and bool(self.ben.peer.sync.not_taken()))
        self.assertFalse(self.ben.peer.steps.caught)
        self.assertEqual(self.why(self.ben, "f"), "not-caught-up")
        self.assertOver(self.ben, "f")


class LocalForGoodTests(ReasonCase):
    """What stays on this disk."""

    def test_kind_not_shared(self) -> None:
        """A link, a pipe, and what is behind a link."""
        os.symlink("before", self.ben.folder / "link")
        os.symlink("/usr", self.ben.folder / "usr")
        os.mkfifo(self.ben.folder / "pipe")
        for path, word in (("link", "symbolic link"), ("pipe", "pipe"), ("usr/bin", "behind")):
            self.assertEqual(self.why(self.ben, path), "kind-not-shared")
            self.assertIn(word, self.text)

    def test_other_disk(self) -> None:
        """What is mounted in the folder, and what is in there."""
        disk = self.ben.peer.bench.disk
        usual = disk.stat

        def stat(name: tuple[bytes, ...]) -> Stat:
            found = usual(name)
            return evolve(found, device=found.device + 1) if name[:1] == (b"usb",) else found

        disk.stat = stat  # type: ignore[method-assign]
        (self.ben.folder / "usb").mkdir()
        (self.ben.folder / "usb/f").write_bytes(b"1")
        self.assertEqual((self.why(self.ben, "usb"), self.why(self.ben, "usb/f")), ("other-disk", "other-disk"))

    def test_ignored(self) -> None:
        """What is ignored, what is in an ignored folder, and what would be if it were here."""
        eye = self.ben.peer.bench.eye
        eye._ignored = lambda path, kind: path.name in ("build", "log")
        (self.ben.folder / "build").mkdir()
        (self.ben.folder / "build/f").write_bytes(b"1")
        (self.ben.folder / "log").write_bytes(b"1")
        for path in ("build", "build/f", "log", "nothing/log"):
            self.assertEqual(self.why(self.ben, path), "ignored", path)
        (self.ben.folder / "log").unlink()
        self.assertEqual(self.why(self.ben, "log"), "ignored")

    def test_too_large(self) -> None:
        """A file beyond what can be shared."""
        disk = self.ben.peer.bench.disk
        usual = disk.stat
        disk.stat = lambda name: evolve(usual(name), size=limits.CONTENT_BYTES + 1)  # type: ignore[method-assign]
        (self.ben.folder / "f").write_bytes(b"1")
        self.assertEqual(self.why(self.ben, "f"), "too-large")

    def test_name_not_shared(self) -> None:
        """Names that are not UTF-8, that are kept for the state, and two that are one name elsewhere."""
        one = "caf\u00e9"
        two = unicodedata.normalize("NFD", one)
        self.ben.write(one, b"1")
        (self.ben.folder / two).write_bytes(b"2")
        self.world.settle()
        for path, word in (("caf\udce9", "UTF-8"), (".twistedp2p/mark", "never shared"), (two, "Unicode form")):
            self.assertEqual(self.why(self.ben, path), "name-not-shared")
            self.assertIn(word, self.text)
        self.assertEqual(self.why(self.ben, one), "in-sync")

    def test_folder_unusable(self) -> None:
        """Without its mark the folder may not be there: that is the reason of everything in it."""
        mark = self.ben.folder / ".twistedp2p/mark"
        mark.rename(mark.with_name("elsewhere"))
        self.ben.peer.observer.scan()
        self.wait(1)
        self.assertEqual(self.why(self.ben, "before"), "folder-unusable")
        self.assertEqual(self.errors(self.ben), [("", "folder-unusable")])
        mark.with_name("elsewhere").rename(mark)
        self.wait(30)
        self.assertOver(self.ben, "before")


class FetchingTests(ReasonCase):
    """What others have, and how it comes."""

    def slow(self) -> None:
        """Let the wires be slow."""
        self.world.internet.traits = Traits(bandwidth=100_000)

    def test_fetching(self) -> None:
        """A file that is arriving: from whom, and how much of it is here."""
        self.world.internet.traits = Traits(bandwidth=1_000_000)
        self.anna.write("f", Random(1).randbytes(12_000_000))
        self.wait(8)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("fetching", {"f": "fetching"}))
        self.assertIn("from peer1", self.text)
        self.assertRegex(self.text, r"\d MB of 12 MB")
        self.assertOver(self.ben, "f")

    def test_queued(self) -> None:
        """A file for which nobody was asked yet, because others come first."""
        self.slow()
        for number in range(20):
            self.anna.write(f"f{number}", Random(number).randbytes(3_000_000 + number))
        self.until(lambda: {"fetching", "queued"} <= {*self.waiting(self.ben).values()})
        self.wait(5)
        queued = [path for path, code in self.waiting(self.ben).items() if code == "queued"]
        self.assertEqual(self.why(self.ben, queued[-1]), "queued")
        self.assertIn("from peer1", self.text)

    def test_no_holder(self) -> None:
        """A file whose only holder is gone, who is named; another member that has it ends that."""
        self.slow()
        self.anna.write("f", LARGE)
        self.wait(10)
        self.anna.kill()
        self.wait(2 * limits.EXPIRY)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("no-holder", {"f": "no-holder"}))
        self.assertIn("peer1 had it", self.text)
        status = self.board(self.ben).status()
        self.assertEqual(status["reasons"], [{"code": "no-holder", "files": 1, "text": "no living member has them"}])
        self.anna.start()
        self.assertOver(self.ben, "f")

    def test_unreachable(self) -> None:
        """A file whose holder lives and can not be reached, with or without a third; a third that has it ends that."""
        self.world.partition([self.anna], [self.ben])
        self.anna.write("f", b"new")
        self.wait(60)
        self.assertEqual((self.why(self.ben, "f"), self.waiting(self.ben)), ("unreachable", {"f": "unreachable"}))
        self.assertIn("no third", self.text)
        self.assertIn("firewall", self.text)
        self.world.new_peer("carl").start()
        self.assertOver(self.ben, "f")

    def test_holder_incompatible(self) -> None:
        """A file whose only holder speaks another version of the protocol."""
        holdings = self.ben.peer.holdings
        usual = holdings.change_peers
        holdings.change_peers = lambda up, down: usual([evolve(info, versions=(9,)) for info in up], down)  # type: ignore[method-assign]
        self.ben.peer.client.reconnect()
        self.wait(5)
        self.world.break_connections(self.anna, self.ben)
        self.anna.write("f", b"new")
        self.wait(5)
        self.assertEqual(self.why(self.ben, "f"), "holder-incompatible")
        self.assertIn("update twistedp2p", self.text)

    def test_no_tracker_to_ask(self) -> None:
        """A file whose holder is gone, while there is no tracker that knew another one."""
        self.slow()
        self.anna.write("f", LARGE)
        self.wait(10)
        self.anna.kill()
        self.wait(2 * limits.EXPIRY)
        self.tracker.kill()
        self.wait(30)
        self.assertEqual(self.why(self.ben, "f"), "no-tracker")

    def test_error(self) -> None:
        """A content that is not what its record says is named with what went wrong."""
        parts = self.ben.peer.bench.parts

        def corrupt(contents: object) -> None:
            raise CorruptContent("The bytes are not those of the record.")

        self.ben.peer.fetcher._parts.put_small = corrupt  # type: ignore[method-assign]
        self.anna.write("f", b"new")
        self.wait(1)
        self.assertEqual((self.why(self.ben, "f"), self.errors(self.ben)), ("error", [("f", "error")]))
        self.ben.peer.fetcher._parts.put_small = parts.put_small  # type: ignore[method-assign]
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f")


class WritingTests(ReasonCase):
    """What others have, and this disk does not take."""

    def test_no_space(self) -> None:
        """A full disk: nothing is fetched in vain, what is here is served and told, and it goes on by itself."""
        disk = self.ben.peer.bench.disk
        disk.space = lambda: Space(1 << 20, 1 << 40)  # type: ignore[method-assign]
        for number in range(50):
            self.anna.write(f"f{number}", Random(number).randbytes(50_000))
        self.wait(30)
        carried = self.world.internet.bytes_carried
        self.wait(600)
        self.assertLess(self.world.internet.bytes_carried - carried, 50_000)
        self.assertEqual((self.why(self.ben, "f7"), self.errors(self.ben)), ("no-space", [("", "no-space")]))
        self.assertIn("make room", self.text)
        status = self.board(self.ben).status()
        self.assertEqual(status["reasons"], [{"code": "no-space", "files": 50, "text": "there is no room on the disk"}])
        self.ben.write("of ben", b"2")
        self.wait(5)
        self.assertEqual(contents(self.anna)["of ben"], b"2")
        del disk.space
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f7")

    def test_one_that_does_not_fit(self) -> None:
        """A file for which there is no room is not begun; what fits comes, also the rest of one that was begun."""
        disk = self.ben.peer.bench.disk
        disk.space = lambda: Space(2_000_000, 100_000_000)  # type: ignore[method-assign]
        self.anna.write("large", LARGE)
        self.anna.write("small", b"new")
        self.wait(300)
        self.assertEqual(self.waiting(self.ben), {"large": "no-space"})
        self.assertIn("2 MiB more", self.board(self.ben).status()["waiting"][0]["text"])
        self.assertEqual(self.ben.peer.fetcher.progress().contents, 0)
        self.assertEqual(contents(self.ben)["small"], b"new")
        del disk.space
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "large")

    def test_an_index_without_room(self) -> None:
        """A disk on which not even the index can be written: nothing is lost, and all of it is made good."""
        connection = self.ben.peer.index._db._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        files = {f"{number:04}" * 30: b"%d" % number for number in range(300)}
        for path, content in files.items():
            self.ben.write(path, content)
            self.anna.write(f"of anna {path}", content)
        self.wait(120)
        self.assertEqual({code for _, code in self.errors(self.ben)}, {"no-space"})
        self.assertEqual(self.why(self.ben, "0007" * 30), "no-space")
        connection.execute("PRAGMA max_page_count = 1000000")
        self.wait(2 * limits.RETRY_MOST)
        self.assertOver(self.ben, "0007" * 30)
        self.assertEqual(len(contents(self.anna)), 601)

    def test_no_permission(self) -> None:
        """A folder that can not be written to is named; other files come, and it is tried again."""
        self.anna.write("d/e/g", b"1")
        self.settle()
        refusals = Refusals(self.ben, errno.EACCES, "rename", "exchange", at=lambda name: name[:2] == (b"d", b"e"))
        self.anna.write("d/e/f", b"1")
        self.anna.write("d/e/g", b"2")
        self.anna.delete("before")
        self.anna.write("other", b"3")
        self.wait(10)
        self.assertEqual((self.why(self.ben, "d/e/f"), self.why(self.ben, "d/e/g")), ("no-permission",) * 2)
        self.assertIn("The folder d/e can not be written to", self.text)
        self.assertEqual(contents(self.ben), {"d/e/g": b"1", "other": b"3"})
        count = refusals.count
        self.wait(300)
        self.assertLess(refusals.count - count, 30)
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "d/e/f")

    def test_read_only(self) -> None:
        """A disk that is read-only: what it has is served, and nothing is lost."""
        refusals = Refusals(self.ben, errno.EROFS, "rename", "exchange", "make_folder", "create", at=lambda name: True)
        self.anna.write("f", b"new")
        self.anna.write("before", b"2")
        self.wait(10)
        self.assertEqual((self.why(self.ben, "f"), self.errors(self.ben)), ("read-only", [("", "read-only")]))
        self.assertIn("remount", self.text)
        late = self.world.new_peer("late")
        late.start()
        self.wait(10)
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f")

    def test_obstructed_by_a_link(self) -> None:
        """A link where a file should be stays, and is named with what to do."""
        os.symlink("before", self.ben.folder / "f")
        self.anna.write("f", b"new")
        self.wait(5)
        self.assertEqual((self.why(self.ben, "f"), self.errors(self.ben)), ("obstructed", [("f", "obstructed")]))
        self.assertIn("move that away", self.text)
        self.assertTrue((self.ben.folder / "f").is_symlink())
        (self.ben.folder / "f").unlink()
        self.wait(limits.RETRY_MOST)
        self.assertOver(self.ben, "f")

    def test_obstructed_by_a_folder(self) -> None:
        """A folder where a file should be is told as one until it was read; then it has the name, and both stay."""
        (self.ben.folder / "f").mkdir()
        refusals = Refusals(self.ben, errno.EACCES, "entries", at=named("f"))
        self.anna.write("f", b"new")
        self.until(lambda: "f" in self.ben.peer.sync.errors)
        self.assertEqual(self.why(self.ben, "f"), "obstructed")
        self.assertIn("folder", self.text)
        refusals.end()
        self.wait(limits.RETRY_MOST)
        self.settle()
        self.assertEqual(sorted(contents(self.ben).values()), [b"1", b"new"])

    def test_too_many_files(self) -> None:
        """A process that has too many files open gets by, says it once, and makes all of it good."""
        refusals = Refusals(self.ben, errno.EMFILE, "open", "create", "entries", "stat", at=lambda name: True)
        self.anna.write("f", b"new")
        self.anna.delete("before")
        self.ben.write("of ben", b"2")
        self.wait(120)
        self.assertEqual({code for _, code in self.errors(self.ben)}, {"too-many-files"})
        self.assertEqual(self.why(self.ben, "of ben"), "too-many-files")
        self.assertIn("ulimit -n", self.text)
        self.assertLess(refusals.count, 300)
        refusals.end()
        self.wait(2 * limits.RETRY_MOST)
        self.assertOver(self.ben, "f")
        self.assertEqual(contents(self.anna), {"f": b"new", "of ben": b"2"})
