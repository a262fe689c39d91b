"""The echo server as a process: clients that half-close, break off, do not read or say nothing; signals."""

from __future__ import annotations

import random
import signal
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import need_tool
from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import LOCAL, Machine, Process

HOST = "127.0.0.1"
ECHO = ("twistd", "-n", "echo")
DATA = random.Random(1).randbytes(5_000_000)
"""More than all buffers on the way hold together, unless the system's grow."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of the test's own."""
    with running_machine() as made:
        yield made


def started(machine: Machine, *words: str) -> tuple[Process, list[int]]:
    """Start an echo server; return it and its TCP ports, in the order in which it listens."""
    process = machine.start("echo", *ECHO, *words)

    def ports() -> list[int]:
        lines = [line for line in process.text().splitlines() if "EchoFactory" in line and " starting on " in line]
        return [int(text) for line in lines if (text := line.rpartition(" ")[2]).isdigit()]

    wanted = sum("unix" not in word and ":" in word for word in words)
    machine.wait(lambda: len(ports()) >= wanted, "it listens")
    return process, ports()


def dial(port: int) -> socket.socket:
    """Return a connection that gives up after a while, instead of waiting for ever."""
    connection = socket.create_connection((HOST, port), timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def wait_for_counters(machine: Machine, process: Process, text: str) -> None:
    """Ask for the counters with the signal, again and again, until `text` is among what is logged."""

    def asked() -> bool:
        process.send(signal.SIGUSR2)
        return text in process.text()

    machine.wait(asked, lambda: f"it counted {text!r}")


def reset(connection: socket.socket) -> None:
    """Close with a RST instead of a FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def echo(connection: socket.socket, data: bytes) -> bytes:
    """Say something short and return the answer of the same length."""
    connection.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = connection.recv(len(data) - len(answer))
        assert part, "the server closed"
        answer += part
    return answer


def test_every_endpoint(machine: Machine) -> None:
    """TCP, IPv6 if there is any, a UNIX socket and TLS give every byte back; after a half-close too, but for TLS."""
    path = machine.base / "socket"
    words = ["--listen", LOCAL, "--listen", "self-signed:0:interface=127.0.0.1", "--listen", f"unix:{path}"]
    has_ipv6 = _has_ipv6()
    if has_ipv6:
        words += ["--listen", "tcp6:0:interface=\\:\\:1"]
    process, ports = started(machine, *words)
    unix = socket.socket(socket.AF_UNIX)
    unix.settimeout(20)
    unix.connect(str(path))
    plain = [dial(ports[0]), unix]
    if has_ipv6:
        plain.append(socket.create_connection(("::1", ports[2]), timeout=20))
    for connection in plain:
        with connection:
            _send_in_background(connection, DATA)
            assert read_all(connection) == DATA
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with dial(ports[1]) as raw, context.wrap_socket(raw) as secure:
        assert secure.version() == "TLSv1.3"
        for at in range(0, 200_000, 10_000):
            assert echo(secure, DATA[at : at + 10_000]) == DATA[at : at + 10_000]
    assert "SHA-256 fingerprint" in process.text()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def _send_in_background(connection: socket.socket, data: bytes) -> None:
    def send() -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    Thread(target=send, daemon=True).start()


def test_certificate_given(machine: Machine) -> None:
    """TLS with a certificate of one's own is Twisted's endpoint."""
    from twistedp2p.identity.device import DeviceKey

    key = DeviceKey.generate()
    file = machine.base / "own.pem"
    file.write_bytes(key.private_pem() + key.certificate_pem())
    _, ports = started(machine, "--listen", f"ssl:0:privateKey={file}:certKey={file}:interface=127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with dial(ports[0]) as raw, context.wrap_socket(raw) as secure:
        assert echo(secure, b"hello") == b"hello"
        assert ssl.PEM_cert_to_DER_cert(key.certificate_pem().decode()) == secure.getpeercert(binary_form=True)


def test_a_reset_touches_nobody_else(machine: Machine) -> None:
    """Clients that break off, some of them with bytes on their way, disturb nobody; nothing but a number remains."""
    process, ports = started(machine, "--listen", LOCAL)
    with dial(ports[0]) as steady:
        for number in range(50):
            rude = dial(ports[0])
            if number % 2:
                rude.sendall(DATA[:300_000])
            reset(rude)
            assert echo(steady, b"still here") == b"still here"
    wait_for_counters(machine, process, "51 in all")
    wait_for_counters(machine, process, "50 broken off")


def test_a_client_that_does_not_read(machine: Machine) -> None:
    """Who sends and never reads is not read from, and costs little memory; others are served; then it gets all."""
    process, ports = started(machine, "--listen", LOCAL)
    with dial(ports[0]) as warm:
        echo(warm, DATA[:100_000])
    before = resident(process)
    with ExitStack() as stack:
        sent = []
        deaf = [stack.enter_context(dial(ports[0])) for _ in range(8)]
        for connection in deaf:
            connection.setblocking(False)
            sent.append(_send_until_stuck(connection))
        grown = resident(process) - before
        assert sum(sent) > 8 * 500_000, "the system's buffers alone hold more than that"
        # 128 KiB for each, and as much again while Twisted joins two buffers.
        assert grown < 8 * 256 * 1024 + 2**20, f"{grown:,} bytes for 8 clients"
        with dial(ports[0]) as other:
            assert echo(other, b"not disturbed") == b"not disturbed"
        deaf[7].settimeout(20)
        deaf[7].shutdown(socket.SHUT_WR)
        assert read_all(deaf[7]) == (DATA * (sent[7] // len(DATA) + 1))[: sent[7]]


def test_a_client_that_does_not_read_over_tls(machine: Machine) -> None:
    """Over TLS it is the same: what waits for such a client is bounded, and others are served."""
    process, ports = started(machine, "--listen", "self-signed:0:interface=127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with dial(ports[0]) as raw, context.wrap_socket(raw) as warm:
        echo(warm, DATA[:100_000])
    before = resident(process)
    with ExitStack() as stack:
        sent = 0
        for _ in range(4):
            secure = stack.enter_context(context.wrap_socket(dial(ports[0])))
            secure.settimeout(0.3)
            try:
                while True:
                    secure.sendall(DATA[:16_000])
                    sent += 16_000
            except TimeoutError:
                pass  # the server takes no more
        assert sent > 4 * 500_000
        grown = resident(process) - before
        assert grown < 4 * 512 * 1024 + 2**20, f"{grown:,} bytes for 4 clients"
        with dial(ports[0]) as raw, context.wrap_socket(raw) as other:
            assert echo(other, b"not disturbed") == b"not disturbed"


def _send_until_stuck(connection: socket.socket) -> int:
    """Send until nothing more can be sent for a while; return how many bytes that were."""
    import select

    sent = 0
    while select.select([], [connection], [], 0.2)[1]:
        at = sent % len(DATA)
        sent += connection.send(DATA[at : at + 200_000])
    return sent


def resident(process: Process) -> int:
    """Return the resident memory of a process, bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def test_full(machine: Machine) -> None:
    """At the limit the server accepts nobody more; who waits is served when somebody leaves."""
    process, ports = started(machine, "--listen", LOCAL, "--connections", "2")
    with ExitStack() as stack:
        first, _ = [stack.enter_context(dial(ports[0])) for _ in range(2)]
        assert echo(first, b"a") == b"a"
        waiting = stack.enter_context(dial(ports[0]))
        waiting.sendall(b"patience")
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.settimeout(20)
        first.close()
        assert waiting.recv(8) == b"patience"
    wait_for_counters(machine, process, "2 at most, 3 in all")


def test_idle(machine: Machine) -> None:
    """Who says nothing is closed, after the time that was said."""
    _, ports = started(machine, "--listen", LOCAL, "--idle", "0.4")
    with dial(ports[0]) as silent:
        assert silent.recv(1) == b""


def test_files_are_not_enough(machine: Machine) -> None:
    """A server that may have too few files open says how many it serves; it goes on when they are all taken."""
    machine.enter = (need_tool("prlimit"), "--nofile=256:256")
    process, ports = started(machine, "--listen", LOCAL)
    assert "it serves 64 connections at once and not 20,000" in process.text()
    with ExitStack() as stack:
        connections = [stack.enter_context(dial(ports[0])) for _ in range(300)]
        assert all(echo(connection, b"x") == b"x" for connection in connections[:64])
        connections[100].sendall(b"later")
        for connection in connections[:64]:
            connection.close()
        assert connections[100].recv(5) == b"later"
    assert "EMFILE" not in process.text()


def test_no_more_files_can_be_opened(machine: Machine) -> None:
    """When the system gives a server no more files, which it could not foresee, callers wait and are served later."""
    process, ports = started(machine, "--listen", LOCAL)
    subprocess.run([need_tool("prlimit"), f"--pid={process.pid}", "--nofile=60:60"], check=True)
    with ExitStack() as stack:
        connections = [stack.enter_context(dial(ports[0])) for _ in range(70)]
        machine.wait(lambda: "Nobody can connect" in process.text(), "it says so")
        connections[69].sendall(b"later")
        for connection in connections[:40]:
            assert echo(connection, b"x") == b"x"
            connection.close()
        assert connections[69].recv(5) == b"later"
    assert "EMFILE" not in process.text()


def test_end_with_data_under_way(machine: Machine) -> None:
    """A server that is ended sends back what it was sent, and closes; nothing is lost, nothing is reset."""
    process, ports = started(machine, "--listen", LOCAL)
    with dial(ports[0]) as busy, dial(ports[0]) as silent:
        assert echo(silent, b"x") == b"x"
        _send_in_background(busy, DATA)
        got = busy.recv(1000)
        process.send(signal.SIGTERM)
        assert got + read_all(busy) == DATA
        assert read_all(silent) == b""
    process.check_end()


def test_end_while_a_client_goes_on(machine: Machine) -> None:
    """A client that never stops sending gets the first part of it back, whole, and then a clean end."""
    process, ports = started(machine, "--listen", LOCAL)
    with dial(ports[0]) as endless:
        stop = False

        def send() -> None:
            try:
                while not stop:
                    endless.sendall(DATA)
            except OSError:
                pass  # the server is gone

        sending = Thread(target=send, daemon=True)
        sending.start()
        got = endless.recv(1000)
        process.send(signal.SIGTERM)
        total = len(got)
        assert DATA.startswith(got)
        while part := endless.recv(1 << 16):
            at = total % len(DATA)
            assert (DATA + DATA)[at : at + len(part)] == part
            total += len(part)
        stop = True
        assert total > len(DATA)
    process.check_end()


def test_end_with_a_client_that_does_not_read(machine: Machine) -> None:
    """A client that reads nothing keeps a server from ending for a few seconds only."""
    process, ports = started(machine, "--listen", LOCAL)
    with dial(ports[0]) as deaf:
        deaf.setblocking(False)
        _send_until_stuck(deaf)
        process.send(signal.SIGTERM)
        process.check_end()


def test_udp(machine: Machine) -> None:
    """Datagrams come back as they are, up to the longest there is, and are counted."""
    process = machine.start("echo", *ECHO, "--udp", "0")
    machine.wait(lambda: "EchoDatagrams starting on" in process.text(), "it listens")
    port = int(process.text().partition("EchoDatagrams starting on ")[2].split()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        for size in (0, 1, 1472, 9000, 65507):
            client.sendto(DATA[:size], (HOST, port))
            assert client.recv(70_000) == DATA[:size]
    wait_for_counters(machine, process, "UDP: 5 datagrams and 75,980 bytes echoed, 0 not answered")


@pytest.mark.parametrize("words", [("--connections", "0"), ("--udp", "x"), ("--listen", "self-signed:x")])
def test_mistakes(machine: Machine, words: tuple[str, str]) -> None:
    """A wrong word is repeated in one sentence."""
    assert repr(words[1]) in machine.fails(*ECHO, *words)


def test_udp_port_in_use(machine: Machine) -> None:
    """A UDP port that something else has is named."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        assert str(port) in machine.fails(*ECHO, "--udp", str(port))
