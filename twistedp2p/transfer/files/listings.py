"""Long listings in pieces: one that was asked for up to some number of entries goes on where it stopped.

Whoever lists a million files asks for some thousand at a time, and for the next when it has room for them. The server
goes on with the walk that it had begun, instead of looking for the place again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence

from attrs import define

from twistedp2p.limits import LISTINGS_PAUSED
from twistedp2p.transfer.files.messages import FileEntry, ListFolder

__all__ = ["Listings"]


@define
class _Paused:
    pages: AsyncIterator[Sequence[FileEntry]]
    rest: Sequence[FileEntry]


class Listings:
    """The listings of one connection.

    Args:
        begin: begins a listing, whole, from `after` on.
        most: listings that are kept to be gone on with; the oldest is forgotten, and is then begun anew.
    """

    def __init__(
        self, begin: Callable[[ListFolder], AsyncIterator[Sequence[FileEntry]]], most: int = LISTINGS_PAUSED
    ) -> None:
        self._begin = begin
        self._most = most
        self._paused: OrderedDict[tuple[str, bool, str, str], _Paused] = OrderedDict()

    async def listing(self, asked: ListFolder) -> AsyncIterator[Sequence[FileEntry]]:
        """Yield pages of at most `asked.most` entries in all; 0 is without end."""
        paused = self._paused.pop((asked.path, asked.deep, asked.pattern, asked.after), None)
        if paused is None:
            paused = _Paused(self._begin(asked), ())
        left = asked.most
        while True:
            page = paused.rest
            if not page:
                try:
                    page = await anext(paused.pages)
                except StopAsyncIteration:
                    return
            paused.rest = ()
            if asked.most:
                page, paused.rest = page[:left], page[left:]
                left -= len(page)
            yield page
            if asked.most and not left:
                self._pause((asked.path, asked.deep, asked.pattern, page[-1].path), paused)
                return

    def _pause(self, key: tuple[str, bool, str, str], paused: _Paused) -> None:
        self._paused[key] = paused
        while len(self._paused) > self._most:
            self._paused.popitem(last=False)
