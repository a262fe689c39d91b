"""What a simulated peer is made of: the very code. A planted bug replaces one of the parts (`bugs`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twistedp2p.peer import plan as planning
from twistedp2p.peer import replica as replicas
from twistedp2p.peer.plan import Action
from twistedp2p.peer.replica import Replica
from twistedp2p.peer.store import View
from twistedp2p.peer.values import Observed
from twistedp2p.tracker.directory import Directory
from twistedp2p.versions import Dot, Kind, Live

from .store import MemoryStore

__all__ = ["Rules"]


class Rules:
    """The parts that bugs replace."""

    stamps = True
    new_nonce = True

    def directory(self, entropy: Callable[[int], bytes]) -> Directory:
        """Return a tracker's directory."""
        return Directory(entropy)

    def replica(self, store: MemoryStore) -> Replica:
        """Return the state of a peer that has just started."""
        return Replica(store)

    def view(self, store: MemoryStore) -> View:
        """Begin a transaction."""
        return View(store)

    def item(self, store: MemoryStore, path: str) -> tuple[bytes, bool] | None:
        """Return the item of a path and whether it is held, for an announcement."""
        key = store.keys.get(path)
        return None if key is None else (key, replicas.holds(store.records[path], store.rows.get(path)))

    def save(self, view: View, path: str, seen: Observed | None) -> None:
        """Take what was seen on the disk into the index."""
        replicas.save(view, path, seen)

    def plan(
        self, view: View, path: str, has: Callable[[bytes], bool], ignored: Callable[[str, Kind], bool]
    ) -> list[Action]:
        """Return what to do about a path."""
        return planning.plan(view, path, has, ignored)

    def forget_ignored(self, view: View, paths: Iterable[str], ignored: Callable[[str, Kind], bool]) -> None:
        """Drop the rows of what is ignored."""
        planning.forget_ignored(view, paths, ignored)

    def collapse(self, view: View, path: str, dot: Dot, value: Live, copy: str) -> None:
        """Drop a losing version and record its copy."""
        replicas.collapse(view, path, dot, value, copy)

    def batch_end(self, replica: Replica, number: int, ends: set[int]) -> None:
        """Hear that a member has been given the log up to `number`; `ends` are where batches ended."""
