"""Ranges of item numbers: short for long runs, and no way to claim more than there is."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedp2p.errors import ProtocolViolation
from twistedp2p.ranges import count_of, from_ranges, to_ranges


@given(st.sets(st.integers(0, 60)))
def test_sets_survive(numbers: set[int]) -> None:
    """A sorted set comes back from its ranges, which neither touch nor overlap."""
    ranges = to_ranges(sorted(numbers))
    assert from_ranges(ranges, 61) == sorted(numbers)
    assert count_of(ranges, 61) == len(numbers)
    assert all(a + n < b for (a, n), (b, _) in itertools.pairwise(ranges))


@given(st.lists(st.integers(0, 20)))
def test_order_is_kept(numbers: list[int]) -> None:
    """Numbers that are not sorted come back in their order, if the reader allows it."""
    assert from_ranges(to_ranges(numbers), 100, ascending=False) == numbers


def test_edge_of_the_limit() -> None:
    """As many numbers as allowed pass; one more does not."""
    assert len(from_ranges([(0, 5), (7, 5)], 10)) == 10
    with pytest.raises(ProtocolViolation, match="more than 9"):
        from_ranges([(0, 5), (7, 5)], 9)


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 2**62)],
        [(0, 1), (1, 2**62)],
        [(2**63 - 1, 2)],
        [(5, 0)],
        [(5, 2), (6, 1)],
        [(5, 1), (5, 1)],
        [(5, 1), (4, 1)],
        [(5, -1)],
    ],
)
def test_hostile_ranges(ranges: list[tuple[int, int]]) -> None:
    """Bombs, empty ranges, overlaps and disorder are refused."""
    with pytest.raises(ProtocolViolation):
        from_ranges(ranges, 1_000_000)
