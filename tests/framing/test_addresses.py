"""Addresses of this machine, and those that a person writes."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.errors import BadAddress
from twistedp2p.framing.addresses import Advertised, candidates, own_address


class AdvertisedTests(SynchronousTestCase):
    """What `--advertise` takes."""

    def test_written(self) -> None:
        """A host with or without a port is taken, IPv6 with brackets or alone."""
        for text, host, port in (
            ("box.example", "box.example", None),
            (" box.example:80 ", "box.example", 80),
            ("192.0.2.7:65535", "192.0.2.7", 65535),
            ("2001:db8::1", "2001:db8::1", None),
            ("2001:DB8:0::1", "2001:db8::1", None),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:17411", "2001:db8::1", 17411),
        ):
            self.assertEqual(Advertised.parse(text), Advertised(host, port), text)

    def test_not_an_address(self) -> None:
        """Anything else is an error in a sentence, never a guess."""
        for text in (
            "",
            ":80",
            "box:",
            "box:0",
            "box:65536",
            "box:http",
            "box:\u0661\u0662",
            "a:b:80",
            "[::1",
            "[box]:80",
            "http://box/",
            "you@box",
            "a b",
            "box:99999999999999999999",
        ):
            error = self.assertRaises(BadAddress, Advertised.parse, text)
            self.assertIn("HOST:PORT", str(error))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """No text leads to anything but an address or that error."""
        with contextlib.suppress(BadAddress):
            Advertised.parse(text)


class OwnAddressTests(SynchronousTestCase):
    """Which address goes into an invite."""

    def test_first_that_others_reach(self) -> None:
        """The first address that means something on another machine is taken."""
        self.assertEqual(own_address(["127.0.1.1", "169.254.3.4", "0.0.0.0", "192.168.1.7", "10.0.0.1"]), "192.168.1.7")
        self.assertEqual(own_address(["fe80::1%eth0", "fe80::1", "::1", "2001:db8::7"]), "2001:db8::7")

    def test_none(self) -> None:
        """With nothing but loopback there is none."""
        self.assertIsNone(own_address(["127.0.0.1", "::1", "nonsense"]))
        self.assertIsNone(own_address([]))

    def test_best_first(self) -> None:
        """The address towards the world comes first; a family without a route is passed over."""

        def towards(family: int, away: str) -> str:
            if ":" not in away:
                raise OSError
            return "2001:db8::7"

        self.assertEqual(next(candidates(towards)), "2001:db8::7")

    def test_this_machine(self) -> None:
        """The addresses of this machine include its loopback interface."""
        self.assertIn("127.0.0.1", list(candidates()))
