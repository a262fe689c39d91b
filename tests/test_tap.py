"""The twistd plugins' options and services, and real `twistd` and `twist` processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

from twisted.application.service import MultiService, Service
from twisted.application.twist._options import TwistOptions
from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorCore
from twisted.internet.testing import MemoryReactor
from twisted.python.usage import Options, UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistedp2p.echo import EchoFactory
from twistedp2p.errors import FolderBusy
from twistedp2p.tap import echo
from twistedp2p.tap.listening import CannotStart, OneSentenceService, listening

BIN = Path(sys.executable).parent
LOCAL = "tcp:0:interface=127.0.0.1"


class ListenOptionTests(SynchronousTestCase):
    """``--listen``, which every service has."""

    def test_default(self) -> None:
        """Without the option the echo server listens on its usual port, for this machine only."""
        options = echo.Options()
        options.parseOptions([])
        self.assertEqual(options["listen"], ["tcp:17007:interface=127.0.0.1"])

    def test_repeats(self) -> None:
        """The option may be given several times; the default is then not listened on."""
        options = echo.Options()
        options.parseOptions(["--listen", "tcp:1", "--listen=unix:/run/x"])
        self.assertEqual(options["listen"], ["tcp:1", "unix:/run/x"])

    def test_bad_endpoint(self) -> None:
        """A text that is no endpoint is a usage error, in one sentence that repeats the text."""
        for text in ("", "17007", "tcp", "tcp:", "tcp:x", "tcp:1:nothing=2", "pigeon:1", "ssl:1:privateKey=/no"):
            with self.subTest(text):
                error = self.assertRaises(UsageError, echo.Options().parseOptions, ["--listen", text])
                self.assertIn(repr(text), str(error))
                self.assertNotIn("\n", str(error))


class PidfileTests(SynchronousTestCase):
    """Which pidfile twistd is left with."""

    def pidfile(self, *arguments: str) -> str:
        """Return the pidfile that twistd uses for `arguments`."""
        config = ServerOptions()
        config.parseOptions([*arguments, "echo"])
        return cast(str, config["pidfile"])

    def test_none_in_the_foreground(self) -> None:
        """With -n and no word of a pidfile, none is written."""
        self.assertEqual(self.pidfile("-n"), "")

    def test_none_in_the_debugger(self) -> None:
        """The debugger keeps the service in the foreground as -n does."""
        options = echo.Options()
        parent = {"debug": True, "nodaemon": 0, "pidfile": "twistd.pid"}
        options.parent = cast(Options, parent)
        options.parseOptions([])
        self.assertEqual(parent["pidfile"], "")

    def test_daemon_keeps_it(self) -> None:
        """A daemon writes the usual pidfile."""
        self.assertEqual(self.pidfile(), os.path.abspath("twistd.pid"))

    def test_named_pidfile_stays(self) -> None:
        """A pidfile that was asked for is written in the foreground too."""
        self.assertEqual(self.pidfile("-n", "--pidfile", "mine.pid"), os.path.abspath("mine.pid"))

    def test_twist_has_none(self) -> None:
        """`twist`, which knows no pidfile, gets none."""
        options = TwistOptions()
        options.parseOptions(["echo"])
        self.assertNotIn("pidfile", options)


class Failing(Service):
    """A service that can not start."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def privilegedStartService(self) -> None:
        raise self.error


class FailingLater(Failing):
    """The same, one step later."""

    def privilegedStartService(self) -> None:
        """Nothing needs privileges."""

    def startService(self) -> None:
        raise self.error


class OneSentenceTests(SynchronousTestCase):
    """What a person reads when a service can not start."""

    def start(self, child: Service) -> None:
        """Start a group with `child` in it, as twistd does."""
        group = OneSentenceService()
        child.setServiceParent(group)
        group.privilegedStartService()
        group.startService()

    def sentence(self, error: Exception) -> str:
        """Return what is said when a child fails with `error`, at either step."""
        said = {str(self.assertRaises(CannotStart, self.start, kind(error))) for kind in (Failing, FailingLater)}
        self.assertEqual(len(said), 1)
        return said.pop()

    def test_other_reason(self) -> None:
        """Another reason not to listen is named, with the way out."""
        error = CannotListenError("1.2.3.4", 80, OSError(99, "Cannot assign requested address"))
        self.assertEqual(
            self.sentence(error),
            "Can not listen on 1.2.3.4, port 80 (Cannot assign requested address); "
            "name another endpoint with --listen.",
        )

    def test_all_interfaces(self) -> None:
        """A port without an interface is on any address."""
        error = CannotListenError("", 80, PermissionError(13, "Permission denied"))
        self.assertIn("on any address, port 80 (Permission denied)", self.sentence(error))

    def test_reason_without_number(self) -> None:
        """A reason that is only a text is repeated."""
        error = CannotListenError(None, b"/run/x", OSError("AF_UNIX path too long"))
        self.assertIn("on /run/x (AF_UNIX path too long)", self.sentence(error))

    def test_operating_system(self) -> None:
        """What the operating system refuses is said as it says it."""
        self.assertEqual(
            self.sentence(FileNotFoundError(2, "No such file or directory", "/nowhere")),
            "Can not start: [Errno 2] No such file or directory: '/nowhere'.",
        )

    def test_port_number_too_large(self) -> None:
        """A port number that no socket takes is no bug of ours."""
        self.assertEqual(self.sentence(OverflowError("port must be 0-65535")), "Can not start: port must be 0-65535.")

    def test_own_errors(self) -> None:
        """The errors of this package are sentences already."""
        error = FolderBusy("Another process serves it; stop that.")
        self.assertEqual(self.sentence(error), "Another process serves it; stop that.")

    def test_bug(self) -> None:
        """A bug keeps its own exception, and so its traceback."""
        self.assertRaises(ZeroDivisionError, self.start, Failing(ZeroDivisionError()))

    def test_both_kinds(self) -> None:
        """twistd cleans up for an Exception only; Python prints no traceback for a SystemExit only."""
        self.assertTrue(issubclass(CannotStart, SystemExit) and issubclass(CannotStart, Exception))

    def test_starts_its_children(self) -> None:
        """A group whose children can start does start them."""
        child = MultiService()
        self.start(child)
        self.assertTrue(child.running)


class ListeningTests(TestCase):
    """The service that listens on each endpoint."""

    def test_every_endpoint(self) -> None:
        """Each endpoint is listened on with a factory of its own."""
        reactor = MemoryReactor()
        listening(["tcp:1001", "tcp:1002"], EchoFactory, cast(IReactorCore, reactor)).privilegedStartService()
        (one, first, *_), (two, second, *_) = reactor.tcpServers
        self.assertEqual((one, two), (1001, 1002))
        self.assertIsNot(first, second)

    async def refusal(self, endpoint: str) -> str:
        """Return what is said when a server listens twice; `endpoint` may be completed by the port."""
        reactor = cast(IReactorCore, global_reactor)
        port: IListeningPort = await serverFromString(reactor, endpoint).listen(EchoFactory())
        self.addCleanup(port.stopListening)
        again = endpoint.replace("tcp:0", f"tcp:{getattr(port.getHost(), 'port', 0)}")
        group = listening([again], EchoFactory, reactor)
        return str(self.assertRaises(CannotStart, group.privilegedStartService)).replace(again.split(":")[1], "HERE")

    async def test_port_in_use(self) -> None:
        """A TCP port in use is named, with both ways out."""
        self.assertEqual(
            await self.refusal(LOCAL),
            "Something else listens on 127.0.0.1, port HERE already; "
            "stop it, or name another endpoint with --listen.",
        )

    async def test_socket_in_use(self) -> None:
        """A UNIX socket in use is named, with both ways out."""
        self.assertEqual(
            await self.refusal(f"unix:{self.mktemp()}"),
            "Something else listens on HERE already; stop it, or name another endpoint with --listen.",
        )


class ProcessTests(SynchronousTestCase):
    """Real processes, started as a person would."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)

    def start(self, *arguments: str) -> tuple[subprocess.Popen[str], int]:
        """Start a server in `folder`; return it and its port once it listens."""
        process = subprocess.Popen(
            [BIN / arguments[0], *arguments[1:]],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end, process)
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "starting on" in line:
                return process, int(line.partition("starting on ")[2].split('"')[0])
        self.fail(f"the server ended with status {process.wait()}:\n{''.join(said)}")

    def end(self, process: subprocess.Popen[str], signal_number: int = signal.SIGKILL) -> str:
        """Send a signal to `process`, wait for its end and return the rest of its output."""
        assert process.stdout is not None
        if process.stdout.closed:
            return ""
        process.send_signal(signal_number)
        with process.stdout:
            rest = process.stdout.read()
        process.wait()
        return rest

    def failed(self, *arguments: str) -> str:
        """Return the output of a start that must fail with status 1 and without a traceback."""
        done = subprocess.run(
            [BIN / arguments[0], *arguments[1:]],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,  # a start that fails silently is to fail here, not to hang
            check=False,
        )
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotIn("Traceback", done.stdout)
        return done.stdout

    def test_side_by_side(self) -> None:
        """Two servers run from one folder, echo, write no pidfile, and end cleanly on SIGTERM and SIGINT."""
        servers = [self.start("twistd", "-n", "echo", "--listen", LOCAL) for _ in range(2)]
        for _, port in servers:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"there and back")
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as back:
                    self.assertEqual(back.read(), b"there and back")
        self.assertEqual(os.listdir(self.folder), [])
        for (process, _), signal_number in zip(servers, (signal.SIGTERM, signal.SIGINT), strict=True):
            rest = self.end(process, signal_number)
            self.assertIn("Server Shut Down", rest)
            self.assertNotIn("Traceback", rest)

    def test_port_in_use(self) -> None:
        """twistd and twist, in the foreground or not, say in one sentence that a port is in use."""
        _, port = self.start("twist", "--log-format=text", "echo", "--listen", LOCAL)
        listen = ("echo", "--listen", f"tcp:{port}:interface=127.0.0.1")
        sentence = f"Something else listens on 127.0.0.1, port {port} already; stop it, or name another endpoint"
        self.assertIn(sentence, self.failed("twist", *listen))
        self.assertIn(sentence, self.failed("twistd", "-n", *listen))
        self.assertIn("An error has occurred", self.failed("twistd", *listen))
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])
        self.assertIn(sentence, Path(self.folder, "twistd.log").read_text())

    def test_bad_endpoint(self) -> None:
        """twistd says in one sentence what is wrong with an endpoint."""
        said = self.failed("twistd", "-n", "echo", "--listen", "tcp:x")
        self.assertIn("--listen 'tcp:x' is not an endpoint", said.splitlines()[-1])
