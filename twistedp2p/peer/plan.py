"""What to do about one path, given what is known of it and what is on the disk: a pure function.

It runs only when the replica may act and the path's disk state is in the index; what it returns is carried out
by `sync`. Versions that need no copy are dropped from the view right here; everything that touches a disk is an
action. Planning again after an action is always right, and doing nothing is always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import evolve, frozen

from twistedp2p.peer.store import View
from twistedp2p.peer.values import Row, Want
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, Value, settle, winner

__all__ = ["Action", "Fetch", "Keep", "MakeFolder", "Publish", "Remove", "SetExecutable", "forget_ignored", "plan"]


@frozen
class Keep:
    """Make the losing version's bytes durable in the trash, then collapse it into a conflict copy."""

    path: str
    dot: Dot
    value: Live


@frozen
class Fetch:
    """Get this content from a member that has it."""

    want: Want

    @property
    def path(self) -> str:
        """The path that waits for it."""
        return self.want.path


@frozen
class Publish:
    """Put this content, which is on this disk already, under its final name."""

    path: str
    dot: Dot
    value: Live


@frozen
class MakeFolder:
    """Make this folder."""

    path: str
    dot: Dot


@frozen
class Remove:
    """Move the file that is there to the trash, or remove the folder if it is empty."""

    path: str
    dot: Dot
    kind: Kind


@frozen
class SetExecutable:
    """Give the file the winner's executable bit."""

    path: str
    executable: bool


Action = Keep | Fetch | Publish | MakeFolder | Remove | SetExecutable


def _nothing(path: str, kind: Kind) -> bool:
    return False


def plan(
    view: View, path: str, has: Callable[[bytes], bool], ignored: Callable[[str, Kind], bool] = _nothing
) -> list[Action]:
    """Return what to do about `path`, in order; `has` says whether a content is on this disk and intact.

    About what is `ignored` nothing is done, and its record stays as it is: not even its losers are fetched.
    """
    forget_ignored(view, (path,), ignored)
    register = settle(view.record(path))
    top, value = winner(register)
    folder = (isinstance(value, Live) and value.is_folder) or view.has_live_below(path)
    if ignored(path, Kind.FOLDER if folder else Kind.FILE):
        return []
    view.set_record(path, register)
    row = view.row(path)
    actions = _losers(path, register, top, folder, row, has)
    rescue = _Rescue(view, has, ignored)
    if folder:
        live = top if isinstance(value, Live) and value.is_folder else None
        return actions + _want_folder(view, path, top, live, row, rescue)
    if isinstance(value, Live):
        return actions + _want_file(view, path, top, value, row, rescue)
    return actions + _want_nothing(path, top, row, rescue)


def forget_ignored(view: View, paths: Iterable[str], ignored: Callable[[str, Kind], bool]) -> None:
    """Drop the rows of what is ignored: it is this person's own from now on, and is neither held nor ever deleted.

    When it is not ignored any more it is as on the disk of one who joins: absent, equal, or a version of its own.
    """
    for path in paths:
        row = view.row(path)
        if row is not None and ignored(path, row.kind):
            view.set_row(path, None)


def _losers(
    path: str, register: Register, top: Dot, folder: bool, row: Row | None, has: Callable[[bytes], bool]
) -> list[Action]:
    """Return what must happen for each version that will not have the name: a copy, so its bytes first.

    A folder wins over every file at its path, also one that exists only because something live is in it.
    """
    actions: list[Action] = []
    value = register.get(top)
    for dot, other in register.siblings:
        if not isinstance(other, Live) or other.is_folder or (dot == top and not folder):
            continue
        on_disk = row is not None and row.kind == other.kind and row.content == other.content
        if on_disk and isinstance(value, Live) and not value.is_folder and not folder and has(value.content):
            continue  # publishing the winner displaces these bytes into the trash; the next plan makes the copy
        if has(other.content):
            actions.append(Keep(path, dot, other))
        else:
            actions.append(Fetch(_want(path, dot, other, losing=True)))
    return actions


def _want(path: str, dot: Dot, value: Live, losing: bool = False) -> Want:
    return Want(path, dot, value.content, value.size, value.manifest, losing)


@frozen
class _Rescue:
    """Sees to it that what is about to be displaced is published first at the paths that still lack it."""

    view: View
    has: Callable[[bytes], bool]
    ignored: Callable[[str, Kind], bool]

    def __call__(self, path: str, row: Row) -> list[Action]:
        """Return the publishes that must come before the content of `row` is displaced at `path`.

        Otherwise only the trash would have it if the index were lost in between. Once for each content of a batch:
        a moved tree may have thousands of files that are equal.
        """
        view = self.view
        if row.kind == Kind.FOLDER or row.content in view.rescued:
            return []
        view.rescued.add(row.content)
        actions: list[Action] = []
        for other in view.absent_winners(row.content):
            if other == path or self.ignored(other, Kind.FILE) or view.has_live_below(other):
                continue
            dot, value = winner(view.record(other))
            if isinstance(value, Live) and self.has(value.content):
                actions.append(Publish(other, dot, value))
        return actions


def _want_folder(
    view: View, path: str, top: Dot, live: Dot | None, row: Row | None, rescue: _Rescue
) -> list[Action]:
    if row is not None and row.kind == Kind.FOLDER:
        _rebase(view, path, row, live)
        return []
    actions: list[Action] = []
    if row is not None:
        actions += [*rescue(path, row), Remove(path, top, row.kind)]
    if live is not None:
        actions.append(MakeFolder(path, live))
    return actions


def _want_file(
    view: View, path: str, top: Dot, value: Live, row: Row | None, rescue: _Rescue
) -> list[Action]:
    if row is not None and row.kind == value.kind and row.content == value.content:
        _rebase(view, path, row, top)
        return [] if row.executable == value.executable else [SetExecutable(path, value.executable)]
    if not rescue.has(value.content):
        return [Fetch(_want(path, top, value))]
    actions: list[Action] = []
    if row is not None:
        actions += rescue(path, row)
        if row.kind == Kind.FOLDER:
            actions.append(Remove(path, top, row.kind))
    return [*actions, Publish(path, top, value)]


def _want_nothing(path: str, top: Dot, row: Row | None, rescue: _Rescue) -> list[Action]:
    if row is None:
        return []
    return [*rescue(path, row), Remove(path, top, row.kind)]


def _rebase(view: View, path: str, row: Row, base: Dot | None) -> None:
    """Note that what is on disk is that version now: no disk operation, no dot."""
    if row.base != base:
        view.set_row(path, evolve(row, base=base))


def is_settled(register: Register, row: Row | None) -> bool:
    """Whether nothing is left to do about a path, apart from what is below it."""
    if len(register.siblings) > 1:
        return False
    value: Value = winner(register)[1]
    if isinstance(value, Dead):
        return row is None or (row.kind == Kind.FOLDER and row.base is None)
    return row is not None and row.kind == value.kind and row.content == value.content
