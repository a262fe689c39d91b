"""What one connection sends: streams of messages at the pace of their reader, who is given up if it reads nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.framing.alarm import Alarm
from twistedp2p.wire import Codec

__all__ = ["PREFIX", "Output", "Way"]

PREFIX = 4
"""Bytes of a frame's length."""


class Way(Protocol):
    """Where frames go: a transport."""

    def write(self, data: bytes) -> None:
        """Send these bytes after those that were written before."""


@implementer(IPushProducer)
class Output:
    """The way out of one connection; the transport tells it when that is full, and when it wants more.

    Args:
        clock: tells the time.
        codec: the messages.
        transport: where the frames go. If it has an attribute `waiting`, the bytes that wait in it for the reader, then
            whoever reads slowly is told from who does not read.
        give_up: ends the connection, given the reason.
        most_streams: streams that may wait for the reader.
    """

    def __init__(
        self,
        clock: IReactorTime,
        codec: Codec,
        transport: Way,
        give_up: Callable[[str], object],
        *,
        most_streams: int = limits.REQUESTS_IN_FLIGHT,
    ) -> None:
        self._codec = codec
        self._most_streams = most_streams
        self._transport = transport
        self._give_up = give_up
        self._streams: deque[tuple[Iterator[object], Deferred[None]]] = deque()
        self._full = False
        self._draining = False
        self._closed = False
        self._unread = 0
        """Bytes written although the way out was full."""
        self._left = 0
        """Bytes that waited when it was looked at last."""
        self._not_reading = Alarm(clock, self._look)

    @property
    def busy(self) -> bool:
        """Whether a stream is being sent."""
        return bool(self._streams)

    def send(self, message: object) -> None:
        """Send one message now; gives up whoever lets `UNREAD_OUTPUT_BYTES` of them wait."""
        head, rest = self._codec.encode_parts(message)
        length = len(head) + len(rest)
        self._transport.write(b"".join((length.to_bytes(PREFIX, "big"), head, rest)))
        if self._full:
            self._unread += PREFIX + length
            if self._unread > limits.UNREAD_OUTPUT_BYTES:
                self._give_up("too much output waits for a reader")

    def stream(self, messages: Iterator[object]) -> Deferred[None]:
        """Send the messages of an iterator at the pace of the reader; see `FrameProtocol.send_stream`."""
        if len(self._streams) >= self._most_streams:
            raise ProtocolViolation("too many requests wait for their answers to be read")
        done: Deferred[None] = Deferred()
        self._streams.append((messages, done))
        self._drain()
        return done

    def close(self) -> None:
        """Send nothing more of any stream; who waits for one is told."""
        self._closed = True
        self._not_reading.stop()
        while self._streams:
            self._streams.popleft()[1].errback(Failure(ConnectionDone()))

    # -- the transport calls these --

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self._full = True
        if not self._not_reading.is_set and not self._closed:
            self._watch()

    def resumeProducing(self) -> None:
        """The transport wants more."""
        self._full = False
        self._unread = 0
        self._not_reading.stop()
        self._drain()

    def stopProducing(self) -> None:
        """The connection is going; its protocol does the rest."""

    # -- a reader that reads nothing --

    def _watch(self) -> None:
        self._left = self._waiting()
        self._not_reading.set(limits.UNREAD_SECONDS)

    def _look(self) -> None:
        """Give up who reads nothing, or hardly anything; all that waits need not be read by now."""
        if self._left - self._waiting() < limits.LOWEST_RATE * limits.UNREAD_SECONDS:
            self._give_up("nothing was read for too long")
        else:
            self._watch()

    def _waiting(self) -> int:
        """Return the bytes that wait in the transport but for those since it is full; 0 if it can not tell."""
        waiting = getattr(self._transport, "waiting", None)
        return 0 if waiting is None else waiting - self._unread

    # -- streams --

    def _drain(self) -> None:
        """Write from the streams until the transport has enough; never entered twice."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._streams and not self._full:
                self._write_some(*self._streams[0])
        finally:
            self._draining = False

    def _write_some(self, messages: Iterator[object], done: Deferred[None]) -> None:
        """Write the next messages of a stream, some at a time: every write is a turn through TLS and the reactor."""
        frames: list[bytes | memoryview] = []
        size = 0
        whole = True
        for message in messages:
            head, rest = self._codec.encode_parts(message)
            length = len(head) + len(rest)
            frames += (length.to_bytes(PREFIX, "big"), head, rest)
            size += PREFIX + length
            if size >= limits.FRAMES_BYTES:
                whole = False
                break
        if frames:
            self._transport.write(b"".join(frames))
        # Who waits for it goes on when there is room for more, not before.
        if whole and not self._full and self._streams and self._streams[0][1] is done:
            self._streams.popleft()
            done.callback(None)
