"""The tracker inside `twistedp2p share`: its port, its key and the address that the invite names."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.own_tracker import OwnTracker, everywhere, reserved
from twistedp2p.framing.addresses import Advertised
from twistedp2p.tracker.service import load_key


class PortTests(SynchronousTestCase):
    """Which port it takes."""

    def test_another_if_taken(self) -> None:
        """A port that somebody listens on is not taken; another one is, and both are kept from others."""
        with reserved(0) as first:
            taken = first.getsockname()[1]
            with reserved(taken) as second:
                self.assertNotEqual(second.getsockname()[1], taken)

    def test_preferred_if_free(self) -> None:
        """The preferred port is taken if nobody has it, also on one address only."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with reserved(port) as keeper:
                self.assertNotEqual(keeper.getsockname()[1], port)
        with reserved(port) as keeper:
            self.assertEqual(keeper.getsockname()[1], port)

    def test_everywhere(self) -> None:
        """The endpoint names the port, on every interface."""
        self.assertIn(everywhere(17411), ("tcp:17411", "tcp6:17411:interface=\\:\\:"))


class AddressTests(SynchronousTestCase):
    """What the invite names."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()

    def test_own_address(self) -> None:
        """It is this machine's address with the port it had, and the pin of a key that stays the same."""
        address = OwnTracker(self.state, 4001, None, lambda: "192.0.2.9").address()
        self.assertEqual((address.host, address.port), ("192.0.2.9", 4001))
        self.assertEqual(address.pin, load_key(self.state).pin)
        self.assertEqual(OwnTracker(self.state, 4001, None, lambda: "192.0.2.9").address(), address)

    def test_loopback(self) -> None:
        """A machine with nothing but loopback has that."""
        self.assertEqual(OwnTracker(self.state, 4001, None, lambda: None).address().host, "127.0.0.1")

    def test_advertised(self) -> None:
        """What the person says goes before, with the port that they say, else its own."""
        for advertised, expected in ((Advertised("box", 80), ("box", 80)), (Advertised("box"), ("box", 4001))):
            address = OwnTracker(self.state, 4001, advertised, lambda: "192.0.2.9").address()
            self.assertEqual((address.host, address.port), expected)

    def test_new_port(self) -> None:
        """A new port is kept from others until it is released, and asked for again it is the same."""
        tracker = OwnTracker(self.state, None, None, lambda: None)
        port = tracker.address().port
        self.addCleanup(tracker.release)
        self.assertEqual(tracker.address().port, port)
        with reserved(port) as other:
            self.assertNotEqual(other.getsockname()[1], port)
        tracker.release()
        tracker.release()
        with reserved(port) as other:
            self.assertEqual(other.getsockname()[1], port)
