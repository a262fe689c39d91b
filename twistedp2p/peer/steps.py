"""The steps of a peer's loop: each reads and commits the index, changes the disk, and says what is left to do.

All of them run in the state thread, one at a time, in the order in which they were asked for; that order is what
makes a delta whole and a batch a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from attrs import frozen
from twisted.logger import Logger

from twistedp2p.disk.seam import Disk
from twistedp2p.errors import BadPath, ProtocolViolation
from twistedp2p.messages.tracker import Entry, SetDigest, Welcome
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.changes import LOST, By, changes_of
from twistedp2p.peer.changes import Change as FolderChange
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.executor import Executor
from twistedp2p.peer.folder import mark
from twistedp2p.peer.ignoring import Ignoring
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.plan import Action, Fetch, is_settled, plan
from twistedp2p.peer.purging import Purged, Purger, Wish
from twistedp2p.peer.recovery import STILL_WRITTEN, Recovery
from twistedp2p.peer.relisting import Relisting
from twistedp2p.peer.replica import IndexLost, Replica, save
from twistedp2p.peer.store import Change, View
from twistedp2p.peer.troubles import Trouble, trouble_of
from twistedp2p.peer.values import Want
from twistedp2p.records import UnknownFormat, decode_record
from twistedp2p.tracker.batch import Batch
from twistedp2p.versions import Live, Register, winner

__all__ = ["Outcome", "Steps"]


@frozen
class Outcome:
    """What a step leaves for the loop: batches to send, paths to plan or look at, contents to fetch.

    `plan_after_scan`: another list of what is ignored is in force; the folder is scanned, then these are planned.
    `changes` are those of the folder, for a program that reads them.
    """

    batches: tuple[Batch, ...] = ()
    plan: frozenset[str] = frozenset()
    look: frozenset[str] = frozenset()
    planned: tuple[str, ...] = ()
    wants: tuple[Want, ...] = ()
    errors: tuple[tuple[str, Trouble], ...] = ()
    displaced: tuple[str, ...] = ()
    plan_after_scan: frozenset[str] | None = None
    changes: tuple[FolderChange, ...] = ()


class Steps:
    """The state of one peer between the index and the loop."""

    _log = Logger()

    def __init__(
        self,
        *,
        disk: Disk,
        index: Index,
        replica: Replica,
        announcer: Announcer,
        eye: Eye,
        ignoring: Ignoring,
        contents: Contents,
        executor: Executor,
        recovery: Recovery,
        purger: Purger,
        rules: NameRules,
        unseal: Callable[[bytes], bytes],
        key_of: Callable[[bytes], bytes],
    ) -> None:
        self._disk = disk
        self._index = index
        self._replica = replica
        self._announcer = announcer
        self._eye = eye
        self.ignores = Relisting(index=index, ignoring=ignoring, announcer=announcer)
        self._ignoring = ignoring
        self._contents = contents
        self._executor = executor
        self._recovery = recovery
        self._purger = purger
        self._rules = rules
        self._unseal = unseal
        self._key_of = key_of
        self._resend: list[Batch] = []
        self._recovered = False
        self._lost = False
        self._refused: set[str] = set()
        self.published = 0

    # -- where this peer stands (any thread may ask) --------------------------

    @property
    def caught(self) -> bool:
        """Whether others have been heard since the start, so that saves may become versions."""
        return self._replica.caught and not self._lost

    @property
    def ready(self) -> bool:
        """Whether this session's target is reached, so that the index may be announced."""
        return self._replica.ready

    @property
    def may_act(self) -> bool:
        """Whether planning is allowed now."""
        return self._replica.may_act and not self._lost

    @property
    def settled(self) -> bool:
        """Whether everything is announced and acknowledged."""
        return self._replica.ready and self._announcer.idle

    def is_told(self, path: str) -> bool:
        """Whether the tracker knows what is committed here at `path`."""
        return self._announcer.is_told(path)

    def untold(self) -> list[str]:
        """Return paths whose change the tracker was not told of yet."""
        return self._announcer.untold()

    def digests(self) -> tuple[SetDigest, SetDigest]:
        """Return the digests of what was announced as known and as held, for keep-alives."""
        return self._announcer.known.value(), self._announcer.held.value()

    # -- the session with the tracker ----------------------------------------

    def welcome(self, welcome: Welcome) -> Outcome:
        """Begin a session."""
        new_epoch = welcome.epoch != self._index.epoch
        was_caught = self._replica.caught
        self._replica.welcome(welcome.epoch, welcome.target, welcome.same)
        self._resend = self._announcer.welcome(welcome.last_applied, new_epoch)
        return self._reached(was_caught, ())

    def disconnected(self) -> Outcome:
        """End the session."""
        self._replica.disconnected()
        return Outcome()

    def stage(self, entries: tuple[Entry, ...]) -> list[tuple[str, int, tuple[int, ...]]]:
        """Stage items of a delta; return (path, number, members that hold it) of those that may be wanted here.

        What is as it should be is left out: whoever holds it, nothing of it is asked for. An item that can not be used
        is skipped and named once in the log. Raises `IndexLost`.
        """
        staged: list[tuple[str, Register]] = []
        items: list[tuple[str, int, tuple[int, ...]]] = []
        numbers: dict[bytes, int] = {}
        for entry in entries:
            try:
                record = decode_record(self._unseal(entry.blob))
                path = RelPath.parse(record.path, self._rules).text
            except UnknownFormat:
                self._refuse("The share has records of a later version: update twistedp2p to see all of it.")
                continue
            except (ProtocolViolation, BadPath) as error:
                self._refuse(f"A record of another member can not be used: {error}")
                continue
            staged.append((path, record.register))
            items.append((path, entry.number, entry.holders))
            numbers[self._key_of(entry.blob)] = entry.number
        try:
            new = self._replica.stage(staged, numbers)
        except IndexLost:
            self._lost = True
            raise
        return [item for item in items if item[0] in new or not self._index.is_settled(item[0])]

    def _refuse(self, text: str) -> None:
        if text not in self._refused:
            self._refused.add(text)
            self._log.warn("{text}", text=text)

    def end_delta(self, end: int) -> Outcome:
        """Join the staged delta and move the cursor; not if it showed that the index is lost."""
        if self._lost:
            return Outcome()
        was_caught = self._replica.caught
        changed = self._replica.end_delta(end)
        self._announcer.changed(changed)
        return self._reached(was_caught, changed)

    def _reached(self, was_caught: bool, changed: Iterable[str]) -> Outcome:
        """Return what follows a step that may have reached the target."""
        plan, fine = self._sorted_out(changed)
        if self._replica.caught and not was_caught:
            self.ignores.caught()
            plan |= frozenset(_with_ancestors(self._unsettled()))
        batches: tuple[Batch, ...] = ()
        if self._replica.ready:
            batches = (*self._resend, *self._next_batch())
            self._resend = []
        return Outcome(batches=batches, plan=plan, planned=fine)

    def _unsettled(self) -> Iterator[str]:
        """Yield every path that planning has something to do about."""
        after = ""
        while found := self._index.unsettled(1000, after):
            yield from found
            after = found[-1]

    def acknowledged(self, number: int, numbers: tuple[int, ...]) -> Outcome:
        """Note that the tracker applied a batch, and the numbers that it gave to its items by key."""
        keys = self._announcer.acknowledged(number)
        if keys and len(keys) == len(numbers):
            self._index.apply(Change(numbers=dict(zip(keys, numbers, strict=True))))
        if self._announcer.idle:
            self._index.forget_replaced()
        return Outcome()

    def say_all(self, whole: bool) -> Outcome:
        """Announce in full, by key; `whole`: not by reference."""
        self._announcer.say_all(by_key=True, whole=whole)
        return Outcome(batches=self._next_batch())

    def _next_batch(self) -> tuple[Batch, ...]:
        if not self._replica.ready or self._lost:
            return ()
        batch = self._announcer.next()
        return () if batch is None else (batch,)

    def blobs(self, keys: tuple[bytes, ...]) -> list[bytes]:
        """Return the sealed records of these keys; none at all if one of them is not known any more."""
        try:
            return self._index.blobs(keys)
        except KeyError:
            return []

    def lose_index(self, rid: bytes) -> Outcome:
        """Begin a new index under the replica id `rid`."""
        self._lost = False
        self._replica.lose_index(rid)
        self._announcer.say_all(by_key=True)
        self.ignores.lost()
        self._resend = []
        return Outcome(changes=(LOST,))

    # -- the disk -------------------------------------------------------------

    def _recover(self, view: View) -> set[str]:
        """Settle what an earlier life of this process left half done; once, before anything else is taken or made."""
        if self._recovered:
            return set()
        self._recovered = True
        return self._recovery.settle_all(view)

    def take(self, looks: Iterable[Looked]) -> Outcome:
        """Make versions of what was seen on the disk, in one commit and one batch: adds first, then deletions.

        Raises `FolderUnusable` if the folder lost its mark: nothing that is missing then was deleted.
        """
        mark.require(self._disk)
        view = View(self._index)
        again = self._recover(view)
        recovered = frozenset(again)
        # A publish that failed half way is settled first: what it put there is no save of the user.
        unsettled = {intent.path for intent in self._index.intents()}
        with self._index.transaction():
            self._save(looks, view, unsettled, again)
            touched = view.commit()
        self._announcer.changed(touched)
        self.ignores.follow(touched)
        plan, fine = self._sorted_out(touched)
        return Outcome(
            batches=self._next_batch(),
            plan=plan | unsettled | again,
            planned=fine,
            look=frozenset(again),
            changes=changes_of(view.rows_changed, lambda path: By.OTHERS if path in recovered else By.HERE),
        )

    def _save(self, looks: Iterable[Looked], view: View, unsettled: set[str], again: set[str]) -> None:
        """Take in what was seen; what must be looked at again is added to `again`.

        What is `unsettled` is looked at when planning has settled it. What is ignored by now is left alone.
        """
        for looked in looks:
            for path, observed, manifest in looked.seen:
                if path in unsettled or self._ignoring(path, observed.kind):
                    continue
                # What changed since it was read is not taken: it is looked at again.
                if path in again or not self._eye.still(path, observed):
                    again.add(path)
                    continue
                if manifest:
                    self._index.put_manifest(observed.manifest, manifest)
                save(view, path, observed)
            for path in looked.gone:
                row = view.row(path)
                if path in unsettled or (row is not None and self._ignoring(path, row.kind)):
                    continue
                if path in again or not self._eye.is_absent(path):
                    again.add(path)
                else:
                    save(view, path, None)

    def recheck_trash(self, names: tuple[str, ...] | None) -> Outcome:
        """Look again at these files in the trash (None: at all): one that was written to since becomes a version."""
        view = View(self._index)
        with self._index.transaction():
            self._recovery.bring_back(names, view)
            touched = view.commit()
        self._purger.unchecked.difference_update(names or ())
        self._announcer.changed(touched)
        plan, fine = self._sorted_out(touched)
        return Outcome(batches=self._next_batch(), plan=plan, planned=fine)

    @property
    def trash_days(self) -> int:
        """How long displaced files are kept, days."""
        return self._purger.days

    def purge_trash(self, wish: Wish, place: str | None = None) -> Purged:
        """Remove what is wished of some files of the trash; raises `FolderUnusable` if the folder lost its mark."""
        mark.require(self._disk)
        return self._purger.purge(wish, place)

    def plan(self, paths: list[str]) -> Outcome:
        """Plan these paths and carry out what can be done now; raises `FolderUnusable` if the folder lost its mark."""
        mark.require(self._disk)
        view = View(self._index)
        look = self._recover(view)
        waiting: dict[str, Trouble] = {}
        actions: list[Action] = []
        wants: list[Want] = []
        planned: list[str] = []
        has = cache(self._contents.has)  # nothing comes or goes before the actions are carried out
        for path in paths:
            intent = view.intent(path)
            if intent is not None:
                try:
                    if not self._recovery.settle(intent, view):
                        waiting[path] = STILL_WRITTEN
                        continue
                except OSError as error:
                    waiting[path] = trouble_of(error, path)
                    continue
                look.add(path)
            planned.append(path)
            for action in plan(view, path, has, self._ignoring):
                if isinstance(action, Fetch):
                    wants.append(action.want)
                else:
                    actions.append(action)
        touched = view.commit()
        settled = changes_of(view.rows_changed, lambda _: By.OTHERS, self._ignoring)
        for want in wants:
            full = self._contents.no_room(want.content, want.size)
            if full is not None:
                waiting[want.path] = full  # else it would come over the network for nothing
        carried = self._executor.run(actions)
        self.published += carried.published
        self._purger.unchecked.update(carried.displaced)
        touched |= carried.touched
        self._announcer.changed(touched)
        self.ignores.follow(touched)
        again, fine = self._sorted_out(carried.plan)
        return Outcome(
            batches=self._next_batch(),
            plan=again,
            look=frozenset(carried.look | look),
            planned=(*planned, *fine),
            wants=tuple(wants),
            errors=(*waiting.items(), *carried.errors.items()),
            displaced=tuple(carried.displaced),
            changes=(*settled, *carried.changes),
        )

    def relist(self) -> Outcome:
        """Judge the next slice of paths by the list that is in force now."""
        judged = self.ignores.next()
        return Outcome(batches=self._next_batch(), plan=judged.plan, plan_after_scan=judged.after_scan)

    def _sorted_out(self, paths: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return which of these paths and of the folders above them to plan, and which are fine as they are.

        Most that was just saved or published is as it should be, and planning it again would cost as much.
        """
        view = View(self._index)
        found = _with_ancestors(paths)
        fine = {path for path in found if self._is_fine(view, path)}
        return frozenset(found - fine), tuple(fine)

    @staticmethod
    def _is_fine(view: View, path: str) -> bool:
        register, row = view.record(path), view.row(path)
        dot, value = winner(register)
        if not isinstance(value, Live) or row is None or row.base != dot or row.executable != value.executable:
            return False
        return is_settled(register, row) and (value.is_folder or not view.has_live_below(path))


def _with_ancestors(paths: Iterable[str]) -> set[str]:
    """Return the paths and the folders above them: whether a folder is needed depends on what is below it."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return found
