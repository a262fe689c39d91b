"""A set of item numbers that stays small when there are a million of them. Pure.

Numbers ascend for as long as an epoch lasts and most of the old ones are forgotten again, so the bits are kept in
pages, and a page without a number costs nothing. A million numbers cost 125 kB, against some 60 MB as a `set`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twistedp2p.ranges import Range

__all__ = ["NumberSet"]

_SHIFT = 12
_PAGE = 1 << _SHIFT
_MASK = _PAGE - 1


class NumberSet:
    """A set of integers from 0 up; a page of it is an `int` that has the bits of 4,096 consecutive numbers."""

    __slots__ = ("_count", "_pages")

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._pages: dict[int, int] = {}
        self._count = 0
        for number in numbers:
            self.add(number)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return (self._pages.get(number >> _SHIFT, 0) >> (number & _MASK)) & 1 == 1

    def __iter__(self) -> Iterator[int]:
        for first, count in self.ranges():
            yield from range(first, first + count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumberSet) and self._pages == other._pages

    __hash__ = None  # type: ignore[assignment]

    def add(self, number: int) -> bool:
        """Put `number` in; return whether it was not in already."""
        page, bit = self._pages.get(number >> _SHIFT, 0), 1 << (number & _MASK)
        if page & bit:
            return False
        self._pages[number >> _SHIFT] = page | bit
        self._count += 1
        return True

    def discard(self, number: int) -> bool:
        """Take `number` out; return whether it was in."""
        page, bit = self._pages.get(number >> _SHIFT, 0), 1 << (number & _MASK)
        if not page & bit:
            return False
        self._count -= 1
        if page == bit:
            del self._pages[number >> _SHIFT]
        else:
            self._pages[number >> _SHIFT] = page ^ bit
        return True

    def copy(self) -> NumberSet:
        """Return an independent set of the same numbers."""
        twin = NumberSet()
        twin._pages, twin._count = self._pages.copy(), self._count
        return twin

    def minus(self, other: NumberSet) -> NumberSet:
        """Return the numbers that are here and not in `other`."""
        rest = NumberSet()
        for index, page in self._pages.items():
            left = page & ~other._pages.get(index, 0)
            if left:
                rest._pages[index] = left
                rest._count += left.bit_count()
        return rest

    def update(self, other: NumberSet) -> None:
        """Put in all numbers of `other`."""
        for index, page in other._pages.items():
            before = self._pages.get(index, 0)
            self._pages[index] = before | page
            self._count += (page & ~before).bit_count()

    def ranges(self) -> Iterator[Range]:
        """Yield the runs of consecutive numbers, ascending, as (first, count)."""
        start = count = 0
        for index in sorted(self._pages):
            page, base = self._pages[index], index << _SHIFT
            while page:
                skip = (page & -page).bit_length() - 1
                page >>= skip
                run = (~page & (page + 1)).bit_length() - 1
                page >>= run
                first, base = base + skip, base + skip + run
                if count and first == start + count:
                    count += run
                    continue
                if count:
                    yield (start, count)
                start, count = first, run
        if count:
            yield (start, count)
