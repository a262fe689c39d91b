"""One simulated peer: what `peer.steps`, `peer.executor` and `peer.recovery` do, on a dictionary for a disk.

Kills and saves strike at the world's `point`s, which stand between any two durable steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from attrs import evolve

from twistedp2p.paths import RelPath, conflict_name
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.phases import in_phases
from twistedp2p.peer.plan import Action, Fetch, Keep, MakeFolder, Publish, Remove
from twistedp2p.peer.replica import IndexLost, Replica, finish
from twistedp2p.peer.store import Change, View
from twistedp2p.peer.values import FOLDER_CONTENT, Intent, Observed, Row, Signature, Want
from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.share_directory import Delta
from twistedp2p.versions import Dot, Kind, Live, winner

from .disk import File, SimDisk, parent_of
from .store import MemoryStore

if TYPE_CHECKING:
    from .world import World

__all__ = ["Killed", "Link", "Peer", "copy_path", "with_ancestors"]


class Killed(Exception):
    """The process of a peer was killed."""


@cache
def copy_path(path: str, dot: Dot, mtime_ns: int, content: bytes) -> str:
    """Return the path of the conflict copy of a version."""
    return conflict_name(RelPath(path), mtime_ns=mtime_ns, author=dot.rid, content_id=content).text


def with_ancestors(paths: Iterable[str]) -> set[str]:
    """Return the paths and the folders above them."""
    found: set[str] = set()
    for path in paths:
        while path and path not in found:
            found.add(path)
            path = parent_of(path)
    return found


class Link:
    """A session with the tracker, as its wires hold it: what is under way both ways is lost when it breaks."""

    def __init__(self, session: int, resend: list[Batch]) -> None:
        self.session = session
        self.resend = resend
        self.outbox: list[Batch] = []
        self.inbox: list[tuple[int, tuple[int, ...]] | None] = []  # acknowledgements; None: say everything
        self.delta: Delta | None = None
        self.sent = 0


class Peer:
    """A folder, its index and its process."""

    def __init__(self, world: World, name: str, disk: SimDisk, store: MemoryStore) -> None:
        self.world = world
        self.name = name
        self.disk = disk
        self.store = store
        self.trash: dict[str, tuple[bytes, Signature | None]] = {}
        self.parts: set[bytes] = set()
        self.node = world.random_bytes(20)
        self.nonce = world.random_bytes(16)
        self.outer_stamp = b""
        self.backup: tuple[MemoryStore, bytes] | None = None
        self.ignored: set[str] = set()
        self.judged = True
        self.running = False
        self.gone = False
        self.link: Link | None = None
        self.wants: dict[str, list[Want]] = {}
        self.to_plan: set[str] = set()
        self.to_look: set[str] = set()
        self.recovered = False
        self.replica: Replica = world.rules.replica(store)
        self.announcer = self._announcer()

    # -- the process --------------------------------------------------------

    def start(self) -> None:
        """Start the process; a stamp that differs tells that the index is not the one that ran here last."""
        self.running = True
        self.wants = {}
        self.recovered = False
        self.replica = self.world.rules.replica(self.store)
        self.announcer = self._announcer()
        self.to_plan = set()
        self.judged = False
        if self.world.rules.new_nonce:
            self.nonce = self.world.random_bytes(16)
        if self.world.rules.stamps and self.store.stamp != self.outer_stamp:
            self.node = self.world.random_bytes(20)
            self.lose_index()
        self.store.stamp = self.outer_stamp = self.world.random_bytes(8)

    def stop(self) -> None:
        """End the process at any instant; the tracker still lists it."""
        self.running = False
        self.link = None
        self.wants = {}

    def lose_index(self) -> None:
        """Begin a new index under a new replica id."""
        self.world.accident(self)
        self.replica.lose_index(self.world.random_bytes(8))
        self.announcer.say_all(by_key=True)
        self.disconnect()
        self.wants = {}
        self.to_plan = set()

    def disconnect(self) -> None:
        """Lose the session with the tracker."""
        if self.link is not None:
            self.link = None
            self.replica.disconnected()

    def _announcer(self) -> Announcer:
        store, rules = self.store, self.world.rules
        return Announcer(
            lambda path: rules.item(store, path), lambda key: store.numbers.get(key), lambda: sorted(store.keys)
        )

    # -- the session with the tracker ---------------------------------------

    def connect(self) -> bool:
        """Begin a session; a second one beside a live one makes this peer a clone."""
        if self.link is not None or not self.running:
            return False
        other = self.world.owner_of(self.node)
        if other is not None and other is not self:
            self.node = self.world.random_bytes(20)
            self.lose_index()
        store = self.store
        share = self.world.share
        joined = share.join(
            self.node,
            self.nonce,
            epoch=store.epoch,
            cursor=store.cursor,
            known=store.digest().value(),
            name=self.name,
            versions=(1,),
            addresses=(),
            now=0.0,
        )
        new_epoch, caught = joined.epoch != store.epoch, self.replica.caught
        self.replica.welcome(joined.epoch, joined.target, joined.same)
        self.link = Link(joined.member, self.announcer.welcome(joined.last_applied, new_epoch))
        self._reached(caught)
        return True

    def _reached(self, caught: bool) -> None:
        if self.replica.caught and not caught:
            self.to_plan |= with_ancestors(self.store.records)
        if self.replica.ready and self.link is not None:
            self.link.outbox += self.link.resend
            self.link.resend = []

    def receive(self, most: int) -> bool:
        """Take up to `most` items of the delta under way, or of a new one, and its end."""
        link = self.link
        if link is None:
            return False
        share = self.world.share
        if link.delta is None:
            link.delta, link.sent = share.delta(link.session), 0
            if link.delta is None:
                return False
        items = link.delta.items[link.sent : link.sent + most]
        link.sent += len(items)
        numbers = {item.key: item.number for item in items}
        decode = self.world.items.decode
        try:
            self.replica.stage([decode(item.blob, item.key) for item in items], numbers)
        except IndexLost:
            self.lose_index()
            return True
        done = link.sent == len(link.delta.items)
        if items:
            self.world.rules.batch_end(self.replica, link.delta.end if done else items[-1].number + 1, self.world.ends)
        if done:
            end, caught = link.delta.end, self.replica.caught
            link.delta = None
            share.advance(link.session, end)
            changed = self.replica.end_delta(end)
            self.world.joined(self, changed)
            self.announcer.changed(changed)
            self.to_plan |= with_ancestors(changed)
            self._reached(caught)
        return True

    def announce(self) -> bool:
        """Put a batch of what changed on its way."""
        if self.link is None or not self.replica.ready:
            return False
        batch = self.announcer.next()
        if batch is None:
            return False
        self.world.check_said(self, batch)
        self.world.log(f"  {self.name} says {batch.number} {'full' if batch.full else ''} {_refs(batch)}")
        self.link.outbox.append(batch)
        return True

    def hear(self) -> bool:
        """Take one answer of the tracker to a batch."""
        if self.link is None or not self.link.inbox:
            return False
        answer = self.link.inbox.pop(0)
        if answer is None:
            self.announcer.say_all(by_key=True, whole=True)
            return True
        number, numbers = answer
        keys = self.announcer.acknowledged(number)
        if keys and len(keys) == len(numbers):
            self.store.apply(Change(numbers=dict(zip(keys, numbers, strict=True))))
        return True

    # -- the disk -----------------------------------------------------------

    def is_ignored(self, path: str) -> bool:
        """Whether `path` or a folder above it is ignored here."""
        return bool(self.ignored) and not self.ignored.isdisjoint(with_ancestors([path]))

    def ignore(self, paths: set[str]) -> None:
        """Let another list of what is ignored be in force; every path is still to be judged by it."""
        self.ignored = paths
        self.world.ignored |= paths
        self.judged = False

    def judge(self) -> bool:
        """Judge every path by the list in force, as `peer.relisting` does."""
        if self.judged or not (self.running and self.replica.caught):
            return False
        self.judged = True
        view = self.world.rules.view(self.store)
        counter = self.store.counter
        paths = sorted(self.store.records.keys() | self.store.rows.keys())
        self.world.rules.forget_ignored(view, paths, lambda path, kind: self.is_ignored(path))
        self._commit(view)
        self.world.check_judged(self, counter)
        self.to_plan |= with_ancestors(paths)
        return True

    def signature(self, path: str) -> Signature | None:
        """Return the signature of the file or folder at `path`, None if nothing is there."""
        if path not in self.disk.entries:
            return None
        entry = self.disk.entries[path]
        return _FOLDER if entry is None else entry.signature

    def is_fine(self, path: str, row: Row) -> bool:
        """Whether the disk is as the row says."""
        return row.signature is not None and self.signature(path) == row.signature

    def has(self, content: bytes) -> bool:
        """Whether a content is on this disk."""
        return (
            content in self.parts
            or any(content == kept for kept, _ in self.trash.values())
            or self._file_with(content) is not None
        )

    def _file_with(self, content: bytes) -> str | None:
        for path, row in self.store.rows.items():
            if row.content == content and row.kind == Kind.FILE and self.is_fine(path, row):
                return path
        return None

    def scan(self, paths: Iterable[str]) -> bool:
        """Look at these paths and all below them, and take what differs; nothing before others have been heard."""
        if not (self.running and self.replica.caught):
            return False
        view = self.world.rules.view(self.store)
        again = self._recover(view)
        seen, gone = self._look(paths)
        for path, observed in seen:
            self.world.rules.save(view, path, observed)
        for path in gone:
            self.world.rules.save(view, path, None)
        self.to_plan |= again
        return self._commit(view)

    def everywhere(self) -> set[str]:
        """Return every path that a full scan looks at."""
        return self.disk.entries.keys() | self.store.rows.keys()

    def _look(self, paths: Iterable[str]) -> tuple[list[tuple[str, Observed]], list[str]]:
        seen: list[tuple[str, Observed]] = []
        gone: set[str] = set()
        wanted: set[str] = set()
        rows = self.store.rows
        for path in paths:
            wanted.add(path)
            prefix = path + "/"
            wanted.update(other for other in self.everywhere() if other.startswith(prefix))
        inodes: dict[Signature, str] = {}
        for path, row in rows.items():
            if row.signature is not None and row.kind == Kind.FILE and path not in self.disk.entries:
                inodes[row.signature] = path
        for path in sorted(wanted):
            if self.is_ignored(path):
                continue
            if path not in self.disk.entries:
                if path in rows:
                    gone.add(path)
                continue
            before = rows.get(path)
            entry = self.disk.entries[path]
            kind = Kind.FOLDER if entry is None else Kind.FILE
            if before is not None and before.kind == kind and self.is_fine(path, before):
                continue
            seen.append((path, self._observe(path, entry)))
            if entry is not None and (old := inodes.get(entry.signature)) is not None and not self.is_ignored(old):
                gone.add(old)
        return seen, sorted(gone)

    def _observe(self, path: str, entry: File | None) -> Observed:
        if entry is None:
            return Observed(Kind.FOLDER, FOLDER_CONTENT, signature=_FOLDER)
        return Observed(Kind.FILE, entry.content, 1, entry.mtime_ns, signature=entry.signature)

    def _commit(self, view: View) -> bool:
        changed = bool(view.change)
        touched = view.commit()
        self.announcer.changed(touched)
        self.to_plan |= with_ancestors(touched)
        if changed:
            self.world.committed(self)
        return changed

    # -- planning and acting ------------------------------------------------

    def plan(self, paths: Iterable[str], budget: int = 1_000_000) -> bool:
        """Plan these paths and carry out up to `budget` of the actions."""
        if not (self.running and self.replica.may_act and self.replica.caught):
            return False
        view = self.world.rules.view(self.store)
        again = self._recover(view)
        actions: list[Action] = []
        for path in sorted(paths):
            self.to_plan.discard(path)
            self.wants.pop(path, None)
            intent = view.intent(path)
            if intent is not None:
                self.settle(intent, view)
            planned = self.world.plan(self, view, path)
            wants = [action.want for action in planned if isinstance(action, Fetch)]
            if wants:
                self.wants[path] = wants
            actions += [action for action in planned if not isinstance(action, Fetch)]
        changed = self._commit(view)
        self.to_plan |= again
        if len(actions) > budget:
            self.to_plan |= {action.path for action in actions}
            actions = actions[:budget]
        if actions:
            self.carry_out(actions)
        return changed or bool(actions)

    def fetched(self, path: str, content: bytes) -> None:
        """Take a content that another peer served."""
        self.parts.add(content)
        self.to_plan |= {one for one, wants in self.wants.items() if any(want.content == content for want in wants)}

    def carry_out(self, actions: list[Action]) -> None:
        """Carry out the actions of one batch, as `Executor.run` does."""
        keeps, phases = in_phases(actions)
        self._keep(keeps)
        done = self._move([action for phase in phases for action in phase])
        for phase in phases:
            self._make([action for action in phase if action not in done])

    def _keep(self, keeps: list[Keep]) -> None:
        view = self.world.rules.view(self.store)
        for keep in keeps:
            content = keep.value.content
            self.to_plan |= with_ancestors([keep.path])
            if not any(content == kept for kept, _ in self.trash.values()):
                if not self._prepare(content):
                    continue
                self.parts.discard(content)
                self.trash[self.world.trash_name()] = (content, None)
            self.world.point(self, keep.path)
            copy = copy_path(keep.path, keep.dot, keep.value.mtime_ns, content)
            self.world.collapsing(self, view, keep, copy)
            self.world.rules.collapse(view, keep.path, keep.dot, keep.value, copy)
            self.to_plan |= with_ancestors([copy])
        self._commit(view)

    def _prepare(self, content: bytes) -> bool:
        """Make a private copy of a content ready in the parts, out of the trash or of a file."""
        if content in self.parts:
            return True
        for name, (kept, _) in self.trash.items():
            if kept == content:
                del self.trash[name]
                self.parts.add(content)
                return True
        if self._file_with(content) is None:
            return False
        self.parts.add(content)
        return True

    def _move(self, actions: list[Action]) -> set[Action]:
        view = self.world.rules.view(self.store)
        pairs = self._pairs(actions, view)
        intents: list[Intent] = []
        for source, _ in pairs:
            trash = self.world.trash_name()
            intents.append(Intent(source.path, view.row(source.path), source.dot, Kind.FILE, None, False, trash))
            view.set_intent(source.path, intents[-1])
        self._commit(view)
        done: set[Action] = set()
        for (source, target), intent in zip(pairs, intents, strict=True):
            self.world.point(self, source.path)
            if self._rename(intent, target, view):
                done.update((source, target))
            self.world.point(self, target.path)
            self.to_plan |= with_ancestors([source.path, target.path])
        self._commit(view)
        return done

    def _pairs(self, actions: list[Action], view: View) -> list[tuple[Remove, Publish]]:
        leaving: dict[bytes, list[Remove]] = {}
        for action in actions:
            if isinstance(action, Remove) and action.kind == Kind.FILE:
                row = view.row(action.path)
                if row is not None and row.signature is not None:
                    leaving.setdefault(row.content, []).append(action)
        return [
            (leaving[action.value.content].pop(), action)
            for action in actions
            if isinstance(action, Publish) and view.row(action.path) is None and leaving.get(action.value.content)
        ]

    def _rename(self, intent: Intent, publish: Publish, view: View) -> bool:
        before, disk, source, target = intent.before, self.disk, intent.path, publish.path
        assert before is not None
        if not self._folders(parent_of(target), view):
            finish(view, intent, False, None, None)
            return False
        file = disk.file(source)
        if file is not None:
            disk.remove(source)
            self.trash[intent.trash] = (file.content, file.signature)
            self.world.point(self, source)
            if file.signature == before.signature and target not in disk.entries and disk.put(target, file):
                del self.trash[intent.trash]
                finish(view, intent, True, None, _as_observed(before))
                row = Row(publish.dot, before.kind, before.content, before.executable, file.signature)
                view.set_row(target, row)
                return True
            if source not in disk.entries and disk.put(source, file):
                del self.trash[intent.trash]
        self.settle(intent, view)
        self.to_look |= {source, target}
        return False

    def _make(self, actions: list[Action]) -> None:
        if not actions:
            return
        view = self.world.rules.view(self.store)
        intents: list[tuple[Intent, int]] = []
        for action in actions:
            if isinstance(action, Publish):
                intents += self._prepare_publish(action, view)
            elif isinstance(action, Remove) and action.kind == Kind.FILE:
                intents += self._prepare_remove(action, view)
            elif isinstance(action, Remove):
                self._remove_folder(action, view)
            elif isinstance(action, MakeFolder):
                self._make_folder(action, view)
        self._commit(view)
        for intent, _ in intents:
            self.world.point(self, intent.path)
            if intent.before is not None and intent.content is not None:
                self.trash[intent.trash] = (intent.content, None)
        results = []
        for intent, mtime_ns in intents:
            self.world.point(self, intent.path)
            results.append((intent, self._change(intent, mtime_ns, view)))
            self.world.point(self, intent.path)
        for intent, signature in results:
            self._conclude(intent, signature, view)
        self._commit(view)

    def _prepare_publish(self, action: Publish, view: View) -> list[tuple[Intent, int]]:
        path, content = action.path, action.value.content
        row = view.row(path)
        if row is not None and (row.kind != Kind.FILE or not self.is_fine(path, row)):
            self.to_look.add(path)
            return []
        if not self._prepare(content):
            self.to_plan |= with_ancestors([path])
            return []
        trash = "" if row is None else self.world.trash_name()
        intent = Intent(path, row, action.dot, Kind.FILE, content, False, trash)
        view.set_intent(path, intent)
        return [(intent, action.value.mtime_ns)]

    def _prepare_remove(self, action: Remove, view: View) -> list[tuple[Intent, int]]:
        row = view.row(action.path)
        if row is None:
            return []
        if not self.is_fine(action.path, row):
            self.to_look.add(action.path)
            return []
        intent = Intent(action.path, row, action.dot, Kind.FILE, None, False, self.world.trash_name())
        view.set_intent(action.path, intent)
        return [(intent, 0)]

    def _change(self, intent: Intent, mtime_ns: int, view: View) -> Signature | bool | None:
        """Change the disk; return the new file's signature, None for a removal, False if something was in the way."""
        path, disk = intent.path, self.disk
        there = disk.file(path)
        if intent.before is None:
            assert intent.content is not None
            if path in disk.entries or not self._folders(parent_of(path), view):
                return False
            file = disk.new_file(intent.content, mtime_ns)
            return file.signature if disk.put(path, file) else False
        if there is None:
            return False
        if intent.content is None:
            disk.remove(path)
            self.trash[intent.trash] = (there.content, there.signature)
            return None
        file = disk.new_file(intent.content, mtime_ns)
        disk.put(path, file)
        self.trash[intent.trash] = (there.content, there.signature)
        return file.signature

    def _conclude(self, intent: Intent, changed: Signature | bool | None, view: View) -> None:
        self.to_plan |= with_ancestors([intent.path])
        if isinstance(changed, bool):
            self.settle(intent, view)
            self.to_look.add(intent.path)
            return
        if intent.content is not None:
            self.parts.discard(intent.content)
        placed = None if changed is None else _row(intent, changed)
        if intent.before is None:
            finish(view, intent, True, placed, None)
        elif self.trash[intent.trash][1] == intent.before.signature:
            finish(view, intent, True, placed, _as_observed(intent.before))
        else:
            self.settle(intent, view)

    # -- recovery -----------------------------------------------------------

    def _recover(self, view: View) -> set[str]:
        if self.recovered:
            return set()
        self.recovered = True
        intents = self.store.intents()
        for intent in intents:
            self.settle(intent, view)
        return with_ancestors(intent.path for intent in intents)

    def settle(self, intent: Intent, view: View) -> None:
        """Finish or undo a publish by what the disk says, as `Recovery.settle` does."""
        if intent.before is None and intent.content is not None:
            file = self.disk.file(intent.path)
            placed = file is not None and file.content == intent.content
            finish(view, intent, placed, _row(intent, file.signature) if placed and file is not None else None, None)
            return
        entry = self.trash.get(intent.trash)
        if entry is None or (intent.content is not None and entry[0] == intent.content):
            finish(view, intent, False, None, None)
            return
        content, signature = entry
        before = intent.before
        if before is not None and before.signature == signature:
            displaced = _as_observed(before)
        else:
            displaced = Observed(Kind.FILE, content, 1, 0 if signature is None else signature.mtime_ns)
        finish(view, intent, True, None if intent.content is None else _row(intent, None), displaced)

    # -- folders ------------------------------------------------------------

    def _make_folder(self, action: MakeFolder, view: View) -> None:
        self.to_plan |= with_ancestors([action.path])
        if self._folders(action.path, view):
            view.set_row(action.path, Row(action.dot, Kind.FOLDER, FOLDER_CONTENT, False, _FOLDER))

    def _folders(self, folder: str, view: View) -> bool:
        for path in sorted(with_ancestors([folder])):
            row = view.row(path)
            if row is not None and row.kind == Kind.FILE:
                self.to_look.add(path)
                return False
        made = self.disk.make_folders(folder)
        for path in made or ():
            dot, value = winner(view.record(path))
            base = dot if isinstance(value, Live) and value.is_folder else None
            view.set_row(path, Row(base, Kind.FOLDER, FOLDER_CONTENT, False, _FOLDER))
        return made is not None

    def _remove_folder(self, action: Remove, view: View) -> None:
        row = view.row(action.path)
        if not self.disk.is_folder(action.path):
            self.to_look.add(action.path)
            return
        if self.disk.below(action.path):
            if row is not None:
                view.set_row(action.path, evolve(row, base=None))
            return
        self.disk.remove(action.path)
        view.set_row(action.path, None)
        self.to_plan |= with_ancestors([action.path])


_FOLDER = Signature(1, 0, 0, 0)


def _refs(batch: Batch) -> str:
    return "; ".join(
        f"{name} " + ",".join(item.hex()[:4] if isinstance(item, bytes) else str(item) for item in getattr(batch, name))
        for name in ("known", "held", "gone")
    )


def _row(intent: Intent, signature: Signature | None) -> Row:
    assert intent.content is not None
    return Row(intent.dot, intent.kind, intent.content, intent.executable, signature)


def _as_observed(row: Row) -> Observed:
    return Observed(row.kind, row.content, executable=row.executable, signature=row.signature)
