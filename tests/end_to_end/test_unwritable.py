"""A folder that was shared before and can only be read now: it is served and watched, and goes on when that is over."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.processes import Machine, Peer, put, tree

FILES = {"small": b"one", "deep/big": os.urandom(3_000_000)}
_CAPABILITIES = "-dac_override,-dac_read_search"
WITHOUT_RIGHTS = ("setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}", "--")
"""Words before a command of root that let it do only what a user may."""
_MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def errors(peer: Peer) -> list[tuple[str, str]]:
    """Return the codes of what is wrong, with the paths."""
    return [(error["code"], error["path"]) for error in peer.state()["errors"]]


def shared_before(machine: Machine) -> tuple[str, str]:
    """Share the folder `one`, and end its peer; return by what it is known."""
    machine.tracker()
    put(machine.folder("one"), FILES)
    one = machine.begin("one")
    machine.wait(one.in_sync, "the first is ready")
    state = one.state()
    one.stop()
    return state["node"], state["replica"]


def check_served(machine: Machine, start: Callable[[], Peer], code: str, sentence: str) -> tuple[Peer, Peer]:
    """Start the peer of `one`, which serves another one, and says why it takes nothing; return both peers."""
    one = start()
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    assert errors(one) == [(code, "")], one.state()["errors"]
    put(two.folder, {"from two": b"later"})
    machine.wait(lambda: one.state()["missing"]["files"] == 1, "the peer knows that there is something that it lacks")
    assert not (one.folder / "from two").exists()
    assert one.text().count(sentence) == 1, one.text()
    return one, two


def check_goes_on(machine: Machine, one: Peer, two: Peer, known_by: tuple[str, str]) -> None:
    """The folder can be written to: all goes on, at once and after another start, under the same identity."""
    machine.wait(lambda: (one.folder / "from two").exists(), "what waited is put in place")
    put(one.folder, {"small": b"another"})
    machine.wait(lambda: (two.folder / "small").read_bytes() == b"another", "an edit arrives")
    machine.wait(lambda: one.in_sync() and not errors(one), "nothing is wrong any more")
    one.stop()
    again = machine.peer("one")
    machine.wait(again.in_sync, "it is in sync after another start")
    assert (again.state()["node"], again.state()["replica"]) == known_by
    assert machine.wait_equal(again, two).keys() >= {"small", "deep", "deep/big", "from two"}
    assert not list((machine.home.path / "read-only").glob("*/*"))


def allow(folder: Path, writing: bool) -> None:
    """Let the owner write to all of a folder, or not."""
    for base, folders, _ in os.walk(folder):
        for path in (base, *(os.path.join(base, name) for name in folders)):
            os.chmod(path, 0o700 if writing else 0o500)


def started_without_rights(machine: Machine, start: Callable[[], Peer]) -> Peer:
    """Start a peer that may do only what a user may, also when root runs the tests."""
    machine.enter = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    try:
        return start()
    finally:
        machine.enter = ()


def test_no_permission(machine: Machine) -> None:
    """Without permission to write, a peer starts, serves and watches the folder; with it, it goes on by itself."""
    known_by = shared_before(machine)
    folder = machine.folder("one")
    allow(folder, False)

    def start() -> Peer:
        return started_without_rights(machine, lambda: machine.peer("one"))

    one, two = check_served(machine, start, "no-permission", "#warn] The shared folder can not be written to: give")
    folder.chmod(0o700)
    put(folder, {"saved": b"by somebody who may"})
    folder.chmod(0o500)
    machine.wait(lambda: (two.folder / "saved").exists(), "what is saved there is shared all the same")
    allow(folder, True)
    check_goes_on(machine, one, two, known_by)


def test_read_only_disk(machine: Machine) -> None:
    """On a disk that is mounted read-only a peer starts and serves; when it is mounted for writing, it goes on."""
    user = os.geteuid() != 0
    space = ("unshare", "--mount", *(("--user", "--map-root-user") if user else ()), "--")
    if subprocess.run([*space, "mount", "--bind", "/dev", "/dev"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount anything")
    known_by = shared_before(machine)
    folder = machine.folder("one")

    def start() -> Peer:
        machine.enter = (*space, "sh", "-c", _MOUNTED, str(folder))
        try:
            return machine.peer("one")
        finally:
            machine.enter = ()

    one, two = check_served(machine, start, "read-only", "#warn] The disk is read-only: mount it for writing")
    enter = ("nsenter", "--target", str(one.pid), "--mount", *(("--user", "--preserve-credentials") if user else ()))
    subprocess.run([*enter, "mount", "-o", "remount,bind,rw", str(folder)], check=True)
    check_goes_on(machine, one, two, known_by)


def test_single_files_and_folders(machine: Machine) -> None:
    """What can not be read or written is named with what to do; all else goes on, and it is tried again."""
    machine.tracker()
    put(machine.folder("one"), {"closed/old": b"old", "open/old": b"old", "secret": b"mine"})
    one = started_without_rights(machine, lambda: machine.begin("one"))
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    (one.folder / "closed").chmod(0o500)
    (one.folder / "unreadable").write_bytes(b"for nobody")
    (one.folder / "unreadable").chmod(0)
    put(two.folder, {"closed/new": b"new", "open/new": b"new", "closed/old": b"changed"})
    expected = {("no-permission", "closed/new"), ("no-permission", "closed/old"), ("unreadable", "unreadable")}
    machine.wait(lambda: set(errors(one)) == expected, lambda: f"it says what is wrong: {errors(one)}")
    machine.wait(lambda: (one.folder / "open/new").exists(), "all else goes on")
    assert (one.folder / "closed/old").read_bytes() == b"old"
    for error in one.state()["errors"]:
        assert "chmod" in error["text"], error
    (one.folder / "closed").chmod(0o700)
    (one.folder / "unreadable").chmod(0o600)
    machine.wait(lambda: (two.folder / "unreadable").exists(), "what can be read is shared", 90.0)
    machine.wait(lambda: one.in_sync() and not errors(one), lambda: f"all is tried again: {errors(one)}", 90.0)
    assert machine.wait_equal(one, two)["closed/old"] == (b"changed", False)
