"""What broke in trackers of the file synchroniser that a course on networks sets (ZifanSi/p2p-file-synchronizer,
dankunlee/P2P-File-Sharing, carmenluo/File-Synchronizer-Python, AlexxLee/Simple-P2P-File-Sharing-System)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorFDSet
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.framing.memory import Made
from tests.tracker.test_client import Clients, News
from tests.tracker.test_protocol import framed
from tests.tracker.world import KEYS, TRACKER_AT, World, device, key
from twistedp2p import limits
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import TRACKER_ALPN
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.proof import Channel, Role
from twistedp2p.identity.seal import item_key, seal
from twistedp2p.messages.tracker import Alive, Announce, Hello, KeepAlive, Peers, SetDigest, Welcome
from twistedp2p.records import FORMAT, encode_record
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.protocol import TrackerProtocol
from twistedp2p.tracker.service import TrackerService
from twistedp2p.tracker.wire import TRACKER
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.versions import EMPTY, Dot, Live, write

ALIVE = KeepAlive(SetDigest(), SetDigest())
DEAD = 10
WRONG: tuple[object, ...] = (
    {},
    [],
    5,
    "text",
    None,
    {"known": "text"},
    {"known": {"count": 1.5}, "held": {"count": 1}},
)
"""What is in the place of the fields of a keep-alive."""


class MessagesTests(SynchronousTestCase):
    """How messages arrive, and what may be in them."""

    def setUp(self) -> None:
        """Make a tracker and two members."""
        self.world = World()
        self.addCleanup(self.world.end)
        self.anna, self.ben = self.world.member("anna"), self.world.member("ben")

    def raw(self, data: bytes) -> None:
        """Have Anna's bytes arrive in one segment."""
        self.anna.end.write(data)
        self.world.hub.pump()

    def test_two_in_one_segment(self) -> None:
        """There two keep-alives in one segment got no answer. Here they get two, however they are cut."""
        data = framed(ALIVE, ALIVE)
        self.raw(data)
        self.assertEqual(self.anna.take(Alive), [Alive(True), Alive(True)])
        for cut in range(1, len(data)):
            self.raw(data[:cut])
            self.raw(data[cut:])
            self.assertEqual(self.anna.take(Alive), [Alive(True), Alive(True)], cut)

    def test_values_that_are_none(self) -> None:
        """There an item without its date ended a thread, without an answer or a close. Here nobody waits for either."""
        number = TRACKER.encode(ALIVE)[:1]
        for value in WRONG:
            caller = self.world.member("caller")
            data = number + msgspec.msgpack.encode(value)
            caller.end.write(len(data).to_bytes(4, "big") + data)
            self.world.hub.pump()
            self.assertIsNotNone(caller.lost, value)
            self.raw(framed(ALIVE))
            self.assertEqual(self.anna.one(Alive), Alive(True))

    def test_a_list_of_any_length(self) -> None:
        """There a message ended with a short read: 400 files made two of it. Here they are one batch."""
        keys = tuple(sorted(key(number) for number in range(400)))
        data = framed(Announce(1, False, True, held_keys=keys))
        for at in range(0, len(data), 1000):
            self.raw(data[at : at + 1000])
        self.raw(framed(ALIVE))
        self.assertEqual(self.anna.one(Alive), Alive(True))
        self.assertIsNone(self.anna.lost)


class SecretsTests(Clients):
    """What a tracker is told."""

    def setUp(self) -> None:
        """Write down all that the tracker hears."""
        super().setUp()
        self.heard = b""

        def take(address: IAddress) -> TrackerProtocol | None:
            protocol = self.world._take(address)
            assert protocol is not None
            received = protocol.dataReceived

            def hear(data: bytes) -> None:
                self.heard += data
                received(data)

            protocol.dataReceived = hear  # type: ignore[method-assign]
            return protocol

        self.world.network.listen(f"tcp:{TRACKER_AT[1]}", Made(take), alpn=TRACKER_ALPN)

    def test_it_hears_no_key(self) -> None:
        """There it kept the private key of every peer, and gave it to whoever asked. Here nobody tells it one."""
        version = Live(content_id_of(b"plan"), 4, mtime_ns=0)
        record = encode_record("diary/a secret plan", write(EMPTY, Dot(b"anna's 1", 1), version, None))
        sealed = seal(KEYS, record, FORMAT)
        news = News()
        news.blobs = {item_key(sealed): sealed}
        client = self.client(news, name="anna")
        client.announce(Batch(1, True, (), (item_key(sealed),)))
        self.hub.pump()
        self.assertIn(KEYS.member_public, self.heard)
        self.assertIn(sealed, self.heard)
        for secret in (
            b"secret secret 16",
            KEYS.member_key.private_bytes_raw(),
            KEYS.write_key.private_bytes_raw(),
            device("anna").private_key.private_bytes_raw(),
            b"secret plan",
        ):
            self.assertNotIn(secret, self.heard)


class ForgettingTests(SynchronousTestCase):
    """Who is gone."""

    def test_a_peer_that_came_back_and_died(self) -> None:
        """There what a peer said over a second connection stayed listed for ever. Here it goes as it would at first."""
        world = World()
        self.addCleanup(world.end)
        ben = world.member("ben")
        for start in (b"start 1", b"start 2"):
            anna = world.member("anna", nonce=start.ljust(16))
            anna.announce(1, 1, 2, full=True)
            anna.end.abortConnection()
            world.hub.pump()
        self.assertEqual((world.directory.members, len(world.local.share(KEYS.share_id).log)), (2, 2))
        ben.heard.clear()
        for _ in range(4):
            world.hub.pass_time(limits.KEEPALIVE, step=5)
            ben.say(ALIVE)
            world.local.expire()
        world.hub.pump()
        self.assertEqual([down for peers in ben.take(Peers) for down in peers.down], [3])
        self.assertEqual((world.directory.members, len(world.local.share(KEYS.share_id).log)), (1, 0))


class Caller(FrameProtocol):
    """A member on real sockets that says hello and hears the welcome."""

    def __init__(self, network: TLSNetwork, name: str) -> None:
        super().__init__(network, TRACKER, alpn=TRACKER_ALPN, dialled=True)
        self.name = name
        self.welcome: Deferred[Welcome] = Deferred()

    def secured(self, channel: Channel) -> None:
        """Prove what is to be proved."""
        self.set_proven()
        proof = prove(KEYS, Role.DIAL_TRACKER, channel, bytes(16))
        self.send_message(
            Hello(
                proof=proof, nonce=bytes(16), name=self.name, versions=(1,), addresses=(), epoch=b"", cursor=0,
                known=SetDigest(), held=SetDigest(),
            )
        )  # fmt: skip

    def message_received(self, message: object) -> None:
        """Hear the welcome."""
        if isinstance(message, Welcome):
            self.welcome.callback(message)

    def link_lost(self, reason: Failure) -> None:
        """It is over."""


class DeadPeersTests(TestCase):
    """Connections that are gone, on real sockets."""

    async def test_a_dead_peer_costs_nothing(self) -> None:
        """There each peer that hung up cost a whole CPU from then on. Here nothing is left to be looked at."""
        service = TrackerService(home=Path(self.mktemp()), reactor=reactor, listen=("tcp:0:interface=127.0.0.1",))
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        assert service.address is not None
        port = service.address.port
        last = None
        for number in range(DEAD + 1):
            if last is not None:
                last.abort("it dies")
            network = TLSNetwork(reactor, device(f"{number:2}"))
            there = network.client("127.0.0.1", port, alpn=TRACKER_ALPN)
            last = Caller(network, f"{number}")
            await there.connect(Factory.forProtocol(lambda made=last: made))  # type: ignore[misc]
            await last.welcome
        descriptors: Any = IReactorFDSet(reactor)
        at_port = [
            one
            for one in (*descriptors.getReaders(), *descriptors.getWriters())
            if isinstance(one, tcp.Server) and one.getHost().port == port
        ]
        self.assertEqual(len(set(at_port)), 1)
        self.assertEqual(service.counters.peers, DEAD + 1)
        assert last is not None
        last.abort("the test ends")
