"""The rules by which a peer's saves become versions, and the versions of others become known: pure decisions.

Everything here works on a `View` (one transaction) and on values that others observed; nothing reads a disk, a
clock or a socket. The numbered rules are those of docs/design.md, "The algorithm"; `plan` says what follows from
what is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve

from twistedp2p.errors import TwistedP2PError
from twistedp2p.peer.store import Store, View
from twistedp2p.peer.values import Intent, Observed, Row
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, Value, conflict_dot, join, put_aside, winner, write

__all__ = ["IndexLost", "Replica", "collapse", "finish", "holds", "mint", "save", "version_of"]


class IndexLost(TwistedP2PError):
    """Somebody knows more of this replica's versions than it does itself: its index is old, lost or cloned."""

    code = "index-lost"


def mint(view: View, path: str, value: Value, base: Dot | None) -> Dot:
    """Record that the user saved or deleted `value` over `base`; return the new version's dot.

    The only place that mints a dot of this replica.
    """
    dot = Dot(view.store.rid, view.mint())
    view.set_record(path, write(view.record(path), dot, value, base))
    return dot


def save(view: View, path: str, seen: Observed | None) -> None:
    """Take what was `seen` on disk at `path` (None: nothing) into the index.

    A difference from the row is the user's doing: it is adopted if the same content is known already,
    otherwise it becomes a version whose base is what was on disk, not what is known.
    """
    row = view.row(path)
    register = view.record(path)
    top, value = winner(register)
    if seen is None:
        if row is not None:
            if isinstance(value, Live):
                mint(view, path, Dead(), row.base)
            view.set_row(path, None)
        return
    equal = isinstance(value, Live) and value.kind == seen.kind and value.content == seen.content
    if row is not None and _same(row, seen) and (equal or not _put_back(register, row, seen)):
        view.set_row(path, evolve(row, signature=seen.signature))
        return
    if equal and (row is None or register.get(row.base) is None):
        dot: Dot | None = top
    else:
        dot = register.has_content(seen.content, seen.kind) if row is None else None
        if dot is None:
            dot = mint(view, path, version_of(seen), None if row is None else row.base)
    view.set_row(path, Row(dot, seen.kind, seen.content, seen.executable, seen.signature))


def _same(row: Row, seen: Observed) -> bool:
    """Whether the user changed nothing: the same kind and content, and the same executable bit."""
    return row.kind == seen.kind and row.content == seen.content and row.executable == seen.executable


def _put_back(register: Register, row: Row, seen: Observed) -> bool:
    """Whether another file with the same content was put where one is about to make way for a newer version.

    Such as a conflict copy that is renamed back over its original: the user wants just that content there.
    """
    if seen.kind != Kind.FILE or register.get(row.base) is not None:
        return False
    old, new = row.signature, seen.signature
    return old is not None and new is not None and (old.device, old.inode) != (new.device, new.inode)


def version_of(seen: Observed) -> Live:
    """Return the version that saving `seen` makes; its lamport is set when it is written."""
    return Live(seen.content, seen.size, 0, seen.mtime_ns, seen.kind, seen.executable, seen.manifest)


def collapse(view: View, path: str, dot: Dot, value: Live, copy_path: str) -> None:
    """Drop the losing version `dot` of `path` and record its copy at `copy_path`, in one transaction.

    The caller has made the bytes durable in the trash. The copy's record is pure, so peers that do the same at
    once make one version, and a copy that a user deleted does not come back.
    """
    copy = conflict_dot(path, dot, value)
    known = view.record(copy_path)
    while known.covers(copy) and known.get(copy) is None:
        # Only after an accident with identity: its bytes must not be dropped with nothing to show for them.
        copy = conflict_dot(path, copy, value)
    view.set_record(copy_path, put_aside(known, copy, value))
    view.set_record(path, view.record(path).without({dot}))


def finish(view: View, intent: Intent, done: bool, placed: Row | None, displaced: Observed | None) -> None:
    """End the publish `intent`: what was put there becomes the row, and a save that it displaced a version.

    `done` says whether the disk was changed; `placed` is the new row (None after a removal); `displaced` is what
    was found in its place, None if nothing was. What differs from the intent's row was saved by the user in
    between: it gets the old base, so the published version stays its sibling and both are kept.
    """
    view.set_intent(intent.path, None)
    if not done:
        return
    view.set_row(intent.path, placed)
    before = intent.before
    if displaced is not None and not (before is not None and _same(before, displaced)):
        mint(view, intent.path, version_of(displaced), None if before is None else before.base)


def holds(register: Register, row: Row | None) -> bool:
    """Whether a member with this row holds the item of this register: the winner's content is safe on its disk."""
    value = winner(register)[1]
    if isinstance(value, Live):
        return row is not None and row.kind == value.kind and row.content == value.content
    return row is None or (row.kind == Kind.FOLDER and row.base is None)


class Replica:
    """Where this peer stands: what it has been told, and whether it may act on it.

    `caught`: the first target since this start was reached, so saves may become versions. `ready`: this session's
    target was reached, so the index may be announced. A delta is staged until its end and then joined as a
    whole, because only whole deltas are sure to carry a conflict copy together with the drop of its original.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.caught = False
        self.ready = False
        self.target = 0
        self._in_session = False
        self._staged: dict[str, Register] = {}
        self._numbers: dict[bytes, int] = {}
        self._staging = False

    @property
    def staging(self) -> bool:
        """Whether a delta is half staged."""
        return self._staging

    @property
    def may_act(self) -> bool:
        """Whether planning is allowed: the target is reached and no delta is half staged.

        Between two sessions nothing new can arrive, so what is known may be acted on.
        """
        return self.caught and not self._staging and (self.ready or not self._in_session)

    def welcome(self, epoch: bytes, target: int, same: bool = False) -> None:
        """Begin a session with the tracker: read on from the cursor, or from the beginning in a new epoch.

        `same`: the set of items known here is the tracker's whole log, so the target is reached at once.
        """
        self.drop_staged()
        cursor = self.store.cursor if epoch == self.store.epoch and self.store.cursor <= target else 0
        if same:
            cursor = target
        if (epoch, cursor) != (self.store.epoch, self.store.cursor):
            view = View(self.store)
            view.change.cursor = (epoch, cursor)
            view.commit()
        self.target = target
        self.ready = False
        self._in_session = True
        self._reach(cursor)

    def stage(self, entries: Iterable[tuple[str, Register]], numbers: Mapping[bytes, int]) -> set[str]:
        """Take (a piece of) a delta; nothing is joined yet. Return the paths of which it says something new.

        What the index has already is not staged: after a restart of the tracker a delta has the whole share, and
        most of it is here. Raises `IndexLost`, before anything is joined, if an entry knows more of this replica
        than its index does at that path, or gives one of its dots another value.
        """
        self._staging = True
        rid = self.store.rid
        new = set()
        for path, register in entries:
            mine = self.store.record(path)
            if register.seen(rid):
                self._check_mine(path, register, rid, mine)
            before = self._staged.get(path)
            if before is not None:
                self._staged[path] = join(before, register)
            elif register != mine and join(mine, register) != mine:
                self._staged[path] = register
            else:
                continue
            new.add(path)
        self._numbers.update(numbers)
        return new

    @staticmethod
    def _check_mine(path: str, register: Register, rid: bytes, mine: Register) -> None:
        if register.seen(rid) > mine.seen(rid):
            raise IndexLost(f"others know a later version of {path!r} by this peer than its index does")
        for dot, value in register.siblings:
            if dot.rid == rid:
                known = mine.get(dot)
                if known is not None and known != value:
                    raise IndexLost(f"others know another version of {path!r} under a number of this peer's index")

    def end_delta(self, cursor: int) -> set[str]:
        """Join all that was staged, in the transaction that moves the cursor; return the paths that changed."""
        view = View(self.store)
        for path, register in self._staged.items():
            view.set_record(path, join(view.record(path), register))
        changed = set(view.change.records)
        view.change.numbers = self._numbers
        view.change.cursor = (self.store.epoch, cursor)
        self._staged, self._numbers, self._staging = {}, {}, False
        view.commit()
        self._reach(cursor)
        return changed

    def _reach(self, cursor: int) -> None:
        if cursor >= self.target:
            self.ready = True
            self.caught = True

    def drop_staged(self) -> None:
        """Forget a delta whose end did not come."""
        self._staged, self._numbers, self._staging = {}, {}, False

    def disconnected(self) -> None:
        """End the session: what is half staged is dropped, and nothing is announced before the next target."""
        self.drop_staged()
        self.ready = False
        self._in_session = False

    def lose_index(self, rid: bytes) -> None:
        """Begin anew under the replica id `rid`, as one who joins: equal content will adopt, different become versions.

        Never patch a counter forward instead: versions already in the wild would stay ambiguous.
        """
        self.store.reset(rid)
        self.disconnected()
        self.caught = False
