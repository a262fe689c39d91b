"""A served folder and its clients, on a network in memory; what blocks runs in line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import Hub, Made
from tests.transfer.nodes import device
from twistedp2p.disk.real import RealDisk
from twistedp2p.framing.network import FILES_ALPN
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import pin_of
from twistedp2p.identity.files_code import FilesInvite, read_secret
from twistedp2p.identity.share import ShareKeys
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.host import FilesFactory
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.server import Access

P = ParamSpec("P")
T = TypeVar("T")

WRITE = bytes(range(16))
READ = read_secret(WRITE)
SERVER = 1
WHERE = ("10.0.0.1", 17413)


def in_line(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """Run work at once."""
    return execute(work, *args, **kwargs)


def name_of(secret: bytes) -> bytes:
    """Return the name of the keys that follow from a secret."""
    return ShareKeys.derive(secret, portable=False).share_id


ACCESS = Access(frozenset((name_of(READ),)), frozenset((name_of(WRITE),)))


class ServingTestCase(SynchronousTestCase):
    """A folder `root` that is served on a network in memory."""

    def setUp(self) -> None:
        """Serve an empty folder."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name) / "root"
        self.root.mkdir()
        self.hub = Hub()
        self.disk = RealDisk(os.fsencode(self.root))
        self.addCleanup(self.disk.close)
        self.folder = ServedFolder(self.disk, self.hub.clock, in_line, bytes(32))
        self.factory = self.serve(ACCESS)
        self.lost: list[Failure] = []

    def serve(self, access: Access) -> FilesFactory:
        """Serve the folder to whom `access` says from now on."""
        network = self.hub.network(device(SERVER), WHERE[0])
        factory = FilesFactory(network, self.folder, access, name="served")
        network.listen(f"tcp:{WHERE[1]}", factory, alpn=FILES_ALPN)
        return factory

    def invite(self, writable: bool = True) -> FilesInvite:
        """Return an invite to the folder."""
        pin = pin_of(device(SERVER).spki)
        return FilesInvite(WRITE if writable else READ, (Place(*WHERE),), pin, writable)

    def client(self, secret: bytes | None = WRITE, pin: bytes | None = None) -> FilesConnection:
        """Connect with the keys of `secret`, None for nobody, and deliver all that is said first."""
        network = self.hub.network(device(2), "10.0.0.2")
        connection = FilesConnection(
            network=network,
            keys=None if secret is None else ShareKeys.derive(secret, portable=False),
            pin=pin_of(device(SERVER).spki) if pin is None else pin,
            name="client",
            entropy=bytes,
            opened=lambda _: None,
            lost=lambda _, reason: self.lost.append(reason),
        )
        self.hub.connect(network, Made(lambda _: connection), WHERE, FILES_ALPN)
        self.hub.pump()
        return connection

    def wait(self, result: Deferred[Any]) -> Any:
        """Deliver until the result is there, and return it, or raise what it failed with."""
        self.hub.pump()
        return self.successResultOf(result)

    def refusal(self, result: Deferred[Any], error: type[Exception]) -> str:
        """Deliver until the result failed with `error`, and return its sentence."""
        self.hub.pump()
        return str(self.failureResultOf(result, error).value)

    def write(self, path: str, data: bytes = b"") -> Path:
        """Write a file of the folder, past any cache of hashes."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def listing(self, client: FilesConnection, path: str = "", **options: Any) -> list[FileEntry]:
        """Return what the server lists."""
        found: list[FileEntry] = []
        self.wait(client.listing(path, found.extend, **options))
        return found

    def token(self, client: FilesConnection, path: str) -> bytes:
        """Return the token of a file."""
        (entry,) = self.listing(client, path)
        return entry.token
