"""What members are told, cut into messages that fit a frame; and the addresses under which they are listed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from twistedp2p import limits
from twistedp2p.framing.admission import is_local
from twistedp2p.messages.tracker import Address, Delta, Holders, HoldersOf, PeerInfo, Peers
from twistedp2p.tracker.registry import HoldersEntry, WholeDelta
from twistedp2p.wire import pack, pieces

__all__ = ["delta_messages", "holders_messages", "holders_of_messages", "listed_addresses", "peers_messages"]

_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with, not listened on
_ENTRY_SIZE = 200
"""Bytes of an entry of a delta beside the record: names of fields, numbers, sixteen holders."""
_RANGE_SIZE = 20
_PEER_SIZE = 2500
"""A peer with its longest name and addresses."""
_DOWN_SIZE = 64
_NUMBER_SIZE = 9


def listed_addresses(said: tuple[Address, ...], seen: str, advertise: str | None) -> tuple[Address, ...]:
    """Return where a member is listed, best first, given what it said, where it is `seen`, and the tracker's host.

    Every port that it listens on is listed at the address that it is seen at. A member on this machine is listed
    under the host by which others reach this machine too. 0.0.0.0 and :: stand for wherever it is seen.
    """
    hosts = [seen] if seen else []
    if is_local(seen) and advertise:
        hosts.insert(0, advertise)
    ports = dict.fromkeys(address.port for address in said)
    found = [Address(host, port) for host in hosts for port in ports]
    found += [address for address in said if address.host not in _ANYWHERE]
    return tuple(dict.fromkeys(found))[: limits.ADDRESSES + 1]


def peers_messages(up: Collection[PeerInfo], down: Collection[int]) -> Iterator[Peers]:
    """Yield the messages that say who came up and who is gone; nothing if nobody did."""
    for piece in pack({"up": up, "down": down}, {"up": lambda _: _PEER_SIZE, "down": lambda _: _DOWN_SIZE}):
        yield Peers(**piece)


def delta_messages(delta: WholeDelta) -> Iterator[Delta]:
    """Yield the pieces of a whole delta; one, if it is empty, as the cursor moves all the same."""
    before: tuple[Any, ...] = ()
    for piece in pieces(delta.entries, lambda entry: len(entry.blob) + _ENTRY_SIZE):
        if before:
            yield Delta(delta.end, False, before)
        before = tuple(piece)
    yield Delta(delta.end, True, before)


def holders_messages(news: Iterable[Holders]) -> Iterator[Holders]:
    """Yield who holds what, in messages that fit."""
    sizes = {"held": lambda _: _RANGE_SIZE, "lost": lambda _: _RANGE_SIZE}
    for one in news:
        for piece in pack({"held": one.held, "lost": one.lost}, sizes):
            yield Holders(one.member, **piece)


def holders_of_messages(answers: Iterable[HoldersEntry]) -> Iterator[HoldersOf]:
    """Yield the answers to one `WhoHolds`, taken from `answers` as they are sent."""
    for piece in pieces(answers, lambda entry: 16 + _NUMBER_SIZE * (len(entry[1]) + len(entry[2]))):
        yield HoldersOf(tuple(piece))
