"""Peers that not all can dial each other: they meet all the same, as long as there is any way."""

from __future__ import annotations

from random import Random

from tests.simulation.test_scenarios import WorldCase, contents, save
from twistedp2p.limits import BACKOFF_MOST, DIAL_ME_WAIT
from twistedp2p.messages import Address
from twistedp2p.testing.nodes import SimPeer

LARGE = Random(7).randbytes(900_000)


def node(peer: SimPeer) -> bytes:
    """Return the node id of a peer."""
    return peer.peer.member.key.node_id


class ReachingTests(WorldCase):
    """Firewalls and routers between peers."""

    def alone(self, peer: SimPeer, others: list[SimPeer], *, callers: bool) -> None:
        """Let a peer be one that can not dial the others (callers), or that they can not dial."""
        if callers:
            self.world.shut_out([peer], others)
        else:
            self.world.shut_out(others, [peer])

    def test_who_can_not_be_dialled(self) -> None:
        """A peer behind a wall gives what it has: who wants it asks it to dial."""
        anna, ben, carl = self.world.peers(3)
        self.alone(anna, [ben, carl], callers=False)
        save(anna, {"letter": b"Dear Ben", "large": LARGE})
        self.assertLess(self.settle(), 10)

    def test_who_can_only_be_dialled(self) -> None:
        """A peer that can call its tracker alone gets what the others have: it asks them to dial."""
        anna, ben, carl = self.world.peers(3)
        self.alone(anna, [ben, carl], callers=True)
        save(ben, {"letter": b"Dear Anna", "large": LARGE})
        self.assertLess(self.settle(), 10)
        self.assertEqual(LARGE, contents(anna)["large"])

    def test_two_of_which_one_can_dial(self) -> None:
        """If only one of two can dial the other, both get what the other has, in either direction, and soon."""
        anna, ben = self.world.peers(2)
        self.world.shut_out([anna], [ben])
        ben.write("of ben", b"for Anna")
        self.assertLess(self.settle(), 5)
        anna.write("of anna", b"for Ben")
        self.assertLess(self.settle(), 1)
        self.assertEqual(1, self.world.internet.connections(anna.host, ben.host))

    def test_without_addresses(self) -> None:
        """A peer that listens nowhere is like one behind a wall."""
        anna, ben = self.world.peers(2)
        anna.peer.addresses = tuple
        anna.peer.client.reconnect()
        anna.write("letter", b"Dear Ben")
        self.assertLess(self.settle(), 10)
        self.assertEqual((), next(iter(ben.peer.holdings.peers.values())).addresses)

    def test_nobody_between(self) -> None:
        """Two that can not reach each other at all are told why; a third that both reach ends it."""
        anna, ben = self.world.peers(2)
        self.world.partition([anna], [ben])
        anna.write("letter", b"Dear Ben")
        self.world.clock.advance(60)
        self.assertEqual({}, contents(ben))
        (why,) = ben.peer.links.unreachable().values()
        for part in ("peer1", anna.host, "when it was asked to", "third peer"):
            self.assertIn(part, why)
        self.assertEqual([node(anna)], [*ben.peer.links.unreachable()])
        carl = self.world.new_peer("carl")
        carl.start()
        self.settle()
        self.assertEqual(b"Dear Ben", contents(ben)["letter"])

    def test_a_wall_that_falls(self) -> None:
        """When two that could not reach each other can again, that is found out within the longest back-off."""
        anna, ben = self.world.peers(2)
        self.world.shut_out([anna, ben], [anna, ben])
        anna.write("letter", b"Dear Ben")
        self.world.clock.advance(300)
        self.assertFalse(ben.in_sync)
        self.world.internet.let_in()
        self.assertLess(self.settle(), BACKOFF_MOST + DIAL_ME_WAIT + 10)
        self.assertEqual({}, ben.peer.links.unreachable())

    def test_both_at_once(self) -> None:
        """Peers that dial each other at the same moment keep one connection, and fetch no byte twice."""
        anna, ben = self.world.peers(2)
        self.settle()
        before = self.world.internet.bytes_carried
        for peer in (anna, ben):
            save(peer, {f"of {peer.name} {n}": Random(f"{peer.name} {n}").randbytes(300_000) for n in range(4)})
        for one, other in ((anna, ben), (ben, anna)):
            one.peer.links.connection(node(other))
        self.settle()
        self.assertEqual(1, self.world.internet.connections(anna.host, ben.host))
        received = sum(peer.peer.fetcher.progress().received for peer in (anna, ben))
        self.assertEqual(8 * 300_000, received)
        self.assertLess(self.world.internet.bytes_carried - before, 8 * 300_000 * 1.05)

    def test_listed_under_an_own_address(self) -> None:
        """A peer that is listed at the address of the one that dials it, as behind one router, is asked to dial."""
        anna, ben = self.world.peers(2)
        ben.peer.addresses = lambda: [Address(anna.host, 17412)]
        self.world.shut_out([anna], [ben])
        ben.peer.client.reconnect()
        ben.write("letter", b"Dear Anna")
        self.assertLess(self.settle(), 10)
        self.assertEqual(b"Dear Anna", contents(anna)["letter"])
        self.assertIsNone(anna.peer.links.link(node(anna)))

    def test_the_clocks(self) -> None:
        """A peer knows how far its clock is from that of its tracker."""
        anna, _ben = self.couple()
        assert anna.peer.tracking.clock_offset is not None
        self.assertLess(abs(anna.peer.tracking.clock_offset), 0.1)
        self.assertEqual("", anna.peer.tracking.clock_trouble)
