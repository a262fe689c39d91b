"""A folder of named files as a service: where it listens, who is let in, and how it stops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twistedp2p.disk.real import RealDisk
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.listener import Starting
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.codes import Place
from twistedp2p.identity.files_code import FilesInvite
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.host import FilesFactory, FilesHost
from twistedp2p.transfer.files.keys import FilesKeys
from twistedp2p.transfer.files.threads import Threads

__all__ = ["FileServerService", "FilesKeys"]

_THREADS = 4
_TOKENS = "twistedp2p 2026 tokens of served files v1"


class FileServerService(Service):
    """Serves the folder `root`, from `startService` to `stopService`; for any reactor.

    Args:
        reactor: for sockets, time and threads.
        root: the folder.
        home: keeps the keys.
        writable: whether who has the invite to write may change files.
        anonymous: whether anybody may read.
        listen: Twisted endpoint descriptions; by default port `limits.FILES_PORT` on all interfaces.
        advertise: by which host and port clients reach it; found out if it is not given.
        name: by which the server is shown to people.

    Making one raises `FolderUnusable`, `HomeUnusable` or `KeyUnusable`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        root: Path,
        home: Path,
        *,
        writable: bool = False,
        anonymous: bool = False,
        listen: Sequence[str] = (),
        advertise: Advertised | None = None,
        name: str = "",
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.setName("fileserver")
        self.keys = FilesKeys.keep(home, root, entropy)
        self.place: Place | None = None
        """Where clients reach it; None before it listens, or on a UNIX socket only."""
        self._reactor = reactor
        self._root = root
        self._writable = writable
        self._anonymous = anonymous
        self._advertise = advertise
        self._starting = Starting(self._start, self._log, "The file server", failed=self._close)
        self._listen = listen
        self._name = name or root.name
        self._open()

    def _open(self) -> None:
        """Open the folder, and make what serves it; raises `FolderUnusable`."""
        network = TLSNetwork(self._reactor, self.keys.device, long_streams=True)
        self._disk = RealDisk(os.fsencode(self._root))
        self._threads = Threads(self._reactor, _THREADS, "files")
        key = blake3(self.keys.secret, derive_key_context=_TOKENS).digest()
        self.folder = ServedFolder(self._disk, self._reactor, self._threads, key)
        access = self.keys.access(writable=self._writable, anonymous=self._anonymous)
        factory = FilesFactory(network, self.folder, access, name=self._name)
        self.host = FilesHost(factory, network, listen=self._listen, advertise=self._advertise)
        self._closed = False

    def invite(self, *, writable: bool = False) -> FilesInvite:
        """Return the invite to read, or to write too; raises `HomeUnusable` before the first start."""
        return self.keys.invite(writable=writable, places=() if self.place is None else (self.place,))

    def start_listening(self) -> Deferred[None]:
        """Listen; fails with `CannotListenError`. Once is enough."""
        return self._starting.begin()

    def privilegedStartService(self) -> None:
        """Listen, as ports below 1024 want privileges; raises `CannotListenError`."""
        super().privilegedStartService()
        self._starting.begin_or_raise()

    def startService(self) -> None:
        """Listen if it does not yet; raises `CannotListenError`."""
        self._starting.begin_or_raise()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Take no more clients, say goodbye to all; fires when they are gone and nothing is read any more.

        It may be started again, also before that; it serves the folder that is there then.
        """
        super().stopService()
        self._starting.over()
        return self._close()

    def _close(self) -> Deferred[None]:
        """Let go of what `_open` opened."""
        self._closed = True
        disk, threads = self._disk, self._threads

        def ended(_: object) -> None:
            threads.end()
            disk.close()

        return self.host.stop().addBoth(ended)

    async def _start(self) -> None:
        if self._closed:
            self._open()
        place = await self.host.start()
        if place is not None:
            self.place = Place(*place)
            self.keys.remember(self.place)
        if self._writable:
            try:
                await self._threads(self.folder.forget_orphans)
            except OSError as error:
                self._log.warn("What was left of old puts can not be removed ({error})", error=error)
        what = "read and written" if self._writable else "read"
        if self._anonymous:
            self._log.info("{root} can be read by anybody who reaches this port", root=self._root)
        self._log.info(
            "Serving {root}, to be {what} with an invite; `twistd fileserver --root {root} --print-invite` prints it",
            root=self._root,
            what=what,
        )
