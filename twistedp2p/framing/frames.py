"""Frames: messages over one connection, within limits of size, time and memory.

Every conversation between nodes runs on a `FrameProtocol`:

1. connected: a deadline runs (`limits.HANDSHAKE`, absolute); nothing is sent, frames are short;
2. the TLS handshake is complete: `secured` is called with the channel, to which a proof can be bound;
3. `proven`: the other side has shown that it may talk; the deadline ends, frames may be long;
4. `abort`: at once and silently, for whoever misbehaves; or `close`: what was written leaves first.

A frame has one message; `reading` puts frames together, `output` sends them. This module knows no message but
`Refused`, and checks no proof; the conversations do (`tracker`, `transfer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IHandshakeListener, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedp2p import limits
from twistedp2p.errors import BadProof, NoCommonVersion, ProtocolViolation, TwistedP2PError, UnknownType, error_to_code
from twistedp2p.framing.alarm import Alarm
from twistedp2p.framing.network import Network
from twistedp2p.framing.output import Output
from twistedp2p.framing.reading import FrameReader
from twistedp2p.identity.proof import Channel
from twistedp2p.messages.common import Refused
from twistedp2p.wire import Codec

__all__ = ["NO_VERSION", "FrameProtocol", "LinkState"]

NO_VERSION = "no application protocol"
"""What OpenSSL calls the alert of a server that speaks none of the versions offered (RFC 7301)."""


class LinkState(Enum):
    """How far a connection has come."""

    CONNECTED = "connected"  # nothing may arrive: the TLS handshake is not done
    SECURED = "secured"  # the proof may arrive, in a short frame
    PROVEN = "proven"  # the conversation
    CLOSING = "closing"  # the last words are leaving; what arrives is dropped
    CLOSED = "closed"  # nothing is sent or taken any more


@implementer(IHandshakeListener)
class FrameProtocol(FrameReader):
    """One connection that carries messages; made by a factory, lives until the connection is lost.

    Subclasses override `secured`, `message_received` and `link_lost`. A `ProtocolViolation` or `BadProof` that
    `message_received` raises aborts the connection; any other exception is a bug, and Twisted drops the link.
    """

    _log = Logger()

    def __init__(
        self,
        network: Network,
        codec: Codec,
        *,
        alpn: str,
        dialled: bool,
        first_frame_bytes: int = limits.PROOF_FRAME_BYTES,
        most_streams: int = limits.REQUESTS_IN_FLIGHT,
    ) -> None:
        super().__init__(network.clock, first_frame_bytes)
        self.network = network
        self.link_state = LinkState.CONNECTED
        self.error: TwistedP2PError | None = None
        """Why this side ended the connection, or could not have it; None if it did not."""
        self._codec = codec
        self._alpn = alpn
        self._dialled = dialled
        self._most_streams = most_streams
        self._output: Output
        self._deadline = Alarm(self.clock, lambda: self.abort("no handshake and proof in time"))
        self._linger = Alarm(self.clock, lambda: self.abort("the last words did not leave in time"))

    # -- for subclasses to override ------------------------------------------

    def secured(self, channel: Channel) -> None:
        """The TLS handshake is complete; the dialler says who it is now."""

    def message_received(self, message: object) -> None:
        """A message arrived; never called once the connection is closing."""
        raise ProtocolViolation(f"{type(message).__name__} is not expected here")

    def link_lost(self, reason: Failure) -> None:
        """The connection is gone, in whatever state it was; called once."""

    # -- what the conversation calls -----------------------------------------

    @property
    def proven(self) -> bool:
        """Whether both sides may talk."""
        return self.link_state is LinkState.PROVEN

    @property
    def sending(self) -> bool:
        """Whether a stream is on its way to the other side."""
        return self._output.busy

    @property
    def _deaf(self) -> bool:
        """Whether nothing counts any more that arrives."""
        return self.link_state in (LinkState.CLOSING, LinkState.CLOSED)

    @property
    def _link(self) -> ITCPTransport:
        """The transport, of which Twisted says less than is true."""
        assert self.transport is not None
        return cast(ITCPTransport, self.transport)

    def set_proven(self) -> None:
        """Open the conversation: the other side has proved itself, or this side will not ask it to."""
        self.link_state = LinkState.PROVEN
        self.MAX_LENGTH = self._codec.frame_bytes
        self._deadline.stop()

    def send_message(self, message: object) -> None:
        """Send one message now; nothing happens if the connection is closing.

        Whoever does not read its answers is aborted once `UNREAD_OUTPUT_BYTES` of them wait.
        """
        if self.link_state not in (LinkState.SECURED, LinkState.PROVEN):
            return
        self._output.send(message)

    def send_stream(self, messages: Iterator[object]) -> Deferred[None]:
        """Send the messages of an iterator at the pace of the reader; later streams wait for their turn.

        The Deferred fires when the last was written, or fails with `ConnectionDone` if the connection closes
        before. What the iterator holds is let go of as it is sent. `ProtocolViolation` if too many wait.
        """
        if self.link_state not in (LinkState.SECURED, LinkState.PROVEN):
            return fail(ConnectionDone())
        return self._output.stream(messages)

    def close(self, *last_words: object) -> None:
        """Send `last_words` and close; abort if they have not left after `REFUSAL_LINGER`."""
        for message in last_words:
            self.send_message(message)
        if self._deaf:
            return
        self.link_state = LinkState.CLOSING
        self._stop_timers()
        self._output.close()
        self._linger.set(limits.REFUSAL_LINGER)
        cast(IConsumer, self._link).unregisterProducer()
        self._link.loseConnection()

    def refuse(self, error: TwistedP2PError) -> None:
        """Tell the other side, who is a member, why it can not be served, and close."""
        self._log.warn("Refused {peer}: {error}", peer=self._peer(), error=error)
        self.close(Refused(error_to_code(error), str(error)[: limits.SENTENCE_CHARS]))

    def abort(self, reason: str | TwistedP2PError) -> None:
        """Drop the connection at once, with what was not sent yet, and take nothing more from it."""
        if self.link_state is LinkState.CLOSED:
            return
        if isinstance(reason, TwistedP2PError):
            self.error = reason
        self._log.warn("Dropped {peer}: {reason}", peer=self._peer(), reason=reason)
        self.link_state = LinkState.CLOSED
        self._stop_timers()
        self._output.close()
        self._link.abortConnection()

    # -- Twisted calls these -------------------------------------------------

    def connectionMade(self) -> None:
        """Start the deadline; say nothing."""
        self._deadline.set(limits.HANDSHAKE)
        link = self._link
        self._output = Output(self.clock, self._codec, link, self.abort, most_streams=self._most_streams)
        cast(IConsumer, link).registerProducer(self._output, True)

    def handshakeCompleted(self) -> None:
        """Both certificates are known: find out with whom we talk, and in which version."""
        if self.link_state is not LinkState.CONNECTED:
            return
        try:
            channel = self.network.channel(self._link, alpn=self._alpn, dialled=self._dialled)
        except NoCommonVersion as error:
            self.abort(error)
            return
        self.link_state = LinkState.SECURED
        self.secured(channel)

    def frame_received(self, frame: bytes | memoryview) -> None:
        """Decode one frame and hand its message on."""
        try:
            if self.link_state is LinkState.CONNECTED:
                raise ProtocolViolation("a message came before the handshake")
            self.message_received(self._codec.decode(frame))
        except UnknownType as error:
            if not (error.skippable and self.proven):
                self.abort(error)
        except (ProtocolViolation, BadProof) as error:
            self.abort(error)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008  # as Twisted has it
        """Let everything go, and tell the conversation."""
        if self.link_state is LinkState.CONNECTED and NO_VERSION in str(reason.value):
            self.error = NoCommonVersion(f"The other side does not speak {self._alpn}; update the older of the two.")
        self.link_state = LinkState.CLOSED
        self._stop_timers()
        self._output.close()
        self.link_lost(reason)

    def _stop_timers(self) -> None:
        self.stop_reading()
        for alarm in (self._deadline, self._linger):
            alarm.stop()

    def _peer(self) -> str:
        return str(self.transport.getPeer()) if self.transport is not None else "a peer"
