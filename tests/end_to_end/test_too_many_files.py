"""Processes that may open no more files: nothing spins, a sentence says so, and all goes on when they may."""

from __future__ import annotations

import os
import resource

from tests.end_to_end.processes import Machine, Peer, Process, put, tree

_TICKS = os.sysconf("SC_CLK_TCK")
SENTENCE = "Nobody can connect: too many files are open in this process."
REST = 3.0
"""Seconds of processor time that a process may use in a test in which it can do nothing: one that spins uses more."""


def lower(process: Process) -> tuple[int, int]:
    """Let a running process open no more files; return its limits of before, to be set again."""
    used = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    lowest_free = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    return before


def used(process: Process) -> float:
    """Return how many seconds of processor time a process has used."""
    with open(f"/proc/{process.pid}/stat") as file:
        times = file.read().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / _TICKS


def codes(peer: Peer) -> set[str]:
    """Return the codes of what is wrong with a peer."""
    return {error["code"] for error in peer.state()["errors"]}


def test_tracker(machine: Machine) -> None:
    """A tracker that can open no more files lets callers wait, and takes them as soon as it can."""
    tracker = machine.tracker()
    put(machine.folder("one"), {"file": b"content"})
    one = machine.begin("one")
    machine.wait(one.in_sync, "the first is ready")
    before = lower(tracker)
    spent = used(tracker)
    two = machine.join("two")
    machine.wait(lambda: SENTENCE in tracker.text(), "the tracker says what is wrong")
    machine.wait(lambda: "broke off" in two.text(), "the caller gives up, and calls again")
    put(one.folder, {"more": b"saved meanwhile"})
    machine.wait(one.in_sync, "who is connected goes on")
    assert used(tracker) - spent < REST
    resource.prlimit(tracker.pid, resource.RLIMIT_NOFILE, before)
    machine.wait_for([two], tree(one.folder))
    assert tracker.text().count(SENTENCE) == 1, tracker.text()


def test_peer(machine: Machine) -> None:
    """A peer that can open no more files says so when it is asked, and catches up as soon as it can."""
    machine.tracker()
    put(machine.folder("one"), {"file": b"content"})
    one = machine.begin("one")
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    machine.wait(lambda: one.in_sync() and two.in_sync(), "both are ready")
    before = lower(one)
    spent = used(one)
    put(two.folder, {"there/from two": os.urandom(300_000)})
    put(one.folder, {"here/from one": os.urandom(300_000)})
    three = machine.join("three")
    machine.wait(lambda: "too-many-files" in codes(one), "the peer says what is wrong")
    machine.wait(lambda: (three.status() or {}).get("files") == 2, "the others go on")
    machine.wait(lambda: (three.folder / "there/from two").exists(), "the others sync among themselves")
    assert not (one.folder / "there").exists()
    assert used(one) - spent < REST
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, before)
    machine.wait(lambda: len(machine.wait_equal(one, two, three)) == 5, "all is everywhere", 90.0)
    machine.wait(lambda: one.in_sync() and not codes(one), "nothing is wrong any more", 90.0)
    assert one.text().count("Too many files are open in this process") == 1, one.text()
