"""A peer as a service, on the real reactor, disk and sockets: resting and going on."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from twistedp2p.errors import FolderBusy, TwistedP2PError
from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite
from twistedp2p.peer.folder.inotify import no_watches
from twistedp2p.peer.options import PeerOptions
from twistedp2p.peer.service import PeerService
from twistedp2p.tracker.service import TrackerService

LOOPBACK = "tcp:0:interface=127.0.0.1"


async def until(condition: Callable[[], object]) -> None:
    """Let the reactor run until this is so; the test's own time limit ends what never is."""
    while not condition():
        await deferLater(reactor, 0.01)


class PauseTests(TestCase):
    """Three peers and a tracker in this process."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        self.base = Path(tempfile.mkdtemp(prefix="p2p-"))
        self.addCleanup(shutil.rmtree, self.base)
        self.tracker = TrackerService(home=self.base / "tracker", reactor=reactor, listen=[LOOPBACK])
        address = await self.tracker.start_listening()
        assert address is not None
        self.tracker.startService()
        self.addCleanup(self.tracker.stopService)
        self.invite = Invite(bytes(range(16)), (address,))

    def service(self, name: str, **options: Any) -> PeerService:
        """Return a peer that is stopped when the test ends."""
        listen = options.pop("listen", (LOOPBACK,))
        home = Home(self.base / f"home of {name}")
        service = PeerService(
            reactor, PeerOptions(self.base / name, home, invite=self.invite, name=name, listen=listen, **options)
        )
        self.addCleanup(service.stopService)
        return service

    async def started(self, name: str, **options: Any) -> PeerService:
        """Return a peer that others can reach."""
        service = self.service(name, **options)
        service.prepare()
        await service.start()
        return service

    async def arrived(self, name: str, file: str) -> None:
        """Wait until a peer's folder has this file."""
        await until(lambda: self.there(name, file))

    def there(self, name: str, file: str) -> bool:
        """Return whether a peer's folder has this file."""
        return (self.base / name / file).exists()

    async def test_folders_that_can_not_be_watched(self) -> None:
        """The limit of watches stands in the status for as long as it holds, with the setting to raise."""
        one = await self.started("one")
        await until(lambda: one.status()["in_sync"])
        one.limited(no_watches())
        (error,) = one.status()["errors"]
        self.assertEqual((error["path"], error["code"]), ("", "too-many-watches"))
        self.assertIn("fs.inotify.max_user_watches", error["text"])
        self.assertIn("every 60 minutes", error["text"])
        one.limited("")
        self.assertEqual(one.status()["errors"], [])

    async def test_nothing_travels(self) -> None:
        """A paused peer is gone for the others, takes nothing and gives nothing; resumed, it does both."""
        one, two, three = [await self.started(name) for name in ("one", "two", "three")]
        await until(lambda: all(peer.status()["in_sync"] for peer in (one, two, three)))
        await two.pause()
        self.assertEqual(self.tracker.counters.peers, 2)
        (self.base / "one" / "from one").write_text("1")
        (self.base / "two" / "from two").write_text("2")
        await until(lambda: self.there("three", "from one"))
        status = two.status()
        self.assertEqual((status["state"], status["in_sync"], status["peers"]), ("paused", False, []))
        self.assertFalse(self.there("two", "from one") or self.there("one", "from two"))
        await two.resume()
        await until(lambda: self.there("two", "from one") and self.there("one", "from two"))
        await until(lambda: two.status()["in_sync"])
        self.assertIsNone(two.status()["paused_since"])
        self.assertEqual(self.tracker.counters.peers, 3)

    async def test_changes(self) -> None:
        """Who reads the changes of a folder hears what is saved there and what comes, over pauses, until the end."""
        one, two = [await self.started(name) for name in ("one", "two")]
        heard: list[tuple[str, str, str]] = []

        async def listen() -> str:
            async for change in two.changes():
                heard.append((change.what.value, change.path, change.by.value))
            return "over"

        listening = Deferred.fromCoroutine(listen())
        (self.base / "one" / "from one").write_text("1")
        await until(lambda: ("added", "from one", "others") in heard)
        await two.pause()
        (self.base / "one" / "from one").unlink()
        (self.base / "two" / "from two").write_text("2")
        await until(lambda: one.status()["in_sync"])
        self.assertEqual(len(heard), 1)
        await two.resume()
        await until(lambda: len(heard) == 3)
        self.assertEqual(sorted(heard[1:]), [("added", "from two", "here"), ("removed", "from one", "others")])
        await two.stopService()
        self.assertEqual(await listening, "over")

    async def test_started_again(self) -> None:
        """After it was stopped it can be started again, more than once: it is in sync, and its changes are read."""
        one, two = [await self.started(name) for name in ("one", "two")]
        for turn in ("first", "second"):
            await until(lambda: one.status()["in_sync"] and two.status()["in_sync"])
            await two.stopService()
            self.assertFalse(two.running)
            (self.base / "one" / turn).write_text(turn)
            (self.base / "two" / f"{turn} of two").write_text(turn)
            self.assertIsNone(await two.changes().next())
            two.startService()
            change = two.changes().next()
            await self.arrived("two", turn)
            await self.arrived("one", f"{turn} of two")
            found = await change
            assert found is not None
            self.assertIn(found.path, (turn, f"{turn} of two"))
        self.assertEqual(self.tracker.counters.peers, 2)

    async def test_not_started_while_it_ends(self) -> None:
        """As long as it ends it can not be started again, and says so; it ends all the same."""
        one = await self.started("one")
        ending = one.stopService()
        self.assertRaisesRegex(FolderBusy, "still served", one.startService)
        await ending
        one.startService()
        await until(lambda: one.status()["in_sync"])

    async def test_paused_and_started_again(self) -> None:
        """One that was paused when it was stopped is paused when it is started again, and can go on."""
        one = await self.started("one")
        await one.pause()
        await one.stopService()
        one.startService()
        self.assertEqual(one.status()["state"], "paused")
        await one.resume()
        await until(lambda: one.status()["in_sync"])

    async def test_share_begun_and_started_again(self) -> None:
        """One that began its share goes on with it when it is started again."""
        options = PeerOptions(
            self.base / "first",
            Home(self.base / "home"),
            new_share=True,
            tracker=self.tracker.address,
            listen=(LOOPBACK,),
        )
        service = PeerService(reactor, options)
        self.addCleanup(service.stopService)
        service.startService()
        invite = service.invite()
        await until(lambda: service.status()["in_sync"])
        await service.stopService()
        service.startService()
        self.assertEqual(service.invite(), invite)
        await until(lambda: service.status()["in_sync"])

    async def test_started_again_after_a_failure(self) -> None:
        """One whose port was taken is started when that is free."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            one = self.service("one", listen=(f"tcp:{other.getsockname()[1]}:interface=127.0.0.1",))
            self.assertRaises(TwistedP2PError, one.startService)
        one.startService()
        await until(lambda: one.status()["in_sync"])

    async def test_over_a_restart(self) -> None:
        """A folder that was paused starts paused, listens nowhere, and still says since when."""
        first = await self.started("one")
        await first.pause()
        since = first.status()["paused_since"]
        await first.stopService()
        again = await self.started("one")
        self.assertEqual((again.status()["state"], again.status()["paused_since"]), ("paused", since))
        self.assertEqual((self.tracker.counters.peers, again.peer.addresses()), (0, ()))
        await again.resume()
        await until(lambda: again.status()["in_sync"])

    async def test_twice(self) -> None:
        """To pause what is paused, and to resume what runs, changes nothing; changes are made in their order."""
        one = await self.started("one")
        peer = one.peer
        await one.resume()
        self.assertIs(one.peer, peer)
        pausing = [one.pause(), one.resume(), one.pause()]
        for change in pausing:
            await change
        since = one.paused_since
        await one.pause()
        self.assertEqual((one.status()["state"], one.paused_since), ("paused", since))

    async def test_not_kept(self) -> None:
        """A peer whose disk takes no setting rests all the same, and says that it could not be kept."""
        one = await self.started("one")
        state = self.base / "one" / ".twistedp2p"
        (state / "settings.json").unlink(missing_ok=True)
        (state / "settings.json").mkdir()
        await self.assertFailure(one.pause(), TwistedP2PError)
        self.assertEqual((one.status()["state"], self.tracker.counters.peers), ("paused", 0))

    async def test_stopped_meanwhile(self) -> None:
        """A peer that is stopped while it is pausing, or starting, ends; it stays paused for the next start."""
        one = await self.started("one")
        one.pause()
        await one.stopService()
        again = self.service("one")
        again.prepare()
        starting = again.start()
        self.assertIsNotNone(again.paused_since)
        await again.stopService()
        await starting

    async def test_port_taken(self) -> None:
        """A peer whose port another program has by now stays paused, and says so in a sentence."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
        one = await self.started("one", listen=(f"tcp:{port}:interface=127.0.0.1",))
        await one.pause()
        with socket.create_server(("127.0.0.1", port)):
            failures: list[Failure] = []
            await one.resume().addErrback(failures.append)
            self.assertIn(f"Port {port}", str(failures[0].value))
            self.assertEqual(one.status()["state"], "paused")
        await one.resume()
        await until(lambda: one.status()["in_sync"])
