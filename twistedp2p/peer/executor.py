"""Carrying out what was planned, on the disk and in the index, in batches. In the state thread.

A batch is: copies of losing versions made durable and collapsed; then contents made ready as private files; intents
committed; names changed; what was changed made durable; rows committed. A crash between any two of these is
mended at the next start from the intents (`recovery`). Nothing here decides what belongs where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from twistedp2p.disk.seam import Disk, Name
from twistedp2p.errors import TwistedP2PError
from twistedp2p.paths import RelPath
from twistedp2p.peer.carrying import Books, Carried, Trashed, as_observed, obstructed
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.folder.mark import TRASH
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Displaced, Obstacle, Publisher, Replaced
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.folder_steps import FolderSteps
from twistedp2p.peer.index import Index
from twistedp2p.peer.keeping import Keeper
from twistedp2p.peer.look import Eye
from twistedp2p.peer.phases import in_phases
from twistedp2p.peer.plan import Action, MakeFolder, Publish, Remove, SetExecutable
from twistedp2p.peer.recovery import STILL_WRITTEN, Recovery
from twistedp2p.peer.renaming import Renamer
from twistedp2p.peer.replica import finish
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import trouble_of
from twistedp2p.peer.values import Intent, Row, Signature
from twistedp2p.versions import Kind

__all__ = ["Executor"]


@define
class _Step:
    """One change of a name under way: the intent that covers it and the private file that it will use."""

    intent: Intent
    source: Name | None = None
    mtime_ns: int = 0


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
        self._eye = eye
        self._publisher = publisher
        self._parts = parts
        self._trash = trash
        self._contents = contents
        self._recovery = recovery
        self._durable = durable
        self._wall = wall
        self._books = Books(index, trash, contents)
        self._folders = FolderSteps(eye, publisher)
        self._keeper = Keeper(
            disk=disk,
            index=index,
            parts=parts,
            trash=trash,
            contents=contents,
            books=self._books,
            durable=durable,
            wall=wall,
        )
        self._renamer = Renamer(
            index=index,
            publisher=publisher,
            trash=trash,
            folders=self._folders,
            recovery=recovery,
            books=self._books,
            durable=durable,
            wall=wall,
        )

    def run(self, actions: Iterable[Action]) -> Carried:
        """Carry out the actions of one batch, given in the order of their paths; return what is left to do.

        What fails is left as it was and named in `errors`; the rest goes on.
        """
        carried = Carried()
        actions = list(actions)
        try:
            self._carry_out(actions, carried)
        except OSError as error:
            # The disk refused what many wait for: a sync, say. What was committed stands, intents tell the rest.
            for action in actions:
                carried.errors.setdefault(action.path, trouble_of(error, action.path))
        self._look_back(carried)
        return carried

    def _carry_out(self, actions: list[Action], carried: Carried) -> None:
        keeps, phases = in_phases(actions)
        self._keeper.run(keeps, carried)
        done = self._renamer.run([action for phase in phases for action in phase], carried)
        for phase in phases:
            self._make([action for action in phase if action not in done], carried)

    def _look_back(self, carried: Carried) -> None:
        """Find what a user changed between the change of a name and the commit of its row.

        Whoever looked there in between found no row, and nothing to report. What changes from here on is seen by a
        look that finds the row.
        """
        for path in carried.touched:
            row = self._index.row(path)
            try:
                if row is not None and row.signature is not None and not self._eye.is_fine(path, row.signature):
                    carried.look.add(path)
            except OSError:
                carried.look.add(path)

    # -- names --------------------------------------------------------------

    def _make(self, actions: list[Action], carried: Carried) -> None:
        """Prepare, commit the intents, change the names, make them durable, commit the rows."""
        if not actions:
            return
        view = View(self._index)
        steps = self._prepare(actions, view, carried)
        self._books.commit(view, [], carried)
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
                result = self._change(step, view, carried)
                results.append((step, result))
                if isinstance(result, Signature):  # whatever happens until the commit, the part is not there any more
                    self._parts.published(step.intent.content or b"")
            except OSError as error:
                self._undone(step, error, view, carried)
        if self._durable and results:
            self._publisher.sync()
        trashed: list[Trashed] = []
        for step, result in results:
            self._conclude(step, result, view, trashed, carried)
        self._books.commit(view, trashed, carried)

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
                    self._folders.remove(action, view, carried)
                elif isinstance(action, MakeFolder):
                    self._folders.make(action, view, carried)
                elif isinstance(action, SetExecutable):
                    self._folders.set_executable(action, view, carried)
            except (OSError, TwistedP2PError) as error:
                carried.errors[action.path] = trouble_of(error, action.path)
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
            made = self._folders.ensure(path.parent, view, carried)
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
        trashed: list[Trashed],
        carried: Carried,
    ) -> None:
        """Note what a change of a name came to."""
        intent = step.intent
        if isinstance(result, Obstacle):
            self._recovery.settle(intent, view)
            self._give_back(step, trashed)
            obstructed(intent.path, result, carried)
            return
        carried.plan.add(intent.path)
        carried.published += 1
        if isinstance(result, Signature):
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
        trashed: list[Trashed],
        carried: Carried,
    ) -> None:
        before = intent.before
        if before is not None and before.signature == signature:
            # The mtime of before it came there: whoever writes to it between that moment and the commit is seen.
            trashed.append(
                Trashed(intent.trash, intent.path, before.content, signature.size, signature.mtime_ns, False)
            )
            carried.displaced.append(intent.trash)
            finish(view, intent, True, placed, as_observed(before))
        elif not self._recovery.settle(intent, view):
            carried.errors[intent.path] = STILL_WRITTEN

    def _give_back(self, step: _Step, trashed: list[Trashed]) -> None:
        """List a file of the trash again that was taken out of it and not used."""
        source, content = step.source, step.intent.content
        if source is not None and content is not None and step.intent.before is None and source[:2] == TRASH:
            name = b"/".join(source[2:]).decode()
            self._books.list_entry(name, step.intent.path, content, False, trashed)

    def _undone(self, step: _Step, error: OSError, view: View, carried: Carried) -> None:
        carried.errors[step.intent.path] = trouble_of(error, step.intent.path)
        if isinstance(error, FileNotFoundError) and step.intent.content is not None:
            self._parts.published(step.intent.content)  # if it is there after all, it is only verified once more
        self._recovery.settle(step.intent, view)


def _row(intent: Intent, signature: Signature) -> Row:
    assert intent.content is not None
    return Row(intent.dot, intent.kind, intent.content, intent.executable, signature)
