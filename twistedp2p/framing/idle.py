"""Noticing that nothing is done on a connection any more."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from twistedp2p.framing.alarm import Alarm

__all__ = ["Idle"]


class Idle:
    """Watches one connection, from `start` to `stop`.

    Args:
        clock: tells the time.
        seconds: for which nothing must be done; 0 for never.
        busy: whether anything is under way: then it is not idle, however long that takes.
        ring: called once, with the seconds for which nothing was done.
    """

    def __init__(
        self, clock: IReactorTime, seconds: float, *, busy: Callable[[], bool], ring: Callable[[float], object]
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._busy = busy
        self._ring = ring
        self._since = 0.0
        self._alarm = Alarm(clock, self._look)

    def start(self) -> None:
        """Begin to watch."""
        self.moved()
        if self._seconds:
            self._alarm.set(self._seconds)

    def moved(self) -> None:
        """Note that something begins, or has ended."""
        self._since = self._clock.seconds()

    def stop(self) -> None:
        """Watch no more."""
        self._alarm.stop()

    def _look(self) -> None:
        quiet = self._clock.seconds() - self._since
        if self._busy():
            self._alarm.set(self._seconds)
        elif quiet < self._seconds:
            self._alarm.set(self._seconds - quiet)
        else:
            self._ring(quiet)
