"""What an echo server counts."""

from __future__ import annotations

from attrs import define, field

__all__ = ["Counters"]


@define(eq=False)
class Counters:
    """Counts since the start; bytes are those that were sent back, or wait for their reader."""

    now: int = 0
    """Connections that are being served."""
    most: int = 0
    """The most that were at once."""
    came: int = 0
    """Connections that were served, or are."""
    waited: int = 0
    """Callers that waited for a place."""
    turned_away: int = 0
    """Callers for whom there was no room."""
    idle: int = 0
    """Connections that were closed because nothing moved on them."""
    lost: int = 0
    """Connections that ended otherwise than by a close: the client, or the network, broke them off."""
    bytes: int = 0
    datagrams: int = 0
    datagram_bytes: int = 0
    unanswered: int = 0
    """Datagrams that were not sent back."""
    without_udp: bool = field(default=True, kw_only=True)

    def sentence(self) -> str:
        """Return all of it in one line, for the log."""
        text = (
            f"{self.now:,} connections now, {self.most:,} at most, {self.came:,} in all; {self.waited:,} waited, "
            f"{self.turned_away:,} turned away, {self.idle:,} closed when idle, {self.lost:,} broken off; "
            f"{self.bytes:,} bytes echoed"
        )
        if self.without_udp:
            return f"{text}."
        return (
            f"{text}; UDP: {self.datagrams:,} datagrams and {self.datagram_bytes:,} bytes echoed, "
            f"{self.unanswered:,} not answered."
        )
