"""What can be said of an echo server, and what is said of mistakes."""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistedp2p import limits
from twistedp2p.tap import echo
from twistedp2p.tap.starting import CannotStart


def parsed(*arguments: str) -> echo.Options:
    """Return the options for `arguments`."""
    options = echo.Options()
    options.parseOptions(arguments)
    return options


class OptionTests(SynchronousTestCase):
    """The options of ``twistd echo``."""

    def test_defaults(self) -> None:
        """Without a word it serves as many as `limits` says, with no limit per address, and no UDP."""
        options = parsed()
        self.assertEqual(options["connections"], limits.ECHO_CONNECTIONS)
        self.assertIsNone(options["per-address"])
        self.assertEqual(options["idle"], limits.ECHO_IDLE)
        self.assertEqual(options["udp"], [])

    def test_numbers(self) -> None:
        """A number of connections is one or more; seconds may be none, for ever."""
        options = parsed("--connections", "1", "--per-address", "1", "--idle", "0")
        self.assertEqual((options["connections"], options["per-address"], options["idle"]), (1, 1, 0))
        for wrong in (
            ("--connections", "0"),
            ("--connections", "-1"),
            ("--connections", "many"),
            ("--per-address", "0"),
            ("--idle", "-1"),
            ("--idle", "nan"),
            ("--idle", "inf"),
        ):
            with self.subTest(wrong):
                self.assertIn(repr(wrong[1]), str(self.assertRaises(UsageError, parsed, *wrong)))

    def test_udp(self) -> None:
        """A port alone is one of this machine only; HOST:PORT says more; with UDP alone, TCP is not listened on."""
        options = parsed("--udp", "17007", "--udp", "0.0.0.0:7", "--udp", "[::1]:0", "--udp", "0")
        self.assertEqual(options["udp"], [("127.0.0.1", 17007), ("0.0.0.0", 7), ("::1", 0), ("127.0.0.1", 0)])
        self.assertEqual(options["listen"], [])
        self.assertEqual(parsed("--udp", "1", "--listen", "tcp:2")["listen"], ["tcp:2"])
        for wrong in ("", "x", "70000", "host", "host:x", "::1"):
            with self.subTest(wrong):
                self.assertIn(repr(wrong), str(self.assertRaises(UsageError, parsed, "--udp", wrong)))

    def test_self_signed(self) -> None:
        """A self-signed endpoint takes the words of a TCP one, and nothing else; no key is made for looking at it."""
        home = self.mktemp()
        options = parsed("--home", home, "--listen", "self-signed:17007:interface=127.0.0.1")
        self.assertEqual(options["listen"], ["self-signed:17007:interface=127.0.0.1"])
        self.assertFalse(os.path.exists(home))
        for wrong in ("self-signed:", "self-signed:x", "self-signed:1:nothing=2"):
            with self.subTest(wrong):
                said = str(self.assertRaises(UsageError, parsed, "--listen", wrong))
                self.assertIn("self-signed:17007", said)
                self.assertNotIn("\n", said)

    def test_key_is_kept(self) -> None:
        """The key of a self-signed endpoint is made once, and is nobody else's to read."""
        home = self.mktemp()
        key = os.path.join(home, "echo", "key.pem")
        kept = []
        for _ in range(2):
            echo.makeService(parsed("--home", home, "--listen", "self-signed:0"))
            with open(key, "rb") as file:
                kept.append(file.read())
        self.assertEqual(kept[0], kept[1])
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)

    def test_unusable_home(self) -> None:
        """A state folder that can not be used is one sentence."""
        options = parsed("--home", "/proc/nowhere", "--listen", "self-signed:0")
        self.assertIn("--home", str(self.assertRaises(CannotStart, echo.makeService, options)))


class SignalTests(TestCase):
    """SIGUSR2."""

    async def test_counters(self) -> None:
        """The signal has the counters logged, from the reactor, as long as the service runs."""
        before = signal.getsignal(signal.SIGUSR2)
        heard: Deferred[None] = Deferred()
        service = echo._OnSignal(global_reactor, signal.SIGUSR2, lambda: heard.callback(None))
        service.startService()
        os.kill(os.getpid(), signal.SIGUSR2)
        await heard
        service.stopService()
        self.assertIs(signal.getsignal(signal.SIGUSR2), before)
