"""A reactor whose timers do not depend on the clock on the wall.

Twisted's reactors take their time from `time.time`. When that clock is set back by an hour, as a machine without a
battery for it may do long after its start, every timer that is pending waits for an hour more: keep-alives, back-offs,
quiet files. The time since the machine was started only goes on; on Linux it counts sleep too, so that what is due when
a laptop wakes up is done at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["keep_steady", "since_boot"]


since_boot: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Returns seconds since the machine was started, with those that it slept where the system tells.

No function of ours is in between: a reactor asks for the time more than once for every few bytes.
"""


def keep_steady(reactor: Any, seconds: Callable[[], float] = since_boot) -> bool:
    """Let `reactor` take its time from `seconds`, which only goes on; return whether it does.

    It does not if timers are pending, which were set by another time: whoever began before is left alone.
    """
    if reactor.seconds is seconds:
        return True
    if reactor.getDelayedCalls():
        return False
    reactor.seconds = seconds
    return True
