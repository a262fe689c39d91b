"""What `files`, `get`, `put`, `rm` and `mv` make of what a person writes, and what they say."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path

from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.main import command
from twistedp2p.cli.moving import Bars, Moving, moving_on
from twistedp2p.cli.queue import AGAIN, LOOK, QueueFile, parse_queue
from twistedp2p.cli.reaching import parse_source, remote_path
from twistedp2p.errors import AlreadyThere, BadInvite, BadPath, FolderUnusable, NoSuchFile, Unreachable
from twistedp2p.identity.codes import Place
from twistedp2p.identity.files_code import FilesInvite
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.transfer.files.client import Server
from twistedp2p.transfer.files.fair import Priority
from twistedp2p.transfer.files.progress import FileEvent, Totals, What

INVITE = FilesInvite(bytes(range(16)), (Place("127.0.0.1", 1),), bytes(16), False)


def run(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
    """Run `twistedp2p` with these arguments in this process; nothing may be connected to."""
    return CliRunner().invoke(command, list(arguments), input=stdin, env={"TWISTEDP2P_SOURCE": None, **environment})


class SourceTests(SynchronousTestCase):
    """SOURCE and PATH."""

    def test_what_it_may_be(self) -> None:
        """A source is the invite of a file server, or HOST:PORT."""
        self.assertEqual(parse_source(INVITE.text()), Server.of(INVITE))
        self.assertEqual(parse_source(" example.org:17413\n"), Server((Place("example.org", 17413),)))
        self.assertEqual(parse_source("[::1]:5").places[0].port, 5)

    def test_what_it_may_not_be(self) -> None:
        """Anything else is said to be no source; the invite of a share names the command that takes it."""
        for text in ("", "host", "host:none", "host:99999", "/a/path", INVITE.text()[:-3]):
            self.assertRaises(BadInvite, parse_source, text)
        share = Invite(bytes(16), (TrackerAddress("192.0.2.7", 17411, bytes(16)),)).text()
        self.assertIn("join", str(self.assertRaises(BadInvite, parse_source, share)))

    @given(st.one_of(st.text(), st.text(alphabet="tp2:1abc[].,0 /", max_size=30)))
    def test_any_text(self, text: str) -> None:
        """Whatever is given for SOURCE and PATH is one, or is refused by a sentence; nothing else happens."""
        with contextlib.suppress(BadInvite):
            self.assertTrue(parse_source(text).places)
        with contextlib.suppress(BadPath):
            path = remote_path(text)
            self.assertEqual(remote_path(path), path)

    def test_where_it_comes_from(self) -> None:
        """It can be in a file, on standard input, or in the environment, which '@' or nothing at all asks for."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(INVITE.text()[:-1])  # so that it is refused, and nothing is connected to
            file.flush()
            for source, stdin, environment in (
                (f"@{file.name}", None, {}),
                ("-", INVITE.text()[:-1], {}),
                ("@", None, {"TWISTEDP2P_SOURCE": INVITE.text()[:-1]}),
                ("@", None, {"TWISTEDP2P_SOURCE": f"@{file.name}"}),
                (None, None, {"TWISTEDP2P_SOURCE": INVITE.text()[:-1]}),
            ):
                result = run("files", *([] if source is None else [source]), stdin=stdin, **environment)
                self.assertEqual(result.exit_code, 1, (source, result.output))
                self.assertIn("invite", result.output)
        for arguments in (["files"], ["files", "@"], ["get", "@", "path"]):
            result = run(*arguments)
            self.assertEqual(result.exit_code, 2)
            self.assertIn("TWISTEDP2P_SOURCE", result.output)

    def test_paths(self) -> None:
        """A path is one below the served folder; nothing, a dot or a slash is the top; nothing leads above it."""
        for text in ("", ".", "/", "./", "//"):
            self.assertEqual(remote_path(text), "", text)
        self.assertEqual(remote_path("a/b c/"), "a/b c")
        self.assertEqual(remote_path("./a"), "a")
        for text in ("..", "a/../b", "../a", "a//b", "a/./b", ".twistedp2p/files", "a\0b"):
            self.assertRaises(BadPath, remote_path, text)

    def test_wrong_command_lines(self) -> None:
        """What makes no sense is a usage error, status 2, before anything is connected to."""
        for arguments in (
            ["get", "host:1"],
            ["get", "host:1", "--until-done"],
            ["get", "host:1", "a", "--until-done"],
            ["get", "host:1", "a", "b", "--range", "1-2"],
            ["get", "host:1", "a", "--range", "2-1"],
            ["get", "host:1", "a", "--range", "x"],
            ["get", "host:1", "a", "--range", "1-2", "--to", "."],
            ["get", "host:1", "a", "--priority", "soon"],
            ["get", "host:1", "a", "--give-up", "-1"],
            ["put", "host:1"],
            ["rm", "host:1"],
            ["mv", "host:1", "a"],
        ):
            result = run(*arguments)
            self.assertEqual(result.exit_code, 2, (arguments, result.output))

    def test_one_input_for_two(self) -> None:
        """Standard input gives SOURCE or the lines of --control, not both; what helps instead is said."""
        for name in ("get", "put"):
            result = run(name, "-", "a", "--control", stdin="host:1\na low\n")
            self.assertEqual(result.exit_code, 2, result.output)
            self.assertIn("TWISTEDP2P_SOURCE", result.output)


class ParsingAQueueTests(SynchronousTestCase):
    """The lines of a queue."""

    def test_lines(self) -> None:
        """A line is a path, in quotes if it has spaces, and maybe a priority; the last line about a path counts."""
        text = "# all\n\nfilms/dune.mkv low\n  'a b' critical # soon\n\"c d/\"\n.\nfilms/dune.mkv HIGH\n"
        wanted, wrong = parse_queue(text, Priority.NORMAL)
        self.assertEqual(
            wanted,
            {"films/dune.mkv": Priority.HIGH, "a b": Priority.CRITICAL, "c d": Priority.NORMAL, "": Priority.NORMAL},
        )
        self.assertEqual(wrong, [])

    @given(st.one_of(st.text(), st.text(alphabet="ab/.'\"\\# \n\rhighlow", max_size=60)))
    def test_any_text(self, text: str) -> None:
        """Whatever stands in a queue, each line of it is a path that may be asked for, nothing, or one sentence."""
        wanted, wrong = parse_queue(text, Priority.LOW)
        for path in wanted:
            self.assertEqual(remote_path(path), path)
        for sentence in wrong:
            self.assertRegex(sentence, r"\Aline [0-9]+: .*\.\Z")
        self.assertLessEqual(len(wanted) + len(wrong), len(text.splitlines()))

    def test_wrong_lines(self) -> None:
        """A line that can not be read is said by its number, and the others count."""
        wanted, wrong = parse_queue("a\nb soon\nc d e\n'open\n../up\nz low", Priority.LOW)
        self.assertEqual(wanted, {"a": Priority.LOW, "z": Priority.LOW})
        self.assertEqual([sentence.split(":")[0] for sentence in wrong], ["line 2", "line 3", "line 4", "line 5"])
        self.assertIn("soon is not critical, high, normal or low", wrong[0])
        self.assertIn("in quotes", wrong[1])


class FakeQueue:
    """Notes what it is told; what is added is listed when the test says so."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Priority]] = []
        self.idle = False
        self.lost: Exception | None = None
        self.listing: dict[str, Deferred[None]] = {}
        self.gone: list[str] = []

    def check(self) -> None:
        """Raise what the test said."""
        if self.lost is not None:
            raise self.lost

    async def find(self, path: str, priority: Priority) -> None:
        """Take a path."""
        self.told.append(("add", path, priority))
        self.listing[path] = Deferred()
        await self.listing[path]

    def missing(self, path: str, error: NoSuchFile) -> None:
        """Take what is not there."""
        self.gone.append(path)

    def set_priority(self, path: str, priority: Priority) -> None:
        """Take another priority."""
        self.told.append(("set", path, priority))


class FollowingAQueueTests(SynchronousTestCase):
    """A queue file that changes."""

    def setUp(self) -> None:
        """Make a queue without a file."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "queue"
        self.clock = Clock()
        self.queue = FakeQueue()
        self.versions = 0

    def write(self, text: str) -> None:
        """Write the file, with a time of its own."""
        self.versions += 1
        self.file.write_text(text)
        os.utime(self.file, (self.versions, self.versions))

    def follow(self, *first: str, until_done: bool = False) -> Deferred[None]:
        """Begin to follow the file."""
        queue = QueueFile(self.file, self.clock, self.queue, Priority.NORMAL, until_done)
        return Deferred.fromCoroutine(queue.follow(first))

    def told(self) -> list[tuple[str, str, Priority]]:
        """Return what the queue was told since the last time."""
        told, self.queue.told = self.queue.told, []
        return told

    def test_new_lines_and_other_priorities(self) -> None:
        """What is new is added, the most urgent first; what changed is told; nothing is told twice."""
        self.write("a\nb critical\n")
        following = self.follow("first")
        self.assertEqual(
            self.told(),
            [("add", "first", Priority.NORMAL), ("add", "b", Priority.CRITICAL), ("add", "a", Priority.NORMAL)],
        )
        self.clock.pump([LOOK] * 5)
        self.assertEqual(self.told(), [])
        self.write("a low\nb critical\nc\n")
        self.clock.advance(LOOK)
        self.assertEqual(self.told(), [("set", "a", Priority.LOW), ("add", "c", Priority.NORMAL)])
        self.write("")
        self.clock.advance(LOOK)
        self.assertEqual(self.told(), [])
        self.assertNoResult(following)
        following.cancel()
        self.failureResultOf(following)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_listing_that_takes_long(self) -> None:
        """While a folder is listed, the queue is looked at all the same."""
        self.write("folder\n")
        following = self.follow()
        self.write("folder low\nurgent critical\n")
        self.clock.advance(LOOK)
        self.assertFalse(self.queue.listing["folder"].called)
        self.assertEqual(
            self.told()[1:], [("set", "folder", Priority.LOW), ("add", "urgent", Priority.CRITICAL)]
        )  # fmt: skip
        following.cancel()
        self.failureResultOf(following)

    def test_a_file_in_a_folder(self) -> None:
        """What is said of a file outweighs what is said of its folder at the same time."""
        self.write("folder/file low\nfolder low\n")
        following = self.follow()
        self.told()
        self.write("folder/file critical\nfolder high\n")
        self.clock.advance(LOOK)
        self.assertEqual(self.told(), [("set", "folder", Priority.HIGH), ("set", "folder/file", Priority.CRITICAL)])
        following.cancel()
        self.failureResultOf(following)

    def test_until_done(self) -> None:
        """With --until-done it ends when everything is done."""
        self.write("a\n")
        following = self.follow(until_done=True)
        self.clock.advance(LOOK)
        self.assertNoResult(following)
        self.queue.listing["a"].callback(None)
        self.clock.advance(LOOK)
        self.assertNoResult(following)
        self.queue.idle = True
        self.clock.advance(LOOK)
        self.successResultOf(following)

    def test_a_file_that_comes_later(self) -> None:
        """A queue that is not there yet is waited for; with --until-done that is an error."""
        following = self.follow()
        self.clock.advance(LOOK)
        self.write("a\n")
        self.clock.advance(LOOK)
        self.assertEqual(self.told(), [("add", "a", Priority.NORMAL)])
        following.cancel()
        self.failureResultOf(following)
        self.file.unlink()
        self.failureResultOf(self.follow(until_done=True), FolderUnusable)

    def lack(self, path: str) -> None:
        """Say that a path is not there."""
        self.queue.listing[path].errback(NoSuchFile(f"There is no {path}."))

    def test_what_is_not_there_yet(self) -> None:
        """What is not there is looked for again now and then, with the priority that it has then; that is said once."""
        self.write("a\nlater low\n")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            following = self.follow()
            self.told()
            self.lack("later")
            self.clock.pump([LOOK] * int(AGAIN / LOOK - 1))
            self.assertEqual(self.told(), [])
            self.write("a\nlater high\n")
            self.clock.advance(LOOK)
            self.assertEqual(self.told(), [("set", "later", Priority.HIGH), ("add", "later", Priority.HIGH)])
            self.lack("later")
            self.clock.pump([LOOK] * int(AGAIN / LOOK))
        self.assertEqual(self.told(), [("add", "later", Priority.HIGH)])
        self.queue.listing["later"].callback(None)
        self.clock.pump([LOOK] * 30)
        self.assertEqual(self.told(), [])
        self.assertEqual(said.getvalue().count("later"), 2, said.getvalue())  # its name, and the sentence
        self.assertEqual(self.queue.gone, [])
        following.cancel()
        self.failureResultOf(following)

    def test_a_line_that_is_removed(self) -> None:
        """What is not there is looked for as long as its line stands in the file; what was typed, always."""
        with contextlib.redirect_stderr(io.StringIO()):
            self.write("soon\nlate\n")
            following = self.follow("typed")
            self.told()
            self.lack("soon")
            self.lack("typed")
            self.write("other\n")
            self.clock.advance(LOOK)
            self.lack("late")
            self.told()
            self.clock.pump([LOOK] * 20)
            self.assertEqual(self.told(), [("add", "typed", Priority.NORMAL)])
            self.write("late\n")
            self.clock.advance(LOOK)
            self.assertEqual(self.told(), [("add", "late", Priority.NORMAL)])
        following.cancel()
        self.failureResultOf(following)

    def test_missing_at_the_end(self) -> None:
        """With --until-done what is missing is looked for once more when all else is done, and is missing then."""
        with contextlib.redirect_stderr(io.StringIO()):
            self.write("a\nb\nc\n")
            following = self.follow(until_done=True)
            self.lack("b")
            self.lack("c")
            self.queue.listing["a"].callback(None)
            self.queue.idle = True
            self.told()
            self.clock.advance(LOOK)
            self.assertEqual(self.told(), [("add", "b", Priority.NORMAL), ("add", "c", Priority.NORMAL)])
            self.queue.listing["b"].callback(None)
            self.clock.advance(LOOK)
            self.assertNoResult(following)
            self.lack("c")
            self.clock.advance(LOOK)
        self.successResultOf(following)
        self.assertEqual(self.queue.gone, ["c"])

    def test_wrong_lines_are_said_once(self) -> None:
        """A line that can not be read is said once, however often the file is read."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.write("a soon\n")
            following = self.follow()
            self.write("a soon\nb\n")
            self.clock.advance(LOOK)
        self.assertEqual(said.getvalue().count("soon"), 1)
        self.assertEqual(self.told(), [("add", "b", Priority.NORMAL)])
        following.cancel()
        self.failureResultOf(following)

    def test_the_server_is_lost(self) -> None:
        """When the server is lost for good, or a listing fails, it ends, though nobody asked for the end."""
        self.write("a\n")
        following = self.follow()
        self.queue.lost = Unreachable("It is gone.")
        self.clock.advance(LOOK)
        self.failureResultOf(following, Unreachable)
        self.queue.lost = None
        following = self.follow()
        self.queue.listing["a"].errback(Unreachable("It is gone."))
        self.clock.advance(LOOK)
        self.failureResultOf(following, Unreachable)


class MovingTests(SynchronousTestCase):
    """What is shown of files that move."""

    def setUp(self) -> None:
        """Begin at a moment."""
        self.clock = Clock()

    def show(self, moving: Moving) -> Totals:
        """Show a file that comes, one that is there, and one that fails."""
        totals = Totals(files=4, bytes=40_000_000)
        totals.bytes_resumed = totals.bytes_done = 2_000_000
        moving.event(FileEvent(What.BEGUN, "big", 30_000_000, 2_000_000), totals)
        for done in range(3_000_000, 30_000_001, 1_000_000):
            self.clock.advance(0.1)
            totals.bytes_done, totals.moved = done, done - 2_000_000
            moving.event(FileEvent(What.MOVED, "big", 30_000_000, done), totals)
        totals.files_done, totals.files_skipped, totals.files_failed = 2, 1, 1
        moving.event(FileEvent(What.DONE, "big", 30_000_000, 30_000_000), totals)
        moving.event(FileEvent(What.SKIPPED, "there", 5, 5), totals)
        moving.event(FileEvent(What.FAILED, "bad\x1bname", 7, 0, AlreadyThere("It is in the way.")), totals)
        moving.end(totals)
        return totals

    def test_json(self) -> None:
        """A script hears one object a line; how far a file is at most four times a second; the sums at the end."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.show(moving_on("fetched", as_json=True, quiet=False, clock=self.clock.seconds))
        said = list(map(json.loads, out.getvalue().splitlines()))
        begun, *moved, done, skipped, failed, end = [one for one in said if one["event"] != "progress"]
        self.assertEqual(begun, {"event": "begun", "path": "big", "size": 30_000_000, "done": 2_000_000})
        self.assertEqual({one["event"] for one in moved}, {"moved"})
        self.assertLessEqual(len(moved), 2.8 * 4 + 1)
        self.assertEqual((done["event"], skipped["event"]), ("done", "skipped"))
        self.assertEqual((failed["code"], failed["error"]), ("already-there", "It is in the way."))
        self.assertEqual((end["files"], end["files_done"], end["files_failed"], end["files_skipped"]), (4, 2, 1, 1))
        self.assertEqual((end["bytes_resumed"], end["bytes_moved"], end["seconds"]), (2_000_000, 28_000_000, 2.8))

    def test_another_name(self) -> None:
        """Where a file came under another name than its own that is said, in whatever way; quietly not at all."""
        event = FileEvent(What.DONE, "a/no\x1bte", 5, 5, target="a/no\x1bte (2)")
        sentence = "a/no\\x1bte exists with other content; received as no\\x1bte (2).\n"
        for quiet in (False, True):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                moving_on("received", as_json=False, quiet=quiet, clock=self.clock.seconds).event(event, Totals())
            self.assertEqual(said.getvalue(), "" if quiet else sentence)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            moving_on("received", as_json=True, quiet=False, clock=self.clock.seconds).event(event, Totals())
        self.assertEqual(json.loads(out.getvalue())["target"], "a/no\x1bte (2)")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            bars = Bars("received", self.clock.seconds)
            bars.event(event, Totals())
            bars.end(Totals())
        self.assertIn("received as no\\x1bte (2).", said.getvalue())

    def test_json_of_all(self) -> None:
        """A script hears first what was asked for, and how far all of it is at most four times a second."""
        moving = moving_on("fetched", as_json=True, quiet=False, clock=self.clock.seconds)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            moving.start({"paths": ["big"], "queue": None, "to": "/here"})
            self.show(moving)
        start, *said = map(json.loads, out.getvalue().splitlines())
        self.assertEqual(start, {"event": "start", "paths": ["big"], "queue": None, "to": "/here"})
        progress = [one for one in said if one["event"] == "progress"]
        self.assertTrue(2.8 * 2 < len(progress) <= 2.8 * 4, len(progress))
        self.assertEqual(
            progress[0],
            {"event": "progress", "files": 4, "files_done": 0, "bytes": 40_000_000, "bytes_done": 5_000_000},
        )

    def test_lines(self) -> None:
        """Without a terminal, what failed is said, and at the end what was done; quietly only the former."""
        for quiet in (False, True):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                self.show(moving_on("fetched", as_json=False, quiet=quiet, clock=self.clock.seconds))
            failed, *rest = said.getvalue().splitlines()
            self.assertEqual(failed, "twistedp2p: bad\\x1bname: It is in the way.")
            if quiet:
                self.assertEqual(rest, [])
            else:
                self.assertEqual(
                    rest,
                    [
                        "1 file fetched, 28.0 MB in 2.8 s (10.0 MB/s); 2.00 MB were here from before; 1 already there; "
                        "1 failed; 1 not finished, the same command goes on from here"
                    ],
                )

    def test_bars(self) -> None:
        """On a terminal there is a bar for each large file while it moves, and one for all; names do nothing to it."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.show(Bars("fetched", self.clock.seconds))
        text = said.getvalue()
        self.assertIn("2 of 4 files", text)
        self.assertIn("bad\\x1bname", text)
        self.assertNotIn("\x1bname", text)
        self.assertIn("1 file fetched", text)
