"""What the index counts as it goes: totals for a person, digests for the tracker, and what one record adds to them."""

from __future__ import annotations

import json

from attrs import frozen

from twistedp2p.messages.tracker import SetDigest
from twistedp2p.peer.replica import holds
from twistedp2p.peer.values import Row
from twistedp2p.versions import Live, Register, winner

__all__ = ["DEAD", "Standing", "Tally", "Totals", "needs", "standing"]

DEAD = 2
"""The kind of a path whose winner is a deletion, beside those of `Kind`."""

_MODULUS = 2**128
_DIGEST_BYTES = 16
_COUNTS = 12


@frozen
class Totals:
    """How much a peer knows of: live files, folders and bytes, those of them that are missing here, deletions that are
    remembered, and paths with more than one version. What is ignored here counts for nothing but `ignored`."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    missing_files: int = 0
    missing_bytes: int = 0
    tombstones: int = 0
    conflicts: int = 0
    ignored: int = 0


@frozen
class Standing:
    """Where one path stands: the kind and size of its winner, how many versions there are, whether this peer holds
    it, whether nothing is left to do about it, and whether it is live and ignored here."""

    kind: int
    size: int
    siblings: int
    holds: bool
    settled: bool
    ignored: bool = False


def standing(register: Register, row: Row | None, ignored: bool = False) -> Standing:
    """Return where a path with this record and this row stands.

    A file whose executable bit is not the winner's is held, but not settled. About what is ignored nothing is to do.
    """
    value = winner(register)[1]
    held = holds(register, row)
    settled = held and len(register.siblings) < 2
    if not isinstance(value, Live):
        return Standing(DEAD, 0, len(register.siblings), held, settled)
    if settled and row is not None and not value.is_folder:
        settled = row.executable == value.executable
    # A folder has no size, whatever a record claims.
    size = 0 if value.is_folder else value.size
    return Standing(int(value.kind), size, len(register.siblings), held, settled or ignored, ignored)


def needs(register: Register, row: Row | None) -> dict[bytes, bool]:
    """Return the contents of a path that must be kept wherever they are, and which of them nobody put in its place.

    These are the losing files, which wait for a copy, and the winner while it is not published here; True stands
    for a winner whose path has no row.
    """
    top, value = winner(register)
    found = {
        other.content: False
        for dot, other in register.siblings
        if dot != top and isinstance(other, Live) and not other.is_folder
    }
    if isinstance(value, Live) and not value.is_folder and not holds(register, row):
        found[value.content] = row is None
    return found


class Tally:
    """Totals and digests of all records; an empty index has an empty one."""

    def __init__(self) -> None:
        self._counts = [0] * _COUNTS

    @classmethod
    def parse(cls, text: str) -> Tally:
        """Return the tally that `text` gave."""
        tally = cls()
        counts = json.loads(text)
        tally._counts = [*counts, *[0] * (_COUNTS - len(counts))]
        return tally

    def text(self) -> str:
        """Return the tally as text: its numbers may be longer than a column of SQLite can be."""
        return json.dumps(self._counts)

    def copy(self) -> Tally:
        """Return a tally that can change by itself."""
        return Tally.parse(self.text())

    def add(self, key: bytes, path: Standing, sign: int = 1) -> None:
        """Count a record whose item has this key; with `sign` -1, do not count it any more."""
        counts = self._counts
        number = sign * int.from_bytes(key, "big")
        if path.ignored:
            counts[11] += sign
        else:
            self._add_wanted(path, sign)
        counts[7] += sign
        counts[8] = (counts[8] + number) % _MODULUS
        if path.holds:
            counts[9] += sign
            counts[10] = (counts[10] + number) % _MODULUS

    def _add_wanted(self, path: Standing, sign: int) -> None:
        counts = self._counts
        if path.kind == DEAD:
            counts[5] += sign
        else:
            counts[path.kind] += sign
            counts[2] += sign * path.size
            if not (path.holds or path.kind):
                counts[3] += sign
                counts[4] += sign * path.size
        if path.siblings > 1:
            counts[6] += sign

    def totals(self) -> Totals:
        """Return what a person wants to know."""
        files, folders, size, missing, missing_size, tombstones, conflicts = self._counts[:7]
        return Totals(files, folders, size, missing, missing_size, tombstones, conflicts, self._counts[11])

    def digests(self) -> tuple[SetDigest, SetDigest]:
        """Return what the tracker compares: the items that are known, and those that are held."""
        known, known_sum, held, held_sum = self._counts[7:11]
        return (
            SetDigest(known, known_sum.to_bytes(_DIGEST_BYTES, "big")),
            SetDigest(held, held_sum.to_bytes(_DIGEST_BYTES, "big")),
        )
