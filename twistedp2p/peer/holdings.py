"""Who is alive and who holds what, as the tracker told: whom to ask for a content. Volatile; never the truth.

A holder that is listed wrongly costs a "not held"; one that is missing costs a detour over `others`. Only what this
peer still has to get is noted: what members say of all else would grow for as long as a session lasts.
"""

from __future__ import annotations

from collections.abc import Iterable

from twistedp2p.limits import LIST_ITEMS, PEERS_PER_SHARE
from twistedp2p.messages.tracker import PeerInfo
from twistedp2p.peer.values import Want

__all__ = ["Holdings"]


class Holdings:
    """What this peer heard in its session with the tracker about the other members of the share."""

    def __init__(self) -> None:
        self.peers: dict[int, PeerInfo] = {}
        self._by_node: dict[bytes, PeerInfo] = {}
        self._holders: dict[int, set[int]] = {}
        self._numbers: dict[str, set[int]] = {}
        self._paths: dict[int, str] = {}
        self._early: dict[int, set[int]] = {}
        self._heard = 0
        self._gone: dict[int, str] = {}
        self._me = -1

    @property
    def noted(self) -> int:
        """Of how many items it is noted who holds them."""
        return len(self._holders) + len(self._early)

    def new_session(self, member: int) -> None:
        """Begin anew: numbers of items and of members may mean something else now."""
        self.peers.clear()
        self._by_node.clear()
        self._holders.clear()
        self._numbers.clear()
        self._paths.clear()
        self._early.clear()
        self._heard = 0
        self._gone.clear()
        self._me = member

    def change_peers(self, up: Iterable[PeerInfo], down: Iterable[int]) -> None:
        """Take in who came up or changed, and who is gone."""
        for info in up:
            if info.member != self._me:
                self.peers[info.member] = self._by_node[info.node] = info
        for member in down:
            gone = self.peers.pop(member, None)
            if gone is None:
                continue
            # A node that came back has a new session already.
            if self._by_node[gone.node] is gone:
                del self._by_node[gone.node]
            if gone.name:
                self._gone[member] = gone.name
                while len(self._gone) > PEERS_PER_SHARE:
                    del self._gone[next(iter(self._gone))]

    def learn(self, items: Iterable[tuple[str, int, tuple[int, ...]]]) -> None:
        """Take in items of a delta: (path, number, members that hold it)."""
        for path, number, holders in items:
            self._numbers.setdefault(path, set()).add(number)
            self._paths[number] = path
            known = self._holders.setdefault(number, set())
            known.update(holders, self._early.pop(number, ()))

    def heard(self, end: int) -> None:
        """Note that a delta up to the number `end` is complete: what it did not bring, this peer does not look for."""
        self._heard = end
        for number in [number for number in self._early if number < end]:
            del self._early[number]

    def change_holders(self, member: int, held: Iterable[int], lost: Iterable[int]) -> None:
        """Take in what one member now holds and what it holds no more.

        Of items that are not noted only those count that a delta may still bring, the first few thousand of them.
        """
        for number in held:
            if number in self._paths:
                self._holders[number].add(member)
            elif number >= self._heard and (number in self._early or len(self._early) < LIST_ITEMS):
                self._early.setdefault(number, set()).add(member)
        for number in lost:
            for noted in (self._holders, self._early):
                noted.get(number, set()).discard(member)

    def gone_holders(self, path: str) -> tuple[str, ...]:
        """Return the names of members that held the content of `path` in this session and are gone."""
        members = {member for number in self._numbers.get(path, ()) for member in self._holders.get(number, ())}
        return tuple(self._gone[member] for member in sorted(members) if member in self._gone)

    def forget(self, path: str) -> None:
        """Drop what was noted for a path whose content is here."""
        for number in self._numbers.pop(path, ()):
            self._paths.pop(number, None)
            self._holders.pop(number, None)

    def paths_of(self, numbers: Iterable[int]) -> set[str]:
        """Return the paths that these item numbers stand for, as far as they are noted."""
        return {self._paths[number] for number in numbers if number in self._paths}

    def sources(self, want: Want) -> tuple[set[bytes], set[bytes]]:
        """Return the nodes that are said to hold the content of `want`, and all others that are alive.

        A losing version's bytes may be with any member that knows it, so all live ones are asked in the end.
        """
        members: set[int] = set()
        for number in self._numbers.get(want.path, ()):
            members |= self._holders.get(number, set())
        holders = {self.peers[member].node for member in members if member in self.peers}
        others = {info.node for info in self.peers.values()} - holders
        return holders, others

    def listed(self, node: bytes) -> PeerInfo | None:
        """Return how a node is listed now, None if it is not there."""
        return self._by_node.get(node)

    def name_of(self, node: bytes) -> str:
        """Return the display name of a node, empty if it is not listed."""
        info = self.listed(node)
        return "" if info is None else info.name
