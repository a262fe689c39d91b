"""Whom a sender serves, and by which key a receiver is known."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.receiver_key import receiver_key
from twistedp2p.cli.receivers import Receivers
from twistedp2p.errors import FolderBusy
from twistedp2p.home import Home
from twistedp2p.limits import DIALLED_ANEW

ME, OTHER = b"me", b"other"


class ReceiversTests(SynchronousTestCase):
    """One code, and those who have it."""

    def setUp(self) -> None:
        """Begin with nobody."""
        self.receivers: Receivers[str] = Receivers(many=False)

    def test_one_at_a_time(self) -> None:
        """While somebody is there nobody else is let in; who comes beside without having got anything gets a turn."""
        self.assertIsNone(self.receivers.why_not(ME))
        self.assertEqual(self.receivers.came("a", ME, 0.0), [])
        self.assertIn("at this moment", str(self.receivers.why_not(OTHER)))
        self.assertIsNone(self.receivers.why_not(ME))
        self.receivers.went("a", 0)
        self.assertIsNone(self.receivers.why_not(OTHER))

    def test_who_began_goes_on(self) -> None:
        """Whoever got one byte is the one who may come again; nobody takes over after a break."""
        self.receivers.came("a", ME, 0.0)
        self.receivers.went("a", 1)
        self.assertIn("began to receive it", str(self.receivers.why_not(OTHER)))
        self.assertIsNone(self.receivers.why_not(ME))
        self.assertTrue(self.receivers.is_new(ME))

    def test_over(self) -> None:
        """When it was received nobody is let in any more, but who received it while its connection is there."""
        self.receivers.came("a", ME, 0.0)
        self.receivers.is_over = True
        self.assertIn("received already", str(self.receivers.why_not(OTHER)))
        self.assertIsNone(self.receivers.why_not(ME))
        self.receivers.went("a", 1)
        for node in (ME, OTHER):
            self.assertIn("received already", str(self.receivers.why_not(node)))

    def test_a_dead_connection(self) -> None:
        """One who dials again replaces its connection, but not one that was dialled just before, beside this one."""
        self.assertEqual(self.receivers.came("a", ME, 0.0), [])
        self.assertEqual(self.receivers.came("b", ME, DIALLED_ANEW), [])
        self.assertFalse(self.receivers.is_new(ME))
        self.assertEqual(self.receivers.came("c", ME, DIALLED_ANEW + 0.1), ["a"])
        self.receivers.went("a", 5)
        self.assertTrue(self.receivers)
        self.assertEqual(self.receivers.came("d", ME, 100.0), ["b", "c"])

    def test_many(self) -> None:
        """With many receivers all are let in, and nobody replaces the connection of another."""
        receivers: Receivers[str] = Receivers(many=True)
        receivers.came("a", ME, 0.0)
        self.assertIsNone(receivers.why_not(OTHER))
        self.assertEqual(receivers.came("b", OTHER, 100.0), [])
        receivers.went("a", 7)
        self.assertIsNone(receivers.why_not(OTHER))


class KeyTests(SynchronousTestCase):
    """The key of a receiver."""

    def setUp(self) -> None:
        """Begin with an empty home."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.home = Home(Path(temporary.name) / "home")

    def node(self, share_id: bytes) -> bytes:
        """Return the node id of the receiver of a code."""
        with receiver_key(self.home, share_id) as key:
            return bytes(key.node_id)

    def test_the_same_for_a_code(self) -> None:
        """For one code it is the same each time, for another one, and in another home, it is another."""
        first = self.node(bytes(20))
        self.assertEqual(self.node(bytes(20)), first)
        self.assertNotEqual(self.node(b"1" * 20), first)
        file = self.home.path / "files/receive.pem"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        file.unlink()
        self.assertNotEqual(self.node(bytes(20)), first)

    def test_one_process_at_a_time(self) -> None:
        """Another process can not receive by the same code meanwhile, but by another one; and it can afterwards."""
        program = (
            "import sys\nfrom pathlib import Path\nfrom twistedp2p.cli.receiver_key import receiver_key\n"
            "from twistedp2p.errors import FolderBusy\nfrom twistedp2p.home import Home\n"
            "try:\n    with receiver_key(Home(Path(sys.argv[1])), bytes.fromhex(sys.argv[2])) as key:\n"
            "        print(key.node_id.hex())\nexcept FolderBusy as error:\n    print(error)\n"
        )

        def elsewhere(share_id: bytes) -> str:
            words = [sys.executable, "-c", program, str(self.home.path), share_id.hex()]
            return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

        with receiver_key(self.home, bytes(20)) as key:
            said = "This machine receives by this code already; wait for that, or end it."
            self.assertEqual(elsewhere(bytes(20)), said)
            self.assertNotIn(said, elsewhere(b"1" * 20))
        self.assertEqual(elsewhere(bytes(20)), key.node_id.hex())

    def test_nothing_can_be_kept(self) -> None:
        """Where there can be no home one receives all the same, by a new key each time."""
        blocked = self.home.path.parent / "file"
        blocked.write_bytes(b"")
        self.home = Home(blocked / "home")
        self.assertNotEqual(self.node(bytes(20)), self.node(bytes(20)))
        self.assertEqual(os.listdir(blocked.parent), ["file"])

    def test_an_error_inside(self) -> None:
        """What is raised while the key is used comes out as it is, and the key is free again."""
        with self.assertRaises(FolderBusy), receiver_key(self.home, bytes(20)):
            raise FolderBusy("Something else.")
        self.node(bytes(20))
