"""A folder of named files as a service: its keys, where it listens, who is let in, and how it stops.

    home/files/key.pem          the key of the device (0600)
    home/files/HASH.secret      the secret of one folder (0600), which lets one write; the one to read follows from it
    home/files/HASH.address     where that folder was served last

The key and the secrets outlive the process, and so do the invites.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from attrs import frozen
from blake3 import blake3
from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import BadInvite, HomeUnusable
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.listener import raise_at_once
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.home import kept_key, write_private
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.files_code import FilesInvite, read_secret
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.transfer.files.folder import ServedFolder
from twistedp2p.transfer.files.host import FilesFactory, FilesHost
from twistedp2p.transfer.files.server import Access

__all__ = ["FileServerService", "FilesKeys"]

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 4
_TOKENS = "twistedp2p 2026 tokens of served files v1"


@frozen
class FilesKeys:
    """What a server of one folder keeps: its device key, the secret of the folder, and where it was reached last."""

    device: DeviceKey
    secret: bytes
    """16 bytes that let one write."""
    folder: Path
    """Where they are kept."""
    number: str
    """What the files about this folder are called."""

    @classmethod
    def keep(cls, home: Path, root: Path, entropy: Callable[[int], bytes] = os.urandom) -> FilesKeys:
        """Return what is kept in `home` for a server of `root`, made at the first time.

        Raises `KeyUnusable` or `HomeUnusable`.
        """
        folder = home / "files"
        device = kept_key(folder / "key.pem", "file server", entropy)
        number = blake3(os.fsencode(os.path.realpath(root))).hexdigest(8)
        file = folder / f"{number}.secret"
        try:
            try:
                secret = bytes.fromhex(file.read_text("ascii"))
            except FileNotFoundError:
                secret = entropy(SECRET_BYTES)
                write_private(file, f"{secret.hex()}\n".encode())
        except OSError as error:
            raise HomeUnusable(f"The secret of the folder can not be kept in {file} ({error}).") from error
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise HomeUnusable(f"{file} is damaged. Remove it to make new invites; the old ones are void then.")
        return cls(device, secret, folder, number)

    def invite(self, *, writable: bool, places: Sequence[Place] = ()) -> FilesInvite:
        """Return the invite to read, or to write too, at `places`, by default where the folder was served last.

        Raises `HomeUnusable` if that is nowhere.
        """
        secret = self.secret if writable else read_secret(self.secret)
        return FilesInvite(secret, tuple(places) or (self._last_place(),), self.device.pin, writable)

    def remember(self, place: Place) -> None:
        """Keep where the folder can be reached."""
        try:
            write_private(self._address, f"{place.address}\n".encode())
        except OSError as error:
            raise HomeUnusable(f"The address can not be kept in {self._address} ({error}).") from error

    def access(self, *, writable: bool, anonymous: bool) -> Access:
        """Return who may do what; without `writable` the invite to write lets one read."""
        writer = ShareKeys.derive(self.secret, portable=False).share_id
        reader = ShareKeys.derive(read_secret(self.secret), portable=False).share_id
        if writable:
            return Access(frozenset((reader,)), frozenset((writer,)), anonymous)
        return Access(frozenset((reader, writer)), frozenset(), anonymous)

    @property
    def _address(self) -> Path:
        return self.folder / f"{self.number}.address"

    def _last_place(self) -> Place:
        try:
            return Place.parse(self._address.read_text("utf-8"))
        except FileNotFoundError:
            raise HomeUnusable("This folder was not served yet; start the server, or say --advertise HOST.") from None
        except (OSError, BadInvite, ValueError) as error:
            raise HomeUnusable(f"{self._address} can not be used ({error}); start the server again.") from error


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
        self._threads: ThreadPool | None = None
        self._over = False
        self._started: Deferred[None] | None = None
        network = TLSNetwork(reactor, self.keys.device)
        self._disk = RealDisk(os.fsencode(root))
        key = blake3(self.keys.secret, derive_key_context=_TOKENS).digest()
        self.folder = ServedFolder(self._disk, reactor, self._in_thread, key)
        access = self.keys.access(writable=writable, anonymous=anonymous)
        factory = FilesFactory(network, self.folder, access, name=name or root.name)
        self.host = FilesHost(factory, network, listen=listen, advertise=advertise)

    def invite(self, *, writable: bool = False) -> FilesInvite:
        """Return the invite to read, or to write too; raises `HomeUnusable` before the first start."""
        return self.keys.invite(writable=writable, places=() if self.place is None else (self.place,))

    def start_listening(self) -> Deferred[None]:
        """Listen; fails with `CannotListenError`. Once is enough."""
        if self._started is None:
            self._started = Deferred.fromCoroutine(self._start())
        return self._started

    def privilegedStartService(self) -> None:
        """Listen, as ports below 1024 want privileges; raises `CannotListenError`."""
        super().privilegedStartService()
        self._listen_or_raise()

    def startService(self) -> None:
        """Listen if it does not yet; raises `CannotListenError`."""
        self._listen_or_raise()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Take no more clients, say goodbye to all; fires when they are gone and nothing is read any more."""
        super().stopService()
        return self.host.stop().addBoth(self._ended)

    async def _start(self) -> None:
        place = await self.host.start()
        if place is not None:
            self.place = Place(*place)
            self.keys.remember(self.place)
        if self._writable:
            try:
                await self._in_thread(self.folder.forget_orphans)
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

    def _listen_or_raise(self) -> None:
        raise_at_once(self.start_listening().addErrback(self._not_started), self._log, "The file server")

    def _not_started(self, failure: Failure) -> Failure:
        self._started = None
        self._stopped(None)
        return failure

    def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if self._over:
            # Somebody lets go of a file late: threads that began now would never be ended.
            return execute(work, *args, **kwargs)
        if self._threads is None:
            self._threads = ThreadPool(0, _THREADS, "files")
            self._threads.start()
        return deferToThreadPool(self._reactor, self._threads, work, *args, **kwargs)

    def _ended(self, _: object) -> None:
        self._over = True
        self._stopped(None)
        self._disk.close()

    def _stopped(self, _: object) -> None:
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.stop()
