"""Whether the other side of a connection is still there: a machine that lost its power, or moved, says no goodbye."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twistedp2p import limits
from twistedp2p.framing.alarm import Alarm

__all__ = ["Liveness"]


class Liveness:
    """Watches one connection: tries it when it was silent for `limits.LINK_IDLE`, or when it is told to.

    Args:
        clock: tells the time.
        heard_at: tells when the last byte came: also a message that takes long to come is a sign of life.
        ping: asks the other side for a sign of life.
        dead: called when there is none in time; it ends the connection.
        busy: whether an answer is on its way to the other side. The question waits behind it, so it has longer then.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        heard_at: Callable[[], float],
        ping: Callable[[], object],
        dead: Callable[[], object],
        busy: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._ping = ping
        self._dead = dead
        self._busy = busy
        self._heard_at = heard_at
        self._waiting: list[Deferred[bool]] = []
        self._asked_at = 0.0
        self._idle = Alarm(clock, self._on_idle)
        self._no_answer = Alarm(clock, self._on_silence)

    def start(self) -> None:
        """Begin to watch: the conversation has begun."""
        self._idle.set(limits.LINK_IDLE)

    def heard(self) -> None:
        """A message arrived: who asked need not wait any longer."""
        if self._no_answer.is_set:
            self._no_answer.stop()
            self._answer(True)

    def check(self) -> Deferred[bool]:
        """Try the connection now; the result tells whether it lives, within `limits.LINK_CHECK` seconds."""
        result: Deferred[bool] = Deferred()
        self._waiting.append(result)
        if not self._no_answer.is_set:
            self._ask(limits.REPLY if self._busy() else limits.LINK_CHECK)
        return result

    def stop(self) -> None:
        """The connection is gone."""
        self._idle.stop()
        self._no_answer.stop()
        self._answer(False)

    def _on_idle(self) -> None:
        silent = self._clock.seconds() - self._heard_at()
        if 0 <= silent < limits.LINK_IDLE:
            self._idle.set(limits.LINK_IDLE - silent)
            return
        self._idle.set(limits.LINK_IDLE)
        # Who reads an answer need not say anything; if it does not read either, the connection ends by that.
        if not self._busy() and not self._no_answer.is_set:
            self._ask(limits.REPLY)

    def _ask(self, seconds: float) -> None:
        self._asked_at = self._clock.seconds()
        self._no_answer.set(seconds)
        self._ping()

    def _on_silence(self) -> None:
        alive = self._heard_at() > self._asked_at  # the answer may come behind something that is long
        if not alive:
            self._dead()
        self._answer(alive)

    def _answer(self, alive: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for result in waiting:
            result.callback(alive)
