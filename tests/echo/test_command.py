"""``twistedp2p echo`` against a server: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import need_tool
from tests.echo.test_process import HOST, started
from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import LOCAL, Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of the test's own."""
    with running_machine() as made:
        yield made


def measured(machine: Machine, *words: str, status: int = 0) -> str:
    """Run the command, which must end with `status`; return what it printed."""
    process = machine.start("measure", "twistedp2p", "echo", *words)
    assert process.ended(60) == status, process.text()
    return process.text()


@contextmanager
def other_server(answer: bytes | None) -> Iterator[int]:
    """A server that answers the first message with `answer`, and closes; None: that says nothing at all."""
    with socket.create_server((HOST, 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                if answer is None:
                    done.wait(20)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            done.set()
            thread.join(20)


def test_every_way(machine: Machine) -> None:
    """TCP by address and by name, a UNIX socket, TLS with a pin and with any certificate: every byte comes back."""
    path = machine.base / "socket"
    listen = ("--listen", LOCAL, "--listen", "self-signed:0:interface=127.0.0.1", "--listen", f"unix:{path}")
    server, ports = started(machine, *listen)
    pin = server.text().partition("fingerprint ")[2].split()[0]
    ways = [
        (f"{HOST}:{ports[0]}", "--connections", "30", "--messages", "20", "--window", "4"),
        (f"tcp:localhost:{ports[0]}", "--size", "70000", "--messages", "20", "--window", "3"),
        (f"unix:{path}", "--size", "1"),
        (f"tls:{HOST}:{ports[1]}", "--pin", pin, "--connections", "3", "--size", "30000"),
        (f"tls:localhost:{ports[1]}", "--insecure"),
    ]
    for way in ways:
        text = measured(machine, *way)
        assert "Every byte came back as it was sent." in text
        assert "p50" in text and "p99" in text


def test_json(machine: Machine) -> None:
    """All that was measured is one JSON object."""
    _, ports = started(machine, "--listen", LOCAL)
    words = ("--connections", "4", "--messages", "25", "--size", "100", "--json")
    found = json.loads(measured(machine, f"{HOST}:{ports[0]}", *words))
    assert found["endpoint"] == f"tcp:{HOST}:{ports[0]}"
    assert found["connections"]["opened"] == 4
    assert {name: found["messages"][name] for name in ("sent", "back", "lost", "damaged")} == {
        "sent": 100, "back": 100, "lost": 0, "damaged": 0
    }  # fmt: skip
    trips = found["round_trip"]
    assert 0 < trips["p50"] <= trips["p90"] <= trips["p99"] <= trips["max"] < 60
    assert found["bytes_back_per_second"] == pytest.approx(100 * found["messages_per_second"])


def test_tls_that_is_not_trusted(machine: Machine) -> None:
    """A certificate that nobody vouches for, or another one than the pin, is refused in one sentence."""
    _, ports = started(machine, "--listen", "self-signed:0:interface=127.0.0.1")
    where = f"tls:{HOST}:{ports[0]}"
    for words in ((), ("--pin", "00" * 32)):
        sentence = machine.fails("twistedp2p", "echo", where, *words)
        assert "was not trusted" in sentence and "--pin" in sentence
    other = machine.base / "authority.pem"
    other.write_bytes(_authority()[0])
    assert "was not trusted" in machine.fails("twistedp2p", "echo", where, "--cafile", str(other))


def test_tls_with_an_authority(machine: Machine) -> None:
    """A certificate that an authority of --cafile vouches for is taken, for its name only."""
    authority, key = _authority()
    for name, data in (("authority.pem", authority), ("own.pem", key)):
        (machine.base / name).write_bytes(data)
    own = machine.base / "own.pem"
    _, ports = started(machine, "--listen", f"ssl:0:privateKey={own}:certKey={own}:interface=127.0.0.1")
    trust = ("--cafile", str(machine.base / "authority.pem"))
    assert "Every byte" in measured(machine, f"tls:localhost:{ports[0]}", *trust)
    sentence = machine.fails("twistedp2p", "echo", f"tls:{HOST}:{ports[0]}", *trust)
    assert "another name" in sentence


def _authority() -> tuple[bytes, bytes]:
    """Return a certificate (PEM) that vouches for itself as "localhost", and it with its key."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, private + pem


def test_a_server_that_lies(machine: Machine) -> None:
    """A byte that comes back changed is said with its place, and the status is 1."""
    with other_server(bytes(64)) as port:
        text = measured(machine, f"{HOST}:{port}", "--messages", "1", status=1)
    assert "1 damaged" in text and "connection 0, message 0, byte 0" in text
    assert "Every byte" not in text


def test_a_server_that_closes(machine: Machine) -> None:
    """What did not come back is lost, with the reason, and the status is 1."""
    with other_server(b"") as port:
        text = measured(machine, f"{HOST}:{port}", "--messages", "5", status=1)
    assert "0 came back, 5 lost" in text and "the server closed it" in text


def test_a_server_that_says_nothing(machine: Machine) -> None:
    """A server that says nothing is given up."""
    with other_server(None) as port:
        text = measured(machine, f"{HOST}:{port}", "--timeout", "0.5", status=1)
    assert "nothing came back any more" in text


def test_interrupted(machine: Machine) -> None:
    """Ctrl-C ends it with what it has measured so far, and status 1."""
    server, ports = started(machine, "--listen", LOCAL)
    process = machine.start("measure", "twistedp2p", "echo", f"{HOST}:{ports[0]}", "--messages", "100000000")

    def echoes() -> bool:
        server.send(signal.SIGUSR2)
        # More than one message: then at least one is back.
        return any(int(found.replace(",", "")) > 64 for found in re.findall(r"([\d,]+) bytes echoed", server.text()))

    machine.wait(echoes, "messages come back")
    process.send(signal.SIGINT)
    assert process.ended() == 1
    assert "interrupted" in process.text() and "round trip" in process.text()
    assert "Traceback" not in process.text()


def test_udp(machine: Machine) -> None:
    """Datagrams are numbered and compared; losses are reported, and decide about the status with --strict only."""
    server = machine.start("echo", "twistd", "-n", "echo", "--udp", "0")
    machine.wait(lambda: "EchoDatagrams starting on" in server.text(), "it listens")
    where = f"{HOST}:{server.text().partition('EchoDatagrams starting on ')[2].split()[0]}"
    text = measured(machine, where, "--udp", "--connections", "3", "--size", "1400", "--strict")
    assert "300 sent, 300 came back, 0 lost, 0 damaged, 0 doubled or late" in text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forgetful:
        forgetful.bind((HOST, 0))
        where = f"{HOST}:{forgetful.getsockname()[1]}"

        def serve() -> None:
            for number in range(6):
                datagram, address = forgetful.recvfrom(2000)
                if number % 3:
                    forgetful.sendto(datagram, address)

        for words, status in (((), 0), (("--strict",), 1)):
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            options = ("--udp", "--messages", "6", "--timeout", "0.4", *words)
            assert "4 came back, 2 lost" in measured(machine, where, *options, status=status)
            thread.join(20)


def test_nobody_there(machine: Machine) -> None:
    """A port on which nobody listens, a name without an address and a socket that is not there are one sentence."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    assert "Connection refused" in machine.fails("twistedp2p", "echo", f"{HOST}:{port}")
    assert "nobody listens there" in machine.fails("twistedp2p", "echo", f"{HOST}:{port}", "--udp")
    assert "No such file" in machine.fails("twistedp2p", "echo", f"unix:{machine.base / 'nothing'}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("host",), "write HOST:PORT"),
        (("host:7", "--connections", "100000000"), "lower --connections"),
        (("host:7", "--connections", "10000", "--window", "100", "--size", "100000"), "would be under way"),
        (("tls:host:7", "--pin", "12"), "64 hexadecimal digits"),
    ],
)
def test_what_can_not_be(machine: Machine, words: tuple[str, ...], said: str) -> None:
    """What can not be done is refused in one sentence before anything is sent."""
    assert said in machine.fails("twistedp2p", "echo", *words)


@pytest.mark.parametrize(
    "words",
    [
        ("host:7", "--insecure"),
        ("tls:host:7", "--insecure", "--pin", "00" * 32),
        ("unix:/run/echo", "--udp"),
        ("host:7", "--strict"),
        ("host:7", "--udp", "--size", "7"),
        ("host:7", "--udp", "--size", "65508"),
        ("host:7", "--size", "0"),
        ("host:7", "--size", "16777217"),
    ],
)
def test_wrong_words(machine: Machine, words: tuple[str, ...]) -> None:
    """Options that do not go together are a wrong command line."""
    measured(machine, *words, status=2)


def test_too_few_files(machine: Machine) -> None:
    """A process that may have too few files open says for how many connections they are enough."""
    machine.enter = (need_tool("prlimit"), "--nofile=100:100")
    assert "enough for 36 connections" in machine.fails("twistedp2p", "echo", f"{HOST}:1", "--connections", "37")


@pytest.mark.long
def test_ten_thousand(machine: Machine) -> None:
    """10,000 connections at once, from one process to another: all are open before the first byte, all comes back."""
    server, ports = started(machine, "--listen", LOCAL)
    process = machine.start(
        "measure", "twistedp2p", "echo", f"{HOST}:{ports[0]}", "--connections", "10000", "--messages", "5", "--json"
    )
    assert process.ended(240) == 0, process.text()
    found = json.loads(process.text())
    assert found["connections"]["opened"] == 10_000
    assert found["messages"]["back"] == 50_000
    server.send(signal.SIGUSR2)
    machine.wait(lambda: "10,000 at most, 10,000 in all; 0 waited" in server.text(), "it counted them")

