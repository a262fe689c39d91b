"""Whether this machine is still where it was: a laptop moves to another network, sleeps, or loses its network.

Nobody tells a program of that, and a connection that leads nowhere looks like a silent one. So it is looked at every
few seconds; nothing is sent for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twistedp2p.framing.admission import is_local
from twistedp2p.framing.alarm import Alarm
from twistedp2p.limits import WHEREABOUTS
from twistedp2p.messages.tracker import Address

__all__ = ["Whereabouts"]

_SLEPT = 3.0
"""So many intervals without a look: this machine slept."""


class Whereabouts:
    """Looks at the own addresses and at the time, from `start` to `stop`.

    Args:
        clock: tells the time.
        wall: seconds since 1970; unlike the clock of some systems it goes on while the machine sleeps.
        addresses: where others reach this peer at the moment.
        moved: called when they are others than before: every connection from the old ones is dead.
        returned: called when the machine slept, or its network was gone: connections may be dead.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        addresses: Callable[[], Sequence[Address]],
        moved: Callable[[], object],
        returned: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._addresses = addresses
        self._moved = moved
        self._returned = returned
        self._here: tuple[Address, ...] = ()
        self._gone = False
        self._looked_at = 0.0
        self._next = Alarm(clock, self._look_and_go_on)

    def start(self) -> None:
        """Begin with where this machine is now."""
        self._here = tuple(self._addresses())
        self._gone = False
        self._looked_at = self._wall()
        self._next.set(WHEREABOUTS)

    def stop(self) -> None:
        """Look no more."""
        self._next.stop()

    def _look_and_go_on(self) -> None:
        self._next.set(WHEREABOUTS)
        # An exception must not end the looking.
        with self._log.failuresHandled("Looking for the own addresses failed"):
            self._look()

    def _look(self) -> None:
        now = self._wall()
        slept = now - self._looked_at > _SLEPT * WHEREABOUTS
        self._looked_at = now
        here = tuple(self._addresses())
        if _nowhere(here) and not _nowhere(self._here):
            self._gone = True  # it may come back as it was, and connections with it
            return
        back = self._gone or slept
        self._gone = False
        if here != self._here:
            self._log.info(
                "This machine is reached at {places} now", places=", ".join(address.host for address in here) or "none"
            )
            self._here = here
            self._moved()
        elif back:
            self._log.info("This machine slept, or its network was gone; trying its connections")
            self._returned()


def _nowhere(addresses: Sequence[Address]) -> bool:
    """Whether no other machine can reach these."""
    return all(is_local(address.host) for address in addresses)
