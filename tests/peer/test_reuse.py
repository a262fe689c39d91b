"""What a disk has of a content is taken from there, not fetched."""

from __future__ import annotations

from random import Random

from tests.simulation.test_scenarios import WorldCase
from twistedp2p.limits import CHUNK_AVERAGE
from twistedp2p.testing.nodes import SimPeer

LARGE = Random(7).randbytes(6_000_000)


def received(peer: SimPeer) -> int:
    """Return how many bytes of content a peer has fetched."""
    return peer.peer.fetcher.progress().received


class ReuseTests(WorldCase):
    """An edited large file, at a peer that has the version before."""

    def fetched_for(self, edited: bytes) -> int:
        """Return how much the other peer fetches when the large file is saved as `edited`."""
        anna, ben = self.couple({"large": LARGE})
        before = received(ben)
        self.assertEqual(before, len(LARGE))
        anna.write("large", edited)
        self.settle()
        self.assertEqual(ben.tree()["large"][0], edited)
        return received(ben) - before

    def test_one_byte(self) -> None:
        """One byte changed: only the chunk around it travels."""
        middle = len(LARGE) // 2
        fetched = self.fetched_for(LARGE[:middle] + b"?" + LARGE[middle + 1 :])
        self.assertGreater(fetched, 0)
        self.assertLessEqual(fetched, 8 * CHUNK_AVERAGE)

    def test_insertion(self) -> None:
        """Bytes put in at the beginning move all that follows: still only what is new travels."""
        self.assertLessEqual(self.fetched_for(b"a new beginning" + LARGE), 8 * CHUNK_AVERAGE)

    def test_nothing_alike(self) -> None:
        """Another content altogether is fetched whole."""
        self.assertEqual(self.fetched_for(LARGE[::-1]), len(LARGE))

    def test_small_before(self) -> None:
        """A small file that grew large is fetched whole: it has no chunks to compare."""
        anna, ben = self.couple({"file": b"small"})
        before = received(ben)
        anna.write("file", LARGE)
        self.settle()
        self.assertEqual(received(ben) - before, len(LARGE))
