"""Networks that go and come back, machines that move, firewalls: real processes on networks of their own."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import attrs
import pytest

from tests.end_to_end.conftest import MEMORY
from tests.end_to_end.namespaces import Host, Net, network
from tests.end_to_end.processes import DEADLINE, Peer, Process, Tree, difference, put, tree
from twistedp2p.identity.invite import Invite, TrackerAddress

QUICK = ("--keepalive", "2", "--expiry", "6")
"""A tracker that soon notices who is gone."""
QUICKEST = ("--keepalive", "0.7", "--expiry", "2")
"""A tracker that does so before a person has counted to three, for who waits for just that."""
SILENCE = 120.0
"""Seconds within which all is well again after connections died without a word to either side."""
FOLDER = "folder"


@pytest.fixture
def net() -> Iterator[Net]:
    """A network of the test's own."""
    base = Path(tempfile.mkdtemp(prefix="twistedp2p-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        with network(base) as made:
            yield made
    finally:
        shutil.rmtree(base)


def begin(net: Net, tracker: TrackerAddress | None = None, files: dict[str, bytes] | None = None) -> tuple[Host, Peer]:
    """Start the first peer of a share, with a tracker on the first machine."""
    host = net.machine("one")
    put(host.folder(FOLDER), files or {"a": b"a"})
    address = tracker or net.machines[0].address()
    peer = host.begin(FOLDER, "--tracker", address.text())
    return host, peer


def join(net: Net, first: Host, name: str) -> tuple[Host, Peer]:
    """Start another peer of the share of `first`, on a machine of its own."""
    host = net.machine(name)
    return host, host.peer(FOLDER, "--join", f"@{first.invite_file}")


def same(net: Net, *peers: Peer, seconds: float = DEADLINE) -> Tree:
    """Wait until the folders of all these peers hold the same; return what."""

    def equal() -> bool:
        first, *others = (tree(peer.folder) for peer in peers)
        return all(other == first for other in others)

    began = time.monotonic()
    net.wait(equal, lambda: difference(tree(peers[0].folder), tree(peers[-1].folder)), seconds)
    print(f"the folders are the same after {time.monotonic() - began:.1f} s")
    return tree(peers[0].folder)


def has(net: Net, peer: Peer, path: str, content: bytes, seconds: float = DEADLINE) -> None:
    """Wait until the folder of a peer has a file with this content."""
    file = peer.folder / path
    began = time.monotonic()
    net.wait(lambda: file.exists() and file.read_bytes() == content, f"{path} is in {peer.folder}", seconds)
    print(f"{path} is there after {time.monotonic() - began:.1f} s")


def listed(peer: Peer) -> int:
    """Return how many other peers a peer knows of; -1 without a tracker."""
    state = peer.state()
    return len(state["peers"]) if state["tracker"]["connected"] else -1


def test_network_of_a_peer_goes(net: Net) -> None:
    """The network of a peer goes for so long that it is forgotten, and comes back; edits of both sides arrive."""
    net.machine("hub").tracker(0, *QUICKEST)
    first, one = begin(net)
    second, two = join(net, first, "two")
    same(net, one, two)
    net.unplug(second)
    (one.folder / "a").write_bytes(b"edited meanwhile")
    put(two.folder, {"two/b": b"saved meanwhile"})
    net.wait(lambda: listed(one) == 0, "the peer that is gone is forgotten")
    net.plug(second)
    expected = {"a": (b"edited meanwhile", False), "two": None, "two/b": (b"saved meanwhile", False)}
    assert same(net, one, two) == expected
    net.wait(lambda: listed(one) == listed(two) == 1, "each is listed again")


@pytest.mark.long
def test_peer_moves(net: Net) -> None:
    """A peer whose machine gets another address is found there; what others save arrives, and what it saves."""
    net.machine("hub").tracker(0, *QUICK)
    first, one = begin(net)
    second, two = join(net, first, "two")
    same(net, one, two)
    net.move(second)
    put(two.folder, {"from two": os.urandom(300_000)})
    put(one.folder, {"from one": os.urandom(300_000)})
    found = same(net, one, two, seconds=SILENCE)
    assert found.keys() == {"a", "from one", "from two"}
    addresses = [peer["addresses"] for peer in one.state()["peers"]]
    assert second.ip in str(addresses), addresses


@pytest.mark.long
def test_tracker_moves(net: Net) -> None:
    """A tracker that the invite names by a host name is found at its new address."""
    hub = net.machine("hub")
    net.name("hub.example", hub.ip)
    hub.tracker(0, *QUICK, "--advertise", "hub.example")
    first, one = begin(net)
    _, two = join(net, first, "two")
    same(net, one, two)
    net.move(hub)
    net.name("hub.example", hub.ip)
    put(one.folder, {"b": b"saved meanwhile"})
    has(net, two, "b", b"saved meanwhile", SILENCE)


@pytest.mark.parametrize(
    "told", [pytest.param(True, id="told"), pytest.param(False, id="silent", marks=pytest.mark.long)]
)
def test_invite_of_two_addresses(net: Net, told: bool) -> None:
    """Peers whose invite names two addresses of their tracker find it at the one that is left.

    Whether the network tells that the other one is gone, or calls to that are just not answered.
    """
    hub = net.machine("hub")
    tracker = hub.tracker(0, *QUICK)
    first, second = net.machine("one"), net.machine("two")
    address = hub.address()
    other = attrs.evolve(address, host=net.add_address(hub))
    first.invite_file.write_text(Invite(os.urandom(16), (address, other)).text())
    put(first.folder(FOLDER), {"a": b"a"})
    one, two = (host.peer(FOLDER, "--join", f"@{first.invite_file}") for host in (first, second))
    same(net, one, two)
    net.wait(lambda: listed(one) == listed(two) == 1, "both are listed")
    if told:
        for host in (first, second):
            net.tell_unreachable(host, hub.ip)
    tracker.kill()
    net.drop_address(hub, hub.ip)
    hub.tracker(0, *QUICK)
    put(two.folder, {"b": b"saved meanwhile"})
    has(net, one, "b", b"saved meanwhile")


def test_only_dials(net: Net) -> None:
    """A peer behind a firewall, which can only dial, gets what others save, and others get what it saves."""
    net.machine("hub").tracker(0, *QUICK)
    first, one = begin(net)
    hidden = net.machine("hidden")
    net.refuse_callers(hidden)
    two = hidden.peer(FOLDER, "--join", f"@{first.invite_file}")
    put(two.folder, {"hidden": os.urandom(300_000)})
    found = same(net, one, two)
    assert found.keys() == {"a", "hidden"}


def test_can_not_be_dialled_and_wants_nothing(net: Net) -> None:
    """A peer behind a firewall dials when it is asked to: it has no reason of its own, and others want what it has."""
    net.machine("hub").tracker(0, *QUICK)
    first = net.machine("one")
    first.folder(FOLDER).mkdir()
    one = first.begin(FOLDER, "--tracker", net.machines[0].address().text())
    hidden = net.machine("hidden")
    net.refuse_callers(hidden)
    put(hidden.folder(FOLDER), {"hidden": os.urandom(300_000)})
    two = hidden.peer(FOLDER, "--join", f"@{first.invite_file}")
    assert same(net, one, two).keys() == {"hidden"}


def test_ends_while_it_dials(net: Net) -> None:
    """A peer that calls machines which do not answer ends at once when it is asked to, without a complaint."""
    hub = net.machine("hub")
    hub.tracker(0, *QUICK)
    first, one = begin(net)
    net.wait(one.in_sync, "the first is ready")
    one.stop()
    net.unplug(hub)
    one = first.peer(FOLDER)
    net.wait(lambda: one.status() is not None, "it answers")
    one.stop()
    assert "#critical" not in one.text(), one.text()


def test_through_a_third(net: Net) -> None:
    """Two peers that can not reach each other exchange through one that both reach."""
    net.machine("hub").tracker(0, *QUICK)
    first, third = net.machine("one"), net.machine("three")
    net.separate(first, third)
    put(first.folder(FOLDER), {"from one": os.urandom(300_000)})
    put(third.folder(FOLDER), {"from three": os.urandom(300_000)})
    one = first.begin(FOLDER, "--tracker", net.machines[0].address().text())
    _, two = join(net, first, "two")
    three = third.peer(FOLDER, "--join", f"@{first.invite_file}")
    found = same(net, one, two, three, seconds=60)
    assert found.keys() == {"from one", "from three"}


@pytest.mark.long
def test_separated_while_connected(net: Net) -> None:
    """Two peers whose connection dies without a word, and can not be made again, go on through a third."""
    net.machine("hub").tracker(0, *QUICK)
    first, one = begin(net)
    second, two = join(net, first, "two")
    same(net, one, two)
    _, three = join(net, first, "three")
    same(net, one, two, three)
    net.separate(first, second)
    put(one.folder, {"from one": os.urandom(300_000)})
    put(two.folder, {"from two": os.urandom(300_000)})
    found = same(net, one, two, three, seconds=SILENCE)
    assert found.keys() == {"a", "from one", "from two"}


def test_tracker_is_wiped(net: Net) -> None:
    """A tracker that is killed and comes back without memory, while peers save, changes nothing for them."""
    hub = net.machine("hub")
    tracker = hub.tracker(0, *QUICK)
    first, one = begin(net)
    _, two = join(net, first, "two")
    same(net, one, two)
    for number in range(3):
        put(one.folder, {f"before {number}": b"one"})
        tracker.kill()
        (one.folder / "a").write_bytes(b"%d" % number)
        put(two.folder, {f"meanwhile {number}": b"two"})
        tracker = hub.tracker(0, *QUICK)
    found = same(net, one, two)
    names = {f"{when} {number}" for when in ("before", "meanwhile") for number in range(3)}
    assert found.keys() == {"a", *names}
    assert found["a"] == (b"2", False)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_everything_restarts(net: Net, seed: int) -> None:
    """Whatever is killed and started again, in whatever order, while people save: all is the same at the end."""
    random = Random(seed)
    hub = net.machine("hub")
    running: dict[Host, Process] = {hub: hub.tracker(0, *QUICK)}
    first, one = begin(net)
    running[first] = one
    for name in ("two", "three"):
        host, peer = join(net, first, name)
        running[host] = peer
    peers = [peer for peer in running.values() if isinstance(peer, Peer)]
    same(net, *peers)
    down: list[Host] = []
    for step in range(24):
        host = random.choice(list(running))
        if host in down:
            running[host] = hub.tracker(0, *QUICK) if host is hub else host.peer(FOLDER)
            down.remove(host)
        elif random.random() < 0.7:
            running[host].kill()
            down.append(host)
        for saver in net.machines[1:]:
            put(saver.folder(FOLDER), {f"{saver.port}/{step}": random.randbytes(20_000), "shared": b"%d" % step})
    for host in down:
        running[host] = hub.tracker(0, *QUICK) if host is hub else host.peer(FOLDER)
    peers = [peer for peer in running.values() if isinstance(peer, Peer)]
    found = same(net, *peers, seconds=60)
    assert {f"{host.port}/{step}" for host in net.machines[1:] for step in range(24)} <= found.keys()


@pytest.mark.long
def test_suspended(net: Net) -> None:
    """A peer that is suspended until it is forgotten, and a tracker that is, go on when they wake."""
    hub = net.machine("hub")
    tracker = hub.tracker(0, *QUICK)
    first, one = begin(net)
    _, two = join(net, first, "two")
    same(net, one, two)
    two.send(signal.SIGSTOP)
    put(one.folder, {"b": b"saved while the other slept"})
    put(two.folder, {"c": b"saved by somebody while its peer slept"})
    net.wait(lambda: listed(one) == 0, "the one that sleeps is forgotten")
    two.send(signal.SIGCONT)
    same(net, one, two)
    tracker.send(signal.SIGSTOP)
    put(one.folder, {"d": b"saved while the tracker slept"})
    end = time.monotonic() + 15
    net.wait(lambda: time.monotonic() > end, "time goes by")
    tracker.send(signal.SIGCONT)
    assert same(net, one, two).keys() == {"a", "b", "c", "d"}


@pytest.mark.long
def test_bad_network(net: Net) -> None:
    """On a network that loses a twentieth of all packets, all arrives."""
    net.machine("hub").tracker(0, *QUICK)
    first, one = begin(net, files={f"{number}": os.urandom(200_000) for number in range(20)})
    second, two = join(net, first, "two")
    for host in (first, second):
        net.lose(host, 5)
    put(two.folder, {"from two": os.urandom(2_000_000)})
    found = same(net, one, two, seconds=120)
    assert len(found) == 21
