"""A guest at a tracker: it hears what members hear, and leaves no trace."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.tracker.world import KEYS, NOON, OTHER_KEYS, TRACKER_AT, World, device
from twistedp2p.errors import TwistedP2PError, WrongTracker
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.share import ShareKeys
from twistedp2p.limits import REFUSAL_LINGER
from twistedp2p.messages.tracker import Peers
from twistedp2p.tracker.guest import Visit, visit


class VisitTests(SynchronousTestCase):
    """One tracker, and who comes to it."""

    def setUp(self) -> None:
        """Start a tracker."""
        self.world = World()
        self.addCleanup(self.world.end)
        self.tracker = TrackerAddress(*TRACKER_AT, self.world.key.pin)

    def visit(self, keys: ShareKeys = KEYS) -> Deferred[Visit]:
        """Send a guest."""
        network = self.world.hub.network(device("guest"), "10.0.0.7")
        visiting = visit(network, self.tracker, keys, versions=(1,), entropy=self.world.entropy)
        self.world.hub.pump()
        return visiting

    def test_told(self) -> None:
        """A guest is told the time and who is alive; the others see it come and go."""
        anna = self.world.member("a")
        anna.announce(1, 1, 2, full=True)
        anna.take(Peers)
        told = self.successResultOf(self.visit())
        assert told.time is not None
        self.assertAlmostEqual(told.time, NOON, delta=1)
        self.assertEqual([(info.name, info.node) for info in told.peers], [("a", device("a").node_id)])
        self.world.clock.advance(1)
        self.world.hub.pump()
        heard = anna.take(Peers)
        came = [info for peers in heard for info in peers.up]
        self.assertEqual([info.member for info in came], [number for peers in heard for number in peers.down])
        self.assertIsNone(anna.lost)

    def test_alone(self) -> None:
        """Where nobody else is alive, a guest does not wait for long."""
        visiting = self.visit()
        self.world.clock.advance(REFUSAL_LINGER)
        self.world.hub.pump()
        self.assertEqual(self.successResultOf(visiting).peers, ())

    def test_no_member(self) -> None:
        """A tracker for another share alone lets nobody in, and the sentence says so."""
        self.world = World(only_share=KEYS.share_id)
        self.addCleanup(self.world.end)
        visiting = self.visit(OTHER_KEYS)
        self.world.clock.advance(REFUSAL_LINGER)
        self.world.hub.pump()
        failure = self.failureResultOf(visiting, TwistedP2PError)
        self.assertIn("tracker", str(failure.value))

    def test_another_key(self) -> None:
        """A tracker with another key is told nothing."""
        self.tracker = evolve(self.tracker, pin=bytes(16))
        self.failureResultOf(self.visit(), WrongTracker)

    def test_nobody(self) -> None:
        """Where there is no tracker, the sentence names the place."""
        self.tracker = evolve(self.tracker, port=1)
        failure = self.failureResultOf(self.visit(), TwistedP2PError)
        self.assertIn(":1", str(failure.value))
