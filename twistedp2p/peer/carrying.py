"""What carrying out a batch of actions leaves, and the one commit by which each part of it becomes known."""

from __future__ import annotations

from attrs import Factory, define, frozen

from twistedp2p.peer.contents import Contents
from twistedp2p.peer.folder.publish import Obstacle
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.store import View
from twistedp2p.peer.values import Observed, Row

__all__ = ["Books", "Carried", "Trashed", "as_observed", "obstructed", "sentence"]


@define
class Carried:
    """What carrying out left: paths to plan again, to look at again, sentences about what did not work.

    `displaced` names what came into the trash from under somebody's eyes: a program may still write to it. `folders`
    are those that were seen to be there in this batch: looking once is enough for all that is put in them.
    """

    plan: set[str] = Factory(set)
    look: set[str] = Factory(set)
    errors: dict[str, str] = Factory(dict)
    touched: set[str] = Factory(set)
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
        taken = {name for name in self._contents.taken if self._trash.look(name) is None}
        self._contents.taken -= taken
        with self._index.transaction():
            for name in taken:
                self._index.drop_trash(name)
            for entry in trashed:
                self._index.add_trash(entry.name, entry.path, entry.content, entry.size, entry.mtime_ns, entry.kept)
            carried.touched |= view.commit()


def obstructed(path: str, obstacle: Obstacle, carried: Carried) -> None:
    """Have a look at what is in the way, and try again later: what can not be shared may stay there for ever."""
    carried.look.add(path)
    carried.errors[path] = f"It can not be put in its place: {obstacle.value}."


def as_observed(row: Row) -> Observed:
    """Return what is at a path as its row says."""
    return Observed(row.kind, row.content, executable=row.executable, signature=row.signature)


def sentence(error: Exception) -> str:
    """Return what to tell a person of an error."""
    if isinstance(error, OSError) and error.strerror:
        return f"It can not be written: {error.strerror}."
    return str(error)


