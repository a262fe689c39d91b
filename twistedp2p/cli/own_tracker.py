"""The tracker that `twistedp2p share` runs in its own process, for its own share only.

Its key lies in the state folder of the shared folder, and its port is kept there: an invite goes on to be good.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from twistedp2p.errors import FolderUnusable
from twistedp2p.framing.addresses import Advertised, own_address
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.limits import TRACKER_PORT
from twistedp2p.tracker.service import load_key

__all__ = ["LOOPBACK", "OwnTracker", "everywhere", "reserved"]

LOOPBACK = "127.0.0.1"


def reserved(preferred: int) -> socket.socket:
    """Return a socket that keeps `preferred`, else another TCP port, on all interfaces until it is closed."""
    for port in (preferred, 0):
        keeper = socket.socket(_family(), socket.SOCK_STREAM)
        try:
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted listens
            keeper.bind(("", port))
            # Listening keeps the port; a socket that is only bound does not.
            keeper.listen(1)
            return keeper
        except OSError:
            keeper.close()
    raise FolderUnusable("No port of this machine can be listened on: name a tracker elsewhere with --tracker.")


def everywhere(port: int) -> str:
    """Return the endpoint description of `port` on all interfaces; an IPv6 socket takes IPv4 callers too."""
    return f"tcp6:{port}:interface=\\:\\:" if _family() == socket.AF_INET6 else f"tcp:{port}"


def _family() -> socket.AddressFamily:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return socket.AF_INET
    return socket.AF_INET6


class OwnTracker:
    """Where the tracker of a shared folder is: its port, and the address that an invite names.

    Args:
        state: the folder's state folder.
        port: the port that it had before, None for a new one.
        advertised: what the person wants the invite to name.
        reachable: returns this machine's address, None if it has only loopback.
    """

    def __init__(
        self,
        state: Path,
        port: int | None,
        advertised: Advertised | None,
        reachable: Callable[[], str | None] = own_address,
    ) -> None:
        self.state = state
        self.port = port
        self._advertised = advertised
        self._reachable = reachable
        self._keeper: socket.socket | None = None

    def address(self) -> TrackerAddress:
        """Return the address for the invite; makes the key if there is none. Blocks shortly.

        A port that is new is kept from others until `release`.
        """
        if self.port is None:
            self._keeper = reserved(TRACKER_PORT)
            self.port = int(self._keeper.getsockname()[1])
        pin = load_key(self.state).pin
        if self._advertised is not None:
            return TrackerAddress(self._advertised.host, self._advertised.port or self.port, pin)
        return TrackerAddress(self._reachable() or LOOPBACK, self.port, pin)

    def release(self) -> None:
        """Let go of a new port, for the tracker to listen on it at once."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()
