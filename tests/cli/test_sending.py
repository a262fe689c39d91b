"""Sending and receiving as the commands do it, over a network in memory where connections die without a word."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.events import check
from tests.cli.test_listing import Answering
from tests.framing.memory import Hub, MemoryTransport
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.cli.reaching import Session
from twistedp2p.cli.receive import Receiving
from twistedp2p.cli.send import _Told
from twistedp2p.cli.sending import Offered, Sending
from twistedp2p.errors import ConnectionFull, TooLarge
from twistedp2p.framing.addresses import Advertised
from twistedp2p.identity.files_code import SendCode
from twistedp2p.transfer.files.client import FilesClient, Server

MIB = 1024 * 1024
SENDER = "10.0.0.1"


class InLine:
    """What the commands need of a reactor: the time of the hub, and threads whose work is done at once."""

    def __init__(self, hub: Hub) -> None:
        self.seconds = hub.clock.seconds
        self.callLater = hub.clock.callLater

    def getThreadPool(self) -> InLine:
        """Return what runs work."""
        return self

    def callInThreadWithCallback(self, done: Callable[[bool, Any], object], work: Callable[..., Any], *a: Any) -> None:
        """Run work now."""
        try:
            result = work(*a)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call at once."""
        call(*arguments)


class DeskTestCase(SynchronousTestCase):
    """Somebody who sends one large file."""

    def setUp(self) -> None:
        """Offer it."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.base = Path(temporary.name)
        self.to = self.base / "to"
        self.data = os.urandom(8 * MIB)
        (self.base / "big").write_bytes(self.data)
        self.hub = Hub()
        self.printed, self.said = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.printed)
        self.patch(sys, "stderr", self.said)
        self.reactor = InLine(self.hub)
        self.sending, self.code = self.send()

    def send(self, **options: Any) -> tuple[Sending, SendCode]:
        """Begin to send."""
        sending = Sending(
            self.reactor,
            listen=("tcp:17414",),
            advertise=Advertised.parse(f"{SENDER}:17414"),
            network=lambda key: self.hub.network(key, SENDER),
            **options,
        )
        self.successResultOf(ensureDeferred(sending.add([self.base / "big"])))
        return sending, self.successResultOf(ensureDeferred(sending.start()))

    def receive(self, number: int = 2, **options: Any) -> tuple[Deferred[int], FilesClient]:
        """Begin to receive on the machine of that number; return the exit status to come, and the client."""
        network = self.hub.network(device(number), f"10.0.0.{number}")
        client = FilesClient(network, Server.of(self.code), name=f"{number}", entropy=bytes, random=Random(1))
        shown: dict[str, Any] = {"as_json": True, "quiet": False, **options}
        receiving = Receiving(self.to, None, asks=False, **shown)
        return ensureDeferred(receiving.work(Session(self.reactor, client))), client

    def events(self) -> list[dict[str, Any]]:
        """Return what receivers printed."""
        return [json.loads(line) for line in self.printed.getvalue().splitlines()]

    def die(self) -> None:
        """From now on nothing arrives over the links that there are; neither end hears of that."""
        for link in self.hub.links:
            link.stalled = True
            link.other = MemoryTransport(link.host, link.peer)

    def deliver(self, until: Callable[[], bool]) -> None:
        """Deliver one piece after the other until `until` is true."""
        while not until():
            self.assertTrue(any(link.step() for link in list(self.hub.links)), "nothing moves any more")

    def part(self) -> int:
        """Return how much of the file is here in part."""
        return sum(path.stat().st_size for path in self.to.glob(".*.part"))

    def check_end(self, ended: Deferred[int], client: FilesClient) -> None:
        """Assert that all was received, and that the sender ends once the receiver has hung up."""
        self.assertEqual(self.successResultOf(ended), 0)
        self.assertEqual((self.to / "big").read_bytes(), self.data)
        self.assertNoResult(self.sending.ended)
        client.close()
        self.hub.pump()
        self.assertTrue(self.successResultOf(self.sending.ended))
        self.assertEqual(self.sending.deliveries, 1)
        self.successResultOf(ensureDeferred(self.sending.stop()))
        self.assertEqual(self.hub.clock.getDelayedCalls(), [])


class DeadConnectionTests(DeskTestCase):
    """A connection that dies without a word at one end and the other."""

    def test_in_the_midst(self) -> None:
        """The receiver dials again and goes on; the sender takes that for the end of the first one, and ends itself."""
        ended, client = self.receive()
        self.deliver(lambda: self.part() >= 3 * MIB)
        self.die()
        (first,) = self.sending._factory.connections
        self.hub.pass_time(limits.REPLY - 1)
        self.assertNoResult(ended)
        self.assertEqual(self.sending._factory.connections, {first})
        self.hub.pass_time(limits.BACKOFF_MOST + 1)
        self.assertNotIn(first, self.sending._factory.connections)
        self.assertGreaterEqual(self.events()[-1]["bytes_moved"], len(self.data))
        self.assertLess(self.sending.bytes_sent, 2 * len(self.data))
        self.check_end(ended, client)

    def test_nobody_else_takes_over(self) -> None:
        """While the sender takes the dead connection for a living one, somebody else is told to wait, then to go."""
        ended, client = self.receive()
        self.deliver(lambda: self.part() >= 3 * MIB)
        self.die()
        for number, said in ((3, "at this moment"), (4, "at this moment")):
            other, _ = self.receive(number)
            self.hub.pump()
            self.assertIn(said, str(self.failureResultOf(other, ConnectionFull).value))
        self.hub.pass_time(limits.REPLY + limits.BACKOFF_MOST)
        self.check_end(ended, client)

    def test_before_the_last_answer(self) -> None:
        """A receiver that has all and never heard that the sender knows comes again, is let in, and ends well."""
        ended, client = self.receive()
        self.deliver(lambda: self.sending.deliveries > 0)
        self.die()
        self.assertNoResult(ended)
        self.hub.pass_time(limits.REPLY + limits.BACKOFF_MOST)
        self.check_end(ended, client)
        self.assertEqual(self.said.getvalue(), "")

    def test_before_the_last_answer_of_a_sender_that_is_gone(self) -> None:
        """A receiver that has all and can not tell the sender says so, and that all is here: its status is 0."""
        ended, client = self.receive()
        self.deliver(lambda: self.sending.deliveries > 0)
        self.die()
        self.assertNoResult(ended)
        stopped = ensureDeferred(self.sending.stop())
        self.hub.pass_time(limits.REPLY + limits.FILES_PATIENCE + limits.BACKOFF_MOST, 5.0)
        self.assertEqual(self.successResultOf(ended), 0)
        self.assertEqual((self.to / "big").read_bytes(), self.data)
        self.successResultOf(stopped)
        self.assertIn("Everything is here; only the sender could not be told", self.said.getvalue())
        client.close()


class ReceivedAlreadyTests(DeskTestCase):
    """A code that was used."""

    def test_a_code_that_was_used(self) -> None:
        """As long as the sender is there whoever comes with a code that was used hears that it was received already."""
        ended, client = self.receive()
        self.hub.pump()
        for number in (3, 4):
            other, _ = self.receive(number)
            self.hub.pump()
            said = str(self.failureResultOf(other, ConnectionFull).value)
            self.assertEqual(said, "It was received already; ask for it to be sent again.")
        self.check_end(ended, client)

    def test_many(self) -> None:
        """A code that works many times is never used up: each receiver has all, and the sender goes on."""
        self.successResultOf(ensureDeferred(self.sending.stop()))
        self.sending, self.code = self.send(many=True)
        for number in (2, 3):
            ended, client = self.receive(number)
            self.hub.pump()
            self.assertEqual(self.successResultOf(ended), 0)
            client.close()
            self.hub.pump()
        self.assertEqual(self.sending.deliveries, 2)
        self.assertNoResult(self.sending.ended)
        self.successResultOf(ensureDeferred(self.sending.stop()))


class EventsTests(DeskTestCase):
    """What a script hears of sending."""

    def test_every_event(self) -> None:
        """From the code to the end each event has the fields of the document; bytes are told when they move."""
        told = _Told(as_json=True, quiet=False)
        told.begin(self.sending, Offered(("big",), 1, len(self.data)), self.code.text())
        told.tick()
        ended, client = self.receive(as_json=False, quiet=True)
        self.deliver(lambda: self.part() >= 3 * MIB)
        for _ in range(2):
            told.tick()
        self.sending.news.trouble("Something is gone.")
        self.hub.pump()
        self.check_end(ended, client)
        told.end(self.sending)
        said = self.events()
        check("send", said)
        self.assertEqual(
            [one["event"] for one in said], ["code", "connected", "sent", "trouble", "disconnected", "end"]
        )
        self.assertGreaterEqual(said[2]["bytes"], 3 * MIB)


class ManyNamesTests(DeskTestCase):
    """A limit on what is sent at a time."""

    def setUp(self) -> None:
        """Offer two folders with three files."""
        super().setUp()
        self.successResultOf(ensureDeferred(self.sending.stop()))
        for name in ("a/1", "a/2", "b/3"):
            (self.base / name).parent.mkdir(exist_ok=True)
            (self.base / name).write_bytes(b"1")

    def offer(self, most: int) -> Deferred[Any]:
        """Offer both folders, of which so many names may be."""
        sending = Sending(
            self.reactor,
            listen=("tcp:17414",),
            advertise=Advertised.parse(f"{SENDER}:17414"),
            network=lambda key: self.hub.network(key, SENDER),
        )
        self.sending = sending
        return ensureDeferred(sending.add([self.base / "a", self.base / "b"], most))

    def test_at_the_receiver(self) -> None:
        """As many names as may be are received; of one more nothing is, and a sentence says what to do."""
        self.successResultOf(self.offer(5))
        self.code = self.successResultOf(ensureDeferred(self.sending.start()))
        ended, client = self.receive(most=4)
        self.hub.pump()
        said = str(self.failureResultOf(ended, TooLarge).value)
        self.assertEqual(
            said,
            "More than 4 files and folders are offered; ask for some of them at a time, or for one archive of all.",
        )
        self.assertFalse(self.to.exists())
        client.close()
        self.hub.pump()
        ended, client = self.receive(most=5)
        self.hub.pump()
        self.assertEqual(self.successResultOf(ended), 0)
        client.close()
        self.hub.pump()
        self.assertTrue(self.successResultOf(self.sending.ended))
        self.successResultOf(ensureDeferred(self.sending.stop()))

    def test_at_the_sender(self) -> None:
        """As many names as may be are offered; one more is refused before a code is printed."""
        said = str(self.failureResultOf(self.offer(4), TooLarge).value)
        self.assertIn("These are more than 4 files and folders", said)
        self.assertEqual(self.successResultOf(self.offer(5)).files, 3)


class Endless(Answering):
    """A server that answers for ever."""

    source = b"server"


class EndlessTests(SynchronousTestCase):
    """A sender whose list goes on for ever."""

    def test_it_ends(self) -> None:
        """The list is counted on the terminal while it comes, and refused at the limit."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)

        def answer(after: str, most: int) -> list[str]:
            first = int(after) + 1 if after else 0
            return [f"{number:09}" for number in range(first, first + most)]

        endless = Endless(answer)
        to = Path(self.mktemp())
        receiving = Receiving(to, None, asks=True, as_json=False, quiet=False, live=True, most=20_000)
        session = Session(InLine(Hub()), cast(FilesClient, endless))
        self.failureResultOf(ensureDeferred(receiving.work(session)), TooLarge)
        self.assertEqual(len(endless.asked), 5)
        lines = said.getvalue().split("\r")  # what is no terminal gets no other codes
        self.assertEqual([lines[1], lines[4]], ["5,000 files listed so far, 0 B", "20,000 files listed so far, 0 B"])
        self.assertEqual(lines[5:], [""])
        self.assertFalse(to.exists())
