"""All connections of one echo server: how many there may be, which of them are idle, and how they end together.

1. Whoever comes is counted, in all and, if that was asked for, for each address.
2. When all places are taken the ports stop accepting, so that the system keeps the next callers waiting. Those that
   were accepted in the same turn of the reactor wait here, unread, until somebody leaves.
3. One sweep over all connections finds those on which nothing moved: a timer for each would cost more than the echo.
4. At the end each connection goes on until it is silent. One that is not for ECHO_GRACE is told that nothing more
   comes (a half-close), and what is left at ECHO_STOP is broken off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from twistedp2p.echo.counters import Counters
from twistedp2p.framing.alarm import Alarm
from twistedp2p.limits import ECHO_CONNECTIONS, ECHO_GRACE, ECHO_HELD, ECHO_IDLE, ECHO_IDLE_STEPS, ECHO_QUIET, ECHO_STOP

__all__ = ["Client", "Crowd"]


class Client(Protocol):
    """One connection, as the crowd sees it."""

    heard: bool
    """Something moved since the last sweep; the crowd puts it back."""
    silent: int
    """How many sweeps found that nothing moved; the crowd counts it."""
    paused: bool
    """It is owed more than its buffer takes, and is not read from."""

    def begin(self) -> None:
        """Serve it from now on."""

    def hold(self) -> None:
        """Let it wait: read nothing."""

    def finish(self) -> None:
        """Close it when what it is owed is sent."""

    def cut(self) -> None:
        """Send what it is owed and nothing more; what it still says is read and dropped."""

    def abort(self) -> None:
        """Break it off."""


class Crowd:
    """Counts and limits the connections of a server; its Deferreds and timers live on `clock`.

    Args:
        clock: the time; without it nothing is ever idle, and an end is at once.
        most: connections at once.
        per_address: connections from one address; None: as many as there may be in all. It binds callers of this
            machine as well: who says a limit wants it.
        idle: seconds after which a connection on which nothing moves is closed; None: never. It may take an eighth
            longer.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime | None = None,
        most: int = ECHO_CONNECTIONS,
        per_address: int | None = None,
        idle: float | None = ECHO_IDLE,
    ) -> None:
        self.counters = Counters()
        self.gate: Callable[[bool], object] = lambda wide: None
        """Is told False when no more can be taken, and True when there is room again."""
        self._clock = clock
        self._most = most
        self._per_address = per_address
        self._idle = idle
        self._clients: dict[Client, str] = {}
        self._held: dict[Client, str] = {}
        self._from: Counter[str] = Counter()
        self._sweeping = None if clock is None or idle is None else Alarm(clock, self._sweep)
        self._wide = True
        self._stopping: Alarm | None = None
        self._stopped: list[Deferred[None]] = []
        self._ended_at = 0.0

    def arrive(self, client: Client, host: str) -> None:
        """Take in a client from `host`, "" for a UNIX socket; calls its `begin`, `hold` or `abort`."""
        full = len(self._clients) >= self._most
        crowded = self._per_address is not None and bool(host) and self._from[host] >= self._per_address
        if self._stopped or crowded or (full and len(self._held) >= ECHO_HELD):
            self.counters.turned_away += 1
            client.abort()
            return
        self._from[host] += 1
        if full:
            self.counters.waited += 1
            self._held[client] = host
            client.hold()
            self.gate(False)  # again: who rested because no more files could be opened may have begun anew
        else:
            self._admit(client, host)

    def leave(self, client: Client, broken: bool) -> None:
        """A connection is gone; `broken` unless one of the two closed it. Harmless for one that was turned away."""
        was_served = client in self._clients
        host = self._clients.pop(client, None) if was_served else self._held.pop(client, None)
        if host is None:
            return
        self._from[host] -= 1
        if not self._from[host]:
            del self._from[host]
        if was_served:
            self.counters.now -= 1
            self.counters.lost += broken
        if self._stopped:
            self._end_if_empty()
        else:
            self._admit_held()

    def stop(self) -> Deferred[None]:
        """Let all connections end; the Deferred fires when they have. It takes ECHO_STOP seconds at most."""
        for client in list(self._held):
            client.abort()
        if not self._clients:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._stopped.append(ended)
        if self._clock is None:
            for client in list(self._clients):
                client.finish()
        elif self._stopping is None:
            self._ended_at = self._clock.seconds()
            self._stopping = Alarm(self._clock, self._end_the_silent)
            # What a client said a moment ago may not be read yet.
            for client in self._clients:
                client.heard = True
            self._stopping.set(ECHO_QUIET)
        return ended

    # -- places ---------------------------------------------------------------

    def _admit(self, client: Client, host: str) -> None:
        counters = self.counters
        self._clients[client] = host
        counters.came += 1
        counters.now += 1
        counters.most = max(counters.most, counters.now)
        client.begin()
        if self._sweeping is not None and not self._sweeping.is_set and self._idle is not None:
            self._sweeping.set(self._idle / ECHO_IDLE_STEPS)
        self._open_or_close()

    def _admit_held(self) -> None:
        while self._held and len(self._clients) < self._most:
            client = next(iter(self._held))
            self._admit(client, self._held.pop(client))
        self._open_or_close()

    def _open_or_close(self) -> None:
        wide = len(self._clients) < self._most
        if wide is not self._wide:
            self._wide = wide
            self.gate(wide)

    # -- idle -------------------------------------------------------------------

    def _sweep(self) -> None:
        for client in list(self._clients):
            if client.heard:
                client.heard = False
                client.silent = 0
                continue
            client.silent += 1
            if client.silent == ECHO_IDLE_STEPS:
                self.counters.idle += 1
                client.finish()
            elif client.silent > ECHO_IDLE_STEPS:
                client.abort()
        if self._clients and self._sweeping is not None and self._idle is not None:
            self._sweeping.set(self._idle / ECHO_IDLE_STEPS)

    # -- the end ------------------------------------------------------------------

    def _end_the_silent(self) -> None:
        assert self._clock is not None and self._stopping is not None
        since = self._clock.seconds() - self._ended_at
        for client in list(self._clients):
            if since >= ECHO_STOP:
                client.abort()
            elif since >= ECHO_GRACE:
                client.cut()
            elif client.heard or client.paused:
                client.heard = False
            else:
                client.finish()
        # An aborted connection is gone in the next turn of the reactor.
        if self._clients and since < ECHO_STOP:
            self._stopping.set(ECHO_QUIET)

    def _end_if_empty(self) -> None:
        if self._clients:
            return
        for alarm in (self._stopping, self._sweeping):
            if alarm is not None:
                alarm.stop()
        ended, self._stopped = self._stopped, []
        for deferred in ended:
            deferred.callback(None)
