"""Peer conversation: two members prove themselves, then each asks the other for content by its hash.

    dialler                                        acceptor
    1. PeerHello (proof as DIAL_PEER)       -->    checks it; a stranger hears nothing and is cut off
    2. checks it                            <--    PeerHello (proof as ACCEPT_PEER), or Refused
    from then on both sides alike, many requests at a time (`framing.requests`):
    3. GetContents, GetManifest, GetRange   -->    reads, verifies that it still is what it was
    4. Data ..., Missing ...                <--    at the pace at which they are read
    5. hears the end                        <--    Done, or Failed with a code ("not-held" is an ordinary answer)
    6. Cancel, at any time before 5         -->    stops; Failed comes all the same
    7. Ping, when all was silent            -->    Pong
    8. Goodbye                              -->    closes

This module dials nobody and decides nothing about whom to ask for what; `links` and `swarm` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation, TwistedP2PError, WrongPeer, code_to_error
from twistedp2p.framing.endings import end_of, why_lost
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import acceptor_of, dialler_of, prove, verify
from twistedp2p.framing.network import PEER_ALPN, Network
from twistedp2p.framing.requests import Answers, Requests
from twistedp2p.identity.device import node_text
from twistedp2p.identity.proof import NONCE_BYTES, Channel, Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Cancel, Data, Done, Failed, Goodbye, Ping, Pong, Refused
from twistedp2p.messages.peer import GetContents, GetManifest, GetRange, Missing, PeerHello
from twistedp2p.transfer.client import NotSent, ask_contents, ask_manifest, ask_range
from twistedp2p.transfer.liveness import Liveness
from twistedp2p.transfer.server import Contents, ContentSource
from twistedp2p.transfer.wire import PEER

__all__ = ["PeerProtocol"]


class PeerProtocol(FrameProtocol):
    """One connection with another member; made by `links`, lives until it is lost or closed.

    `node`, `name` and `versions` tell who the other side is, once it is proven.

    Args:
        network: the way to the others, with the key of this device.
        keys: of the share that both must be members of.
        name: by which this peer is shown to people.
        versions: of the conversation that this side speaks.
        source: what this side can serve.
        entropy: random bytes, for the nonce.
        opened: called with the protocol once both sides are proven.
        lost: called with the protocol and the reason, once, whatever state it was in.
        expected: the node that was dialled; None on the accepting side.
    """

    def __init__(
        self,
        *,
        network: Network,
        keys: ShareKeys,
        name: str,
        versions: tuple[int, ...],
        source: ContentSource,
        entropy: Callable[[int], bytes],
        opened: Callable[[PeerProtocol], object],
        lost: Callable[[PeerProtocol, Failure], object],
        expected: bytes | None,
    ) -> None:
        super().__init__(network, PEER, alpn=PEER_ALPN, dialled=expected is not None)
        self.dialled = expected is not None
        self.node = b""
        self.name = ""
        self.versions: tuple[int, ...] = ()
        self.bytes_in = 0
        self.ended: TwistedP2PError | None = None
        self._keys = keys
        self._my_name = name[: limits.NAME_CHARS]
        self._my_versions = versions
        self._entropy = entropy
        self._opened = opened
        self._lost = lost
        self._expected = expected
        self._channel: Channel | None = None
        self._draining_link = False
        self._contents = Contents(source, self.send_stream)
        self._requests = Requests(
            self.clock,
            send=self.send_message,
            cancel_of=Cancel,
            silent=lambda: self.abort("no answers any more"),
            heard_at=lambda: self.heard_at,
        )
        self._answers = Answers(self._answered)
        self._liveness = Liveness(
            self.clock,
            heard_at=lambda: self.heard_at,
            ping=lambda: self.send_message(Ping()),
            dead=lambda: self.abort("the other side gives no sign of life"),
            busy=lambda: bool(len(self._answers)),
        )

    # -- asking --

    @property
    def bytes_out(self) -> int:
        """How many bytes of content were sent."""
        return self._contents.sent

    @property
    def busy(self) -> bool:
        """Whether either side waits for an answer."""
        return bool(len(self._requests) or len(self._answers))

    def fetch_contents(
        self, contents: Sequence[bytes], sink: Callable[[bytes, bytes], object], *, priority: int = 0
    ) -> Deferred[NotSent]:
        """Ask for small contents, at most `limits.SMALL_CONTENTS_PER_REQUEST`.

        Args:
            contents: their ids.
            sink: called with id and bytes of each that arrives and has the right hash.
            priority: a smaller number is answered sooner.

        Returns:
            What did not come. Cancel it to stop; it fails if the other side gives up or the connection is lost.
        """
        return ask_contents(self._requests, contents, sink, priority)

    def fetch_manifest(
        self, manifest: bytes, *, most: int = limits.MANIFEST_BYTES, priority: int = 0
    ) -> Deferred[bytes]:
        """Ask for an encoded manifest of at most `most` bytes, by its id; what comes is verified."""
        return ask_manifest(self._requests, manifest, most, priority)

    def fetch_range(
        self,
        content: bytes,
        offset: int,
        length: int,
        sink: Callable[[int, bytes | memoryview], object],
        *,
        priority: int = 0,
    ) -> Deferred[None]:
        """Ask for a range of at most `limits.RANGE_BYTES`; `sink(offset, bytes)` hears it in order, not verified."""
        return ask_range(self._requests, content, offset, length, sink, priority)

    def check(self) -> Deferred[bool]:
        """Find out whether the other side is still there; a connection that is dead is aborted."""
        return self._liveness.check()

    def drain(self) -> None:
        """Close as soon as neither side waits for an answer any more."""
        self._draining_link = True
        self._close_if_drained()

    def say_goodbye(self) -> None:
        """Close now; what is under way fails on both sides."""
        self.close(Goodbye())

    # -- FrameProtocol calls these --

    def secured(self, channel: Channel) -> None:
        """The keys of both are known: a dialler makes sure that it is the right one, and proves itself."""
        self._channel = channel
        self.node = acceptor_of(channel) if self.dialled else dialler_of(channel)
        if not self.dialled:
            return
        if self.node != self._expected:
            self.ended = WrongPeer(f"Another node answered there: {node_text(self.node)}.")
            self.abort("another node than was dialled")
            return
        self._say_hello(Role.DIAL_PEER)

    def message_received(self, message: object) -> None:
        """Take one message; what is not expected now raises ProtocolViolation, which aborts the connection."""
        if not self.proven:
            self._first(message)
            return
        self._liveness.heard()
        match message:
            case Data():
                self.bytes_in += len(message.payload)
                self._requests.part(message.request, message)
            case Missing():
                self._requests.part(message.request, message)
            case Done():
                self._requests.done(message.request)
                self._close_if_drained()
            case Failed():
                self._requests.failed(message.request, code_to_error(message.code, message.text))
                self._close_if_drained()
            case GetContents():
                self._answers.begin(message.request, message.priority, lambda: self._contents.contents(message))
            case GetManifest():
                self._answers.begin(message.request, message.priority, lambda: self._contents.manifest(message))
            case GetRange():
                self._answers.begin(message.request, message.priority, lambda: self._contents.range(message))
            case Cancel():
                self._answers.cancel(message.request)
            case Ping():
                self.send_message(Pong())
            case Pong():
                pass
            case Goodbye():
                self.close()
            case Refused():
                self._refused(message)
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not expected now")

    def link_lost(self, reason: Failure) -> None:
        """Fail what was asked, stop answering, and tell whoever made this connection."""
        self.ended = why_lost(self.ended, self.error, reason)
        reason = Failure(self.ended)
        self._requests.lost(reason)
        self._answers.lost()
        self._liveness.stop()
        self._lost(self, reason)

    # -- the messages before the proof --

    def _first(self, message: object) -> None:
        if isinstance(message, Refused) and self.dialled:
            self._refused(message)
        elif isinstance(message, PeerHello):
            self._on_hello(message)
        else:
            raise ProtocolViolation(f"{type(message).__name__} came before the proof")

    def _on_hello(self, hello: PeerHello) -> None:
        assert self._channel is not None
        role = Role.ACCEPT_PEER if self.dialled else Role.DIAL_PEER
        verify(hello.proof, role, self._channel, self._keys.share_id)
        self.name, self.versions = hello.name, hello.versions
        self.set_proven()
        self._liveness.start()
        if not self.dialled:
            self._say_hello(Role.ACCEPT_PEER)
        self._opened(self)

    def _say_hello(self, role: Role) -> None:
        assert self._channel is not None
        proof = prove(self._keys, role, self._channel, self._entropy(NONCE_BYTES))
        self.send_message(PeerHello(proof, self._my_name, self._my_versions))

    def _refused(self, message: Refused) -> None:
        self.ended = code_to_error(message.code, message.text)
        self.close()

    # -- the ends of answers --

    def _answered(self, request: int, failure: Failure | None) -> None:
        """Tell the other side how its request ended."""
        end = end_of(request, failure, bug="The other side failed to read it; its log says why.")
        if end is None:
            return
        self.send_message(end)
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        if self._draining_link and not self.busy:
            self.close()
