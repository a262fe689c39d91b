"""`twistedp2p pause`, `resume` and `stop`, against a peer that answers and without one."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed

from tests.cli.test_commands import FolderTestCase
from tests.web.test_api import FakePeer
from twistedp2p.cli.folders import having
from twistedp2p.errors import FolderBusy, FolderUnusable
from twistedp2p.peer.settings import Settings
from twistedp2p.web.api import ControlService


class LockedPeer(FakePeer):
    """A peer that has its folder as a real one has, until it is asked to stop."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._lock = having(folder)
        self._lock.__enter__()
        self.service: ControlService
        self.obedient = True

    def stop(self) -> None:
        """End, unless it is disobedient."""
        super().stop()
        if self.obedient:
            self.end()

    def end(self) -> Deferred[None]:
        """Let go of the folder."""
        self._lock.__exit__(None, None, None)
        return self.service.stopService() or succeed(None)


class CommandCase(FolderTestCase):
    """Commands in a thread, while the reactor serves."""

    def serve(self, folder: Path) -> LockedPeer:
        """Return a peer that serves the folder until it is stopped."""
        peer = LockedPeer(folder)
        peer.service = ControlService(reactor, reactor, peer, self.home.control_socket(folder))  # type: ignore[arg-type]
        peer.service.startService()
        return peer

    def settings(self, folder: Path) -> Settings:
        """Return the settings of a folder."""
        return Settings(folder / ".twistedp2p")


class PauseTests(CommandCase):
    """`pause` and `resume`."""

    async def test_running(self) -> None:
        """A running peer is asked; it keeps the setting itself."""
        peer = self.serve(self.folder)
        for name in ("pause", "resume"):
            result = await self.ask(name, str(self.folder))
            self.assertEqual((result.exit_code, result.stderr), (0, ""))
            self.assertIn(str(self.folder), result.stdout)
        self.assertEqual(peer.events, ["pause", "resume"])
        peer.error = FolderUnusable("Port 7 is taken.")
        result = await self.ask("resume", str(self.folder))
        self.assertEqual((result.exit_code, result.stderr), (1, "twistedp2p: Port 7 is taken.\n"))
        await peer.end()

    async def test_not_running(self) -> None:
        """Without a peer the setting is kept for the next start; pausing twice keeps the first moment."""
        before = time.time()
        result = await self.ask("pause", str(self.folder))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        since = self.settings(self.folder).paused_since()
        assert since is not None
        self.assertTrue(before <= since <= time.time())
        await self.ask("pause", str(self.folder))
        self.assertEqual(self.settings(self.folder).paused_since(), since)
        result = await self.ask("status", str(self.folder))
        self.assertEqual(result.exit_code, 1)
        self.assertIn("it is paused", result.stderr)
        result = await self.ask("resume", str(self.folder))
        self.assertEqual((result.exit_code, self.settings(self.folder).paused_since()), (0, None))

    async def test_all(self) -> None:
        """--all means every folder; one that fails does not keep the others from it, and the status is 1."""
        other, third = self.new_member("other"), self.new_member("third")
        peer = self.serve(other)
        peer.error = FolderUnusable("No.")
        result = await self.ask("pause", "--all")
        self.assertEqual((result.exit_code, result.stderr), (1, "twistedp2p: No.\n"))
        for folder in (self.folder, third):
            self.assertIsNotNone(self.settings(folder).paused_since())
        await peer.end()
        self.assertEqual((await self.ask("pause", "--all", str(self.folder))).exit_code, 2)

    async def test_starting(self) -> None:
        """A folder that a process has, which does not answer yet, is left alone: it has read the setting."""
        with having(self.folder):
            result = await self.ask("pause", str(self.folder))
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIsNone(self.settings(self.folder).paused_since())


class StopTests(CommandCase):
    """`stop`."""

    async def test_running(self) -> None:
        """It asks, waits until the folder is free, and says so."""
        peer = self.serve(self.folder)
        result = await self.ask("stop", str(self.folder))
        self.assertEqual((result.exit_code, result.stdout), (0, f"The peer of {self.folder} has ended.\n"))
        self.assertEqual(peer.events, ["stop"])
        with having(self.folder):
            pass

    async def test_not_running(self) -> None:
        """Without a peer there is nothing to do, and that is no error."""
        result = await self.ask("stop", str(self.folder))
        self.assertEqual((result.exit_code, result.stdout), (0, f"No peer runs for {self.folder}.\n"))

    async def test_it_goes_on(self) -> None:
        """A folder that is not let go in time is an error, not waited for for ever."""
        with having(self.folder):
            self.assertRaises(FolderBusy, having(self.folder, 0.1).__enter__)

    async def test_all(self) -> None:
        """--all ends every peer."""
        other = self.new_member("other")
        peers = [self.serve(folder) for folder in (self.folder, other)]
        result = await self.ask("stop", "--all")
        self.assertEqual((result.exit_code, result.stdout.count("has ended")), (0, 2))
        self.assertEqual([peer.events for peer in peers], [["stop"], ["stop"]])
