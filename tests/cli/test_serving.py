"""A folder whose disk comes and goes while a process begins to serve it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from twistedp2p.cli.serving import Serving, Wish
from twistedp2p.errors import FolderUnusable
from twistedp2p.home import Home
from twistedp2p.peer.options import PeerOptions


class StepsReactor:
    """The reactor, with threads that run what they are given at once; `before` is called with the number of each."""

    def __init__(self, before: Callable[[int], object]) -> None:
        self._before = before
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def getThreadPool(self) -> StepsReactor:
        """Return the pool that has those threads."""
        return self

    def callInThreadWithCallback(
        self, heard: Callable[[bool, Any], object], call: Callable[..., Any], *args: Any
    ) -> None:
        """Run `call`; `heard` gets whether it did not fail, and what came of it."""
        self._before(self._number)
        self._number += 1
        try:
            result = call(*args)
        except BaseException:
            heard(False, Failure())
        else:
            heard(True, result)


class AwayTests(TestCase):
    """Whenever the folder comes back, it is served with the tracker of its share, or not yet."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        self.base = Path(tempfile.mkdtemp(prefix="tp2p-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.folder, self.away = self.base / "folder", self.base / "away"
        self.steps = 0

        def count(number: int) -> None:
            self.steps = number + 1

        first = self.serving(count, begins=True)
        await first.start()
        await first.stop()

    def serving(self, before: Callable[[int], object], *, begins: bool = False) -> Serving:
        """Return what will serve the folder; `before` is called before each of its steps in a thread."""
        options = PeerOptions(self.folder, Home(self.base / "home"), advertise="127.0.0.1")
        return Serving(StepsReactor(before), Wish(options, begins=begins))

    async def begin(self, away: int, back: int) -> str:
        """Begin to serve the folder, which is away from one step until another; return what came of it."""

        def move(number: int) -> None:
            if number == away:
                self.folder.rename(self.away)
            if number == back:
                self.away.rename(self.folder)

        serving = self.serving(move)
        try:
            await serving.start()
        except FolderUnusable:
            if self.away.exists():
                self.away.rename(self.folder)
            return "not served"
        told = "served" if serving.tracker is None else "served with its tracker"
        await serving.stop()
        return told

    async def test_stays(self) -> None:
        """A folder that is there all the time is served with the tracker of its share."""
        self.assertEqual(await self.begin(self.steps, self.steps), "served with its tracker")

    async def test_comes_back(self) -> None:
        """A folder that comes back between two looks is not served yet: what was read of it may be nothing."""
        for back in range(1, self.steps + 1):
            self.assertEqual(await self.begin(0, back), "not served", back)
        self.assertEqual(await self.begin(0, 0), "served with its tracker")

    async def test_goes_for_a_moment(self) -> None:
        """Nor is one that goes after the first look, and is back before the last."""
        for away in range(1, self.steps):
            for back in range(away + 1, self.steps + 1):
                self.assertEqual(await self.begin(away, back), "not served", (away, back))
        self.assertEqual(await self.begin(0, 0), "served with its tracker")
