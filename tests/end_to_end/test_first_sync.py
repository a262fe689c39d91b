"""Folders that meet for the first time."""

from __future__ import annotations

import os
from pathlib import Path

from tests.end_to_end.processes import Machine, Peer, Tree, put, tree

BIG = os.urandom(3_000_000)


def several(prefix: str, count: int) -> dict[str, bytes]:
    """Return `count` small files in several folders."""
    return {f"{prefix}/{n % 7}/{n}.txt": f"{prefix} {n}\n".encode() * (n + 1) for n in range(count)}


def files(content: dict[str, bytes]) -> Tree:
    """Return the tree of these files and of the folders that they need."""
    found: Tree = {path: (data, False) for path, data in content.items()}
    for path in content:
        found.update((str(parent), None) for parent in Path(path).parents if str(parent) != ".")
    return found


def received(peer: Peer) -> int:
    """Return how many bytes of content a peer took from others."""
    return sum(other["bytes_in"] for other in peer.state()["peers"])


def test_both_ways_at_once(machine: Machine) -> None:
    """Two filled folders become one: what only one has travels, what both have is adopted where it lies."""
    same = {**several("same", 40), "same/big": BIG}
    left, right = {**several("left", 60), "both/left.txt": b"l"}, {**several("right", 60), "both/right.txt": b"r"}
    put(machine.folder("one"), {**same, **left})
    put(machine.folder("two"), {**same, **right})
    os.utime(machine.folder("two") / "same/big", (1_000_000_000, 1_000_000_000))
    inode = (machine.folder("two") / "same/big").stat().st_ino
    machine.tracker()
    words = ("--tracker", machine.address().text(), "--invite-file", str(machine.invite_file))
    one = machine.command("share", "one", *words)
    machine.wait(machine.invite_file.exists, "the invite is written")
    two = machine.command("join", "two", f"@{machine.invite_file}")
    machine.wait_for([one, two], files({**same, **left, **right}))
    machine.wait(lambda: one.in_sync() and two.in_sync(), "both say that they are in sync")
    assert (two.folder / "same/big").stat().st_ino == inode
    assert received(one) < len(BIG)
    assert received(two) < len(BIG)


def test_three_peers(machine: Machine) -> None:
    """Three peers, each with something of its own, come to the same tree, and two of them after the first has gone."""
    machine.tracker()
    put(machine.folder("one"), several("one", 50))
    put(machine.folder("two"), {"two/big": BIG})
    one = machine.begin("one")
    two, three = machine.join("two"), machine.join("three")
    expected = files({**several("one", 50), "two/big": BIG})
    machine.wait_for([one, two, three], expected)
    one.stop()
    put(two.folder, {"later": b"later"})
    machine.wait_for([three], {**expected, "later": (b"later", False)})
    assert tree(one.folder) == expected


def test_dates_bits_and_empty_things(machine: Machine) -> None:
    """The date to the nanosecond, the executable bit, empty files and empty folders arrive as they are."""
    machine.tracker()
    folder = machine.folder("one")
    put(folder, {"run.sh": b"#!/bin/sh\n", "empty": b"", "old": b"old", "deep/er/file": b"x"})
    (folder / "run.sh").chmod(0o755)
    (folder / "nothing/inside").mkdir(parents=True)
    os.utime(folder / "old", ns=(1, 981_173_106_123_456_789))
    one = machine.begin("one")
    two = machine.join("two")
    expected = tree(one.folder)
    assert expected["run.sh"] == (b"#!/bin/sh\n", True)
    assert expected["nothing/inside"] is None
    machine.wait_for([two], expected)
    for path in ("run.sh", "empty", "old", "deep/er/file"):
        assert (two.folder / path).stat().st_mtime_ns == (folder / path).stat().st_mtime_ns


def test_default_share(machine: Machine) -> None:
    """With a tracker of the same home, a peer that names no share begins one, and a second joins it; both say so."""
    machine.tracker()
    put(machine.folder("one"), {"hello": b"hello"})
    one = machine.peer("one")
    machine.wait((machine.home.path / "invite").exists, "the default invite is kept")
    two = machine.peer("two")
    machine.wait_for([two], files({"hello": b"hello"}))
    put(two.folder, {"and": b"back"})
    machine.wait_for([one], files({"hello": b"hello", "and": b"back"}))
    assert "begins a new share" in one.text() and "joins the default one" in two.text()
    put(machine.folder("three"), {"mine": b"mine"})
    assert "--join" in machine.fails("twistd", "-n", "peer", "--folder", str(machine.folder("three")))
    assert not any("tp2p1:" in process.text() for process in machine.processes), "an invite was logged"
