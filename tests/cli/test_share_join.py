"""`twistedp2p share` and `twistedp2p join` as real processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_commands import run
from twistedp2p.identity.invite import Invite, TrackerAddress

PATIENCE = 60.0
"""A process that says nothing of what is waited for in this time is killed, seconds."""


# The usual port of a tracker is left to whoever has it on this machine: to another test, or to its owner's share.
PROGRAM = "from twistedp2p import limits; limits.TRACKER_PORT = 0; from twistedp2p.cli.main import main; main()"


class Command:
    """A `twistedp2p` process; a new tracker in it takes a free port."""

    def __init__(self, home: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TWISTEDP2P_HOME": str(home), **(env or {})},
        )
        self.said: list[str] = []
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)
        self._watchdog.start()

    def until(self, *texts: str) -> str:
        """Return the first line on stderr that has all `texts`; fail if there is none."""
        for line in cast(IO[str], self.process.stderr):
            self.said.append(line)
            if all(text in line for text in texts):
                return line
        raise AssertionError(f"{texts} was not said: {''.join(self.said)}")

    def first_line(self) -> str:
        """Return the next line on stdout."""
        return cast(IO[str], self.process.stdout).readline()

    def end(self, number: int | None = None, stdin: str | None = None) -> tuple[int, str, str]:
        """Send a signal if one is given, and return the exit status and what is left on stdout and stderr."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        out, err = self.process.communicate(stdin)
        self._watchdog.cancel()
        return self.process.returncode, out, err

    def clean_up(self) -> None:
        """Kill the process if it still runs."""
        self._watchdog.cancel()
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


class ShareJoinTestCase(SynchronousTestCase):
    """A home and two folders, one with a file each."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="p2p-")
        self.addCleanup(temporary.cleanup)
        self.base = Path(temporary.name).resolve()
        self.one, self.two = self.base / "one", self.base / "two"
        self.one.mkdir()
        self.two.mkdir()
        (self.one / "from one").write_text("1")
        (self.two / "from two").write_text("2")

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> Command:
        """Return a process of `twistedp2p` that lives until the end of the test at most."""
        command = Command(self.base / "home", *arguments, env=env)
        self.addCleanup(command.clean_up)
        return command

    def share(self, *arguments: str) -> tuple[Command, str]:
        """Return the process that shares the first folder, and its invite."""
        command = self.start("share", str(self.one), "--advertise", "127.0.0.1", *arguments)
        return command, command.first_line().strip()

    def fails(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Return the one sentence with which a command ends, with status 1."""
        code, out, err = self.start(*arguments, env=env).end()
        self.assertEqual((code, out, err.count("\n")), (1, "", 1), err)
        self.assertTrue(err.startswith("twistedp2p: "), err)
        return err


class TogetherTests(ShareJoinTestCase):
    """Two folders become the same."""

    def test_share_and_join(self) -> None:
        """Both folders get the files of both; both processes end cleanly, by either signal."""
        share, invite = self.share("--name", "first")
        self.assertEqual(Invite.parse(invite).trackers[0].host, "127.0.0.1")
        join = self.start("join", "-", str(self.two), "--name", "second")
        cast(IO[str], join.process.stdin).write(f"{invite}\n")
        cast(IO[str], join.process.stdin).flush()
        for command in (share, join):
            command.until("in sync | 2 files")
        for folder in (self.one, self.two):
            self.assertEqual((folder / "from one").read_text() + (folder / "from two").read_text(), "12")
        code, out, err = self.start("status", "--json", str(self.two)).end()
        status = json.loads(out)
        self.assertEqual((code, err, status["name"], status["in_sync"]), (0, "", "second", True))
        self.assertEqual([peer["name"] for peer in status["peers"]], ["first"])
        self.assertEqual(self.start("invite", str(self.two)).end(), (0, f"{invite}\n", ""))
        self.assertEqual(join.end(signal.SIGTERM)[0], 0)
        self.assertEqual(share.end(signal.SIGINT)[0], 0)
        self.assertNotIn("Traceback", "".join(share.said + join.said))

    def test_secret_is_not_logged(self) -> None:
        """The invite is on stdout only: neither a log nor a command line has it."""
        share, invite = self.share()
        secret = invite.rpartition(":")[2]
        share.until("in sync")
        _, _, err = share.end(signal.SIGTERM)
        self.assertNotIn(secret, "".join(share.said) + err)


class GoingOnTests(ShareJoinTestCase):
    """A folder that is a member already."""

    def test_same_share(self) -> None:
        """Started again, `share` goes on with share, keys and tracker port; an invite file is overwritten, 0600."""
        share, invite = self.share()
        share.end(signal.SIGTERM)
        file = self.base / "invite"
        file.write_text("old")
        file.chmod(0o644)
        share = self.start("share", str(self.one), "--advertise", "127.0.0.1", "--invite-file", str(file))
        share.until("in sync")
        self.assertEqual(file.read_text(), f"{invite}\n")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        code, out, _ = share.end(signal.SIGTERM)
        self.assertEqual((code, out), (0, ""))

    def test_join_goes_on(self) -> None:
        """`join` without an invite goes on too, with the tracker that the folder has in its own process."""
        share, _ = self.share()
        share.end(signal.SIGTERM)
        join = self.start("join", str(self.one), "--advertise", "127.0.0.1")
        join.until("in sync")
        self.assertEqual(join.end(signal.SIGINT)[0], 0)

    def test_own_tracker_moves(self) -> None:
        """The invite names the address that the machine has this time, with the same port and pin."""
        share, before = self.share()
        share.end(signal.SIGTERM)
        share = self.start("share", str(self.one), "--advertise", "localhost")
        [old], [new] = Invite.parse(before).trackers, Invite.parse(share.first_line()).trackers
        self.assertEqual((new.host, new.port, new.pin), ("localhost", old.port, old.pin))
        self.assertEqual(share.end(signal.SIGTERM)[0], 0)

    def test_busy(self) -> None:
        """A folder that another process serves is refused in one sentence, and the other one goes on."""
        share, _ = self.share()
        self.assertIn("Another process serves this folder", self.fails("share", str(self.one)))
        self.assertEqual(self.start("status", str(self.one)).end()[0], 0)
        self.assertEqual(share.end(signal.SIGTERM)[0], 0)

    def test_other_share(self) -> None:
        """The invite of another share is refused for a folder that is a member."""
        share, invite = self.share()
        share.end(signal.SIGTERM)
        other = Invite(bytes(16), Invite.parse(invite).trackers).text()
        self.assertIn("another share", self.fails("join", str(self.one), env={"TWISTEDP2P_INVITE": other}))

    def test_other_names(self) -> None:
        """The rules for names can not be changed afterwards."""
        share, _ = self.share("--names", "portable")
        share.end(signal.SIGTERM)
        self.assertIn("is portable in this one", self.fails("share", str(self.one), "--names", "posix"))

    def test_tracker_port_taken(self) -> None:
        """If another program has the port of the share's tracker now, that is said; no other one is taken."""
        share, invite = self.share()
        share.end(signal.SIGTERM)
        port = Invite.parse(invite).trackers[0].port
        with socket.create_server(("127.0.0.1", port)):
            self.assertIn(f"Port {port}", self.fails("share", str(self.one), "--advertise", "127.0.0.1"))

    def test_lost_mark(self) -> None:
        """A member folder without its mark is refused: its disk may not be mounted."""
        share, _ = self.share()
        share.end(signal.SIGTERM)
        (self.one / ".twistedp2p" / "mark").unlink()
        self.assertIn("not mounted?", self.fails("share", str(self.one)))


class ArgumentTests(ShareJoinTestCase):
    """What is wrong with a command is one sentence."""

    def test_named_tracker(self) -> None:
        """With --tracker no tracker is started, and the invite names that one."""
        tracker = TrackerAddress("127.0.0.1", 1, bytes(16))
        share = self.start("share", str(self.one), "--tracker", tracker.text())
        self.assertEqual(Invite.parse(share.first_line()).trackers, (tracker,))
        share.until("no tracker yet")
        self.assertFalse((self.one / ".twistedp2p" / "tracker").exists())
        self.assertEqual(share.end(signal.SIGTERM)[0], 0)

    def test_can_not_start(self) -> None:
        """An endpoint that is none, and a file where a folder should be, are one sentence and status 1."""
        self.assertIn("'pigeon:1'", self.fails("share", str(self.one), "--listen", "pigeon:1"))
        self.assertFalse((self.one / ".twistedp2p").exists())
        self.fails("share", str(self.one / "from one"))

    def test_malformed(self) -> None:
        """A malformed invite, tracker or address is a sentence and status 1, before anything is made."""
        one = str(self.one)
        malformed: list[tuple[str, ...]] = [
            ("join", "tp2p1:x", one),
            ("join", "@/nowhere", one),
            ("share", one, "--tracker", "x"),
            ("share", one, "--advertise", "x:y"),
        ]
        for arguments in malformed:
            result = run(*arguments)
            self.assertEqual((result.exit_code, result.stdout, result.stderr.count("\n")), (1, "", 1), arguments)
        self.assertFalse((self.one / ".twistedp2p").exists())

    def test_wrong_use(self) -> None:
        """What is missing or too much is a usage error, status 2; an invite is not taken for a folder."""
        one = str(self.one)
        wrong: list[tuple[str, ...]] = [("join",), ("join", one), ("share",), ("join", "tp2p1:x"), ("join", *"abc")]
        wrong += [("share", one, "--names", "x"), ("share", one, "--name", "\n"), ("join", one, "--tracker", "x")]
        for arguments in wrong:
            self.assertEqual(run(*arguments, env={"TWISTEDP2P_INVITE": None}).exit_code, 2, arguments)
