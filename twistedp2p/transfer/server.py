"""Serving content to a peer: what it asks for is read in worker threads and sent at the pace at which it reads.

Knows no folder and no index: it asks a `ContentSource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from twistedp2p import limits
from twistedp2p.errors import NotHeld
from twistedp2p.messages.common import Data
from twistedp2p.messages.peer import GetContents, GetManifest, GetRange, Missing
from twistedp2p.transfer.stream import Stream

__all__ = ["ContentSource", "Contents", "OpenContent"]

_CONTENTS_AT_ONCE = 64
"""Small contents read in one go: 4 MiB at most."""


class OpenContent(Protocol):
    """A content that is being read."""

    size: int

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """Return these bytes; fails with `NotHeld` if the file is not what it was any more."""

    def close(self) -> None:
        """Let go of it; may be called while a read is under way, which then ends first."""


class ContentSource(Protocol):
    """What this node can serve; nothing blocks the reactor's thread."""

    def read_contents(self, contents: Sequence[bytes]) -> Deferred[list[bytes | None]]:
        """Return the bytes of small contents, None for each that is not held (any more)."""

    def open(self, content: bytes) -> Deferred[OpenContent]:
        """Open a content; fails with `NotHeld`."""

    def manifest(self, manifest: bytes) -> Deferred[bytes]:
        """Return an encoded manifest; fails with `NotHeld`."""


class Contents:
    """Answers the requests of one connection; each method returns when the reply has been written.

    Args:
        source: what can be served.
        send_stream: sends messages at the pace of the reader, see `FrameProtocol.send_stream`.
    """

    def __init__(self, source: ContentSource, send_stream: Callable[[Iterator[object]], Deferred[None]]) -> None:
        self._source = source
        self._stream = Stream(send_stream)

    @property
    def sent(self) -> int:
        """Bytes of content that were sent."""
        return self._stream.sent

    async def contents(self, asked: GetContents) -> None:
        """Send small contents, each as one `Data` or as `Missing`, in the order asked for."""
        groups = [
            asked.contents[first : first + _CONTENTS_AT_ONCE]
            for first in range(0, len(asked.contents), _CONTENTS_AT_ONCE)
        ]
        reading = self._source.read_contents(groups[0])
        for number, group in enumerate(groups):
            found = await reading
            if number + 1 < len(groups):
                reading = self._source.read_contents(groups[number + 1])
            await self._stream.send(self._small(asked.request, group, found), reading)

    async def manifest(self, asked: GetManifest) -> None:
        """Send a manifest."""
        encoded = await self._source.manifest(asked.manifest)
        await self._stream.send(self._stream.frames(asked.request, encoded))

    async def range(self, asked: GetRange) -> None:
        """Send a range of bytes; raises NotHeld if the content is not held or not that long."""
        opened = await self._source.open(asked.content)
        try:
            if asked.offset + asked.length > opened.size:
                raise NotHeld("The content is shorter than that.")
            await self._stream.send_range(asked.request, opened, asked.offset, asked.length)
        finally:
            opened.close()

    def _small(self, request: int, contents: Sequence[bytes], found: Sequence[bytes | None]) -> Iterator[object]:
        for content, data in zip(contents, found, strict=True):
            if data is None or len(data) > limits.SMALL_BYTES:
                yield Missing(request, content)
            else:
                self._stream.sent += len(data)
                yield Data(request, data)
