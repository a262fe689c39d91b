"""The twistd plugins' options and services, and real `twistd` and `twist` processes."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast
from unittest.mock import ANY

from attrs import evolve
from twisted.application.service import MultiService, Service
from twisted.application.twist._options import TwistOptions
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IReactorCore
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.usage import Options, UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twistedp2p import limits
from twistedp2p.echo import EchoFactory
from twistedp2p.errors import FolderBusy
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.peer.options import PeerOptions
from twistedp2p.tap import echo, peer, tracker
from twistedp2p.tap.listening import listening
from twistedp2p.tap.starting import BeginningService, CannotStart, OneSentenceService
from twistedp2p.tracker.service import load_key

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


class TrackerOptionTests(SynchronousTestCase):
    """The options of ``twistd tracker``."""

    def parsed(self, *arguments: str) -> tracker.Options:
        """Return the options for `arguments`."""
        options = tracker.Options()
        options.parseOptions(arguments)
        return options

    def refused(self, *arguments: str) -> str:
        """Return the one sentence that refuses `arguments`."""
        sentence = str(self.assertRaises(UsageError, self.parsed, *arguments))
        self.assertNotIn("\n", sentence)
        return sentence

    def test_defaults(self) -> None:
        """Without options, the intervals are the limits' and the service chooses where to listen."""
        options = self.parsed()
        self.assertEqual((options["keepalive"], options["expiry"]), (limits.KEEPALIVE, limits.EXPIRY))
        self.assertEqual((options["listen"], options["advertise"]), ([], None))

    def test_home(self) -> None:
        """The state folder is the one of --home, else that of TWISTEDP2P_HOME."""
        self.patch(os, "environ", {**os.environ, "TWISTEDP2P_HOME": "/from/environ"})
        self.assertEqual(self.parsed()["home"], Path("/from/environ"))
        self.assertEqual(self.parsed("--home", "here")["home"], Path.cwd() / "here")

    def test_intervals(self) -> None:
        """Intervals are seconds, with fractions if one likes."""
        options = self.parsed("--keepalive", "0.5", "--expiry", "2")
        self.assertEqual((options["keepalive"], options["expiry"]), (0.5, 2.0))

    def test_bad_intervals(self) -> None:
        """What is not a number of seconds above zero is refused, by itself."""
        for text in ("0", "-1", "nan", "inf", "soon", ""):
            with self.subTest(text):
                self.assertIn(repr(text), self.refused("--keepalive", text))

    def test_expiry_before_keepalive(self) -> None:
        """An expiry that is not longer than the keep-alive is refused: it would forget live peers."""
        self.assertIn("longer than --keepalive", self.refused("--keepalive", "5", "--expiry", "5"))
        self.parsed("--keepalive", "5", "--expiry", "5.1")

    def test_advertise(self) -> None:
        """An address to advertise is a host with or without a port."""
        for text in ("example.org", "example.org:99", "10.0.0.1", "[::1]:99", "::1"):
            self.assertEqual(self.parsed("--advertise", text)["advertise"], text)
        for text in ("", "a:b", "example.org:0", "example.org:65536", "[::1"):
            with self.subTest(text):
                self.assertIn("Write HOST or HOST:PORT", self.refused("--advertise", text))


class PeerOptionTests(SynchronousTestCase):
    """The options of ``twistd peer``."""

    INVITE = Invite(bytes(16), (TrackerAddress("127.0.0.1", 17411, bytes(16)),))
    TRACKER = "127.0.0.1:17411:" + 26 * "a"

    def parsed(self, *arguments: str, stdin: str = "", **environ: str) -> peer.Options:
        """Return the options for `arguments`, the text on standard input and the environment."""
        options = peer.Options({"TWISTEDP2P_HOME": "/home", **environ}, io.StringIO(stdin))
        options.parseOptions(arguments)
        return options

    def refused(self, *arguments: str, stdin: str = "", **environ: str) -> str:
        """Return what refuses `arguments`, which does not show the invite."""
        said = str(self.assertRaises(UsageError, self.parsed, *arguments, stdin=stdin, **environ))
        self.assertNotIn("\n", said)
        self.assertNotIn(self.INVITE.text().rpartition(":")[2], said)
        return said

    def test_defaults(self) -> None:
        """Without options, ./shared is shared durably, and the rest is left to the peer."""
        self.assertEqual(
            self.parsed().peer_options(), PeerOptions(folder=Path.cwd() / "shared", home=ANY)
        )
        self.assertEqual(self.parsed().peer_options().home.path, Path("/home"))

    def test_everything_said(self) -> None:
        """Each option reaches the peer."""
        options = self.parsed(
            "--folder=f", "--new-share", f"--tracker={self.TRACKER}", "--listen=tcp:1", "--listen=tcp:2",
            "--advertise=h:9", "--name=kitchen", "--names=portable", "--durability=relaxed", "--home=/h",
            "--invite-file=i", "--defaults", "--trash-days=0",
        ).peer_options()  # fmt: skip
        self.assertEqual(options.home.path, Path("/h"))
        here = Path.cwd()
        self.assertEqual(
            evolve(options, home=ANY),
            PeerOptions(
                folder=here / "f",
                home=ANY,
                new_share=True,
                tracker=TrackerAddress.parse(self.TRACKER),
                portable=True,
                listen=("tcp:1", "tcp:2"),
                advertise="h:9",
                name="kitchen",
                durable=False,
                invite_file=here / "i",
                defaults=True,
                trash_days=0,
            ),
        )

    def test_where_invites_come_from(self) -> None:
        """An invite comes from the command line, standard input, a file or the environment."""
        text = self.INVITE.text()
        file = Path(self.mktemp())
        file.write_text(text + "\n")
        for options in (
            self.parsed("--join", text),
            self.parsed("--join", "-", stdin=text + "\n"),
            self.parsed("--join", f"@{file}"),
            self.parsed(TWISTEDP2P_INVITE=text),
            self.parsed("--join", text, TWISTEDP2P_INVITE="another one, which is not looked at"),
        ):
            self.assertEqual(options.peer_options().invite, self.INVITE)
            self.assertNotIn(text.rpartition(":")[2], repr(options))

    def test_typed_invite(self) -> None:
        """On a terminal an invite ends with the return key."""
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        stdin = Terminal(self.INVITE.text() + "\nmore")
        options = peer.Options({"TWISTEDP2P_HOME": "/home"}, stdin)
        options.parseOptions(["--join", "-"])
        self.assertEqual(options["invite"], self.INVITE)
        self.assertEqual(stdin.read(), "more")

    def test_empty_variable(self) -> None:
        """An empty environment variable is none."""
        self.assertIsNone(self.parsed(TWISTEDP2P_INVITE="").peer_options().invite)

    def test_bad_invites(self) -> None:
        """An invite that can not be used is refused, with the place it came from."""
        cut = self.INVITE.text()[:-1]
        self.assertIn("invite of --join", self.refused("--join", cut))
        self.assertIn("invite of --join", self.refused("--join", ""))
        self.assertIn("invite of --join", self.refused("--join", "-", stdin="x" * 1_000_000))
        self.assertIn("invite of TWISTEDP2P_INVITE", self.refused(TWISTEDP2P_INVITE=cut))

    def test_no_invite_file(self) -> None:
        """An invite file that can not be read is named."""
        self.assertIn("'/nowhere/i' with the invite can not be read", self.refused("--join", "@/nowhere/i"))

    def test_join_or_begin(self) -> None:
        """To join a share and to begin one exclude each other, wherever the invite comes from."""
        text = self.INVITE.text()
        self.assertIn("--join joins", self.refused("--join", text, "--tracker", self.TRACKER))
        self.assertIn("--new-share begins", self.refused("--join", text, "--new-share"))
        self.assertIn("TWISTEDP2P_INVITE joins", self.refused("--new-share", TWISTEDP2P_INVITE=text))

    def test_names_of_the_share(self) -> None:
        """Who joins takes the share's names; to say the same is no error."""
        self.parsed("--join", self.INVITE.text(), "--names", "posix")
        self.assertIn("are posix", self.refused("--join", self.INVITE.text(), "--names", "portable"))

    def test_bad_values(self) -> None:
        """A value that an option does not know is refused."""
        for argument in (
            "--names=dos", "--durability=maybe", "--tracker=somewhere", "--advertise=a:b", "--name=", "--folder=",
            "--name=" + 65 * "x", "--name=a\tb", "--listen=tcp:x", "--trash-days=-1", "--trash-days=36501",
            "--trash-days=1.5",
        ):  # fmt: skip
            with self.subTest(argument):
                self.refused(argument)

    def test_longest_name(self) -> None:
        """A name of 64 characters is taken."""
        self.assertEqual(self.parsed("--name=" + 64 * "\u00e9")["name"], 64 * "\u00e9")


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


class StoppableReactor:
    """As much of a reactor as runs, stops and is waited for; it counts how often it was stopped."""

    def __init__(self) -> None:
        self.running = False
        self.stops = 0
        self.waiting: list[Callable[[], None]] = []

    def run(self) -> None:
        """Begin to run, and call who waited for it."""
        self.running = True
        for call in self.waiting:
            call()

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Call now if it runs, else once it does."""
        if self.running:
            call()
        else:
            self.waiting.append(call)

    def stop(self) -> None:
        """Stop, unless it does not run."""
        if not self.running:
            raise ReactorNotRunning()
        self.running = False
        self.stops += 1


class BeginningTests(SynchronousTestCase):
    """A service whose start takes a while."""

    def setUp(self) -> None:
        self.begun: Deferred[None] = Deferred()
        self.reactor = StoppableReactor()
        self.events: list[str] = []
        self.service = BeginningService(
            lambda: self.begun, self.end, cast(IReactorCore, self.reactor), lambda: self.events.append("failed")
        )

    def end(self) -> Deferred[None]:
        """End at once."""
        self.events.append("ended")
        return succeed(None)

    def test_goes_well(self) -> None:
        """After a good start the program goes on; it ends what it began when it is stopped."""
        self.service.startService()
        self.reactor.run()
        self.begun.callback(None)
        self.assertEqual((self.events, self.reactor.stops), ([], 0))
        self.service.stopService()
        self.assertEqual(self.events, ["ended"])

    def test_fails_later(self) -> None:
        """A start that fails later is logged in one sentence, stops the reactor, and makes the status 1."""
        self.service.startService()
        self.reactor.run()
        with capturedLogs() as events:
            self.begun.errback(FolderBusy("Stop the other one."))
        self.assertEqual((self.events, self.reactor.stops), (["failed"], 1))
        self.assertEqual(
            [(event["log_level"], formatEvent(event)) for event in events], [(LogLevel.critical, "Stop the other one.")]
        )

    def test_fails_at_once(self) -> None:
        """A start that fails at once waits for the reactor to run before it stops it."""
        self.begun.errback(FolderBusy("Stop the other one."))
        self.service.startService()
        self.assertEqual((self.events, self.reactor.stops), (["failed"], 0))
        self.reactor.run()
        self.assertEqual(self.reactor.stops, 1)

    def test_bug(self) -> None:
        """A bug is logged with its traceback and ends the program too."""
        self.begun.errback(ZeroDivisionError())
        self.service.startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.events, ["failed"])

    def test_stopped_meanwhile(self) -> None:
        """A start that is broken off by stopping the service is no failure."""
        self.service.startService()
        self.service.stopService()
        self.begun.errback(CancelledError())
        self.assertEqual(self.events, ["ended"])

    def test_reactor_stops_already(self) -> None:
        """A reactor that stops already is let be."""
        self.begun.errback(FolderBusy("Stop the other one."))
        self.service.startService()
        self.reactor.waiting[0]()
        self.assertEqual(self.reactor.stops, 0)

    def test_raised(self) -> None:
        """What can not even begin is raised to who starts the service."""

        def begin() -> Deferred[None]:
            raise FolderBusy("Stop the other one.")

        service = BeginningService(begin, self.end, cast(IReactorCore, self.reactor), self.fail)
        self.assertRaises(FolderBusy, service.startService)


class MakeServiceTests(SynchronousTestCase):
    """What the plugins make of their options."""

    def test_tracker(self) -> None:
        """A tracker's service has the key of its state folder, and starts nothing by itself."""
        home = Path(self.mktemp())
        options = tracker.Options()
        options.parseOptions(["--home", str(home), "--listen", LOCAL, "--advertise", "example.org:99"])
        service = cast(OneSentenceService, tracker.makeService(options))
        (child,) = service
        self.assertEqual(child.key.spki, load_key(home).spki)
        self.assertEqual(child.ports, [])

    def test_tracker_without_home(self) -> None:
        """A tracker whose state folder can not be made is not made; it says why."""
        options = tracker.Options()
        options.parseOptions(["--home", "/proc/nowhere"])
        self.assertIn("name another --home", str(self.assertRaises(CannotStart, tracker.makeService, options)))

    def test_peer(self) -> None:
        """A peer's service touches no disk before it is started."""
        folder = Path(self.mktemp())
        options = peer.Options({"TWISTEDP2P_HOME": self.mktemp()})
        options.parseOptions(["--folder", str(folder)])
        self.assertIsInstance(peer.makeService(options), OneSentenceService)
        self.assertFalse(folder.exists())


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
        self.environment = {**os.environ, "TWISTEDP2P_HOME": os.path.abspath(self.mktemp()), "TWISTEDP2P_INVITE": ""}

    def start(self, *arguments: str) -> tuple[subprocess.Popen[str], int]:
        """Start a server in `folder`; return it and its port once it listens."""
        process = subprocess.Popen(
            [BIN / arguments[0], *arguments[1:]],
            cwd=self.folder,
            env=self.environment,
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
        # A daemon may still be at its last steps when the process in the foreground has ended. The
        # pipe is inherited by both, and at its end when both are gone.
        reading, writing = os.pipe()
        with open(reading, "rb") as all_gone:
            with open(writing, "wb"):
                done = subprocess.run(
                    [BIN / arguments[0], *arguments[1:]],
                    cwd=self.folder,
                    env=self.environment,
                    pass_fds=[writing],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=60,  # a start that fails silently is to fail here, not to hang
                    check=False,
                )
            all_gone.read()
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
        # A daemon's sentence is in its log; its pidfile is gone.
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])
        self.assertIn(sentence, Path(self.folder, "twistd.log").read_text())

    def test_tracker_and_peer_that_can_not_start(self) -> None:
        """A tracker and a peer that can not start end with one sentence and status 1, like the echo server."""
        self.assertIn("No tracker is known on this machine", self.failed("twistd", "-n", "peer"))
        _, port = self.start("twistd", "-n", "tracker", "--listen", LOCAL)
        listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
        self.assertIn(f"port {port} already; stop it", self.failed("twistd", "-n", "tracker", *listen))
        # A peer opens its folder and starts its threads before it listens: they must not keep the process.
        self.assertIn(f"Port {port} can not be listened on", self.failed("twistd", "-n", "peer", *listen))
        self.assertIn(f"Port {port} can not be listened on", self.failed("twist", "peer", *listen))
        self.assertEqual(os.listdir(self.folder), ["shared"])

    def test_status_of_a_late_failure(self) -> None:
        """A start that fails while the reactor runs ends the process with status 1, after all output was written."""
        program = (
            "from twisted.internet import reactor, task\n"
            "from twistedp2p.errors import FolderBusy\n"
            "from twistedp2p.tap.starting import BeginningService, exit_with_status_1\n"
            "def begin(): return task.deferLater(reactor, 0, lambda: 0).addCallback(fail)\n"
            "def fail(_): raise FolderBusy('Stop the other one.')\n"
            "service = BeginningService(begin, lambda: None, reactor, exit_with_status_1)\n"
            "service.startService()\n"
            "reactor.run()\n"
            "print('the last word', end='')\n"
        )
        said = self.failed(sys.executable, "-c", program)
        self.assertIn("Stop the other one.", said)
        self.assertTrue(said.endswith("the last word"))

    def test_no_state_folder(self) -> None:
        """A state folder that can not be made is named in the last line."""
        said = self.failed("twistd", "-n", "tracker", "--home", "/proc/nowhere")
        self.assertIn("name another --home", said.splitlines()[-1])

    def test_bad_endpoint(self) -> None:
        """twistd says in one sentence what is wrong with an endpoint."""
        said = self.failed("twistd", "-n", "echo", "--listen", "tcp:x")
        self.assertIn("--listen 'tcp:x' is not an endpoint", said.splitlines()[-1])
