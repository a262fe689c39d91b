"""A frame that comes in pieces: its bytes are put where they stay, and not copied again when the last is here."""

from __future__ import annotations

from twistedp2p.framing.output import PREFIX
from twistedp2p.framing.records import new_buffer

__all__ = ["LongFrame"]


class LongFrame:
    """The frame of one connection that is not here as a whole, if there is one; its prefix counts with it."""

    def __init__(self) -> None:
        self._buffer: memoryview | None = None
        self._filled = 0

    @property
    def is_begun(self) -> bool:
        """Whether a part of a frame is here."""
        return self._buffer is not None

    def begin(self, start: bytes) -> None:
        """Begin a frame; `start` has its prefix at least, and not all of it."""
        self._buffer = new_buffer(PREFIX + int.from_bytes(start[:PREFIX], "big"))
        self._filled = 0
        self.take(start)

    def take(self, data: bytes) -> bytes:
        """Put bytes at the end of what is here; return those of them that are behind the frame."""
        assert self._buffer is not None
        room = len(self._buffer) - self._filled
        fitting = data if len(data) <= room else data[:room]
        self._buffer[self._filled : self._filled + len(fitting)] = fitting
        self._filled += len(fitting)
        return data[room:]

    def room(self) -> memoryview | None:
        """Return where the next bytes of the frame may be written, `filled` is called then; None if there is none."""
        return None if self._buffer is None else self._buffer[self._filled :]

    def filled(self, length: int) -> None:
        """So many bytes were written to the `room`."""
        self._filled += length

    def whole(self) -> memoryview | None:
        """Return the frame, and forget it; None if some of it is missing."""
        frame = self._buffer
        if frame is None or self._filled < len(frame):
            return None
        self._buffer = None
        return frame
