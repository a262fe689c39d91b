"""Holders are asked for what they have, share the load, and are left alone when they failed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.transfer.test_chunking import stream
from twistedp2p import limits
from twistedp2p.transfer.asks import Ask, AskContents, AskManifest, AskRun
from twistedp2p.transfer.swarm import Swarm

KIB = 1024
MIB = 1024 * KIB


def name(label: str, number: int, length: int = 32) -> bytes:
    """Return an id that looks like a hash and is the same in every run."""
    return stream(length, f"{label} {number}".encode())


NODES = [name("node", number, 20) for number in range(8)]
CONTENTS = [name("content", number) for number in range(3000)]


def drain(swarm: Swarm, nodes: list[bytes], now: float = 0.0) -> list[Ask]:
    """Return everything that may be asked of these nodes now, taking turns."""
    asks: list[Ask] = []
    before = -1
    while len(asks) != before:
        before = len(asks)
        for node in nodes:
            ask = swarm.next_for(node, now)
            if ask is not None:
                asks.append(ask)
    return asks


def contents_of(asks: list[Ask]) -> list[bytes]:
    """Return the small contents that are asked for in these."""
    return [content for ask in asks if isinstance(ask, AskContents) for content in ask.contents]


def only(ask: Ask | None) -> AskRun:
    """Return a question that must be a run."""
    assert isinstance(ask, AskRun)
    return ask


class SmallTests(SynchronousTestCase):
    """Small contents."""

    def test_many_in_one_question(self) -> None:
        """They are asked for in groups as large as a request may be."""
        swarm = Swarm()
        for content in CONTENTS[:300]:
            swarm.want(content, 4 * KIB, [NODES[0]], 0.0)
        first, second = drain(swarm, NODES)
        assert isinstance(first, AskContents) and isinstance(second, AskContents)
        self.assertEqual(first.contents + second.contents, tuple(CONTENTS[:300]))
        self.assertEqual(len(first.contents), limits.SMALL_CONTENTS_PER_REQUEST)
        self.assertEqual(first.size, limits.SMALL_CONTENTS_PER_REQUEST * 4 * KIB)

    def test_holders_share(self) -> None:
        """Three holders that take turns are asked for about a third each, and nothing twice."""
        swarm = Swarm()
        for content in CONTENTS[:1500]:
            swarm.want(content, 100, NODES[:3], 0.0)
        asks = drain(swarm, NODES[:3])
        contents = contents_of(asks)
        self.assertEqual(sorted(contents), sorted(CONTENTS[:1500]))
        for node in NODES[:3]:
            self.assertGreater(len(contents_of([ask for ask in asks if ask.node == node])), 400)

    def test_first_ranked_holder_is_stable(self) -> None:
        """Which holder is asked first depends on the content and the holders, not on who asks or when."""
        chosen = []
        for _ in range(2):
            swarm = Swarm()
            for content in CONTENTS[:900]:
                swarm.want(content, 100, reversed(NODES[:3]), 0.0)
            asks = [swarm.next_for(node, 0.0) for node in NODES[:3]]
            chosen.append([set(contents_of([ask])) for ask in asks if ask is not None])
        self.assertEqual(chosen[0], chosen[1])
        self.assertEqual([len(group) for group in chosen[0]], [256] * 3)

    def test_an_idle_holder_takes_from_the_others(self) -> None:
        """If only one holder can be reached, it is asked for everything."""
        swarm = Swarm()
        for content in CONTENTS[:600]:
            swarm.want(content, 100, NODES[:3], 0.0)
        self.assertEqual(set(contents_of(drain(swarm, NODES[1:2]))), set(CONTENTS[:600]))

    def test_more_urgent_first(self) -> None:
        """Priority goes before age, and can be raised while waiting."""
        swarm = Swarm()
        for number, content in enumerate(CONTENTS[:4]):
            swarm.want(content, 100, NODES[:1], 0.0, priority=5 if number == 2 else 7)
        swarm.prioritise(CONTENTS[3], 2, 0.0)
        asks = drain(swarm, NODES)
        self.assertEqual([ask.priority for ask in asks], [2])
        self.assertEqual(contents_of(asks), [CONTENTS[3], CONTENTS[2], CONTENTS[0], CONTENTS[1]])

    def test_not_held(self) -> None:
        """Who did not have it is not asked again for a while; another holder is asked at once."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 100, NODES[:2], 0.0)
        (ask,) = drain(swarm, NODES)
        swarm.refused(CONTENTS[0], ask.node, 0.0)
        swarm.again(ask, 0.0)
        (second,) = drain(swarm, NODES)
        self.assertNotEqual(second.node, ask.node)
        swarm.refused(CONTENTS[0], second.node, 1.0)
        swarm.again(second, 1.0)
        self.assertEqual(drain(swarm, NODES, 1.0), [])
        self.assertEqual(swarm.nodes(limits.HOLDER_RETRY - 0.1), [])
        self.assertEqual(swarm.wake_at(), limits.HOLDER_RETRY)
        self.assertEqual(swarm.nodes(limits.HOLDER_RETRY), [ask.node])
        (third,) = drain(swarm, NODES, limits.HOLDER_RETRY)
        self.assertEqual(third.node, ask.node)

    def test_others_are_tried_last(self) -> None:
        """Nodes that may have it are asked only while no holder can be."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 100, NODES[:1], 0.0, others=NODES[1:2])
        self.assertIsNone(swarm.next_for(NODES[1], 0.0))
        ask = swarm.next_for(NODES[0], 0.0)
        assert ask is not None
        swarm.refused(CONTENTS[0], NODES[0], 0.0)
        swarm.again(ask, 0.0)
        self.assertIsNotNone(swarm.next_for(NODES[1], 0.0))

    def test_new_holders(self) -> None:
        """A content without holders waits, without being looked at, until one is named."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 100, [], 0.0)
        self.assertEqual((swarm.nodes(0.0), swarm.wake_at()), ([], None))
        swarm.holders(CONTENTS[0], {NODES[4]: None}, (), 0.0)
        self.assertEqual(swarm.nodes(0.0), [NODES[4]])

    def test_former_holders_are_not_asked(self) -> None:
        """A node that is no holder any more is not asked for what waited for it."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 100, NODES[:1], 0.0)
        swarm.holders(CONTENTS[0], {NODES[1]: None}, (), 0.0)
        self.assertIsNone(swarm.next_for(NODES[0], 0.0))
        self.assertIsNotNone(swarm.next_for(NODES[1], 0.0))

    def test_dropped(self) -> None:
        """What is not wanted any more is not asked for."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 100, NODES[:1], 0.0)
        swarm.drop(CONTENTS[0])
        self.assertEqual(drain(swarm, NODES), [])
        self.assertNotIn(CONTENTS[0], swarm)


class LargeTests(SynchronousTestCase):
    """Large contents."""

    def large(self, chunks: int, holders: list[bytes], missing: list[int] | None = None) -> Swarm:
        """Return a swarm that wants one content of chunks of 1 MiB."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], chunks * MIB, holders, 0.0, manifest=name("manifest", 0), manifest_bytes=1000)
        ask = swarm.next_for(holders[0], 0.0)
        self.assertEqual(ask, AskManifest(holders[0], CONTENTS[0], name("manifest", 0), 1000, 0))
        assert ask is not None
        self.assertEqual(drain(swarm, holders), [])
        swarm.chunks(CONTENTS[0], (MIB,) * chunks, list(range(chunks)) if missing is None else missing, 0.0)
        swarm.again(ask, 0.0)
        return swarm

    def test_runs(self) -> None:
        """Adjacent missing chunks are asked for together, up to the longest run."""
        swarm = self.large(12, NODES[:1], missing=[0, 1, 2, 5, 6, 7, 8, 9, 11])
        first = only(swarm.next_for(NODES[0], 0.0))
        self.assertEqual((first.first, first.count, first.offset, first.size), (0, 3, 0, 3 * MIB))
        second = only(swarm.next_for(NODES[0], 0.0))
        self.assertEqual((second.first, second.count, second.offset, second.size), (5, 4, 5 * MIB, 4 * MIB))

    def test_a_manifest_that_came_at_the_second_attempt(self) -> None:
        """After a manifest had to be asked for twice, only the chunks that are missing are asked for."""
        swarm = Swarm()
        swarm.want(CONTENTS[0], 3 * MIB, NODES[:2], 0.0, manifest=name("manifest", 0), manifest_bytes=1000)
        first = swarm.next_for(NODES[0], 0.0)
        assert first is not None
        swarm.refused(CONTENTS[0], NODES[0], 0.0)
        swarm.again(first, 0.0)
        second = swarm.next_for(NODES[1], 0.0)
        assert isinstance(second, AskManifest)
        swarm.chunks(CONTENTS[0], (MIB,) * 3, [1, 2], 0.0)
        swarm.again(second, 0.0)
        (run,) = map(only, drain(swarm, NODES[:2]))
        self.assertEqual((run.first, run.count), (1, 2))

    def test_holders_take_turns(self) -> None:
        """Several holders get different runs of one content."""
        swarm = self.large(12, NODES[:3])
        asks = [only(swarm.next_for(node, 0.0)) for node in NODES[:3]]
        self.assertEqual([ask.first for ask in asks], [0, 4, 8])

    def test_window(self) -> None:
        """In flight with a holder are few bytes at first, and more once it delivers, but never more than the limit."""
        swarm = self.large(200, NODES[:1])
        for _ in range(40):
            asks = drain(swarm, NODES)
            flying = sum(ask.size for ask in asks)
            for ask in map(only, asks):
                swarm.got(CONTENTS[0], range(ask.first, ask.first + ask.count), ask.node)
                swarm.again(ask, 0.0)
            if flying < limits.CONNECTION_BYTES_IN_FLIGHT:
                self.assertIn(flying, (0, limits.RUN_BYTES, 2 * limits.RUN_BYTES, 3 * limits.RUN_BYTES))
            self.assertLessEqual(flying, limits.CONNECTION_BYTES_IN_FLIGHT)

    def test_all_in_flight(self) -> None:
        """However many holders there are, no more than the limit (and one question) is in flight."""
        swarm = self.large(400, NODES)
        for _ in range(5):
            asks = drain(swarm, NODES)
            self.assertLess(sum(ask.size for ask in asks), limits.BYTES_IN_FLIGHT + limits.RUN_BYTES)
            for ask in map(only, asks):
                swarm.got(CONTENTS[0], range(ask.first, ask.first + ask.count), ask.node)
                swarm.again(ask, 0.0)

    def test_a_holder_dies(self) -> None:
        """What did not come is asked of another holder, and only that."""
        swarm = self.large(4, NODES[:2])
        ask = only(swarm.next_for(NODES[0], 0.0))
        self.assertFalse(swarm.got(CONTENTS[0], [0, 1], NODES[0]))
        swarm.unreachable(NODES[0], 10.0, 1.0)
        swarm.again(ask, 1.0)
        self.assertIsNone(swarm.next_for(NODES[0], 1.0))
        second = only(swarm.next_for(NODES[1], 1.0))
        self.assertEqual((second.first, second.count), (2, 2))
        self.assertTrue(swarm.got(CONTENTS[0], [2, 3], NODES[1]))

    def test_the_only_holder_comes_back(self) -> None:
        """Whatever waits for an unreachable node is looked at again when it may be asked again."""
        swarm = self.large(4, NODES[:1])
        swarm.unreachable(NODES[0], 10.0, 1.0)
        self.assertEqual(swarm.wake_at(), 10.0)
        self.assertEqual(swarm.nodes(9.0), [])
        self.assertEqual(swarm.nodes(10.0), [NODES[0]])

    def test_partial_holders(self) -> None:
        """A holder of some chunks is asked for those only."""
        swarm = self.large(8, NODES[:1])
        swarm.holders(CONTENTS[0], {NODES[0]: None, NODES[1]: frozenset({1, 2, 6})}, (), 0.0)
        asks = list(map(only, drain(swarm, NODES[1:2])))
        self.assertEqual([(ask.first, ask.count) for ask in asks], [(1, 2), (6, 1)])
        asks = list(map(only, drain(swarm, NODES[:1])))
        self.assertEqual([(ask.first, ask.count) for ask in asks], [(0, 1), (3, 3)])

    def test_a_slow_holder_delays_nobody(self) -> None:
        """What a holder was asked for long ago is asked of an idle one too; the first makes the other useless."""
        swarm = self.large(4, NODES[:2])
        slow = only(swarm.next_for(NODES[0], 0.0))
        self.assertIsNone(swarm.next_for(NODES[1], 0.0))
        when = swarm.wake_at()
        assert when is not None
        self.assertEqual(swarm.nodes(when), NODES[:2])
        quick = only(swarm.next_for(NODES[1], when))
        self.assertEqual((quick.first, quick.count), (0, 1))
        self.assertIsNone(swarm.next_for(NODES[1], when))
        swarm.got(CONTENTS[0], [0], NODES[1])
        swarm.again(quick, when)
        self.assertFalse(swarm.useless(slow))
        self.assertTrue(swarm.got(CONTENTS[0], [1, 2, 3], NODES[1]))
        self.assertTrue(swarm.useless(slow))
        swarm.again(slow, when)
        self.assertTrue(swarm.got(CONTENTS[0], [], NODES[1]))

    def test_bad_bytes(self) -> None:
        """Who served bad bytes is not asked for that content; after some of them, for nothing."""
        swarm = Swarm()
        for content in CONTENTS[: limits.BAD_STRIKES + 1]:
            swarm.want(content, 100, NODES[:1], 0.0)
        (ask,) = drain(swarm, NODES)
        for content in CONTENTS[: limits.BAD_STRIKES]:
            swarm.corrupt(content, NODES[0], 0.0)
            if content != CONTENTS[limits.BAD_STRIKES - 1]:
                self.assertEqual(swarm.wake_at(), None)
        swarm.again(ask, 0.0)
        self.assertEqual(drain(swarm, NODES, limits.BAD_HOLDER - 1), [])
        self.assertEqual(swarm.nodes(limits.BAD_HOLDER), [NODES[0]])
        self.assertEqual(len(contents_of(drain(swarm, NODES, limits.BAD_HOLDER))), limits.BAD_STRIKES + 1)

    def test_one_rotten_file_does_not_cut_off_a_holder(self) -> None:
        """After one bad content the rest is still asked of that holder."""
        swarm = Swarm()
        for content in CONTENTS[:2]:
            swarm.want(content, 100, NODES[:1], 0.0)
        (ask,) = drain(swarm, NODES)
        swarm.corrupt(CONTENTS[0], NODES[0], 0.0)
        swarm.again(ask, 0.0)
        self.assertEqual(contents_of(drain(swarm, NODES)), [CONTENTS[1]])


class AnyCourseTests(SynchronousTestCase):
    """Whatever happens on the way, everything that somebody good holds arrives."""

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_everything_arrives(self, data: st.DataObject) -> None:
        """Random wants, holders, losses, refusals and delays: nothing is lost, asked of strangers, or over a limit."""
        swarm, good, now = Swarm(), NODES[0], 0.0
        holders: dict[bytes, set[bytes]] = {}
        chunks: dict[bytes, int] = {}
        for content in CONTENTS[: data.draw(st.integers(1, 12))]:
            holders[content] = {good, *data.draw(st.sets(st.sampled_from(NODES[1:4])))}
            chunks[content] = data.draw(st.sampled_from([1, 1, 3, 9]))
            large = chunks[content] > 1
            size = chunks[content] * MIB if large else 1000
            swarm.want(content, size, sorted(holders[content]), now, manifest=b"m" * 32 * large, manifest_bytes=100)
        flying: list[Ask] = []
        for _ in range(2000):
            if not len(swarm):
                break
            for node in swarm.nodes(now):
                ask = swarm.next_for(node, now)
                if ask is not None:
                    flying.append(ask)
            self.assertLessEqual(sum(ask.size for ask in flying), limits.BYTES_IN_FLIGHT + limits.RUN_BYTES)
            if not flying:
                wake = swarm.wake_at()
                assert wake is not None and wake > now
                now = wake
                continue
            now += data.draw(st.sampled_from([0.0, 0.5, 3.0])) if len(flying) < 3 else 0.0
            ask = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            bad = ask.node != good and data.draw(st.sampled_from([None, None, "refuse", "corrupt", "down"]))
            self.end(swarm, ask, str(bad) if bad else None, holders, chunks, now)
        self.assertEqual(len(swarm), 0)
        for ask in flying:
            self.assertTrue(swarm.useless(ask))
            swarm.again(ask, now)

    def end(
        self,
        swarm: Swarm,
        ask: Ask,
        bad: str | None,
        holders: dict[bytes, set[bytes]],
        chunks: dict[bytes, int],
        now: float,
    ) -> None:
        """Carry out one question, well or badly."""
        contents = ask.contents if isinstance(ask, AskContents) else (ask.content,)
        pieces = range(ask.first, ask.first + ask.count) if isinstance(ask, AskRun) else range(1)
        if bad == "down":
            swarm.unreachable(ask.node, now + 1.0, now)
        for content in contents:
            self.assertIn(ask.node, holders[content])
            if bad == "refuse":
                swarm.refused(content, ask.node, now)
            elif bad == "corrupt":
                swarm.corrupt(content, ask.node, now)
            elif bad is None and isinstance(ask, AskManifest):
                swarm.chunks(content, (MIB,) * chunks[content], range(chunks[content]), now)
            elif bad is None and swarm.got(content, pieces, ask.node):
                swarm.drop(content)
        swarm.again(ask, now)
