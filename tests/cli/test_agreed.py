"""Holding a second reading of a list to the first one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.agreed import Agreed
from twistedp2p.errors import FileChanged
from twistedp2p.transfer.files.messages import FileEntry

FILES = st.builds(
    FileEntry,
    st.text("ab/\u00e4 1", min_size=1, max_size=6),
    st.just(False),
    st.integers(0, 2**50),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.binary(max_size=16),
)
FOLDERS = st.builds(FileEntry, st.text("ab/", min_size=1, max_size=6), st.just(True))
ENTRIES = st.one_of(FILES, FOLDERS)


def many(number: int) -> list[FileEntry]:
    """Return a list of so many files."""
    return [FileEntry(f"{at:06}", False, at, at, False, b"token") for at in range(number)]


async def in_pages(entries: Sequence[FileEntry], most: int) -> AsyncIterator[Sequence[FileEntry]]:
    """Yield entries so many at a time."""
    for first in range(0, len(entries), most):
        yield entries[first : first + most]


class AgreedTests(SynchronousTestCase):
    """A list that was agreed to, and one that comes afterwards."""

    def agreed(self, entries: Sequence[FileEntry], most: int = 300) -> Agreed:
        """Return a list that was read to its end, so many entries at a time."""
        agreed = Agreed()
        for first in range(0, len(entries), most):
            agreed.listed(entries[first : first + most])
        agreed.end()
        return agreed

    def held(self, agreed: Agreed, entries: Sequence[FileEntry], most: int = 300) -> list[FileEntry]:
        """Return what is given out of a second reading before it ends; it must end with FileChanged if not all is."""
        found: list[FileEntry] = []

        async def read() -> None:
            async for page in agreed.held_to(in_pages(entries, most)):
                found.extend(page)

        reading = ensureDeferred(read())
        if len(found) != len(entries):
            self.failureResultOf(reading, FileChanged)
        else:
            self.successResultOf(reading)
        return found

    def test_the_same_list(self) -> None:
        """The same list is given out whole, however it is cut into pages, and as often as it is read."""
        for number in (0, 1, 499, 500, 501, 1000, 1234):
            entries = many(number)
            agreed = self.agreed(entries, 77)
            for most in (1, 500, 5000):
                self.assertEqual(self.held(agreed, entries, most), entries)

    def test_a_longer_or_shorter_list(self) -> None:
        """What was added or left out ends it, and nothing of the group where it stands is given out."""
        for number in (499, 500, 501, 1000, 1200):
            agreed = self.agreed(many(number))
            self.assertEqual(self.ends(agreed, many(number + 1)), number // 500 * 500)
            self.assertEqual(self.ends(agreed, many(number - 1)), (number - 1) // 500 * 500)
            self.assertEqual(self.ends(agreed, []), 0)
        self.assertEqual(self.ends(self.agreed([]), many(1)), 0)

    def ends(self, agreed: Agreed, entries: Sequence[FileEntry]) -> int:
        """Return how many entries are given out of a list that is another one."""
        found = 0

        async def read() -> None:
            nonlocal found
            async for page in agreed.held_to(in_pages(entries, 300)):
                found += len(page)

        self.failureResultOf(ensureDeferred(read()), FileChanged)
        return found

    def test_a_change_late_in_a_long_list(self) -> None:
        """A change in the third group lets the first two be given out, and no more."""
        entries = many(2000)
        agreed = self.agreed(entries)
        entries[1200] = evolve(entries[1200], size=7)
        self.assertEqual(self.ends(agreed, entries), 1000)

    def test_memory(self) -> None:
        """What is kept of a long list is a digest for each 500 of its entries."""
        agreed = self.agreed(many(100_000))
        self.assertEqual(len(agreed._digests), 201)
        self.assertEqual(agreed._last, [])

    @given(st.lists(ENTRIES, max_size=8), st.data())
    def test_any_change_is_noticed(self, entries: list[FileEntry], data: st.DataObject) -> None:
        """Whatever one entry is replaced by, added or removed, the list is another one."""
        agreed = self.agreed(entries)
        at = data.draw(st.integers(0, len(entries)))
        other = data.draw(ENTRIES)
        before, after = entries[:at], entries[at:]
        ways = ([*before, other, *after], [*before, other, *after[1:]], before + after[1:])
        changed = data.draw(st.sampled_from(ways))
        if changed == entries:
            self.assertEqual(self.held(agreed, changed), entries)
        else:
            self.assertEqual(self.ends(agreed, changed), 0)

    @given(FILES)
    def test_each_field_counts(self, entry: FileEntry) -> None:
        """Path, kind, size, date, permission to run and token of a file are all agreed to."""
        agreed = self.agreed([entry])
        for other in (
            evolve(entry, path=entry.path + "0"),
            evolve(entry, folder=True),
            evolve(entry, size=entry.size + 1),
            evolve(entry, mtime_ns=entry.mtime_ns ^ 1),
            evolve(entry, executable=not entry.executable),
            evolve(entry, token=entry.token + b"0"),
        ):
            self.assertEqual(self.ends(agreed, [other]), 0)

    def test_the_date_of_a_folder(self) -> None:
        """The date of a folder is not agreed to: it changes with what comes and goes in it."""
        agreed = self.agreed([FileEntry("folder", True, mtime_ns=1)])
        now = [FileEntry("folder", True, mtime_ns=2)]
        self.assertEqual(self.held(agreed, now), now)
