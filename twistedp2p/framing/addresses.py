"""Addresses of this machine: which one other machines can reach it by, and how a person names another.

No packet is sent to find out: a UDP socket that is connected only asks the system which way it would go.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

from twistedp2p.errors import BadAddress

__all__ = ["Advertised", "candidates", "own_address"]

# Networks kept for documentation (RFC 5737, RFC 3849): every route to the world leads there, and no host is.
_AWAY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface, netdevice(7)


@frozen
class Advertised:
    """How others are told to reach a listener: what ``--advertise HOST[:PORT]`` says."""

    host: str
    """A host name, or an IPv4 or IPv6 address without brackets."""
    port: int | None = None
    """The port that others dial, if a router forwards another one than is listened on."""

    @classmethod
    def parse(cls, text: str) -> Advertised:
        """Return what `text`, HOST or HOST:PORT, says; raises `BadAddress`. IPv6 may do without brackets."""
        text = text.strip()
        with contextlib.suppress(ValueError):
            return cls(str(IPv6Address(text)))
        host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
        if not colon:
            host, port = text, ""
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        port_is_good = not colon or (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535)
        if not host or not port_is_good or (":" in host) != bracketed or any(c in "[],/ @" for c in host):
            raise BadAddress(f"{text[:80]!r} is not an address. Write HOST or HOST:PORT, with IPv6 in brackets.")
        return cls(host, int(port) if port else None)


def own_address(found: Iterable[str] | None = None) -> str | None:
    """Return the address by which other machines most likely reach this one; None if it has only loopback.

    `found` are the addresses to choose from, best first; by default those of this machine (`candidates`).
    """
    for text in candidates() if found is None else found:
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast):
            return text
    return None


def candidates(towards: Callable[[int, str], str] | None = None) -> Iterator[str]:
    """Yield addresses of this machine: first those it would send from into the world, then any others.

    `towards` returns the address from which a packet of a family to an address would leave, or raises OSError.
    """
    for family, away in _AWAY:
        with contextlib.suppress(OSError):
            yield (towards or _source_towards)(family, away)
    with contextlib.suppress(OSError):  # no more open files: what is known of this machine is little then
        yield from _of_interfaces()


def _source_towards(family: int, away: str) -> str:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((away, 9))
        return str(probe.getsockname()[0])


def _of_interfaces() -> Iterator[str]:
    """Yield the IPv4 address of each interface: a network of two machines needs no route to the world."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                yield str(IPv4Address(answer[20:24]))
