"""The peer's side of tracking: one connection whatever happens, and news handed on in order."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import Made, MemoryNetwork, MemoryTransport
from tests.samples import TRACKER_SAMPLES
from tests.tracker.world import KEYS, OTHER_KEYS, TRACKER_AT, World, blob, device, key
from twistedp2p import limits
from twistedp2p.errors import BadProof, DuplicateDevice, PeerTimeout, TwistedP2PError, WrongTracker
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.network import TRACKER_ALPN
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.proof import Channel
from twistedp2p.messages.common import Goodbye, Ping, Pong, Refused
from twistedp2p.messages.tracker import (
    Address,
    Alive,
    Announce,
    Announced,
    Blobs,
    Delta,
    Entry,
    Hello,
    Holders,
    HoldersOf,
    KeepAlive,
    Need,
    PeerInfo,
    SetDigest,
    Welcome,
    WhoHolds,
)
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.tracker.conversation import HelloFacts
from twistedp2p.tracker.digest import Digest
from twistedp2p.tracker.wire import TRACKER

FROM_TRACKER = {
    "Welcome",
    "Need",
    "Announced",
    "Peers",
    "Delta",
    "Holders",
    "HoldersOf",
    "Alive",
    "DialMe",
    "Ping",
    "Goodbye",
}


class News:
    """Writes down what the client is told, and answers what it asks."""

    def __init__(self, name: str = "a") -> None:
        self.heard: list[tuple[object, ...]] = []
        self.facts = HelloFacts(
            nonce=b"start 1".ljust(16),
            name=name,
            versions=(1,),
            addresses=(Address("0.0.0.0", 7000),),
            epoch=b"",
            cursor=0,
            known=SetDigest(),
            held=SetDigest(),
        )
        self.digests = (SetDigest(), SetDigest())
        self.blobs: dict[bytes, bytes] = {}
        self.commit: Deferred[None] | None = None

    def hello(self) -> Deferred[HelloFacts]:
        return succeed(self.facts)

    def said(self) -> Deferred[tuple[SetDigest, SetDigest]]:
        return succeed(self.digests)

    def welcomed(self, welcome: Welcome) -> None:
        self.heard.append(("welcomed", welcome.member))

    def delta_entries(self, entries: tuple[Entry, ...]) -> None:
        self.heard.append(("entries", *[entry.blob for entry in entries]))

    def delta_end(self, end: int) -> Deferred[None] | None:
        self.heard.append(("end", end))
        return self.commit

    def announced(self, batch: int, numbers: tuple[int, ...]) -> None:
        self.heard.append(("announced", batch, numbers))

    def need(self, keys: tuple[bytes, ...]) -> Deferred[list[bytes]]:
        return succeed([self.blobs[key] for key in keys if key in self.blobs])

    def say_all(self, whole: bool) -> None:
        self.heard.append(("say all", whole))

    def peers(self, up: tuple[PeerInfo, ...], down: tuple[int, ...]) -> None:
        self.heard.append(("peers", tuple(peer.name for peer in up), down))

    def holders(self, member: int, held: list[int], lost: list[int]) -> None:
        self.heard.append(("holders", member, held, lost))

    def dial_me(self, member: int) -> None:
        self.heard.append(("dial me", member))

    def disconnected(self) -> None:
        self.heard.append(("disconnected",))

    def refused(self, error: TwistedP2PError) -> None:
        self.heard.append(("refused", type(error)))

    def unreachable(self, text: str) -> None:
        self.heard.append(("unreachable", text))

    def take(self) -> list[tuple[object, ...]]:
        """Return what was heard since it was last asked."""
        heard, self.heard = self.heard, []
        return heard


def address(key: DeviceKey, where: tuple[str, int] = TRACKER_AT) -> TrackerAddress:
    """Return the address of a tracker with that key."""
    return TrackerAddress(*where, key.pin)


class Clients(SynchronousTestCase):
    """Builds a world with a tracker, and clients in it."""

    def setUp(self) -> None:
        self.world = World()
        self.hub = self.world.hub
        self.clients: list[TrackerClient] = []

    def tearDown(self) -> None:
        stopped = [client.stop() for client in self.clients]
        self.hub.pump()
        for done in stopped:
            self.successResultOf(done)
        self.world.end()

    def client(
        self,
        news: News,
        *,
        name: str = "a",
        host: str = "10.0.0.1",
        trackers: list[TrackerAddress] | None = None,
        random: Callable[[], float] = lambda: 1.0,
        keys: object = KEYS,
    ) -> TrackerClient:
        """Return a client that has started and settled."""
        client = TrackerClient(
            self.hub.network(device(name), host),
            trackers or [address(self.world.key)],
            keys,  # type: ignore[arg-type]
            news,
            random=random,
            entropy=self.world.entropy,
        )
        self.clients.append(client)
        client.start()
        self.hub.pump()
        return client

    def tracker_gone(self) -> None:
        """Take the tracker away, as kill -9 would."""
        self.hub.listeners.clear()
        for link in list(self.hub.links):
            if link.host.host == TRACKER_AT[0]:
                link.abortConnection()
        self.hub.pump()


class SessionTests(Clients):
    """What is said and heard while there is a tracker."""

    def test_welcome(self) -> None:
        """A client that starts is welcomed and told who else is there."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        self.assertEqual(news.take(), [("welcomed", 1), ("peers", ("b",), ())])
        self.assertEqual(other.take(), [("welcomed", 2), ("peers", ("a",), ())])
        assert client.welcome is not None
        self.assertEqual(client.welcome.seen, "10.0.0.1")

    def test_announce(self) -> None:
        """A batch is completed with the records that are needed and acknowledged; others receive it as one delta."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        other.take()
        news.take()
        news.blobs = {key(n): blob(n) for n in range(3)}
        client.announce(Batch(1, False, (), tuple(sorted(news.blobs))))
        self.hub.pump()
        self.assertIn(("announced", 1, (0, 1, 2)), news.take())
        ordered = [news.blobs[k] for k in sorted(news.blobs)]
        self.assertEqual(other.take(), [("entries", *ordered), ("end", 3)])

    def test_dial_me(self) -> None:
        """A member is asked to dial through the tracker, if there is one."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        other.take()
        self.assertTrue(client.dial_me(2))
        self.hub.pump()
        self.assertEqual(other.take(), [("dial me", 1)])
        self.tracker_gone()
        self.assertFalse(client.dial_me(2))

    def test_long_batch(self) -> None:
        """Thousands of records need several messages each way, and arrive."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        news.blobs = {key(n): blob(n) for n in range(9000)}
        client.announce(Batch(1, True, (), tuple(sorted(news.blobs))))
        self.hub.pump()
        self.assertIn(("announced", 1, tuple(range(9000))), news.take())
        self.assertEqual(other.take()[-1], ("end", 9000))

    def test_many_batches(self) -> None:
        """However many batches are announced at once, all are acknowledged in order."""
        news = News()
        client = self.client(news)
        news.blobs = {key(n): blob(n) for n in range(1, 60)}
        for number in range(1, 60):
            client.announce(Batch(number, False, (), (key(number),)))
        self.hub.pump()
        acknowledged = [event for event in news.take() if event[0] == "announced"]
        self.assertEqual(acknowledged, [("announced", n, (n - 1,)) for n in range(1, 60)])

    def test_reference(self) -> None:
        """A full batch with a reference travels as that; if it is not understood, everything is asked for."""
        news = News()
        client = self.client(news)
        digest = Digest([key(1)]).value()
        client.announce(Batch(1, True, (), (key(1),), (), (digest, digest)))
        self.hub.pump()
        self.assertIn(("say all", True), news.take())
        news.blobs = {key(1): blob(1)}
        client.announce(Batch(2, True, (), (key(1),)))
        self.hub.pump()
        self.assertIn(("announced", 2, (0,)), news.take())

    def test_record_gone(self) -> None:
        """If a record that is needed is here no more, everything is announced again."""
        news = News()
        client = self.client(news)
        client.announce(Batch(1, False, (), tuple(sorted(key(n) for n in range(9000)))))
        self.hub.pump()
        self.assertIn(("say all", True), news.take())

    def test_holders(self) -> None:
        """Who holds what is told as numbers, and can be asked."""
        news, other = News(), News("b")
        client = self.client(news)
        asker = self.client(other, name="b", host="10.0.0.2")
        news.blobs = {key(n): blob(n) for n in range(3)}
        client.announce(Batch(1, False, tuple(sorted(news.blobs)), ()))
        self.hub.pass_time(1)
        other.take()
        client.announce(Batch(2, False, (), (0, 2)))
        self.hub.pass_time(1)
        self.assertEqual(other.take(), [("holders", 1, [0, 2], [])])
        answer = asker.who_holds([0, 1, 2])
        self.hub.pump()
        self.assertEqual(self.successResultOf(answer), [(0, (1,), (1,)), (1, (), (1,)), (2, (1,), (1,))])

    def test_long_question(self) -> None:
        """A long question is answered in several messages, as one answer."""
        client = self.client(News())
        answer = client.who_holds(range(limits.LIST_ITEMS))
        self.hub.pump()
        self.assertEqual(len(self.successResultOf(answer)), limits.LIST_ITEMS)
        self.assertEqual(self.successResultOf(client.who_holds([])), [])

    def test_question_without_tracker(self) -> None:
        """A question fails when there is no tracker, and when the connection breaks before the answer."""
        client = self.client(News())
        answer = client.who_holds([1])
        self.tracker_gone()
        self.failureResultOf(answer, PeerTimeout)
        self.failureResultOf(client.who_holds([1]), PeerTimeout)

    def test_back_pressure(self) -> None:
        """While a delta is being committed nothing more is handed on; afterwards everything is, once."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        other.take()
        committed: Deferred[None] = Deferred()
        other.commit = committed
        news.blobs = {key(n): blob(n) for n in range(1, 4)}
        for number in (1, 2, 3):
            client.announce(Batch(number, False, (), (key(number),)))
            self.hub.pump()
        self.assertEqual(other.take(), [("entries", blob(1)), ("end", 1)])
        other.commit = None
        committed.callback(None)
        self.hub.pump()
        heard = other.take()
        self.assertEqual([blob for event in heard if event[0] == "entries" for blob in event[1:]], [blob(2), blob(3)])
        self.assertEqual(heard[-1], ("end", 3))

    def test_failed_commit(self) -> None:
        """If a delta can not be committed the session ends, and the next one begins where the index stands."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        committed: Deferred[None] = Deferred()
        other.commit = committed
        news.blobs = {key(1): blob(1)}
        client.announce(Batch(1, False, (), (key(1),)))
        self.hub.pump()
        other.take()
        other.commit = None
        committed.errback(OSError("disk full"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.hub.pass_time(1)
        heard = [event[0] for event in other.take()]
        self.assertEqual(heard, ["disconnected", "welcomed", "peers", "entries", "end"])

    def test_ping(self) -> None:
        """A second device with the same key is refused, because this client answers when it is asked."""
        news, clone = News(), News("clone")
        clone.facts = evolve(clone.facts, nonce=b"start 2".ljust(16))
        self.client(news)
        second = self.client(clone, host="10.0.0.2")
        self.assertEqual(clone.take(), [("refused", DuplicateDevice)])
        self.hub.pass_time(120)
        self.assertEqual([event for event in clone.take() if event[0] != "unreachable"], [])
        second.reconnect()
        self.hub.pass_time(1)
        self.assertEqual(clone.take()[0], ("refused", DuplicateDevice))

    def test_goodbye(self) -> None:
        """A client that stops is forgotten at once."""
        news, other = News(), News("b")
        client = self.client(news)
        self.client(other, name="b", host="10.0.0.2")
        other.take()
        done = client.stop()
        self.hub.pump()
        self.successResultOf(done)
        self.assertEqual(other.take(), [("peers", (), (1,))])
        self.assertEqual(news.take()[-1], ("disconnected",))

    def test_stop_twice(self) -> None:
        """Stopping again, or before the start, is harmless."""
        client = self.client(News())
        done = [client.stop(), client.stop()]
        self.hub.pump()
        for one in done:
            self.successResultOf(one)


class KeepAliveTests(Clients):
    """Signs of life and their answers."""

    def test_stays_listed(self) -> None:
        """A client that has nothing to say stays listed for ever."""
        news = News()
        self.client(news)
        for _ in range(40):
            self.hub.pass_time(10)
            self.world.local.expire()
        self.assertEqual(self.world.directory.members, 1)
        self.assertEqual(news.take(), [("welcomed", 1)])

    def test_jitter(self) -> None:
        """Keep-alives come at the tracker's interval at the latest, and up to a fifth earlier, as chance says."""
        self.client(News(), random=lambda: 1.0)
        self.client(News("b"), name="b", host="10.0.0.2", random=lambda: 0.0)
        self.hub.pass_time(0.8 * limits.KEEPALIVE + 0.6)
        members = [self.world.local.share(KEYS.share_id).member(session) for session in (1, 2)]
        seen = [member.seen for member in members if member is not None]
        self.assertEqual((seen[0] > 20, seen[1] > 20), (True, False))

    def test_mismatch(self) -> None:
        """If the tracker has something else of this peer, everything is announced again."""
        news = News()
        self.client(news)
        news.digests = (Digest([key(7)]).value(), SetDigest())
        self.hub.pass_time(limits.KEEPALIVE)
        self.assertEqual(news.take()[-1], ("say all", False))

    def test_mismatch_during_a_batch(self) -> None:
        """A difference that a batch on its way explains is none."""
        news = News()
        client = self.client(news)
        self.hub.pass_time(limits.KEEPALIVE * 0.8 - 0.5)
        news.digests = (Digest([key(7)]).value(), SetDigest())
        self.hub.links[0].stalled = True
        client.announce(Batch(1, False, (), (key(7),)))
        self.hub.pass_time(2)
        self.hub.links[0].stalled = False
        news.blobs = {key(7): blob(7)}
        self.hub.pump()
        self.assertNotIn(("say all", False), news.take())

    def test_tracker_that_hangs(self) -> None:
        """A tracker that does not answer a keep-alive in time is left, and dialled again."""
        news = News()
        self.client(news)
        for link in self.hub.links:
            link.stalled = True
        self.hub.pass_time(limits.KEEPALIVE + limits.REPLY + 1)
        self.assertEqual([event[0] for event in news.take()], ["welcomed", "disconnected", "welcomed"])


class BreakTests(Clients):
    """What happens when there is no tracker, or no longer."""

    def test_comes_back(self) -> None:
        """After a break the client is back within one interval of back-off, and goes on with the same start."""
        news = News()
        self.client(news)
        listeners = dict(self.hub.listeners)
        self.tracker_gone()
        self.assertEqual(news.take(), [("welcomed", 1), ("disconnected",)])
        self.hub.pass_time(60)
        self.hub.listeners.update(listeners)
        self.hub.pass_time(limits.BACKOFF_MOST)
        self.assertEqual(news.take()[-1], ("welcomed", 2))
        self.hub.pass_time(2 * limits.TRACKER_NOTICE)
        self.assertEqual(news.take(), [])

    def test_says_so(self) -> None:
        """While there is no tracker that is said at once, and every thirty seconds."""
        self.hub.listeners.clear()
        news = News()
        self.client(news)
        self.assertEqual(len(news.take()), 1)
        self.hub.pass_time(29)
        self.assertEqual(news.take(), [])
        self.hub.pass_time(62)
        said = news.take()
        self.assertEqual(len(said), 3)
        self.assertIn("can not be reached", str(said[0][1]))

    def test_back_off(self) -> None:
        """Dialling slows down from a quarter of a second to ten seconds; a session that lasted begins that anew."""
        listeners = dict(self.hub.listeners)
        self.hub.listeners.clear()
        self.client(News())
        times: list[float] = []
        before = self.hub.dials
        for _ in range(400):
            self.hub.pass_time(0.25, step=0.25)
            if self.hub.dials > before:
                times.append(self.hub.clock.seconds())
                before = self.hub.dials
        gaps = [round(b - a, 2) for a, b in zip([0.0, *times], times, strict=False)]
        self.assertEqual(gaps[:7], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0])
        self.assertEqual(set(gaps[6:]), {10.0})
        self.hub.listeners.update(listeners)
        self.hub.pass_time(10 + limits.SESSION_STEADY)
        self.tracker_gone()
        before = self.hub.dials
        self.hub.pass_time(1)
        self.assertEqual(self.hub.dials, before + 2)

    def test_breaks_at_once(self) -> None:
        """A session that breaks as soon as it stands slows dialling down: an error must not become a storm."""
        self.client(News())
        for _ in range(40):
            self.hub.pass_time(0.25, step=0.25)
            for link in list(self.hub.links):
                link.abortConnection()
            self.hub.pump()
        self.assertLessEqual(self.hub.dials, 7)

    def test_second_tracker(self) -> None:
        """If the first tracker can not be reached the next is tried, and from then on asked first."""
        news = News()
        dead = address(device("dead"), ("10.0.0.8", 1))
        client = self.client(news, trackers=[dead, address(self.world.key)])
        self.assertEqual(news.take()[-1], ("welcomed", 1))
        self.assertEqual(client.tracker, address(self.world.key))

    def test_reconnect(self) -> None:
        """A new session can be asked for, and begins at once."""
        news = News()
        client = self.client(news)
        client.reconnect()
        self.hub.pass_time(0.5)
        self.assertEqual([event[0] for event in news.take()], ["welcomed", "disconnected", "welcomed"])

    def test_reconnect_while_dialling(self) -> None:
        """A dial that gets no answer is given up when a new session is wanted: this machine may have moved."""
        self.hub.silent.add(("10.0.0.1", TRACKER_AT[0]))
        news = News()
        client = self.client(news)
        self.hub.silent.clear()
        client.reconnect()
        self.hub.pump()
        self.assertEqual(news.take()[0], ("welcomed", 1))

    def test_stop_while_dialling(self) -> None:
        """Stopping gives up a dial that gets no answer, at once and without a failure in the log."""
        self.hub.silent.add(("10.0.0.1", TRACKER_AT[0]))
        client = self.client(News())
        self.successResultOf(client.stop())

    def test_check(self) -> None:
        """A tracker that is there answers a check, and the session goes on."""
        news = News()
        client = self.client(news)
        client.check()
        self.hub.pass_time(limits.LINK_CHECK + 1)
        self.assertEqual(news.take(), [("welcomed", 1)])

    def test_check_of_a_dead_session(self) -> None:
        """A session that leads nowhere is given up soon after a check, and another one begins."""
        news = News()
        client = self.client(news)
        for link in self.hub.links:
            link.stalled = True
        client.check()
        self.hub.pass_time(limits.LINK_CHECK + 1)
        self.assertEqual([event[0] for event in news.take()], ["welcomed", "disconnected", "welcomed"])

    def test_check_without_a_session(self) -> None:
        """A check ends the wait before the next dial."""
        listeners = dict(self.hub.listeners)
        self.hub.listeners.clear()
        news = News()
        client = self.client(news)
        self.hub.pass_time(60)
        self.hub.listeners.update(listeners)
        client.check()
        self.hub.pump()
        self.assertEqual(news.take()[-1], ("welcomed", 1))

    def test_stop_while_waiting(self) -> None:
        """A client that waits for its next try stops at once."""
        self.hub.listeners.clear()
        client = self.client(News())
        self.successResultOf(client.stop())
        dials = self.hub.dials
        self.hub.pass_time(100)
        self.assertEqual(self.hub.dials, dials)

    def test_announce_without_session(self) -> None:
        """What is announced while there is no session is dropped: the next begins with what is not acknowledged."""
        self.hub.listeners.clear()
        client = self.client(News())
        client.announce(Batch(1, False, (), (key(1),)))
        self.assertIsNone(client.welcome)


class TrustTests(Clients):
    """Whom the client talks to."""

    def test_wrong_pin(self) -> None:
        """A tracker with another key than the invite says hears not one byte, and that is said."""
        news = News()
        client = self.client(news, trackers=[address(device("other"))])
        self.assertIsInstance(client.error, WrongTracker)
        self.assertIn("another key", str(news.take()[0][1]))
        self.assertTrue(self.world.callers)
        transport = self.world.callers[0].transport
        assert isinstance(transport, MemoryTransport)
        self.assertEqual(transport.other.sent, 0)
        self.assertEqual(client.welcome, None)

    def test_other_version(self) -> None:
        """A tracker with which no version is agreed is named as such."""
        factory, _, tracker_key = self.hub.listeners[TRACKER_AT]
        self.hub.listeners[TRACKER_AT] = (factory, "tp2p-tracker/2", tracker_key)
        news = News()
        self.client(news)
        self.assertIn("speaks no version that I speak (1)", str(news.take()[0][1]))

    def test_not_a_member(self) -> None:
        """A tracker that hangs up on the proof is said to do so."""
        tracker = self.world.network
        hub = self.hub

        class Deaf(FrameProtocol):
            def message_received(self, message: object) -> None:
                raise BadProof("no member")

        def make(_: object) -> Deaf:
            return Deaf(tracker, TRACKER, alpn=TRACKER_ALPN, dialled=False, first_frame_bytes=2048)

        hub.network(self.world.key, TRACKER_AT[0]).listen(f"tcp:{TRACKER_AT[1]}", Made(make), alpn=TRACKER_ALPN)
        news = News()
        self.client(news)
        self.assertIn("hung up without a word", str(news.take()[0][1]))

    def test_reconnect_when_refused(self) -> None:
        """A peer that mints a new identity as soon as it is refused as a duplicate is dialled again at once."""
        news, clone = News(), News("clone")
        clone.facts = evolve(clone.facts, nonce=b"start 2".ljust(16))
        self.client(news)
        refusals: list[TwistedP2PError] = []
        clients = self.clients

        class Minting(News):
            def refused(self, error: TwistedP2PError) -> None:
                refusals.append(error)
                if len(refusals) == 1:
                    clients[-1].reconnect()

        minting = Minting("clone")
        minting.facts = clone.facts
        self.client(minting, host="10.0.0.2")
        self.hub.pass_time(1)
        self.assertEqual(len(refusals), 2)

    def test_refused(self) -> None:
        """A refusal is handed on by its class, and dialling goes on."""
        self.world.end()
        self.world = World(only_share=OTHER_KEYS.share_id)
        self.hub = self.world.hub
        news = News()
        self.client(news)
        self.assertEqual(news.take()[0][0], "refused")
        dials = self.hub.dials
        self.hub.pass_time(5)
        self.assertGreater(self.hub.dials, dials)


class FakeTracker(FrameProtocol):
    """A tracker made by hand, for what the real one never says."""

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__(network, TRACKER, alpn=TRACKER_ALPN, dialled=False, first_frame_bytes=limits.HELLO_FRAME_BYTES)
        self.heard: list[object] = []

    def secured(self, channel: Channel) -> None:
        self.set_proven()

    def message_received(self, message: object) -> None:
        self.heard.append(message)


class HostileTrackerTests(Clients):
    """A tracker that does not keep to the conversation is left at once."""

    def setUp(self) -> None:
        super().setUp()
        self.made: list[FakeTracker] = []
        network = self.hub.network(self.world.key, TRACKER_AT[0])

        def make(_: object) -> FakeTracker:
            self.made.append(FakeTracker(network))
            return self.made[-1]

        network.listen(f"tcp:{TRACKER_AT[1]}", Made(make), alpn=TRACKER_ALPN)

    def tracker(self, welcome: bool = True) -> FakeTracker:
        """Return the tracker's side of a new client's connection."""
        self.client(News(), name=f"c{len(self.clients)}")
        tracker = self.made[-1]
        if welcome:
            tracker.send_message(Welcome(1, "", 30.0, 100.0, bytes(16), 0, 0, True))
            self.hub.pump()
        return tracker

    def dropped(self, tracker: FakeTracker) -> bool:
        """Return whether the client has hung up."""
        return isinstance(tracker.transport, MemoryTransport) and tracker.transport.other.disconnecting

    def test_before_welcome(self) -> None:
        """Everything but Welcome and a refusal is a violation before Welcome."""
        for message in TRACKER_SAMPLES:
            if isinstance(message, (Welcome, Refused)):
                continue
            tracker = self.tracker(welcome=False)
            tracker.send_message(message)
            self.hub.pump()
            self.assertTrue(self.dropped(tracker), message)

    def test_out_of_turn(self) -> None:
        """What only peers say, a second Welcome, and answers to nothing are violations."""
        wrong = [
            *[m for m in TRACKER_SAMPLES if type(m).__name__ not in FROM_TRACKER and not isinstance(m, Refused)],
            Welcome(1, "", 30.0, 100.0, bytes(16), 0, 0, True),
            Announced(1, True),
            Need(1, True, (key(1),)),
            Need(1, True, everything=True),
            HoldersOf(((0, (), ()),)),
            Alive(False),
            Holders(1, ((0, 2**62),)),
            Holders(1, ((5, 1), (4, 1))),
        ]
        for message in wrong:
            tracker = self.tracker()
            tracker.send_message(message)
            self.hub.pump()
            self.assertTrue(self.dropped(tracker), message)

    def test_in_turn(self) -> None:
        """A ping is answered; deltas and lists are taken; a goodbye closes the connection."""
        tracker = self.tracker()
        tracker.send_message(Ping())
        tracker.send_message(Delta(3, True, ()))
        self.hub.pump()
        self.assertIsInstance(tracker.heard[0], Hello)
        self.assertEqual(tracker.heard[1:], [Pong()])
        self.assertFalse(self.dropped(tracker))
        tracker.send_message(Goodbye())
        self.hub.pump()
        self.assertTrue(self.dropped(tracker))

    def test_too_many_answers(self) -> None:
        """An answer about more items than were asked for is a violation, and the question fails."""
        tracker = self.tracker()
        answer = self.clients[-1].who_holds([1, 2])
        self.hub.pump()
        self.assertEqual(tracker.heard[-1], WhoHolds(((1, 2),)))
        tracker.send_message(HoldersOf(((1, (), ()),)))
        self.hub.pump()
        self.assertNoResult(answer)
        tracker.send_message(HoldersOf(((2, (), ()), (3, (), ()))))
        self.hub.pump()
        self.assertTrue(self.dropped(tracker))
        self.failureResultOf(answer, PeerTimeout)

    def test_order_of_needs(self) -> None:
        """Records are sent in the order asked for, and the last message of an answer is marked."""
        tracker = self.tracker()
        client, keys = self.clients[-1], sorted(key(n) for n in range(4))
        news = client._updates
        assert isinstance(news, News)
        news.blobs = {key(n): blob(n) for n in range(4)}
        client.announce(Batch(1, False, (), tuple(keys)))
        self.hub.pump()
        self.assertEqual(tracker.heard[-1], Announce(1, False, True, held_keys=tuple(keys)))
        tracker.send_message(Need(1, False, tuple(keys[:2])))
        tracker.send_message(Need(1, True, tuple(keys[2:])))
        self.hub.pump()
        blobs = [news.blobs[k] for k in keys]
        answers = [m for m in tracker.heard if isinstance(m, Blobs)]
        self.assertEqual(answers, [Blobs(1, False, tuple(blobs[:2])), Blobs(1, True, tuple(blobs[2:]))])

    def test_difference_explained(self) -> None:
        """A difference that a batch on its way may explain is no reason to announce everything; later it is."""
        tracker = self.tracker()
        client = self.clients[-1]
        news = client._updates
        assert isinstance(news, News)
        news.take()
        client.announce(Batch(1, False, (), (key(1),)))
        self.hub.pass_time(limits.KEEPALIVE)
        self.assertIsInstance(tracker.heard[-1], KeepAlive)
        tracker.send_message(Alive(False))
        tracker.send_message(Announced(1, True, ((0, 1),)))
        self.hub.pass_time(limits.KEEPALIVE)
        self.assertEqual(news.take(), [("announced", 1, (0,))])
        tracker.send_message(Alive(False))
        self.hub.pump()
        self.assertEqual(news.take(), [("say all", False)])

    def test_silent_tracker(self) -> None:
        """A tracker that takes the Hello and says nothing is left after the deadline."""
        tracker = self.tracker(welcome=False)
        self.hub.pass_time(limits.HANDSHAKE + 0.5)
        self.assertTrue(self.dropped(tracker))

    def test_keepalive_interval_of_the_tracker(self) -> None:
        """The interval that Welcome names is kept to."""
        self.client(News())
        tracker = self.made[-1]
        tracker.send_message(Welcome(1, "", 2.0, 100.0, bytes(16), 0, 0, True))
        self.hub.pass_time(5)
        self.assertGreaterEqual(sum(isinstance(m, KeepAlive) for m in tracker.heard), 2)
