"""Listening while no more files can be opened: callers wait until one can, and the processor rests meanwhile.

A port with a caller that can not be accepted is ready at once again, for ever. Twisted hangs up on callers then, which
call again, or asks again and again if even that is not possible.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from twistedp2p.limits import ACCEPT_AGAIN

__all__ = ["Patience"]

_SENTENCES = {
    errno.EMFILE: (
        "Nobody can connect: too many files are open in this process. Raise its limit (ulimit -n, or LimitNOFILE= of "
        "a service) and start it again; callers wait, and are taken as soon as one file can be opened."
    ),
    errno.ENFILE: (
        "Nobody can connect: too many files are open on this machine. Close programs, or raise fs.file-max with "
        "sysctl; callers wait, and are taken as soon as one file can be opened."
    ),
}


class Patience:
    """Watches over one port from `listen` on, for as long as that listens.

    Args:
        port: a port of Twisted's that accepts connections; others are left alone.
        clock: monotonic time.
        told: called with the error when no more files can be opened, and with None when they can; by default that is
            said in the log.
        reserve: keep one file back for a caller, so that somebody can ask what is wrong.
    """

    _log = Logger()

    def __init__(
        self,
        port: IListeningPort,
        clock: IReactorTime,
        told: Callable[[OSError | None], None] | None = None,
        *,
        reserve: bool = False,
    ) -> None:
        self._port = cast(Any, port)
        self._clock = clock
        self._told = self._say if told is None else told
        self._reserves = reserve
        self._reserved: int | None = None
        self._full = False
        accept: Callable[[], None] | None = getattr(port, "doRead", None)
        if accept is not None:
            self._accept = accept
            self._port.doRead = self._may_accept
            self._keep_back()

    def close(self) -> None:
        """Let go of the file that is kept back: the port listens no longer."""
        self._reserves = False
        self._let_go()

    def _may_accept(self) -> None:
        """Accept one caller if that is possible; the reactor calls this."""
        # One at a time: the next one may be one too many.
        self._port.numberAccepts = 1
        error = _why_not()
        if error is None or self._reserved is not None:
            if error is not None:
                self._let_go()
            self._accept()
            self._keep_back()
            return
        self._port.stopReading()
        if not self._full:
            self._full = True
            self._told(error)
        self._clock.callLater(ACCEPT_AGAIN, self._again)

    def _again(self) -> None:
        if self._port.disconnecting or not self._port.connected:
            return
        if _why_not() is not None:
            self._clock.callLater(ACCEPT_AGAIN, self._again)
            return
        self._full = False
        self._told(None)
        self._keep_back()
        self._port.startReading()

    def _keep_back(self) -> None:
        if self._reserves and self._reserved is None:
            try:
                self._reserved = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:  # the next caller is one too many, unless somebody has left by then
                return

    def _let_go(self) -> None:
        reserved, self._reserved = self._reserved, None
        if reserved is not None:
            os.close(reserved)

    def _say(self, error: OSError | None) -> None:
        if error is not None:
            self._log.warn("{text}", text=_SENTENCES[error.errno or errno.EMFILE])
        else:
            self._log.info("Callers are taken again")


def _why_not() -> OSError | None:
    """Return why no file can be opened, as far as there are too many; None if one can."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error if error.errno in _SENTENCES else None
    return None
