"""How many may come in: connections counted in all and for each address, before and after their proof."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from twistedp2p import limits
from twistedp2p.errors import ConnectionFull

__all__ = ["Admission", "Ticket", "is_local"]


def is_local(host: str) -> bool:
    """Whether `host`, as a caller is seen, is this machine: loopback, or "" for a UNIX socket."""
    try:
        return not host or ip_address(host).is_loopback
    except ValueError:
        return False


class Admission:
    """Counts those who came in.

    Limits per address do not bind this machine's own callers: hundreds of peers may be tried out on one machine,
    and who runs programs here could take all its sockets anyway. The limits in all bind everybody.
    """

    def __init__(
        self,
        *,
        strangers: int = limits.STRANGERS,
        strangers_per_address: int = limits.STRANGERS_PER_ADDRESS,
        members: int = limits.CONNECTIONS,
        members_per_address: int = limits.MEMBERS_PER_ADDRESS,
    ) -> None:
        self._most_strangers = strangers
        self._strangers_per_address = strangers_per_address
        self._most_members = members
        self._members_per_address = members_per_address
        self._strangers: Counter[str] = Counter()
        self._members: Counter[str] = Counter()

    @property
    def strangers(self) -> int:
        """Connections that have not proved membership."""
        return self._strangers.total()

    @property
    def members(self) -> int:
        """Connections that have."""
        return self._members.total()

    def enter(self, address: IAddress) -> Ticket | None:
        """Count one caller; None if there are too many who have proved nothing: drop it without a word."""
        host = address.host if isinstance(address, (IPv4Address, IPv6Address)) else ""
        if self.strangers >= self._most_strangers:
            return None
        if not is_local(host) and self._strangers[host] >= self._strangers_per_address:
            return None
        return Ticket(host, self._strangers, self)

    def _room_for_member(self, host: str) -> None:
        if self.members >= self._most_members:
            raise ConnectionFull("There are as many connections as there may be; try again later.")
        if not is_local(host) and self._members[host] >= self._members_per_address:
            raise ConnectionFull("There are as many connections from your address as there may be; try again later.")


class Ticket:
    """One caller's place in the counts."""

    def __init__(self, host: str, counter: Counter[str], admission: Admission) -> None:
        self._host = host
        self._counter: Counter[str] | None = counter
        self._admission = admission
        counter[host] += 1

    def prove(self) -> None:
        """Count the caller as a member from now on; raises `ConnectionFull` if there are too many."""
        self._admission._room_for_member(self._host)
        self.leave()
        self._counter = self._admission._members
        self._counter[self._host] += 1

    def leave(self) -> None:
        """Count it no more; harmless if it left before."""
        if self._counter is not None:
            self._counter[self._host] -= 1
            if not self._counter[self._host]:
                del self._counter[self._host]
            self._counter = None
