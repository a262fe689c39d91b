"""Sending bytes of a reply at the pace of its reader: what is read ahead, what is sent, and how it is given up.

Each answer holds at most two pieces at a time, one that is being sent and one that is being read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from twistedp2p import limits
from twistedp2p.messages.common import Data

__all__ = ["Readable", "Stream", "data_of"]


class Readable(Protocol):
    """What can be read at any place."""

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Return these bytes."""


class Stream:
    """The way out of one connection.

    Args:
        send_stream: sends messages at the pace of the reader, see `FrameProtocol.send_stream`.
        data_bytes: content in each `Data`.
    """

    def __init__(
        self, send_stream: Callable[[Iterator[object]], Deferred[None]], data_bytes: int = limits.DATA_SENT_BYTES
    ) -> None:
        self._send_stream = send_stream
        self._data_bytes = data_bytes
        self.piece_bytes = limits.READ_BYTES // data_bytes * data_bytes
        """Bytes of a large content read in one go, as many as whole frames have: some 1 MiB."""
        self.sent = 0
        """Bytes of content that were sent."""

    async def send(self, messages: Iterator[object], reading: Deferred[Any] | None = None) -> None:
        """Send messages; if that is cancelled or the connection lost, send no more and forget what is being read."""
        wanted = True

        def while_wanted() -> Iterator[object]:
            for message in messages:
                if not wanted:
                    return
                yield message

        try:
            await self._send_stream(while_wanted())
        except BaseException:
            if reading is not None:
                reading.addErrback(lambda _: None)  # nobody waits for it any more
            raise
        finally:
            wanted = False

    async def send_range(self, request: int, opened: Readable, offset: int, length: int) -> None:
        """Send `length` bytes from `offset` on as `Data`; each read gives as many bytes as it was asked for."""
        end = offset + length
        reading = opened.read(offset, min(self.piece_bytes, end - offset))
        while offset < end:
            data = await reading
            assert data, "a read that gives less than it was asked for fails"
            offset += len(data)
            if offset < end:
                reading = opened.read(offset, min(self.piece_bytes, end - offset))
            await self.send(self.frames(request, data), reading if offset < end else None)

    def frames(self, request: int, data: bytes) -> Iterator[object]:
        """Yield `data` as `Data` messages, and count them as sent."""
        for message in data_of(request, data, self._data_bytes):
            self.sent += len(message.payload)
            yield message


def data_of(request: int, data: bytes, data_bytes: int) -> Iterator[Data]:
    """Yield `data` as `Data` messages of `data_bytes` each; nothing is copied."""
    view = memoryview(data)
    for offset in range(0, len(data), data_bytes):
        yield Data(request, view[offset : offset + data_bytes])
