"""By which key a receiver is known to a sender: the same for the same code, so that it can go on, and for no other.

One secret is kept in the state folder, as `files/receive.pem`; the key for a code follows from both. So a sender
recognises whoever began to receive, and two senders can not tell that they have the same receiver.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from blake3 import blake3

from twistedp2p.errors import FolderBusy, HomeUnusable
from twistedp2p.home import Home, kept_key
from twistedp2p.identity.device import DeviceKey

__all__ = ["receiver_key"]

_CONTEXT = "twistedp2p 2026 key of a receiver for one code"


@contextlib.contextmanager
def receiver_key(home: Home, share_id: bytes) -> Iterator[DeviceKey]:
    """Give the key for the code whose keys are called `share_id`, and keep other processes from using it meanwhile.

    Where nothing can be kept the key is a new one, and what was cut off can not be gone on with. Raises `FolderBusy`
    if another process receives by this code, `KeyUnusable` if what is kept is damaged.
    """
    file = home.path / "files" / "receive.pem"
    try:
        with home.lock():
            kept = kept_key(file, "receiver")
        handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except (HomeUnusable, OSError):
        yield DeviceKey.generate()
        return
    try:
        number = int.from_bytes(share_id[:7], "big")  # locks may lie beyond the end of a file
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError as error:
            raise FolderBusy("This machine receives by this code already; wait for that, or end it.") from error
        seed = blake3(kept.private_key.private_bytes_raw() + share_id, derive_key_context=_CONTEXT)
        yield DeviceKey.generate(seed.digest)
    finally:
        os.close(handle)
