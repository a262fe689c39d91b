"""What the tracker client says reaches the loop, and what it asks is answered from the state thread."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import DuplicateDevice, Refusal
from twistedp2p.messages import Address, Entry, PeerInfo, SetDigest, Welcome
from twistedp2p.peer.tracking import VERSIONS, Tracking
from twistedp2p.peer.workers import InlineWorkers
from twistedp2p.tracker.conversation import HelloFacts

WELCOME = Welcome(1, "192.0.2.1", 30.0, 100.0, b"e" * 16, 5, 0, False)
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
        self.result: Deferred[Any] = succeed(None)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Deferred[Any]:
            self.calls.append((name, *args))
            return self.result

        return call


class TrackingTests(SynchronousTestCase):
    """The seam between the conversation and the loop."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.loop, self.links, self.workers = Recorder(), Recorder(), CountingWorkers()
        self.peer = SimpleNamespace(
            name="desk",
            addresses=(Address("192.0.2.1", 1),),
            index=SimpleNamespace(epoch=b"e" * 16, cursor=7, own_digests=lambda: (KNOWN, HELD)),
            steps=SimpleNamespace(digests=lambda: (KNOWN, HELD)),
            sync=self.loop,
            workers=self.workers,
            links=self.links,
        )
        self.tracking = Tracking(self.peer, b"n" * 16, self.clock)
        self.clones = 0
        self.tracking.cloned = self.cloned

    def cloned(self) -> None:
        """Count the accidents."""
        self.clones += 1

    def test_hello(self) -> None:
        """A session begins with this start's nonce, where others find this peer, and how far its index has read."""
        facts = self.successResultOf(self.tracking.hello())
        self.assertEqual(
            facts,
            HelloFacts(
                nonce=b"n" * 16,
                name="desk",
                versions=VERSIONS,
                addresses=self.peer.addresses,
                epoch=b"e" * 16,
                cursor=7,
                known=KNOWN,
                held=HELD,
            ),
        )
        self.assertEqual(self.workers.steps, 1)

    def test_addresses_that_came_later_are_told(self) -> None:
        """The addresses are those at the moment of the hello, not of the start."""
        self.peer.addresses = ()
        self.assertEqual(self.successResultOf(self.tracking.hello()).addresses, ())

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
