"""The share's list of what is ignored comes first: what a peer may take and plan while that is not here yet.

Else the files of one who joins would become versions that the share ignores. It may be that nobody alive has the list,
so planning waits for `limits.IGNORE_WAIT` at most; what lies in the folder of one who joins waits until the list is
here, or a list of its own is saved.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twistedp2p.limits import IGNORE_WAIT
from twistedp2p.peer.ignore import IGNORE_NAME
from twistedp2p.peer.relisting import Relisting

__all__ = ["FirstList"]


class FirstList:
    """What waits for the list; `late` is called when some of it waits no longer."""

    def __init__(self, clock: IReactorTime, ignores: Relisting, late: Callable[[], None]) -> None:
        self._clock = clock
        self._ignores = ignores
        self._late = late
        self._is_late = False
        self._timer: IDelayedCall | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing but the list may be taken and planned."""
        return self._ignores.waits and not self._is_late

    @property
    def held_back(self) -> bool:
        """Whether what lies in the folder is not taken before the list is here, however long that is."""
        return self._ignores.waits and self._ignores.first

    def may_take(self, path: str) -> bool:
        """Whether what lies at `path` may become a version now."""
        return path == IGNORE_NAME or not (self.alone or self.held_back)

    def mind(self) -> None:
        """Begin to count the time, if there is something to wait for."""
        if self._ignores.waits and self._timer is None and not self._is_late:
            self._timer = self._clock.callLater(IGNORE_WAIT, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer, self._is_late = None, True
        self._late()

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._is_late = None, True
