"""Going over to another list of what is ignored: every path is judged anew, a slice at a time. In the state thread.

A path that became ignored loses its row, and its fetches; one that is not any more is planned again after a scan, which
finds what lies there. Nothing is minted for either. The digest of the list is noted when all paths are judged; a peer
that ended before that begins again at its next start.

At start the share's list comes first: until it is here, nothing else is taken or put in place (`waits`).
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from twistedp2p.limits import IGNORE_BYTES
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.ignoring import Ignoring
from twistedp2p.peer.index import Index
from twistedp2p.peer.plan import forget_ignored
from twistedp2p.peer.store import View
from twistedp2p.versions import Live, winner

__all__ = ["Judged", "Relisting"]

SLICE = 2000
"""Paths judged in one step: some 20 ms."""


@frozen
class Judged:
    """What a slice left: paths to plan now; at the end (else None) those to plan after a scan."""

    plan: frozenset[str] = frozenset()
    after_scan: frozenset[str] | None = None


class Relisting:
    """Keeps the index, the list in force and the share's list together.

    `waits`: this process has not got the share's list yet. `first`: nor had any before it, so that what lies in the
    folder may be what the list says is nobody else's; it is not taken before the list is here.
    """

    def __init__(self, *, index: Index, ignoring: Ignoring, announcer: Announcer) -> None:
        self._index = index
        self._ignoring = ignoring
        self._announcer = announcer
        self._after = ""
        self._shown: set[str] = set()
        self.under_way = index.judged != ignoring.digest
        if self.under_way and not index.paths_after("", 1):
            self._end()
        self.waits = False
        self.first = False

    def caught(self) -> None:
        """Note that this peer has heard what the others know, so that it is clear whether the share has a list."""
        row = self._index.row(IGNORE_NAME)
        if row is not None:
            self.follow((IGNORE_NAME,))
        self.first = not self._index.listed
        self.waits = self._is_elsewhere()
        if not self.waits:
            self._arrived()

    def lost(self) -> None:
        """Note that the index begins anew."""
        self.waits = False
        self._ignoring.begin()
        self._begin()

    def follow(self, touched: Collection[str]) -> None:
        """Go by the list as these changes of the index left it."""
        if IGNORE_NAME not in touched:
            return
        if self._ignoring.follow(self._index.row(IGNORE_NAME)):
            self._begin()
        if self.waits and not self._is_elsewhere():
            self._arrived()

    def _begin(self) -> None:
        self._after = ""
        self._shown.clear()
        self.under_way = True

    def _end(self) -> None:
        self.under_way = False
        self._index.judged = self._ignoring.digest

    def _arrived(self) -> None:
        self.waits = self.first = False
        if not self._index.listed:
            self._index.listed = True

    def _is_elsewhere(self) -> bool:
        """Whether the share has a list that can be used, and it is not the file that is here."""
        value = winner(self._index.record(IGNORE_NAME))[1]
        if not isinstance(value, Live) or value.is_folder or value.size > IGNORE_BYTES:
            return False
        row = self._index.row(IGNORE_NAME)
        return value.content != (self._ignoring.content if row is None else row.content)

    def next(self) -> Judged:
        """Judge the next slice."""
        index = self._index
        paths = index.paths_after(self._after, SLICE)
        if not paths:
            self._end()
            shown, self._shown = frozenset(self._shown), set()
            return Judged(after_scan=shown)
        self._after = paths[-1]
        view = View(index)
        forget_ignored(view, paths, self._ignoring)
        forgotten = view.commit()
        hidden, shown_now = index.judge(paths)
        self._announcer.changed(forgotten)
        self._shown.update(shown_now)
        return Judged(plan=frozenset(forgotten).union(hidden))
