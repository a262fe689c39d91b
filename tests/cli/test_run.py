"""`twistedp2p run`: all folders of a person in one process; and `stop`, `pause` and `leave` beside it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.cli.test_commands import run
from tests.cli.test_share_join import ShareJoinTestCase
from twistedp2p.home import Home
from twistedp2p.peer.settings import Settings


class RunTestCase(ShareJoinTestCase):
    """Two folders of one share, with a tracker in the first one's process; nothing runs."""

    def setUp(self) -> None:
        super().setUp()
        share, invite = self.share("--name", "first")
        self.invite = invite
        self.addCleanup(share.clean_up)
        join = self.start("join", invite, str(self.two), "--name", "second")
        join.until("in sync | 2 files")
        join.end(signal.SIGTERM)
        share.end(signal.SIGTERM)

    def command(self, *arguments: str) -> str:
        """Run a short command, and return what it printed; it must succeed."""
        code, out, err = self.start(*arguments).end()
        self.assertEqual((code, err), (0, ""), out)
        return out

    def state(self, folder: Path) -> str:
        """Return the state of the peer of a folder."""
        return str(json.loads(self.command("status", "--json", str(folder)))["state"])


class RunTests(RunTestCase):
    """All folders, and each for itself."""

    def test_goes_on_with_all(self) -> None:
        """Every folder is served as it was, with what was said of it before, and its lines name it."""
        (self.one / "new").write_text("new")
        process = self.start("run")
        for folder in (self.one, self.two):
            process.until(f"{folder}: in sync | 3 files")
        self.assertEqual((self.two / "new").read_text(), "new")
        for folder, name in ((self.one, "first"), (self.two, "second")):
            status = json.loads(self.command("status", "--json", str(folder)))
            self.assertEqual((status["name"], len(status["peers"])), (name, 1))
        self.assertEqual(self.command("invite", str(self.one)), f"{self.invite}\n")
        self.assertIn("serves the folders", self.fails("run"))
        self.assertIn("Another process serves this folder", self.fails("share", str(self.one)))
        code, out, err = process.end(signal.SIGTERM)
        said = "".join(process.said) + err
        self.assertEqual((code, out), (0, ""))
        self.assertNotIn("Traceback", said)
        self.assertNotIn(self.invite.rpartition(":")[2], said)

    def test_a_folder_that_is_away(self) -> None:
        """A folder that is not there is one sentence, keeps none from being served, and is served when it is back."""
        away = self.base / "away"
        self.one.rename(away)
        process = self.start("run")
        process.until(f"{self.one}: ", "not mounted?")
        process.until(f"{self.two}: no tracker yet")
        away.rename(self.one)
        process.until(f"{self.one}: in sync | 2 files")
        self.assertEqual("".join(process.said).count("not mounted?"), 1)
        self.assertEqual(process.end(signal.SIGINT)[0], 0)

    def test_stop_and_leave(self) -> None:
        """One folder can be stopped, paused or left beside the others; --all ends the whole process."""
        process = self.start("run")
        for folder in (self.one, self.two):
            process.until(f"{folder}: in sync")
        self.command("pause", str(self.two))
        self.assertEqual(self.state(self.two), "paused")
        self.assertIn("has ended", self.command("stop", str(self.two)))
        self.assertIn("No peer is running", self.fails("status", str(self.two)))
        self.assertEqual(self.state(self.one), "in-sync")
        self.command("leave", str(self.two), "--yes")
        self.assertEqual(sorted(os.listdir(self.two)), ["from one", "from two"])
        self.assertEqual([member.folder for member in Home(self.base / "home").members()], [self.one])
        self.assertIn("`twistedp2p run` has ended", self.command("stop", "--all"))
        self.assertEqual(process.end()[0], 0)

    def test_after_share(self) -> None:
        """A folder that another process serves is gone on with when that ends, and a new one too."""
        share, _ = self.share()
        process = self.start("run")
        process.until(f"{self.one}: is served by another process now")
        process.until(f"{self.two}: in sync")
        share.end(signal.SIGTERM)
        process.until(f"{self.one}: in sync")
        third = self.base / "third"
        join = self.start("join", self.invite, str(third))
        join.until("in sync | 2 files")
        join.end(signal.SIGTERM)
        process.until(f"{third}: in sync | 2 files")
        self.assertEqual(process.end(signal.SIGTERM)[0], 0)


class EmptyTests(ShareJoinTestCase):
    """Without any folder."""

    def test_no_folder(self) -> None:
        """Without any folder `run` ends with a sentence; with --wait it goes on with the first one that there is."""
        self.assertIn("There is no shared folder yet", self.fails("run"))
        process = self.start("run", "--wait")
        process.until("There is no shared folder yet")
        share, _ = self.share()
        share.until("in sync")
        share.end(signal.SIGTERM)
        process.until(f"{self.one}: in sync | 1 file")
        self.assertEqual(process.end(signal.SIGTERM)[0], 0)

    def test_paused(self) -> None:
        """A folder that was paused is served paused: nothing goes out of it until it is resumed."""
        share, _ = self.share()
        share.until("in sync")
        self.assertEqual(self.start("pause", str(self.one)).end()[0], 0)
        share.until("paused since")
        share.end(signal.SIGTERM)
        self.assertIsNotNone(Settings(self.one / ".twistedp2p").paused_since())
        process = self.start("run")
        process.until(f"{self.one}: paused since")
        self.assertEqual(self.start("resume", str(self.one)).end()[0], 0)
        process.until(f"{self.one}: in sync")
        self.assertEqual(process.end(signal.SIGTERM)[0], 0)


class LogTests(ShareJoinTestCase):
    """What is logged."""

    def texts(self, folder: Path) -> str:
        """Return all that is in the log files of a folder."""
        return "".join(path.read_text() for path in folder.iterdir())

    def test_no_secret_and_no_line_for_each_file(self) -> None:
        """200 files make a few lines; the log of everything has neither the invite nor a key in it."""
        for number in range(200):
            (self.one / f"file {number:03}").write_bytes(bytes([number]) * 1000)
        logs, debug = self.base / "logs", self.base / "debug logs"
        logs.mkdir()
        debug.mkdir()
        share = self.start(
            "share", str(self.one), "--advertise", "127.0.0.1", "-vv", "--log-file", str(debug / "share.log")
        )
        invite = share.first_line().strip()
        join = self.start("join", invite, str(self.two), "-q", "--log-file", str(logs / "join.log"))
        share.until("in sync | 202 files", "1 other peer")
        self.assertEqual(self.start("status", str(self.two)).end()[0], 0)
        joined = join.end(signal.SIGTERM)
        self.assertEqual(joined, (0, "", ""))
        _, _, err = share.end(signal.SIGTERM)
        log = (logs / "join.log").read_text()
        self.assertIn("Sharing", log)
        self.assertLess(log.count("\n"), 40, log)
        self.assertFalse([line for line in log.splitlines() if "file 0" in line or "file 1" in line], log)
        everything = self.texts(debug) + log + "".join(share.said) + err
        self.assertGreater(everything.count("\n"), 20)
        self.assert_no_secret(everything, invite)

    def assert_no_secret(self, text: str, invite: str) -> None:
        """Fail if the text has the invite, its secret in any writing, or a private key of a peer or tracker."""
        from twistedp2p.identity.invite import Invite

        secret = Invite.parse(invite).secret
        forbidden = [invite, invite.rpartition(":")[2], secret.hex(), repr(secret), "PRIVATE KEY"]
        for folder in (self.one, self.two):
            for key in folder.glob(".twistedp2p/**/key.pem"):
                forbidden += key.read_text().splitlines()[1:-1]
        self.assertGreater(len(forbidden), 6)
        self.assertEqual([word for word in forbidden if word.lower() in text.lower()], [])

    def test_wrong_place(self) -> None:
        """A log file in the folder that is shared, and one that can not be written, are a sentence each."""
        for file in (self.one / "log", self.base / "nowhere" / "log"):
            self.assertIn("--log-file", self.fails("share", str(self.one), "--log-file", str(file)))
        self.assertFalse((self.one / ".twistedp2p").exists())
        self.assertEqual(run("run", "-v", "-q").exit_code, 2)
        self.assertEqual(run("run", "--log-size", "10").exit_code, 2)
        self.assertEqual(run("run", "--log-files", "0").exit_code, 2)
