"""The conversation between two peers as bytes."""

from __future__ import annotations

from twistedp2p.messages.peer import PEER_TYPES
from twistedp2p.wire import Codec

__all__ = ["PEER"]

PEER = Codec(PEER_TYPES)
