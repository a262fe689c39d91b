"""A peer without network: all that works on one folder, put together as `peer.assembly` does, and driven by hand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import evolve
from blake3 import blake3
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.disk.real import RealDisk, RealFile
from twistedp2p.disk.seam import Name, Stat
from twistedp2p.limits import TRASH_DAYS
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.contents import Contents
from twistedp2p.peer.executor import Executor
from twistedp2p.peer.folder import mark
from twistedp2p.peer.folder.names import DiskNames
from twistedp2p.peer.folder.parts import PartStore
from twistedp2p.peer.folder.publish import Publisher
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.ignoring import Ignoring
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.purging import Purger
from twistedp2p.peer.recovery import Recovery
from twistedp2p.peer.replica import Replica
from twistedp2p.peer.steps import Outcome, Steps
from twistedp2p.peer.troubles import Trouble
from twistedp2p.peer.values import FOLDER_CONTENT
from twistedp2p.peer.workers import InlineWorkers
from twistedp2p.versions import EMPTY, Dead, Dot, Kind, Live, Register, Value, winner, write

MINE = b"rid-mine"
THEIRS = b"rid-them"
EARLY, LATE = 1_000_000_000, 4_000_000_000_000_000_000
"""Times of saves, ns since 1970, that lose and win against a save of today."""

MEMORY = "/dev/shm"
"""Where folders are made if there is such a place: sweeps make hundreds of them."""


class Killed(BaseException):
    """The process ended here."""


def content_id(data: bytes) -> bytes:
    """Return the content id of `data`."""
    return blake3(data).digest()


class MomentDisk(RealDisk):
    """A real disk, two seconds ahead of its files, that tells of each of its verbs before and after it is done.

    Syncs are told of and not done: no test pulls the plug.
    """

    def __init__(self, root: bytes) -> None:
        super().__init__(root)
        self.before: Callable[[str, Name], None] = lambda verb, name: None
        self.after: Callable[[str, Name], None] = lambda verb, name: None
        self.stopped_at_ns: int | None = None

    def now_ns(self) -> int:
        return super().now_ns() + 2_000_000_000 if self.stopped_at_ns is None else self.stopped_at_ns

    def stat(self, name: Name) -> Stat:
        self.before("stat", name)
        found = super().stat(name)
        self.after("stat", name)
        return found

    def open(self, name: Name) -> RealFile:
        self.before("open", name)
        return super().open(name)

    def create(self, name: Name, mode: int = 0o666) -> RealFile:
        self.before("create", name)
        made = super().create(name, mode)
        try:
            self.after("create", name)
        except BaseException:
            made.close()
            raise
        return made

    def make_folder(self, name: Name, mode: int = 0o777) -> None:
        self.before("make_folder", name)
        super().make_folder(name, mode)
        self.after("make_folder", name)

    def remove_folder(self, name: Name) -> None:
        self.before("remove_folder", name)
        super().remove_folder(name)
        self.after("remove_folder", name)

    def unlink(self, name: Name) -> None:
        self.before("unlink", name)
        super().unlink(name)
        self.after("unlink", name)

    def rename(self, source: Name, target: Name) -> None:
        self.before("rename", source)
        super().rename(source, target)
        self.after("rename", source)

    def exchange(self, one: Name, other: Name) -> None:
        self.before("exchange", other)
        super().exchange(one, other)
        self.after("exchange", other)

    def sync_folder(self, folder: Name) -> None:
        self.before("sync_folder", folder)
        super().stat(folder)
        self.after("sync_folder", folder)

    def sync_all(self) -> None:
        self.before("sync_all", ())
        self.after("sync_all", ())


class Bench:
    """One member's folder and all that works on it; `restart` begins a new life of the process.

    `held` are contents that other members have, by id: what is wanted comes from there.
    """

    def __init__(self, *, durable: bool = True, exchange: bool = True) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tp2p-", dir=MEMORY if os.path.isdir(MEMORY) else None))
        self.durable = durable
        self.disk = MomentDisk(os.fsencode(self.root))
        mark.create(self.disk, b"the mark")
        self.abilities = evolve(self.disk.probe(mark.PARTS), exchange=exchange)
        self.workers = InlineWorkers()
        self.serial = 0
        self.their_counter = 0
        self.days = 0.0
        self.held: dict[bytes, bytes] = {}
        self.waiting: set[str] = set()
        self.pending: set[str] = set()
        self.errors: dict[str, Trouble] = {}
        self.index: Index
        self._start()

    def _start(self) -> None:
        self.index = Index(
            str(self.root / ".twistedp2p/index.sqlite"),
            MINE,
            seal=lambda record: record,
            key_of=lambda blob: blake3(blob).digest(16),
            durable=False,
        )
        names = self.names = DiskNames()
        self.parts = PartStore(self.disk, lambda: 0.0)
        self.trash = TrashStore(self.disk, self.entropy)
        self.ignoring = Ignoring(self.disk, self.index)
        self.index.ignored = self.ignoring
        self.eye = Eye(
            self.disk,
            names,
            self.index,
            rules=NameRules.POSIX,
            durable=self.durable,
            ignored=self.ignoring.of,
            waiting=self.waiting.__contains__,
        )
        self.contents = Contents(self.disk, names, self.index, self.parts, self.trash, self.eye)
        self.recovery = Recovery(index=self.index, eye=self.eye, trash=self.trash)
        self.purger = Purger(self.index, self.trash, days=TRASH_DAYS, wall=self.wall)
        self.publisher = Publisher(self.disk, names, self.abilities)
        self.executor = Executor(
            disk=self.disk,
            index=self.index,
            eye=self.eye,
            publisher=self.publisher,
            parts=self.parts,
            trash=self.trash,
            contents=self.contents,
            recovery=self.recovery,
            durable=self.durable,
            wall=self.wall,
        )
        self.replica = Replica(self.index)
        self.steps = Steps(
            disk=self.disk,
            index=self.index,
            replica=self.replica,
            announcer=Announcer(self.index.item, self.index.number_of, self.index.paths),
            eye=self.eye,
            ignoring=self.ignoring,
            contents=self.contents,
            executor=self.executor,
            recovery=self.recovery,
            purger=self.purger,
            rules=NameRules.POSIX,
            unseal=lambda blob: blob,
            key_of=lambda blob: blake3(blob).digest(16),
        )
        self.replica.welcome(b"epoch", self.index.cursor)
        self.replica.disconnected()
        self.contents.forget_duplicates()
        self.parts.remove_orphans()

    def restart(self) -> None:
        """End this life of the process as a kill does, and begin another."""
        self.disk.before = self.disk.after = lambda verb, name: None
        self.index.close()
        self.pending.clear()
        self._start()

    def close(self) -> None:
        """Remove everything."""
        self.index.close()
        self.disk.close()
        shutil.rmtree(self.root)

    def entropy(self, count: int) -> bytes:
        """Return bytes that never repeat."""
        self.serial += 1
        return self.serial.to_bytes(count, "big")

    def wall(self) -> float:
        """Return the time of day, `days` later than it is."""
        return RealDisk.now_ns(self.disk) / 1e9 + self.days * 86_400

    # -- what the user does ---------------------------------------------------

    def save(self, path: str, data: bytes = b"mine", *, executable: bool = False) -> Path:
        """Save a file as an editor does: write a new one, and rename it over the old."""
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        new = self.root / ".twistedp2p" / "of-the-editor"
        new.write_bytes(data)
        new.chmod(0o755 if executable else 0o644)
        new.rename(there)
        return there

    # -- what others do -------------------------------------------------------

    def theirs(
        self,
        path: str,
        data: bytes | None,
        *,
        over: bool = True,
        mtime_ns: int = LATE,
        executable: bool = False,
        kind: Kind = Kind.FILE,
    ) -> Dot:
        """Hear that another member saved `data` (None: deleted) at `path`, over what is known here or beside it."""
        known = self.index.record(path) if over else EMPTY
        content = FOLDER_CONTENT if data is None or kind == Kind.FOLDER else content_id(data)
        value: Value = Dead()
        if data is not None:
            value = Live(content, len(data), 0, mtime_ns, kind, executable)
            self.held[content] = data
        self.their_counter += 1
        dot = Dot(THEIRS, self.their_counter)
        self.hear(path, write(known, dot, value, winner(known)[0] if over else None))
        return dot

    def hear(self, path: str, register: Register) -> None:
        """Take in one record of a member."""
        self.replica.stage([(path, register)], {})
        self.replica.end_delta(self.index.cursor)

    # -- the loop -------------------------------------------------------------

    def look(self, *paths: str, confirm: bool = False) -> Looked:
        """Look at these paths."""
        return self.eye.look(paths, confirm)

    def scan(self) -> list[Looked]:
        """Look everywhere, and a second time at what is missing."""
        looks = list(self.eye.look_everywhere())
        missing = [path for looked in looks for path in looked.missing]
        return [*looks, self.eye.look(missing, True)] if missing else looks

    def take_in(self) -> bool:
        """Take what the user did, and nothing else; return whether there was anything."""
        looks = self.scan()
        self.steps.take(looks)
        return any(looks)

    def supply(self, *contents: bytes) -> None:
        """Let contents arrive that others hold."""
        for content in contents:
            if content in self.held:
                self.parts.put_small([(content, self.held[content])])

    def plan(self, *paths: str) -> Outcome:
        """Plan these paths (none: all that is not settled) in one step; what is wanted arrives at once."""
        outcome = self.steps.plan(sorted(paths or self.index.unsettled(1000)))
        for want in outcome.wants:
            self.supply(want.content)
        self.errors.update(outcome.errors)
        self.pending |= outcome.plan
        return outcome

    def settle(self) -> None:
        """Do what the loop of a peer does, until nothing is left to do."""
        for _ in range(30):
            news = self.take_in()
            self.pending |= self.steps.recheck_trash(None).plan
            paths = {*self.pending, *self.index.unsettled(1000), *(intent.path for intent in self.index.intents())}
            if not (paths or news):
                return
            self.pending.clear()
            self.plan(*{path for found in paths for path in _with_ancestors(found)})
        raise AssertionError(f"It never ends: {self.index.unsettled(1000)}, {self.index.intents()}, {self.errors}")

    # -- what there is --------------------------------------------------------

    def tree(self) -> dict[str, bytes | None]:
        """Return all that users see: path to bytes, None for a folder."""
        found: dict[str, bytes | None] = {}
        for there in sorted(self.root.rglob("*")):
            path = there.relative_to(self.root).as_posix()
            if not path.startswith(".twistedp2p"):
                found[path] = there.read_bytes() if there.is_file() else None
        return found

    def trashed(self) -> list[bytes]:
        """Return the bytes of all listed entries of the trash, sorted."""
        return sorted(
            (self.root.joinpath(*(part.decode() for part in self.trash.locate(entry.name)))).read_bytes()
            for entry in self.index.trash_entries()
            if self.trash.look(entry.name) is not None
        )

    def live(self) -> dict[str, Live]:
        """Return the live winners of all paths."""
        found = {path: winner(self.index.record(path))[1] for path in self.index.paths()}
        return {path: value for path, value in found.items() if isinstance(value, Live)}


def _with_ancestors(path: str) -> Iterable[str]:
    return (path, *(above.text for above in RelPath(path).ancestors()))


class BenchTestCase(SynchronousTestCase):
    """Gives tests benches that are removed after them."""

    def bench(self, *, durable: bool = True, exchange: bool = True) -> Bench:
        """Return a new bench."""
        bench = Bench(durable=durable, exchange=exchange)
        self.addCleanup(bench.close)
        return bench

    def assertPeace(self, bench: Bench) -> None:
        """Check that the folder is what the records say, that the rows tell so, and that nothing is under way."""
        self.assertEqual(bench.index.intents(), [])
        self.assertEqual(bench.index.unsettled(100), [])
        tree = bench.tree()
        files = {path: content_id(data) for path, data in tree.items() if data is not None}
        live = bench.live()
        self.assertEqual(files, {path: value.content for path, value in live.items() if not value.is_folder})
        self.assertEqual({path for path, value in live.items() if value.is_folder} - tree.keys(), set())
        for path, content in files.items():
            row = bench.index.row(path)
            assert row is not None
            self.assertEqual(row.content, content)
            self.assertTrue(bench.eye.is_fine(path, row.signature))
