"""Carrying out what was planned, on the disk and in the index, in batches. In the state thread.

A batch is: copies of losing versions made durable and collapsed; then contents made ready as private files; intents
committed; names changed; what was changed made durable; rows committed. A crash between any two of these is
mended at the next start from the intents (`recovery`). Nothing here decides what belongs where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import Factory, define, evolve, frozen

from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import TwistedP2PError
from twistedp2p.paths import RelPath, conflict_name
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.folder.mark import TRASH
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Displaced, Obstacle, Publisher, Replaced
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.plan import Action, Keep, MakeFolder, Publish, Remove, SetExecutable
from twistedp2p.peer.recovery import Recovery
from twistedp2p.peer.replica import collapse, finish
from twistedp2p.peer.store import View
from twistedp2p.peer.values import FOLDER_CONTENT, Intent, Observed, Row, Signature
from twistedp2p.versions import Dot, Kind, Live, winner

__all__ = ["Carried", "Executor"]


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


@define
class _Step:
    """One change of a name under way: the intent that covers it and the private file that it will use."""

    intent: Intent
    source: Name | None = None
    mtime_ns: int = 0


@frozen
class _Trashed:
    """A file that came into the trash: its content, as it was when its size and mtime were these."""

    name: str
    path: str
    content: bytes
    size: int
    mtime_ns: int
    kept: bool


class Executor:
    """Carries out actions in one shared folder."""

    def __init__(
        self,
        *,
        disk: Disk,
        index: Index,
        eye: Eye,
        publisher: Publisher,
        parts: PartStore,
        trash: TrashStore,
        contents: Contents,
        recovery: Recovery,
        durable: bool,
        wall: Callable[[], float],
    ) -> None:
        self._index = index
        self._disk = disk
        self._eye = eye
        self._publisher = publisher
        self._parts = parts
        self._trash = trash
        self._contents = contents
        self._recovery = recovery
        self._durable = durable
        self._wall = wall

    def run(self, actions: Iterable[Action]) -> Carried:
        """Carry out the actions of one batch, given in the order of their paths; return what is left to do.

        What fails is left as it was and named in `errors`; the rest goes on.
        """
        carried = Carried()
        keeps, phases = _in_phases(actions)
        self._keep(keeps, carried)
        done = self._move([action for phase in phases for action in phase], carried)
        for phase in phases:
            self._make([action for action in phase if action not in done], carried)
        self._look_back(carried)
        return carried

    def _look_back(self, carried: Carried) -> None:
        """Find what a user changed between the change of a name and the commit of its row.

        Whoever looked there in between found no row, and nothing to report. What changes from here on is seen by a
        look that finds the row.
        """
        for path in carried.touched:
            row = self._index.row(path)
            if row is not None and row.signature is not None and not self._eye.is_fine(path, row.signature):
                carried.look.add(path)

    # -- conflict copies ----------------------------------------------------

    def _keep(self, keeps: list[Keep], carried: Carried) -> None:
        """Make the bytes of losing versions durable in the trash; then, in one commit, collapse them."""
        kept: list[Keep] = []
        trashed: list[_Trashed] = []
        for keep in keeps:
            try:
                if self._keep_bytes(keep, trashed):
                    kept.append(keep)
            except (OSError, TwistedP2PError) as error:
                carried.errors[keep.path] = _sentence(error)
                continue
            carried.plan.add(keep.path)
        if trashed and self._durable:
            self._disk.sync_all()
        view = View(self._index)
        for keep in kept:
            dot, value = keep.dot, keep.value
            copy = conflict_name(
                RelPath(keep.path), mtime_ns=value.mtime_ns, author=dot.rid, content_id=value.content
            )
            collapse(view, keep.path, dot, value, copy.text)
            carried.plan.add(copy.text)
        self._commit(view, trashed, carried)

    def _keep_bytes(self, keep: Keep, trashed: list[_Trashed]) -> bool:
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
        self._list(name, keep.path, content, True, trashed)
        return True

    def _list(self, name: str, path: str, content: bytes, kept: bool, trashed: list[_Trashed]) -> None:
        """Have a file of the trash listed with the next commit."""
        there = self._trash.look(name)
        if there is not None:
            trashed.append(_Trashed(name, path, content, there.size, there.mtime_ns, kept))

    def _commit(self, view: View, trashed: list[_Trashed], carried: Carried) -> None:
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

    # -- renames ------------------------------------------------------------

    def _move(self, actions: list[Action], carried: Carried) -> set[Action]:
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
        self._commit(view, [], carried)
        done: set[Action] = set()
        for (source, target), intent in zip(pairs, intents, strict=True):
            try:
                if self._rename(intent, target, view, carried):
                    done.update((source, target))
            except OSError:
                self._recovery.settle(intent, view)
        if self._durable:
            self._publisher.sync()
        self._commit(view, [], carried)
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
        if target.parent is not None and self._folders(target.parent, view, carried) is not None:
            finish(view, intent, False, None, None)
            return False
        moved = self._publisher.move(
            RelPath(intent.path), target, self._trash.locate(intent.trash), before.signature
        )
        if not isinstance(moved, Signature):
            self._recovery.settle(intent, view)
            carried.look.update((intent.path, publish.path))
            return False
        finish(view, intent, True, None, _as_observed(before))
        view.set_row(publish.path, Row(publish.dot, before.kind, before.content, before.executable, moved))
        carried.plan.update((intent.path, publish.path))
        carried.published += 1
        return True

    # -- names --------------------------------------------------------------

    def _make(self, actions: list[Action], carried: Carried) -> None:
        """Prepare, commit the intents, change the names, make them durable, commit the rows."""
        if not actions:
            return
        view = View(self._index)
        steps = self._prepare(actions, view, carried)
        self._commit(view, [], carried)
        staged: list[_Step] = []
        for step in steps:
            try:
                if step.intent.before is not None and step.source is not None:
                    assert step.intent.content is not None
                    step.source = self._publisher.stage(step.source, self._trash.locate(step.intent.trash))
                    self._parts.published(step.intent.content)
                staged.append(step)
            except OSError as error:
                self._undone(step, error, view, carried)
        if self._durable and any(step.source is not None for step in staged):
            self._publisher.sync()
        results = []
        for step in staged:
            try:
                results.append((step, self._change(step, view, carried)))
            except OSError as error:
                self._undone(step, error, view, carried)
        if self._durable and results:
            self._publisher.sync()
        trashed: list[_Trashed] = []
        for step, result in results:
            self._conclude(step, result, view, trashed, carried)
        self._commit(view, trashed, carried)

    def _prepare(self, actions: list[Action], view: View, carried: Carried) -> list[_Step]:
        """Carry out what needs no intent, and make the contents and intents of the rest ready."""
        steps: list[_Step] = []
        taken: dict[bytes, Name] = {}
        for action in actions:
            try:
                if isinstance(action, Publish):
                    step = self._prepare_publish(action, taken, view, carried)
                    steps += [step] if step is not None else []
                elif isinstance(action, Remove) and action.kind == Kind.FILE:
                    step = self._prepare_remove(action, view, carried)
                    steps += [step] if step is not None else []
                elif isinstance(action, Remove):
                    self._remove_folder(action, view, carried)
                elif isinstance(action, MakeFolder):
                    self._make_folder(action, view, carried)
                elif isinstance(action, SetExecutable):
                    self._set_executable(action, view, carried)
            except (OSError, TwistedP2PError) as error:
                carried.errors[action.path] = _sentence(error)
        if self._durable and steps:
            self._parts.sync()
        return steps

    def _prepare_publish(
        self, action: Publish, taken: dict[bytes, Name], view: View, carried: Carried
    ) -> _Step | None:
        path, content = action.path, action.value.content
        row = view.row(path)
        if row is not None and (row.kind != Kind.FILE or not self._eye.is_fine(path, row.signature)):
            carried.look.add(path)
            return None
        if content in taken:
            source: Name | None = self._contents.duplicate(taken[content], content)
        else:
            source = self._contents.take(content)
            if source is not None:
                taken[content] = source
        if source is None:
            carried.plan.add(path)
            return None
        trash = "" if row is None else self._trash.allocate(RelPath(path), self._wall())
        intent = Intent(path, row, action.dot, Kind.FILE, content, action.value.executable, trash)
        view.set_intent(path, intent)
        return _Step(intent, source, action.value.mtime_ns)

    def _prepare_remove(self, action: Remove, view: View, carried: Carried) -> _Step | None:
        row = view.row(action.path)
        if row is None:
            return None
        if not self._eye.is_fine(action.path, row.signature):
            carried.look.add(action.path)
            return None
        trash = self._trash.allocate(RelPath(action.path), self._wall())
        intent = Intent(action.path, row, action.dot, Kind.FILE, None, False, trash)
        view.set_intent(action.path, intent)
        return _Step(intent)

    def _change(self, step: _Step, view: View, carried: Carried) -> Signature | Replaced | Displaced | Obstacle:
        """Change the name; return what came of it."""
        intent, path = step.intent, RelPath(step.intent.path)
        if step.source is None:
            return self._publisher.remove(path, self._trash.locate(intent.trash))
        if intent.before is not None:
            return self._publisher.replace(
                step.source,
                path,
                self._trash.locate(intent.trash),
                executable=intent.executable,
                mtime_ns=step.mtime_ns,
            )
        result = self._place(step, path)
        if result is Obstacle.NO_PARENT and path.parent is not None:
            made = self._folders(path.parent, view, carried)
            if made is not None:
                return made
            result = self._place(step, path)
        return result

    def _place(self, step: _Step, path: RelPath) -> Signature | Obstacle:
        assert step.source is not None
        return self._publisher.place_new(
            step.source, path, executable=step.intent.executable, mtime_ns=step.mtime_ns
        )

    def _conclude(
        self,
        step: _Step,
        result: Signature | Replaced | Displaced | Obstacle,
        view: View,
        trashed: list[_Trashed],
        carried: Carried,
    ) -> None:
        """Note what a change of a name came to."""
        intent = step.intent
        if isinstance(result, Obstacle):
            self._recovery.settle(intent, view)
            self._give_back(step, trashed)
            _obstructed(intent.path, result, carried)
            return
        carried.plan.add(intent.path)
        carried.published += 1
        if isinstance(result, Signature):
            assert intent.content is not None
            self._parts.published(intent.content)
            finish(view, intent, True, _row(intent, result), None)
        elif isinstance(result, Replaced):
            self._displaced(intent, _row(intent, result.signature), result.displaced, view, trashed, carried)
        else:
            self._displaced(intent, None, result.displaced, view, trashed, carried)
            if step.source is not None:
                carried.look.add(intent.path)  # somebody saved there in the instant in which the name was free

    def _displaced(
        self,
        intent: Intent,
        placed: Row | None,
        signature: Signature,
        view: View,
        trashed: list[_Trashed],
        carried: Carried,
    ) -> None:
        before = intent.before
        if before is not None and before.signature == signature:
            # The mtime of before it came there: whoever writes to it between that moment and the commit is seen.
            trashed.append(
                _Trashed(intent.trash, intent.path, before.content, signature.size, signature.mtime_ns, False)
            )
            carried.displaced.append(intent.trash)
            finish(view, intent, True, placed, _as_observed(before))
        elif not self._recovery.settle(intent, view):
            carried.errors[intent.path] = "a program is still writing to the file that was replaced; it is kept"

    def _give_back(self, step: _Step, trashed: list[_Trashed]) -> None:
        """List a file of the trash again that was taken out of it and not used."""
        source, content = step.source, step.intent.content
        if source is not None and content is not None and step.intent.before is None and source[:2] == TRASH:
            name = b"/".join(source[2:]).decode()
            self._list(name, step.intent.path, content, False, trashed)

    def _undone(self, step: _Step, error: OSError, view: View, carried: Carried) -> None:
        carried.errors[step.intent.path] = _sentence(error)
        self._recovery.settle(step.intent, view)

    # -- folders and bits ---------------------------------------------------

    def _make_folder(self, action: MakeFolder, view: View, carried: Carried) -> None:
        obstacle = self._folders(RelPath(action.path), view, carried)
        if obstacle is not None:
            _obstructed(action.path, obstacle, carried)
            return
        view.set_row(action.path, Row(action.dot, Kind.FOLDER, FOLDER_CONTENT, False, self._eye.signature(action.path)))

    def _folders(self, folder: RelPath, view: View, carried: Carried) -> Obstacle | None:
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
        made = self._publisher.make_folder(folder)
        if isinstance(made, Obstacle):
            return made
        for path in made:
            dot, value = winner(view.record(path.text))
            base: Dot | None = dot if isinstance(value, Live) and value.is_folder else None
            view.set_row(path.text, Row(base, Kind.FOLDER, FOLDER_CONTENT, False, self._eye.signature(path.text)))
        carried.folders.add(folder.text)
        return None

    def _remove_folder(self, action: Remove, view: View, carried: Carried) -> None:
        """Remove a folder if it is empty; one that is not stays, as one that is there because something is in it."""
        row = view.row(action.path)
        removed = self._publisher.remove_folder(RelPath(action.path))
        if removed is True:
            view.set_row(action.path, None)
            carried.plan.add(action.path)
        elif row is not None and removed is False:
            view.set_row(action.path, evolve(row, base=None))
        else:
            carried.look.add(action.path)

    def _set_executable(self, action: SetExecutable, view: View, carried: Carried) -> None:
        row = view.row(action.path)
        if row is None or row.signature is None:
            carried.look.add(action.path)
            return
        changed = self._publisher.set_executable(RelPath(action.path), action.executable, row.signature)
        if isinstance(changed, Obstacle):
            carried.look.add(action.path)
        else:
            view.set_row(action.path, evolve(row, executable=action.executable, signature=changed))


def _obstructed(path: str, obstacle: Obstacle, carried: Carried) -> None:
    """Have a look at what is in the way, and try again later: what can not be shared may stay there for ever."""
    carried.look.add(path)
    carried.errors[path] = f"It can not be put in its place: {obstacle.value}."


def _row(intent: Intent, signature: Signature) -> Row:
    assert intent.content is not None
    return Row(intent.dot, intent.kind, intent.content, intent.executable, signature)


def _as_observed(row: Row) -> Observed:
    return Observed(row.kind, row.content, executable=row.executable, signature=row.signature)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"It can not be written: {error.strerror}."
    return str(error)


def _in_phases(actions: Iterable[Action]) -> tuple[list[Keep], list[list[Action]]]:
    """Sort the actions of a batch into copies to keep, and phases of changes that must follow each other.

    What is made outside of folders that are still files; files that make way for a folder; what is made in those;
    files that are removed; folders that are removed, deepest first; files that take the place of a folder.
    """
    actions = list(dict.fromkeys(actions))
    swaps = {action.path for action in actions if isinstance(action, MakeFolder)} & {
        action.path for action in actions if isinstance(action, Remove) and action.kind == Kind.FILE
    }
    emptied = {action.path for action in actions if isinstance(action, Remove) and action.kind == Kind.FOLDER}
    keeps: list[Keep] = []
    made: list[Action] = []
    swapped: list[Action] = []
    below: list[Action] = []
    files: list[Action] = []
    folders: list[Action] = []
    last: list[Action] = []
    for action in actions:
        if isinstance(action, Keep):
            keeps.append(action)
        elif isinstance(action, Remove):
            phase = folders if action.kind == Kind.FOLDER else swapped if action.path in swaps else files
            phase.append(action)
        elif isinstance(action, Publish) and action.path in emptied:
            last.append(action)
        elif swaps and (action.path in swaps or any(above.text in swaps for above in RelPath(action.path).ancestors())):
            below.append(action)
        else:
            made.append(action)
    folders.sort(key=lambda action: action.path, reverse=True)
    return keeps, [made, swapped, below, files, folders, last]
