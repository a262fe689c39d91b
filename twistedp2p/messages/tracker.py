"""The conversation between a peer and a tracker; docs/protocol.md tells it."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from twistedp2p import limits
from twistedp2p.messages.common import (
    Goodbye,
    Key,
    Keys,
    Moment,
    NodeId,
    Number,
    Ping,
    Pong,
    Port,
    Proof,
    Ranges,
    Refused,
    Seconds,
    Text,
    Versions,
)

__all__ = [
    "TRACKER_TYPES",
    "Address",
    "Alive",
    "Announce",
    "Announced",
    "Blobs",
    "Delta",
    "DialMe",
    "Entry",
    "Hello",
    "Holders",
    "HoldersOf",
    "KeepAlive",
    "Need",
    "PeerInfo",
    "Peers",
    "SetDigest",
    "Welcome",
    "WhoHolds",
]


@frozen
class Address:
    """Where a node can be reached: a host name or IP address, and a TCP port."""

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Port


@frozen
class SetDigest:
    """How many items a set has, and the sum of their keys modulo 2**128: equal sets give equal digests."""

    count: Number = 0
    sum: Key = bytes(16)


@frozen
class Hello:
    """Peer to tracker, first: who I am, where I listen, and how far I have read the share's log.

    `nonce` is new at each start of the process. `epoch` is empty and `cursor` 0 if nothing was read yet.
    `known` and `held` say what is in my index, before anything is announced.
    """

    proof: Proof
    nonce: Key
    name: Text
    versions: Versions
    addresses: Annotated[tuple[Address, ...], Meta(max_length=limits.ADDRESSES)]
    epoch: Annotated[bytes, Meta(max_length=16)]
    cursor: Number
    known: SetDigest
    held: SetDigest


@frozen
class Welcome:
    """Tracker to peer: the answer to a valid `Hello`.

    `member` is the number by which this session is named to others; `seen` the address it was seen at.
    `target` is the cursor to reach before anything may be announced. `last_applied` counts only batches
    of this start nonce. `same`: the set that you know is the whole log, so you are at `target` already. `time` is what
    the tracker's clock says, None if it does not tell.
    """

    member: Number
    seen: Annotated[str, Meta(max_length=255)]
    keepalive: Seconds
    expiry: Seconds
    epoch: Key
    target: Number
    last_applied: Number
    same: bool
    time: Moment | None = None


@frozen
class Announce:
    """Peer to tracker: (a piece of) an atomic, numbered batch of what I now know and hold.

    Items whose number I have travel as ranges, others by key; a full batch replaces all that was said before,
    and may consist of `reference` alone: (known, held) digests of a set that the tracker has already.
    `gone` items are known no more (another item took their place). The piece with `last` ends the batch.
    """

    batch: Number
    full: bool
    last: bool
    known: Ranges = ()
    held: Ranges = ()
    gone: Ranges = ()
    known_keys: Keys = ()
    held_keys: Keys = ()
    gone_keys: Keys = ()
    reference: tuple[SetDigest, SetDigest] | None = None


@frozen
class Need:
    """Tracker to peer: send me these sealed records of that batch; `everything`: I can not resolve your reference."""

    batch: Number
    last: bool
    keys: Keys = ()
    everything: bool = False


@frozen
class Blobs:
    """Peer to tracker: the sealed records that were needed, in the order asked for."""

    batch: Number
    last: bool
    blobs: Annotated[
        tuple[Annotated[bytes, Meta(max_length=limits.RECORD_BYTES)], ...], Meta(max_length=limits.LIST_ITEMS)
    ]


@frozen
class Announced:
    """Tracker to peer: the batch is applied; `numbers` are those of its items by key, sorted by key.

    Several pieces if they are many; the one with `last` acknowledges.
    """

    batch: Number
    last: bool
    numbers: Ranges = ()


@frozen
class PeerInfo:
    """A live member, as the tracker lists it."""

    member: Number
    node: NodeId
    name: Text
    versions: Versions
    addresses: Annotated[tuple[Address, ...], Meta(max_length=limits.ADDRESSES + 1)]


@frozen
class Peers:
    """Tracker to peer: members that came up (or changed) and member numbers that are gone."""

    up: Annotated[tuple[PeerInfo, ...], Meta(max_length=limits.PEERS_PER_SHARE)] = ()
    down: Annotated[tuple[Number, ...], Meta(max_length=limits.PEERS_PER_SHARE)] = ()


@frozen
class Entry:
    """One item of a delta: its number, the sealed record, and some members that hold it."""

    number: Number
    blob: Annotated[bytes, Meta(max_length=limits.RECORD_BYTES)]
    holders: Annotated[tuple[Number, ...], Meta(max_length=16)] = ()


@frozen
class Delta:
    """Tracker to peer: (a piece of) all items between my cursor and `end`, read at one instant."""

    end: Number
    last: bool
    entries: Annotated[tuple[Entry, ...], Meta(max_length=limits.LIST_ITEMS)] = ()


@frozen
class Holders:
    """Tracker to peer: this member now holds these items, and holds those no more."""

    member: Number
    held: Ranges = ()
    lost: Ranges = ()


@frozen
class WhoHolds:
    """Peer to tracker: name the members that hold these items."""

    numbers: Ranges


@frozen
class HoldersOf:
    """Tracker to peer: the answer to `WhoHolds`: (item number, members that hold it, members that know it)."""

    entries: Annotated[
        tuple[
            tuple[
                Number,
                Annotated[tuple[Number, ...], Meta(max_length=64)],
                Annotated[tuple[Number, ...], Meta(max_length=64)],
            ],
            ...,
        ],
        Meta(max_length=limits.LIST_ITEMS),
    ]


@frozen
class KeepAlive:
    """Peer to tracker, when nothing else was said: I live; this is what I have announced."""

    known: SetDigest
    held: SetDigest


@frozen
class Alive:
    """Tracker to peer: you are listed; not `same`: what I have of you differs, announce in full."""

    same: bool


@frozen
class DialMe:
    """Peer to tracker: let this member dial me, I can not reach it. Tracker to peer: this member asks you to dial it.

    A notice: whoever does not know it skips it. The one who is asked finds the addresses in its own listing.
    """

    member: Number


TRACKER_TYPES: dict[int, type] = {
    1: Hello,
    2: Welcome,
    3: Announce,
    4: Need,
    5: Blobs,
    6: Announced,
    7: Peers,
    8: Delta,
    9: Holders,
    10: WhoHolds,
    11: HoldersOf,
    12: KeepAlive,
    13: Alive,
    14: Ping,
    15: Pong,
    16: Goodbye,
    17: Refused,
    128: DialMe,
}
