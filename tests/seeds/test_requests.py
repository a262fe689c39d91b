"""What broke in requests of a length, a header and a content (realpython/materials, python-sockets-tutorial)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from attrs import frozen
from msgspec import msgpack
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p import limits
from twistedp2p.framing.calling import CallFactory, CallProtocol
from twistedp2p.framing.calls import CALLS, Answer, Ask, Replies, Request
from twistedp2p.messages.common import Done, Failed

BILLION = 1_000_000_000


@frozen
class Search(Request[str]):
    """What is said about this word?"""

    value: str


def frame(message: object) -> bytes:
    """Return a message as it travels."""
    data = CALLS.encode(message)
    return len(data).to_bytes(4, "big") + data


class RequestsTests(SynchronousTestCase):
    """A service that answers one kind of request, and hostile or clumsy ones."""

    def setUp(self) -> None:
        """Connect somebody who has said nothing yet."""
        replies = Replies()
        replies.to(Search)(lambda request, _: f"about {request.value}")
        self.factory = CallFactory(Clock(), replies)
        self.it, self.transport = self.connected()

    def connected(self) -> tuple[CallProtocol, StringTransport]:
        """Return a connection of the service, and what it writes to."""
        protocol: CallProtocol = self.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.addCleanup(protocol.abort, "the test is over")
        return protocol, transport

    def said(self) -> Iterator[object]:
        """Yield what was answered since it was last asked."""
        data = self.transport.value()
        self.transport.clear()
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            yield CALLS.decode(data[4:end])
            data = data[end:]

    def ask(self, number: int, word: str) -> bytes:
        """Return a good request as it travels."""
        return frame(Ask(number, "Search", msgpack.encode(Search(word))))

    def test_a_length_of_a_billion(self) -> None:
        """There it was waited for. Here a frame is refused by its length alone, before any of it is kept."""
        other, others = self.connected()
        self.it.dataReceived(BILLION.to_bytes(4, "big"))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual([*self.said()], [])
        other.dataReceived(self.ask(0, "ring"))
        self.assertFalse(others.disconnecting)
        self.assertIn(b"about ring", others.value())

    def test_a_length_of_a_billion_inside(self) -> None:
        """A length within the arguments is bounded by the frame, too: its request fails, and nothing is waited for."""
        claimed = b"\x81\xa5value\xdb" + BILLION.to_bytes(4, "big") + b"a few"
        self.it.dataReceived(frame(Ask(0, "Search", claimed)))
        (failed,) = self.said()
        assert isinstance(failed, Failed)
        self.assertEqual(failed.code, "bad-arguments")
        self.assertFalse(self.transport.disconnecting)

    def test_a_mistake_is_answered(self) -> None:
        """There a malformed header closed the connection without a word. Here a mistake has a code, and ends alone."""
        wrong = [
            ("unknown-request", Ask(0, "begone", b"\x80")),
            ("bad-arguments", Ask(1, "Search", b"")),
            ("bad-arguments", Ask(2, "Search", json.dumps({"action": "search", "value": "ring"}).encode())),
            ("bad-arguments", Ask(3, "Search", msgpack.encode({"value": 5}))),
            ("bad-arguments", Ask(4, "Search", msgpack.encode({"content-length": 43}))),
            ("bad-arguments", Ask(5, "Search", msgpack.encode({"value": "x" * 10})[:-1])),
        ]
        for code, asked in wrong:
            self.it.dataReceived(frame(asked))
            (failed,) = self.said()
            assert isinstance(failed, Failed)
            self.assertEqual((failed.request, failed.code), (asked.request, code))
            self.assertTrue(failed.text)
        self.it.dataReceived(self.ask(9, "ring"))
        self.assertEqual([*self.said()], [Answer(9, msgpack.encode("about ring")), Done(9)])

    def test_all_in_one_segment(self) -> None:
        """There a length and its header in one segment were a wait for ever. Here all that is there is answered."""
        words = [f"word {number}" for number in range(limits.REQUESTS_IN_FLIGHT)]
        self.it.dataReceived(b"".join(self.ask(number, word) for number, word in enumerate(words)))
        answers = [message for message in self.said() if isinstance(message, Answer)]
        self.assertEqual([msgpack.decode(answer.value) for answer in answers], [f"about {word}" for word in words])
