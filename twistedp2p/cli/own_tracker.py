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

__all__ = ["LOOPBACK", "OwnTracker", "everywhere", "free_port"]

LOOPBACK = "127.0.0.1"


def free_port(preferred: int) -> int:
    """Return `preferred` if it can be listened on now on all interfaces, else a TCP port that can."""
    for port in (preferred, 0):
        with socket.socket(_family(), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Twisted listens
            try:
                probe.bind(("", port))
                probe.listen(1)
            except OSError:
                continue
            return int(probe.getsockname()[1])
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

    def address(self) -> TrackerAddress:
        """Return the address for the invite; makes the key and takes a port if there are none. Blocks shortly."""
        if self.port is None:
            self.port = free_port(TRACKER_PORT)
        pin = load_key(self.state).pin
        if self._advertised is not None:
            return TrackerAddress(self._advertised.host, self._advertised.port or self.port, pin)
        return TrackerAddress(self._reachable() or LOOPBACK, self.port, pin)
