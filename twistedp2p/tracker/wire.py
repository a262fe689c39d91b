"""The conversation between a peer and a tracker as bytes."""

from __future__ import annotations

from twistedp2p.messages.tracker import TRACKER_TYPES
from twistedp2p.wire import Codec

__all__ = ["TRACKER"]

TRACKER = Codec(TRACKER_TYPES)
