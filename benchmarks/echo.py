"""The echo server beside a bare Twisted protocol that writes back what it reads: speed, memory, idling.

    .venv/bin/python benchmarks/echo.py [--rounds 11] [--seconds 0.4] [--only speed|memory|idle|many]

Every server is a process of its own, started anew for each part; what loads it is a third process without Twisted, so
that the server is the slower one. Speed: both servers in turns, one message under way on each connection; messages a
second, and what a message cost the server in processor time, which the other programs of the machine disturb less. Each
round is short, and its ratio is that of two measurements side by side; what is printed are the medians of all rounds.
Memory: the resident memory without connections and with 5,000 idle ones. Idling: processor time in 20 seconds with
1,000 idle connections. Many: `twistedp2p echo` with 10,000 connections.
"""

from __future__ import annotations

import argparse
import operator
import os
import platform
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent
SIZES = (64, 1024, 16 * 1024, 64 * 1024)
CONNECTIONS = (1, 100, 1000)
BARE = """
import sys
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

class Bare(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

reactor.listenTCP(int(sys.argv[1]), Factory.forProtocol(Bare), backlog=1024, interface="127.0.0.1")
reactor.run()
"""
TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


def command_of(what: str, port: int) -> list[str]:
    """Return the command line of a server."""
    if what == "bare":
        return [sys.executable, "-c", BARE, str(port)]
    return [str(BIN / "twistd"), "-n", "echo", "--listen", f"tcp:{port}:interface={HOST}"]


@contextmanager
def serving(what: str) -> Iterator[tuple[int, int]]:
    """Run a server; gives its process id and port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="echo-") as folder:
        environment = {**os.environ, "TWISTEDP2P_HOME": folder}
        server = subprocess.Popen(
            command_of(what, port), cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection((HOST, port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.05)
            yield server.pid, port
        finally:
            server.terminate()
            server.wait(20)


def ticks(pid: int) -> int:
    """Return the processor time that a process used, as the system counts it: in ticks."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def processor_seconds(pid: int) -> float:
    """Return the processor time that the one thread of a server used, to a nanosecond (Linux's schedstat)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def resident(pid: int) -> int:
    """Return the resident memory of a process, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def dial(port: int) -> socket.socket:
    """Return a connection."""
    made = socket.create_connection((HOST, port), 20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def load(port: int, connections: int, size: int, seconds: float) -> int:
    """Send a message on each connection as soon as the last one is back, for so long; return how many came back."""
    message = os.urandom(size)
    with ExitStack() as stack, select.epoll() as poll:
        socks = [stack.enter_context(dial(port)) for _ in range(connections)]
        by_number = {sock.fileno(): sock for sock in socks}
        missing = dict.fromkeys(by_number, size)
        for number, sock in by_number.items():
            poll.register(number, select.EPOLLIN)
            sock.sendall(message)
        back = 0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for number, _ in poll.poll(1):
                sock = by_number[number]
                got = len(sock.recv(65536))
                if not got:
                    raise SystemExit("The server closed a connection.")
                missing[number] -= got
                if not missing[number]:
                    back += 1
                    missing[number] = size
                    sock.sendall(message)
    return back


def loaded(port: int, connections: int, size: int, seconds: float) -> int:
    """Run `load` in a process of its own."""
    words = [sys.executable, __file__, "--load", f"{port},{connections},{size},{seconds}"]
    return int(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def speed(rounds: int, seconds: float) -> None:
    """Print messages a second, and processor time for each, of both, in turns."""
    print(f"\nSpeed: {rounds} rounds of {seconds} s each, in turns; medians")
    print(f"{'connections':>11} {'bytes':>7} {'ours/s':>9} {'bare/s':>9} {'ratio':>6} ", end="")
    print(f"{'ours us':>8} {'bare us':>8} {'ratio':>6}")
    for connections in CONNECTIONS:
        for size in SIZES:
            rate: dict[str, list[float]] = {"ours": [], "bare": []}
            cost: dict[str, list[float]] = {"ours": [], "bare": []}
            with serving("ours") as ours, serving("bare") as bare:
                for number in range(rounds):
                    turn = (("ours", ours), ("bare", bare))
                    for what, (pid, port) in turn if number % 2 else reversed(turn):
                        before = processor_seconds(pid)
                        back = loaded(port, connections, size, seconds)
                        rate[what].append(back / seconds)
                        cost[what].append((processor_seconds(pid) - before) / back * 1e6)
            faster = statistics.median(map(operator.truediv, rate["ours"], rate["bare"]))
            cheaper = statistics.median(map(operator.truediv, cost["bare"], cost["ours"]))
            one, other = (statistics.median(rate[what]) for what in ("ours", "bare"))
            mine, its = (statistics.median(cost[what]) for what in ("ours", "bare"))
            print(
                f"{connections:>11,} {size:>7,} {one:>9,.0f} {other:>9,.0f} {faster:>6.2f} "
                f"{mine:>8.1f} {its:>8.1f} {cheaper:>6.2f}",
                flush=True,
            )
    print("(us: processor time of the server for a message; the second ratio is bare/ours, so more is better)")


def memory(connections: int = 5000) -> None:
    """Print what an idle connection costs."""
    print(f"\nMemory: resident memory of the server with 0 and {connections:,} idle connections")
    for what in ("ours", "bare"):
        with serving(what) as (pid, port), ExitStack() as stack:
            load(port, 10, 64, 0.3)
            before = resident(pid)
            for _ in range(connections):
                stack.enter_context(dial(port))
            stack.enter_context(answered(port))
            after = resident(pid)
        each = (after - before) / connections
        print(f"{what}: {before / 2**20:.1f} MiB, {after / 2**20:.1f} MiB: {each:,.0f} bytes a connection", flush=True)


@contextmanager
def answered(port: int) -> Iterator[None]:
    """Know that the server has accepted all that came before: it answers somebody who came later."""
    with dial(port) as last:
        last.sendall(b"x")
        last.recv(1)
        yield


def idle(connections: int = 1000, seconds: float = 20) -> None:
    """Print the processor time of a server whose clients say nothing."""
    print(f"\nIdling: {connections:,} silent connections, for {seconds:.0f} s; a tick is {1000 / TICK:.0f} ms")
    for what in ("ours", "bare"):
        with serving(what) as (pid, port), ExitStack() as stack:
            for _ in range(connections):
                stack.enter_context(dial(port))
            stack.enter_context(answered(port))
            time.sleep(1)
            before, exactly = ticks(pid), processor_seconds(pid)
            time.sleep(seconds)
            more, used = ticks(pid) - before, processor_seconds(pid) - exactly
            print(f"{what}: {more} ticks ({used * 1000:.1f} ms)", flush=True)


def many(connections: int = 10_000) -> None:
    """Print what `twistedp2p echo` says of many connections."""
    with serving("ours") as (pid, port):
        words = ["echo", f"{HOST}:{port}", "--connections", str(connections), "--messages", "10"]
        print(f"\nMany: twistedp2p {' '.join(words)}", flush=True)
        subprocess.run([BIN / "twistedp2p", *words], check=False)
        print(f"resident memory of the server afterwards: {resident(pid) / 2**20:.1f} MiB")


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--only", choices=["speed", "memory", "idle", "many"])
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        port, connections, size, seconds = options.load.split(",")
        print(load(int(port), int(connections), int(size), float(seconds)))
        return
    import twisted

    print(f"{platform.platform()}, Python {platform.python_version()}, Twisted {twisted.__version__}, ", end="")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for what in ("ours", "bare"):
        print(f"{what}: {' '.join(command_of(what, 0)) if what == 'ours' else 'python -c PROGRAM, as in this file'}")
    if options.only in (None, "speed"):
        speed(options.rounds, options.seconds)
    if options.only in (None, "memory"):
        memory()
    if options.only in (None, "idle"):
        idle()
    if options.only in (None, "many"):
        many()


if __name__ == "__main__":
    main()
