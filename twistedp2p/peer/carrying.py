"""What carrying out a batch of actions leaves, and the one commit by which each part of it becomes known."""

from __future__ import annotations

from attrs import Factory, define, frozen

from twistedp2p.peer.changes import By, Change, changes_of
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.folder.publish import Obstacle
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Observed, Row

__all__ = ["Books", "Carried", "Trashed", "as_observed", "obstructed"]


@define
class Carried:
    """What carrying out left: paths to plan again, to look at again, what did not work and why.

    `displaced` names what came into the trash from under somebody's eyes: a program may still write to it. `folders`
    are those that were seen to be there in this batch: looking once is enough for all that is put in them.
    """

    plan: set[str] = Factory(set)
    look: set[str] = Factory(set)
    errors: dict[str, Trouble] = Factory(dict)
    touched: set[str] = Factory(set)
    changes: list[Change] = Factory(list)
    displaced: list[str] = Factory(list)
    folders: set[str] = Factory(set)
    published: int = 0


@frozen
class Trashed:
    """A file that came into the trash: its content, as it was when its size and mtime were these."""

    name: str
    path: str
    content: bytes
    size: int
    mtime_ns: int
    kept: bool


class Books:
    """Writes into the index what was done: the view of a batch, and what came into or left the trash with it."""

    def __init__(self, index: Index, trash: TrashStore, contents: Contents) -> None:
        self._index = index
        self._trash = trash
        self._contents = contents

    def list_entry(self, name: str, path: str, content: bytes, kept: bool, trashed: list[Trashed]) -> None:
        """Have a file of the trash listed with the next commit."""
        there = self._trash.look(name)
        if there is not None:
            trashed.append(Trashed(name, path, content, there.size, there.mtime_ns, kept))

    def commit(self, view: View, trashed: list[Trashed], carried: Carried) -> None:
        """Commit `view`, what came into the trash, and what was moved out of it, all at once.

        What was taken and is there still stays listed: it may be all that is left of a version.
        """
        taken = {name for name in self._contents.taken if self._is_gone(name)}
        self._contents.taken -= taken
        with self._index.transaction():
            for name in taken:
                self._index.drop_trash(name)
            for entry in trashed:
                self._index.add_trash(entry.name, entry.path, entry.content, entry.size, entry.mtime_ns, entry.kept)
            carried.touched |= view.commit()
        carried.changes += changes_of(view.rows_changed, lambda _: By.OTHERS)

    def _is_gone(self, name: str) -> bool:
        try:
            return self._trash.look(name) is None
        except OSError:  # nobody can tell: it stays listed
            return False


_IN_THE_WAY = {
    Obstacle.OCCUPIED: "A file is in its place that was not read yet: it is looked at first.",
    Obstacle.FOLDER: "A folder is in its place: move or rename that folder, and it goes on by itself.",
    Obstacle.FOREIGN: "A link, a device or another disk is in its place, which is not shared: move that away, and it "
    "goes on by itself.",
    Obstacle.NO_PARENT: "A folder above it is missing, or something else is in the place of that folder: move that "
    "away, and it goes on by itself.",
    Obstacle.NOT_EMPTY: "The folder in its place is not empty: move away what is in it, and it goes on by itself.",
}


def obstructed(path: str, obstacle: Obstacle, carried: Carried) -> None:
    """Have a look at what is in the way, and try again later: what can not be shared may stay there for ever."""
    carried.look.add(path)
    text = _IN_THE_WAY.get(obstacle, f"It can not be put in its place now: {obstacle.value}. It is tried again.")
    carried.errors[path] = Trouble(Code.OBSTRUCTED, text)


def as_observed(row: Row) -> Observed:
    """Return what is at a path as its row says."""
    return Observed(row.kind, row.content, executable=row.executable, signature=row.signature)
