"""The code that docs/embedding.md shows does what the page says, also about the receivers' traps."""

from __future__ import annotations

import contextlib
import gc
import io
import re
from pathlib import Path
from struct import pack
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int16StringReceiver, Int32StringReceiver, StringTooLongError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.examples.pages import DOCS, module
from twistedp2p import errors, limits
from twistedp2p.framing.calls import CallLimits
from twistedp2p.peer.change_readers import ChangeReaders
from twistedp2p.peer.changes import By, Change, What

TEXT = "one ring to rule them all\none to find them\nOne to bring them all"


class WordSearchTests(TestCase):
    """The service of the page, over real sockets."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        folder = Path(self.mktemp())
        folder.mkdir()
        self.wordsearch, self.asking = module("wordsearch", folder), module("asking", folder)
        socket = f"{folder.resolve().relative_to(Path.cwd())}/s"
        self.port = await self.wordsearch.serve(reactor, f"unix:{socket}", TEXT)
        assert isinstance(self.port.getHost(), UNIXAddress)
        self.addCleanup(self.port.stopListening)
        self.where = f"unix:{socket}"

    async def test_both_styles(self) -> None:
        """A word is looked up with await, and many at once with callbacks; a word that is not there has no lines."""
        self.assertEqual(await self.asking.look_up(reactor, self.where, "ring"), (1,))
        self.assertEqual(await self.asking.look_up(reactor, self.where, "gold"), ())
        connection = await self.wordsearch.connect(reactor, self.where)
        found = await self.asking.look_up_all(connection, ["one", "gold", "all"])
        self.assertEqual(found, [(1, 2, 3), (), (1, 3)])
        connection.close()
        await connection.gone

    async def test_bad_arguments(self) -> None:
        """What the class does not allow fails at the other side, and the connection goes on."""
        connection = await self.wordsearch.connect(reactor, self.where)
        asked = connection.ask(self.wordsearch.Search(""))
        await self.assertFailure(asked, errors.BadArguments)
        self.assertEqual((await connection.ask(self.wordsearch.Search("one"))).lines, (1, 2, 3))
        connection.close()
        await connection.gone


class PageTests(SynchronousTestCase):
    """What the text of the page says."""

    def test_length(self) -> None:
        """The service has about thirty lines, without what it imports and empty ones."""
        page = (DOCS / "embedding.md").read_text()
        found = re.search(r"^# wordsearch\.py\n(.*?)^```$", page, re.M | re.S)
        assert found is not None
        lines = [line for line in found[1].splitlines() if line and not line.startswith(("from", "import"))]
        self.assertLessEqual(len(lines), 30)

    def test_codes(self) -> None:
        """The table of errors has the classes and codes of the code."""
        page = (DOCS / "embedding.md").read_text()
        rows = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", page, re.M)
        self.assertEqual(len(rows), 7)
        codes = {name: getattr(errors, name).code for name, _ in rows if name != "CallError"}
        self.assertEqual({name: code for name, code in rows if name != "CallError"}, codes)

    def test_defaults(self) -> None:
        """The limits that the page names are those of today."""
        self.assertEqual(CallLimits(), CallLimits(65_536, 65_536, 64, 30.0))
        self.assertEqual((limits.DATA_BYTES, limits.REQUESTS_IN_FLIGHT), (65_536, 64))


class FramingsTests(SynchronousTestCase):
    """The three framings, in whatever pieces they arrive, and their traps."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.framings = module("framings", folder)

    def connected(self, name: str) -> tuple[Any, StringTransport, list[Any]]:
        """Return a receiver of the page, its transport, and what it has heard."""
        heard: list[Any] = []
        protocol = getattr(self.framings, name)()
        protocol.heard = lambda *what: heard.append(what)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport, heard

    def test_pieces(self) -> None:
        """Each receiver hears the same from one piece, from single bytes, and from any two pieces."""
        for name, data, messages in (
            ("Samples", pack("!Id", 1, 0.5) + pack("!Id", 2, 1.5), [(1, 0.5), (2, 1.5)]),
            ("Commands", b"HELLO\r\nPUT 5\na\nb\r\nBYE\n", [(b"HELLO",), (b"PUT", b"a\nb\r\n"), (b"BYE",)]),
            ("Packets", b"\0\0\0\5hello\0\0\0\0", [(b"hello",), (b"",)]),
            ("Netstrings", b"5:hello,0:,", [(b"hello",), (b"",)]),
        ):
            for cut in range(len(data) + 1):
                protocol, _, heard = self.connected(name)
                protocol.dataReceived(data[:cut])
                protocol.dataReceived(data[cut:])
                self.assertEqual(heard, messages, (name, cut))
            protocol, _, heard = self.connected(name)
            for byte in data:
                protocol.dataReceived(bytes([byte]))
            self.assertEqual(heard, messages, name)

    def test_limits(self) -> None:
        """Each receiver that has a limit takes as much, and ends the connection at more."""
        for name, most, more in (
            ("Commands", b"x" * 1000 + b"\n", b"x" * 1001 + b"\n"),
            ("Commands", b"PUT 1000000\n", b"PUT 1000001\n"),
            ("Commands", b"PUT 0\n", b"PUT -1\n"),
            ("Packets", pack("!I", 65_536), pack("!I", 65_537)),
            ("Netstrings", b"65536:", b"65537:"),
        ):
            protocol, transport, _ = self.connected(name)
            protocol.dataReceived(most)
            self.assertFalse(transport.disconnecting or transport.disconnected, (name, most[:20]))
            protocol, transport, _ = self.connected(name)
            protocol.dataReceived(more)
            self.assertTrue(transport.disconnecting or transport.disconnected, (name, more[:20]))

    def test_no_content(self) -> None:
        """A command of no content is heard when the next bytes come: the page says so."""
        protocol, _, heard = self.connected("Commands")
        protocol.dataReceived(b"PUT 0\n")
        self.assertEqual(heard, [])
        protocol.dataReceived(b"BYE\n")
        self.assertEqual(heard, [(b"PUT", b""), (b"BYE",)])

    def test_traps_of_length_prefixes(self) -> None:
        """The limit binds who receives only; frames of the same read still come after closing."""
        transport = StringTransport()
        sender = Int32StringReceiver()
        sender.makeConnection(transport)
        self.assertEqual(sender.MAX_LENGTH, 99_999)
        sender.sendString(bytes(100_000))
        self.assertEqual(len(transport.value()), 100_004)
        self.assertRaises(StringTooLongError, Int16StringReceiver().sendString, bytes(65_536))
        heard: list[bytes] = []

        class Closing(Int32StringReceiver):
            def stringReceived(self, string: bytes) -> None:
                heard.append(string)
                assert self.transport is not None
                self.transport.loseConnection()

        closing = Closing()
        closing.makeConnection(StringTransport())
        closing.dataReceived(b"\0\0\0\1a\0\0\0\1b")
        self.assertEqual(heard, [b"a", b"b"])
        closing.connectionLost(connectionDone)
        protocol, _, heard_here = self.connected("Packets")
        protocol.transport.loseConnection()
        protocol.dataReceived(b"\0\0\0\1a")
        self.assertEqual(heard_here, [])


class WatchingTests(SynchronousTestCase):
    """Reading what changes, in both styles."""

    def test_both_styles(self) -> None:
        """Each style hears every change and ends when the peer does."""
        folder = Path(self.mktemp())
        folder.mkdir()
        watching = module("watching", folder)
        readers = ChangeReaders()

        class Peer:
            changes = staticmethod(readers.new)

        heard: list[Change] = []
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            results = [Deferred.fromCoroutine(watching.watch(Peer)), watching.watch_with_callbacks(Peer, heard.append)]
            readers.tell([Change(What.ADDED, "a", By.OTHERS, size=3)])
            readers.tell([Change(What.REMOVED, "b")])
            readers.end()
        for result in results:
            self.assertIsNone(self.successResultOf(result))
        self.assertEqual([change.path for change in heard], ["a", "b"])
        self.assertEqual(printed.getvalue(), "added a others 3\nremoved b here 0\n")
        self.assertEqual(limits.CHANGES_WAITING, 1000)

    def test_callbacks_keep_nothing(self) -> None:
        """Whoever reads with callbacks for a long time keeps one Deferred, and hears of its own mistakes."""
        folder = Path(self.mktemp())
        folder.mkdir()
        readers = ChangeReaders()

        class Peer:
            changes = staticmethod(readers.new)

        def heard(change: Change) -> None:
            if not change.path:
                raise ValueError("a mistake")

        ended = module("watching", folder).watch_with_callbacks(Peer, heard)
        gc.collect()
        before = sum(type(thing) is Deferred for thing in gc.get_objects())
        for number in range(100):
            readers.tell([Change(What.ADDED, str(number))])
        gc.collect()
        self.assertEqual(sum(type(thing) is Deferred for thing in gc.get_objects()), before)
        readers.tell([Change(What.ADDED, "")])
        self.failureResultOf(ended, ValueError)
