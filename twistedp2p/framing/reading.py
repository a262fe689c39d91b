"""Frames out of bytes: whatever the pieces in which they come, and only as fast as they are wanted.

A frame is a length of four bytes (big-endian) and that many bytes (`Int32StringReceiver`). One that does not come whole
is put together where it stays, see `LongFrame`.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.long_frame import LongFrame
from twistedp2p.framing.output import PREFIX

__all__ = ["FrameReader"]


class FrameReader(Int32StringReceiver):
    """The way in of one connection; subclasses take its frames, and say when nothing counts any more.

    Args:
        clock: tells the time.
        frame_bytes: how long a frame may be; `MAX_LENGTH` may be set anew.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, frame_bytes: int) -> None:
        self.clock = clock
        self.MAX_LENGTH = frame_bytes
        self.heard_at = 0.0
        """When bytes came last, by the clock: a sign of life, also from within a frame, which may take minutes."""
        self._incomplete = 0
        self._frames = 0
        self._received = 0
        self._parsing = False
        self._held = 0
        self._long = LongFrame()
        self._window = (0, 0)
        self._too_slow = Alarm(clock, self._check_rate)

    # -- for subclasses to override ------------------------------------------

    @property
    def _deaf(self) -> bool:
        """Whether nothing counts any more that arrives."""
        raise NotImplementedError

    def frame_received(self, frame: bytes | memoryview) -> None:
        """A frame arrived, without its length; never called while reading is held, or if nothing counts any more."""
        raise NotImplementedError

    def abort(self, reason: str) -> None:
        """Drop the connection at once."""
        raise NotImplementedError

    # -- what the conversation calls -----------------------------------------

    def hold_reading(self, wait: Deferred[Any] | None) -> None:
        """Read nothing more until `wait` has fired; None is no wait. Its failure ends the connection, and is a bug."""
        if wait is None:
            return
        self._held += 1
        if not self.paused and not self._deaf:
            self.pauseProducing()

        def go_on(result: object) -> None:
            self._held -= 1
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure("What was received could not be taken in", failure=result)
                self.abort("an error on this side")
            elif not self._held and not self._deaf:
                self.resumeProducing()

        wait.addBoth(go_on)

    def stop_reading(self) -> None:
        """Nothing more is waited for."""
        self._too_slow.stop()

    # -- Twisted and our transport call these --------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take bytes unless the connection is closing."""
        if self._deaf:
            return
        self._count(len(data))
        self._take(data)

    def get_buffer(self) -> memoryview | None:
        """Return where the next bytes may be written without another copy; None if `dataReceived` shall have them.

        This and `buffer_updated` are what asyncio's `BufferedProtocol` calls so.
        """
        return None if self.paused or self._deaf else self._long.room()

    def buffer_updated(self, length: int) -> None:
        """So many bytes came and were written where `get_buffer` said."""
        self._count(length)
        self._long.filled(length)
        self._take(b"")

    def _count(self, length: int) -> None:
        self._received += length
        self._incomplete += length
        self.heard_at = self.clock.seconds()

    def _take(self, data: bytes) -> None:
        """Hand on the frames that are whole with these bytes, and put aside the beginning of one that is not."""
        self._parsing = True
        try:
            if self._long.is_begun:
                data = self._take_rest(data)
            if self._is_beginning(data):
                self._unprocessed = data
            elif data or self._unprocessed:
                super().dataReceived(data)
        finally:
            self._parsing = False
        if self._incomplete and not self._deaf:
            self._hold_back()

    def _take_rest(self, data: bytes) -> bytes:
        """Hand on the long frame, if it is whole with these bytes; return those that are still to be parsed."""
        data = self._long.take(data)
        frame = self._long.whole()
        if frame is not None and self.paused:
            return b"".join((frame, data))
        if frame is not None:
            self.stringReceived(frame[PREFIX:])
        return data

    def _is_beginning(self, data: bytes) -> bool:
        """Whether this is the beginning of one frame: then Twisted need not copy and look through it."""
        if self._unprocessed or len(data) < PREFIX:
            return False
        return len(data) - PREFIX < int.from_bytes(data[:PREFIX], "big") <= self.MAX_LENGTH

    def _hold_back(self) -> None:
        """Part of a frame is here: see that the rest comes, and put what is here aside until then."""
        if not self._too_slow.is_set:
            self._watch_rate()
        if len(self._unprocessed) >= PREFIX and not self.paused:
            begun, self._unprocessed = self._unprocessed, b""
            self._long.begin(begun)

    def resumeProducing(self) -> None:
        """Read on. Twisted's would read the same bytes again if a message that is being handed on asked for it."""
        if self._parsing:
            self.paused = False
            cast(IPushProducer, self.transport).resumeProducing()
        else:
            super().resumeProducing()

    def stringReceived(self, string: bytes | memoryview) -> None:
        """Count one frame and hand it on."""
        if self._deaf:
            return
        self._incomplete -= len(string) + PREFIX
        self._frames += 1
        self.frame_received(string)

    def lengthLimitExceeded(self, length: int) -> None:
        """Abort: the default would go on buffering for as long as the other side sends."""
        if not self._deaf:
            self.abort(f"a frame of {length} bytes was announced")

    # -- a rate that is too low ----------------------------------------------

    def _watch_rate(self) -> None:
        self._window = (self._received, self._frames)
        self._too_slow.set(limits.LOWEST_RATE_WINDOW)

    def _check_rate(self) -> None:
        """Abort if one and the same frame has been arriving too slowly; a frame that we delay is not blamed."""
        received, frames = self._window
        least = limits.LOWEST_RATE * limits.LOWEST_RATE_WINDOW
        if not self._incomplete:
            return
        if frames == self._frames and self._received - received < least and not self.paused:
            self.abort("a frame arrived too slowly")
        else:
            self._watch_rate()
