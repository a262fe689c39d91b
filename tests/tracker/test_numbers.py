"""The small set of many numbers behaves like a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twistedp2p.ranges import to_ranges
from twistedp2p.tracker.numbers import NumberSet

_numbers = st.sets(st.one_of(st.integers(0, 300), st.integers(4090, 4100), st.integers(0, 2**40)), max_size=60)


@given(_numbers, _numbers)
def test_like_a_set(first: set[int], second: set[int]) -> None:
    """Difference, union, size, membership and order are those of a set."""
    x, y = NumberSet(first), NumberSet(second)
    union = x.copy()
    union.update(y)
    assert list(x) == sorted(first)
    assert list(x.minus(y)) == sorted(first - second)
    assert len(x.minus(y)) == len(first - second)
    assert list(union) == sorted(first | second)
    assert len(union) == len(first | second)
    assert all((number in x) == (number in first) for number in first | second)
    assert union.minus(y).minus(x) == NumberSet()


@given(_numbers, _numbers)
def test_taking_out(first: set[int], second: set[int]) -> None:
    """What is taken out is gone, and an emptied set equals a new one."""
    x = NumberSet(first)
    assert [x.discard(number) for number in sorted(second)] == [number in first for number in sorted(second)]
    assert list(x) == sorted(first - second)
    assert len(x) == len(first - second)
    assert [x.add(number) for number in sorted(second)] == [True] * len(second)
    for number in first | second:
        x.discard(number)
    assert x == NumberSet()


@given(_numbers)
def test_ranges(numbers: set[int]) -> None:
    """The runs are the longest there are, also across pages."""
    assert tuple(NumberSet(numbers).ranges()) == to_ranges(sorted(numbers))


def test_run_over_pages() -> None:
    """A run that fills two pages and more is one run."""
    assert list(NumberSet(range(4000, 13_000)).ranges()) == [(4000, 9000)]
