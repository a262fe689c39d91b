"""How much is asked for ahead, or sent at a time: enough for the way to be busy, and little more.

What is asked for and not stored is what a new priority waits for, what memory holds, and what a killed download asks
for again. So it follows the way: what that brings within some round trips, and within some seconds if it is slow.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from twistedp2p import limits

__all__ = ["Pieces", "Window"]

_ROUND_TRIPS = 4
"""A way brings this many round trips' worth before more is asked for ..."""
_PAUSE = (0.001, 0.05)
"""... and what it brings in the pauses of threads and disks, seconds: so long at least once there was one, at most."""
_LONGER, _SHORTER = 2.0, 0.96
"""By how much longer such pauses are thought to be when the way was idle, and how much shorter when it was not ..."""
_FAST, _SHORTER_IF_FAST = 160 * 1024 * 1024, 0.999
"""... and so much if it brings this many bytes per second, hence lies within one machine, or nearly so: processors that
are busy with both ends are late again and again, though the way is seldom idle for it."""
_SECONDS = 8.0
"""Over a slow way, as much as it brings in this time."""
_LEAST = 4 * limits.DATA_SENT_BYTES
_ENOUGH = 3 * limits.FILE_DATA_SENT_BYTES
"""More than this is asked for only because of round trips and pauses; it is less than the longest chunk of a share's
file of 1 GiB."""
_SAMPLE = 0.02
"""A rate is measured over at least this time, seconds, or over a round trip ..."""
_FIRST_SAMPLE = 0.002
"""... and the first one over this, so that a fast way is soon known to be one."""
_SAMPLES = 3
"""Before so many it is the beginning, when little is asked for anyway."""
_FADING = 0.8
"""A rate that is lower than the last one counts for as much less."""


class Window:
    """What is asked for and not stored, and how much of it there may be.

    Args:
        clock: tells the time.
        most: bytes, whatever the way may bring.
    """

    def __init__(self, clock: IReactorTime, most: int = limits.CONNECTION_BYTES_IN_FLIGHT) -> None:
        self._clock = clock
        self._most = most
        self.under_way = 0
        """Bytes that are asked for and not stored."""
        self.unanswered = 0
        """Requests that are not answered."""
        self.storing = 0
        """Files, and batches of small ones, that are being written."""
        self._round_trip = float("inf")
        self._rate = 0.0
        self._since = 0.0
        self._came = 0
        self._samples = 0
        self._pause = 0.0
        self._busy = float("-inf")
        """When something was answered or stored."""

    @property
    def bytes(self) -> int:
        """How many bytes may be asked for and not stored."""
        if not self._rate or self._round_trip == float("inf"):
            return min(_LEAST, self._most)
        slow = min(max(_LEAST, self._rate * _SECONDS), _ENOUGH)
        ahead = self._rate * (self._round_trip * _ROUND_TRIPS + self._pause)
        return int(min(max(slow, ahead), self._most))

    @property
    def range_bytes(self) -> int:
        """How many bytes are asked for at a time: a third, as whole frames of whole TLS records."""
        frames = self.bytes // (3 * limits.FILE_DATA_SENT_BYTES)
        if not frames:
            return limits.DATA_SENT_BYTES
        return min(frames * limits.FILE_DATA_SENT_BYTES, limits.DOWNLOAD_RANGE)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be asked for now.

        If everything was answered and nothing is being stored, something may always be: what came waits for what did
        not.
        """
        return self.under_way + self.range_bytes > self.bytes and bool(self.unanswered or self.storing)

    def reconnected(self) -> None:
        """There is another connection, and its way may be another one."""
        self._round_trip, self._rate, self._samples, self._pause = float("inf"), 0.0, 0, 0.0

    def asked(self, length: int) -> None:
        """So many bytes were asked for."""
        now = self._clock.seconds()
        if not self.unanswered and now - self._busy > _SAMPLE:
            self._since, self._came = now, 0  # nothing was wanted, and that is not the way's fault
        self.under_way += length
        self.unanswered += 1

    def began(self, seconds: float) -> None:
        """The first bytes of a range came so many seconds after they were asked for."""
        self._round_trip = min(self._round_trip, seconds)

    def answered(self, length: int, *, more: bool) -> None:
        """A request was answered, or failed, after so many bytes; `more`: there is more to ask for."""
        self.unanswered -= 1
        if self.unanswered or not more:
            self._pause *= _SHORTER_IF_FAST if self._rate > _FAST else _SHORTER
        elif self._samples >= _SAMPLES:
            # The way is idle by now, only because too little was asked for.
            self._pause = min(max(self._pause * _LONGER, _PAUSE[0]), _PAUSE[1])
        self._busy = now = self._clock.seconds()
        self._came += length
        seconds = now - self._since
        if seconds >= max(_SAMPLE if self._rate else _FIRST_SAMPLE, self._round_trip):
            self._rate = max(self._came / seconds, self._rate * _FADING)
            self._samples += 1
            self._since, self._came = now, 0

    def stored(self, length: int) -> None:
        """So many bytes that were asked for are stored, or are not wanted any more."""
        self.under_way -= length
        self._busy = self._clock.seconds()


_PIECES = (limits.DATA_SENT_BYTES, *(frames * limits.FILE_DATA_SENT_BYTES for frames in (1, 2, 4)))
_SOON = 0.25
_LATE = 1.0


class Pieces:
    """How much of a file is sent at a time: as much as the way takes within a quarter of a second to a second.

    A new priority waits for one piece, and so does the progress that is shown.
    """

    def __init__(self) -> None:
        self._step = 0

    @property
    def bytes(self) -> int:
        """How many bytes are sent at a time, as whole frames of whole TLS records."""
        return _PIECES[self._step]

    def took(self, seconds: float) -> None:
        """The way took a piece after so many seconds."""
        if seconds < _SOON:
            self._step = min(self._step + 1, len(_PIECES) - 1)
        elif seconds > _LATE:
            self._step = max(self._step - 1, 0)
