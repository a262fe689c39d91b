"""Renames: a file whose content goes to a new name as it leaves the old one is moved, not copied."""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p.paths import RelPath
from twistedp2p.peer.carrying import Books, Carried, as_observed
from twistedp2p.peer.folder.publish import Publisher
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.folder_steps import FolderSteps
from twistedp2p.peer.index import Index
from twistedp2p.peer.plan import Action, Publish, Remove
from twistedp2p.peer.recovery import Recovery
from twistedp2p.peer.replica import finish
from twistedp2p.peer.store import View
from twistedp2p.peer.values import Intent, Row, Signature
from twistedp2p.versions import Kind

__all__ = ["Renamer"]


class Renamer:
    """Finds the renames in a batch and carries them out; an intent for the old name covers each."""

    def __init__(
        self,
        *,
        index: Index,
        publisher: Publisher,
        trash: TrashStore,
        folders: FolderSteps,
        recovery: Recovery,
        books: Books,
        durable: bool,
        wall: Callable[[], float],
    ) -> None:
        self._index = index
        self._publisher = publisher
        self._trash = trash
        self._folders = folders
        self._recovery = recovery
        self._books = books
        self._durable = durable
        self._wall = wall

    def run(self, actions: list[Action], carried: Carried) -> set[Action]:
        """Rename files whose content goes to a new name as it leaves the old one; return the actions done by that."""
        view = View(self._index)
        pairs = self._pairs(actions, view)
        if not pairs:
            return set()
        intents = []
        for source, _ in pairs:
            trash = self._trash.allocate(RelPath(source.path), self._wall())
            intents.append(Intent(source.path, view.row(source.path), source.dot, Kind.FILE, None, False, trash))
            view.set_intent(source.path, intents[-1])
        self._books.commit(view, [], carried)
        done: set[Action] = set()
        for (source, target), intent in zip(pairs, intents, strict=True):
            try:
                if self._rename(intent, target, view, carried):
                    done.update((source, target))
            except OSError:
                self._recovery.settle(intent, view)
        if self._durable:
            self._publisher.sync()
        self._books.commit(view, [], carried)
        return done

    def _pairs(self, actions: list[Action], view: View) -> list[tuple[Remove, Publish]]:
        """Return which removal gives which new name its content."""
        leaving: dict[bytes, list[Remove]] = {}
        for action in actions:
            if isinstance(action, Remove) and action.kind == Kind.FILE:
                row = view.row(action.path)
                if row is not None and row.signature is not None:
                    leaving.setdefault(row.content, []).append(action)
        pairs = []
        for action in actions:
            if isinstance(action, Publish) and view.row(action.path) is None:
                sources = leaving.get(action.value.content)
                if sources:
                    pairs.append((sources.pop(), action))
        return pairs

    def _rename(self, intent: Intent, publish: Publish, view: View, carried: Carried) -> bool:
        """Rename one file; False if it was not, and is settled."""
        target, before = RelPath(publish.path), intent.before
        assert before is not None and before.signature is not None
        if target.parent is not None and self._folders.ensure(target.parent, view, carried) is not None:
            finish(view, intent, False, None, None)
            return False
        moved = self._publisher.move(
            RelPath(intent.path), target, self._trash.locate(intent.trash), before.signature
        )
        if not isinstance(moved, Signature):
            self._recovery.settle(intent, view)
            carried.look.update((intent.path, publish.path))
            return False
        finish(view, intent, True, None, as_observed(before))
        view.set_row(publish.path, Row(publish.dot, before.kind, before.content, before.executable, moved))
        carried.plan.update((intent.path, publish.path))
        carried.published += 1
        return True
