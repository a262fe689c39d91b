"""Gathers what `reasons` decides on: of one path, and of all that are not in sync. In the reactor's thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from twistedp2p.disk.seam import FileKind, Name
from twistedp2p.errors import BadPath
from twistedp2p.identity.device import node_text
from twistedp2p.paths import RelPath
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.plan import is_settled
from twistedp2p.peer.reasons import (
    SUMMARIES,
    Facts,
    Fetched,
    Holder,
    Peerwide,
    Phase,
    Way,
    of_phase,
    of_want,
    reason,
    unheard,
    untold,
)
from twistedp2p.peer.reasons_disk import OnDisk, examine, path_of
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Row, Want
from twistedp2p.versions import EMPTY, Dead, Kind, Register, winner

__all__ = ["Reasoner", "Waiting"]

NAMED = 20
"""Paths named in a list of what is not in sync."""
_NODE_CHARS = 8


@frozen
class Waiting:
    """What is not in sync: the first paths with their reasons, and how many there are for each reason."""

    first: tuple[tuple[str, Trouble], ...] = ()
    counts: Mapping[Code, int] = {}

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON has; the most frequent reason first."""
        counts = sorted(self.counts.items(), key=lambda item: (-item[1], item[0].value))
        return {
            "waiting": [{"path": path, "code": found.code.value, "text": found.text} for path, found in self.first],
            "reasons": [{"code": code.value, "files": files, "text": SUMMARIES[code]} for code, files in counts],
        }


@frozen
class _Known:
    """What the index and the disk say of one path."""

    disk: OnDisk
    register: Register
    row: Row | None
    told: bool


class Reasoner:
    """Answers why paths of one peer are not in sync; `paused` says whether the peer rests."""

    def __init__(self, peer: Peer, paused: Callable[[], bool] = lambda: False) -> None:
        self._peer = peer
        self._paused = paused

    # -- one path -------------------------------------------------------------

    def why(self, text: str) -> Deferred[dict[str, Any]]:
        """Return path, code and text of the reason of one path, given as the disk has it, below the shared folder.

        If it is a folder, `waiting` and `reasons` say what is not in sync of what is in it.
        """
        name: Name = tuple(os.fsencode(part) for part in text.split("/") if part not in ("", "."))
        try:
            path = path_of(name, self._peer.bench.rules)
        except BadPath as error:
            return succeed(_answer(text, Trouble(Code.NAME_NOT_SHARED, str(error)), Waiting()))
        return self._peer.workers.bulk(self._look_up, name, path).addCallback(self._judge, path, name)

    def _look_up(self, name: Name, path: RelPath) -> _Known:
        """In a thread: what the disk and the index say."""
        peer = self._peer
        return _Known(
            examine(peer.bench.disk, name, path, peer.bench.eye.ignores),
            peer.index.record(path.text),
            peer.index.row(path.text),
            peer.steps.is_told(path.text),
        )

    def _judge(self, known: _Known, path: RelPath, name: Name) -> dict[str, Any]:
        found = self._collision(known.disk, path, name) or reason(self._facts(path.text, known))
        below = Waiting()
        if known.disk.kind is FileKind.FOLDER:
            below = _counted(item for item in self._waiting() if item[0].startswith(path.text + "/"))
        return _answer(path.text, found, below)

    def _collision(self, disk: OnDisk, path: RelPath, name: Name) -> Trouble | None:
        """Return that another file has the path which this name would have, if so."""
        taken = self._peer.bench.names.of(path)
        if disk.kind is None or taken == name:
            return None
        text = f"Another name differs from it only in its Unicode form, {os.fsdecode(taken[-1])!r}: rename one of them."
        return Trouble(Code.NAME_NOT_SHARED, text)

    def _facts(self, path: str, known: _Known) -> Facts:
        peer, disk, register, row = self._peer, known.disk, known.register, known.row
        peerwide = self._peerwide()
        phase = Phase.SEEN if path in peer.sync.not_taken() else peer.observer.phases().get(path)
        asked = peer.fetcher.asked()
        return Facts(
            peer=peerwide,
            local=disk.trouble,
            there=disk.kind is not None,
            changed=_differs(disk, row),
            phase=phase,
            known=register != EMPTY,
            deleted=isinstance(winner(register)[1], Dead),
            settled=is_settled(register, row),
            error=peer.sync.errors.get(path),
            fetched=tuple(self._fetched(want, asked) for want in peer.sync.wants.of(path)),
            announced=known.told,
        )

    def _peerwide(self) -> Peerwide:
        peer = self._peer
        troubles = peer.sync.failures.troubles
        return Peerwide(
            paused=self._paused(),
            trouble=peer.observer.trouble,
            connected=peer.client.welcome is not None,
            caught=peer.steps.caught,
            acting=peer.steps.may_act,
            tracker_trouble=peer.tracking.trouble,
            stuck=next((troubles[what] for what in ("take", "plan", "session", "index") if what in troubles), None),
        )

    def _fetched(self, want: Want, asked: Mapping[bytes, set[bytes]]) -> Fetched:
        peer = self._peer
        nodes, others = peer.holdings.sources(want)
        if want.losing:
            nodes, others = nodes | others, set()
        missing = peer.fetcher.missing(want.content)
        return Fetched(
            size=want.size,
            done=0 if missing is None else want.size - missing,
            holders=tuple(self._holder(node) for node in sorted(nodes)),
            asked=tuple(self._name(node) for node in sorted(asked.get(want.content, ()))),
            gone=peer.holdings.gone_holders(want.path),
            others=sum(self._holder(node).way in (Way.LINKED, Way.OPEN) for node in others),
            losing=want.losing,
        )

    def _holder(self, node: bytes) -> Holder:
        links, name = self._peer.links, self._name(node)
        if links.link(node) is not None:
            return Holder(name, Way.LINKED)
        why = links.incompatible(node)
        if why:
            return Holder(name, Way.OTHER_VERSION, why)
        why = links.unreachable().get(node, "")
        return Holder(name, Way.CLOSED if why else Way.OPEN, why)

    def _name(self, node: bytes) -> str:
        return self._peer.holdings.name_of(node) or node_text(node)[:_NODE_CHARS]

    # -- all that wait ----------------------------------------------------------

    def waiting(self) -> Waiting:
        """Return what is not in sync; it takes some microseconds for each path."""
        return _counted(self._waiting(), self._unplanned())

    def _waiting(self) -> Iterator[tuple[str, Trouble]]:
        """Yield each path that is known not to be in sync, once, with the reason."""
        peerwide = self._peerwide()
        whole = Trouble(Code.PAUSED, SUMMARIES[Code.PAUSED]) if peerwide.paused else peerwide.trouble
        seen: set[str] = set()
        for path, found in self._causes(peerwide):
            if path not in seen:
                seen.add(path)
                yield path, whole or found

    def _causes(self, peerwide: Peerwide) -> Iterator[tuple[str, Trouble]]:
        peer = self._peer
        yield from peer.sync.errors.items()
        yield from peer.observer.unreadable.items()
        asked = peer.fetcher.asked()
        for want in peer.sync.wants.all():
            yield want.path, of_want(self._fetched(want, asked), peerwide)
        for path, phase in peer.observer.phases().items():
            yield path, of_phase(phase, peerwide)
        for path in peer.sync.not_taken():
            yield path, of_phase(Phase.SEEN, peerwide)
        for path in peer.steps.untold():
            yield path, untold(peerwide)
        if not peerwide.acting:
            for path in peer.index.unsettled(NAMED):
                yield path, unheard(peerwide)

    def _unplanned(self) -> tuple[int, Code] | None:
        """Return how many files are missing at least, and why, while nothing may be planned."""
        peerwide = self._peerwide()
        if peerwide.acting or peerwide.paused or peerwide.trouble is not None:
            return None
        return self._peer.index.totals().missing_files, unheard(peerwide).code


def _counted(found: Iterator[tuple[str, Trouble]], at_least: tuple[int, Code] | None = None) -> Waiting:
    """Return the first of them, and how many there are of each code; `at_least` so many of them in all."""
    counts: dict[Code, int] = {}
    first: list[tuple[str, Trouble]] = []
    for path, trouble in found:
        if len(first) < NAMED:
            first.append((path, trouble))
        counts[trouble.code] = counts.get(trouble.code, 0) + 1
    if at_least is not None and at_least[0] > sum(counts.values()):
        number, code = at_least
        counts[code] = counts.get(code, 0) + number - sum(counts.values())
    return Waiting(tuple(first), counts)


def _answer(path: str, found: Trouble, below: Waiting) -> dict[str, Any]:
    return {"path": path, "code": found.code.value, "text": found.text, **below.as_json()}


def _differs(disk: OnDisk, row: Row | None) -> bool:
    """Whether the disk has something else than what was last taken in, or nobody can tell."""
    if disk.kind is None:
        return row is not None or (disk.trouble is not None and disk.trouble.code is not Code.IGNORED)
    if disk.kind not in (FileKind.FILE, FileKind.FOLDER):
        return False
    if row is None or row.signature is None or disk.signature is None:
        return True
    if disk.kind is FileKind.FOLDER and disk.trouble is not None:
        return True  # what is in it can not be seen
    if disk.kind is FileKind.FOLDER or row.kind is Kind.FOLDER:
        mine, now = row.signature, disk.signature
        same_kind = (row.kind is Kind.FOLDER) == (disk.kind is FileKind.FOLDER)
        return not same_kind or (mine.device, mine.inode) != (now.device, now.inode)
    return row.signature != disk.signature
