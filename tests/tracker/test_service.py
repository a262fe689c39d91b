"""The tracker as a service: what it keeps, where it listens, how it forgets and how it ends; once over real TLS."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.framing.memory import Hub, Made
from tests.tracker.test_client import News
from tests.tracker.world import KEYS, Entropy, Member, blob, device, key
from twistedp2p import limits
from twistedp2p.errors import HomeUnusable, KeyUnusable, WrongTracker
from twistedp2p.framing.addresses import Advertised
from twistedp2p.framing.network import TRACKER_ALPN
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.messages.common import Goodbye
from twistedp2p.messages.tracker import Peers, Welcome
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.tracker.service import Counters, TrackerService, load_key

HOST = "10.0.0.9"


class KeyTests(SynchronousTestCase):
    """The tracker's key outlives everything."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp())

    def test_kept(self) -> None:
        """The key is made once, readable by its owner alone, and is the same ever after."""
        first = load_key(self.home)
        file = self.home / "tracker" / "key.pem"
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(load_key(self.home).pin, first.pin)

    def test_damaged(self) -> None:
        """A damaged key is an error with a sentence, and is not replaced."""
        load_key(self.home)
        file = self.home / "tracker" / "key.pem"
        file.write_bytes(b"nonsense")
        with self.assertRaises(KeyUnusable):
            load_key(self.home)
        self.assertEqual(file.read_bytes(), b"nonsense")

    def test_no_place(self) -> None:
        """A home that can not be written is an error with a sentence."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.home.write_bytes(b"a file")
        with self.assertRaisesRegex(HomeUnusable, "--home"):
            load_key(self.home)


class ServiceTests(SynchronousTestCase):
    """The service on a network in memory."""

    def setUp(self) -> None:
        self.hub = Hub()
        self.home = Path(self.mktemp())
        self.key = device("tracker")
        self.services: list[TrackerService] = []

    def tearDown(self) -> None:
        for service in self.services:
            self.stop(service)
        self.hub.pump()
        self.assertEqual(self.hub.clock.getDelayedCalls(), [])

    def service(self, *, advertise: Advertised | None = None) -> TrackerService:
        """Return a service that runs."""
        service = TrackerService(
            home=self.home,
            network=self.hub.network(self.key, HOST),
            key=self.key,
            listen=("tcp:17411",),
            keepalive=3.0,
            expiry=10.0,
            advertise=advertise,
            entropy=Entropy(),
        )
        service.startService()
        self.services.append(service)
        return service

    def stop(self, service: TrackerService) -> None:
        """Stop a service that runs."""
        if service.running:
            done = service.stopService()
            self.hub.pump()
            self.successResultOf(done)

    def member(self, name: str, host: str = "10.0.0.1") -> Member:
        """Return a connection that has been welcomed."""
        network = self.hub.network(device(name), host)
        member = Member(network, name, KEYS)
        self.hub.connect(network, Made(lambda _: member), (HOST, limits.TRACKER_PORT), TRACKER_ALPN)
        self.hub.pump()
        member.say(member.hello())
        return member

    def test_address(self) -> None:
        """The address with the pin, and no secret, is left in the home."""
        service = self.service()
        text = (self.home / "tracker" / "address").read_text().strip()
        self.assertEqual(TrackerAddress.parse(text), TrackerAddress(HOST, 17411, self.key.pin))
        self.assertEqual(service.address, TrackerAddress.parse(text))

    def test_advertised_address(self) -> None:
        """What is advertised is what the home and the invites say; without a port, the one listened on."""
        for advertised, expected in (
            (Advertised("tracker.example", 4000), ("tracker.example", 4000)),
            (Advertised("tracker.example"), ("tracker.example", 17411)),
        ):
            service = self.service(advertise=advertised)
            assert service.address is not None
            self.assertEqual((service.address.host, service.address.port), expected)
            self.stop(service)

    def test_local_members_are_listed_elsewhere(self) -> None:
        """A member on the tracker's machine is listed under the address by which others reach the tracker."""
        self.service(advertise=Advertised("192.0.2.9"))
        self.member("a", "127.0.0.1")
        b = self.member("b", "10.0.0.2")
        self.assertEqual(b.one(Peers).up[0].addresses[0].host, "192.0.2.9")

    def test_counters(self) -> None:
        """The counters tell peers, items, bytes, batches and strangers."""
        service = self.service()
        self.assertEqual(service.counters, Counters(0, 0, 0, 0, 0))
        a = self.member("a")
        a.announce(1, 1, 2)
        self.assertEqual(service.counters, Counters(1, 2, len(blob(1)) + len(blob(2)), 1, 0))

    def test_expiry(self) -> None:
        """A member that is silent too long is forgotten by the service's own clock, with what only it knew."""
        service = self.service()
        self.member("a").announce(1, 1)
        self.hub.pass_time(10.0)
        self.assertEqual(service.counters.peers, 1)
        self.hub.pass_time(1.0)
        self.assertEqual((service.counters.peers, service.counters.items), (0, 0))

    def test_expiry_survives_errors(self) -> None:
        """An error while forgetting is logged, and does not end the forgetting."""
        service = self.service()
        self.member("a")
        real = service._directory.expire
        service._directory.expire = lambda: 1 // 0  # type: ignore[assignment,method-assign]
        self.hub.pass_time(2)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))
        service._directory.expire = real  # type: ignore[method-assign]
        self.hub.pass_time(15)
        self.assertEqual(service.counters.peers, 0)

    def test_stop(self) -> None:
        """A tracker that stops says goodbye to its members and takes no more."""
        service = self.service()
        a = self.member("a")
        self.stop(service)
        self.assertEqual(a.one(Goodbye), Goodbye())
        self.assertIsNotNone(a.lost)
        self.assertEqual(self.hub.listeners, {})

    def test_stop_with_one_that_does_not_read(self) -> None:
        """A member that reads nothing holds up the end for two seconds at most."""
        service = self.service()
        a = self.member("a")
        a.end.other.stalled = True
        done = service.stopService()
        self.hub.pump()
        self.assertNoResult(done)
        self.hub.pass_time(limits.REFUSAL_LINGER + 0.1)
        self.successResultOf(done)

    def test_wiped_and_restarted(self) -> None:
        """After kill -9 and the loss of all state, live peers are listed again within one back-off, by themselves."""
        service = self.service()
        clients = self.clients()
        self.stop(service)
        self.hub.pass_time(60)
        again = self.service()
        self.hub.pass_time(limits.BACKOFF_MOST)
        self.assertEqual(again.counters.peers, 2)
        for client in clients:
            client.stop()
        self.hub.pump()

    def clients(self) -> list[TrackerClient]:
        """Return two clients that run, which come back by themselves."""
        clients = [
            TrackerClient(
                self.hub.network(device(name), f"10.0.0.{number}"),
                [TrackerAddress(HOST, 17411, self.key.pin)],
                KEYS,
                News(name),
                random=lambda: 0.5,
                entropy=Entropy(),
            )
            for number, name in enumerate("ab")
        ]
        for client in clients:
            client.start()
        self.hub.pump()
        return clients

    def test_started_again(self) -> None:
        """After it was stopped it can be started again, more than once: it listens, and its members come back."""
        service = self.service()
        clients = self.clients()
        for _ in range(2):
            self.assertEqual(service.counters.peers, 2)
            self.stop(service)
            self.assertEqual((self.hub.listeners, service.ports), ({}, []))
            self.hub.pass_time(60)
            service.startService()
            self.assertEqual(len(service.ports), 1)
            self.hub.pass_time(limits.BACKOFF_MOST)
        for client in clients:
            client.stop()
        self.hub.pump()

    def test_what_it_knew_when_started_again(self) -> None:
        """Started again soon it still knows what it knew; later it has forgotten who was silent before anybody asks."""
        service = self.service()
        self.member("a").announce(1, 1)
        for seconds, peers in ((9.0, 1), (10.1, 0)):
            self.stop(service)
            self.hub.pass_time(seconds)
            service.startService()
            self.assertEqual((service.counters.peers, service.counters.items), (peers, peers))
            self.hub.pump()

    def test_expires_when_started_again(self) -> None:
        """Who is silent is forgotten in a later life too."""
        service = self.service()
        self.stop(service)
        service.startService()
        self.member("a")
        self.hub.pass_time(11.0)
        self.assertEqual(service.counters.peers, 0)


class RealTests(TestCase):
    """The service on real sockets with real TLS."""

    timeout = 30

    def setUp(self) -> None:
        self.home = Path(self.mktemp())

    async def running(self, *listen: str, **options: object) -> TrackerService:
        """Return a service that listens on a free port of loopback."""
        service = TrackerService(
            home=self.home,
            reactor=reactor,
            listen=listen or ("tcp:0:interface=127.0.0.1",),
            **options,  # type: ignore[arg-type]
        )
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def test_started_again(self) -> None:
        """It can be started again on the port that it had."""
        service = await self.running()
        (port,) = service.ports
        number = port.getHost().port  # type: ignore[attr-defined]  # it is TCP
        await service.stopService()
        again = await self.running(f"tcp:{number}:interface=127.0.0.1")
        for _ in range(2):
            await again.stopService()
            again.startService()
            assert again.address is not None
            self.assertEqual((len(again.ports), again.address.port), (1, number))

    async def test_conversation(self) -> None:
        """Two peers with real keys, over real TLS: announce, receive, keep alive, say goodbye."""
        service = await self.running()
        assert service.address is not None

        class Waiting(News):
            def __init__(self, name: str) -> None:
                super().__init__(name)
                self.ready: Deferred[Welcome] = Deferred()
                self.read: Deferred[int] = Deferred()

            def welcomed(self, welcome: Welcome) -> None:
                self.ready.callback(welcome)

            def delta_end(self, end: int) -> None:
                if not self.read.called:
                    self.read.callback(end)

        news = [Waiting("a"), Waiting("b")]
        clients = [
            TrackerClient(
                TLSNetwork(reactor, device(one.facts.name)),
                [service.address],
                KEYS,
                one,
                random=lambda: 0.5,
                entropy=os.urandom,
            )
            for one in news
        ]
        for client, one in zip(clients, news, strict=True):
            client.start()
            self.assertEqual((await one.ready).seen, "127.0.0.1")
        news[0].blobs = {key(n): blob(n) for n in range(3000)}
        clients[0].announce(Batch(1, True, (), tuple(sorted(news[0].blobs))))
        self.assertEqual(await news[1].read, 3000)
        received = [one for event in news[1].heard if event[0] == "entries" for one in event[1:]]
        self.assertEqual(received, [news[0].blobs[k] for k in sorted(news[0].blobs)])
        for client in clients:
            await client.stop()
        self.assertEqual(service.counters.peers, 0)

    async def test_wrong_pin(self) -> None:
        """A client with another pin says nothing to the tracker, over real TLS too."""
        service = await self.running()
        assert service.address is not None

        class Told(News):
            def __init__(self) -> None:
                super().__init__()
                self.told: Deferred[str] = Deferred()

            def unreachable(self, text: str) -> None:
                if not self.told.called:
                    self.told.callback(text)

        news = Told()
        wrong = TrackerAddress(service.address.host, service.address.port, bytes(16))
        client = TrackerClient(
            TLSNetwork(reactor, device("a")), [wrong], KEYS, news, random=lambda: 0.5, entropy=os.urandom
        )
        client.start()
        self.assertIn("another key", await news.told)
        self.assertIsInstance(client.error, WrongTracker)
        await client.stop()
        self.assertEqual(service.counters.peers, 0)

    async def test_port_in_use(self) -> None:
        """A port in use is one error, raised when the service starts, and nothing is left listening."""
        first = await self.running()
        assert first.address is not None
        second = TrackerService(
            home=self.home,
            reactor=reactor,
            listen=("tcp:0:interface=127.0.0.1", f"tcp:{first.address.port}:interface=127.0.0.1"),
        )
        with self.assertRaises(CannotListenError):
            second.privilegedStartService()
        self.assertEqual(second.ports, [])

    async def test_unix_socket(self) -> None:
        """A UNIX socket is extra: the address names the TCP port."""
        path = Path(self.mktemp())
        service = await self.running(f"unix:{path}", "tcp:0:interface=127.0.0.1")
        assert service.address is not None
        self.assertEqual(service.address.host, "127.0.0.1")
        self.assertTrue(path.exists())

    async def test_listening_before_starting(self) -> None:
        """Who embeds the tracker can listen first and wait for the address."""
        service = TrackerService(home=self.home, reactor=reactor, listen=("tcp:0:interface=127.0.0.1",))
        address = await service.start_listening()
        service.startService()
        self.addCleanup(service.stopService)
        self.assertEqual(len(service.ports), 1)
        self.assertEqual(address, service.address)

    async def test_both_families(self) -> None:
        """One default socket takes callers by IPv6 and IPv4."""
        service = await self.running("tcp6:0:interface=\\:\\:", advertise=Advertised("127.0.0.1"))
        assert service.address is not None
        for host in ("127.0.0.1", "::1"):
            ready: Deferred[Welcome] = Deferred()

            class Waiting(News):
                done = ready

                def welcomed(self, welcome: Welcome) -> None:
                    self.done.callback(welcome)

            where = TrackerAddress(host, service.address.port, service.key.pin)
            client = TrackerClient(
                TLSNetwork(reactor, device("a")), [where], KEYS, Waiting(), random=lambda: 0.5, entropy=os.urandom
            )
            client.start()
            self.assertEqual((await ready).seen, host)
            await client.stop()
