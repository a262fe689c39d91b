"""The trash as a person sees it: what is in it, until when, and why it can not go; and emptying it.

What a version waits for is never removed, whatever is asked: it may be the only copy of what somebody saved. What the
index does not know is never removed by its age alone, because only its bytes tell whether a version waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from itertools import islice

from attrs import evolve, frozen

from twistedp2p.limits import TRASH_SLICE
from twistedp2p.peer.folder.trash import Trashed, TrashStore, displaced_at
from twistedp2p.peer.index import Index, Trash
from twistedp2p.peer.values import Signature

__all__ = ["Item", "Page", "Purged", "Purger", "Wish", "matches"]

DAY_SECONDS = 86_400.0
WAITED_FOR = "A version waits for it, and it may be the only copy: it goes when that is settled."
UNLISTED = "The index does not know it, so nobody can tell from its age whether it is needed: --all looks into it."
NOT_HEARD = "The index is new and has heard nothing of the share yet: let the peer sync once."
UNSETTLED = "A publish that was interrupted is not settled yet: let the peer run."
JUST_CAME = "It came here a moment ago, and a program may still be writing to it: try again in a minute."
BEING_WRITTEN = "It can not be read now, or a program is writing to it."
WRITTEN = "A program wrote into it after it came here: the running peer brings it back."

_UNLISTED = "?"  # begins a place in the files that the index does not know, which come after the others


@frozen
class Item:
    """One file in the trash.

    `name` is where it lies below `.twistedp2p/trash`; `path` what it was, of which only the last part is known if it is
    not `listed` in the index; `size` in bytes; `since` when it came, seconds since 1970; `until` when it goes by
    itself, None for never; `why` says why it can not go now, and is empty if it can.
    """

    name: str
    path: str
    size: int
    since: float
    until: float | None
    listed: bool = True
    why: str = ""


@frozen
class Page:
    """Some files, the newest first; `next` is where to go on, None at the end."""

    items: tuple[Item, ...]
    next: str | None


@frozen
class Wish:
    """What is to go: what came more than `older_than` days ago (None: whatever its age) and matches `pattern`.

    `everything`: also what the index does not know, once its bytes were read and no version waits for them.
    """

    older_than: int | None = None
    pattern: str | None = None
    everything: bool = False

    def means(self, item: Item, now: float) -> bool:
        """Whether this file is meant, at `now` (seconds since 1970); whether it can go is another question."""
        if not (item.listed or self.everything) or not matches(item.path, self.pattern):
            return False
        return self.older_than is None or item.since + self.older_than * DAY_SECONDS <= now


@frozen
class Purged:
    """What one step removed, how many bytes that were, and what it kept although it was asked for.

    `written` names what a program wrote into since it came; `next` is where to go on, None at the end.
    """

    removed: int
    bytes: int
    kept: tuple[Item, ...]
    written: tuple[str, ...]
    next: str | None


def matches(path: str, pattern: str | None) -> bool:
    """Whether `path`, a folder above it, or its last part is like the shell pattern `pattern`; None is like all."""
    if pattern is None:
        return True
    pattern = pattern.rstrip("/")
    if fnmatchcase(path.rpartition("/")[2], pattern):
        return True
    while path:
        if fnmatchcase(path, pattern):
            return True
        path = path.rpartition("/")[0]
    return False


class Purger:
    """Lists and empties the trash of one folder; `days` is how long files are kept, `wall` gives seconds since 1970.

    `page` may run in any thread, `purge` only where nothing is published meanwhile.
    """

    def __init__(self, index: Index, trash: TrashStore, *, days: int, wall: Callable[[], float]) -> None:
        self.days = days
        self.unchecked: set[str] = set()
        """What came from under somebody's eyes and was not looked at again yet."""
        self._index = index
        self._trash = trash
        self._wall = wall

    def page(self, place: str | None = None, pattern: str | None = None, most: int = TRASH_SLICE) -> Page:
        """Return what follows after `place`: of up to `most` files that are looked at, those like `pattern`."""
        entries, following = self._entries(place, most, True)
        items = [self._item(entry) for entry in entries]
        return Page(tuple(item for item in items if item is not None and matches(item.path, pattern)), following)

    def purge(self, wish: Wish, place: str | None = None, most: int = TRASH_SLICE) -> Purged:
        """Remove what is wished of the next `most` files after `place`."""
        entries, following = self._entries(place, most, wish.everything)
        now = self._wall()
        removed: list[Item] = []
        kept: list[Item] = []
        gone: list[str] = []
        for entry in entries:
            item = self._item(entry)
            if item is None:
                gone.append(entry.name)
            elif wish.means(item, now):
                why = (item.why if item.listed else self._why_not_unlisted(item.name)) or self._removed(item.name)
                if why:
                    kept.append(evolve(item, why=why))
                else:
                    removed.append(item)
                    gone.append(item.name)
        with self._index.transaction():
            for name in gone:
                self._index.drop_trash(name)
        if following is None:
            self._trash.remove_empty_days()
        written = tuple(item.name for item in kept if item.why == WRITTEN)
        return Purged(len(removed), sum(item.size for item in removed), tuple(kept), written, following)

    def _removed(self, name: str) -> str:
        """Remove a file; return why that does not work, "" if it did."""
        try:
            self._trash.remove(name)
        except OSError as error:
            return f"It can not be removed: {error.strerror}."
        return ""

    # -- what there is ------------------------------------------------------

    def _entries(self, place: str | None, most: int, everything: bool) -> tuple[list[Trash | Trashed], str | None]:
        """Return the next files after `place`, and the place after them; without `everything`, only known ones."""
        if place is None or not place.startswith(_UNLISTED):
            known = self._index.trash_before(place, most)
            if len(known) == most:
                return [*known], known[-1].name
            return [*known], _UNLISTED if everything else None
        before = place.removeprefix(_UNLISTED)
        unknown = list(islice(self._unlisted(before), most))
        return [*unknown], _UNLISTED + unknown[-1].name if len(unknown) == most else None

    def _unlisted(self, before: str) -> Iterator[Trashed]:
        """Yield what the index does not know, less than the name `before` if that is not empty; newest first."""
        for day in self._trash.days():
            if before and day > before[:8]:
                continue
            for entry in self._trash.entries_of(day):
                if (not before or entry.name < before) and not self._index.has_trash(entry.name):
                    yield entry

    def _item(self, entry: Trash | Trashed) -> Item | None:
        """Return what a person is told of a file; None if it is gone."""
        since = displaced_at(entry.name)
        if isinstance(entry, Trashed):
            return Item(entry.name, entry.basename, entry.signature.size, since, None, False, UNLISTED)
        there = self._trash.look(entry.name)
        if there is None:
            return None
        why = self._why_not(entry, there)
        until = None if why == WAITED_FOR else since + self.days * DAY_SECONDS
        return Item(entry.name, entry.path, there.size, since, until, True, why)

    # -- why something can not go -------------------------------------------

    def _why_not(self, entry: Trash, there: Signature) -> str:
        if self._index.needed(entry.content):
            return WAITED_FOR
        if entry.name in self.unchecked:
            return JUST_CAME
        # The index has no later times than SQLite has numbers.
        if (there.size, min(there.mtime_ns, 2**63 - 1)) != (entry.size, entry.mtime_ns):
            return WRITTEN
        return self._why_not_yet(entry.name)

    def _why_not_unlisted(self, name: str) -> str:
        """Read the file: what a version waits for stays, whatever the index knows of the file."""
        why = self._why_not_yet(name)
        if why:
            return why
        found = self._trash.read(name)
        if found is None:
            return BEING_WRITTEN
        return WAITED_FOR if self._index.needed(found.observed.content) else ""

    def _why_not_yet(self, name: str) -> str:
        totals = self._index.totals()
        if not (totals.files or totals.folders or totals.tombstones):
            return NOT_HEARD
        return UNSETTLED if any(intent.trash == name for intent in self._index.intents()) else ""
