"""A network of its own for a test: machines, each in a network namespace of the kernel, at one switch.

    with network(base) as net:
        hub, one = net.machine("hub"), net.machine("one")
        net.unplug(one)

Everything is held by processes that wait at the end of a pipe: the kernel takes the namespaces, and all in them, away
when these end, also if the tests are killed. So there are no names that two runs could have in common, and nothing is
left over. No packet leaves: a namespace has no way to the world.

It needs `ip` (iproute2), `nft` (nftables), `unshare` and `nsenter` (util-linux), and either root or a system that
lets anybody make user namespaces; without them the test is skipped, which counts as failed in CI.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import DEADLINE, Machine, Process, still_running, wait_until

__all__ = ["Host", "Net", "network"]

PREFIX = "10.77.0"
_TOOLS = ("ip", "nft", "unshare", "nsenter", "mount")
# Where these are, which is not where everybody looks for programs.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
_HOLD = ("sh", "-c", "echo ready; exec cat")
"""Says that the namespace is there, and keeps it until its input ends."""


class _Namespace:
    """One network namespace: the words that make it, after which `_HOLD` keeps it."""

    def __init__(self, *words: str, as_root: bool) -> None:
        self._holder = subprocess.Popen(
            [*words, *_HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": _PATH},
        )
        assert self._holder.stdout is not None
        ready = self._holder.stdout.readline()
        if ready != b"ready\n":
            _, said = self._holder.communicate()
            raise OSError(f"{words[0]}: {said.decode(errors='replace').strip()}")
        as_user = () if as_root else ("--user", "--preserve-credentials")
        self.pid = self._holder.pid
        self.enter = ("nsenter", "--target", str(self.pid), "--mount", "--net", *as_user, "--")

    def run(self, *words: str, given: str = "") -> None:
        """Run a command in it, with `given` as its input; it must succeed."""
        done = subprocess.run(
            [*self.enter, *words],
            input=given,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": _PATH},
        )
        if done.returncode != 0:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let it go."""
        self._holder.communicate(timeout=DEADLINE)


class Host(Machine):
    """A machine at the switch, with an address of its own; its processes listen on all its addresses."""

    def __init__(self, base: Path, space: _Namespace, port: str, address: str) -> None:
        super().__init__(base)
        self.space = space
        self.port = port
        """What its cable is called at the switch."""
        self.ip = address
        self.enter = space.enter

    def tracker_listens(self, port: int) -> tuple[str, ...]:
        """Return nothing: the default port of all interfaces is free here."""
        return ()

    def peer_listens(self) -> tuple[str, ...]:
        """Return nothing: a peer listens on all interfaces unless told otherwise."""
        return ()


class Net:
    """A switch and the machines at it; `hosts` is a file with names of machines, as /etc/hosts."""

    def __init__(self, base: Path) -> None:
        self.machines: list[Host] = []
        self._base = base
        self._as_root = os.geteuid() == 0
        self._names: dict[str, str] = {}
        self._hosts = base / "hosts"
        self._write_names()
        as_user = () if self._as_root else ("--user", "--map-root-user")
        self._switch = _Namespace("unshare", *as_user, "--mount", "--net", "--", as_root=self._as_root)
        try:
            self._switch.run("mount", "--bind", str(self._hosts), "/etc/hosts")
            self._switch.run("ip", "-batch", "-", given="link add switch type bridge\nlink set switch up\n")
            # A rule that is taken means that the kernel can filter.
            self._switch.run("nft", "add", "table", "inet", "probe")
        except BaseException:
            self._switch.close()
            raise

    def machine(self, name: str) -> Host:
        """Return a new machine."""
        number = len(self.machines) + 1
        enter = (*self._switch.enter, "unshare", "--net", "--")
        space = _Namespace(*enter, as_root=self._as_root)
        base = self._base / name
        base.mkdir()
        host = Host(base, space, f"port{number}", f"{PREFIX}.{number}")
        self.machines.append(host)
        # The name space is that of the process that holds it.
        self._switch.run(
            "ip", "-batch", "-",
            given=f"link add {host.port} type veth peer name eth0 netns {space.pid}\n"
            f"link set {host.port} master switch\nlink set {host.port} up\n",
        )  # fmt: skip
        space.run("ip", "-batch", "-", given=f"link set lo up\nlink set eth0 up\naddress add {host.ip}/24 dev eth0\n")
        return host

    # -- what happens to networks ---------------------------------------------

    def unplug(self, host: Host) -> None:
        """Pull the cable of a machine: its packets, and those for it, are lost without a word."""
        self._switch.run("ip", "link", "set", host.port, "down")

    def plug(self, host: Host) -> None:
        """Put the cable back."""
        self._switch.run("ip", "link", "set", host.port, "up")

    def add_address(self, host: Host) -> str:
        """Give a machine one more address; return it."""
        added = f"{PREFIX}.{100 + int(host.ip.rpartition('.')[2])}"
        host.space.run("ip", "address", "add", f"{added}/24", "dev", "eth0")
        return added

    def drop_address(self, host: Host, address: str) -> None:
        """Take an address of a machine away: as when it is moved to another network, old connections just die."""
        # When a first address goes, the kernel takes the others of its network too, unless they are promoted.
        host.space.run(
            "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/promote_secondaries && "
            f"ip address delete {address}/24 dev eth0",
        )  # fmt: skip

    def move(self, host: Host) -> None:
        """Give a machine another address instead of the one it has."""
        new = self.add_address(host)
        self.drop_address(host, host.ip)
        host.ip = new

    def name(self, name: str, address: str) -> None:
        """Let all machines know an address, or a new one, by a name."""
        self._names[name] = address
        self._write_names()

    def refuse_callers(self, host: Host) -> None:
        """Put a firewall before a machine: it can call others, and nobody can call it."""
        _filter(host, "iifname eth0 tcp flags & (syn | ack) == syn drop")

    def tell_unreachable(self, host: Host, address: str) -> None:
        """Answer what a machine sends to an address as a router does that has no way there."""
        _filter(host, f"ip daddr {address} reject with icmp type host-unreachable", hook="output")

    def separate(self, one: Host, other: Host) -> None:
        """Lose every packet between two machines."""
        _filter(one, f"ip saddr {other.ip} drop")
        _filter(other, f"ip saddr {one.ip} drop")

    def lose(self, host: Host, percent: int) -> None:
        """Lose this part of the packets that come to a machine."""
        _filter(host, f"iifname eth0 numgen random mod 100 < {percent} drop")

    # -- waiting --------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], what: str | Callable[[], str], seconds: float = DEADLINE) -> None:
        """Wait as `wait_until`; fails at once if a process of any machine has ended."""
        processes: list[Process] = [process for host in self.machines for process in host.processes]
        wait_until(still_running(processes, condition), what, seconds, pause=0.05)

    # -- the end --------------------------------------------------------------

    def close(self) -> None:
        """End all processes, and take the network away; fails if a machine does."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._switch.close)
            for host in self.machines:
                stack.callback(host.space.close)
            # Peers before the tracker's machine, which is the first.
            for host in self.machines:
                stack.callback(host.close)

    def _write_names(self) -> None:
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self._names.items())]
        self._hosts.write_text("".join(f"{line}\n" for line in lines))


def _filter(host: Host, rule: str, hook: str = "input") -> None:
    chain = f"add chain inet test {hook} {{ type filter hook {hook} priority 0 ; policy accept ; }}"
    rules = f"add table inet test\n{chain}\nadd rule inet test {hook} {rule}\n"
    host.space.run("nft", "-f", "-", given=rules)


@contextlib.contextmanager
def network(base: Path) -> Iterator[Net]:
    """A network without machines, which keeps its files in the empty folder `base`; skips where there can be none."""
    for tool in _TOOLS:
        if shutil.which(tool, path=_PATH) is None:
            pytest.skip(f"the program {tool!r} is not installed")
    try:
        net = Net(base)
    except OSError as error:
        pytest.skip(f"this system lets no test make networks: {error}")
    try:
        yield net
    finally:
        net.close()
