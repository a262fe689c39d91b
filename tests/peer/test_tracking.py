"""What the tracker client says reaches the loop, and what it asks is answered from the state thread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import DuplicateDevice, Refusal
from twistedp2p.limits import CLOCK_OFF
from twistedp2p.messages.tracker import Address, Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.peer.holdings import Holdings
from twistedp2p.peer.tracking import VERSIONS, Tracking, clock_trouble
from twistedp2p.peer.workers import InlineWorkers
from twistedp2p.tracker.conversation import HelloFacts

WELCOME = Welcome(1, "192.0.2.1", 30.0, 100.0, b"e" * 16, 5, 0, False)
NOON = 1_800_000_000.0
KNOWN, HELD = SetDigest(2, b"k" * 16), SetDigest(1, b"h" * 16)
ANNA = PeerInfo(2, b"a" * 20, "anna", (1,), ())


class CountingWorkers(InlineWorkers):
    """Counts what runs in the state thread."""

    def __init__(self) -> None:
        self.steps = 0

    def state(self, work: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.steps += 1
        return super().state(work, *args, **kwargs)


class Recorder:
    """Notes every call; each returns the same Deferred of its own."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.result: Any = succeed(None)
        self.holdings = Holdings()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((name, *args))
            return self.result

        return call


class TrackingCase(SynchronousTestCase):
    """The news of one peer, with everything around it noted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.loop, self.links, self.workers = Recorder(), Recorder(), CountingWorkers()
        self.peer = SimpleNamespace(
            name="desk",
            addresses=lambda: [Address("192.0.2.1", 1)],
            index=SimpleNamespace(epoch=b"e" * 16, cursor=7, own_digests=lambda: (KNOWN, HELD)),
            steps=SimpleNamespace(digests=lambda: (KNOWN, HELD)),
            sync=self.loop,
            workers=self.workers,
            links=self.links,
        )
        self.client = Recorder()
        self.peer.client = self.client
        self.tracking = Tracking(self.peer, b"n" * 16, self.clock, lambda: NOON + self.clock.seconds())
        self.clones = 0
        self.tracking.cloned = self.cloned

    def cloned(self) -> None:
        """Count the accidents."""
        self.clones += 1


class TrackingTests(TrackingCase):
    """The seam between the conversation and the loop."""

    def test_hello(self) -> None:
        """A session begins with this start's nonce, where others find this peer, and how far its index has read."""
        facts = self.successResultOf(self.tracking.hello())
        self.assertEqual(
            facts,
            HelloFacts(
                nonce=b"n" * 16,
                name="desk",
                versions=VERSIONS,
                addresses=(Address("192.0.2.1", 1),),
                epoch=b"e" * 16,
                cursor=7,
                known=KNOWN,
                held=HELD,
            ),
        )
        self.assertEqual(self.workers.steps, 1)

    def test_addresses_that_came_later_are_told(self) -> None:
        """The addresses are found out anew for each hello: this machine may be in another network by now."""
        places = [Address("192.0.2.1", 1)]
        self.peer.addresses = lambda: places
        self.successResultOf(self.tracking.hello())
        places[:] = [Address("198.51.100.7", 1)]
        self.assertEqual(self.successResultOf(self.tracking.hello()).addresses, tuple(places))

    def test_the_digests_are_read_in_the_state_thread(self) -> None:
        """What was announced is asked for between two steps, never in the midst of one."""
        self.assertEqual(self.successResultOf(self.tracking.said()), (KNOWN, HELD))
        self.assertEqual(self.workers.steps, 1)

    def test_each_message_reaches_the_loop(self) -> None:
        """What is told goes on unchanged and in order; what the loop must finish first is waited for."""
        entry = Entry(7, b"blob")
        waits = [
            self.tracking.welcomed(WELCOME),
            self.tracking.delta_entries((entry,)),
            self.tracking.delta_end(9),
            self.tracking.need((b"k",)),
        ]
        self.tracking.announced(3, (8,))
        self.tracking.say_all(True)
        self.tracking.holders(2, [7], [8])
        self.tracking.disconnected()
        self.assertEqual(
            self.loop.calls,
            [
                ("welcomed", WELCOME),
                ("delta_entries", (entry,)),
                ("delta_end", 9),
                ("need", (b"k",)),
                ("announced", 3, (8,)),
                ("say_all", True),
                ("holders", 2, [7], [8]),
                ("disconnected",),
            ],
        )
        for wait in waits:
            self.assertIs(wait, self.loop.result)

    def test_who_came_up_is_dialled_anew(self) -> None:
        """A member that came up need not wait for the end of a pause after failed calls."""
        self.tracking.peers((ANNA,), (3,))
        self.assertEqual(self.links.calls, [("try_again", ANNA.node)])
        self.assertEqual(self.loop.calls, [("peers", (ANNA,), (3,))])

    def test_who_asks_to_be_dialled(self) -> None:
        """A member that asks to be dialled is dialled as the listing has it; a number that is not listed is nobody."""
        self.loop.holdings.change_peers([ANNA], [])
        self.tracking.dial_me(ANNA.member)
        self.tracking.dial_me(77)
        self.assertEqual(self.links.calls, [("asked_to_dial", ANNA.node)])

    def test_asking_to_be_dialled(self) -> None:
        """A node is asked by the number that it has in this session; one that is not listed can not be asked."""
        self.client.result = True
        self.loop.holdings.change_peers([ANNA], [])
        self.assertTrue(self.tracking.ask_to_dial(ANNA.node))
        self.assertFalse(self.tracking.ask_to_dial(b"x" * 20))
        self.assertEqual(self.client.calls, [("dial_me", ANNA.member)])

    def test_since(self) -> None:
        """The time of the last begin or end of a session is kept, None before the first."""
        self.assertIsNone(self.tracking.since)
        self.clock.advance(5)
        self.tracking.welcomed(WELCOME)
        self.assertEqual(self.tracking.since, 5.0)
        self.clock.advance(5)
        self.tracking.disconnected()
        self.assertEqual(self.tracking.since, 10.0)

    def test_trouble_is_told_until_a_session_begins(self) -> None:
        """The sentence of a refusal, or of a tracker that is not there, stands until the next welcome."""
        self.tracking.unreachable("Nobody answers.")
        self.assertEqual(self.tracking.trouble, "Nobody answers.")
        self.tracking.refused(Refusal("It is full."))
        self.assertEqual((self.tracking.trouble, self.clones), ("It is full.", 0))
        self.tracking.welcomed(WELCOME)
        self.assertEqual(self.tracking.trouble, "")

    def test_a_second_session_of_this_device_is_an_accident(self) -> None:
        """When another live session has this device key, this folder is a copy and is told so."""
        self.tracking.refused(DuplicateDevice("Another one runs."))
        self.assertEqual(self.clones, 1)


class ClockTests(TrackingCase):
    """How far this machine's clock is from the tracker's."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        observer = cast(ILogObserver, self.heard)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def heard(self, event: LogEvent) -> None:
        """Keep what is said as a warning."""
        if event["log_level"] is LogLevel.warn and event["log_namespace"].endswith("Tracking"):
            self.said.append(formatEvent(event))

    def welcome(self, ahead: float | None) -> None:
        """Begin a session with a tracker whose clock is so far ahead; None: it does not tell."""
        time = None if ahead is None else NOON + self.clock.seconds() + ahead
        self.tracking.welcomed(evolve(WELCOME, time=time))

    def test_offset(self) -> None:
        """The offset is that of the last welcome that told the time, None before the first."""
        self.welcome(None)
        self.assertIsNone(self.tracking.clock_offset)
        self.welcome(7.5)
        self.assertEqual(self.tracking.clock_offset, 7.5)
        self.welcome(None)
        self.assertEqual(self.tracking.clock_offset, 7.5)
        self.assertEqual((self.tracking.clock_trouble, self.said), ("", []))

    def test_edge(self) -> None:
        """A difference up to the limit, either way, is no trouble; one beyond it is."""
        for sign in (1, -1):
            self.welcome(sign * CLOCK_OFF)
            self.assertEqual(self.tracking.clock_trouble, "")
            self.welcome(sign * (CLOCK_OFF + 1))
            self.assertNotEqual(self.tracking.clock_trouble, "")

    def test_said_once(self) -> None:
        """The trouble is logged when it begins, not at each session, and stands until a welcome that shows none."""
        for ahead in (7200.0, 7201.0, 1.0, 7200.0):
            self.welcome(ahead)
        self.assertEqual(self.said, [self.tracking.clock_trouble] * 2)
        self.welcome(0.0)
        self.assertEqual(self.tracking.clock_trouble, "")

    def test_sentence(self) -> None:
        """The sentence says which way and how far, and what suffers by it."""
        self.assertIn("is 2 h 5 min behind the tracker's: set the one", clock_trouble(7500.0))
        self.assertIn("is 2 min ahead of the tracker's", clock_trouble(-120.0))
        self.assertIn("is 3 d 1 h ahead of", clock_trouble(-73 * 3600.0))
        self.assertIn("names of conflict copies", clock_trouble(7500.0))
