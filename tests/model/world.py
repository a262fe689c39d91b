"""A simulated world: peers, their tracker, the wires between them, and a ledger of what users saved."""

from __future__ import annotations

from random import Random

from attrs import evolve

from twistedp2p.peer.plan import Action, Keep
from twistedp2p.peer.store import View
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.share_directory import ShareDirectory, Unresolved
from twistedp2p.versions import Dot, Live, Register, Value, conflict_dot, settle, winner

from .disk import SimDisk, content_of
from .peer import Killed, Peer, with_ancestors
from .rules import Rules
from .store import Items, MemoryStore

__all__ = ["Failure", "World"]

_SHARE = bytes(20)


class Failure(AssertionError):
    """A promise was broken; `kind` is one word."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def _shown(register: Register) -> str:
    """Return a register as a trace shows it."""
    context = ",".join(f"{rid.hex()[:3]}:{n}" for rid, n in register.context)
    siblings = ",".join(
        f"{dot.rid.hex()[:3]}.{dot.n}={value.content.hex()[:4] or 'folder'}/{value.lamport}"
        if isinstance(value, Live)
        else f"{dot.rid.hex()[:3]}.{dot.n}=dead"
        for dot, value in register.siblings
    )
    return f"[{context} | {siblings}]"


class World:
    """Everything of one schedule; `rng` decides what is random, `chaos` whether faults strike at points."""

    def __init__(self, rng: Random, rules: Rules) -> None:
        self.rng = rng
        self.rules = rules
        self.items = Items()
        self.peers: list[Peer] = []
        self.chaos = 0.0
        self.saving = 0.0
        self.same_time = False
        self.in_step = False
        self.trace: list[str] | None = None
        self._numbers = 0
        self._tokens = 0
        self.tracker = rules.directory(self.random_bytes)
        self.share: ShareDirectory = self.tracker.share(_SHARE)
        self.ends: set[int] = set()
        # The ledger.
        self.saved: dict[bytes, str] = {}
        self.superseded: set[bytes] = set()
        self.ignored: set[str] = set()
        self.in_trash_at_accident: set[bytes] = set()
        self.accidents = 0
        self.lost_rids: set[bytes] = set()
        self.copies: dict[tuple[str, Dot], tuple[str, Dot]] = {}
        self.dropped: set[tuple[str, Dot]] = set()
        self.abandoned: set[str] = set()
        self.removed: set[str] = set()
        self.moved: set[tuple[str, bytes]] = set()
        self.minted: dict[str, list[bytes]] = {}
        self.dots: dict[str, list[tuple[Dot, bytes]]] = {}
        self.parents: dict[tuple[str, Dot], list[Dot]] = {}

    def log(self, text: str) -> None:
        """Note what happens, if anybody reads it."""
        if self.trace is not None:
            self.trace.append(text)

    def random_bytes(self, size: int) -> bytes:
        """Return bytes by the schedule's seed."""
        return self.rng.randbytes(size)

    def number(self) -> int:
        """Return a number that was never given before: of an inode, of a name in the trash."""
        self._numbers += 1
        return self._numbers

    def trash_name(self) -> str:
        """Return a name in the trash that was never given before."""
        return f"t{self.number()}"

    def new_peer(self, name: str, disk: SimDisk | None = None) -> Peer:
        """Return a new peer, stopped, with an empty index."""
        store = MemoryStore(self.random_bytes(8), self.items)
        peer = Peer(self, name, SimDisk(self.number) if disk is None else disk, store)
        self.peers.append(peer)
        return peer

    def new_content(self) -> bytes:
        """Return a content that nobody has."""
        self._tokens += 1
        return content_of(self._tokens)

    def mtime_ns(self) -> int:
        """Return a time of modification; equal ones are common."""
        return 0 if self.same_time else self.rng.randrange(3)

    # -- users --------------------------------------------------------------

    def user_saves(self, peer: Peer, path: str, content: bytes) -> bool:
        """A user saves a file; False if a folder is in the way."""
        disk = peer.disk
        parent = path.rpartition("/")[0]
        if disk.is_folder(path) or disk.make_folders(parent) is None:
            return False
        before = disk.file(path)
        if before is not None and before.content != content:
            self.superseded.add(before.content)
        disk.put(path, disk.new_file(content, self.mtime_ns()))
        self.saved.setdefault(content, f"{peer.name}:{path}")
        return True

    def user_removes(self, peer: Peer, path: str) -> None:
        """A user deletes a file, or a folder with all that is in it."""
        if path in peer.disk.entries:
            self.removed.update([path, *peer.disk.below(path)])
            self.superseded.update(file.content for file in peer.disk.remove(path))

    def user_moves(self, peer: Peer, old: str, new: str) -> bool:
        """A user renames a file or a folder; a file that was at the new name is overwritten."""
        disk = peer.disk
        if old not in disk.entries or disk.make_folders(new.rpartition("/")[0]) is None:
            return False
        there = disk.file(new)
        if there is not None and disk.is_folder(old):
            return False
        moved = [old, *disk.below(old)]
        if not disk.move(old, new):
            return False
        self.removed.update(moved)
        for path in [new, *disk.below(new)]:
            file = disk.file(path)
            if file is not None:
                self.moved.add((peer.name, file.content))
        if there is not None and there.content != disk.entries[new].content:  # type: ignore[union-attr]
            self.superseded.add(there.content)
        return True

    # -- faults -------------------------------------------------------------

    def point(self, peer: Peer, path: str) -> None:
        """Between two durable steps of a peer: a user may save, the process may be killed."""
        if self.chaos and self.rng.random() < self.saving and not peer.disk.is_folder(path):
            if self.rng.random() < 0.8:
                content = self.new_content()
                done = self.user_saves(peer, path, content)
                self.log(f"  {peer.name} save {path} {content.hex()[:4]} at a point {done}")
            else:
                self.log(f"  {peer.name} delete {path} at a point")
                self.user_removes(peer, path)
        if self.chaos and self.rng.random() < self.chaos:
            raise Killed

    def accident(self, peer: Peer) -> None:
        """Note that a peer loses its index: what is in its trash alone may stay there."""
        self.accidents += 1
        self.lost_rids.add(peer.store.rid)
        self.in_trash_at_accident.update(content for content, _ in peer.trash.values())
        self.in_trash_at_accident.update(peer.parts)
        self.log(f"  {peer.name} loses its index")

    def wipe_tracker(self) -> None:
        """The tracker is restarted without its state."""
        for peer in self.peers:
            peer.disconnect()
        self.tracker = self.rules.directory(self.random_bytes)
        self.share = self.tracker.share(_SHARE)
        self.ends = set()

    def expire(self, node: bytes) -> None:
        """A member was silent too long; a connection that it still has is aborted."""
        owner = self.owner_of(node)
        if owner is not None:
            owner.disconnect()
        session = self.share.session_of(node)
        if session is not None:
            self.share.leave(session)

    def owner_of(self, node: bytes) -> Peer | None:
        """Return the peer that answers a ping of the live session of `node`."""
        session = self.share.session_of(node)
        if session is None:
            return None
        for peer in self.peers:
            if peer.link is not None and peer.link.session == session:
                return peer
        return None

    # -- the wires ----------------------------------------------------------

    def apply(self, peer: Peer) -> bool:
        """The tracker takes up one batch of a peer; a full one comes by reference first."""
        link = peer.link
        if link is None or not link.outbox:
            return False
        batch = link.outbox.pop(0)
        if batch.reference is not None:
            batch = evolve(batch, known=(), held=())
        missing = self.share.missing(link.session, batch)
        blobs = {key: self.items.blobs[key] for key in missing}
        try:
            applied = self.share.apply(link.session, batch, blobs, 0.0)
        except Unresolved:
            link.inbox.append(None)
            self.log(f"  batch {batch.number} of {peer.name} is not resolved")
            return True
        self.log(f"  batch {batch.number} of {peer.name} applied: {applied}")
        if applied is not None:
            link.inbox.append((batch.number, applied.numbers))
            self.ends.add(self.share.log.end)
        return True

    def fetch(self, peer: Peer, path: str, index: int = 0) -> bool:
        """A peer fetches what it wants for `path` from any other that runs and has it."""
        wants = peer.wants.get(path)
        if not wants or not peer.running:
            return False
        want = wants[index % len(wants)]
        for other in self.peers:
            if other is not peer and other.running and not other.gone and other.has(want.content):
                peer.fetched(path, want.content)
                return True
        return False

    # -- the ledger ---------------------------------------------------------

    def may_be_nowhere(self, path: str, content: bytes) -> bool:
        """Whether a version can be known and its bytes gone: a user removed them while `path` was ignored there."""
        return content in self.superseded and not self.ignored.isdisjoint(with_ancestors([path]))

    def plan(self, peer: Peer, view: View, path: str) -> list[Action]:
        """Plan one path, noting which versions are settled without a copy."""
        register = view.record(path)
        if len(register.siblings) > 1:
            after = settle(register)
            self.dropped.update((path, dot) for dot, _ in register.siblings if after.get(dot) is None)
        return self.rules.plan(view, path, peer.has, lambda one, kind: peer.is_ignored(one))

    def committed(self, peer: Peer) -> None:
        """Note what a commit superseded, and check what every commit must keep true."""
        for path, before, after in peer.store.minted:
            old = [dot for dot, value in before.siblings if after.get(dot) is None]
            self.dropped.update((path, dot) for dot in old)
            for dot, value in after.siblings:
                if before.get(dot) is None:
                    self._check_reuse(peer, path, before, dot, value)
                    self.parents[path, dot] = old
                    if isinstance(value, Live):
                        self.minted.setdefault(path, []).append(value.content)
            self.log(f"  {peer.name} mints at {path}: {_shown(before)} -> {_shown(after)}")
        peer.store.minted.clear()
        self.check_copies(peer)

    def _check_reuse(self, peer: Peer, path: str, before: Register, dot: Dot, value: Value) -> None:
        """Note a number that an index counts up to again because nobody whom it could hear remembers the first time.

        No rule helps against that (the stamp does, if it was not restored as well); the bytes are in the trash.
        """
        content = value.content if isinstance(value, Live) else b""
        earlier = [
            known for one, known in self.dots.get(path, ()) if one.rid == dot.rid and one.n > before.seen(dot.rid)
        ]
        if earlier and not self._was_told(peer, path, before, dot.rid):
            self.in_trash_at_accident.update([content, *earlier])
        self.dots.setdefault(path, []).append((dot, content))

    def _was_told(self, peer: Peer, path: str, before: Register, rid: bytes) -> bool:
        """Whether a peer has read from the log that others know more of `rid` at `path` than it does."""
        for item in self.share.log.since(0):
            if item.number < peer.store.cursor:
                known, register = self.items.decode(item.blob, item.key)
                if known == path and register.seen(rid) > before.seen(rid):
                    return True
        return False

    def joined(self, peer: Peer, changed: set[str]) -> None:
        """Check what a delta must keep true."""
        if self.trace is not None:
            for path in sorted(changed):
                self.log(f"  {peer.name} knows at {path}: {_shown(peer.store.record(path))}")
        self.check_copies(peer)

    def collapsing(self, peer: Peer, view: View, keep: Keep, copy: str) -> None:
        """Note that a losing version gets a copy; it must not be an ancestor of the version that wins."""
        register = view.record(keep.path)
        top, value = winner(register)
        if not self.accidents and isinstance(value, Live) and self._descends(keep.path, top, keep.dot):
            raise Failure("superfluous", f"{peer.name} copies a version of {keep.path!r} that the winner was made from")
        dot = conflict_dot(keep.path, keep.dot, keep.value)
        if view.record(copy).get(dot) is not None or not view.record(copy).covers(dot):
            self.copies[copy, dot] = (keep.path, keep.dot)

    def _descends(self, path: str, dot: Dot, ancestor: Dot) -> bool:
        waiting, seen = [dot], set()
        while waiting:
            one = waiting.pop()
            for parent in self.parents.get((path, one), ()):
                if parent == ancestor:
                    return True
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return False

    def check_copies(self, peer: Peer) -> None:
        """Invariant 4: a copy and the absence of its original are known together."""
        for (copy_path, copy), (path, dot) in self.copies.items():
            original = peer.store.record(path)
            knows = peer.store.record(copy_path).covers(copy)
            if knows and (original.get(dot) is not None or not original.covers(dot)):
                raise Failure("I4", f"{peer.name} knows the copy {copy_path!r} and has its original at {path!r} still")
            gone = original.covers(dot) and original.get(dot) is None
            if gone and not knows and (path, dot) not in self.dropped and dot.rid not in self.lost_rids:
                raise Failure("I4", f"{peer.name} lacks a version of {path!r} and does not know its copy {copy_path!r}")

    def check_judged(self, peer: Peer, counter: int) -> None:
        """What becomes ignored, or is not any more, is no save and no deletion."""
        if peer.store.counter != counter:
            raise Failure("ignored", f"{peer.name} made a version of what it ignores now")

    def check_said(self, peer: Peer, batch: Batch) -> None:
        """A hold is true of the committed row of its holder, and of its disk unless a user changed it since."""
        paths = {key: path for path, key in peer.store.keys.items()}
        numbers = {number: key for key, number in peer.store.numbers.items()}
        for reference in batch.held:
            path = paths.get(numbers[reference] if isinstance(reference, int) else reference)
            if path is None:
                raise Failure("false hold", f"{peer.name} holds an item that it does not know")
            value = winner(peer.store.record(path))[1]
            row = peer.store.row(path)
            if not isinstance(value, Live):
                continue
            if row is None or row.kind != value.kind or row.content != value.content:
                raise Failure("false hold", f"{peer.name} says that it holds {path!r}, and does not")
            file = peer.disk.file(path)
            if file is not None and file.signature == row.signature and file.content != value.content:
                raise Failure("false hold", f"{peer.name} says that it holds {path!r}, and has something else")

    def registers(self, peer: Peer) -> dict[str, Register]:
        """Return all that a peer knows."""
        return peer.store.records
