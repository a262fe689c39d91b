"""Connections in memory: two ends, and a wire for each direction that delivers late, in pieces and in order.

The life of a connection is that of TLS over TCP:

1. the dialler's end says hello, the other answers, the dialler finishes: both protocols hear `handshakeCompleted`,
   the dialler's first; what was written before leaves only now. With no common protocol (ALPN) both ends are lost;
2. bytes arrive in order, in pieces of any size, after the latency of the wire; a wire takes only so many bytes that
   were not read yet, so that a reader who pauses is felt by the writer's producer;
3. `loseConnection` lets what was written arrive, then ends this side once the other has answered;
   `abortConnection` ends this side now and the other soon, and what was on the way may be lost;
4. bytes for an end that is gone are answered by a reset, as a system does for a process that has died.

What lies between the hosts, `Between`, decides how long things take, and whether they arrive at all at the moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Protocol, cast

from OpenSSL.SSL import Error as TLSError
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHandshakeListener,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p.identity.proof import Channel
from twistedp2p.testing.clock import SimClock

__all__ = ["Between", "SimTransport", "Wire"]

WINDOW_BYTES = 256 * 1024
"""Bytes on one wire that the reader has not taken: about what the buffers of two systems hold."""
HIGH_WATER_BYTES = 64 * 1024
"""Output from which on a producer is paused; as in Twisted."""


class _Sign(Enum):
    """What travels on a wire besides bytes."""

    HELLO = "the dialler begins the handshake"
    ANSWER = "the other side knows a common protocol"
    NO_PROTOCOL = "it knows none"
    FINISHED = "the dialler has completed the handshake"
    END = "no more bytes will come"
    RESET = "the connection does not exist any more"


class Between(Protocol):
    """What lies between two hosts."""

    @property
    def clock(self) -> SimClock:
        """The time of the simulation."""

    def latency(self, source: str, target: str) -> float:
        """Return how long the next piece takes, seconds."""

    def seconds_for(self, length: int, source: str, target: str) -> float:
        """Return how long so many bytes keep the wire busy."""

    def piece(self, length: int) -> int:
        """Return how many of `length` bytes travel as one piece, 1 to `length`."""

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets through at the moment."""

    def arrived(self, source: str, target: str, what: bytes) -> None:
        """Something is about to arrive; for the trace of a run."""


class Wire:
    """One direction of one connection."""

    def __init__(self, between: Between, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.unread = 0
        self.end: SimTransport
        self._between = between
        self._clock = between.clock
        self._way: deque[tuple[float, bytes | _Sign]] = deque()
        self._timer: IDelayedCall | None = None
        self._free_at = 0.0
        self._last_at = 0.0
        self._over = False

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return WINDOW_BYTES - self.unread

    def send(self, what: bytes | _Sign) -> None:
        """Let bytes or a sign arrive after all that was sent before."""
        if self._over:
            return
        now = self._clock.seconds()
        if isinstance(what, bytes):
            self.unread += len(what)
            self._free_at = max(now, self._free_at) + self._between.seconds_for(len(what), self.source, self.target)
        leaves = max(now, self._free_at)
        self._last_at = max(self._last_at, leaves + self._between.latency(self.source, self.target))
        self._way.append((self._last_at, what))
        self._arm()

    def reset(self) -> None:
        """Let nothing arrive but the end of the connection; what is nearly there still does."""
        if self._over:
            return
        self._over = True
        at = self._clock.seconds() + self._between.latency(self.source, self.target)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._way and self._way[-1][0] > at:
            self._way.pop()
        self._way.append((at, _Sign.RESET))
        self._arm()

    def drop(self) -> None:
        """Lose all that is on the way."""
        self._way.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def heal(self) -> None:
        """Go on after a partition: what was held up is sent again."""
        if self._timer is None and self._way:
            late = self._clock.seconds() + self._between.latency(self.source, self.target)
            self._way = deque((max(at, late), what) for at, what in self._way)
            self._last_at = max(self._last_at, late)
            self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._way and not self._between.is_cut(self.source, self.target):
            wait = max(0.0, self._way[0][0] - self._clock.seconds())
            self._timer = self._clock.callLater(wait, self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        if self._between.is_cut(self.source, self.target):
            return
        _, what = self._way.popleft()
        self._between.arrived(self.source, self.target, what if isinstance(what, bytes) else what.name.encode())
        self._arm()
        self.end.arrived(what)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class SimTransport:
    """One end of a connection; `alpn` is what this end speaks."""

    _log = Logger()

    def __init__(
        self,
        clock: SimClock,
        out: Wire,
        into: Wire,
        *,
        host: IPv4Address,
        peer: IPv4Address,
        channel: Channel,
        alpn: str,
        dialled: bool,
    ) -> None:
        self.disconnecting = False
        self.connected = True
        self.negotiated: str | None = None
        self.channel = channel
        self.alpn = alpn
        self.dialled = dialled
        self.other: SimTransport
        self._clock = clock
        self._out = out
        self._into = into
        into.end = self
        self._host = host
        self._peer = peer
        self._protocol: IProtocol | None = None
        self._buffer = bytearray()
        self._inbox: deque[bytes | _Sign] = deque()
        self._flushing: IDelayedCall | None = None
        self._reading: IDelayedCall | None = None
        self._paused = False
        self._aborted = False
        self._end_said = False
        self._producer: IPushProducer | IPullProducer | None = None
        self._streaming = False
        self._producer_paused = False

    # -- the life of a connection -------------------------------------------

    def begin(self, protocol: IProtocol) -> None:
        """Give the connection to its protocol; the side that dialled begins the handshake."""
        self._protocol = protocol
        if self.dialled:
            self._out.send(_Sign.HELLO)
        protocol.makeConnection(self)
        self._read_soon()

    def die(self) -> None:
        """The process of this end is killed: its protocol hears nothing, the system tells the other end."""
        if self.connected:
            self._forget()
            self._out.reset()

    def vanish(self) -> None:
        """The machine of this end loses its power: nobody is told; the other end learns it if it sends something."""
        if self.connected:
            self._forget()
            self._out.drop()

    def break_off(self) -> None:
        """The connection breaks, with all that is on the way; both ends are told."""
        for end in (self, self.other):
            end._out.drop()
        for end in (self, self.other):
            end._lose(ConnectionLost())

    def heal(self) -> None:
        """A partition has ended."""
        self._out.heal()

    def arrived(self, what: bytes | _Sign) -> None:
        """Take what came over the wire."""
        if not self.connected:
            if isinstance(what, bytes):
                self._out.reset()
        elif what is _Sign.RESET and self._protocol is not None:
            self._lose(ConnectionLost())
        else:
            self._inbox.append(what)
            if self._reading is None:
                self._read()

    def _read_soon(self) -> None:
        if self._reading is None and self.connected:
            self._reading = self._clock.callLater(0, self._read)

    def _read(self) -> None:
        """Hand on what has arrived, until the reader pauses or the connection ends."""
        self._reading = None
        while self._inbox and self._protocol is not None and not (self._paused or self._aborted):
            what = self._inbox.popleft()
            if isinstance(what, _Sign):
                self._take_sign(what)
                continue
            self._into.unread -= len(what)
            self.other._flush_soon()
            try:
                self._protocol.dataReceived(what)
            except Exception as error:
                self._log.failure("A protocol failed")
                self._lose(error)
                self._out.reset()

    def _take_sign(self, sign: _Sign) -> None:
        if sign is _Sign.RESET:  # it came before there was a protocol
            self._lose(ConnectionLost())
        elif sign is _Sign.HELLO and self.other.alpn != self.alpn:
            self._out.send(_Sign.NO_PROTOCOL)
            self._lose(TLSError([("SSL routines", "", "no application protocol")]))
        elif sign is _Sign.HELLO:
            self._out.send(_Sign.ANSWER)
        elif sign is _Sign.NO_PROTOCOL:
            self._lose(TLSError([("SSL routines", "", "tlsv1 alert no application protocol")]))
        elif sign is _Sign.ANSWER:
            self._out.send(_Sign.FINISHED)
            self._secured()
        elif sign is _Sign.FINISHED:
            self._secured()
        else:
            if not self._end_said:
                self._out.send(_Sign.END)
            self._lose(ConnectionDone())

    def _secured(self) -> None:
        self.negotiated = self.alpn
        if IHandshakeListener.providedBy(self._protocol):
            self._protocol.handshakeCompleted()
        self._flush_soon()

    def _lose(self, reason: BaseException) -> None:
        """End this side, and tell the protocol; harmless if it has ended."""
        if not self.connected:
            return
        producer, protocol = self._producer, self._protocol
        self._forget()
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(Failure(reason))

    def _forget(self) -> None:
        self.connected = False
        self.disconnecting = True
        self._producer = self._protocol = None
        self._buffer.clear()
        self._inbox.clear()
        for timer in (self._flushing, self._reading):
            if timer is not None:
                timer.cancel()
        self._flushing = self._reading = None

    # -- output -------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, in their turn."""
        if not isinstance(data, bytes):
            raise TypeError(f"only bytes can be written, not {type(data).__name__}")
        if not self.connected or (self.disconnecting and self._producer is None) or not data:
            return
        self._buffer += data
        full = len(self._buffer) > HIGH_WATER_BYTES
        if full and self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            cast(IPushProducer, self._producer).pauseProducing()
        self._flush_soon()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send several pieces of bytes."""
        self.write(b"".join(data))

    def _flush_soon(self) -> None:
        if self._flushing is None and self.connected and self.negotiated is not None:
            self._flushing = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        """Send what the wire takes; when nothing is left, ask the producer for more, or end."""
        self._flushing = None
        while self._buffer and self._out.room > 0:
            length = self._out._between.piece(min(len(self._buffer), self._out.room))
            self._out.send(bytes(self._buffer[:length]))
            del self._buffer[:length]
        if self._buffer:
            return
        if self._producer is not None:
            if self._producer_paused or not self._streaming:
                self._producer_paused = False
                self._producer.resumeProducing()
        elif self.disconnecting and not self._end_said:
            self._end_said = True
            self._out.send(_Sign.END)

    def loseConnection(self) -> None:
        """Close once all that was written, and all that a producer still writes, has left."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        if self.negotiated is None:
            self.abortConnection()
        self._flush_soon()

    def loseWriteConnection(self) -> None:
        """Close; a TLS connection can not be closed by half."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Close now; what was not sent is lost, and what arrives is not delivered."""
        if not self.connected or self._aborted:
            return
        self._aborted = self.disconnecting = True
        self._buffer.clear()
        self._out.reset()
        self._clock.callLater(0, self._lose, ConnectionAborted())

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Take a producer: a streaming (push) one is paused while much waits, another is asked when nothing does."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer} is registered already, so {producer} can not be")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = cast("IPushProducer | IPullProducer", producer)
        self._streaming, self._producer_paused = streaming, False
        if not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer has no more to write."""
        self._producer = None
        self._flush_soon()

    # -- input --------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing until `resumeProducing`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again, beginning in the next turn."""
        self._paused = False
        self._read_soon()

    def stopProducing(self) -> None:
        """The reader wants no more."""
        self.loseConnection()

    # -- what there is to know ----------------------------------------------

    def getPeer(self) -> IPv4Address:
        """Return the address of the other end."""
        return self._peer

    def getHost(self) -> IPv4Address:
        """Return the address of this end."""
        return self._host

    def getTcpNoDelay(self) -> bool:
        """Return whether small pieces leave at once; they do."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Ask for small pieces to leave at once; they do."""

    def getTcpKeepAlive(self) -> bool:
        """Return whether the system asks if the other end is there; it does not."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Ask the system to find out whether the other end is there; it does not."""
