"""Real TLS over loopback: who talks to whom, in which version, and that strangers hear nothing."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IListeningPort, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from twistedp2p.errors import BadProof
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import acceptor_of, dialler_of, prove, verify
from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Ping, Pong, Proof
from twistedp2p.tracker.wire import TRACKER

SERVER = DeviceKey.generate(lambda n: b"s" * n)
CLIENT = DeviceKey.generate(lambda n: b"c" * n)
KEYS = ShareKeys.derive(b"secret secret 16", portable=False)
NONCE = bytes(16)


class End(FrameProtocol):
    """Tells its channel and what it hears through Deferreds."""

    def __init__(self, network: TLSNetwork, alpn: str, dialled: bool) -> None:
        super().__init__(network, TRACKER, alpn=alpn, dialled=dialled)
        self.channel: Deferred[Channel] = Deferred()
        self.heard: Deferred[object] = Deferred()
        self.gone: Deferred[BaseException] = Deferred()

    def secured(self, channel: Channel) -> None:
        self.set_proven()
        self.channel.callback(channel)

    def message_received(self, message: object) -> None:
        self.heard.callback(message)

    def link_lost(self, reason: Failure) -> None:
        self.gone.callback(reason.value or Exception())


class Raw(Protocol):
    """Collects bytes until the connection ends."""

    def __init__(self) -> None:
        self.received = b""
        self.gone: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.gone.callback(self.received)


class TLSTests(TestCase):
    """Connections of the real network."""

    timeout = 20

    async def listening(self, alpn: str = TRACKER_ALPN, endpoint: str = "tcp:0:interface=127.0.0.1") -> int:
        """Listen, keep every server side in `self.ends`, and return the port."""
        self.ends: list[End] = []
        network = TLSNetwork(reactor, SERVER)

        def build(_: object) -> End:
            self.ends.append(End(network, alpn, dialled=False))
            return self.ends[-1]

        factory = Factory.forProtocol(Protocol)
        factory.buildProtocol = build  # type: ignore[assignment,method-assign]
        port: IListeningPort = await network.listen(endpoint, factory, alpn=alpn)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)  # type: ignore[attr-defined]

    async def dial(self, port: int, alpn: str = TRACKER_ALPN, host: str = "127.0.0.1") -> End:
        """Dial, and return the client's side."""
        network = TLSNetwork(reactor, CLIENT)
        end = End(network, alpn, dialled=True)
        factory = Factory.forProtocol(Protocol)
        factory.buildProtocol = lambda _: end  # type: ignore[assignment,method-assign]
        await network.client(host, port, alpn=alpn).connect(factory)
        return end

    async def test_channel(self) -> None:
        """Both ends see the same channel, with each other's keys, and can talk."""
        client = await self.dial(await self.listening())
        channel = await client.channel
        (server,) = self.ends
        self.assertEqual(channel, await server.channel)
        self.assertEqual((dialler_of(channel), acceptor_of(channel)), (CLIENT.node_id, SERVER.node_id))
        client.send_message(Ping())
        self.assertEqual(await server.heard, Ping())
        server.send_message(Pong())
        self.assertEqual(await client.heard, Pong())
        client.close()
        await client.gone
        await server.gone

    async def test_ipv6_and_names(self) -> None:
        """IPv6 addresses and host names can be dialled."""
        port = await self.listening(endpoint="tcp6:0:interface=\\:\\:1")
        client = await self.dial(port, host="::1")
        await client.channel
        client.abort("done")
        await client.gone
        await self.ends[0].gone
        port = await self.listening()
        client = await self.dial(port, host="localhost")
        await client.channel
        client.abort("done")
        await client.gone
        await self.ends[0].gone

    async def test_proof_of_another_session(self) -> None:
        """A proof made for one connection is worth nothing on another, nor in the other direction."""
        port = await self.listening()
        first, second = await self.dial(port), await self.dial(port)
        one, two = await first.channel, await second.channel
        proof: Proof = prove(KEYS, Role.DIAL_PEER, one, NONCE)
        verify(proof, Role.DIAL_PEER, one, KEYS.share_id)
        with self.assertRaises(BadProof):
            verify(proof, Role.DIAL_PEER, two, KEYS.share_id)
        with self.assertRaises(BadProof):
            verify(proof, Role.ACCEPT_PEER, one, KEYS.share_id)
        with self.assertRaises(BadProof):
            verify(proof, Role.DIAL_TRACKER, one, None)
        for end in (first, second):
            end.abort("done")
            await end.gone
        for end in self.ends:
            await end.gone

    async def test_other_conversation(self) -> None:
        """A client that speaks another protocol gets no connection, and neither side hears `secured`."""
        client = await self.dial(await self.listening(), alpn=PEER_ALPN)
        await client.gone
        await self.ends[0].gone
        self.assertNoResult(client.channel)
        self.assertNoResult(self.ends[0].channel)

    async def stranger(self, context: SSL.Context) -> bytes:
        """Dial with other TLS options than ours, say something, and return what is heard until the end."""
        port = await self.listening()
        raw = Raw()
        factory = Factory.forProtocol(Protocol)
        factory.buildProtocol = lambda _: raw  # type: ignore[assignment,method-assign]
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        await wrapClientTLS(Creator(context), endpoint).connect(factory)
        raw.transport.write(b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]
        received: bytes = await raw.gone
        await self.ends[0].gone
        self.assertNoResult(self.ends[0].channel)
        return received

    async def test_no_version_offered(self) -> None:
        """A client with a certificate but no ALPN is dropped without a byte of ours."""
        context = stranger_context()
        context.use_certificate(CLIENT.certificate)
        context.use_privatekey(CLIENT.private_key)
        self.assertEqual(await self.stranger(context), b"")

    async def test_no_certificate(self) -> None:
        """A client without a certificate is dropped without a byte of ours."""
        context = stranger_context()
        context.set_alpn_protos([TRACKER_ALPN.encode()])
        self.assertEqual(await self.stranger(context), b"")

    async def test_old_tls(self) -> None:
        """A client that knows only TLS 1.2 is dropped without a byte of ours."""
        context = stranger_context()
        context.use_certificate(CLIENT.certificate)
        context.use_privatekey(CLIENT.private_key)
        context.set_alpn_protos([TRACKER_ALPN.encode()])
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.assertEqual(await self.stranger(context), b"")


def stranger_context() -> SSL.Context:
    """Return TLS options that are not ours."""
    return SSL.Context(SSL.TLS_METHOD)


@implementer(IOpenSSLClientConnectionCreator)
class Creator:
    """Dials with the context given."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)
