"""What a look at the shared folder found, as values: see `look`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import Factory, define

from twistedp2p.peer.troubles import Trouble
from twistedp2p.peer.values import Observed

__all__ = ["Looked", "divide"]


@define
class Looked:
    """What one look found: only what differs from the index.

    `seen`: (path, what was read, encoded manifest or b""); `gone`: confirmed deletions and old names of renames;
    `missing`: suspected deletions; `changing`: files that somebody writes to; `hidden`: (name, reason) of what is not
    shared; `unreadable`: (path, why) of what can not be read now and is tried again; `fine`: paths that were looked at
    and are as the index says.
    """

    seen: list[tuple[str, Observed, bytes]] = Factory(list)
    gone: list[str] = Factory(list)
    missing: list[str] = Factory(list)
    changing: list[str] = Factory(list)
    hidden: list[tuple[str, str]] = Factory(list)
    fine: list[str] = Factory(list)
    unreadable: list[tuple[str, Trouble]] = Factory(list)

    def __bool__(self) -> bool:
        return bool(self.seen or self.gone)

    def paths(self) -> list[str]:
        """Return the paths that this says something new of."""
        return [*(path for path, _, _ in self.seen), *self.gone]


def divide(looks: Iterable[Looked], some: Callable[[str], bool]) -> tuple[list[Looked], list[Looked]]:
    """Return what was seen or is gone at `some` paths, and what at the others."""
    one, other = Looked(), Looked()
    for looked in looks:
        for seen in looked.seen:
            (one if some(seen[0]) else other).seen.append(seen)
        for path in looked.gone:
            (one if some(path) else other).gone.append(path)
    return [one], [other] if other else []
