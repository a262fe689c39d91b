"""Peers and trackers that are killed, lose what they know, or are away for a while."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.end_to_end.processes import Machine, Peer, Process, Tree, put, tree
from twistedp2p.home import Home


def connected(*peers: Peer) -> bool:
    """Return whether all these peers have a tracker and see each other there."""
    states = [peer.status() or {"tracker": {"connected": False}} for peer in peers]
    return all(state["tracker"]["connected"] and len(state["peers"]) == len(peers) - 1 for state in states)


def beginning(folder: Path) -> bool:
    """Return whether something has arrived in `folder`, or is about to; looks only as long as it must."""
    parts = folder / ".twistedp2p/parts"
    return parts.is_dir() and bool(os.listdir(parts) or set(os.listdir(folder)) - {".twistedp2p"})


def test_kill_peer_in_first_sync(machine: Machine) -> None:
    """A peer that is killed in the midst of its first sync has only whole files, and goes on when it starts again."""
    machine.tracker()
    put(machine.folder("one"), {f"big/{n}": os.urandom(3_000_000) for n in range(20)})
    put(machine.folder("one"), {f"small/{n}": os.urandom(2000) for n in range(400)})
    expected = tree(machine.folder("one"))
    one = machine.begin("one")
    machine.wait(one.in_sync, "the first is ready")
    two = machine.join("two")
    machine.wait(lambda: beginning(two.folder), "the first sync begins")
    two.kill()
    had = tree(two.folder)
    assert had != expected, "it was killed too late to tell anything"
    assert {path: what for path, what in had.items() if expected[path] != what} == {}
    again = machine.join("two")
    machine.wait_for([again, one], expected)


def test_kill_serving_peer(machine: Machine) -> None:
    """When the only peer with the content is killed and starts again, the other gets the rest."""
    machine.tracker()
    put(machine.folder("one"), {f"{n}": os.urandom(3_000_000) for n in range(20)})
    expected = tree(machine.folder("one"))
    one = machine.begin("one")
    machine.wait(one.in_sync, "the first is ready")
    two = machine.join("two")
    machine.wait(lambda: beginning(two.folder), "the first sync begins")
    one.kill()
    again = machine.peer("one")
    machine.wait_for([two, again], expected)


def test_kill_tracker(machine: Machine) -> None:
    """A tracker that is killed, and starts again without memory, is found again; edits made meanwhile arrive."""
    tracker = machine.tracker()
    port = machine.address().port
    put(machine.folder("one"), {"kept": b"kept", "edited": b"before", "deleted": b"deleted"})
    one = machine.begin("one")
    two = machine.join("two")
    machine.wait_for([one, two], tree(one.folder))
    machine.wait(lambda: connected(one, two), "both are connected")
    tracker.kill()
    machine.wait(lambda: not any(peer.state()["tracker"]["connected"] for peer in (one, two)), "both notice")
    (one.folder / "edited").write_bytes(b"after")
    (two.folder / "deleted").unlink()
    put(two.folder, {"new/file": b"new"})
    machine.tracker(port)
    expected: Tree = {
        "kept": (b"kept", False),
        "edited": (b"after", False),
        "new": None,
        "new/file": (b"new", False),
    }
    machine.wait_for([one, two], expected)
    machine.wait(lambda: connected(one, two), "both are listed again")


def test_both_edit_while_apart(machine: Machine) -> None:
    """When both edit one file while apart, both end with the same two files: the winner, and one conflict copy."""
    machine.tracker()
    put(machine.folder("one"), {"text.txt": b"before\n", "other": b"o"})
    one = machine.begin("one")
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    machine.wait(two.in_sync, "the second is in sync")
    two.stop()
    (one.folder / "text.txt").write_bytes(b"edited by one\n")
    (two.folder / "text.txt").write_bytes(b"edited by two\n")
    again = machine.join("two")
    machine.wait(lambda: len(tree(one.folder)) == len(tree(again.folder)) == 3, "there is a copy in both")
    found = machine.wait_equal(one, again)
    (copy,) = found.keys() - {"text.txt", "other"}
    assert copy.startswith("text (conflict ") and copy.endswith(").txt")
    assert {found["text.txt"], found[copy]} == {(b"edited by one\n", False), (b"edited by two\n", False)}


def test_delete_while_apart(machine: Machine) -> None:
    """What was deleted while a peer was away is deleted there too; what was edited there meanwhile survives."""
    machine.tracker()
    put(machine.folder("one"), {"deleted": b"d", "edited": b"before", "folder/x": b"x"})
    one = machine.begin("one")
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    machine.wait(two.in_sync, "the second is in sync")
    two.stop()
    for name in ("deleted", "edited", "folder/x"):
        (one.folder / name).unlink()
    (one.folder / "folder").rmdir()
    (two.folder / "edited").write_bytes(b"edited after all")
    machine.wait(lambda: one.state()["files"] == 0, "the first has seen the deletions")
    again = machine.join("two")
    machine.wait_for([one, again], {"edited": (b"edited after all", False)})


def test_folder_vanishes(machine: Machine) -> None:
    """A folder whose disk goes away under a running peer deletes nothing at the others; it goes on when it is back."""
    machine.tracker()
    put(machine.folder("one"), {f"{n}": b"%d" % n for n in range(20)})
    one = machine.begin("one")
    two = machine.join("two")
    expected = tree(one.folder)
    machine.wait_for([two], expected)
    machine.wait(two.in_sync, "the second is in sync")
    away = machine.folder("away")
    two.folder.rename(away)
    two.folder.mkdir()
    put(one.folder, {"later": b"later"})
    machine.wait(lambda: one.state()["files"] == 21, "the first goes on")
    assert tree(two.folder) == {}
    two.kill()
    sentence = machine.fails("twistd", "-n", "peer", "--folder", str(two.folder))
    assert "mounted?" in sentence
    assert tree(one.folder) == {**expected, "later": (b"later", False)}
    two.folder.rmdir()
    away.rename(two.folder)
    machine.wait_for([machine.peer("two"), one], {**expected, "later": (b"later", False)})


def test_copied_folder(machine: Machine) -> None:
    """A folder that was copied with its state folder runs beside the original, as another member."""
    machine.tracker()
    put(machine.folder("one"), {"a": b"a"})
    one = machine.begin("one")
    machine.wait(one.in_sync, "the first is ready")
    one.stop()
    shutil.copytree(one.folder, machine.folder("copy"))
    original, copy = machine.peer("one"), machine.peer("copy")
    machine.wait(lambda: connected(original, copy), "both are listed")
    put(original.folder, {"b": b"b"})
    put(copy.folder, {"c": b"c"})
    machine.wait_for([original, copy], {"a": (b"a", False), "b": (b"b", False), "c": (b"c", False)})
    assert original.state()["node"] != copy.state()["node"]


def test_terminate(machine: Machine) -> None:
    """SIGTERM and SIGINT end a tracker and peers within five seconds; a second start goes on where they were."""
    tracker = machine.tracker()
    port = machine.address().port
    put(machine.folder("one"), {"a": b"a"})
    one = machine.begin("one")
    two = machine.command("join", "two", f"@{machine.invite_file}")
    machine.wait_for([two], {"a": (b"a", False)})
    for process in (two, one, tracker):
        process.stop(5)
    processes: tuple[Process, ...] = (machine.tracker(port), machine.peer("one"), machine.command("share", "two"))
    put(one.folder, {"b": b"b"})
    machine.wait_for([two], {"a": (b"a", False), "b": (b"b", False)})
    for process in processes:
        process.send(signal.SIGINT)
        assert process.ended(5) in (0, -signal.SIGINT)


def test_share_with_its_own_tracker(machine: Machine) -> None:
    """`twistedp2p share` brings its tracker; after a kill it goes on at the same port, and others find it again."""
    put(machine.folder("one"), {"a": b"a"})
    words = ("--advertise", "127.0.0.1", "--invite-file", str(machine.invite_file))
    one = machine.command("share", "one", *words)
    machine.wait(machine.invite_file.exists, "the invite is written")
    other = machine.base / "other home"
    machine.home = Home(other)
    two = machine.command("join", "two", f"@{machine.invite_file}")
    machine.wait_for([two], {"a": (b"a", False)})
    one.kill()
    put(two.folder, {"b": b"b"})
    machine.home = Home(machine.base / "home")
    again = machine.command("share", "one", *words)
    machine.wait_for([again, two], {"a": (b"a", False), "b": (b"b", False)})
