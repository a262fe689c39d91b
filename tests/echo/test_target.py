"""Where an echo server is, and which TLS server is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.testing import MemoryReactorClock

from twistedp2p.echo.target import Target, Trust, parse_fingerprint
from twistedp2p.errors import BadAddress
from twistedp2p.limits import ECHO_SOURCE_PORTS


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("host:7", Target("tcp", "host", 7)),
        ("tcp:host:7", Target("tcp", "host", 7)),
        ("tls:host:7", Target("tls", "host", 7)),
        ("[::1]:7", Target("tcp", "::1", 7)),
        ("tls:[::1]:7", Target("tls", "::1", 7)),
        ("unix:/run/echo:1", Target("unix", "/run/echo:1")),
    ],
)
def test_parsed(text: str, target: Target) -> None:
    """TCP, TLS and UNIX sockets can be named, and what is parsed is written the same way."""
    assert Target.parse(text) == target
    assert Target.parse(target.text()) == target


@given(st.one_of(st.text(), st.text(alphabet="tcplsunix:/[].0123456789afg%", max_size=40)))
def test_any_text(text: str) -> None:
    """Whatever is typed is a target that can be written and read back, or one sentence; nothing else happens."""
    try:
        target = Target.parse(text)
    except BadAddress as error:
        assert str(error).endswith(".")
    else:
        assert Target.parse(target.text()) == target


@given(st.one_of(st.text(), st.text(alphabet="0123456789abcdefABCDEF:", min_size=60, max_size=100)))
def test_any_fingerprint(text: str) -> None:
    """Whatever is typed is 64 hexadecimal digits, or one sentence."""
    try:
        digits = parse_fingerprint(text)
    except BadAddress as error:
        assert str(error)
    else:
        assert len(bytes.fromhex(digits)) == 32


@pytest.mark.parametrize("text", ["", "host", "tcp:host", "tls:", "unix:", "host:0", "host:70000", "::1", "tcp:::1"])
def test_not_parsed(text: str) -> None:
    """Anything else is one sentence that says how to write it."""
    with pytest.raises(BadAddress, match="write HOST:PORT"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1:7", TCP4ClientEndpoint),
        ("[::1]:7", TCP6ClientEndpoint),
        ("localhost:7", HostnameEndpoint),
        ("unix:/run/echo", UNIXClientEndpoint),
    ],
)
def test_dialled(text: str, kind: type) -> None:
    """Each is dialled by the endpoint that is made for it."""
    assert isinstance(Target.parse(text).dialler(MemoryReactorClock(), Trust(), 5)(0), kind)


def test_more_than_there_are_ports() -> None:
    """Connections to loopback come from another of its addresses when the ports of one are used up."""
    reactor = MemoryReactorClock()
    dial = Target.parse("127.0.0.1:7").dialler(reactor, Trust(), 5)
    for number in (0, ECHO_SOURCE_PORTS - 1, ECHO_SOURCE_PORTS, 2 * ECHO_SOURCE_PORTS):
        dial(number).connect(None)  # type: ignore[arg-type]
    sources: list[object] = [call[4] for call in reactor.tcpClients]
    assert sources == [None, None, ("127.0.1.2", 0), ("127.0.1.3", 0)]
    elsewhere = Target.parse("192.0.2.1:7").dialler(reactor, Trust(), 5)
    elsewhere(ECHO_SOURCE_PORTS).connect(None)  # type: ignore[arg-type]
    assert reactor.tcpClients[-1][4] is None


def test_fingerprints() -> None:
    """A fingerprint may have colons, or not, and any case."""
    digits = "0123456789abcdef" * 4
    colons = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    assert parse_fingerprint(digits) == parse_fingerprint(f" {colons.upper()}\n") == digits.upper()
    for wrong in ("", digits[:-1], digits + "0", "g" * 64):
        with pytest.raises(BadAddress, match="64 hexadecimal digits"):
            parse_fingerprint(wrong)


def test_authorities(tmp_path: Path) -> None:
    """A file of authorities that is missing, or has none, is one sentence."""
    file = tmp_path / "authorities.pem"
    target = Target.parse("tls:host:7")
    with pytest.raises(BadAddress, match="can not be used"):
        target.dialler(MemoryReactorClock(), Trust(file), 5)
    file.write_text("nothing")
    with pytest.raises(BadAddress, match="no certificate"):
        target.dialler(MemoryReactorClock(), Trust(file), 5)
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BadAddress, match="can not be used"):
        target.dialler(MemoryReactorClock(), Trust(file), 5)
