"""`twistedp2p status` and `twistedp2p invite`, and what all commands have in common."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

import twisted
from click.testing import CliRunner, Result
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.web.test_api import FakePeer
from tests.web.test_status import FULL
from twistedp2p import __version__
from twistedp2p.cli.folders import chosen_folder
from twistedp2p.cli.main import command
from twistedp2p.cli.report import report
from twistedp2p.errors import FolderUnusable
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.web.api import ControlService
from twistedp2p.web.status import parse_status

INVITE = Invite(bytes(range(16)), (TrackerAddress("192.0.2.7", 17411, bytes(16)),))


def run(*arguments: str, stdin: str | None = None, env: dict[str, str | None] | None = None) -> Result:
    """Run `twistedp2p` with these arguments in this process."""
    return CliRunner().invoke(command, list(arguments), input=stdin, env=env)


class UsageTests(SynchronousTestCase):
    """What all commands have in common."""

    def test_version(self) -> None:
        """--version names program and version, and below that what it runs on and what it speaks."""
        first, second = run("--version").output.splitlines()
        self.assertEqual(first, f"twistedp2p {__version__}")
        for word in ("Python 3.", f"Twisted {twisted.__version__}", "tp2p-tracker/1", "tp2p-peer/1"):
            self.assertIn(word, second)

    def test_help(self) -> None:
        """The help lists every command, and each has its own."""
        result = run("--help")
        self.assertEqual(result.exit_code, 0)
        for name in ("invite", "status"):
            self.assertIn(f"\n  {name} ", result.output)
            self.assertEqual(run(name, "--help").exit_code, 0)

    def test_wrong_use(self) -> None:
        """A command or option that does not exist is a usage error, status 2."""
        for arguments in (["nothing"], ["status", "--nothing"], ["invite", "a", "b"]):
            self.assertEqual(run(*arguments).exit_code, 2, arguments)

    def test_as_module(self) -> None:
        """`python -m twistedp2p.cli` is the same command; an error is one sentence, status 1."""
        done = subprocess.run(
            [sys.executable, "-m", "twistedp2p.cli", "status", "/nowhere"], capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertTrue(done.stderr.startswith("twistedp2p: /nowhere is not a shared folder"), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)


class FolderTestCase(TestCase):
    """A home, and two member folders in it."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="p2p-")  # short: a socket's path has a limit
        self.addCleanup(temporary.cleanup)
        self.base = Path(temporary.name).resolve()
        self.home = Home(self.base / "home")
        self.folder = self.new_member("one")

    def new_member(self, name: str) -> Path:
        """Return a new folder that is a member."""
        folder = self.base / name
        (folder / ".twistedp2p").mkdir(parents=True)
        (folder / ".twistedp2p" / "mark").write_text("mark")
        self.home.remember(folder, bytes(20))
        return folder

    async def ask(self, *arguments: str) -> Result:
        """Run a command in a thread, while the reactor serves."""
        return cast(Result, await deferToThread(run, *arguments, "--home", str(self.home.path)))


class ChosenFolderTests(FolderTestCase):
    """Which folder a command means."""

    def test_named(self) -> None:
        """A folder that is named is taken, also by one of its own folders."""
        inside = self.folder / "a" / "b"
        inside.mkdir(parents=True)
        self.assertEqual(chosen_folder(self.folder, self.base, self.home), self.folder)
        self.assertEqual(chosen_folder(inside, self.base, self.home), self.folder)

    def test_here(self) -> None:
        """Without a name it is the shared folder one is in, even if there are others."""
        self.new_member("two")
        inside = self.folder / "a"
        inside.mkdir()
        self.assertEqual(chosen_folder(None, inside, self.home), self.folder)

    def test_only_one(self) -> None:
        """Elsewhere it is the only one there is; those that are away do not count."""
        away = self.new_member("away")
        away.rename(self.base / "elsewhere")
        self.assertEqual(chosen_folder(None, self.base, self.home), self.folder)

    def test_several(self) -> None:
        """Of several none is guessed; all are named."""
        other = self.new_member("two")
        error = self.assertRaises(FolderUnusable, chosen_folder, None, self.base, self.home)
        self.assertIn(str(self.folder), str(error))
        self.assertIn(str(other), str(error))

    def test_none(self) -> None:
        """Without any shared folder, the sentence says how to get one."""
        error = self.assertRaises(FolderUnusable, chosen_folder, None, self.base, Home(self.base / "new"))
        self.assertIn("twistedp2p share", str(error))

    def test_not_mounted(self) -> None:
        """A folder that was a member and has lost its mark is asked about, not called unshared."""
        (self.folder / ".twistedp2p" / "mark").unlink()
        error = self.assertRaises(FolderUnusable, chosen_folder, self.folder, self.base, self.home)
        self.assertIn("not mounted?", str(error))


class AskingTests(FolderTestCase):
    """Commands that ask a running peer, over its real socket."""

    def serve(self) -> FakePeer:
        """Return a peer that serves the folder until the end of the test."""
        peer = FakePeer()
        peer.state = FULL
        peer.invite = INVITE.text  # type: ignore[method-assign]
        path = self.home.control_socket(self.folder)
        service = ControlService(reactor, reactor, peer, path)  # type: ignore[arg-type]
        service.startService()
        self.addCleanup(service.stopService)
        return peer

    async def test_status(self) -> None:
        """`status` prints the report of the peer, `--json` what the peer said."""
        self.serve()
        result = await self.ask("status", str(self.folder))
        self.assertEqual((result.exit_code, result.stdout.splitlines()), (0, report(parse_status(FULL))))
        result = await self.ask("status", "--json")
        self.assertEqual((result.exit_code, json.loads(result.stdout)), (0, FULL))

    async def test_nobody_serves(self) -> None:
        """Without a running peer `status` says how to start one, status 1; a killed one's socket changes nothing."""
        for _ in range(2):
            result = await self.ask("status", str(self.folder))
            self.assertEqual((result.exit_code, result.stdout), (1, ""))
            self.assertEqual(
                result.stderr,
                f"twistedp2p: No peer is running for {self.folder}: start it with `twistedp2p share {self.folder}`.\n",
            )
            if not os.path.exists(self.home.control_socket(self.folder)):
                with socket.socket(socket.AF_UNIX) as killed:
                    killed.bind(self.home.control_socket(self.folder))

    async def test_error_of_the_peer(self) -> None:
        """What the peer can not answer, it says in its own words."""
        self.serve().error = FolderUnusable("The folder is gone.")
        result = await self.ask("status", str(self.folder))
        self.assertEqual((result.exit_code, result.stderr), (1, "twistedp2p: The folder is gone.\n"))

    async def test_other_status(self) -> None:
        """A status that can not be understood is one sentence, not a traceback."""
        self.serve().state = {"folder": 7}
        result = await self.ask("status", str(self.folder))
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))

    async def test_invite(self) -> None:
        """`invite` prints the invite of the running peer, one line and nothing else."""
        self.serve()
        result = await self.ask("invite", str(self.folder))
        self.assertEqual((result.exit_code, result.output), (0, f"{INVITE.text()}\n"))

    async def test_kept_invite(self) -> None:
        """Without a running peer `invite` prints what the folder keeps; if that can not be read, it says so."""
        file = self.folder / ".twistedp2p" / "invite"
        result = await self.ask("invite", str(self.folder))
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn(str(file), result.stderr)
        file.write_text(INVITE.text() + "\n")
        result = await self.ask("invite", str(self.folder))
        self.assertEqual((result.exit_code, result.output), (0, f"{INVITE.text()}\n"))
