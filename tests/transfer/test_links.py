"""Links: one connection a node, dialled when it is wanted, with patience and within limits."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import Hub
from tests.transfer.nodes import OTHER_KEYS, Node, device, nodes
from twistedp2p import limits
from twistedp2p.errors import NoCommonVersion, Unreachable
from twistedp2p.framing.network import PEER_ALPN
from twistedp2p.framing.versions import no_common_version
from twistedp2p.messages.tracker import Address
from twistedp2p.transfer.client import NotSent
from twistedp2p.transfer.protocol import PeerProtocol


class Case(SynchronousTestCase):
    """Three nodes."""

    def setUp(self) -> None:
        self.hub = Hub()
        self.all = nodes(self.hub, 3)
        # a has the smallest node id: its dials are the ones that are kept.
        self.a, self.b, self.c = sorted(self.all, key=lambda node: node.id)

    def tearDown(self) -> None:
        for node in self.all:
            node.stop()
        self.hub.pass_time(limits.REFUSAL_LINGER + 1.0)
        self.assertEqual((self.hub.links, self.hub.clock.getDelayedCalls()), ([], []))


class DialTests(Case):
    """Who wants, dials."""

    def test_one_dial_for_all(self) -> None:
        """All who want a node share one connection, and both sides use it."""
        results = [self.a.links.connection(self.b.id) for _ in range(3)]
        self.hub.pump()
        (link,) = {self.successResultOf(result) for result in results}
        self.assertEqual(self.hub.dials, 1)
        self.assertEqual((link.node, link.name), (self.b.id, self.all[self.all.index(self.b)].links._name))
        back = self.successResultOf(self.b.links.connection(self.a.id))
        self.assertEqual((back.node, self.hub.dials), (self.a.id, 1))
        self.assertEqual((self.a.links.live(), self.a.links.link(self.b.id)), ([link], link))
        self.assertEqual((self.a.changes, self.b.changes), ([self.b.id], [self.a.id]))

    def test_the_next_address(self) -> None:
        """Addresses are tried in order: nobody there, somebody else, this node itself, and then the right one."""
        self.a.addresses[self.b.id] = [
            Address("10.9.9.9", 17),
            Address(self.c.host, 17),
            Address(self.a.host, 17),
            Address(self.b.host, 17),
        ]
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.assertEqual((self.successResultOf(result).node, self.hub.dials), (self.b.id, 4))
        self.assertEqual((self.c.links.live(), self.a.links.link(self.a.id)), ([], None))

    def test_the_own_address_is_not_tried_again(self) -> None:
        """An address that led to this node itself is not dialled a second time."""
        self.a.addresses[self.b.id] = [Address(self.a.host, 17)]
        self.failureResultOf(self.dial_and_fail(), Unreachable)
        self.assertEqual(self.hub.dials, 1)
        self.hub.pass_time(1.0)
        self.failureResultOf(self.dial_and_fail(), Unreachable)
        self.assertEqual(self.hub.dials, 1)

    def dial_and_fail(self) -> Deferred[PeerProtocol]:
        """Dial b from a, and deliver everything."""
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        return result

    def test_this_node(self) -> None:
        """Nobody connects with itself."""
        self.failureResultOf(self.a.links.connection(self.a.id), Unreachable)
        self.assertEqual(self.hub.dials, 0)

    def test_back_off(self) -> None:
        """A node that can not be reached is left alone for a time that doubles up to a limit; news ends it."""
        del self.hub.listeners[self.b.host, 17]
        waits = []
        for _ in range(9):
            self.failureResultOf(self.dial_and_fail(), Unreachable)
            waits.append(self.a.links.wait_for(self.b.id))
            self.failureResultOf(self.a.links.connection(self.b.id), Unreachable)
            self.hub.clock.advance(waits[-1])
        self.assertEqual(waits, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0])
        self.assertEqual(self.hub.dials, 9)
        self.failureResultOf(self.dial_and_fail(), Unreachable)
        self.a.links.try_again(self.b.id)
        self.assertEqual(self.a.links.wait_for(self.b.id), 0.0)

    def test_a_node_of_another_share(self) -> None:
        """Whoever can not prove membership is no connection, for neither side."""
        stranger = Node(self.hub, 9, keys=OTHER_KEYS, peers=self.a.peers)
        self.all.append(stranger)
        result = self.a.links.connection(stranger.id)
        self.hub.pump()
        self.failureResultOf(result, Unreachable)
        self.assertEqual((self.a.links.live(), stranger.links.live()), ([], []))

    def test_somebody_who_never_answers(self) -> None:
        """A dial that leads to silence ends at the deadline, and the next address is tried."""
        silent = Factory.forProtocol(Protocol)
        self.hub.listeners["10.0.0.99", 17] = (silent, PEER_ALPN, self.b.key)
        self.a.addresses[self.b.id] = [Address("10.0.0.99", 17), Address(self.b.host, 17)]
        result = self.a.links.connection(self.b.id)
        self.hub.pass_time(limits.HANDSHAKE - 1.0)
        self.assertNoResult(result)
        self.hub.pass_time(2.0)
        self.successResultOf(result)

    def test_not_wanted_any_more(self) -> None:
        """Who cancels hears so, and the others get their connection."""
        results = [self.a.links.connection(self.b.id) for _ in range(2)]
        results[0].cancel()
        self.failureResultOf(results[0], CancelledError)
        self.hub.pump()
        self.successResultOf(results[1])


class DialMeTests(Case):
    """Who can not dial a node asks it to dial."""

    def setUp(self) -> None:
        super().setUp()
        for node in self.all:
            node.tracker = True

    def shut_out(self, caller: Node, host: Node) -> None:
        """Let calls from one node to the other be refused."""
        self.hub.shut.add((caller.host, host.host))

    def test_dialled_back(self) -> None:
        """Whoever waits for a connection with a node that can not be dialled gets the one that it dials."""
        self.shut_out(self.a, self.b)
        results = [self.a.links.connection(self.b.id) for _ in range(2)]
        self.hub.pump()
        links = {self.successResultOf(result) for result in results}
        self.assertEqual([(link.node, link.dialled) for link in links], [(self.b.id, False)])
        self.assertEqual((self.a.asked_to_dial, self.b.asked_to_dial), ([self.b.id], []))
        self.assertEqual((self.a.links.wait_for(self.b.id), self.a.links.unreachable()), (0.0, {}))

    def test_without_an_address(self) -> None:
        """A node that is listed without an address, as it can only dial, is asked at once."""
        self.a.addresses[self.b.id] = []
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.assertFalse(self.successResultOf(result).dialled)

    def test_asked_while_no_answer_comes(self) -> None:
        """Where calls get no answer at all, the node is asked soon, not only when the dial has failed."""
        self.hub.silent.add((self.a.host, self.b.host))
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.hub.clock.advance(limits.DIAL_ME_AFTER - 0.1)
        self.assertEqual(self.a.asked_to_dial, [])
        self.hub.clock.advance(0.1)
        self.hub.pump()
        self.successResultOf(result)

    def test_in_vain(self) -> None:
        """If neither can dial the other it fails after the wait, the back-off begins, and why it failed is kept."""
        self.shut_out(self.a, self.b)
        self.shut_out(self.b, self.a)
        result = self.a.links.connection(self.b.id)
        self.hub.pass_time(limits.DIAL_ME_WAIT - 0.5)
        self.assertNoResult(result)
        self.hub.pass_time(0.5)
        self.failureResultOf(result, Unreachable)
        self.assertEqual(self.a.links.wait_for(self.b.id), limits.BACKOFF_FIRST)
        (why,) = self.a.links.unreachable().values()
        for part in (self.b.host, "refused", "when it was asked to", "firewall"):
            self.assertIn(part, why)
        self.assertEqual((self.hub.dials, self.b.asked_to_dial), (2, []))

    def test_without_a_tracker(self) -> None:
        """Without a tracker nobody can be asked, and it fails as soon as all addresses have."""
        self.a.tracker = False
        self.shut_out(self.a, self.b)
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.failureResultOf(result, Unreachable)
        self.assertNotIn("asked", self.a.links.unreachable()[self.b.id])

    def test_unreachable_no_more(self) -> None:
        """A node that has a connection, or is listed no more, is not unreachable."""
        self.shut_out(self.a, self.b)
        self.a.tracker = False
        self.a.links.connection(self.b.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pump()
        self.assertEqual([*self.a.links.unreachable()], [self.b.id])
        del self.a.peers[self.b.id]
        self.assertEqual(self.a.links.unreachable(), {})
        self.a.peers[self.b.id] = self.b
        self.b.links.connection(self.a.id)
        self.hub.pump()
        self.assertEqual(self.a.links.unreachable(), {})

    def test_heeded_so_often(self) -> None:
        """A wish to be dialled ends a back-off, but only once in an interval, whatever the tracker says."""
        self.shut_out(self.b, self.a)
        self.b.tracker = False
        self.b.links.connection(self.a.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pump()
        self.assertGreater(self.b.links.wait_for(self.a.id), 0.0)
        dials = self.hub.dials
        for _ in range(3):
            self.b.links.asked_to_dial(self.a.id)
            self.hub.pump()
        self.assertEqual(self.hub.dials, dials + 1)
        self.hub.clock.advance(limits.DIAL_ME_HEED - 0.1)
        self.b.links.asked_to_dial(self.a.id)
        self.assertEqual(self.hub.dials, dials + 1)
        self.hub.clock.advance(0.1)
        self.b.links.asked_to_dial(self.a.id)
        self.assertEqual(self.hub.dials, dials + 2)

    def test_whom_not_to_dial(self) -> None:
        """A wish of a node that is not listed, of this one itself, or one that comes after the end, is nothing."""
        self.b.links.asked_to_dial(b"x" * 20)
        self.b.links.asked_to_dial(self.b.id)
        self.b.stop()
        self.b.links.asked_to_dial(self.a.id)
        self.hub.pump()
        self.assertEqual(self.hub.dials, 0)

    def test_a_connection_that_the_other_side_lost(self) -> None:
        """Who is asked to dial and has a connection tries it, and dials if it is dead."""
        self.successResultOf(self.connected(self.a, self.b))
        old = self.b.links.link(self.a.id)
        self.cut(self.a)
        self.a.links._nodes[self.b.id].links.clear()
        self.b.links.asked_to_dial(self.a.id)
        self.hub.pass_time(limits.LINK_CHECK)
        new = self.b.links.link(self.a.id)
        self.assertIsNotNone(new)
        self.assertIsNot(new, old)

    def connected(self, dialler: Node, other: Node) -> Deferred[PeerProtocol]:
        """Connect two nodes."""
        result = dialler.links.connection(other.id)
        self.hub.pump()
        return result

    def cut(self, node: Node) -> None:
        """Let nothing through any more on the connections that a node has now; nobody is told."""
        for link in self.hub.links:
            if node.host in (link.host.host, link.peer.host):
                link.stalled = True


class VersionTests(Case):
    """Nodes of another version."""

    def test_not_dialled(self) -> None:
        """A node that speaks no version of ours is not dialled, nor asked to dial; why is told to who wants it."""
        self.a.versions[self.b.id] = (2, 3)
        result = self.a.links.connection(self.b.id)
        error = self.failureResultOf(result, NoCommonVersion).value
        self.assertIn("update twistedp2p on this machine", str(error))
        self.assertEqual(self.a.links.unreachable(), {self.b.id: str(error)})
        self.assertEqual(self.a.links.incompatible(self.b.id), str(error))
        self.assertEqual(self.a.links.wait_for(self.b.id), limits.BACKOFF_MOST)
        self.a.links.asked_to_dial(self.b.id)
        self.hub.pump()
        self.assertEqual((self.hub.dials, self.a.asked_to_dial), (0, []))

    def test_updated(self) -> None:
        """Once it is listed with a version of ours it is dialled at once."""
        self.a.versions[self.b.id] = (2,)
        self.failureResultOf(self.a.links.connection(self.b.id), NoCommonVersion)
        self.a.versions[self.b.id] = (1, 2)
        self.a.links.try_again(self.b.id)
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.successResultOf(result)
        self.assertEqual((self.a.links.unreachable(), self.a.links.incompatible(self.b.id)), ({}, ""))

    def test_which_side(self) -> None:
        """The sentence names the side that speaks only older versions; if the other does not tell, ours if it has 1."""
        self.assertIn("update twistedp2p there", no_common_version("ben", (1,), (2, 3)))
        self.assertIn("update twistedp2p on this machine", no_common_version("ben", (4,), (2, 3)))
        self.assertIn("update twistedp2p on this machine", no_common_version("It", (), (1,)))
        self.assertIn("update the older of the two", no_common_version("It", (), (2,)))
        self.assertIn("ben speaks no version that I speak (it 4, I 2, 3)", no_common_version("ben", (4,), (3, 2)))


class MovedTests(Case):
    """Nodes that change their address."""

    def move(self, node: Node, host: str) -> None:
        """Give a node another address; its old connections hang."""
        for link in self.hub.links:
            if node.host in (link.host.host, link.peer.host):
                link.stalled = True
        node.network.host = node.host = host
        node.network.listen("tcp:17", node.links.factory, alpn=PEER_ALPN)

    def test_dialled_at_the_new_address_at_once(self) -> None:
        """A dial to an address that a node has left is given up when the new one is told."""
        self.hub.silent.add((self.a.host, self.b.host))
        result = self.a.links.connection(self.b.id)
        self.hub.pass_time(0.5)
        self.move(self.b, "10.0.0.77")
        self.a.links.try_again(self.b.id)
        self.hub.pump()
        self.successResultOf(result)

    def test_told_while_waiting_for_its_call(self) -> None:
        """An address that is told while the node is waited for is tried at once."""
        self.hub.shut.add((self.a.host, self.b.host))
        self.a.tracker = True
        self.b.links.asked_to_dial = lambda node: None  # type: ignore[method-assign]  # it does not dial
        result = self.a.links.connection(self.b.id)
        self.hub.pass_time(0.5)
        self.assertNoResult(result)
        self.move(self.b, "10.0.0.77")
        self.a.links.try_again(self.b.id)
        self.hub.pump()
        self.successResultOf(result)

    def test_the_old_connection(self) -> None:
        """A connection with a node that is listed elsewhere now is tried, and is gone soon if it is dead."""
        self.a.links.try_again(self.b.id)
        self.a.links.connection(self.b.id)
        self.hub.pump()
        self.a.links.try_again(self.b.id)
        self.move(self.b, "10.0.0.77")
        self.a.links.try_again(self.b.id)
        self.hub.pass_time(limits.LINK_CHECK)
        self.assertIsNone(self.a.links.link(self.b.id))

    def test_this_machine_moved(self) -> None:
        """When this machine has another address, dead connections are gone soon, and no node has to be waited for."""
        self.a.links.connection(self.b.id)
        self.hub.shut.add((self.a.host, self.c.host))
        self.a.links.connection(self.c.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pump()
        self.assertGreater(self.a.links.wait_for(self.c.id), 0.0)
        for link in self.hub.links:
            link.stalled = True
        self.a.links.check_all()
        self.assertEqual(self.a.links.wait_for(self.c.id), 0.0)
        self.hub.pass_time(limits.LINK_CHECK)
        self.assertEqual(self.a.links.live(), [])

    def test_living_connections_stay(self) -> None:
        """A connection that answers when it is tried stays."""
        self.a.links.connection(self.b.id)
        self.hub.pump()
        link = self.a.links.link(self.b.id)
        self.a.links.check_all()
        self.hub.pass_time(limits.LINK_CHECK + 1.0)
        self.assertIs(self.a.links.link(self.b.id), link)

    def test_an_own_address_that_another_node_has_now(self) -> None:
        """After this machine moved, an address that led to it is an address like any other."""
        self.a.addresses[self.b.id] = [Address(self.a.host, 17)]
        self.a.links.connection(self.b.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pass_time(limits.BACKOFF_MOST)
        old = self.a.host
        self.move(self.a, "10.0.0.78")
        self.move(self.b, old)
        self.a.links.check_all()
        result = self.a.links.connection(self.b.id)
        self.hub.pump()
        self.successResultOf(result)

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back locks no node out."""
        self.hub.shut.add((self.a.host, self.b.host))
        self.hub.clock.advance(1000.0)
        self.a.links.connection(self.b.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pump()
        self.hub.clock.rightNow = 10.0
        self.assertEqual(self.a.links.wait_for(self.b.id), 0.0)


class DuplicateTests(Case):
    """Two connections between one pair."""

    def test_both_dial_at_once(self) -> None:
        """Both sides keep the connection that the smaller node id dialled; the other is closed."""
        for first, second in ((self.a, self.b), (self.b, self.a)):
            results = [first.links.connection(second.id), second.links.connection(first.id)]
            self.hub.pump()
            for result in results:
                self.successResultOf(result)
            ours, theirs = self.a.links.link(self.b.id), self.b.links.link(self.a.id)
            assert ours is not None and theirs is not None
            self.assertTrue(ours.dialled and not theirs.dialled)
            self.assertEqual(len(self.hub.links), 2)
            ours.say_goodbye()
            self.hub.pass_time(1.0)

    def test_what_is_under_way_is_finished(self) -> None:
        """The connection that is not kept stays until it is answered what was asked on it."""
        names = self.a.source.add(b"hello")
        self.a.source.hold_back = True
        self.successResultOf(self.connected(self.b, self.a))
        got: list[bytes] = []
        link = self.b.links.link(self.a.id)
        assert link is not None
        result = link.fetch_contents([names.content_id], lambda content, data: got.append(data))
        self.hub.pump()
        self.a.links._nodes[self.b.id].links.clear()  # as if a had not noticed that it is connected
        self.successResultOf(self.connected(self.a, self.b))
        self.assertIsNot(self.b.links.link(self.a.id), link)
        self.assertNoResult(result)
        self.a.source.let_go()
        self.hub.pump()
        self.successResultOf(result)
        self.assertEqual((got, len(self.hub.links)), ([b"hello"], 2))

    def connected(self, dialler: Node, other: Node) -> Deferred[PeerProtocol]:
        """Connect two nodes."""
        result = dialler.links.connection(other.id)
        self.hub.pump()
        return result

    def test_the_kept_one_is_dead(self) -> None:
        """If the connection to keep is dead, for only one side has lost it, the new one is used, and nothing drains."""
        self.successResultOf(self.connected(self.a, self.b))
        old = self.b.links.link(self.a.id)
        for link in self.hub.links:
            link.stalled = True
        self.b.links._nodes[self.a.id].links.clear()  # b, the greater id, was told that it broke
        self.successResultOf(self.connected(self.b, self.a))
        self.hub.pass_time(limits.LINK_CHECK)
        ours, theirs = self.a.links.link(self.b.id), self.b.links.link(self.a.id)
        assert ours is not None and theirs is not None
        self.assertEqual((ours.dialled, theirs.dialled), (False, True))
        self.assertIsNot(theirs, old)

    def test_what_is_asked_on_both_at_once(self) -> None:
        """What either side asked on either connection while the two met is answered; nothing in flight is lost."""
        names = [self.a.source.add(b"of a"), self.b.source.add(b"of b")]
        got: list[bytes] = []
        asked: list[Deferred[NotSent]] = []

        def ask(link: PeerProtocol, content: bytes) -> None:
            asked.append(link.fetch_contents([content], lambda _, data: got.append(data)))

        for _ in range(20):
            for me, other, its in ((self.a, self.b, names[1]), (self.b, self.a, names[0])):
                me.links.connection(other.id).addCallback(ask, its.content_id)
            self.hub.pump()
            for link in [*self.a.links.live(), *self.b.links.live()]:
                link.say_goodbye()
            self.hub.pass_time(limits.BACKOFF_MOST + 1.0)
        for one in asked:
            self.successResultOf(one)
        self.assertEqual((len(got), set(got)), (40, {b"of a", b"of b"}))

    def test_a_new_connection_replaces_a_dead_one(self) -> None:
        """If the same side dials again, the new connection is the one that is used."""
        self.successResultOf(self.connected(self.a, self.b))
        old = self.b.links.link(self.a.id)
        self.a.links._nodes[self.b.id].links.clear()
        self.successResultOf(self.connected(self.a, self.b))
        self.assertIsNot(self.b.links.link(self.a.id), old)


class LifeTests(Case):
    """Connections that go, limits, and the end."""

    def test_lost(self) -> None:
        """A lost connection is told, dialled again when wanted, and not at once if it did not last."""
        self.a.links.connection(self.b.id)
        self.hub.pump()
        self.b.stop()
        self.hub.pump()
        self.assertEqual((self.a.links.live(), self.a.changes), ([], [self.b.id] * 2))
        self.assertEqual(self.a.links.wait_for(self.b.id), limits.BACKOFF_FIRST)

    def test_a_connection_that_lasted(self) -> None:
        """After a connection that lasted, the node may be dialled again at once."""
        self.a.links.connection(self.b.id)
        self.hub.pump()
        self.hub.pass_time(limits.BACKOFF_MOST + 1.0)
        self.b.stop()
        self.hub.pump()
        self.assertEqual(self.a.links.wait_for(self.b.id), 0.0)

    def test_a_full_peer(self) -> None:
        """An idle connection makes way for a new one; if all are busy, the newcomer is refused, and waits."""
        full = Node(self.hub, 9, peers=self.a.peers, most=1)
        self.all.append(full)
        self.b.links.connection(full.id)
        self.hub.pump()
        result = self.c.links.connection(full.id)
        self.hub.pump()
        self.assertEqual([link.node for link in full.links.live()], [self.c.id])
        names = full.source.add(b"hello")
        full.source.hold_back = True
        link = self.successResultOf(result)
        under_way = link.fetch_contents([names.content_id], lambda *each: None)
        self.hub.pass_time(1.0)
        self.b.links.connection(full.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pump()
        self.assertEqual([link.node for link in full.links.live()], [self.c.id])
        self.assertEqual(self.b.links.live(), [])
        self.assertGreater(self.b.links.wait_for(full.id), 0.0)
        full.source.let_go()
        self.hub.pump()
        self.successResultOf(under_way)

    def test_strangers(self) -> None:
        """From one address so many may be unproven at once; further ones are dropped, until some are gone."""
        caller = self.hub.network(device(77), "192.0.2.7")
        where = (self.a.host, 17)
        ends = []
        for number in range(limits.STRANGERS_PER_ADDRESS + 1):
            self.hub.connect(caller, Factory.forProtocol(Protocol), where, PEER_ALPN)
            ends.append(self.hub.links[-1])
            self.assertEqual(ends[-1].aborted, number == limits.STRANGERS_PER_ADDRESS)
        self.hub.pump()
        self.hub.pass_time(limits.HANDSHAKE + 1.0)
        self.assertTrue(all(end.disconnected for end in ends))
        self.hub.connect(caller, Factory.forProtocol(Protocol), where, PEER_ALPN)
        self.assertFalse(self.hub.links[-1].aborted)

    def test_members_are_no_strangers(self) -> None:
        """Proven connections do not count against the limit of strangers."""
        for number in range(10, 10 + limits.STRANGERS_PER_ADDRESS + 2):
            node = Node(self.hub, number, peers=self.a.peers)
            node.network.host = "192.0.2.7"
            self.all.append(node)
            result = node.links.connection(self.a.id)
            self.hub.pump()
            self.successResultOf(result)
        self.assertEqual(len(self.a.links.live()), limits.STRANGERS_PER_ADDRESS + 2)

    def test_stop(self) -> None:
        """After the end there is no connection, no dial, and nobody waits; who dials in hears goodbye."""
        self.a.links.connection(self.b.id)
        self.hub.pump()
        silent = Factory.forProtocol(Protocol)
        self.hub.listeners[self.c.host, 17] = (silent, PEER_ALPN, self.c.key)
        waiting = self.a.links.connection(self.c.id)
        self.hub.pump()
        self.a.stop()
        self.failureResultOf(waiting, Unreachable)
        self.failureResultOf(self.a.links.connection(self.b.id), Unreachable)
        self.hub.pass_time(1.0)
        self.assertEqual((self.a.links.live(), self.b.links.live()), ([], []))
        self.b.links.connection(self.a.id).addErrback(lambda failure: failure.trap(Unreachable))
        self.hub.pass_time(1.0)
        self.assertEqual(self.b.links.live(), [])
