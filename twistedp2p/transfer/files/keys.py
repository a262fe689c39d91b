"""What a server of a folder keeps in the state folder of a person, so that it outlives the process, as do its invites.

    home/files/key.pem          the key of the device (0600)
    home/files/HASH.secret      the secret of one folder (0600), which lets one write; the one to read follows from it
    home/files/HASH.address     where that folder was served last
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from blake3 import blake3

from twistedp2p.errors import BadInvite, HomeUnusable
from twistedp2p.home import kept_key, write_private
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.files_code import FilesInvite, read_secret
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.transfer.files.access import Access

__all__ = ["FilesKeys"]


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
