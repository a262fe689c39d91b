"""Contents arrive whole and verified, from whoever has them, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.framing.memory import Hub
from tests.transfer.nodes import Node, hashed, nodes
from tests.transfer.test_chunking import MIB, stream
from twistedp2p import limits
from twistedp2p.errors import CorruptContent, NoSpace
from twistedp2p.transfer.chunking import Hashed
from twistedp2p.transfer.fetch import Fetcher
from twistedp2p.transfer.progress import Meter


class FetchCase(SynchronousTestCase):
    """Four nodes; the first fetches."""

    def setUp(self) -> None:
        self.hub = Hub()
        self.me, self.a, self.b, self.c = self.all = nodes(self.hub, 4)

    def tearDown(self) -> None:
        for node in self.all:
            node.stop()
        self.hub.pass_time(3.0)
        self.assertEqual(self.hub.clock.getDelayedCalls(), [])
        self.assertEqual([node.source.opened for node in self.all], [0] * 4)

    def share(self, data: bytes, *holders: Node) -> Hashed:
        """Let these nodes hold a content."""
        names = hashed(data)
        for holder in holders:
            holder.source.add(data)
        return names

    def go(self, seconds: float = 0.0) -> None:
        """Deliver until nothing moves, then let time go by."""
        for _ in range(5):
            self.hub.clock.advance(0.0)
            self.hub.pump()
        if seconds:
            self.hub.pass_time(seconds, 0.25)

    def assert_here(self, names: Hashed, data: bytes, result: Deferred[None]) -> None:
        """The fetch has ended, and the content is in the parts store."""
        self.successResultOf(result)
        self.assertEqual(self.me.parts.whole[names.content_id], data)


class SmallTests(FetchCase):
    """Contents of one chunk."""

    def test_one(self) -> None:
        """A content that a holder has arrives."""
        names = self.share(b"hello", self.a)
        result = self.me.want(names, [self.a])
        self.go()
        self.assert_here(names, b"hello", result)
        self.assertNotIn(names.content_id, self.me.fetcher)

    def test_the_empty_content_needs_nobody(self) -> None:
        """The content without bytes is there without asking."""
        names = self.share(b"")
        self.assert_here(names, b"", self.me.want(names, []))

    def test_many_in_few_calls(self) -> None:
        """Many contents take one request, and one call of the store, for each group."""
        all_data = [str(number).encode() for number in range(600)]
        results = [self.me.want(self.share(data, self.a), [self.a]) for data in all_data]
        self.go()
        for data, result in zip(all_data, results, strict=True):
            self.assert_here(hashed(data), data, result)
        self.assertEqual(self.me.parts.small_calls, [256, 256, 88])

    def test_three_holders_share(self) -> None:
        """Three holders each serve a part of many contents, and none twice."""
        names = [self.share(str(number).encode(), self.a, self.b, self.c) for number in range(3000)]
        for holder in (self.a, self.b, self.c):
            self.me.links.connection(holder.id)
        self.go()
        results = [self.me.want(each, [self.a, self.b, self.c]) for each in names]
        self.go()
        for result in results:
            self.successResultOf(result)
        served = [sum(len(group) for group in node.source.asked if isinstance(group, tuple)) for node in self.all[1:]]
        self.assertEqual(sum(served), 3000)
        self.assertGreater(min(served), 700)
        self.assertEqual(set(self.me.fetcher.progress().by_node), {self.a.id, self.b.id, self.c.id})

    def test_not_held_then_another(self) -> None:
        """If a listed holder does not have it, another is asked at once."""
        names = self.share(b"hello", self.b)
        result = self.me.want(names, [self.a, self.b])
        self.go()
        self.assert_here(names, b"hello", result)

    def test_not_held_then_the_others(self) -> None:
        """If no listed holder has it, the others are asked."""
        names = self.share(b"hello", self.c)
        result = self.me.want(names, [self.a, self.b], others=[self.c])
        self.go()
        self.assert_here(names, b"hello", result)

    def test_not_held_then_again(self) -> None:
        """A sole holder that does not have it is asked again later, and only then."""
        names = hashed(b"hello")
        result = self.me.want(names, [self.a])
        self.go(limits.HOLDER_RETRY - 0.5)
        self.assertEqual(len(self.a.source.asked), 1)
        self.a.source.add(b"hello")
        self.go(1.0)
        self.assert_here(names, b"hello", result)

    def test_new_holders(self) -> None:
        """A content that nobody had is fetched when a holder is named."""
        names = self.share(b"hello", self.c)
        result = self.me.want(names, [])
        self.go()
        self.assertNoResult(result)
        self.me.fetcher.update_holders(names.content_id, {self.c.id})
        self.go()
        self.assert_here(names, b"hello", result)

    def test_bad_bytes(self) -> None:
        """Wrong bytes are never stored; another holder is asked, and the bad one no more."""
        names = self.share(b"hello", self.a)
        self.a.source.spoil(names.content_id)
        result = self.me.want(names, [self.a])
        self.go(limits.HOLDER_RETRY + 1.0)
        self.assertEqual((len(self.a.source.asked), self.me.parts.whole), (1, {}))
        self.b.source.add(b"hello")
        self.me.fetcher.update_holders(names.content_id, {self.a.id, self.b.id})
        self.go()
        self.assert_here(names, b"hello", result)

    def test_several_wants_share_one_fetch(self) -> None:
        """A content that is wanted twice is fetched once, and all who wait hear of it."""
        names = self.share(b"hello", self.a)
        results = [self.me.want(names, [self.a]) for _ in range(3)]
        self.go()
        for result in results:
            self.assert_here(names, b"hello", result)
        self.assertEqual(len(self.a.source.asked), 1)

    def test_cancel(self) -> None:
        """A content given up is not stored, all who wait hear so, and what was asked along with it arrives."""
        names, other = self.share(b"hello", self.a), self.share(b"other", self.a)
        self.a.source.hold_back = True
        results = [self.me.want(names, [self.a]) for _ in range(2)]
        kept = self.me.want(other, [self.a])
        self.go()
        self.me.fetcher.cancel(names.content_id)
        for result in results:
            self.failureResultOf(result, CancelledError)
        self.a.source.let_go()
        self.go()
        self.assert_here(other, b"other", kept)
        self.assertNotIn(names.content_id, self.me.parts.whole)

    def test_cancelling_a_result(self) -> None:
        """The fetch ends when the last who waits for it has cancelled, and the holder is told to stop."""
        names = self.share(b"hello", self.a)
        self.a.source.hold_back = True
        first, second = (self.me.want(names, [self.a]) for _ in range(2))
        self.go()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertIn(names.content_id, self.me.fetcher)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertNotIn(names.content_id, self.me.fetcher)
        self.go()
        link = self.a.links.link(self.me.id)
        assert link is not None
        self.assertFalse(link.busy)

    def test_the_disk_fails(self) -> None:
        """An error of the store is told to who waits; it is not blamed on the holder."""
        names = self.share(b"hello", self.a)
        self.me.parts.error = NoSpace("full")
        self.me.want(names, [self.a]).addErrback(lambda failure: failure.trap(NoSpace) and None)
        self.go()
        self.me.parts.error = None
        result = self.me.want(names, [self.a])
        self.go()
        self.assert_here(names, b"hello", result)

    def test_a_bug_in_the_store_ends_its_own_fetch(self) -> None:
        """An unexpected error fails what it hit, is logged, and leaves the rest running."""
        names = self.share(b"hello", self.a)
        self.me.parts.error = ZeroDivisionError()
        result = self.me.want(names, [self.a])
        self.go()
        self.failureResultOf(result, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.me.parts.error = None
        other = self.share(b"other", self.a)
        again = self.me.want(other, [self.a])
        self.go()
        self.assert_here(other, b"other", again)

    def test_an_unreachable_holder(self) -> None:
        """A holder that can not be reached delays nobody if there is another; alone it is dialled until it answers."""
        names = self.share(b"hello", self.a, self.b)
        where = (self.a.host, 17)
        listener = self.hub.listeners.pop(where)
        result = self.me.want(names, [self.a, self.b])
        self.go(1.0)
        self.assert_here(names, b"hello", result)
        alone = self.share(b"alone", self.a)
        result = self.me.want(alone, [self.a])
        self.go(30.0)
        self.assertNoResult(result)
        self.assertLess(self.hub.dials, 14)
        self.hub.listeners[where] = listener
        self.go(limits.BACKOFF_MOST + 1.0)
        self.assert_here(alone, b"alone", result)

    def test_a_holder_that_does_not_answer(self) -> None:
        """A holder whose address gives no answer delays nobody: the others are asked while it is being dialled."""
        names = self.share(b"hello", self.b)
        self.hub.silent.add((self.me.host, self.a.host))
        result = self.me.want(names, [self.a], others=[self.b])
        self.go(limits.DIAL_ME_AFTER - 0.25)
        self.assertNoResult(result)
        self.go(0.5)
        self.assert_here(names, b"hello", result)

    def test_a_holder_that_dials(self) -> None:
        """A holder that could not be reached is asked as soon as it has dialled."""
        names = self.share(b"hello", self.a)
        self.hub.shut.add((self.me.host, self.a.host))
        result = self.me.want(names, [self.a])
        self.go(20.0)
        self.assertNoResult(result)
        self.assertGreater(self.me.links.wait_for(self.a.id), 0.0)
        self.a.links.connection(self.me.id)
        self.go()
        self.assert_here(names, b"hello", result)

    def test_nothing_is_written_by_two_threads(self) -> None:
        """A content that comes a second time while it is being written is not written again."""
        names = self.share(b"hello", self.a, self.b)
        threads: list[Deferred[None]] = []

        def in_thread(work: Callable[..., None], *args: object) -> Deferred[None]:
            threads.append(Deferred().addCallback(lambda _: work(*args)))
            return threads[-1]

        fetcher = Fetcher(links=self.me.links, parts=self.me.parts, run_in_thread=in_thread, clock=self.hub.clock)
        self.a.source.hold_back = True
        result = fetcher.want(names.content_id, names.size, b"", holders={self.a.id})
        self.go()
        fetcher.update_holders(names.content_id, {self.a.id, self.b.id})
        self.go(5.0)
        self.a.source.let_go()
        self.go()
        (thread,) = threads
        thread.callback(None)
        self.assert_here(names, b"hello", result)
        fetcher.stop()

    def test_progress(self) -> None:
        """What is wanted and missing, and what came, is counted."""
        names = self.share(bytes(1000), self.a)
        result = self.me.want(names, [self.a])
        before = self.me.fetcher.progress()
        self.assertEqual((before.contents, before.wanted, before.missing, before.received), (1, 1000, 1000, 0))
        self.go()
        after = self.me.fetcher.progress()
        self.assertEqual((after.contents, after.missing, after.received, after.speed), (0, 0, 1000, 100.0))
        self.successResultOf(result)


class LargeTests(FetchCase):
    """Contents of many chunks."""

    DATA = stream(30 * MIB)
    NAMES = hashed(DATA)

    def share_data(self, *holders: Node) -> None:
        """Let these nodes hold the large content."""
        manifest = self.NAMES.manifest
        assert manifest is not None
        for holder in holders:
            holder.source.contents[self.NAMES.content_id] = self.DATA
            holder.source.manifests[manifest.manifest_id] = manifest.encode()

    def from_each(self) -> list[int]:
        """Return how many bytes came from a, b and c."""
        by_node = self.me.fetcher.progress().by_node
        return [by_node.get(node.id, 0) for node in (self.a, self.b, self.c)]

    def test_one_holder(self) -> None:
        """A large content arrives, each byte once."""
        self.share_data(self.a)
        result = self.me.want(self.NAMES, [self.a])
        self.go()
        self.assert_here(self.NAMES, self.DATA, result)
        self.assertEqual(self.from_each(), [len(self.DATA), 0, 0])

    def test_three_holders_share(self) -> None:
        """Three holders each serve a part of one content, and no byte comes twice."""
        self.share_data(self.a, self.b, self.c)
        for holder in (self.a, self.b, self.c):
            self.me.links.connection(holder.id)
        self.go()
        result = self.me.want(self.NAMES, [self.a, self.b, self.c])
        self.go()
        self.assert_here(self.NAMES, self.DATA, result)
        self.assertEqual(sum(self.from_each()), len(self.DATA))
        self.assertGreater(min(self.from_each()), 4 * MIB)

    def test_a_holder_dies(self) -> None:
        """When a holder goes in the middle, the other serves the rest, and only the rest."""
        self.share_data(self.a, self.b)
        result = self.me.want(self.NAMES, [self.a])
        self.hub.clock.advance(0.0)
        while self.from_each()[0] < 8 * MIB:
            self.hub.clock.advance(0.0)
            for link in list(self.hub.links):
                link.step()
        self.a.stop()
        self.me.fetcher.update_holders(self.NAMES.content_id, {self.a.id, self.b.id})
        self.go(1.0)
        self.assert_here(self.NAMES, self.DATA, result)
        self.assertLess(sum(self.from_each()), len(self.DATA) + 2 * MIB)
        self.assertGreater(self.from_each()[1], MIB)

    def until_received(self, size: int) -> None:
        """Deliver, one piece after the other, until so many bytes of the content lie in the part."""

        def written() -> int:
            part = self.me.parts.parts.get(self.NAMES.content_id)
            return 0 if part is None else sum(map(len, part.chunks.values()))

        for _ in range(20_000):
            if written() >= size:
                return
            self.hub.clock.advance(0.001)
            for link in list(self.hub.links):
                link.step()
        self.fail("it does not arrive")

    def test_written_as_it_comes(self) -> None:
        """Each chunk is written when it is here, not when the whole run is: a kill costs the one that is half here."""
        self.share_data(self.a)
        self.me.want(self.NAMES, [self.a]).addErrback(lambda failure: failure.trap(CancelledError) and None)
        manifest = self.NAMES.manifest
        assert manifest is not None
        first = manifest.chunks[0][1]
        self.until_received(first)
        part = self.me.parts.parts[self.NAMES.content_id]
        self.assertEqual([*part.chunks], [0])

    def test_from_holder_to_holder(self) -> None:
        """A content whose holders die one after the other comes from all of them, at most one chunk of each twice."""
        self.share_data(self.a, self.b, self.c)
        result = self.me.want(self.NAMES, [self.a])
        for dying, following in ((self.a, self.b), (self.b, self.c)):
            self.until_received(9 * MIB * (1 if dying is self.a else 2))
            dying.stop()
            self.me.fetcher.update_holders(self.NAMES.content_id, {following.id})
        self.go(1.0)
        self.assert_here(self.NAMES, self.DATA, result)
        manifest = self.NAMES.manifest
        assert manifest is not None
        longest = max(length for _, length in manifest.chunks)
        self.assertLess(sum(self.from_each()), len(self.DATA) + 2 * longest)
        self.assertGreater(min(self.from_each()), 5 * MIB)

    def test_a_bug_in_the_store_of_chunks(self) -> None:
        """An unexpected error while a chunk is written fails its fetch once, is logged, and leaves nothing behind."""
        self.share_data(self.a)
        result = self.me.want(self.NAMES, [self.a])
        self.until_received(1)
        part = self.me.parts.parts[self.NAMES.content_id]
        part.write = lambda chunks: 1 // 0  # type: ignore[method-assign,assignment]
        self.go()
        self.failureResultOf(result, ZeroDivisionError)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.me.fetcher.progress().contents, 0)

    def test_bad_bytes(self) -> None:
        """A wrong chunk is never written; the rest of that reply is, and the chunk comes from another holder."""
        self.share_data(self.a, self.b)
        self.a.source.spoil(self.NAMES.content_id, at=5 * MIB)
        result = self.me.want(self.NAMES, [self.a])
        self.go()
        self.assertNoResult(result)
        self.me.fetcher.update_holders(self.NAMES.content_id, {self.a.id, self.b.id})
        self.go()
        self.assert_here(self.NAMES, self.DATA, result)

    def test_a_manifest_of_something_else(self) -> None:
        """A holder whose manifest is wrong is passed over."""
        self.share_data(self.a, self.b)
        assert self.NAMES.manifest is not None
        self.a.source.manifests[self.NAMES.manifest.manifest_id] = b"something else"
        first = self.me.want(self.NAMES, [self.a])
        self.go()
        self.assertNoResult(first)
        self.me.fetcher.update_holders(self.NAMES.content_id, {self.b.id})
        self.go()
        self.assert_here(self.NAMES, self.DATA, first)

    def test_records_that_lie(self) -> None:
        """A record whose size, manifest or content do not belong together fails, and is not fetched for ever."""
        self.share_data(self.a)
        names, manifest = self.NAMES, self.NAMES.manifest
        assert manifest is not None
        other = self.share(stream(MIB, b"other"), self.a)
        for wrong in (
            Hashed(names.content_id, names.size + 1, manifest),
            Hashed(names.content_id, names.size, None),
            Hashed(names.content_id, limits.CONTENT_BYTES + 1, manifest),
            Hashed(names.content_id, other.size, other.manifest),
        ):
            self.a.source.contents[names.content_id] = self.a.source.contents[other.content_id]
            result = self.me.want(wrong, [self.a])
            self.go()
            self.failureResultOf(result, CorruptContent)
            self.assertEqual(self.me.parts.whole, {})

    def test_going_on_after_a_restart(self) -> None:
        """Chunks that are in the part already are not asked for."""
        self.share_data(self.a)
        manifest = self.NAMES.manifest
        assert manifest is not None
        part = self.me.parts.open(self.NAMES.content_id, self.NAMES.size, manifest)
        offsets = manifest.offsets()
        have = [index for index in range(len(manifest.chunks)) if index % 3]
        part.write((i, self.DATA[offsets[i] : offsets[i] + manifest.chunks[i][1]]) for i in have)
        result = self.me.want(self.NAMES, [self.a])
        self.go()
        self.assert_here(self.NAMES, self.DATA, result)
        self.assertEqual(
            self.from_each()[0], sum(manifest.chunks[i][1] for i in range(len(manifest.chunks)) if i not in have)
        )

    def test_a_part_that_is_complete(self) -> None:
        """If nothing is missing, the manifest alone is asked for."""
        self.share_data(self.a)
        manifest = self.NAMES.manifest
        assert manifest is not None
        part = self.me.parts.open(self.NAMES.content_id, self.NAMES.size, manifest)
        offsets = manifest.offsets()
        part.write((i, self.DATA[offsets[i] : offsets[i] + manifest.chunks[i][1]]) for i in range(len(offsets)))
        result = self.me.want(self.NAMES, [self.a])
        self.go()
        self.assert_here(self.NAMES, self.DATA, result)
        self.assertEqual(self.a.source.asked, [manifest.manifest_id])

    def test_cancel(self) -> None:
        """A fetch given up in the middle lets go of its part, and what was written stays."""
        self.share_data(self.a)
        self.a.source.hold_back = True
        result = self.me.want(self.NAMES, [self.a])
        self.go()
        self.a.source.let_go()
        self.go()
        self.me.fetcher.cancel(self.NAMES.content_id)
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.me.parts.parts[self.NAMES.content_id].closed)
        self.go()
        self.assertEqual(self.me.fetcher.progress().contents, 0)

    def test_a_slow_holder(self) -> None:
        """What a holder does not send for some seconds an idle one is asked for, and the slow one is told to stop."""
        names = self.share(stream(3 * MIB, b"slow"), self.a, self.b)
        self.a.source.hold_back = True
        result = self.me.want(names, [self.a])
        self.go()
        self.a.source.let_go()  # the manifest
        self.go()
        self.me.fetcher.update_holders(names.content_id, {self.a.id, self.b.id})
        self.go(10.0)
        self.assert_here(names, stream(3 * MIB, b"slow"), result)
        link = self.a.links.link(self.me.id)
        assert link is not None
        self.assertFalse(link.busy)


class MeterTests(SynchronousTestCase):
    """Speed."""

    def test_window(self) -> None:
        """The speed is that of the last ten seconds; the totals are of all time."""
        meter = Meter()
        meter.add(b"a", 1000, 0.0)
        meter.add(b"b", 500, 0.5)
        meter.add(b"a", 1000, 5.0)
        self.assertEqual(meter.speed(5.0), 250.0)
        self.assertEqual(meter.speed(10.0), 100.0)
        self.assertEqual(meter.speed(15.0), 0.0)
        self.assertEqual((meter.total, meter.by_node), (2500, {b"a": 2000, b"b": 500}))
