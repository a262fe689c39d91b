"""What joining a share with a folder would do, tried out on an index of its own: nothing outside of it is touched.

What decides here is what decides in a peer: `replica.Replica` joins what others know, `replica.save` takes in what
lies in the folder, and `plan.plan` says what follows, until nothing does. Only carrying out is played: a content that
would be fetched counts as here, and a name that would be changed changes in the index alone. Blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import Factory, define, evolve, field, frozen

from twistedp2p.errors import BadPath, ProtocolViolation
from twistedp2p.identity.seal import item_key, unseal
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.tracker import Entry, Welcome
from twistedp2p.paths import NameRules, RelPath
from twistedp2p.peer.index import Index
from twistedp2p.peer.keeping import copy_path
from twistedp2p.peer.plan import Action, Fetch, Keep, MakeFolder, Publish, Remove, SetExecutable, plan
from twistedp2p.peer.replica import Replica, collapse, save
from twistedp2p.peer.store import View
from twistedp2p.peer.values import FOLDER_CONTENT, Observed, Row
from twistedp2p.records import decode_record
from twistedp2p.versions import Kind, Live, Register, winner

__all__ = ["Forecast", "Group", "Line", "Rehearsal"]

_PATHS = 500
"""Paths that are written in one transaction."""


@frozen
class Line:
    """One path: whether it is a folder, its size in bytes; of two versions, the path of the `copy` that one gets.

    `yours`: it is the version of this folder that gets the copy's name, else that of the others.
    """

    path: str
    folder: bool = False
    size: int = 0
    copy: str = ""
    yours: bool = False


@define
class Group:
    """What happens to some paths alike: how many they are, their bytes, and the first of them."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    lines: list[Line] = Factory(list)
    _most: int | None = field(default=None, alias="most", eq=False)

    def add(self, line: Line) -> None:
        """Count a path."""
        if line.folder:
            self.folders += 1
        else:
            self.files += 1
            self.bytes += line.size
        if self._most is None or len(self.lines) < self._most:
            self.lines.append(line)


@frozen
class Forecast:
    """What joining would do.

    `adopt`: here and there, and the same; `send`: only here; `fetch`: only there; `copy`: two versions of one path, of
    which one gets the name of a conflict copy. `fetch_bytes` come over the network, which is less than what is only
    there where a content is here under another name; `more_bytes` is how much more the folder would hold; `modes`
    files get another executable bit; `displaced` files would be nowhere but in the trash; `unusable` records can not be
    used here.
    """

    adopt: Group
    send: Group
    fetch: Group
    copy: Group
    fetch_bytes: int
    more_bytes: int
    modes: int
    displaced: int
    unusable: int


class Rehearsal:
    """One try: `welcome`, `stage` and `end_delta` as the tracker tells, `see` for all that lies in the folder, `play`.

    `rid` is 8 random bytes; groups name up to `most` paths each (None: all); `ignored` says what is not shared by
    choice. Close it in the end. Call one method at
    a time, from any thread.
    """

    def __init__(
        self,
        keys: ShareKeys,
        rid: bytes,
        most: int | None,
        ignored: Callable[[str, Kind], bool] = lambda path, kind: False,
    ) -> None:
        self._keys = keys
        self._rules = NameRules.PORTABLE if keys.portable else NameRules.POSIX
        # An empty path is a file without a name, which is gone when it is closed.
        self.index = Index("", rid, seal=lambda record: record, key_of=item_key, durable=False)
        self._ignored = self.index.ignored = ignored
        self._replica = Replica(self.index)
        self._adopt, self._send, self._fetch, self._copy = (Group(most=most) for _ in range(4))
        self._differing: dict[str, tuple[Line, bytes]] = {}
        self._copies: dict[str, tuple[str, bool]] = {}
        self._fetched: set[bytes] = set()
        self._displaced: set[bytes] = set()
        self._view = View(self.index)
        self._seen = 0
        self._seen_bytes = 0
        self._fetch_bytes = self._modes = self._unusable = 0

    def close(self) -> None:
        """Let go of everything."""
        self.index.close()

    # -- what others know -----------------------------------------------------

    @property
    def caught(self) -> bool:
        """Whether all that the tracker had when it said welcome is known here."""
        return self._replica.caught

    def welcome(self, welcome: Welcome) -> None:
        """Begin a session."""
        self._replica.welcome(welcome.epoch, welcome.target, welcome.same)

    def stage(self, entries: Iterable[Entry]) -> None:
        """Take (a piece of) a delta."""
        staged: list[tuple[str, Register]] = []
        for entry in entries:
            try:
                record = decode_record(unseal(self._keys, entry.blob))
                staged.append((RelPath.parse(record.path, self._rules).text, record.register))
            except (ProtocolViolation, BadPath):
                self._unusable += 1
        self._replica.stage(staged, {})

    def end_delta(self, end: int) -> None:
        """Join the delta."""
        self._replica.end_delta(end)

    def content_of(self, path: str) -> bytes | None:
        """Return the content id of the file that the share has at `path`, None if it has none."""
        value = winner(self.index.record(path))[1]
        return value.content if isinstance(value, Live) and not value.is_folder else None

    def disconnected(self) -> None:
        """End the session; another one goes on."""
        self._replica.disconnected()

    # -- what lies in the folder ------------------------------------------------

    def see(self, path: str, seen: Observed) -> None:
        """Take in what lies at `path`, after all that others know; each path once."""
        view = self._view
        before = winner(view.record(path))[1]
        # A file where the others have a folder, be it only because something is in it, has not the name.
        below = seen.kind == Kind.FILE and view.has_live_below(path)
        save(view, path, seen)
        line = Line(path, seen.kind == Kind.FOLDER, seen.size)
        same = isinstance(before, Live) and before.kind == seen.kind and before.content == seen.content
        if below or (isinstance(before, Live) and not same):
            self._differing[path] = (line, seen.content)
        elif same:
            self._adopt.add(line)
        else:
            self._send.add(line)
        self._seen_bytes += seen.size
        self._seen += 1
        if self._seen % _PATHS == 0:
            view.commit()

    # -- what follows -----------------------------------------------------------

    def play(self) -> Forecast:
        """Do all that follows, until nothing does; return what it was."""
        self._view.commit()
        while self._pass():
            pass
        for path, (line, _) in self._differing.items():
            copy, yours = self._copies.get(path, ("", False))
            self._copy.add(evolve(line, copy=copy, yours=yours))
        totals = self.index.totals()
        return Forecast(
            adopt=self._adopt,
            send=self._send,
            fetch=self._fetch,
            copy=self._copy,
            fetch_bytes=self._fetch_bytes,
            more_bytes=max(0, totals.bytes - self._seen_bytes),
            modes=self._modes,
            displaced=sum(not self._is_shown(content) for content in self._displaced),
            unusable=self._unusable,
        )

    def _pass(self) -> bool:
        """Plan every path that something is to be done about; return whether anything was."""
        acted = False
        after = ""
        while found := self.index.unsettled(_PATHS, after):
            after = found[-1]
            for path in found:
                for above in (*reversed([one.text for one in RelPath(path).ancestors()]), path):
                    acted |= self._plan(above)
        return acted

    def _plan(self, path: str) -> bool:
        view = View(self.index)
        actions = plan(view, path, self._has, self._ignored)
        for action in actions:
            self._act(view, action)
        return bool(view.commit()) or bool(actions)

    def _has(self, content: bytes) -> bool:
        return content in self._fetched or content in self._displaced or self._is_shown(content)

    def _is_shown(self, content: bytes) -> bool:
        return next(iter(self.index.paths_with_content(content)), None) is not None

    def _act(self, view: View, action: Action) -> None:
        match action:
            case Fetch():
                if action.want.content not in self._fetched:
                    self._fetched.add(action.want.content)
                    self._fetch_bytes += action.want.size
            case Keep():
                self._keep(view, action)
            case Publish():
                self._put(view, action.path, action.value, Row(action.dot, Kind.FILE, action.value.content))
            case MakeFolder():
                folder = Live(FOLDER_CONTENT, kind=Kind.FOLDER)
                self._put(view, action.path, folder, Row(action.dot, Kind.FOLDER, FOLDER_CONTENT))
            case Remove():
                self._displace(view, action.path)
                view.set_row(action.path, None)
            case SetExecutable():
                row = view.row(action.path)
                assert row is not None
                view.set_row(action.path, evolve(row, executable=action.executable))
                self._modes += 1

    def _keep(self, view: View, action: Keep) -> None:
        copy = copy_path(action).text
        self._displaced.add(action.value.content)
        collapse(view, action.path, action.dot, action.value, copy)
        if action.path in self._differing:
            # Of several losing versions the first is named.
            yours = action.value.content == self._differing[action.path][1]
            self._copies.setdefault(action.path, (copy, yours))
            self._copies[copy] = ("", False)

    def _put(self, view: View, path: str, value: Live, row: Row) -> None:
        """Put a file or folder in its place."""
        self._displace(view, path)
        view.set_row(path, evolve(row, executable=value.executable))
        if path not in self._differing and path not in self._copies:
            self._fetch.add(Line(path, value.is_folder, value.size))

    def _displace(self, view: View, path: str) -> None:
        row = view.row(path)
        if row is not None and row.kind == Kind.FILE:
            self._displaced.add(row.content)
