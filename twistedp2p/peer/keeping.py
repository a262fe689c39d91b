"""Conflict copies: the bytes of losing versions are made durable in the trash, then the versions collapse."""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p.disk.seam import Disk
from twistedp2p.errors import TwistedP2PError
from twistedp2p.paths import RelPath, conflict_name
from twistedp2p.peer.carrying import Books, Carried, Trashed
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.plan import Keep
from twistedp2p.peer.replica import collapse
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import trouble_of

__all__ = ["Keeper", "copy_path"]


def copy_path(keep: Keep) -> RelPath:
    """Return the path of the conflict copy of this losing version."""
    dot, value = keep.dot, keep.value
    return conflict_name(RelPath(keep.path), mtime_ns=value.mtime_ns, author=dot.rid, content_id=value.content)


class Keeper:
    """Carries out `Keep` actions."""

    def __init__(
        self,
        *,
        disk: Disk,
        index: Index,
        parts: PartStore,
        trash: TrashStore,
        contents: Contents,
        books: Books,
        durable: bool,
        wall: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._index = index
        self._parts = parts
        self._trash = trash
        self._contents = contents
        self._books = books
        self._durable = durable
        self._wall = wall

    def run(self, keeps: list[Keep], carried: Carried) -> None:
        """Make the bytes of losing versions durable in the trash; then, in one commit, collapse them."""
        kept: list[Keep] = []
        trashed: list[Trashed] = []
        for keep in keeps:
            try:
                if self._keep_bytes(keep, trashed):
                    kept.append(keep)
            except (OSError, TwistedP2PError) as error:
                carried.errors[keep.path] = trouble_of(error, keep.path)
                continue
            carried.plan.add(keep.path)
        if trashed and self._durable:
            self._disk.sync_all()
        view = View(self._index)
        for keep in kept:
            copy = copy_path(keep)
            collapse(view, keep.path, keep.dot, keep.value, copy.text)
            carried.plan.add(copy.text)
        self._books.commit(view, trashed, carried)

    def _keep_bytes(self, keep: Keep, trashed: list[Trashed]) -> bool:
        """Make sure that the trash has these bytes; return whether it does."""
        content = keep.value.content
        if any(entry.content == content for entry in trashed):
            return True
        if any(self._trash.has(entry.name, content) for entry in self._index.trash_with_content(content)):
            return True
        source = self._contents.take(content)
        if source is None:
            return False
        name = self._trash.keep(source, RelPath(keep.path), self._wall())
        self._parts.published(content)
        self._books.list_entry(name, keep.path, content, True, trashed)
        return True
