"""What a run against an echo server measured: round trips, throughput, losses."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from attrs import define, field

__all__ = ["RoundTrips", "Tally"]

_STEPS = 100
"""Steps for each factor of e: a percentile is off by 1 % at most, whatever the number of messages."""


class RoundTrips:
    """Times of round trips, in seconds, counted in steps of 1 %: millions of them take little memory."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0.0
        self._least = math.inf
        self._steps: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one."""
        seconds = max(seconds, 1e-9)  # a clock may stand still
        self.count += 1
        self.most = max(self.most, seconds)
        self._least = min(self._least, seconds)
        self._steps[math.floor(math.log(seconds) * _STEPS)] += 1

    def percentile(self, part: float) -> float | None:
        """Return the time that `part` (0 to 1) of them did not exceed; None without any."""
        wanted = max(1, math.ceil(self.count * part))
        passed = 0
        for step in sorted(self._steps):
            passed += self._steps[step]
            if passed >= wanted:
                return max(self._least, min(self.most, math.exp((step + 1) / _STEPS)))
        return None


@define(eq=False)
class Tally:
    """One run. Messages are those of all connections; a message that was never sent because its connection failed or
    ended is lost too."""

    connections: int
    messages: int
    """That were to be sent."""
    size: int
    """Bytes of each."""
    opened: int = 0
    opening: float = 0.0
    """Seconds until all connections were open, or had failed."""
    troubles: Counter[str] = field(factory=Counter)
    """Why connections failed, or ended before their time, and how many."""
    sent: int = 0
    back: int = 0
    damaged: int = 0
    """Messages that came back changed, and bytes that nobody sent."""
    first_damage: str = ""
    """Where the first of them was."""
    doubled: int = 0
    """Datagrams that came back more than once, or after they were taken for lost."""
    seconds: float = 0.0
    """From the first message to the end of the last connection."""
    round_trips: RoundTrips = field(factory=RoundTrips)

    @property
    def lost(self) -> int:
        """Messages that did not come back."""
        return max(0, self.messages - self.back - self.damaged)

    def damage(self, connection: int, message: int, byte: int) -> None:
        """Count a message that came back changed."""
        self.damaged += 1
        self.first_damage = self.first_damage or f"connection {connection}, message {message}, byte {byte}"

    def rate(self, messages: int) -> float:
        """Return so many messages as messages a second."""
        return messages / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return all of it for ``--json``: times in seconds, sizes in bytes."""
        trips = self.round_trips
        return {
            "connections": {
                "wanted": self.connections,
                "opened": self.opened,
                "seconds": self.opening,
                "troubles": dict(self.troubles),
            },
            "messages": {
                "wanted": self.messages,
                "size": self.size,
                "sent": self.sent,
                "back": self.back,
                "lost": self.lost,
                "damaged": self.damaged,
                "first_damage": self.first_damage or None,
                "doubled": self.doubled,
            },
            "round_trip": {
                "p50": trips.percentile(0.5),
                "p90": trips.percentile(0.9),
                "p99": trips.percentile(0.99),
                "max": trips.most if trips.count else None,
            },
            "seconds": self.seconds,
            "messages_per_second": self.rate(self.back),
            "bytes_out_per_second": self.rate(self.sent) * self.size,
            "bytes_back_per_second": self.rate(self.back) * self.size,
        }
