"""What every conversation has: the proof of membership, replies, signs of life, and the fields of messages."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from twistedp2p import limits

__all__ = [
    "Cancel",
    "Data",
    "Done",
    "Failed",
    "Goodbye",
    "Hash",
    "Key",
    "Keys",
    "Moment",
    "NodeId",
    "Number",
    "Ping",
    "Pong",
    "Port",
    "Priority",
    "Proof",
    "Ranges",
    "Refused",
    "Request",
    "Seconds",
    "Sentence",
    "Text",
    "Versions",
]

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A cursor, an item number, a batch number or a count."""
Request = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""The number by which a request and its replies belong together, chosen by the side that asks."""
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key = Annotated[bytes, Meta(min_length=16, max_length=16)]
NodeId = Annotated[bytes, Meta(min_length=20, max_length=20)]
Text = Annotated[str, Meta(max_length=limits.NAME_CHARS)]
Sentence = Annotated[str, Meta(max_length=limits.SENTENCE_CHARS)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0.01, le=86400.0)]
Moment = Annotated[float, Meta(ge=0.0, le=1e12)]
"""Seconds since 1970."""
Ranges = Annotated[tuple[tuple[Number, Number], ...], Meta(max_length=limits.LIST_ITEMS)]
"""Item numbers as (first, count) pairs."""
Keys = Annotated[tuple[Key, ...], Meta(max_length=limits.LIST_ITEMS)]
Priority = Annotated[int, Meta(ge=0, le=limits.SIZE_CAP)]
"""How urgent a request is: a smaller number is answered sooner."""
Versions = Annotated[tuple[Annotated[int, Meta(ge=0, le=65535)], ...], Meta(max_length=16)]


@frozen
class Proof:
    """That the sender has the share's secret, bound to this very TLS connection (see `identity.proof`)."""

    share_id: NodeId
    member_public: Hash
    nonce: Key
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


@frozen
class Ping:
    """Are you still there? A tracker asks when another session has the same device key."""


@frozen
class Pong:
    """Yes, the answer to a ping."""


@frozen
class Goodbye:
    """I end this session on purpose; forget me now."""


@frozen
class Refused:
    """I close this connection, because; `code` is that of an error class."""

    code: Annotated[str, Meta(max_length=32)]
    text: Sentence


@frozen
class Done:
    """The reply to that request is complete."""

    request: Request


@frozen
class Failed:
    """There is no (further) reply to that request, because."""

    request: Request
    code: Annotated[str, Meta(max_length=32)]
    text: Sentence


@frozen
class Cancel:
    """I do not want the (rest of the) reply to that request."""

    request: Request


@frozen
class Data:
    """Raw bytes of a reply; on the wire a request number of four bytes and the bytes themselves, not MessagePack.

    What was decoded has a view of its frame: 64 KiB are not copied once more.
    """

    request: Request
    payload: bytes | memoryview
