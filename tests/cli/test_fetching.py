"""Fetching what a person names: with which priority, also when that is changed before or while it is listed."""

from __future__ import annotations

import os
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from tests.seeds.test_sender import Receiver
from tests.transfer.files.serving import ServingTestCase
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.cli.fetching import Fetching
from twistedp2p.cli.interruptible import NOTHING
from twistedp2p.cli.moving import moving_on
from twistedp2p.errors import NoSuchFile
from twistedp2p.transfer.files.client import FilesClient, Server
from twistedp2p.transfer.files.downloads import Taken
from twistedp2p.transfer.files.fair import Priority


class PriorityTests(ServingTestCase):
    """Priorities of what is fetched."""

    def setUp(self) -> None:
        """Begin to fetch into the folder `to`."""
        super().setUp()
        for name in ("a", "b"):
            for number in range(3):
                self.write(f"{name}/{number}", os.urandom(limits.SMALL_FILE_BYTES + 1))
        network = self.hub.network(device(2), "10.0.0.2")
        client = FilesClient(network, Server.of(self.invite()), entropy=bytes, random=Random(1))
        self.addCleanup(client.close)
        moving = moving_on("fetched", as_json=False, quiet=True)
        session = Receiver(self.hub.clock, client)
        self.fetching = Fetching(session, self.root.parent / "to", moving, taken=Taken.FAIL)
        self.addCleanup(self.fetching.disk.close)
        self.got: dict[str, Priority] = {}
        downloads = self.fetching._downloads
        add = downloads.add

        async def noted(entry: Any, target: Any, priority: Priority = Priority.NORMAL) -> None:
            if not entry.folder:
                self.got[entry.path] = priority
            await add(entry, target, priority)

        self.patch(downloads, "add", noted)

    def begin(self, *paths: str) -> Deferred[None]:
        """Begin to fetch paths one after the other, as `get` does; nothing is delivered yet."""

        async def work() -> None:
            for path in paths:
                await self.fetching.add(path, Priority.LOW)
            await self.fetching.finish()

        return ensureDeferred(work())

    def test_as_it_was_asked(self) -> None:
        """All that is in a folder has the priority that it was asked for with."""
        self.wait(self.begin("a"))
        self.assertEqual(self.got, {f"a/{number}": Priority.LOW for number in range(3)})
        self.assertFalse(self.fetching.set_priority("a", Priority.HIGH), "nothing of it is still to come")

    def test_before_it_is_listed(self) -> None:
        """A priority that is changed before a folder is listed holds for it, and for a part of it the nearest one."""
        fetching = self.begin("a", "b")
        self.assertTrue(self.fetching.set_priority("a/1", Priority.CRITICAL))
        self.assertFalse(self.fetching.set_priority("b", Priority.HIGH), "it is not known yet")
        self.wait(fetching)
        self.assertEqual(
            self.got,
            {"a/0": Priority.LOW, "a/1": Priority.CRITICAL, "a/2": Priority.LOW}
            | {f"b/{number}": Priority.HIGH for number in range(3)},
        )

    def test_of_everything(self) -> None:
        """What is said of everything holds for all that is asked for, whatever was said before."""
        fetching = self.begin("a", "b")
        self.fetching.set_priority("b/1", Priority.CRITICAL)
        self.assertTrue(self.fetching.set_priority("", Priority.HIGH))
        self.wait(fetching)
        self.assertEqual(set(self.got.values()), {Priority.HIGH})
        self.assertEqual(self.fetching.status, 0)

    def test_what_is_not_there(self) -> None:
        """Who finds hears that nothing is there, and who adds goes on, with an exit status that says so."""
        self.failureResultOf(self.pumped(ensureDeferred(self.fetching.find("c", Priority.LOW))), NoSuchFile)
        self.assertEqual(self.fetching.status, 0)
        self.wait(self.begin("c", "a"))
        self.assertEqual(self.fetching.status, NOTHING)
        self.assertEqual(len(self.got), 3)

    def pumped(self, result: Deferred[None]) -> Deferred[None]:
        """Deliver all there is, and return the result."""
        self.hub.pump()
        return result
