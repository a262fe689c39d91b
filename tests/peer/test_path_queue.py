"""Paths that wait to be planned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.peer.path_queue import PathQueue

PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a-b", "b", "b/a"])


class PathQueueTests(SynchronousTestCase):
    """The queue against a plain set."""

    @given(st.lists(st.sets(PATHS) | st.integers(0, 4) | st.none()))
    def test_it_is_a_set_of_which_the_smallest_are_taken(self, deeds: list[set[str] | int | None]) -> None:
        """Whatever is added, taken and cleared, each path comes once, and the smallest first."""
        queue, model = PathQueue(), set[str]()
        for deed in deeds:
            if deed is None:
                queue.clear()
                model.clear()
            elif isinstance(deed, int):
                expected = sorted(model)[:deed]
                self.assertEqual(queue.take(deed), expected)
                model.difference_update(expected)
            else:
                queue.update(deed)
                model |= deed
            self.assertEqual((len(queue), bool(queue)), (len(model), bool(model)))

    def test_a_folder_comes_before_what_is_in_it(self) -> None:
        """A step of few paths has the parents of what it has."""
        queue = PathQueue()
        queue.update(["x/y/z", "x/y", "w", "x"])
        self.assertEqual([queue.take(2), queue.take(2), queue.take(2)], [["w", "x"], ["x/y", "x/y/z"], []])
