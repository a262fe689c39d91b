"""`get` from the file server, beside nginx with TLS and curl: separate processes, loopback, one machine.

    .venv/bin/python benchmarks/files.py [--rounds 5] [--base /dev/shm] [--kills 20] [--sizes 64,1024,4096] [--only ...]

Three measurements, or one of them with `--only large`, `small`, `resume` or `memory`:

1. one file of 1 GiB, and 10,000 files of 4 KiB, fetched by `twistedp2p get` from `twistd -n fileserver`, and by one
   curl with one connection from nginx, in turns; wall seconds, CPU seconds of both ends, ratios pair by pair;
2. the largest resident size of both of our ends, for files of several sizes;
3. resuming: the client is killed (SIGKILL) at random moments and started again; how many bytes came twice.

Both servers run once for a measurement, both verify nothing of each other's; TLS is 1.3 with what each prefers. What is
served looks new before each fetch: our server must hash it again, as for the first who fetches it. Files
are on `--base`, which should be in memory: a disk would be measured instead. What was fetched is compared with what
was served after each round, outside of the time. Without nginx (`apt-get install nginx`) our side is measured alone.

As over a network of 1 Gbit/s, on Linux and as root:

    ip netns add slower && ip -n slower link set lo up
    tc -n slower qdisc add dev lo root tbf rate 1gbit burst 256k limit 1m
    ip netns exec slower .venv/bin/python benchmarks/files.py --only resume
    ip netns del slower
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from attrs import define, frozen

BIN = Path(sys.executable).parent
MIB = 1024 * 1024
SMALL_FILES = 10_000
SMALL_BYTES = 4096
START_SECONDS = 30.0
KILL_SECONDS = 0.5
"""A client that is killed has moved bytes for so long at most."""


@frozen
class Run:
    """One fetch: wall and CPU seconds of the client, CPU seconds of the server meanwhile, largest resident sizes."""

    wall: float
    client_cpu: float
    server_cpu: float
    client_mib: float
    server_mib: float


@define
class Server:
    """A server that runs: its processes, the command that fetches, and the bytes that each client got that left."""

    name: str
    pids: Callable[[], list[int]]
    fetch: Callable[[str, Path], list[str]]
    sent: Callable[[], list[int]] = list


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid: int) -> float:
    """Return the largest resident size that a process had, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Return when somebody listens there."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"Nothing listens on port {port}.")


@contextmanager
def started(command: list[str], log: Path, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside us, print it, and end it by its own id."""
    print("$", " ".join(command), flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environ or {})})
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def our_server(root: Path, work: Path) -> Iterator[Server]:
    """Run `twistd -n fileserver` over `root`."""
    port = free_port()
    environ = {"TWISTEDP2P_HOME": str(work / "home")}
    listen = f"tcp:{port}:interface=127.0.0.1"
    options = ["--root", str(root), "--listen", listen, "--advertise", f"127.0.0.1:{port}"]
    command = [str(BIN / "twistd"), "-n", "--pidfile=", "fileserver", *options]
    with started(command, work / "server.log", environ) as process:
        wait_for_port(port)
        shown = subprocess.run(
            [*command, "--print-invite"], capture_output=True, text=True, check=True, env={**os.environ, **environ}
        )
        invite = work / "invite"
        invite.write_text(next(line for line in shown.stdout.splitlines() if line.startswith("tp2p1:")))

        def fetch(what: str, to: Path) -> list[str]:
            return [str(BIN / "twistedp2p"), "get", f"@{invite}", what, "--to", str(to)]

        def sent() -> list[int]:
            return list(map(int, re.findall(r"left; (\d+) bytes", (work / "server.log").read_text())))

        yield Server("twistedp2p", lambda: [process.pid], fetch, sent)


_NGINX = """
daemon off; pid {work}/nginx.pid; error_log {work}/nginx.err; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; keepalive_timeout 300;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem;
    ssl_protocols TLSv1.3; root {root};
  }}
}}
"""


@contextmanager
def nginx(root: Path, work: Path) -> Iterator[Server]:
    """Run nginx with TLS over `root`."""
    port = free_port()
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*make.split(), "-keyout", str(work / "key.pem"), "-out", str(work / "cert.pem")],
        check=True,
        capture_output=True,
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(_NGINX.format(work=work, port=port, root=root, user=user))
    with started(
        ["nginx", "-c", str(work / "nginx.conf"), "-e", str(work / "nginx.err")], work / "nginx.log"
    ) as process:
        wait_for_port(port)
        base = f"https://127.0.0.1:{port}"

        def fetch(what: str, to: Path) -> list[str]:
            curl = ["curl", "--silent", "--show-error", "--fail", "--insecure", "--http1.1"]
            if (root / what).is_file():
                return [*curl, "-o", str(to / what), f"{base}/{what}"]
            (to / what).mkdir()
            lines = [
                f'url = "{base}/{what}/{name}"\noutput = "{to}/{what}/{name}"'
                for name in sorted(os.listdir(root / what))
            ]
            config = work / "urls"
            config.write_text("\n".join(lines) + "\n")
            return [*curl, "--config", str(config)]

        yield Server("nginx + curl", lambda: [process.pid, *children(process.pid)], fetch)


def fetch(server: Server, what: str, root: Path, work: Path, *, show: bool) -> Run:
    """Fetch `what` into an empty folder, time it, and compare it with what is served."""
    to = work / "to"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    command = server.fetch(what, to)
    if show:
        print("$", " ".join(command), flush=True)
    before = sum(map(cpu_seconds, server.pids()))
    began = time.monotonic()
    with (work / "client.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    if status:
        raise SystemExit(f"{server.name} failed:\n{(work / 'client.log').read_text()[-2000:]}")
    same(root / what, to / what)
    servers = server.pids()
    return Run(
        wall,
        used.ru_utime + used.ru_stime,
        sum(map(cpu_seconds, servers)) - before,
        used.ru_maxrss / 1024,
        max(map(peak_mib, servers)),
    )


def same(one: Path, other: Path) -> None:
    """Return if both files, or folders of files, have the same bytes."""
    if one.is_file():
        right = filecmp.cmp(one, other, shallow=False)
    else:
        names = sorted(os.listdir(one))
        right = names == sorted(os.listdir(other)) and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])
    if not right:
        raise SystemExit(f"{other} is not what was served.")


def write_random(path: Path, size: int) -> None:
    """Write a file of random bytes."""
    with path.open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size)))
        file.truncate(size)


def renew(path: Path) -> None:
    """Let a file, or the files of a folder, look written a day ago or so, and otherwise than before."""
    for file in [path] if path.is_file() else path.iterdir():
        written = time.time() - 86_400 * random.random() - 60
        os.utime(file, (written, written))


def compare(ours: Server, theirs: Server | None, what: str, root: Path, work: Path, rounds: int) -> None:
    """Fetch `what` from both in turns, and print medians and ratios."""
    print(f"\n== {what} ==", flush=True)
    runs: dict[str, list[Run]] = {server.name: [] for server in (ours, theirs) if server}
    for number in range(rounds + 1):
        for server in (ours, theirs) if number % 2 else (theirs, ours):
            if server is None:
                continue
            renew(root / what)
            run = fetch(server, what, root, work, show=not number)
            if number:  # the first of each warms up
                runs[server.name].append(run)
    for name, found in runs.items():
        print(
            f"{name:14} wall {median(run.wall for run in found):7.3f} s"
            f" ({min(run.wall for run in found):.3f} to {max(run.wall for run in found):.3f})"
            f"   CPU client {median(run.client_cpu for run in found):6.2f} s,"
            f" server {median(run.server_cpu for run in found):6.2f} s"
            f"   RSS client {max(run.client_mib for run in found):5.0f} MiB,"
            f" server {max(run.server_mib for run in found):5.0f} MiB"
        )
    if theirs is not None:
        pairs = zip(runs[ours.name], runs[theirs.name], strict=True)
        ratios = sorted(one.wall / other.wall for one, other in pairs)
        print(f"wall, ours / theirs: median {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


def resume(ours: Server, what: str, root: Path, work: Path, kills: int) -> None:
    """Kill the client at random moments of whole downloads, start it again each time, and print what came twice.

    Of what was here: by what the last run of a download says that it found and fetched. Of what was on its way when the
    client was killed: by what the server logs to have sent over that connection, beyond what the part grew by; that are
    bytes that it had given to TLS, whether they left or not.
    """
    print(f"\n== {what}, killed {kills} times ==", flush=True)
    to = work / "to"
    command = [*ours.fetch(what, to), "--json"]
    print("$", " ".join(command), flush=True)
    generator = random.Random(1)
    size = (root / what).stat().st_size
    on_way: list[int] = []
    again = downloads = 0
    while len(on_way) < kills:
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        downloads += 1
        kept = 0
        while True:
            sent = ours.sent()
            with (work / "events").open("w") as events:
                process = subprocess.Popen(command, stdout=events, stderr=subprocess.DEVNULL)
                end = time.monotonic() + START_SECONDS
                while part_bytes(to) <= kept and process.poll() is None and time.monotonic() < end:
                    time.sleep(0.001)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(generator.random() * KILL_SECONDS if len(on_way) < kills else None)
                process.send_signal(signal.SIGKILL)
                status = process.wait()
            here = part_bytes(to)
            while len(ours.sent()) == len(sent) and time.monotonic() < end:
                time.sleep(0.01)
            if (to / what).exists():  # it was quicker
                break
            on_way.append(ours.sent()[-1] - (here - kept))
            kept = here
        last = json.loads((work / "events").read_text().splitlines()[-1])
        if not status:
            again += last["bytes_resumed"] + last["bytes_moved"] - size
        same(root / what, to / what)
    print(
        f"killed {len(on_way)} times in {downloads} downloads: {again:,} bytes of what was here came again\n"
        f"on its way at a kill, to be sent again: {sum(on_way) / kills:,.0f} bytes on average, {max(on_way):,} at most"
    )


def part_bytes(to: Path) -> int:
    """Return how long the part in a folder is."""
    return sum(path.stat().st_size for path in to.iterdir() if path.name.startswith("."))


def serve_both(root: Path, work: Path, given: argparse.Namespace) -> None:
    """Measure what both servers are fetched from for, and resuming."""
    write_random(root / "big.bin", 1024 * MIB)
    for number in range(SMALL_FILES):
        (root / "small" / f"{number:05}.bin").write_bytes(os.urandom(SMALL_BYTES))
    names = {"large": ["big.bin"], "small": ["small"], "resume": []}.get(given.only, ["big.bin", "small"])
    with our_server(root, work) as ours:
        if shutil.which("nginx") and shutil.which("curl"):
            with nginx(root, work) as theirs:
                for what in names:
                    compare(ours, theirs, what, root, work, given.rounds)
        else:
            print("nginx or curl is missing (apt-get install nginx curl): our side alone.")
            for what in names:
                compare(ours, None, what, root, work, given.rounds)
        if given.only in (None, "resume"):
            resume(ours, "big.bin", root, work, given.kills)
    (root / "big.bin").unlink()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sizes", default="64,1024,4096", help="MiB, for the resident size")
    parser.add_argument("--only", choices=("large", "small", "resume", "memory"))
    given = parser.parse_args()
    base = given.base if given.base.is_dir() else Path(tempfile.gettempdir())
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, files on {base}")
    work = Path(tempfile.mkdtemp(prefix="files-benchmark-", dir=base))
    try:
        root = work / "root"
        (root / "small").mkdir(parents=True)
        if given.only != "memory":
            serve_both(root, work, given)
        if given.only in (None, "memory"):
            for size in map(int, given.sizes.split(",")):
                write_random(root / f"{size}MiB.bin", size * MIB)
                with our_server(root, work) as ours:
                    compare(ours, None, f"{size}MiB.bin", root, work, 1)
                (root / f"{size}MiB.bin").unlink()
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
