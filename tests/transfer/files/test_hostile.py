"""Clients and servers that do what they like: they are cut off, and nothing is lost, shown or written for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Protocol

from tests.framing.memory import Made, MemoryTransport
from tests.transfer.files.samples import FILES_SAMPLES
from tests.transfer.files.serving import READ, SERVER, WHERE, WRITE, ServingTestCase
from tests.transfer.files.test_downloads import DownloadsTestCase
from tests.transfer.nodes import device
from twistedp2p import limits
from twistedp2p.errors import CorruptContent, TwistedP2PError, Unreachable
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import FILES_ALPN
from twistedp2p.identity.proof import Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Data, Done, Failed
from twistedp2p.transfer.files import messages as f
from twistedp2p.transfer.files.messages import FILES, FileEntry, FilesHello, FilesWelcome
from twistedp2p.transfer.hashing import content_id_of

MIB = 1024 * 1024


class Raw(Protocol):
    """A side as anybody could write it: it sends what the test says, and keeps what it hears."""

    transport: MemoryTransport

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep bytes, and answer what is whole."""
        self.received += data
        while len(self.received) >= 4:
            length = int.from_bytes(self.received[:4], "big")
            if len(self.received) < 4 + length:
                return
            frame, self.received = self.received[4 : 4 + length], self.received[4 + length :]
            self.heard(FILES.decode(frame))

    def heard(self, message: Any) -> None:
        """A message came."""

    def send(self, *messages: object) -> None:
        """Send messages, framed."""
        for message in messages:
            frame = FILES.encode(message)
            self.transport.write(len(frame).to_bytes(4, "big") + frame)

    def hello(self, secret: bytes, role: Role = Role.DIAL_FILES) -> FilesHello:
        """Return a hello with a proof for this connection."""
        keys = ShareKeys.derive(secret, portable=False)
        return FilesHello("raw", (1,), prove(keys, role, self.transport.channel(True), bytes(16)))


class HostileClientTests(ServingTestCase):
    """What a client may try."""

    def raw(self) -> Raw:
        """Connect without saying anything."""
        raw = Raw()
        self.hub.connect(self.hub.network(device(2), "10.0.0.2"), Made(lambda _: raw), WHERE, FILES_ALPN)
        return raw

    def assert_cut_off(self, raw: Raw) -> None:
        """Assert that the server dropped the connection."""
        self.hub.pump()
        self.assertTrue(raw.transport.disconnected)

    def test_anything_before_the_proof(self) -> None:
        """Whatever is said before the proof ends the connection, without an answer."""
        for message in FILES_SAMPLES:
            if isinstance(message, FilesHello):
                continue
            raw = self.raw()
            raw.send(message)
            self.assert_cut_off(raw)
            self.assertEqual(raw.received, b"")

    def test_proofs_that_are_none(self) -> None:
        """A proof in another role, by other keys, for another connection, or bent, is no proof."""
        other = self.raw()
        for make in (
            lambda raw: raw.hello(WRITE, Role.DIAL_PEER),
            lambda raw: raw.hello(WRITE, Role.ACCEPT_FILES),
            lambda raw: raw.hello(bytes(16)),
            lambda raw: other.hello(WRITE),
        ):
            raw = self.raw()
            raw.send(make(raw))
            self.assert_cut_off(raw)

    def test_anything_out_of_turn(self) -> None:
        """What only a server says, a second hello, and bytes of no file end the connection."""
        for message in (
            FilesWelcome("x", (1,), True),
            f.Listed(1, ()),
            f.Hashed(1, 0),
            f.PutAt(1, 0),
            Done(1),
            Failed(1, "x", ""),
            Data(1, b"x"),
            f.PutEnd(1),
        ):
            raw = self.raw()
            raw.send(raw.hello(WRITE), message)
            self.assert_cut_off(raw)
        raw = self.raw()
        raw.send(raw.hello(WRITE), raw.hello(WRITE))
        self.assert_cut_off(raw)

    def test_one_request_too_many(self) -> None:
        """A client may have so many requests unanswered, and not one more; one number is not used twice."""
        self.write("big", bytes(limits.RANGE_BYTES))
        token = self.token(self.client(), "big")
        raw = self.raw()
        raw.send(raw.hello(READ))
        self.hub.pump()
        raw.transport.pauseProducing()  # it reads no answers
        asked = [f.ReadRange(number, "big", token, 0, MIB) for number in range(limits.REQUESTS_IN_FLIGHT)]
        raw.send(*asked)
        self.hub.pump()
        self.assertFalse(raw.transport.disconnected)
        raw.send(f.ReadRange(limits.REQUESTS_IN_FLIGHT, "big", token, 0, 1))
        self.assert_cut_off(raw)
        raw = self.raw()
        raw.send(raw.hello(READ), f.ReadRange(1, "big", token, 0, MIB), f.ReadRange(1, "big", token, 0, MIB))
        self.assert_cut_off(raw)

    def test_a_client_that_never_reads(self) -> None:
        """Whoever asks for everything and reads nothing costs little, and is cut off after a while."""
        self.write("big", bytes(limits.RANGE_BYTES))
        token = self.token(self.client(), "big")
        raw = self.raw()
        raw.send(raw.hello(READ))
        self.hub.pump()
        raw.transport.pauseProducing()
        raw.send(*(f.ReadRange(number, "big", token, 0, limits.RANGE_BYTES) for number in range(32)))
        self.hub.pump()
        self.assertLess(sum(map(len, raw.transport.other.outbox)), 4 * MIB)
        self.hub.pass_time(limits.UNREAD_SECONDS + 1)
        self.assert_cut_off(raw)

    def test_a_put_without_an_end(self) -> None:
        """A client that begins to put and vanishes leaves nothing under the name, and a part that is its own."""
        raw = self.raw()
        raw.send(raw.hello(WRITE), f.PutFile(1, "file", 10 * MIB, 0, False, bytes(32)))
        self.hub.pump()
        raw.send(Data(1, bytes(65536)))
        raw.transport.abortConnection()
        self.hub.pump()
        self.assertEqual(os.listdir(self.root), [".twistedp2p"])
        self.assertEqual(len(self.factory.connections), 0)

    def test_strangers_are_counted(self) -> None:
        """One address may have so many connections that prove nothing, and the next is turned away."""
        made = [self.raw() for _ in range(limits.STRANGERS_PER_ADDRESS + 1)]
        self.hub.pump()
        self.assertEqual([raw.transport.disconnected for raw in made], [False] * (len(made) - 1) + [True])
        self.hub.pass_time(limits.HANDSHAKE + 1)
        self.assertTrue(all(raw.transport.disconnected for raw in made))

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.sampled_from(FILES_SAMPLES), max_size=12), st.sampled_from([READ, WRITE]))
    def test_any_messages(self, messages: Sequence[object], secret: bytes) -> None:
        """Whatever a member says in whatever order, the server lives, and serves the next one."""
        self.write("a", b"a")
        before = {path.name for path in self.root.parent.iterdir()}
        raw = self.raw()
        raw.send(raw.hello(secret), *messages)
        self.hub.pump()
        raw.transport.abortConnection()
        self.hub.pump()
        self.assertEqual({path.name for path in self.root.parent.iterdir()}, before)
        client = self.client()
        self.listing(client)
        client.say_goodbye()
        self.hub.pump()
        self.assertEqual(self.flushLoggedErrors(), [])


class _Server(Raw):
    """A server that answers what the test says."""

    answers: dict[type, Any]

    def heard(self, message: Any) -> None:
        """Answer."""
        if isinstance(message, FilesHello):
            self.send(FilesWelcome("evil", (1,), True))
        elif type(message) in self.answers:
            self.send(*self.answers[type(message)](message))


class HostileServerTests(DownloadsTestCase):
    """What a server, or a sender, may try on whoever fetches from it."""

    def be(self, **answers: Any) -> None:
        """Be a server that answers each kind of request, by its name, as a function says."""

        def make(_: object) -> _Server:
            server = _Server()
            server.answers = {getattr(f, name): answer for name, answer in answers.items()}
            return server

        network = self.hub.network(device(SERVER), WHERE[0])
        network.listen(f"tcp:{WHERE[1]}", Made(make), alpn=FILES_ALPN)

    def fetch_one(self, entry: FileEntry) -> TwistedP2PError | None:
        """Fetch one file; return why it failed."""
        self.wait(ensureDeferred(self.downloads.add(entry, (b"file",))))
        finished = self.downloads.finish()
        self.hub.pass_time(limits.FILES_PATIENCE * 3)
        self.failureResultOf(finished) if self.downloads._tasks.broken else self.successResultOf(finished)
        failed = [event.error for event in self.events if event.error is not None]
        return failed[0] if failed else None

    def test_more_bytes_than_were_asked_for(self) -> None:
        """A server that sends more than a range is cut off, again and again; nothing gets the name."""
        self.be(ReadRange=lambda asked: [Data(asked.request, bytes(65536))] * 17)
        self.fetch_one(FileEntry("file", False, MIB))
        self.assertNotIn("file", os.listdir(self.to))

    def test_fewer_bytes_than_were_asked_for(self) -> None:
        """A range that ends early is no whole file."""
        self.be(ReadRange=lambda asked: [Data(asked.request, b"x"), Done(asked.request)], ListFolder=self._again)
        self.assertIsInstance(self.fetch_one(FileEntry("file", False, MIB)), CorruptContent)
        self.assertEqual(os.listdir(self.to), [])

    def _again(self, asked: f.ListFolder) -> list[object]:
        return [f.Listed(asked.request, (FileEntry("file", False, MIB),)), Done(asked.request)]

    def test_other_bytes(self) -> None:
        """Bytes without the hash that the server names itself do not get the name; it is tried a few times."""
        asks: list[int] = []

        def read(asked: f.ReadRange) -> list[object]:
            asks.append(asked.offset)
            return [Data(asked.request, bytes(asked.length)), Done(asked.request)]

        small = limits.SMALL_FILE_BYTES + 1
        self.be(
            ReadRange=read,
            HashOf=lambda asked: [f.Hashed(asked.request, 0, bytes(32)), Done(asked.request)],
            ListFolder=lambda asked: [f.Listed(asked.request, (FileEntry("file", False, small),)), Done(asked.request)],
        )
        self.assertIsInstance(self.fetch_one(FileEntry("file", False, small)), CorruptContent)
        self.assertEqual(len(asks), 3)
        self.assertEqual(os.listdir(self.to), [])

    def test_a_small_file_with_other_bytes(self) -> None:
        """A small file whose bytes do not have their content id is not written."""
        self.be(
            ReadFiles=lambda asked: [Data(asked.request, bytes(32) + b"wrong"), Done(asked.request)],
            ListFolder=lambda asked: [f.Listed(asked.request, (FileEntry("file", False, 5),)), Done(asked.request)],
        )
        self.assertIsInstance(self.fetch_one(FileEntry("file", False, 5)), CorruptContent)
        self.assertEqual(os.listdir(self.to), [])

    def test_wrong_once_and_then_right(self) -> None:
        """With `as_listed` a file that came with other bytes is asked for again by the same token, not listed anew."""
        data, said = b"right", [b"wrong", b"right"]

        def read(asked: f.ReadFiles) -> list[object]:
            self.assertEqual(asked.files, (("file", b"token"),))
            return [Data(asked.request, content_id_of(data) + said.pop(0)), Done(asked.request)]

        self.be(ReadFiles=read)
        self.downloads, self.files = self.begin(as_listed=True)
        self.assertIsNone(self.fetch_one(FileEntry("file", False, 5, token=b"token")))
        self.assertEqual((self.to / "file").read_bytes(), data)

    def test_more_entries_than_were_asked_for(self) -> None:
        """A listing may have as many entries as were asked for; one more ends the connection."""
        page = tuple(FileEntry(f"{number}", False) for number in range(5))
        self.be(ListFolder=lambda asked: [f.Listed(asked.request, page), Done(asked.request)])
        found: list[FileEntry] = []
        self.wait(self.client().listing("", found.extend, most=5))
        self.assertEqual(len(found), 5)
        self.refusal(self.client().listing("", found.extend, most=4), Unreachable)
        self.assertEqual(len(found), 5)

    def test_answers_to_nothing(self) -> None:
        """A reply to nothing that was asked ends the connection."""
        for answer in (Data(99, b"x"), Done(99), Failed(99, "x", ""), f.Listed(99, ())):
            self.be(ListFolder=lambda asked, answer=answer: [answer])
            client = self.client()
            self.refusal(client.listing("", lambda _: None), Unreachable)

    def test_a_file_that_changes_all_the_time(self) -> None:
        """A file that never is what it was a moment ago fails after a few tries."""
        self.be(
            ReadFiles=lambda asked: [f.FileMissing(asked.request, 0, "file-changed"), Done(asked.request)],
            ListFolder=lambda asked: [f.Listed(asked.request, (FileEntry("file", False, 5),)), Done(asked.request)],
        )
        self.assertIsNotNone(self.fetch_one(FileEntry("file", False, 5)))

    def test_a_server_that_is_silent(self) -> None:
        """A server that does not answer is given up, with a sentence."""
        self.be()
        self.fetch_one(FileEntry("file", False, MIB))
        self.assertIsNotNone(self.downloads._tasks.broken)
        self.assertEqual([name for name in os.listdir(self.to) if not name.endswith(".part")], [])
