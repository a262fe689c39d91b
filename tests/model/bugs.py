"""Planted bugs: each replaces one part of a peer by one that is wrong, to see that the model finds it.

They wrap or subclass the very code, so that what is not wrong about them is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import evolve

from twistedp2p.peer.plan import Action
from twistedp2p.peer.replica import Replica
from twistedp2p.peer.store import Store, View
from twistedp2p.peer.values import Observed, Row
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, conflict_dot, encode_value, join, put_aside, winner

from .rules import Rules
from .store import MemoryStore

__all__ = ["BUGS"]


class _MintingView(View):
    """Calls `minted` for a register that a version was just minted in."""

    def set_record(self, path: str, register: Register) -> None:
        before = self.record(path)
        rid = self.store.rid
        if register.seen(rid) > before.seen(rid):
            register = self.minted(path, before, register)
        super().set_record(path, register)

    def minted(self, path: str, before: Register, after: Register) -> Register:
        """Return what to keep instead of `after`."""
        raise AssertionError


class _BaselessView(_MintingView):
    def minted(self, path: str, before: Register, after: Register) -> Register:
        kept = {dot: value for dot, value in before.siblings if isinstance(value, Live)}
        return Register.of(dict(after.context), {**kept, **dict(after.siblings)})


class BaseForgotten(Rules):
    """A save does not supersede the version that it was made from."""

    def view(self, store: MemoryStore) -> View:
        """Return a view that keeps all versions there were."""
        return _BaselessView(store)


class _DroppingView(_MintingView):
    def minted(self, path: str, before: Register, after: Register) -> Register:
        mine = {dot for dot, _ in after.siblings if dot.rid == self.store.rid and before.get(dot) is None}
        return after.without({dot for dot, _ in after.siblings if dot not in mine})


class UnseenDropped(Rules):
    """A save supersedes versions that its author never saw."""

    def view(self, store: MemoryStore) -> View:
        """Return a view that keeps only the new version."""
        return _DroppingView(store)


class _EqualContentView(_MintingView):
    def minted(self, path: str, before: Register, after: Register) -> Register:
        row = self.row(path)
        if row is None:
            return after
        return after.without(
            {
                dot
                for dot, value in after.siblings
                if before.get(dot) is not None and isinstance(value, Live) and value.content == row.content
            }
        )


class EqualContentSuperseded(Rules):
    """A save supersedes also other versions with the content that it was made from."""

    def view(self, store: MemoryStore) -> View:
        """Return a view that drops them."""
        return _EqualContentView(store)


class LoserDropped(Rules):
    """A version that does not win is dropped without a copy."""

    def plan(
        self, view: View, path: str, has: Callable[[bytes], bool], ignored: Callable[[str, Kind], bool]
    ) -> list[Action]:
        """Plan with the winner only."""
        register = view.record(path)
        top = winner(register)[0]
        view.set_record(path, register.without({dot for dot, _ in register.siblings if dot != top}))
        return super().plan(view, path, has, ignored)


class IgnoredDeleted(Rules):
    """What becomes ignored counts as deleted."""

    def forget_ignored(self, view: View, paths: Iterable[str], ignored: Callable[[str, Kind], bool]) -> None:
        """Take it for deleted."""
        for path in paths:
            row = view.row(path)
            if row is not None and ignored(path, row.kind):
                self.save(view, path, None)


class HoldBeforeContent(Rules):
    """A hold is said when the record is known, not when the content is there."""

    def item(self, store: MemoryStore, path: str) -> tuple[bytes, bool] | None:
        """Return the item as held."""
        found = super().item(store, path)
        return None if found is None else (found[0], True)


class _EagerReplica(Replica):
    """Joins items as they arrive, and acts whenever the target is reached."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.joined: set[str] = set()

    @property
    def may_act(self) -> bool:
        return self.caught

    def stage(self, entries: Iterable[tuple[str, Register]], numbers: Mapping[bytes, int]) -> set[str]:
        new = super().stage(entries, numbers)
        view = View(self.store)
        for path, register in self._staged.items():
            view.set_record(path, join(view.record(path), register))
        self.joined |= view.commit()
        return new

    def end_delta(self, cursor: int) -> set[str]:
        joined, self.joined = self.joined, set()
        return super().end_delta(cursor) | joined


class InsideDelta(Rules):
    """A peer acts on the part of a delta that has arrived."""

    def replica(self, store: MemoryStore) -> Replica:
        """Return a replica that does not wait for the end of a delta."""
        return _EagerReplica(store)


class _BatchReplica(_EagerReplica):
    at_end = True

    @property
    def may_act(self) -> bool:
        return self.caught and self.at_end


class AtBatchEnds(Rules):
    """A peer acts at the ends of batches: of what of them is left in the log."""

    def replica(self, store: MemoryStore) -> Replica:
        """Return a replica that waits for the end of a batch only."""
        return _BatchReplica(store)

    def batch_end(self, replica: Replica, number: int, ends: set[int]) -> None:
        """Allow the replica to act if a batch ended here."""
        assert isinstance(replica, _BatchReplica)
        replica.at_end = number in ends


class _BiasedView(View):
    """Shows its own version as the newer one among equals, so that it wins here and not elsewhere."""

    def record(self, path: str) -> Register:
        register = super().record(path)
        if len(register.siblings) < 2:
            return register
        value = winner(register)[1]
        best = [
            (dot, other)
            for dot, other in register.siblings
            if (type(other), other.lamport, other.mtime_ns) == (type(value), value.lamport, value.mtime_ns)
        ]
        siblings: dict[Dot, Live | Dead] = dict(register.siblings)
        for dot, other in best:
            if len(best) > 1 and dot.rid == self.store.rid:
                siblings[dot] = evolve(other, mtime_ns=other.mtime_ns + 1)
        return Register.of(dict(register.context), siblings)

    def set_record(self, path: str, register: Register) -> None:
        true = dict(super().record(path).siblings)
        siblings = {dot: true.get(dot, value) for dot, value in register.siblings}
        super().set_record(path, Register.of(dict(register.context), siblings))


class OrderNotTotal(Rules):
    """Ties of the order are broken by who one is."""

    def view(self, store: MemoryStore) -> View:
        """Return a view that favours its own versions."""
        return _BiasedView(store)


class _TrustingReplica(Replica):
    @staticmethod
    def _check_mine(path: str, register: Register, rid: bytes, mine: Register) -> None:
        """Believe that nobody can know more of this replica than itself."""


class DotReuse(Rules):
    """An index that was restored goes on counting from where it was."""

    stamps = False

    def replica(self, store: MemoryStore) -> Replica:
        """Return a replica that never loses its index."""
        return _TrustingReplica(store)


class _TwinlessReplica(_TrustingReplica):
    """Keeps one of two values under one dot, and forgets the other."""

    def end_delta(self, cursor: int) -> set[str]:
        for path, register in self._staged.items():
            mine = self.store.record(path)
            smaller: dict[Dot, Live | Dead] = {}
            for dot, value in register.siblings:
                other = mine.get(dot)
                if other is not None and other != value:
                    smaller[dot] = min(value, other, key=lambda one: repr(encode_value(one)))
            if smaller:
                self._staged[path] = _with(register, smaller)
                view = View(self.store)
                view.set_record(path, _with(mine, smaller))
                view.commit()
        return super().end_delta(cursor)


def _with(register: Register, values: Mapping[Dot, Live | Dead]) -> Register:
    return Register.of(dict(register.context), {**dict(register.siblings), **values})


class DotReuseTwinless(DotReuse):
    """The same, and two values under one dot are not both kept."""

    def replica(self, store: MemoryStore) -> Replica:
        """Return a replica that keeps one of them."""
        return _TwinlessReplica(store)


class TwoCommits(Rules):
    """A conflict copy is committed and published before the loser is dropped."""

    def collapse(self, view: View, path: str, dot: Dot, value: Live, copy: str) -> None:
        """Record the copy first; drop the loser when the copy is there."""
        made = conflict_dot(path, dot, value)
        known = view.record(copy)
        if not known.covers(made):
            view.set_record(copy, put_aside(known, made, value))
            return
        row = view.row(copy)
        if known.get(made) is None or (row is not None and row.content == value.content):
            view.set_record(path, view.record(path).without({dot}))


class LiveBaseAdopted(Rules):
    """Saving what the winner has adopts it, though the version it was made from is still there."""

    def save(self, view: View, path: str, seen: Observed | None) -> None:
        """Adopt the winner whenever the content is equal."""
        row = view.row(path)
        top, value = winner(view.record(path))
        if seen is None or row is None or (row.kind, row.content) == (seen.kind, seen.content):
            super().save(view, path, seen)
        elif isinstance(value, Live) and (value.kind, value.content) == (seen.kind, seen.content):
            view.set_row(path, Row(top, seen.kind, seen.content, seen.executable, seen.signature))
        else:
            super().save(view, path, seen)


class PutBackUnseen(Rules):
    """A file with the content that was there before is never a save."""

    def save(self, view: View, path: str, seen: Observed | None) -> None:
        """Note the new signature only."""
        row = view.row(path)
        if seen is not None and row is not None and (row.kind, row.content) == (seen.kind, seen.content):
            view.set_row(path, evolve(row, signature=seen.signature))
        else:
            super().save(view, path, seen)


class SharedNumbers(Rules):
    """Batches of two starts of one peer share their numbers."""

    new_nonce = False


BUGS: dict[str, type[Rules]] = {
    "": Rules,
    "base forgotten": BaseForgotten,
    "unseen dropped": UnseenDropped,
    "loser dropped": LoserDropped,
    "hold before content": HoldBeforeContent,
    "inside delta": InsideDelta,
    "at batch ends": AtBatchEnds,
    "order not total": OrderNotTotal,
    "dot reuse": DotReuse,
    "dot reuse, no twins": DotReuseTwinless,
    "equal content superseded": EqualContentSuperseded,
    "ignored deleted": IgnoredDeleted,
    "two commits": TwoCommits,
    "live base adopted": LiveBaseAdopted,
    "put back unseen": PutBackUnseen,
    "shared numbers": SharedNumbers,
}
"""Each planted bug by its name; the empty name is the code as it is."""
