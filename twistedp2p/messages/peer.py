"""The conversation between two peers; docs/protocol.md tells it."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from twistedp2p import limits
from twistedp2p.messages.common import (
    Cancel,
    Data,
    Done,
    Failed,
    Goodbye,
    Hash,
    Ping,
    Pong,
    Priority,
    Proof,
    Refused,
    Request,
    Text,
    Versions,
)

__all__ = ["PEER_TYPES", "GetContents", "GetManifest", "GetRange", "Missing", "PeerHello"]


@frozen
class PeerHello:
    """Both ways, first, the dialler first: the proof of membership, and who I am."""

    proof: Proof
    name: Text
    versions: Versions


@frozen
class GetContents:
    """Send me these small contents; each comes as one `Data`, or as `Missing`, in this order; then `Done`."""

    request: Request
    contents: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=limits.SMALL_CONTENTS_PER_REQUEST)]
    priority: Priority = 0


@frozen
class GetManifest:
    """Send me the manifest of this id, as `Data` frames, then `Done`."""

    request: Request
    manifest: Hash
    priority: Priority = 0


@frozen
class GetRange:
    """Send me these bytes of a content, as `Data` frames in order, then `Done`."""

    request: Request
    content: Hash
    offset: Annotated[int, Meta(ge=0, le=limits.SIZE_CAP)]
    length: Annotated[int, Meta(ge=1, le=limits.RANGE_BYTES)]
    priority: Priority = 0


@frozen
class Missing:
    """This one of the small contents asked for is not held here."""

    request: Request
    content: Hash


PEER_TYPES: dict[int, type] = {
    33: PeerHello,
    34: GetContents,
    35: GetManifest,
    36: GetRange,
    37: Missing,
    38: Done,
    39: Failed,
    40: Cancel,
    41: Data,
    42: Ping,
    43: Pong,
    44: Goodbye,
    45: Refused,
}
