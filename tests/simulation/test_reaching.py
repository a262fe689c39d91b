"""Peers that not all can dial each other: they meet all the same, as long as there is any way."""

from __future__ import annotations

from random import Random

from tests.simulation.test_scenarios import WorldCase, contents, save
from twistedp2p.limits import BACKOFF_MOST, CHUNK_AVERAGE, DIAL_ME_WAIT, LINK_CHECK, LINK_IDLE, REPLY, WHEREABOUTS
from twistedp2p.messages.tracker import Address
from twistedp2p.testing.network import Traits
from twistedp2p.testing.nodes import SimPeer

LARGE = Random(7).randbytes(900_000)
LARGER = Random(8).randbytes(6_000_000)
CHUNK = 4 * CHUNK_AVERAGE
"""The longest chunk of a file of that size."""


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


class MovingTests(WorldCase):
    """Machines that change their address, sleep, or lose their network."""

    def test_moved(self) -> None:
        """A peer that has another address is found there within seconds, and nobody needs to do anything."""
        anna, ben = self.couple({"letter": b"Dear Ben"})
        before = ben.peer.holdings.listed(node(anna))
        anna.move()
        self.world.clock.advance(WHEREABOUTS + 1)
        now = ben.peer.holdings.listed(node(anna))
        assert before is not None and now is not None
        self.assertNotEqual(before.addresses, now.addresses)
        self.assertEqual(anna.host, now.addresses[0].host)
        anna.write("letter", b"from elsewhere")
        self.assertLess(self.settle(), 3 * LINK_CHECK)

    def test_moved_in_the_middle(self) -> None:
        """A large file whose only holder moves while it is fetched goes on there; what is here is not sent again."""
        self.world.internet.traits = Traits((0.001, 0.01), 1_000_000.0)
        anna, ben = self.world.peers(2)
        anna.write("large", LARGER)
        self.world.clock.run_until(lambda: ben.peer.fetcher.progress().received > 3_000_000, 60, "a part of it")
        anna.move()
        self.assertLess(self.settle(), 60)
        self.assertLess(ben.peer.fetcher.progress().received, len(LARGER) + CHUNK)

    def test_slept(self) -> None:
        """A machine that slept for hours is in sync again within seconds."""
        anna, ben = self.couple({"letter": b"Dear Ben"})
        ben.sleep()
        self.world.clock.advance(600)
        anna.write("letter", b"while you slept")
        self.world.clock.advance(5 * 3600)
        ben.wake()
        self.assertLess(self.settle(), 2 * BACKOFF_MOST)
        self.assertEqual(b"while you slept", contents(ben)["letter"])

    def test_half_open(self) -> None:
        """A connection with a machine that lost its power is noticed within a bounded time, also if nobody uses it."""
        anna, ben = self.couple({"letter": b"Dear Ben"})
        anna.peer.links.connection(node(ben))
        self.world.clock.advance(1)
        self.assertIsNotNone(anna.peer.links.link(node(ben)))
        ben.sleep()
        self.world.clock.advance(2 * LINK_IDLE + REPLY + 1)
        self.assertIsNone(anna.peer.links.link(node(ben)))
        ben.wake()


class ResumingTests(WorldCase):
    """A large file of which a part is here."""

    def setUp(self) -> None:
        super().setUp()
        self.world.internet.traits = Traits((0.001, 0.01), 1_000_000.0)

    def until(self, peer: SimPeer, size: int) -> None:
        """Let time go by until so many bytes have come to a peer, and lie in the part."""

        def here() -> bool:
            wants = peer.peer.sync.wants.all()
            missing = [peer.peer.fetcher.missing(want.content) for want in wants]
            return any(left is not None and left <= len(LARGER) - size for left in missing)

        self.world.clock.run_until(here, 120, "a part of it")

    def test_from_another_holder(self) -> None:
        """If its holder dies in the middle, another one sends the rest, and at most one chunk again."""
        anna, ben = self.world.peers(2)
        anna.write("large", LARGER)
        self.settle()
        carl = self.world.new_peer("carl")
        self.world.shut_out([carl], [ben])
        self.world.shut_out([ben], [carl])
        carl.start()
        self.until(carl, 3_000_000)
        anna.kill()
        self.world.internet.let_in()
        before = carl.peer.fetcher.progress()
        self.assertLess(before.missing, len(LARGER) - 3_000_000 + CHUNK)
        self.world.settle()
        self.assertEqual(LARGER, contents(carl)["large"])
        after = carl.peer.fetcher.progress()
        self.assertLess(after.received, len(LARGER) + CHUNK)
        self.assertGreater(after.by_node[node(ben)], 1_000_000)

    def test_after_a_restart(self) -> None:
        """If the one who fetches is killed in the middle, it goes on where it was; at most one chunk comes again."""
        anna, ben = self.world.peers(2)
        anna.write("large", LARGER)
        self.until(ben, 3_000_000)
        left = ben.peer.fetcher.progress().missing
        ben.restart()
        self.settle()
        self.assertEqual(LARGER, contents(ben)["large"])
        self.assertLess(ben.peer.fetcher.progress().received, left + CHUNK)

    def test_after_a_restart_from_another(self) -> None:
        """Both at once: killed in the middle, and then the holder is gone for good."""
        anna, ben = self.world.peers(2)
        anna.write("large", LARGER)
        self.settle()
        carl = self.world.new_peer("carl")
        self.world.shut_out([carl], [ben])
        self.world.shut_out([ben], [carl])
        carl.start()
        self.until(carl, 3_000_000)
        left = carl.peer.fetcher.progress().missing
        carl.kill()
        anna.kill()
        self.world.internet.let_in()
        carl.start()
        self.world.settle()
        self.assertEqual(LARGER, contents(carl)["large"])
        self.assertLess(carl.peer.fetcher.progress().received, left + CHUNK)
