"""Folders and bits: the changes that displace nothing, and need no intent."""

from __future__ import annotations

from attrs import evolve

from twistedp2p.paths import RelPath
from twistedp2p.peer.carrying import Carried, obstructed
from twistedp2p.peer.folder.publish import Obstacle, Publisher
from twistedp2p.peer.look import Eye
from twistedp2p.peer.plan import MakeFolder, Remove, SetExecutable
from twistedp2p.peer.store import View
from twistedp2p.peer.values import FOLDER_CONTENT, Row
from twistedp2p.versions import Dot, Kind, Live, winner

__all__ = ["FolderSteps"]


class FolderSteps:
    """Makes and removes folders, and notes their rows in the view of the batch."""

    def __init__(self, eye: Eye, publisher: Publisher) -> None:
        self._eye = eye
        self._publisher = publisher

    def make(self, action: MakeFolder, view: View, carried: Carried) -> None:
        """Make a folder that is a version of its own."""
        obstacle = self.ensure(RelPath(action.path), view, carried)
        if obstacle is not None:
            obstructed(action.path, obstacle, carried)
            return
        view.set_row(action.path, Row(action.dot, Kind.FOLDER, FOLDER_CONTENT, False, self._eye.signature(action.path)))

    def ensure(self, folder: RelPath, view: View, carried: Carried) -> Obstacle | None:
        """Make `folder` and what is missing above it, and note them: no version is minted for any of them.

        Not where the index has a file still: a user removed it, and the row that tells so must not be overwritten.
        """
        if folder.text in carried.folders:
            return None
        for path in (folder, *folder.ancestors()):
            row = view.row(path.text)
            if row is not None and row.kind == Kind.FILE:
                carried.look.add(path.text)
                return Obstacle.NO_PARENT
        try:
            made = self._publisher.make_folder(folder)
            if isinstance(made, Obstacle):
                return made
            for path in made:
                dot, value = winner(view.record(path.text))
                base: Dot | None = dot if isinstance(value, Live) and value.is_folder else None
                view.set_row(path.text, Row(base, Kind.FOLDER, FOLDER_CONTENT, False, self._eye.signature(path.text)))
        except OSError:
            # Some of them may be there by now: what has no row is looked at, or nobody would remove it with the rest.
            carried.look.update(path.text for path in (folder, *folder.ancestors()) if view.row(path.text) is None)
            raise
        carried.folders.add(folder.text)
        return None

    def remove(self, action: Remove, view: View, carried: Carried) -> None:
        """Remove a folder if it is empty; one that is not stays, as one that is there because something is in it."""
        row = view.row(action.path)
        removed = self._publisher.remove_folder(RelPath(action.path))
        if removed is True:
            view.set_row(action.path, None)
            carried.plan.add(action.path)
        elif row is not None and removed is False:
            view.set_row(action.path, evolve(row, base=None))
            carried.look.add(action.path)  # a person is told why it stays
        elif isinstance(removed, Obstacle):
            obstructed(action.path, removed, carried)
        else:
            carried.look.add(action.path)

    def set_executable(self, action: SetExecutable, view: View, carried: Carried) -> None:
        """Give a file the winner's executable bit."""
        row = view.row(action.path)
        if row is None or row.signature is None:
            carried.look.add(action.path)
            return
        changed = self._publisher.set_executable(RelPath(action.path), action.executable, row.signature)
        if isinstance(changed, Obstacle):
            carried.look.add(action.path)
        else:
            view.set_row(action.path, evolve(row, executable=action.executable, signature=changed))
