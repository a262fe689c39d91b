"""A deadline that can be set, moved and called off; a connection has several."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Alarm"]


class Alarm:
    """Calls `ring` once, some seconds after it was last set, unless it is stopped before."""

    def __init__(self, clock: IReactorTime, ring: Callable[[], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._call: IDelayedCall | None = None

    @property
    def is_set(self) -> bool:
        """Whether it is going to ring."""
        return self._call is not None

    def set(self, seconds: float) -> None:
        """Ring in `seconds` from now, whatever was set before."""
        self.stop()
        self._call = self._clock.callLater(seconds, self._ringing)

    def stop(self) -> None:
        """Do not ring; harmless if it was not set."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ringing(self) -> None:
        self._call = None
        self._ring()
