"""Where a peer listens, and where others reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError

from twistedp2p.errors import TwistedP2PError
from twistedp2p.framing.addresses import Advertised, own_address
from twistedp2p.limits import ADDRESSES, BACKLOG
from twistedp2p.messages.tracker import Address
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.member import Member

__all__ = ["listen"]


async def listen(peer: Peer, member: Member, *, port_is_trackers: bool) -> Callable[[], list[Address]]:
    """Listen on the endpoints that were chosen, else on the port that was kept, else on a free one.

    `port_is_trackers`: a port that is advertised is that of the tracker in this process, not of the peer. Returns what
    tells where others reach this peer at the moment; raises `TwistedP2PError` if a port is taken.
    """
    chosen = member.options.listen
    kept = member.setting("peer_port")
    free = [(_anywhere(port),) for port in (kept, 0) if isinstance(port, int)]
    attempts = [chosen] if chosen else free
    for attempt in attempts:
        try:
            ports = await peer.listen(attempt)
            break
        except CannotListenError as error:
            if attempt is attempts[-1]:
                raise TwistedP2PError(
                    f"Port {error.port} can not be listened on ({error.socketError}): "
                    "another program has it; choose another one with --listen."
                ) from None
    hosts = [host for host in (port.getHost() for port in ports) if isinstance(host, (IPv4Address, IPv6Address))]
    if hosts and not chosen and member.unwritable is None:
        member.keep_setting("peer_port", hosts[0].port)
    advertise = member.options.advertise
    _reachable_at(hosts, advertise, port_is_trackers)  # raises if the options can not be met
    return lambda: _reachable_at(hosts, advertise, port_is_trackers)


def _reachable_at(
    hosts: Sequence[IPv4Address | IPv6Address], advertise: str | None, port_is_trackers: bool
) -> list[Address]:
    """Return where others reach this peer; the tracker adds the address that it sees this peer at."""
    if advertise is not None:
        advertised = Advertised.parse(advertise)
        port = None if port_is_trackers else advertised.port
        if port is None and not hosts:
            raise TwistedP2PError("--advertise needs a port: this peer listens on no TCP port itself.")
        return [Address(advertised.host, port or hosts[0].port)]
    found = []
    for host in hosts:
        everywhere = ip_address(host.host).is_unspecified
        found.append(Address((own_address() or "127.0.0.1") if everywhere else host.host, host.port))
    return found[:ADDRESSES]


def _anywhere(port: int) -> str:
    """Return the endpoint description of a TCP port on all interfaces."""
    return f"tcp:{port}:backlog={BACKLOG}"
