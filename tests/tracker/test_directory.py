"""The directory gives whole deltas, forgets what nobody knows, and never gives a number twice."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import ConnectionFull, ProtocolViolation, Refusal
from twistedp2p.messages.tracker import Address, Entry, SetDigest
from twistedp2p.tracker.batch import Batch, ItemRef
from twistedp2p.tracker.digest import Digest
from twistedp2p.tracker.directory import Directory
from twistedp2p.tracker.share_directory import Applied, Joined, ShareDirectory, Unresolved

SHARE = bytes(20)
ADDRESS = Address("192.0.2.1", 17412)


def blob(name: str) -> bytes:
    """Return a sealed record, as far as a directory can tell."""
    return name.encode()


def key(name: str) -> bytes:
    """Return the key of that record."""
    return blake3(blob(name)).digest(16)


def digest(*names: str) -> SetDigest:
    """Return the digest of these items."""
    return Digest(key(name) for name in names).value()


def keys(*names: str) -> tuple[bytes, ...]:
    """Return the keys of these records, in canonical order."""
    return tuple(sorted(key(name) for name in names))


class Entropy:
    """Counts instead of drawing."""

    def __init__(self) -> None:
        self._count = count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._count).to_bytes(size, "big")


def share(peers: int = 100, items_per_peer: int = 100) -> ShareDirectory:
    """Return the directory of a new share."""
    return ShareDirectory(Entropy(), expiry=100.0, peers=peers, items_per_peer=items_per_peer)


def join(
    to: ShareDirectory,
    node: str,
    nonce: str = "start",
    *,
    epoch: bytes = b"",
    cursor: int = 0,
    known: SetDigest | None = None,
    now: float = 0.0,
) -> Joined:
    """Let a node join that knows one item nobody else has, unless told otherwise."""
    return to.join(
        blake3(node.encode()).digest(20),
        nonce.encode(),
        epoch=epoch,
        cursor=cursor,
        known=digest(node) if known is None else known,
        name=node,
        versions=(1,),
        addresses=(ADDRESS,),
        now=now,
    )


def blobs(*names: str) -> Mapping[bytes, bytes]:
    """Return records by key."""
    return {key(name): blob(name) for name in names}


def say(
    to: ShareDirectory,
    member: Joined,
    number: int,
    *held: str,
    known: tuple[str, ...] = (),
    gone: tuple[ItemRef, ...] = (),
    full: bool = False,
    now: float = 0.0,
) -> Applied | None:
    """Let a member announce items by key."""
    batch = Batch(number, full, keys(*known), keys(*held), gone)
    missing = to.missing(member.member, batch)
    given = {one: every for one, every in blobs(*held, *known).items() if one in missing}
    return to.apply(member.member, batch, given, now)


def read(of: ShareDirectory, member: Joined) -> list[str]:
    """Return the records of a member's next delta, and move its cursor."""
    delta = of.delta(member.member)
    if delta is None:
        return []
    of.advance(member.member, delta.end)
    return [item.blob.decode() for item in delta.items]


class DeltaTests(SynchronousTestCase):
    """What is said by one is read by all others."""

    def test_order(self) -> None:
        """New items are numbered in the order of their keys, and others read them in that order, once."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        applied = say(directory, a, 1, "x", "y", "z")
        self.assertEqual(applied, Applied((0, 1, 2), True))
        self.assertEqual(read(directory, b), sorted(["x", "y", "z"], key=key))
        self.assertEqual(read(directory, b), [])

    def test_no_echo(self) -> None:
        """A member is not sent what it said in this session that it holds, but is after it came back."""
        directory = share()
        a = join(directory, "a")
        say(directory, a, 1, "x", known=("y",))
        self.assertEqual(read(directory, a), ["y"])
        a = join(directory, "a")
        self.assertEqual(sorted(read(directory, a)), ["x", "y"])

    def test_pinned(self) -> None:
        """A delta keeps what it was read with, though it is forgotten before it is sent."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x")
        delta = directory.delta(b.member)
        say(directory, a, 2, "y", gone=(key("x"),))
        assert delta is not None
        self.assertEqual([directory.entry(item) for item in delta.items], [Entry(0, blob("x"), ())])
        directory.advance(b.member, delta.end)
        self.assertEqual(read(directory, b), ["y"])

    def test_forgotten(self) -> None:
        """What no live member knows is not in the log; said again, it has a new number."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x")
        say(directory, a, 2, "y", gone=(0,))
        self.assertEqual(read(directory, b), ["y"])
        self.assertEqual((len(directory.log), directory.log.bytes), (1, 1))
        self.assertEqual(say(directory, a, 3, "x"), Applied((2,), True))
        self.assertEqual(read(directory, b), ["x"])

    def test_known_already(self) -> None:
        """An item that somebody knows needs no blob, and is no news."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x")
        batch = Batch(1, True, (), keys("x"))
        self.assertEqual(directory.missing(b.member, batch), [])
        self.assertEqual(directory.apply(b.member, batch, {}, 0.0), Applied((0,), False))
        self.assertEqual(directory.holders_of(0), (a.member, b.member))

    def test_resume(self) -> None:
        """A member that comes back in the same epoch reads on where it was; with another epoch, from the beginning."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x")
        say(directory, a, 2, "y")
        b = join(directory, "b", epoch=directory.epoch, cursor=1)
        self.assertEqual((b.target, read(directory, b)), (2, ["y"]))
        b = join(directory, "b", epoch=bytes(16), cursor=1)
        self.assertEqual(read(directory, b), ["x", "y"])
        b = join(directory, "b", epoch=directory.epoch, cursor=3)
        self.assertEqual(read(directory, b), ["x", "y"])

    def test_same_set(self) -> None:
        """Who knows the very set of items that is known has nothing to read."""
        directory = share()
        a = join(directory, "a")
        say(directory, a, 1, "x", known=("y",))
        b = join(directory, "b", known=digest("x", "y"))
        self.assertTrue(b.same)
        self.assertEqual(read(directory, b), [])
        c = join(directory, "c", known=digest("x"))
        self.assertFalse(c.same)


class BatchTests(SynchronousTestCase):
    """A batch is applied whole, once, or not at all."""

    def test_repeated(self) -> None:
        """A batch that was applied changes nothing and is acknowledged with the same numbers."""
        directory = share()
        a = join(directory, "a")
        first = say(directory, a, 1, "x")
        say(directory, a, 2, known=("x",))
        self.assertEqual(say(directory, a, 1, "x"), Applied((0,), False))
        self.assertEqual(first, Applied((0,), True))
        self.assertEqual(directory.holders_of(0), ())
        self.assertEqual(directory.knowers_of(0), (a.member,))

    def test_repeated_after_forgetting(self) -> None:
        """A batch that was applied and is forgotten meanwhile is acknowledged without numbers."""
        directory = share()
        a = join(directory, "a")
        say(directory, a, 1, "x")
        say(directory, a, 2, gone=(0,))
        self.assertEqual(directory.missing(a.member, Batch(1, False, (), keys("x"))), [])
        self.assertEqual(say(directory, a, 1, "x"), Applied((), False))

    def test_full_replaces(self) -> None:
        """A full batch replaces all that was known of the member, holds included."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x", "y")
        say(directory, b, 1, "y")
        say(directory, a, 2, "z", known=("y",), full=True)
        number = {name: item.number for name in "yz" if (item := directory.log.find(key(name))) is not None}
        self.assertIsNone(directory.log.find(key("x")))
        self.assertEqual(directory.holders_of(number["y"]), (b.member,))
        self.assertEqual(directory.knowers_of(number["y"]), (a.member, b.member))
        self.assertEqual(directory.holders_of(number["z"]), (a.member,))

    def test_unknown_number(self) -> None:
        """A batch with a number that stands for nothing asks for everything, and leaves all as it was."""
        for batch in (
            Batch(2, False, (7,), keys("y")),
            Batch(2, True, (), (7, *keys("y"))),
            Batch(2, False, (), keys("y"), (7,)),
        ):
            directory = share()
            a = join(directory, "a")
            say(directory, a, 1, "x")
            with self.assertRaises(Unresolved):
                directory.apply(a.member, batch, blobs("y"), 0.0)
            self.assertEqual((len(directory.log), directory.log.end, directory.holders_of(0)), (1, 1, (a.member,)))

    def test_building_on_nothing(self) -> None:
        """A batch that builds on one that was lost or not understood is not applied; only a full one is."""
        directory = share()
        a = join(directory, "a")
        say(directory, a, 1, "x")
        with self.assertRaises(Unresolved):
            say(directory, a, 3, "z")
        self.assertIsNone(say(directory, a, 4, "z"))
        self.assertEqual(directory.log.digest.value(), digest("x"))
        self.assertEqual(
            say(directory, a, 5, "x", "z", full=True), Applied((0, 1) if key("x") < key("z") else (1, 0), True)
        )
        self.assertIsNotNone(say(directory, a, 6, "y"))

    def test_reference(self) -> None:
        """A full batch of sets that the directory has needs no list; one of other sets must be said."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x", known=("y",))
        bare = Batch(1, True, reference=(digest("x", "y"), digest("x")))
        self.assertEqual(directory.apply(b.member, bare, {}, 0.0), Applied((), False))
        number = {name: item.number for name in "xy" if (item := directory.log.find(key(name))) is not None}
        self.assertEqual(directory.holders_of(number["x"]), (a.member, b.member))
        self.assertEqual(directory.holders_of(number["y"]), ())
        for known, held in ((("x",), ("y",)), (("z",), ()), (("x",), ("x", "y"))):
            with self.assertRaises(Unresolved):
                directory.apply(b.member, Batch(2, True, reference=(digest(*known), digest(*held))), {}, 0.0)

    def test_union_as_reference(self) -> None:
        """All that is known together is a set that can be referred to."""
        directory = share()
        a, b, c = join(directory, "a"), join(directory, "b"), join(directory, "c")
        say(directory, a, 1, "x")
        say(directory, b, 1, "y")
        bare = Batch(1, True, reference=(digest("x", "y"), digest()))
        self.assertEqual(directory.apply(c.member, bare, {}, 0.0), Applied((), False))
        self.assertEqual(directory.knowers_of(0), (a.member, c.member))

    def test_false_blob(self) -> None:
        """A record that does not have its key's hash is refused, and so is the batch."""
        directory = share()
        a = join(directory, "a")
        with self.assertRaises(ProtocolViolation):
            directory.apply(a.member, Batch(1, True, (), keys("x")), {key("x"): b"y"}, 0.0)
        with self.assertRaises(Unresolved):
            directory.apply(a.member, Batch(1, True, (), keys("x")), {}, 0.0)
        self.assertEqual(len(directory.log), 0)

    def test_limits(self) -> None:
        """The limits on items, bytes and members hold at the edge and not past it."""
        directory = share(items_per_peer=2, peers=2)
        a = join(directory, "a")
        say(directory, a, 1, "x", "y")
        self.assertIsNotNone(say(directory, a, 2, "z", gone=(key("x"),)))
        with self.assertRaises(ProtocolViolation):
            say(directory, a, 3, "x")
        with self.assertRaises(ProtocolViolation):
            say(directory, a, 3, "x", "y", "z", full=True)
        join(directory, "b")
        join(directory, "b")
        with self.assertRaises(ConnectionFull):
            join(directory, "c")
        tracker = Directory(Entropy(), room=2)
        one, other = tracker.share(b"1" * 20), tracker.share(b"2" * 20)
        say(one, join(one, "a"), 1, "x")
        b = join(other, "b")
        with self.assertRaises(ConnectionFull):
            say(other, b, 1, "y", "z")
        say(other, b, 1, "y")
        self.assertEqual((tracker.bytes, tracker.items, tracker.members), (2, 2, 2))


class MemberTests(SynchronousTestCase):
    """Members come, are replaced, fall silent and leave."""

    def test_break(self) -> None:
        """After a break the same process goes on; a new process begins anew, and is known by what it said before."""
        directory = share()
        a = join(directory, "a", "first")
        say(directory, a, 1, "x")
        again = join(directory, "a", "first")
        self.assertEqual((again.last_applied, directory.holders_of(0)), (1, (again.member,)))
        restarted = join(directory, "a", "second")
        self.assertEqual((restarted.last_applied, directory.holders_of(0)), (0, (restarted.member,)))
        say(directory, restarted, 1, known=("x",), full=True)
        self.assertEqual((directory.holders_of(0), directory.knowers_of(0)), ((), (restarted.member,)))
        self.assertEqual(len(directory), 1)

    def test_stale_session(self) -> None:
        """A session that was replaced can say nothing any more, and is sent nothing."""
        directory = share()
        old = join(directory, "a")
        new = join(directory, "a")
        self.assertEqual(directory.session_of(blake3(b"a").digest(20)), new.member)
        self.assertIsNone(say(directory, old, 1, "x"))
        self.assertIsNone(directory.delta(old.member))
        self.assertIsNone(directory.leave(old.member))
        self.assertEqual([peer.member for peer in directory.peers()], [new.member])

    def test_expiry(self) -> None:
        """Who is silent for longer than the expiry is forgotten, with what only it knew."""
        directory = share()
        a, b = join(directory, "a"), join(directory, "b")
        say(directory, a, 1, "x", "y")
        say(directory, b, 1, "y", now=50.0)
        self.assertEqual(directory.expire(100.0), [])
        directory.touch(b.member, 90.0)
        self.assertEqual([member.session for member in directory.expire(100.5)], [a.member])
        self.assertEqual(len(directory.log), 1)
        self.assertIsNone(directory.session_of(blake3(b"a").digest(20)))

    def test_goodbye(self) -> None:
        """Who leaves is forgotten at once, with its batches."""
        directory = share()
        a = join(directory, "a")
        say(directory, a, 1, "x")
        self.assertIsNotNone(directory.leave(a.member))
        self.assertEqual((len(directory.log), len(directory)), (0, 0))
        self.assertEqual(join(directory, "a").last_applied, 0)

    def test_share_dropped(self) -> None:
        """A share without members is dropped, and comes back in a new epoch."""
        tracker = Directory(Entropy(), expiry=10.0)
        directory = tracker.share(SHARE)
        a = join(directory, "a")
        self.assertIs(tracker.share(SHARE), directory)
        self.assertEqual([member.session for member in tracker.expire(11.0)[SHARE]], [a.member])
        self.assertNotEqual(tracker.share(SHARE).epoch, directory.epoch)

    def test_only_share(self) -> None:
        """A tracker of one share serves no other."""
        tracker = Directory(Entropy(), only_share=SHARE)
        tracker.share(SHARE)
        with self.assertRaises(Refusal):
            tracker.share(b"x" * 20)


class HolderTests(SynchronousTestCase):
    """Members hear who holds what they lack."""

    def news(self, of: ShareDirectory, member: Joined) -> list[tuple[int, list[int], list[int]]]:
        """Return the news for a member as plain lists."""
        return [(one.member, list(one.held), list(one.lost)) for one in of.holder_news(member.member)]

    def test_only_what_is_lacking(self) -> None:
        """News are about items that one does not hold, merged by member, and told once."""
        directory = share()
        a, b, c = join(directory, "a"), join(directory, "b"), join(directory, "c")
        say(directory, a, 1, "x")
        say(directory, b, 1, "x", "y")
        say(directory, b, 2, known=("y",))
        self.assertEqual(self.news(directory, a), [(b.member, [], [1])])
        self.assertEqual(self.news(directory, b), [])
        self.assertEqual(self.news(directory, c), [(a.member, [0], []), (b.member, [0], [1])])
        self.assertFalse(directory.has_news(c.member))
        self.assertEqual(self.news(directory, c), [])

    def test_replaced_holder(self) -> None:
        """A holder that comes back under a new session number is told again; one that is gone is not told."""
        directory = share()
        a, b, c = join(directory, "a"), join(directory, "b"), join(directory, "c")
        say(directory, a, 1, "x")
        say(directory, c, 1, "x")
        a = join(directory, "a")
        directory.leave(c.member)
        self.assertTrue(directory.has_news(b.member))
        self.assertEqual(self.news(directory, b), [(a.member, [0], [])])

    def test_entry(self) -> None:
        """An item of a delta travels with its holders, the announcer at once, and no more than there is room for."""
        directory = share()
        members = [join(directory, str(number)) for number in range(20)]
        for member in members[:-1]:
            say(directory, member, 1, "x")
        delta = directory.delta(members[-1].member)
        assert delta is not None
        entry = directory.entry(delta.items[0])
        self.assertEqual(entry, Entry(0, blob("x"), tuple(member.member for member in members[:16])))
        self.assertEqual(len(directory.holders_of(0)), 19)


_step = st.tuples(
    st.integers(0, 2), st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.booleans(), min_size=6, max_size=6)
)


@given(st.lists(_step, max_size=25))
def test_bookkeeping(steps: list[tuple[int, list[str], list[bool]]]) -> None:
    """After any batches, sets, counts, digests and the log agree, and a reader has seen every item that is known."""
    directory = share()
    members = [join(directory, str(number)) for number in range(3)]
    knows: list[dict[str, bool]] = [{}, {}, {}]
    seen: list[set[str]] = [set(), set(), set()]
    numbers = [0, 0, 0]
    for turn, (who, names, holding) in enumerate(steps, 1):
        numbers[who] += 1
        now = dict(zip(names, holding, strict=False))
        gone = tuple(key(name) for name in knows[who] if name not in now)
        say(
            directory,
            members[who],
            numbers[who],
            *(name for name in now if now[name]),
            known=tuple(name for name in now if not now[name]),
            gone=() if turn % 3 == 0 else gone,
            full=turn % 3 == 0,
        )
        knows[who] = now
        if who < 2:
            seen[who] |= {name for name in now if now[name]}
        reader = turn % 2
        seen[reader] |= set(read(directory, members[reader]))
    everything = {name for one in knows for name in one}
    assert directory.log.digest.value() == digest(*everything)
    assert directory.log.bytes == len(everything)
    for member, one in zip(members, knows, strict=True):
        state = directory.member(member.member)
        assert state is not None
        assert state.known.value() == digest(*one)
        assert state.held.value() == digest(*(name for name in one if one[name]))
    for name in everything:
        item = directory.log.find(key(name))
        assert item is not None
        assert item.knowers == sum(name in one for one in knows)
        assert item.holders == sum(one.get(name, False) for one in knows)
    for reader in (0, 1):
        seen[reader] |= set(read(directory, members[reader]))
        assert everything <= seen[reader]
