"""A folder as a service, on a reactor in memory: it starts, stops, and starts again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import FolderUnusable
from twistedp2p.framing.addresses import Advertised
from twistedp2p.transfer.files.service import FileServerService
from twistedp2p.transfer.files.threads import Threads


class BusyReactor(MemoryReactorClock):
    """A reactor whose ports are in use as long as `busy` says so."""

    busy = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen, unless it is in use."""
        if self.busy:
            raise CannotListenError(interface, port, OSError("in use"))
        return super().listenTCP(port, factory, backlog, interface)


class ServiceTests(SynchronousTestCase):
    """The life of a service."""

    def setUp(self) -> None:
        """Make a folder and its service."""
        base = Path(self.mktemp())
        self.root = base / "root"
        self.root.mkdir(parents=True)
        self.reactor = BusyReactor()
        self.service = FileServerService(
            self.reactor, self.root, base / "home", listen=["tcp:17413"], advertise=Advertised("10.0.0.1", None)
        )
        self.addCleanup(lambda: self.service.stopService())

    def test_start_once(self) -> None:
        """However often it is told to start, it listens once, and its invite says where."""
        self.service.privilegedStartService()
        self.service.startService()
        self.successResultOf(self.service.start_listening())
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.assertEqual([place.address for place in self.service.invite().places], ["10.0.0.1:17413"])

    def test_start_again(self) -> None:
        """After it was stopped it can be started again, and serves the folder that is there then."""
        self.service.startService()
        before = self.service.folder
        self.successResultOf(self.service.stopService())
        self.assertRaises(OSError, self.service._disk.stat, (b"new",))
        (self.root / "new").write_bytes(b"data")
        self.service.startService()
        self.assertEqual(len(self.reactor.tcpServers), 2)
        self.assertEqual(self.service._disk.stat((b"new",)).size, 4)
        self.assertIsNot(self.service.folder, before)

    def test_start_again_before_it_stopped(self) -> None:
        """It can be started again while the last clients still go: that ends nothing of what began anew."""
        self.service.startService()
        gone: Deferred[None] = Deferred()
        self.patch(self.service.host, "stop", lambda: gone)
        stopped = self.service.stopService()
        self.service.startService()
        self.assertNoResult(stopped)
        gone.callback(None)
        self.successResultOf(stopped)
        self.service._disk.stat(())

    def test_the_folder_is_gone(self) -> None:
        """Started again without its folder it raises one clear error, and starts when the folder is back."""
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.root.rmdir()
        self.assertRaises(FolderUnusable, self.service.startService)
        self.root.mkdir()
        self.service.startService()
        self.assertTrue(self.service.running)

    def test_the_port_is_in_use(self) -> None:
        """A port in use is raised at once and leaves nothing open; it starts when the port is free."""
        self.reactor.busy = True
        self.assertRaises(CannotListenError, self.service.privilegedStartService)
        self.failureResultOf(self.service.start_listening(), CannotListenError)
        self.reactor.busy = False
        self.service.startService()
        self.assertEqual(len(self.reactor.tcpServers), 1)
        self.service._disk.stat(())


class ThreadsTests(SynchronousTestCase):
    """Worker threads."""

    def test_after_the_end(self) -> None:
        """What is let go of after the end is let go of at once: no thread begins any more."""
        threads = Threads(Clock(), 4, "files")
        threads.end()
        self.assertEqual(self.successResultOf(threads(os.getpid)), os.getpid())
        self.assertIsNone(threads._pool)
