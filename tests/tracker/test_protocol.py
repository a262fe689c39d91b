"""The tracker's side of its conversation: what members may say, when, and what they are told."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.samples import TRACKER_SAMPLES
from tests.tracker.world import KEYS, NOON, OTHER_KEYS, Member, World, blob, device, key
from twistedp2p import limits
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.handshake import prove
from twistedp2p.identity.device import node_id_of
from twistedp2p.identity.proof import Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Goodbye, Ping, Pong, Refused
from twistedp2p.messages.tracker import (
    Address,
    Alive,
    Announce,
    Announced,
    Blobs,
    Delta,
    DialMe,
    Entry,
    Hello,
    Holders,
    HoldersOf,
    KeepAlive,
    Need,
    PeerInfo,
    Peers,
    SetDigest,
    Welcome,
    WhoHolds,
)
from twistedp2p.tracker.digest import Digest
from twistedp2p.tracker.outgoing import listed_addresses
from twistedp2p.tracker.wire import TRACKER

TO_TRACKER = (DialMe, Hello, Announce, Blobs, WhoHolds, KeepAlive, Pong, Goodbye)


def framed(*messages: object) -> bytes:
    """Return messages as they travel."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in map(TRACKER.encode, messages))


class Tracked(SynchronousTestCase):
    """Builds a world, and checks at the end that nothing is left in it."""

    def setUp(self) -> None:
        self.world = World()

    def tearDown(self) -> None:
        self.world.end()

    def assert_dropped_silently(self, member: Member) -> None:
        """The connection is gone and the tracker never said a word on it."""
        self.assertIsNotNone(member.lost)
        self.assertEqual((member.heard, member.end.other.sent), ([], 0))


class HelloTests(Tracked):
    """Only a member is welcomed, and nobody else hears a word."""

    def test_welcome(self) -> None:
        """A valid Hello is answered by Welcome, with where the member stands and was seen."""
        welcome = self.world.dial().join()
        expected = Welcome(1, "10.0.0.1", limits.KEEPALIVE, limits.EXPIRY, welcome.epoch, 0, 0, True, NOON)
        self.assertEqual(welcome, expected)

    def test_byte_by_byte(self) -> None:
        """A Hello that arrives one byte at a time is welcomed as one that arrives whole."""
        member = self.world.dial()
        for byte in framed(member.hello()):
            member.end.write(bytes([byte]))
        self.world.hub.pump()
        self.assertEqual(member.one(Welcome).member, 1)

    def test_hello_and_more_in_one_read(self) -> None:
        """What follows Hello in the same read is taken too."""
        member = self.world.dial()
        member.end.write(framed(member.hello(), KeepAlive(SetDigest(), SetDigest())))
        self.world.hub.pump()
        self.assertEqual(member.one(Alive), Alive(True))

    def test_stranger(self) -> None:
        """Who can not sign for the share that it names gets not one byte."""
        member = self.world.dial()
        forged = prove(OTHER_KEYS, Role.DIAL_TRACKER, member.channel, bytes(16))  # type: ignore[arg-type]
        member.say(member.hello(proof=evolve(forged, share_id=KEYS.share_id)))
        self.assert_dropped_silently(member)

    def test_damaged_proof(self) -> None:
        """A proof with any bit changed is worth nothing."""
        for field in ("share_id", "member_public", "nonce", "signature"):
            member = self.world.dial()
            proof = member.hello().proof
            damaged = bytes([getattr(proof, field)[0] ^ 1]) + getattr(proof, field)[1:]
            member.say(member.hello(proof=evolve(proof, **{field: damaged})))
            self.assert_dropped_silently(member)

    def test_proof_of_another_session(self) -> None:
        """A proof overheard on one connection is worth nothing on the next."""
        overheard = self.world.dial().hello().proof
        member = self.world.dial("b")
        member.say(member.hello(proof=overheard))
        self.assert_dropped_silently(member)

    def test_other_roles(self) -> None:
        """A proof that was meant for a peer, by either side of such a connection, is worth nothing to a tracker."""
        for role in (Role.DIAL_PEER, Role.ACCEPT_PEER):
            member = self.world.dial()
            assert member.channel is not None
            member.say(member.hello(proof=prove(KEYS, role, member.channel, bytes(16))))
            self.assert_dropped_silently(member)

    def test_other_version(self) -> None:
        """A caller with which no version was agreed gets not one byte."""
        member = self.world.dial(alpn="tp2p-tracker/2")
        self.assert_dropped_silently(member)

    def test_silent_stranger(self) -> None:
        """Who says nothing is dropped after the deadline."""
        member = self.world.dial()
        self.world.hub.pass_time(limits.HANDSHAKE + 0.1)
        self.assert_dropped_silently(member)

    def test_everything_else_first(self) -> None:
        """Whatever comes before Hello drops the connection without a byte."""
        for message in TRACKER_SAMPLES:
            if not isinstance(message, Hello):
                member = self.world.dial()
                member.say(message)
                self.assert_dropped_silently(member)

    def test_hostile_addresses(self) -> None:
        """An address that could not be one drops the connection."""
        for host in ("a b", "http://x/", "\n", "ü", "[::1]", "a\0"):
            member = self.world.dial()
            member.say(member.hello(addresses=(Address(host, 1),)))
            self.assert_dropped_silently(member)

    def test_one_share_only(self) -> None:
        """A tracker of one share refuses members of others, so that they can read it."""
        self.world.end()
        self.world = World(only_share=KEYS.share_id)
        self.assertEqual(len(self.world.member().take(Welcome)), 1)
        other = self.world.member("b", keys=OTHER_KEYS)
        self.assertEqual(other.one(Refused).code, "refused")
        self.assertEqual(other.take(Welcome), [])


class WrongStateTests(Tracked):
    """Messages out of turn drop the connection."""

    def test_not_for_trackers(self) -> None:
        """What only a tracker says, and a second Hello, drop a member's connection."""
        for message in TRACKER_SAMPLES:
            if isinstance(message, TO_TRACKER) and not isinstance(message, Hello):
                continue
            member = self.world.member()
            member.say(message)
            self.assertIsNotNone(member.lost, message)

    def test_blobs_unasked(self) -> None:
        """Records that nobody asked for drop the connection."""
        member = self.world.member()
        member.say(Blobs(1, True, (blob(1),)))
        self.assertIsNotNone(member.lost)

    def test_blobs_of_another_batch(self) -> None:
        """Records for another batch than was asked about drop the connection."""
        member = self.world.member()
        member.say(Announce(1, False, True, held_keys=(key(1),)), Blobs(2, True, (blob(1),)))
        self.assertIsNotNone(member.lost)

    def test_too_many_blobs(self) -> None:
        """More records than were asked for drop the connection."""
        member = self.world.member()
        member.say(Announce(1, False, True, held_keys=(key(1),)), Blobs(1, True, (blob(1), blob(2))))
        self.assertIsNotNone(member.lost)

    def test_forged_blob(self) -> None:
        """A record that is not what its key says drops the connection, and nobody hears of it."""
        member, other = self.world.member(), self.world.member("b")
        other.heard.clear()
        member.say(Announce(1, False, True, held_keys=(key(1),)), Blobs(1, True, (blob(2),)))
        self.assertIsNotNone(member.lost)
        self.world.hub.pass_time(1)
        self.assertEqual(other.take(Delta), [])

    def test_batches_that_overlap(self) -> None:
        """A batch that begins inside another drops the connection."""
        member = self.world.member()
        member.say(Announce(1, False, False, held_keys=(key(1),)), Announce(2, False, True))
        self.assertIsNotNone(member.lost)

    def test_after_goodbye(self) -> None:
        """What a member says after its goodbye is not heard."""
        member = self.world.member()
        member.say(Goodbye(), Announce(1, False, True, held_keys=(key(1),)))
        self.assertEqual(member.take(Need), [])
        self.assertIsNotNone(member.lost)

    @settings(max_examples=60)
    @given(st.lists(st.sampled_from(TRACKER_SAMPLES) | st.binary(max_size=40), max_size=6), st.booleans())
    def test_any_order(self, messages: list[object], joined: bool) -> None:
        """Whatever a member sends in whatever order, the tracker neither fails nor keeps anything behind."""
        world = World()
        member = world.member() if joined else world.dial()
        for message in messages:
            data = message if isinstance(message, bytes) else framed(message)
            member.end.write(data)
            world.hub.pump()
        world.hub.pass_time(1)
        world.end()


class PeersTests(Tracked):
    """Members learn who else is there."""

    def test_who_is_there(self) -> None:
        """A newcomer is told who is there, and they are told of the newcomer."""
        a, b = self.world.member("a", "10.0.0.1"), self.world.member("b", "10.0.0.2")
        first = PeerInfo(1, device("a").node_id, "a", (1,), (Address("10.0.0.1", 7000),))
        second = PeerInfo(2, node_id_of(device("b").spki), "b", (1,), (Address("10.0.0.2", 7000),))
        self.assertEqual(b.one(Peers), Peers((first,), ()))
        self.assertEqual(a.one(Peers), Peers((second,), ()))

    def test_shares_are_apart(self) -> None:
        """Members of one share hear nothing of another."""
        a, b = self.world.member("a"), self.world.member("b", keys=OTHER_KEYS)
        a.announce(1, 1)
        self.world.hub.pass_time(1)
        self.assertEqual((a.take(Peers), b.take(Peers), [d for d in b.take(Delta) if d.entries]), ([], [], []))

    def test_goodbye(self) -> None:
        """A member that says goodbye is forgotten at once, and its connection closed."""
        a, b = self.world.member("a"), self.world.member("b")
        a.heard.clear()
        b.say(Goodbye())
        self.assertEqual(a.one(Peers), Peers((), (2,)))
        self.assertIsNotNone(b.lost)
        self.assertEqual(self.world.directory.members, 1)

    def test_break_is_no_goodbye(self) -> None:
        """A member whose connection breaks stays listed until it expires."""
        a, b = self.world.member("a"), self.world.member("b")
        a.heard.clear()
        b.end.abortConnection()
        self.world.hub.pump()
        self.assertEqual(a.take(Peers), [])
        self.assertEqual(self.world.directory.members, 2)

    def test_expiry(self) -> None:
        """A member that is silent too long is forgotten, told so and dropped; who keeps alive stays."""
        a, b = self.world.member("a"), self.world.member("b")
        a.heard.clear()
        for _ in range(4):
            self.world.hub.pass_time(limits.KEEPALIVE, step=5)
            a.say(KeepAlive(SetDigest(), SetDigest()))
            self.world.local.expire()
            self.world.hub.pump()
        self.assertEqual(a.one(Peers), Peers((), (2,)))
        self.assertEqual(b.one(Refused).code, "timeout")
        self.world.hub.pass_time(limits.REFUSAL_LINGER)
        self.assertIsNotNone(b.lost)
        self.assertIsNone(a.lost)

    def test_expiry_after_a_break(self) -> None:
        """A member that broke off and did not come back is gone after the expiry."""
        a, b = self.world.member("a"), self.world.member("b")
        b.end.abortConnection()
        for _ in range(4):
            self.world.hub.pass_time(limits.KEEPALIVE, step=5)
            a.say(KeepAlive(SetDigest(), SetDigest()))
            self.world.local.expire()
        self.world.hub.pump()
        self.assertEqual(a.take(Peers)[-1], Peers((), (2,)))

    def test_many_peers(self) -> None:
        """A long list of peers comes in several messages, each of which fits a frame."""
        addresses = tuple(Address("h" * 250, port) for port in range(1, 5))
        for number in range(60):
            self.world.member(f"m{number}", f"10.0.1.{number}", name="n" * 64, addresses=addresses)
        newcomer = self.world.member("z", "10.0.2.1")
        lists = newcomer.take(Peers)
        self.assertEqual(sum(len(peers.up) for peers in lists), 60)
        self.assertTrue(all(len(TRACKER.encode(peers)) < limits.BATCH_BYTES for peers in lists))


class ListingTests(SynchronousTestCase):
    """Where a member is listed."""

    def test_seen(self) -> None:
        """Every port is listed at the address where the member is seen, before what it said."""
        said = (Address("0.0.0.0", 7000), Address("::", 7001), Address("192.168.0.4", 7000))
        self.assertEqual(
            listed_addresses(said, "203.0.113.5", None),
            (Address("203.0.113.5", 7000), Address("203.0.113.5", 7001), Address("192.168.0.4", 7000)),
        )

    def test_loopback(self) -> None:
        """A member on the tracker's machine is listed under the tracker's own advertised host first."""
        said = (Address("0.0.0.0", 7000),)
        self.assertEqual(
            listed_addresses(said, "127.0.0.1", "192.168.0.9"),
            (Address("192.168.0.9", 7000), Address("127.0.0.1", 7000)),
        )
        self.assertEqual(listed_addresses(said, "127.0.0.1", None), (Address("127.0.0.1", 7000),))
        self.assertEqual(listed_addresses(said, "", "192.168.0.9"), (Address("192.168.0.9", 7000),))

    def test_no_more_than_fit(self) -> None:
        """However many ports and addresses, no more are listed than a message takes."""
        said = tuple(Address(f"h{n}", 1000 + n) for n in range(4))
        self.assertEqual(len(listed_addresses(said, "127.0.0.1", "h")), limits.ADDRESSES + 1)

    def test_tells_others(self) -> None:
        """Others are told the advertised host of a member on the tracker's machine."""
        world = World(advertise="192.168.0.9")
        world.member("a", "127.0.0.1")
        b = world.member("b", "10.0.0.2")
        self.assertEqual(b.one(Peers).up[0].addresses[0], Address("192.168.0.9", 7000))
        world.end()


class MovedTests(Tracked):
    """Members that are somewhere else."""

    def test_listed_elsewhere(self) -> None:
        """A member that goes on from another address is listed there to all at once, and no more at the old one."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1)
        self.world.hub.pass_time(limits.UPDATE_COALESCE)
        b.heard.clear()
        again = self.world.dial("a", "10.0.0.77")
        welcome = again.join(addresses=(Address("10.0.0.77", 7000),))
        self.assertEqual(welcome.last_applied, 1)
        told = b.one(Peers)
        self.assertEqual(([info.addresses for info in told.up], told.down), ([(Address("10.0.0.77", 7000),)], (1,)))
        self.world.hub.pass_time(limits.UPDATE_COALESCE)
        self.assertEqual(b.one(Holders), Holders(3, ((0, 1),)))


class DialMeTests(Tracked):
    """Who can not dial another member asks it, through the tracker, to dial."""

    def test_passed_on(self) -> None:
        """The wish reaches the member that is meant, and it alone, with the number of who asks."""
        a, b, c = (self.world.member(name) for name in "abc")
        a.say(DialMe(2))
        self.assertEqual((a.take(DialMe), b.take(DialMe), c.take(DialMe)), ([], [DialMe(1)], []))

    def test_after_the_listing(self) -> None:
        """Who is asked has been told before who is asking, also if both come at once."""
        b = self.world.member("b")
        b.heard.clear()
        a = self.world.dial("a")
        a.end.write(framed(a.hello(), DialMe(1)))
        self.world.hub.pump()
        self.assertEqual([type(message) for message in b.heard if not isinstance(message, Delta)], [Peers, DialMe])

    def test_dropped(self) -> None:
        """A wish for a member that never was, is gone, lost its connection, or is the asking one itself, is dropped."""
        a, gone, lost = (self.world.member(name) for name in "abc")
        gone.say(Goodbye())
        lost.end.abortConnection()
        self.world.hub.pump()
        a.say(DialMe(1), DialMe(2), DialMe(3), DialMe(99))
        self.assertEqual((a.lost, a.take(DialMe), gone.take(DialMe), lost.take(DialMe)), (None, [], [], []))

    def test_within_one_share(self) -> None:
        """A wish does not leave its share."""
        self.world.member("a")
        others = [self.world.member(name, keys=OTHER_KEYS) for name in "bcd"]
        others[0].say(DialMe(2))
        a2 = self.world.member("e")
        a2.say(DialMe(3))
        self.assertEqual([len(member.take(DialMe)) for member in others], [0, 1, 0])

    def test_pair_limit(self) -> None:
        """The same wish is passed on once in an interval, also over a new connection."""
        a, b = self.world.member("a"), self.world.member("b")
        a.say(DialMe(2), DialMe(2))
        again = self.world.member("a")
        again.say(DialMe(2))
        self.assertEqual(b.take(DialMe), [DialMe(1)])
        self.world.hub.pass_time(limits.DIAL_ME_PAIR)
        again.say(DialMe(2))
        self.assertEqual(b.take(DialMe), [DialMe(3)])

    def test_member_limit(self) -> None:
        """Who asks many members is passed on up to the limit; the rest is dropped, and nobody is disconnected."""
        a = self.world.member("a")
        others = [self.world.member(f"m{number}", f"10.0.1.{number}") for number in range(limits.DIAL_ME_MOST + 1)]
        a.say(*(DialMe(number + 2) for number in range(len(others))))
        heard = [len(other.take(DialMe)) for other in others]
        self.assertEqual(heard, [1] * limits.DIAL_ME_MOST + [0])
        self.assertIsNone(a.lost)

    def test_who_does_not_read(self) -> None:
        """For a member that does not read its messages wishes do not pile up: one is on its way, one waits."""
        a, b = self.world.member("a"), self.world.member("b")
        b.end.paused = True
        b.end.other.producer.pauseProducing()  # type: ignore[union-attr]
        for _ in range(6):
            a.say(DialMe(2))
            self.world.hub.pass_time(limits.DIAL_ME_PAIR)
        b.end.paused = False
        b.end.other.producer.resumeProducing()  # type: ignore[union-attr]
        self.world.hub.pump()
        self.assertEqual(len(b.take(DialMe)), 2)


class AnnounceTests(Tracked):
    """Batches are taken in whole and acknowledged; others receive them as whole deltas."""

    def test_new_items(self) -> None:
        """The tracker asks for records that it lacks, acknowledges with numbers, and tells others, with the holder."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        a.say(Announce(1, False, True, held_keys=tuple(sorted((key(1), key(2))))))
        need = a.one(Need)
        self.assertEqual(need, Need(1, True, tuple(sorted((key(1), key(2))))))
        blobs = {key(n): blob(n) for n in (1, 2)}
        a.say(Blobs(1, True, tuple(blobs[k] for k in need.keys)))
        self.assertEqual(a.one(Announced), Announced(1, True, ((0, 2),)))
        delta = b.one(Delta)
        self.assertEqual((delta.end, delta.last), (2, True))
        self.assertEqual(delta.entries[0], Entry(0, blobs[need.keys[0]], (1,)))

    def test_nothing_before_all_is_there(self) -> None:
        """Nobody hears of a batch of which a record is still missing."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        keys = tuple(sorted((key(1), key(2))))
        blobs = {key(n): blob(n) for n in (1, 2)}
        a.say(Announce(1, False, False, held_keys=keys[:1]), Announce(1, False, True, held_keys=keys[1:]))
        a.say(Blobs(1, False, (blobs[keys[0]],)))
        self.assertEqual((a.take(Announced), b.take(Delta)), ([], []))
        a.say(Blobs(1, True, (blobs[keys[1]],)))
        self.assertEqual((len(a.take(Announced)), len(b.take(Delta))), (1, 1))

    def test_lost_in_the_middle(self) -> None:
        """A batch that was cut off by a break leaves nothing behind."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        a.say(Announce(1, False, True, held_keys=(key(1),)))
        a.end.abortConnection()
        self.world.hub.pump()
        self.assertEqual((b.take(Delta), self.world.directory.items), ([], 0))

    def test_known_records_are_not_sent_again(self) -> None:
        """A record that the tracker has is not asked for, whoever announces it."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1)
        b.say(Announce(1, False, True, known_keys=(key(1),)))
        self.assertEqual(b.take(Need), [])
        self.assertEqual(b.one(Announced), Announced(1, True, ((0, 1),)))

    def test_repeated(self) -> None:
        """A batch that is sent again is acknowledged again and changes nothing."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1)
        b.heard.clear()
        a.heard.clear()
        a.announce(1, 1)
        self.assertEqual(a.one(Announced).batch, 1)
        self.assertEqual(b.take(Delta), [])

    def test_resumed(self) -> None:
        """After a break within one start, Welcome names the last batch applied."""
        a = self.world.member("a")
        a.announce(1, 1)
        a.announce(2, 2)
        a.end.abortConnection()
        self.world.hub.pump()
        self.assertEqual(self.world.dial("a").join().last_applied, 2)

    def test_restarted(self) -> None:
        """After a restart of the process no batch counts as applied."""
        a = self.world.member("a")
        a.announce(1, 1)
        a.end.abortConnection()
        self.world.hub.pump()
        self.assertEqual(self.world.dial("a").join(nonce=b"start 2".ljust(16)).last_applied, 0)

    def test_pipelined(self) -> None:
        """Batches sent without waiting are applied and acknowledged in their order."""
        a = self.world.member("a")
        a.say(*[Announce(n, False, True, held_keys=(key(n),)) for n in (1, 2, 3)])
        for number in (1, 2, 3):
            self.assertEqual(a.one(Need), Need(number, True, (key(number),)))
            a.say(Blobs(number, True, (blob(number),)))
        self.assertEqual([done.batch for done in a.take(Announced)], [1, 2, 3])

    def test_too_many_batches(self) -> None:
        """As many batches may be under way as the limit says; one more drops the connection."""
        a = self.world.member("a")
        most = limits.BATCHES_IN_FLIGHT + 1  # one of them is being completed
        a.say(*[Announce(n, False, True, held_keys=(key(n),)) for n in range(1, most + 1)])
        self.assertIsNone(a.lost)
        a.say(Announce(most + 1, False, True, held_keys=(key(99),)))
        self.assertIsNotNone(a.lost)

    def test_unknown_reference(self) -> None:
        """A reference that nobody has is answered by a wish for everything; what follows is void until that comes."""
        a = self.world.member("a")
        digest = SetDigest(5, key(5))
        a.say(Announce(1, True, True, reference=(digest, digest)))
        self.assertEqual(a.one(Need), Need(1, True, everything=True))
        a.say(Announce(2, False, True, held_keys=(key(2),)))
        self.assertEqual((a.take(Need), a.take(Announced)), ([], []))
        a.announce(3, 1, 2, full=True)
        self.assertEqual(a.one(Announced), Announced(3, True, ((0, 2),)))

    def test_known_reference(self) -> None:
        """A reference to what another member has costs one message."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1, 2)
        known, held = Digest([key(1), key(2)]).value(), SetDigest()
        b.say(Announce(1, True, True, reference=(known, held)))
        self.assertEqual(b.one(Announced), Announced(1, True))
        b.say(KeepAlive(known, held))
        self.assertEqual(b.one(Alive), Alive(True))

    def test_unknown_number(self) -> None:
        """A number that stands for nothing is answered by a wish for everything."""
        a = self.world.member("a")
        a.say(Announce(1, True, True, ((0, 3),)))
        self.assertEqual(a.one(Need), Need(1, True, everything=True))

    def test_record_gone(self) -> None:
        """A member that has a record no more says so by a short answer, and is asked for everything."""
        a = self.world.member("a")
        a.say(Announce(1, False, True, held_keys=(key(1),)), Blobs(1, True, ()))
        self.assertEqual([need.everything for need in a.take(Need)], [False, True])

    def test_room(self) -> None:
        """Records beyond the tracker's memory are refused with a sentence; up to it they are taken."""
        self.world.end()
        self.world = World(room=2 * len(blob(1)))
        a = self.world.member("a")
        a.announce(1, 1, 2)
        self.assertEqual(len(a.take(Announced)), 1)
        a.announce(2, 3)
        self.assertEqual(a.one(Refused).code, "full")

    def test_room_for_what_is_under_way(self) -> None:
        """Records of a batch that is not complete count too, so that no memory is filled by batches without an end."""
        self.world.end()
        self.world = World(room=2 * len(blob(1)))
        a = self.world.member("a")
        keys = tuple(sorted(key(n) for n in range(1, 9)))
        blobs = {key(n): blob(n) for n in range(1, 9)}
        a.say(Announce(1, False, True, held_keys=keys))
        a.say(Blobs(1, False, tuple(blobs[k] for k in keys[:2])))
        self.assertEqual(a.take(Refused), [])
        a.say(Blobs(1, False, (blobs[keys[2]],)))
        self.assertEqual(a.one(Refused).code, "full")

    def test_room_is_given_back(self) -> None:
        """What was under way counts no more once its batch is applied, was void, or its member is gone."""
        self.world.end()
        self.world = World(room=2 * len(blob(10)))
        for _ in range(3):
            lost = self.world.member("b")
            lost.say(Announce(1, False, True, held_keys=tuple(sorted((key(90), key(91))))))
            need = lost.one(Need)
            lost.say(Blobs(1, False, (next(blob(n) for n in (90, 91) if key(n) == need.keys[0]),)))
            lost.end.abortConnection()
            self.world.hub.pump()
        a = self.world.member("a")
        for number in range(10, 30):
            a.announce(2 * number - 19, number)
            a.say(Announce(2 * number - 18, False, True, gone_keys=(key(number),)))
        self.assertEqual(a.take(Refused), [])
        self.assertEqual([done.batch for done in a.take(Announced)], list(range(1, 41)))

    def test_long_batches(self) -> None:
        """Thousands of records travel in several messages each way, and arrive in one delta."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        numbers = range(5000)
        blobs = {key(n): blob(n) for n in numbers}
        keys = sorted(blobs)
        for first in range(0, 5000, 1000):
            a.say(Announce(1, True, first == 4000, held_keys=tuple(keys[first : first + 1000])))
        needs = a.take(Need)
        self.assertGreater(len(needs), 1)
        wanted = [k for need in needs for k in need.keys]
        self.assertEqual(wanted, keys)
        for first in range(0, 5000, 1000):
            a.say(Blobs(1, first == 4000, tuple(blobs[k] for k in wanted[first : first + 1000])))
        self.assertEqual(a.one(Announced), Announced(1, True, ((0, 5000),)))
        deltas = b.take(Delta)
        self.assertGreater(len(deltas), 1)
        self.assertEqual([delta.last for delta in deltas], [False] * (len(deltas) - 1) + [True])
        self.assertEqual([entry.number for delta in deltas for entry in delta.entries], list(numbers))
        self.assertEqual({delta.end for delta in deltas}, {5000})


class DeltaTests(Tracked):
    """A member reads the log from where it was, whole deltas at a time."""

    def test_newcomer(self) -> None:
        """A newcomer receives everything up to the target that Welcome named."""
        self.world.member("a").announce(1, 1, 2)
        b = self.world.dial("b")
        self.assertEqual(b.join().target, 2)
        self.assertEqual([entry.number for entry in b.one(Delta).entries], [0, 1])

    def test_from_the_cursor(self) -> None:
        """Who comes back in the same epoch receives only what it has not read."""
        a = self.world.member("a")
        epoch = a.one(Welcome).epoch
        a.announce(1, 1)
        a.announce(2, 2)
        b = self.world.dial("b")
        b.join(epoch=epoch, cursor=1)
        self.assertEqual([entry.number for entry in b.one(Delta).entries], [1])

    def test_other_epoch(self) -> None:
        """A cursor of another epoch counts for nothing."""
        self.world.member("a").announce(1, 1)
        b = self.world.dial("b")
        b.join(epoch=bytes(16), cursor=1)
        self.assertEqual(len(b.one(Delta).entries), 1)

    def test_same_set(self) -> None:
        """Who knows the very set of the log is at the target at once and receives nothing."""
        self.world.member("a").announce(1, 1)
        b = self.world.dial("b")
        self.assertTrue(b.join(known=Digest([key(1)]).value()).same)
        self.assertEqual(b.take(Delta), [])

    def test_pinned(self) -> None:
        """A delta that is being sent is complete even if its items are forgotten meanwhile, and later news waits."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        b.end.other.stalled = True
        b.end.other.high_water = 0
        a.announce(1, *range(2000))
        a.announce(2, 5000)
        a.say(Goodbye())
        self.assertEqual(self.world.directory.items, 0)
        b.end.other.stalled = False
        self.world.hub.pump()
        deltas = b.take(Delta)
        first = [entry for delta in deltas if delta.end == 2000 for entry in delta.entries]
        self.assertEqual([entry.number for entry in first], list(range(2000)))
        self.assertEqual([delta.end for delta in deltas if delta.last], [2000, 2001])

    def test_no_queue(self) -> None:
        """A member that does not read costs no queue: what it missed comes as one delta."""
        a, b = self.world.member("a"), self.world.member("b")
        b.heard.clear()
        b.end.other.stalled = True
        b.end.other.high_water = 0
        for number in range(1, 60):
            a.announce(number, number)
        queued = b.end.other.sent
        b.end.other.stalled = False
        self.world.hub.pump()
        self.assertLess(queued, 3000)
        deltas = b.take(Delta)
        self.assertLessEqual(len(deltas), 3)
        self.assertEqual(sum(len(delta.entries) for delta in deltas), 59)


class HoldersTests(Tracked):
    """Members that lack a content learn who holds it."""

    def test_gathered(self) -> None:
        """Holds are told to those who lack the item, once, after 50 ms at most, and not to the holder."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1, 2, held=False)
        self.world.hub.pass_time(1)
        b.heard.clear()
        a.heard.clear()
        a.say(Announce(2, False, True, held=((0, 1),)))
        self.world.hub.pass_time(0.8 * limits.UPDATE_COALESCE, step=0.01)
        a.say(Announce(3, False, True, held=((1, 1),)))
        self.assertEqual(b.take(Holders), [])
        self.world.hub.pass_time(0.3 * limits.UPDATE_COALESCE, step=0.01)
        self.assertEqual(b.one(Holders), Holders(1, ((0, 2),), ()))
        self.assertEqual(a.take(Holders), [])

    def test_lost(self) -> None:
        """A member that knows an item but holds it no more is named as such."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1)
        self.world.hub.pass_time(1)
        b.heard.clear()
        a.say(Announce(2, False, True, known=((0, 1),)))
        self.world.hub.pass_time(1)
        self.assertEqual(b.one(Holders), Holders(1, (), ((0, 1),)))

    def test_who_holds(self) -> None:
        """The answer to WhoHolds names holders and knowers of each item, also of one that is not there."""
        a, b = self.world.member("a"), self.world.member("b")
        a.announce(1, 1, 2)
        b.say(Announce(1, False, True, known=((0, 1),)))
        b.say(WhoHolds(((0, 2), (77, 1))))
        self.assertEqual(b.one(HoldersOf), HoldersOf(((0, (1,), (1, 2)), (1, (1,), (1,)), (77, (), ()))))

    def test_who_holds_edges(self) -> None:
        """A question may name LIST_ITEMS items; none, or one more, drops the connection."""
        a = self.world.member("a")
        a.say(WhoHolds(((0, limits.LIST_ITEMS),)))
        self.assertEqual(sum(len(part.entries) for part in a.take(HoldersOf)), limits.LIST_ITEMS)
        a.say(WhoHolds(((0, limits.LIST_ITEMS + 1),)))
        self.assertIsNotNone(a.lost)
        b = self.world.member("b")
        b.say(WhoHolds(()))
        self.assertIsNotNone(b.lost)

    def test_questions_in_flight(self) -> None:
        """Who asks on and on without reading the answers is dropped."""
        a = self.world.member("a")
        a.announce(1, 1)
        a.end.other.stalled = True
        a.end.other.high_water = 0
        for _ in range(limits.REQUESTS_IN_FLIGHT + 2):
            a.say(WhoHolds(((0, 1),)))
        a.end.other.stalled = False
        self.world.hub.pump()
        self.assertIsNotNone(a.lost)


class KeepAliveTests(Tracked):
    """Signs of life, and whether both sides mean the same."""

    def test_same(self) -> None:
        """Equal digests are confirmed; a difference in what is known or held is told."""
        a = self.world.member("a")
        a.announce(1, 1, 2)
        both, one = Digest([key(1), key(2)]).value(), Digest([key(1)]).value()
        a.say(KeepAlive(both, both), KeepAlive(one, both), KeepAlive(both, one))
        self.assertEqual(a.take(Alive), [Alive(True), Alive(False), Alive(False)])

    def test_during_a_batch(self) -> None:
        """While a batch is under way nothing is called different."""
        a = self.world.member("a")
        a.say(Announce(1, False, True, held_keys=(key(1),)), KeepAlive(SetDigest(9, bytes(16)), SetDigest()))
        self.assertEqual(a.one(Alive), Alive(True))


class DuplicateTests(Tracked):
    """Two sessions of one device key."""

    NEW = b"start 2".ljust(16)

    def test_silent(self) -> None:
        """An older session that does not answer within five seconds is replaced."""
        old = self.world.member("a")
        old.end.stalled = old.end.other.stalled = True
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW))
        self.world.hub.pass_time(limits.DUPLICATE_PING - 0.5)
        self.assertEqual(new.take(Welcome), [])
        self.world.hub.pass_time(1)
        self.assertEqual(new.one(Welcome).member, 2)
        self.assertEqual(self.world.directory.members, 1)

    def test_alive(self) -> None:
        """If the older session answers, the newcomer is refused as a duplicate, and the older one stays."""
        old = self.world.member("a")
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW))
        old.one(Ping)
        old.say(Pong())
        self.assertEqual(new.one(Refused).code, "duplicate-device")
        self.assertIsNone(old.lost)
        self.world.hub.pass_time(limits.REFUSAL_LINGER)
        self.assertIsNotNone(new.lost)

    def test_anything_is_an_answer(self) -> None:
        """Whatever the older session says counts as life."""
        old = self.world.member("a")
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW))
        old.say(KeepAlive(SetDigest(), SetDigest()))
        self.assertEqual(new.one(Refused).code, "duplicate-device")

    def test_same_process(self) -> None:
        """The same process that comes back is believed at once: its other connection is dead."""
        old = self.world.member("a")
        new = self.world.member("a", "10.0.0.2")
        self.assertEqual(new.one(Welcome).member, 2)
        self.assertIsNotNone(old.lost)

    def test_two_newcomers(self) -> None:
        """Of two newcomers that wait for the same silent session one is welcomed, then asked about for the other."""
        old = self.world.member("a")
        old.end.stalled = old.end.other.stalled = True
        first, second = self.world.dial("a", "10.0.0.2"), self.world.dial("a", "10.0.0.3")
        first.say(first.hello(nonce=self.NEW))
        second.say(second.hello(nonce=b"start 3".ljust(16)))
        self.world.hub.pass_time(limits.DUPLICATE_PING + 1)
        self.assertEqual(len(first.take(Welcome)) + len(second.take(Welcome)), 1)
        first.say(Pong())
        self.assertEqual(second.one(Refused).code, "duplicate-device")

    def test_newcomer_gives_up(self) -> None:
        """A newcomer that leaves while the older session is asked changes nothing."""
        old = self.world.member("a")
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW))
        new.end.abortConnection()
        self.world.hub.pass_time(limits.DUPLICATE_PING + 1)
        self.assertIsNone(old.lost)
        self.assertEqual(self.world.directory.members, 1)

    def test_older_one_leaves(self) -> None:
        """If the older session ends while it is asked, the newcomer is welcomed at once."""
        old = self.world.member("a")
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW))
        old.end.abortConnection()
        self.world.hub.pump()
        self.assertEqual(len(new.take(Welcome)), 1)

    def test_talking_while_joining(self) -> None:
        """Whoever talks before it is welcomed is dropped."""
        self.world.member("a")
        new = self.world.dial("a", "10.0.0.2")
        new.say(new.hello(nonce=self.NEW), Pong())
        self.assertIsNotNone(new.lost)


class LimitTests(Tracked):
    """How many may come in."""

    def worlds(self, **limits_: int) -> None:
        """Begin anew with these limits."""
        self.world.end()
        self.world = World(admission=Admission(**limits_))

    def test_strangers(self) -> None:
        """Strangers up to the limit are let in, one more is hung up on without a word; a proof makes room."""
        self.worlds(strangers=2)
        first, second = self.world.dial("a"), self.world.dial("b", "10.0.0.2")
        third = self.world.dial("c", "10.0.0.3")
        self.assert_dropped_silently(third)
        first.join()
        fourth = self.world.dial("d", "10.0.0.4")
        self.assertIsNone(fourth.lost)
        self.assertIsNone(second.lost)

    def test_strangers_per_address(self) -> None:
        """One address may have so many strangers; another address is not hurt by them; this machine is not bound."""
        self.worlds(strangers_per_address=1)
        self.assertIsNone(self.world.dial("a").lost)
        self.assertIsNotNone(self.world.dial("b").lost)
        self.assertIsNone(self.world.dial("c", "10.0.0.2").lost)
        local = [self.world.dial(f"l{n}", "127.0.0.1") for n in range(3)]
        self.assertEqual([member.lost for member in local], [None] * 3)

    def test_members(self) -> None:
        """Members beyond the limit are refused with a sentence that they can read."""
        self.worlds(members=1)
        self.world.member("a")
        refused = self.world.member("b", "10.0.0.2").one(Refused)
        self.assertEqual(refused.code, "full")
        self.assertIn("later", refused.text)

    def test_members_per_address(self) -> None:
        """Members of one address are limited, those of another are not hurt; this machine is not bound."""
        self.worlds(members_per_address=1)
        self.world.member("a")
        self.assertEqual(self.world.member("b").one(Refused).code, "full")
        self.assertEqual(len(self.world.member("c", "10.0.0.2").take(Welcome)), 1)
        for name in "de":
            self.assertEqual(len(self.world.member(name, "127.0.0.1").take(Welcome)), 1)

    def test_a_lost_connection_makes_room(self) -> None:
        """A connection that is gone counts no more, whether it was a member's or a stranger's."""
        self.worlds(strangers=1, members=1)
        self.world.dial("a").end.abortConnection()
        self.world.hub.pump()
        self.world.member("b").end.abortConnection()
        self.world.hub.pump()
        self.assertEqual(len(self.world.member("c").take(Welcome)), 1)

    def test_hello_length(self) -> None:
        """A stranger's frame longer than the longest Hello drops the connection at its announcement."""
        member = self.world.dial()
        member.end.write((limits.HELLO_FRAME_BYTES + 1).to_bytes(4, "big"))
        self.world.hub.pump()
        self.assert_dropped_silently(member)

    def test_longest_hello(self) -> None:
        """A Hello with the longest name and all addresses is welcomed."""
        addresses = tuple(Address("h" * 255, port) for port in range(1, 5))
        member = self.world.member(name="\N{GRINNING FACE}" * 64, addresses=addresses)
        self.assertEqual(len(member.take(Welcome)), 1)


class LifetimeTests(Tracked):
    """Connections end cleanly in any state."""

    def test_cut_everywhere(self) -> None:
        """A break after any byte of a whole conversation leaves nothing behind that waits or fails."""
        script = [
            Announce(1, False, True, held_keys=(key(1),)),
            Blobs(1, True, (blob(1),)),
            WhoHolds(((0, 1),)),
            KeepAlive(SetDigest(), SetDigest()),
            Goodbye(),
        ]
        length = len(framed(self.world.dial().hello(), *script))
        for cut in range(0, length, 7):
            world = World()
            member = world.dial()
            data = framed(member.hello(), *script)[:cut]
            member.end.write(data)
            world.hub.pump()
            world.end()

    def test_tracker_stops(self) -> None:
        """A tracker that stops says goodbye to members, and hangs up on strangers without a word."""
        member, stranger = self.world.member("a"), self.world.dial("b")
        for caller in self.world.callers:
            caller.say_goodbye()
        self.world.hub.pump()
        self.assertEqual(member.one(Goodbye), Goodbye())
        self.assertIsNotNone(member.lost)
        self.assert_dropped_silently(stranger)

    def test_loss_is_ordinary(self) -> None:
        """A member that goes away in the middle of a delta raises nothing."""
        a, b = self.world.member("a"), self.world.member("b")
        b.end.other.stalled = True
        b.end.other.high_water = 0
        a.announce(1, *range(1500))
        b.end.other.lose(ConnectionDone())
        self.world.hub.pass_time(1)
        self.assertEqual(self.world.directory.members, 2)

    def test_names_of_shares_are_kept_apart_by_rules(self) -> None:
        """The same secret with other rules for names is another share."""
        self.world.member("a").announce(1, 1)
        other = ShareKeys.derive(b"secret secret 16", portable=True)
        self.assertEqual(self.world.dial("b", keys=other).join().target, 0)
