"""A port whose process can open no more files."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.framing.patience import Patience
from twistedp2p.limits import ACCEPT_AGAIN


class Port:
    """As much of a port as is needed; notes what is done with it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.connected = True
        self.disconnecting = False
        self.numberAccepts = 100
        self._caller = -1

    def doRead(self) -> None:
        """Accept somebody: that takes a file."""
        self.events.append(f"accept {self.numberAccepts}")
        self.hang_up()
        self._caller = os.dup(0)

    def hang_up(self) -> None:
        """Let go of who was accepted last."""
        if self._caller >= 0:
            os.close(self._caller)
        self._caller = -1

    def stopReading(self) -> None:
        """Be not asked any more."""
        self.events.append("stop")

    def startReading(self) -> None:
        """Be asked again."""
        self.events.append("start")


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


class PatienceTests(SynchronousTestCase):
    """What the reactor's asking leads to."""

    def setUp(self) -> None:
        self.port = Port()
        self.addCleanup(self.port.hang_up)
        self.clock = Clock()
        self.told: list[int | None] = []

    def patience(self, **options: Any) -> Patience:
        """Watch over the port."""
        made = Patience(
            cast(Any, self.port),
            self.clock,
            lambda error: self.told.append(None if error is None else error.errno),
            **options,
        )
        self.addCleanup(made.close)
        return made

    def test_accepts(self) -> None:
        """As long as files can be opened callers are accepted one by one, and nothing is said."""
        self.patience()
        self.port.doRead()
        self.port.doRead()
        self.assertEqual((self.port.events, self.told), (["accept 1"] * 2, []))

    def test_waits(self) -> None:
        """When none can be opened the port rests, that is told once, and it is asked again when one can."""
        self.patience()
        with no_more_files():
            self.port.doRead()
            self.clock.pump([ACCEPT_AGAIN] * 5)
        self.assertEqual((self.port.events, self.told), (["stop"], [errno.EMFILE]))
        self.clock.advance(ACCEPT_AGAIN)
        self.assertEqual((self.port.events, self.told), (["stop", "start"], [errno.EMFILE, None]))
        self.port.doRead()
        self.assertEqual(self.port.events[2:], ["accept 1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reserve(self) -> None:
        """A port with a file kept back can accept one caller all the same, and another one once it got that back."""
        self.patience(reserve=True)
        with no_more_files():
            self.port.doRead()
            self.assertEqual(self.port.events, ["accept 1"])
            self.port.doRead()
            self.assertEqual(self.port.events, ["accept 1", "stop"])
            self.port.hang_up()
            self.clock.advance(ACCEPT_AGAIN)
            self.port.doRead()
        self.assertEqual(self.port.events, ["accept 1", "stop", "start", "accept 1"])

    def test_end(self) -> None:
        """A port that was closed meanwhile is not asked again, and the file that was kept back is let go."""
        before = os.listdir("/proc/self/fd")
        made = self.patience(reserve=True)
        made.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), len(before))
        with no_more_files():
            self.port.doRead()
        self.port.connected = False
        self.clock.advance(ACCEPT_AGAIN)
        self.assertEqual((self.port.events, self.clock.getDelayedCalls()), (["stop"], []))

    def test_says_it_in_words(self) -> None:
        """By default the log has a sentence that says what to do."""
        Patience(cast(Any, self.port), self.clock)
        with capturedLogs() as logged:
            with no_more_files():
                self.port.doRead()
            self.clock.advance(ACCEPT_AGAIN)
        full, over = map(formatEvent, logged)
        self.assertIn("too many files are open in this process. Raise its limit", full)
        self.assertEqual(over, "Callers are taken again")

    def test_other_ports(self) -> None:
        """A port that does not accept connections itself, as in a test, is left alone."""
        Patience(cast(Any, object()), self.clock, reserve=True).close()
