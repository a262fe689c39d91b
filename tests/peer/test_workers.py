"""The threads of a peer."""

from __future__ import annotations

from threading import Event

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from twistedp2p.peer.workers import ThreadWorkers


class ThreadWorkersTests(TestCase):
    """Real threads."""

    timeout = 30

    def setUp(self) -> None:
        self.workers = ThreadWorkers(reactor)  # type: ignore[arg-type]
        self.workers.start()
        self.addCleanup(self.workers.stop)

    async def test_when_read(self) -> None:
        """It fires at once if nothing runs, else when all of it has ended, also what nobody waits for any more."""
        await self.workers.when_read()
        may_end, begun = Event(), Event()
        self.addCleanup(may_end.set)
        ended: list[str] = []

        def work() -> None:
            begun.set()
            may_end.wait()
            ended.append("work")

        given_up = self.workers.bulk(work)
        begun.wait()
        failing = self.workers.bulk(int, "no number")
        await self.assertFailure(failing, ValueError)
        given_up.cancel()
        await self.assertFailure(given_up, CancelledError)
        waiting = self.workers.when_read()
        self.assertNoResult(waiting)
        may_end.set()
        await waiting
        self.assertEqual(ended, ["work"])
