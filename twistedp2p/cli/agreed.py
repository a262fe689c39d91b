"""What somebody agreed to receive: a list that is remembered by its digests, and that what comes later is held to.

    Agreed.listed, any number of times, then Agreed.end   while the list is read for the question
    Agreed.held_to                                        while it is read once more, to fetch it

A list of a million names takes 64 kB: one digest is kept for each `_AT_ONCE` entries. Whatever differs from what was
agreed to ends the second reading before any entry of that digest is given out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from blake3 import blake3

from twistedp2p.errors import FileChanged
from twistedp2p.transfer.files.messages import FileEntry

__all__ = ["Agreed"]

_AT_ONCE = 500
"""Entries of one digest: so many are held back until they are known to be those that were agreed to."""


class Agreed:
    """A list of entries, while it grows and when it is at its end."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._last: list[FileEntry] = []

    def listed(self, entries: Sequence[FileEntry]) -> None:
        """Take the next entries of the list."""
        self._last += entries
        while len(self._last) >= _AT_ONCE:
            self._digests.append(_digest(self._last[:_AT_ONCE]))
            del self._last[:_AT_ONCE]

    def end(self) -> None:
        """That was all of it."""
        self._digests.append(_digest(self._last))
        self._last = []

    async def held_to(self, pages: AsyncIterator[Sequence[FileEntry]]) -> AsyncIterator[Sequence[FileEntry]]:
        """Yield the entries of `pages` as far as they are those of this list.

        Raises `FileChanged` at the first group of them that differs; none of that group is yielded.
        """
        left = iter(self._digests)
        waiting: list[FileEntry] = []
        async for page in pages:
            waiting += page
            while len(waiting) >= _AT_ONCE:
                yield _same(waiting[:_AT_ONCE], next(left, b""))
                del waiting[:_AT_ONCE]
        yield _same(waiting, next(left, b""))


def _same(entries: list[FileEntry], digest: bytes) -> list[FileEntry]:
    if _digest(entries) != digest:
        raise FileChanged("What is offered now is not what you agreed to, and was not taken; receive it again.")
    return entries


def _digest(entries: Sequence[FileEntry]) -> bytes:
    hasher = blake3()
    for entry in entries:
        # A path has no NUL in it, and the other fields have a fixed form. The date of a folder changes with what is in
        # it, and is not taken over.
        moment = 0 if entry.folder else entry.mtime_ns
        what = f"{entry.path}\0{entry.folder:d}{entry.executable:d}\0{entry.size}\0{moment}\0{entry.token.hex()}\0"
        hasher.update(what.encode())
    return hasher.digest()
