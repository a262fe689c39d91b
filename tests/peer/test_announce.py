"""Batches: each is what differs from what was last said, and together they say all that is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.messages.tracker import SetDigest
from twistedp2p.peer.announce import Announcer
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.digest import Digest

K = [bytes([number]) * 16 for number in range(10)]
Items = dict[str, tuple[bytes, bool]]


class Speaking:
    """An announcer over a table of items, and what a tracker that applies every batch comes to believe."""

    def __init__(self, items: Items | None = None) -> None:
        self.items: Items = {} if items is None else items
        self.numbers: dict[bytes, int] = {}
        self.announcer = Announcer(self.items.get, self.numbers.get, lambda: sorted(self.items))
        self.believed: dict[bytes, bool] = {}

    def set(self, path: str, item: tuple[bytes, bool] | None) -> None:
        """Commit another item for a path."""
        if item is None:
            self.items.pop(path, None)
        else:
            self.items[path] = item
        self.announcer.changed([path])

    def next(self) -> Batch:
        """Return the next batch; there must be one."""
        batch = self.announcer.next()
        assert batch is not None
        return batch

    def believe(self, batch: Batch) -> None:
        """Apply a batch as a directory does."""
        keys = {number: key for key, number in self.numbers.items()}
        known, held, gone = (
            [keys[item] if isinstance(item, int) else item for item in items]
            for items in (batch.known, batch.held, batch.gone)
        )
        if batch.full:
            self.believed.clear()
        for key in gone:
            del self.believed[key]
        self.believed.update(dict.fromkeys(known, False) | dict.fromkeys(held, True))


def digest(*keys: bytes) -> SetDigest:
    """Return the digest of these keys."""
    total = sum(int.from_bytes(key, "big") for key in keys) % 2**128
    return SetDigest(len(keys), total.to_bytes(16, "big"))


class DigestTests(SynchronousTestCase):
    """Count and sum of a set."""

    @given(st.lists(st.binary(min_size=16, max_size=16), unique=True), st.randoms())
    def test_order(self, keys: list[bytes], random: object) -> None:
        """The order of coming and going does not matter, and what came and went leaves no trace."""
        one, two = Digest(), Digest()
        for key in keys:
            one.add(key)
        random.shuffle(keys)  # type: ignore[attr-defined]
        for key in keys:
            two.add(key)
        self.assertEqual(one.value(), two.value())
        self.assertEqual(one.value(), digest(*keys))
        for key in keys:
            one.remove(key)
        self.assertEqual(one.value(), SetDigest())


class FullTests(SynchronousTestCase):
    """The first batch of a start, and every one that must say everything."""

    def test_first(self) -> None:
        """The first batch says everything, sorted by key, and names the digests of it."""
        speaking = Speaking({"a": (K[2], True), "b": (K[1], False), "c": (K[0], True)})
        self.assertFalse(speaking.announcer.idle or speaking.announcer.said_everything)
        self.assertEqual(
            speaking.next(),
            Batch(1, True, (K[1],), (K[0], K[2]), (), (digest(*K[:3]), digest(K[0], K[2]))),
        )
        self.assertIsNone(speaking.announcer.next())

    def test_of_nothing(self) -> None:
        """One who knows nothing says that as well: the tracker may remember more."""
        self.assertEqual(Speaking().next(), Batch(1, True, reference=(SetDigest(), SetDigest())))

    def test_numbers(self) -> None:
        """Items whose number is known go by it."""
        speaking = Speaking({"a": (K[1], False), "b": (K[2], True), "c": (K[3], True)})
        speaking.numbers.update({K[1]: 7, K[2]: 5})
        batch = speaking.next()
        self.assertEqual((batch.known, batch.held), ((7,), (5, K[3])))

    def test_by_key(self) -> None:
        """Numbers that can not be trusted are left out once."""
        speaking = Speaking({"a": (K[1], False)})
        speaking.numbers[K[1]] = 7
        speaking.announcer.say_all(by_key=True)
        self.assertEqual(speaking.next().known, (K[1],))
        speaking.announcer.say_all()
        self.assertEqual(speaking.next().known, (7,))

    def test_whole(self) -> None:
        """A reference that was not understood is left out once."""
        speaking = Speaking({"a": (K[1], False)})
        speaking.announcer.say_all(whole=True)
        self.assertIsNone(speaking.next().reference)
        speaking.announcer.say_all()
        self.assertEqual(speaking.next().reference, (digest(K[1]), SetDigest()))

    def test_wishes_add_up(self) -> None:
        """A second wish for a full batch does not undo the first."""
        speaking = Speaking({"a": (K[1], False)})
        speaking.numbers[K[1]] = 7
        speaking.announcer.say_all(by_key=True, whole=True)
        speaking.announcer.say_all()
        batch = speaking.next()
        self.assertEqual((batch.known, batch.reference), ((K[1],), None))


class NewsTests(SynchronousTestCase):
    """Every further batch."""

    def setUp(self) -> None:
        """Have said that "a" is known and "b" held."""
        self.speaking = Speaking({"a": (K[1], False), "b": (K[2], True)})
        self.speaking.next()

    def test_nothing_new(self) -> None:
        """What is as it was last said needs no batch, even if it was otherwise in between."""
        self.speaking.announcer.changed(["a", "b", "unknown"])
        self.assertIsNone(self.speaking.announcer.next())
        self.speaking.set("a", (K[3], True))
        self.speaking.set("a", (K[1], False))
        self.assertIsNone(self.speaking.announcer.next())
        self.assertTrue(self.speaking.announcer.said_everything)

    def test_replaced(self) -> None:
        """Another item of a path takes the place of the one before, which is gone; record and hold travel together."""
        self.speaking.numbers[K[1]] = 4
        self.speaking.set("a", (K[3], True))
        self.assertEqual(self.speaking.next(), Batch(2, False, (), (K[3],), (4,)))

    def test_new_hold(self) -> None:
        """A hold of a known item, and one that ended, say just that."""
        self.speaking.set("a", (K[1], True))
        self.speaking.set("b", (K[2], False))
        self.assertEqual(self.speaking.next(), Batch(2, False, (K[2],), (K[1],), ()))

    def test_gone(self) -> None:
        """An item of a path that is not known any more is gone."""
        self.speaking.set("b", None)
        self.assertEqual(self.speaking.next(), Batch(2, False, (), (), (K[2],)))

    def test_one_batch(self) -> None:
        """All that was committed since the last batch is in the next: a commit is never split."""
        for number, path in enumerate("cdef", 3):
            self.speaking.set(path, (K[number], number % 2 == 0))
        self.assertEqual(self.speaking.next(), Batch(2, False, (K[3], K[5]), (K[4], K[6]), ()))
        self.assertEqual(self.speaking.announcer.known.value(), digest(*K[1:7]))
        self.assertEqual(self.speaking.announcer.held.value(), digest(K[2], K[4], K[6]))


class AcknowledgementTests(SynchronousTestCase):
    """What is sent again, and when everything is."""

    def setUp(self) -> None:
        """Have sent three batches; the first is acknowledged."""
        self.speaking = Speaking({"a": (K[1], False)})
        self.announcer = self.speaking.announcer
        self.batches = [self.speaking.next()]
        for number in (2, 3):
            self.speaking.set("a", (K[number], True))
            self.batches.append(self.speaking.next())
        self.announcer.acknowledged(1)

    def test_idle(self) -> None:
        """Idle is who has no batch on its way."""
        self.assertTrue(self.announcer.said_everything)
        self.assertFalse(self.announcer.idle)
        self.announcer.acknowledged(3)
        self.assertTrue(self.announcer.idle)

    def test_keys(self) -> None:
        """An acknowledgement tells for which keys its numbers are, once."""
        self.assertEqual(self.announcer.acknowledged(2), [K[2]])
        self.assertEqual(self.announcer.acknowledged(2), [])

    def test_resume(self) -> None:
        """After a break only what was not applied is sent again, in order, and numbering goes on."""
        self.assertEqual(self.announcer.welcome(2, False), self.batches[2:])
        self.assertEqual(self.announcer.welcome(2, False), self.batches[2:])
        self.assertIsNone(self.announcer.next())
        self.speaking.set("a", (K[4], True))
        self.assertEqual(self.speaking.next().number, 4)

    def test_all_resent(self) -> None:
        """Several batches are sent again in their order."""
        self.assertEqual(self.announcer.welcome(1, False), self.batches[1:])

    def test_all_applied(self) -> None:
        """If all was applied and only the answers were lost, nothing is said."""
        self.assertEqual(self.announcer.welcome(3, False), [])
        self.assertTrue(self.announcer.idle)

    def test_full_again(self) -> None:
        """A new epoch, and a tracker that has no batch of this start, are told everything, and nothing twice."""
        for last_applied, new_epoch in ((2, True), (0, False)):
            self.setUp()
            self.assertEqual(self.announcer.welcome(last_applied, new_epoch), [])
            self.assertFalse(self.announcer.idle)
            batch = self.speaking.next()
            self.assertEqual((batch.number, batch.full, batch.held), (4, True, (K[3],)))
            self.assertEqual(self.announcer.welcome(4, False), [])

    def test_nothing_applied(self) -> None:
        """A tracker that has no batch of this start gets one batch that says everything, not all there were."""
        speaking = Speaking({"a": (K[1], False)})
        speaking.next()
        speaking.set("a", (K[2], True))
        speaking.next()
        self.assertEqual(speaking.announcer.welcome(0, False), [])
        self.assertEqual(speaking.next().held, (K[2],))

    def test_gap(self) -> None:
        """A tracker that lost batches which it had acknowledged is told everything."""
        self.announcer.acknowledged(3)
        self.assertEqual(self.announcer.welcome(2, False), [])
        self.assertTrue(self.speaking.next().full)

    def test_late_answer(self) -> None:
        """An answer to a batch from before everything was said anew changes nothing."""
        self.announcer.say_all()
        batch = self.speaking.next()
        self.assertEqual(self.announcer.acknowledged(3), [])
        self.assertEqual(self.announcer.welcome(3, False), [batch])


class BeliefTests(SynchronousTestCase):
    """Whoever applies the batches in order knows what is true."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.none() | st.tuples(st.integers(0, 2), st.booleans()),
                st.sampled_from(["wait", "say", "number", "all"]),
            )
        )
    )
    def test_belief(self, steps: list[tuple[str, tuple[int, bool] | None, str]]) -> None:
        """After the last batch the directory has exactly the items of the index, and the digests agree with it."""
        speaking = Speaking()
        speaking.believe(speaking.next())
        for path, item, then in steps:
            # The keys of two paths never meet: a record names its path.
            key = b"" if item is None else path.encode() * 15 + bytes([item[0]])
            speaking.set(path, None if item is None else (key, item[1]))
            if then == "number":
                speaking.numbers.setdefault(key, len(speaking.numbers))
            if then == "all":
                speaking.announcer.say_all()
            if then != "wait" and (batch := speaking.announcer.next()) is not None:
                speaking.believe(batch)
        if (batch := speaking.announcer.next()) is not None:
            speaking.believe(batch)
        truth = dict(speaking.items.values())
        self.assertEqual(speaking.believed, truth)
        self.assertEqual(speaking.announcer.known.value(), digest(*truth))
        self.assertEqual(speaking.announcer.held.value(), digest(*(key for key, held in truth.items() if held)))
