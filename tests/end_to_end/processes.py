"""One person's machine for tests: a state folder, shared folders, and the processes started there.

Everything waits for a condition and has a deadline; every process is ended by its own id.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite, TrackerAddress

__all__ = [
    "LOCAL",
    "Machine",
    "Peer",
    "Process",
    "Tree",
    "difference",
    "put",
    "still_running",
    "tree",
    "wait_until",
]

BIN = Path(sys.executable).parent
LOCAL = "tcp:0:interface=127.0.0.1"
DEADLINE = 30.0
"""Seconds after which something that should happen is taken for something that does not."""
_POLL = 0.01
_END = 10.0
_ROUTINE = ("Main loop terminated.", "Server Shut Down.")
_TROUBLE = ("Traceback", "Unhandled", "#critical]")

Tree = dict[str, "tuple[bytes, bool] | None"]
"""What a folder holds: path -> content and executable bit, None for a folder."""


def wait_until(
    condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = DEADLINE, pause: float = _POLL
) -> None:
    """Return once `condition` holds; fails after so many seconds, saying that `what` did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)


def still_running(processes: Iterable[Process], condition: Callable[[], bool]) -> Callable[[], bool]:
    """Return `condition`, which now fails if one of `processes` that runs now has ended by then."""
    alive = [process for process in processes if process.running()]

    def checked() -> bool:
        for process in alive:
            assert process.running(), f"{process.name} has ended:\n{process.text()[-2000:]}"
        return condition()

    return checked


def tree(folder: Path) -> Tree:
    """Return what `folder` holds, without the state folder; what vanishes meanwhile may be missing."""
    found: Tree = {}
    for base, folders, files in os.walk(folder):
        if ".twistedp2p" in folders:
            folders.remove(".twistedp2p")
        for name in folders:
            found[os.path.relpath(os.path.join(base, name), folder)] = None
        for name in files:
            path = os.path.join(base, name)
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
                found[os.path.relpath(path, folder)] = (file.read(), executable)
    return found


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, path -> content, below `folder`, and the folders that they need."""
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


class Process:
    """One program that runs, or ran, with what it printed in a file."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """Its id."""
        return self._popen.pid

    def text(self) -> str:
        """Return what it printed so far."""
        return self.log.read_text(errors="replace")

    def running(self) -> bool:
        """Return whether it runs."""
        return self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.running():
            self._popen.send_signal(number)

    def ended(self, seconds: float = DEADLINE) -> int:
        """Wait for its end; return the exit status."""
        return self._popen.wait(seconds)

    def stop(self, seconds: float = _END) -> None:
        """End it as a service is ended; it must be clean.

        `twistedp2p` ends with status 0. Twisted's `twistd` shuts everything down, says so, and then lets the
        signal end it, so that whoever started it sees why.
        """
        self.send(signal.SIGTERM)
        self.check_end(seconds)

    def check_end(self, seconds: float = _END) -> None:
        """Wait for the end of one that was sent a signal to end; it must be clean."""
        status = self.ended(seconds)
        if status == -signal.SIGTERM:
            assert "Server Shut Down" in self.text(), f"{self.name} was ended by the signal without a shutdown"
        else:
            assert status == 0, f"{self.name} ended with status {status}"

    def kill(self) -> None:
        """End it without a chance to do anything."""
        self.send(signal.SIGKILL)
        self.ended()


class Peer(Process):
    """A peer of one folder."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, folder: Path, home: Home) -> None:
        super().__init__(name, popen, log)
        self.folder = folder
        self._home = home

    def status(self) -> dict[str, Any] | None:
        """Ask it over its control socket how it is; None while it does not answer."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(self._home.control_socket(self.folder))
            connection.request("GET", "/status")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def state(self) -> dict[str, Any]:
        """Return its status; fails if it does not answer."""
        found = self.status()
        assert found is not None, f"{self.name} does not answer"
        return found

    def in_sync(self) -> bool:
        """Return whether it says that it is in sync."""
        found = self.status()
        return found is not None and found["in_sync"] is True


class Machine:
    """A state folder and a working directory below `base`, and all processes started here.

    `programs` is the folder of `twistd` and `twistedp2p`.
    """

    enter: tuple[str, ...] = ()
    """Words before each command, which put it on a network of its own."""

    def __init__(self, base: Path, programs: Path = BIN) -> None:
        self.base = base
        self.programs = programs
        self.home = Home(base / "home")
        self.processes: list[Process] = []
        self.excused: set[str] = set()
        """Names of processes whose log may tell of trouble."""
        self._last_logs: list[tuple[str, str]] = []

    # -- starting -----------------------------------------------------------

    def start(
        self, name: str, *command: str, folder: Path | None = None, stdin: int | IO[bytes] = subprocess.DEVNULL
    ) -> Process:
        """Start a program; with `folder`, it is a `Peer`. Its output goes to a file named after it."""
        log = self.base / f"{len(self.processes)}-{name}.log"
        arguments = [*self.enter, str(self.programs / command[0]), *command[1:]]
        with log.open("wb") as output:
            popen = subprocess.Popen(
                arguments,
                cwd=self.base,
                env=self._environment(),
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = Process(name, popen, log) if folder is None else Peer(name, popen, log, folder, self.home)
        self.processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("TWISTEDP2P_INVITE", "PYTHONPATH")}
        return {**kept, "TWISTEDP2P_HOME": str(self.home.path)}

    def tracker(self, port: int = 0, *words: str) -> Process:
        """Start a tracker on loopback, and wait until it listens."""
        started = self.start("tracker", "twistd", "-n", "tracker", *self.tracker_listens(port), *words)
        # It says so before it leaves its address, which a first start leaves where there was none.
        self.wait(
            lambda: "The tracker listens on" in started.text() and self.home.tracker_address() is not None,
            "the tracker listens",
        )
        return started

    def address(self) -> TrackerAddress:
        """Return the address of this machine's tracker."""
        found = self.home.tracker_address()
        assert found is not None, "there was no tracker here"
        return found

    def peer(self, name: str, *words: str) -> Peer:
        """Start `twistd -n peer` for the folder `name`; it listens on loopback only."""
        folder = self.folder(name)
        words = ("--folder", str(folder), *self.peer_listens(), "--name", name, *words)
        started = self.start(name, "twistd", "-n", "peer", *words, folder=folder)
        assert isinstance(started, Peer)
        return started

    def command(self, verb: str, name: str, *words: str) -> Peer:
        """Start `twistedp2p VERB WORDS FOLDER`, a peer in the foreground, for the folder `name`."""
        folder = self.folder(name)
        options = (*self.peer_listens(), "--name", name)
        started = self.start(name, "twistedp2p", verb, *options, *words, str(folder), folder=folder)
        assert isinstance(started, Peer)
        return started

    def begin(self, name: str, *words: str) -> Peer:
        """Start the first peer of a new share; returns once its invite is in `invite_file`."""
        started = self.peer(name, "--new-share", "--invite-file", str(self.invite_file), *words)
        self.wait(self.invite_file.exists, "the invite is written")
        return started

    def join(self, name: str, *words: str) -> Peer:
        """Start a peer that joins the share that `begin` began."""
        return self.peer(name, "--join", f"@{self.invite_file}", *words)

    def tracker_listens(self, port: int) -> tuple[str, ...]:
        """Return the words that say where a tracker listens: on loopback."""
        return ("--listen", f"tcp:{port}:interface=127.0.0.1")

    def peer_listens(self) -> tuple[str, ...]:
        """Return the words that say where a peer listens: on loopback."""
        return ("--listen", LOCAL)

    def fails(self, *command: str) -> str:
        """Run a program that must end with status 1, without a traceback; return the sentence that it ends with."""
        process = self.start("failing", *command)
        status = process.ended()
        text = process.text()
        assert status == 1, f"{command} ended with status {status}:\n{text}"
        self.excused.add("failing")
        assert "Traceback" not in text, text
        *_, sentence = (line for line in text.splitlines() if not line.endswith(_ROUTINE))
        return sentence.rpartition("#critical] ")[2]

    # -- looking ------------------------------------------------------------

    @property
    def invite_file(self) -> Path:
        """Where `begin` writes the invite."""
        return self.base / "invite"

    def invite(self) -> Invite:
        """Return the invite of the share that `begin` began."""
        return Invite.parse(self.invite_file.read_text())

    def folder(self, name: str) -> Path:
        """Return the path of a folder here."""
        return self.base / name

    def wait(self, condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = DEADLINE) -> None:
        """Wait as `wait_until`; fails at once if a process that was not ended by the test has ended."""
        wait_until(still_running(self.processes, condition), what, seconds)

    def wait_for(self, peers: Iterable[Peer], expected: Tree) -> None:
        """Wait until the folders of all `peers` hold exactly `expected`."""
        for peer in peers:
            self.wait(
                lambda peer=peer: tree(peer.folder) == expected,  # type: ignore[misc]
                lambda peer=peer: f"{peer.name} has all there is; {difference(tree(peer.folder), expected)}",  # type: ignore[misc]
            )

    def wait_equal(self, *peers: Peer) -> Tree:
        """Wait until the folders of `peers` hold the same; return what they hold."""

        def equal() -> bool:
            first, *others = (tree(peer.folder) for peer in peers)
            return all(other == first for other in others)

        self.wait(equal, lambda: difference(tree(peers[0].folder), tree(peers[-1].folder)))
        return tree(peers[0].folder)

    # -- ending -------------------------------------------------------------

    def close(self) -> None:
        """End all that still runs, peers before trackers; fails if one does not end, or has logged a bug."""
        running = [process for process in reversed(self.processes) if process.running()]
        for process in running:
            process.send(signal.SIGTERM)
        late = []
        for process in running:
            try:
                process.ended(_END)
            except subprocess.TimeoutExpired:
                late.append(process.name)
                process.kill()
        self._last_logs = self.logs()
        assert not late, f"SIGTERM did not end {late}"
        for process in self.processes:
            text = process.text()
            trouble = [sign for sign in _TROUBLE if sign in text and process.name not in self.excused]
            assert not trouble, f"{process.name} logged trouble: {trouble}"

    def logs(self) -> list[tuple[str, str]]:
        """Return what each process printed, shortened, with a heading: for whoever reads of a failure."""
        return self._last_logs or [(f"output of {one.log.name}", _shortened(one.text())) for one in self.processes]


def _shortened(text: str, most: int = 8000) -> str:
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\n[...]\n{text[-half:]}"


def difference(found: Tree, expected: Tree) -> str:
    """Return in which paths two trees differ, the first few of each kind."""
    missing = sorted(expected.keys() - found.keys())[:5]
    more = sorted(found.keys() - expected.keys())[:5]
    other = sorted(path for path in found.keys() & expected.keys() if found[path] != expected[path])[:5]
    return f"missing {missing}, too much {more}, different {other}"
