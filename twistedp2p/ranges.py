"""Item numbers as they travel: runs of consecutive numbers as (first, count) pairs.

A range of four bytes can claim 2**62 numbers, so nothing here builds a list before it has counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twistedp2p.errors import ProtocolViolation

__all__ = ["Range", "count_of", "from_ranges", "to_ranges"]

Range = tuple[int, int]
_NUMBER_CAP = 2**63


def to_ranges(numbers: Iterable[int]) -> tuple[Range, ...]:
    """Return `numbers` as runs, in the order given; sort a set first to get few of them."""
    ranges: list[Range] = []
    first = count = 0
    for number in numbers:
        if count and number == first + count:
            count += 1
            continue
        if count:
            ranges.append((first, count))
        first, count = number, 1
    if count:
        ranges.append((first, count))
    return tuple(ranges)


def count_of(ranges: Sequence[Range], most: int) -> int:
    """Return how many numbers the ranges stand for; `ProtocolViolation` if one is empty, or they are over `most`."""
    total = 0
    for first, count in ranges:
        if count < 1 or first + count > _NUMBER_CAP:
            raise ProtocolViolation("a range of numbers is empty, or leaves the numbers that exist")
        total += count
        if total > most:
            raise ProtocolViolation(f"ranges stand for more than {most} numbers")
    return total


def from_ranges(ranges: Sequence[Range], most: int, *, ascending: bool = True) -> list[int]:
    """Return the numbers that the ranges stand for, in order.

    Raises `ProtocolViolation` if there are more than `most`, a range is empty, or, unless `ascending` is False,
    they do not ascend without overlapping.
    """
    count_of(ranges, most)
    numbers: list[int] = []
    after = 0
    for first, count in ranges:
        if ascending and first < after:
            raise ProtocolViolation("ranges of numbers overlap, or are not sorted")
        after = first + count
        numbers.extend(range(first, after))
    return numbers
