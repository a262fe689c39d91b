"""What this peer has told the tracker, and what it must tell next: batches, acknowledgements, digests. Pure.

A batch is one snapshot of the committed index: everything that differs from what was last said. Batches are
numbered within one start of the process; the first of a start is full. Those not acknowledged are sent
again after a break, in order; the tracker's last applied number makes that idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twistedp2p.tracker.batch import Batch
from twistedp2p.tracker.digest import Digest

__all__ = ["Announcer"]


class Announcer:
    """Turns changes of the index into batches.

    `current` gives the committed item of a path: (key, whether its content is held), or None if nothing is known;
    `number_of` the tracker's number of a key in this epoch, or None; `everything` all paths with a record.
    """

    def __init__(
        self,
        current: Callable[[str], tuple[bytes, bool] | None],
        number_of: Callable[[bytes], int | None],
        everything: Callable[[], Iterable[str]],
    ) -> None:
        self._current = current
        self._number_of = number_of
        self._everything = everything
        self._said: dict[str, tuple[bytes, bool]] = {}
        self._changed: set[str] = set()
        self._unacknowledged: list[Batch] = []
        self._number = 0
        self._full = True
        self._by_key = False
        self._whole = False
        self.known = Digest()
        self.held = Digest()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to say and nothing on its way."""
        return not (self._full or self._changed or self._unacknowledged)

    @property
    def said_everything(self) -> bool:
        """Whether every committed change is in a batch, acknowledged or not."""
        return not (self._full or self._changed)

    def untold(self) -> list[str]:
        """Return the paths whose committed change is in no batch yet; any thread may ask."""
        return list(self._changed)

    def is_told(self, path: str) -> bool:
        """Whether the tracker has applied what is committed at `path`; any thread may ask."""
        item = self._current(path)
        if item is None:
            return True
        if self._full or path in self._changed or self._said.get(path) != item:
            return False
        names = (item[0], self._number_of(item[0]))
        return not any(name in (*batch.known, *batch.held) for batch in [*self._unacknowledged] for name in names)

    def changed(self, paths: Iterable[str]) -> None:
        """Note that the records or rows of these paths were committed."""
        self._changed.update(paths)

    def welcome(self, last_applied: int, new_epoch: bool) -> list[Batch]:
        """Begin a session; return the batches to send again, in order, once the target is reached."""
        self._unacknowledged = [batch for batch in self._unacknowledged if batch.number > last_applied]
        first = self._unacknowledged[0].number if self._unacknowledged else self._number + 1
        if new_epoch or last_applied == 0 or first > last_applied + 1:
            self.say_all()
        return list(self._unacknowledged)

    def say_all(self, by_key: bool = False, whole: bool = False) -> None:
        """Make the next batch full: what the tracker has of this peer differs, or it lost it.

        `by_key`: numbers can not be trusted. `whole`: a mere reference was not understood.
        """
        self._full = True
        self._by_key = self._by_key or by_key
        self._whole = self._whole or whole
        self._unacknowledged.clear()

    def next(self) -> Batch | None:
        """Return the next batch to send, or None if there is nothing new to say."""
        batch = self._full_batch() if self._full else self._news()
        if batch is not None:
            self._unacknowledged.append(batch)
        return batch

    def acknowledged(self, number: int) -> list[bytes]:
        """Note that the tracker has applied that batch and all before it.

        Returns the keys of that batch's items by key, in the order of the numbers that they were given.
        """
        keys = [key for batch in self._unacknowledged if batch.number == number for key in batch.new_keys()]
        self._unacknowledged = [batch for batch in self._unacknowledged if batch.number > number]
        return keys

    def _reference(self, key: bytes) -> bytes | int:
        number = None if self._by_key else self._number_of(key)
        return key if number is None else number

    def _full_batch(self) -> Batch:
        self._said.clear()
        self._changed.clear()
        self.known, self.held = Digest(), Digest()
        known: list[bytes] = []
        held: list[bytes] = []
        for path in self._everything():
            item = self._current(path)
            if item is not None:
                self._say(path, item)
                (held if item[1] else known).append(item[0])
        reference = None if self._whole else (self.known.value(), self.held.value())
        self._number += 1
        batch = Batch(
            number=self._number,
            full=True,
            known=tuple(self._reference(key) for key in sorted(known)),
            held=tuple(self._reference(key) for key in sorted(held)),
            gone=(),
            reference=reference,
        )
        self._full = self._by_key = self._whole = False
        return batch

    def _news(self) -> Batch | None:
        known: list[bytes] = []
        held: list[bytes] = []
        gone: list[bytes] = []
        for path in sorted(self._changed):
            before, item = self._said.get(path), self._current(path)
            if item == before:
                continue
            if before is not None and (item is None or item[0] != before[0]):
                gone.append(before[0])
            self._say(path, item)
            if item is not None:
                (held if item[1] else known).append(item[0])
        self._changed.clear()
        if not (known or held or gone):
            return None
        self._number += 1
        return Batch(
            number=self._number,
            full=False,
            known=tuple(self._reference(key) for key in known),
            held=tuple(self._reference(key) for key in held),
            gone=tuple(self._reference(key) for key in gone),
            reference=None,
        )

    def _say(self, path: str, item: tuple[bytes, bool] | None) -> None:
        before = self._said.pop(path, None)
        if before is not None:
            self.known.remove(before[0])
            if before[1]:
                self.held.remove(before[0])
        if item is not None:
            self._said[path] = item
            self.known.add(item[0])
            if item[1]:
                self.held.add(item[0])
