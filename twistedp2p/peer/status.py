"""What a running peer tells about itself: one value for the command line, the page and scripts. Version 1.

Sizes are in bytes, rates in bytes a second, times in seconds since 1970. Fields may be added, never changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from twistedp2p import __version__
from twistedp2p.identity.device import node_text
from twistedp2p.messages.tracker import Address
from twistedp2p.peer.assembly import Peer
from twistedp2p.peer.folder.scan import IGNORED
from twistedp2p.peer.folder.trash import displaced_at
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.reasoning import Reasoner, Waiting
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Want

__all__ = ["StatusBoard"]

_NAMED = 20
"""Paths named in a list of what is missing or under way."""
_NO_LIST = (
    "The share has a list of what is ignored, which is not here yet: until then nothing in this folder is shared. "
    "Start a member that has it, or save a list of your own."
)
_REASONS = 200
"""Entries in a list of what is not shared, or failed."""
_GATHERING = 20
"""Gathering reasons may take one part in so many of the time."""
_WINDOW = 5.0
"""Rates are those of the last so many seconds."""


class StatusBoard:
    """Answers for one peer; `wall` gives seconds since 1970."""

    def __init__(self, peer: Peer, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._peer = peer
        self._clock = clock
        self._wall = wall
        self._samples: deque[tuple[float, dict[bytes, tuple[int, int]]]] = deque()
        self._reasoner = Reasoner(peer, lambda: self.paused_since is not None)
        self._last_waiting = Waiting()
        self._next_waiting = 0.0
        self._done: deque[tuple[float, dict[str, int]]] = deque()
        self.paused_since: float | None = None
        """Since when the peer is paused, by `wall`; None if it is not."""

    def sample(self) -> None:
        """Note how many bytes came and went; call it about once a second."""
        now = self._clock()
        came = self._peer.fetcher.progress().by_node
        went = {link.node: link.bytes_out for link in self._peer.links.live()}
        counts = {node: (came.get(node, 0), went.get(node, 0)) for node in {*came, *went}}
        self._samples.append((now, counts))
        self._done.append((now, {want.path: self._done_of(want) for want in self._peer.sync.wants.all()[:_NAMED]}))
        for samples in (self._samples, self._done):
            while len(samples) > 2 and samples[1][0] <= now - _WINDOW:
                samples.popleft()

    def _done_of(self, want: Want) -> int:
        missing = self._peer.fetcher.missing(want.content)
        return 0 if missing is None else want.size - missing

    def status(self) -> dict[str, Any]:
        """Return the state of the peer, of values that JSON has."""
        self.sample()
        peer = self._peer
        totals = peer.index.totals()
        rates = self._rates()
        wants = peer.sync.wants.all()
        errors = self._errors()
        hidden = [(path, reason) for path, reason in peer.observer.hidden.items() if reason != IGNORED]
        return {
            "version": __version__,
            "api": 1,
            "folder": str(peer.member.folder),
            "share": peer.member.keys.share_id.hex(),
            "node": node_text(peer.member.key.node_id),
            "name": peer.name,
            "replica": peer.index.rid.hex(),
            "state": self._state(),
            "in_sync": peer.sync.in_sync and self.paused_since is None,
            "paused_since": self.paused_since,
            "addresses": [_text(address) for address in peer.addresses()],
            "tracker": self._tracker(),
            "peers": self._peers(rates),
            "files": totals.files,
            "folders": totals.folders,
            "bytes": totals.bytes,
            "missing": {
                "files": totals.missing_files,
                "bytes": totals.missing_bytes,
                "first": [want.path for want in wants[:_NAMED]],
            },
            "moving": [self._moving(want) for want in wants[:_NAMED]],
            "scanned": peer.observer.scanned,
            "published": peer.steps.published,
            "rates": {"in": sum(rate[0] for rate in rates.values()), "out": sum(rate[1] for rate in rates.values())},
            "not_shared": [{"path": path, "reason": reason} for path, reason in hidden[:_REASONS]],
            "ignored": len(peer.observer.hidden) - len(hidden),
            **self._waiting().as_json(),
            "errors": errors,
            "trash": self._trash(),
        }

    def why(self, path: str) -> Deferred[dict[str, Any]]:
        """Return why a path, as the disk has it below the shared folder, is not in sync; see `Reasoner.why`."""
        return self._reasoner.why(path)

    def _waiting(self) -> Waiting:
        """Return what is not in sync; not gathered anew at once if there is so much that it takes a while."""
        began = self._clock()
        if began >= self._next_waiting:
            self._last_waiting = self._reasoner.waiting()
            self._next_waiting = began + _GATHERING * (self._clock() - began)
        return self._last_waiting

    def _errors(self) -> list[dict[str, str]]:
        """Return what is wrong: with the peer as a whole first, each sort once, then with single paths."""
        peer = self._peer
        unreadable = peer.observer.unreadable
        whole = () if peer.observer.trouble is None else (peer.observer.trouble,)
        general = [*whole, *peer.sync.failures.general(unreadable.values())]
        general += self._of_others()
        single = {
            path: trouble
            for found in (peer.sync.failures.errors, unreadable)
            for path, trouble in found.items()
            if not trouble.general
        }
        errors = [("", trouble) for trouble in dict.fromkeys(general)] + self._of_the_list()
        errors += list(single.items())[:_REASONS]
        return [{"path": path, "code": trouble.code.value, "text": trouble.text} for path, trouble in errors]

    def _of_the_list(self) -> list[tuple[str, Trouble]]:
        """Return what is wrong with the list of what is ignored, and whether it is waited for."""
        found = self._peer.bench.ignoring.troubles()
        if self._peer.sync.first_list.held_back:
            found.append(Trouble(Code.QUEUED, _NO_LIST))
        return [(IGNORE_NAME, trouble) for trouble in found]

    def _of_others(self) -> list[Trouble]:
        """Return what is wrong between this peer and the others: clocks far apart, versions that do not fit."""
        peer = self._peer
        found = [Trouble(Code.CLOCK, peer.tracking.clock_trouble)] if peer.tracking.clock_trouble else []
        foreign = (peer.links.incompatible(info.node) for info in peer.holdings.peers.values())
        return found + [Trouble(Code.HOLDER_INCOMPATIBLE, text) for text in foreign if text]

    def _moving(self, want: Want) -> dict[str, Any]:
        (began, first), (ended, last) = self._done[0], self._done[-1]
        done = last.get(want.path, 0)
        rate = max(0, done - first.get(want.path, 0)) / (ended - began) if ended > began else 0.0
        return {"path": want.path, "size": want.size, "done": done, "rate": rate}

    def _state(self) -> str:
        peer = self._peer
        if self.paused_since is not None:
            return "paused"
        if peer.observer.scanning:
            return "scanning"
        if peer.client.welcome is None:
            return "waiting-for-tracker"
        return "in-sync" if peer.sync.in_sync else "syncing"

    def _tracker(self) -> dict[str, Any]:
        client, since = self._peer.client, self._peer.tracking.since
        return {
            "address": str(client.tracker.address),
            "connected": client.welcome is not None,
            "since": None if since is None else self._wall() - (self._clock() - since),
            "trouble": self._peer.tracking.trouble,
            "clock_offset": self._peer.tracking.clock_offset,
        }

    def _peers(self, rates: dict[bytes, tuple[float, float]]) -> list[dict[str, Any]]:
        counts = self._samples[-1][1]
        linked = {link.node for link in self._peer.links.live()}
        return [
            {
                "node": node_text(info.node),
                "name": info.name,
                "addresses": [_text(address) for address in info.addresses],
                "connected": info.node in linked,
                "bytes_in": counts.get(info.node, (0, 0))[0],
                "bytes_out": counts.get(info.node, (0, 0))[1],
                "rate_in": rates.get(info.node, (0.0, 0.0))[0],
                "rate_out": rates.get(info.node, (0.0, 0.0))[1],
            }
            for info in self._peer.holdings.peers.values()
        ]

    def _rates(self) -> dict[bytes, tuple[float, float]]:
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        seconds = ended - began
        if seconds <= 0:
            return {}
        return {
            node: (
                max(0, came - first.get(node, (0, 0))[0]) / seconds,
                max(0, went - first.get(node, (0, 0))[1]) / seconds,
            )
            for node, (came, went) in last.items()
        }

    def _trash(self) -> dict[str, Any]:
        index, days = self._peer.index, self._peer.steps.trash_days
        files, size = index.trash_totals()
        oldest = index.oldest_trash()
        since = None if oldest is None else displaced_at(oldest)
        until = None if since is None else since + days * 86_400.0
        return {"files": files, "bytes": size, "days": days, "since": since, "until": until}


def _text(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
