"""A frame that comes in pieces: its bytes are put where they stay, and not copied again when the last is here."""

from __future__ import annotations

from twistedp2p.framing.output import PREFIX
from twistedp2p.framing.records import RECORD_BYTES, new_buffer

__all__ = ["LongFrame"]

_LONG = 2 * RECORD_BYTES
"""After a frame longer than this, another as long is expected: in a long transfer nearly all have one length."""


class LongFrame:
    """The frame of one connection that is not here as a whole, if there is one; its prefix counts with it."""

    def __init__(self) -> None:
        self._buffer: memoryview | None = None
        self._filled = 0
        self._expected = 0
        self._is_guess = False

    @property
    def is_begun(self) -> bool:
        """Whether a part of a frame is here."""
        return self._filled > 0

    def begin(self, start: bytes) -> None:
        """Begin a frame; `start` has its prefix at least."""
        self._buffer = new_buffer(PREFIX + int.from_bytes(start[:PREFIX], "big"))
        self._is_guess = False
        self.take(start)

    def take(self, data: bytes) -> bytes:
        """Put bytes at the end of what is here; return those of them that are behind the frame."""
        assert self._buffer is not None
        room = len(self._buffer) - self._filled
        fitting = data if len(data) <= room else data[:room]
        self._buffer[self._filled : self._filled + len(fitting)] = fitting
        self._filled += len(fitting)
        return data[room:]

    def room(self, *, at_start: bool) -> memoryview | None:
        """Return where the next bytes of the frame may be written; `filled` is called then.

        `at_start`: the next byte that comes is the first of a frame. None if no frame is begun or expected.
        """
        if self._buffer is None:
            if not at_start or not self._expected:
                return None
            self._buffer = new_buffer(self._expected)
            self._is_guess = True
        return self._buffer[self._filled :]

    def filled(self, length: int) -> bytes:
        """So many bytes were written to the `room`; return those that are not of a frame of the length expected."""
        assert self._buffer is not None
        self._filled += length
        if self._is_guess:
            self._is_guess = False
            announced = int.from_bytes(self._buffer[:PREFIX], "big")
            if self._filled < PREFIX or PREFIX + announced != len(self._buffer):
                other = bytes(self._buffer[: self._filled])
                self._buffer, self._filled, self._expected = None, 0, 0
                return other
        return b""

    def whole(self) -> memoryview | None:
        """Return the frame, and forget it; None if some of it is missing."""
        frame = self._buffer
        if frame is None or self._filled < len(frame):
            return None
        self._expected = len(frame) if len(frame) > _LONG else 0
        self._buffer, self._filled = None, 0
        return frame
