"""What strangers get from a tracker and a peer that run: nothing; and what an impostor gets from a peer."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from attrs import evolve, frozen

from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import Machine, Peer, put
from tests.end_to_end.strangers import Caller, answer_to_garbage, impostor_hears
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import Invite, TrackerAddress
from twistedp2p.identity.proof import NONCE_BYTES, Channel, Role
from twistedp2p.identity.share import SECRET_BYTES, ShareKeys
from twistedp2p.messages.common import Proof
from twistedp2p.messages.peer import PeerHello
from twistedp2p.messages.tracker import Hello, SetDigest
from twistedp2p.tracker.wire import TRACKER
from twistedp2p.transfer.wire import PEER


@frozen
class Target:
    """One that listens: its port, what it speaks, and how a caller says who it is."""

    port: int
    alpn: str
    role: Role
    frame: Callable[[Proof], bytes]


def tracker_hello(proof: Proof) -> bytes:
    """Return the first frame of a peer to a tracker."""
    return TRACKER.encode(Hello(proof, os.urandom(16), "stranger", (1,), (), b"", 0, SetDigest(), SetDigest()))


def peer_hello(proof: Proof) -> bytes:
    """Return the first frame of a peer to a peer."""
    return PEER.encode(PeerHello(proof, "stranger", (1,)))


@frozen
class Scene:
    """A tracker and a peer that run, and the keys of their share."""

    machine: Machine
    peer: Peer
    keys: ShareKeys
    targets: dict[str, Target]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """A tracker and a peer with a file, for all tests here."""
    with running_machine() as machine:
        machine.tracker()
        put(machine.folder("one"), {"secret.txt": b"secret"})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        peer = machine.begin("one", "--listen", f"tcp:{port}:interface=127.0.0.1")
        machine.wait(peer.in_sync, "the peer is ready")
        targets = {
            "tracker": Target(machine.address().port, TRACKER_ALPN, Role.DIAL_TRACKER, tracker_hello),
            "peer": Target(port, PEER_ALPN, Role.DIAL_PEER, peer_hello),
        }
        yield Scene(machine, peer, machine.invite().keys(), targets)


@pytest.fixture(params=["tracker", "peer"])
def target(request: pytest.FixtureRequest, scene: Scene) -> Target:
    """The tracker, then the peer."""
    return scene.targets[request.param]


def proof_by(keys: ShareKeys, role: Role, channel: Channel) -> Proof:
    """Return a fresh proof."""
    return prove(keys, role, channel, os.urandom(NONCE_BYTES))


def test_member_is_answered(scene: Scene, target: Target) -> None:
    """Who proves membership on this very connection is answered: the other tests would notice an answer."""
    with Caller(target.port, DeviceKey.generate(), target.alpn) as caller:
        caller.say(target.frame(proof_by(scene.keys, target.role, caller.channel())))
        assert caller.hears() != b""


def test_no_certificate(scene: Scene, target: Target) -> None:
    """A caller without a certificate is cut off, whatever it says."""
    with Caller(target.port, None, target.alpn) as caller:
        caller.say(b"anything")
        assert caller.hears() == b""


def test_no_protocol(scene: Scene, target: Target) -> None:
    """A caller that names no protocol, or another one, is cut off, though it is a member."""
    for alpn in (None, "http/1.1"):
        with Caller(target.port, DeviceKey.generate(), alpn) as caller:
            caller.say(target.frame(proof_by(scene.keys, target.role, caller.channel())))
            assert caller.hears() == b"", alpn


def test_wrong_proofs(scene: Scene, target: Target) -> None:
    """No proof of another connection, another role or another key gets a byte, nor one with a changed signature."""
    stranger = ShareKeys.derive(os.urandom(SECRET_BYTES), False)
    (other_role,) = {Role.DIAL_TRACKER, Role.DIAL_PEER} - {target.role}

    def changed(channel: Channel) -> Proof:
        proof = proof_by(scene.keys, target.role, channel)
        return evolve(proof, signature=bytes([proof.signature[0] ^ 1]) + proof.signature[1:])

    proofs: dict[str, Callable[[Caller], Proof]] = {
        "another connection": lambda caller: proof_by(scene.keys, target.role, caller.other_channel()),
        "another role": lambda caller: proof_by(scene.keys, other_role, caller.channel()),
        "the name of the share, and a key of one's own": lambda caller: evolve(
            proof_by(stranger, target.role, caller.channel()), share_id=scene.keys.share_id
        ),
        "the share's public key, and a signature of one's own": lambda caller: evolve(
            proof_by(stranger, target.role, caller.channel()),
            share_id=scene.keys.share_id,
            member_public=scene.keys.member_public,
        ),
        "a changed signature": lambda caller: changed(caller.channel()),
    }
    for what, make in proofs.items():
        with Caller(target.port, DeviceKey.generate(), target.alpn) as caller:
            assert caller.secured
            caller.say(target.frame(make(caller)))
            assert caller.hears() == b"", what


def test_other_share(scene: Scene) -> None:
    """A member of another share gets nothing from a peer."""
    target = scene.targets["peer"]
    with Caller(target.port, DeviceKey.generate(), target.alpn) as caller:
        other = ShareKeys.derive(os.urandom(SECRET_BYTES), False)
        caller.say(peer_hello(proof_by(other, target.role, caller.channel())))
        assert caller.hears() == b""


def test_garbage_within_tls(scene: Scene, target: Target) -> None:
    """A caller with a certificate that sends no proof, or a frame that is too long, is cut off."""
    for frame in (b"", b"\xff" * 40, b"\x01" * 2000, os.urandom(100_000)):
        with Caller(target.port, DeviceKey.generate(), target.alpn) as caller:
            caller.say(frame)
            assert caller.hears() == b""


def test_garbage_without_tls(scene: Scene, target: Target) -> None:
    """Plain bytes get no answer but an alert of TLS."""
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 1000, b"\x16\x03\x01\x00\x05hello", b""):
        assert answer_to_garbage(target.port, garbage) == b""


def test_silent_callers(scene: Scene, target: Target) -> None:
    """While others hold connections and say nothing, and after many that were cut off, a member is answered."""
    for _ in range(40):
        assert answer_to_garbage(target.port, b"\x00") == b""
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.create_connection(("127.0.0.1", target.port)))
        member = held.enter_context(Caller(target.port, DeviceKey.generate(), target.alpn))
        member.say(target.frame(proof_by(scene.keys, target.role, member.channel())))
        assert member.hears() != b""


def test_wrong_pin(machine: Machine) -> None:
    """A peer says not a byte to a tracker with another key than the invite's, and one sentence to its person."""
    key = DeviceKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        address = TrackerAddress("127.0.0.1", server.getsockname()[1], os.urandom(16))
        machine.invite_file.write_text(Invite(os.urandom(SECRET_BYTES), (address,)).text())
        peer = machine.join("one")
        assert impostor_hears(server, key, TRACKER_ALPN) == b""
        assert impostor_hears(server, key, TRACKER_ALPN) == b""
    sentence = "has another key than the invite says"
    machine.wait(lambda: sentence in peer.text(), "it says so")
    machine.wait(lambda: sentence in peer.state()["tracker"]["trouble"], "its status says so")
