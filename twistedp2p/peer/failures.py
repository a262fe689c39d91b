"""What did not work: kept until it is over, said once in the log, and tried again after a while that grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twistedp2p.limits import RETRY_FIRST, RETRY_MOST, SAID_AGAIN, SAID_PATHS
from twistedp2p.peer.troubles import Code, Trouble

__all__ = ["Complaints", "Failures"]

_REMEMBERED = 10_000
"""Sentences that are remembered as said; with more of them, those that were over long ago are forgotten."""


class Complaints:
    """Decides what is worth a line in the log: what stands and was said is not said again.

    What concerns the whole peer is said once. Of what concerns single paths the first few are named, and that there
    are more. `seconds` is monotonic time.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._said: dict[str, float] = {}
        self._named: dict[Code, tuple[float, int]] = {}

    def line(self, path: str, trouble: Trouble) -> str | None:
        """Return what to say of a trouble, None if it was said; `path` is empty if it is of no single path."""
        now = self._seconds()
        alone = trouble.general or not path
        key = trouble.code.value if trouble.general else f"{path}: {trouble.text}"
        before = self._said.get(key, -inf)
        self._said[key] = now
        if now - before < SAID_AGAIN:
            return None
        self._forget(now)
        return trouble.text if alone else self._name(path, trouble, now)

    def _name(self, path: str, trouble: Trouble, now: float) -> str | None:
        since, count = self._named.get(trouble.code, (-inf, 0))
        if now - since >= SAID_AGAIN:
            since, count = now, 0
        self._named[trouble.code] = (since, count + 1)
        if count < SAID_PATHS:
            return f"{path}: {trouble.text}"
        return "More files have the same trouble: `twistedp2p status` lists them." if count == SAID_PATHS else None

    def _forget(self, now: float) -> None:
        if len(self._said) > _REMEMBERED:
            self._said = {key: at for key, at in self._said.items() if now - at < SAID_AGAIN}


class Failures:
    """What a peer's loop could not do.

    Args:
        clock: for trying again.
        again: called with a path that is to be tried again.
        complaints: knows what was said already, also by others.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, again: Callable[[str], None], complaints: Complaints | None = None) -> None:
        self._clock = clock
        self._again = again
        self._complaints = complaints or Complaints(clock.seconds)
        self._waits: dict[str, float] = {}
        self._timers: dict[str, IDelayedCall] = {}
        self._step_waits: dict[str, float] = {}
        self._stopped = False
        self.errors: dict[str, Trouble] = {}
        """What is wrong with single paths."""
        self.troubles: dict[str, Trouble] = {}
        """What is wrong with the peer as a whole, by what it can not do."""

    # -- one path -------------------------------------------------------------

    def failed(self, path: str, trouble: Trouble) -> None:
        """Note that something about a path did not work; it is tried again by itself."""
        self.errors[path] = trouble
        self._say(path, trouble)
        if path not in self._timers and not self._stopped:
            wait = self._waits[path] = min(2 * self._waits.get(path, RETRY_FIRST / 2), RETRY_MOST)
            self._timers[path] = self._clock.callLater(wait, self._due, path)

    def tried(self, path: str, finished: bool) -> None:
        """Note that a path was planned without an error; `finished`: and nothing is left to do about it."""
        self.errors.pop(path, None)
        if finished:
            self._waits.pop(path, None)

    def _due(self, path: str) -> None:
        del self._timers[path]
        self._again(path)

    # -- the peer as a whole ----------------------------------------------------

    def trouble(self, what: str, trouble: Trouble) -> None:
        """Note that the peer can not do `what`, a word of ours, for now."""
        self.troubles[what] = trouble
        self._say("", trouble)

    def over(self, what: str) -> None:
        """Note that the peer can do `what` again."""
        self.troubles.pop(what, None)
        self._step_waits.pop(what, None)

    def next_wait(self, what: str) -> float:
        """Return after how many seconds to try `what` again; more each time, until it is `over`."""
        wait = self._step_waits[what] = min(2 * self._step_waits.get(what, RETRY_FIRST / 2), RETRY_MOST)
        return wait

    def general(self, others: Iterable[Trouble] = ()) -> list[Trouble]:
        """Return what concerns the peer as a whole, each sort of it once; `others` may have more of it."""
        found: dict[str, Trouble] = {}
        for trouble in self.troubles.values():
            found.setdefault(trouble.code.value if trouble.general else trouble.text, trouble)
        for trouble in (*others, *self.errors.values()):
            if trouble.general:
                found.setdefault(trouble.code.value, trouble)
        return list(found.values())

    def stop(self) -> None:
        """Try nothing again."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _say(self, path: str, trouble: Trouble) -> None:
        line = self._complaints.line(path, trouble)
        if line is not None:
            self._log.warn("{text}", text=line)
