"""What can not be started says why in one sentence, and ends with status 1."""

from __future__ import annotations

import shutil
import socket

import pytest

from tests.end_to_end.processes import LOCAL, Machine, put, tree
from twistedp2p.identity.invite import Invite, TrackerAddress

PEER = ("twistd", "-n", "peer")
TRACKER = ("twistd", "-n", "tracker")
INVITE = Invite(bytes(16), (TrackerAddress("127.0.0.1", 9, bytes(16)),))


@pytest.mark.parametrize("program", [TRACKER, ("twistd", "-n", "echo")])
def test_port_in_use(machine: Machine, program: tuple[str, ...]) -> None:
    """A service whose port something else has names that port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = machine.fails(*program, "--listen", f"tcp:{port}:interface=127.0.0.1")
    assert str(port) in sentence and "--listen" in sentence


@pytest.mark.parametrize("program", [PEER, ("twistedp2p", "join")])
def test_port_of_peer_in_use(machine: Machine, program: tuple[str, ...]) -> None:
    """A peer whose port something else has names that port; the folder can be used afterwards."""
    machine.invite_file.write_text(INVITE.text())
    folder, invite = str(machine.folder("one")), f"@{machine.invite_file}"
    join = ("--join", invite, "--folder", folder) if program == PEER else (invite, folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = machine.fails(*program, "--listen", f"tcp:{port}:interface=127.0.0.1", *join)
    assert str(port) in sentence and "--listen" in sentence
    started = machine.join("one")
    machine.wait(lambda: started.status() is not None, "it starts now")


@pytest.mark.parametrize("program", [PEER, TRACKER])
def test_malformed_endpoint(machine: Machine, program: tuple[str, ...]) -> None:
    """An endpoint that is none is repeated, with an example of one."""
    sentence = machine.fails(*program, "--listen", "tcp:here")
    assert "'tcp:here'" in sentence and "tcp:8000" in sentence


def test_malformed_invite(machine: Machine) -> None:
    """An invite that was cut off, is something else or is not there is refused before anything is made."""
    text = INVITE.text()
    folder = str(machine.folder("one"))
    for written in (text[:-1], "hello", "@/nowhere/invite"):
        assert "invite" in machine.fails(*PEER, "--folder", folder, "--join", written).lower()
    assert "invite" in machine.fails("twistedp2p", "join", text[:-1], folder).lower()
    assert not machine.folder("one").exists()
    assert not any(text[10:40] in process.text() for process in machine.processes), "an invite was shown"


def test_file_in_place_of_folder(machine: Machine) -> None:
    """A file where the folder should be is named, and is left as it is."""
    machine.invite_file.write_text(INVITE.text())
    file = machine.folder("file")
    file.write_bytes(b"kept")
    assert str(file) in machine.fails(*PEER, "--folder", str(file), "--join", INVITE.text())
    assert str(file) in machine.fails("twistedp2p", "join", INVITE.text(), str(file))
    assert file.read_bytes() == b"kept"


def test_no_tracker(machine: Machine) -> None:
    """A peer that is to begin a share, on a machine where no tracker ever was, says how to start one."""
    assert "twistd -n tracker" in machine.fails(*PEER, "--folder", str(machine.folder("one")))


def test_folder_without_mark(machine: Machine) -> None:
    """A member's folder without its mark is taken for a disk that is not mounted, and nothing is put into it."""
    machine.tracker()
    put(machine.folder("one"), {"a": b"a"})
    one = machine.begin("one")
    machine.wait(one.in_sync, "it is a member")
    one.stop()
    shutil.rmtree(one.folder / ".twistedp2p")
    listen = ("--listen", LOCAL)
    join = ("--join", f"@{machine.invite_file}")
    assert "not mounted?" in machine.fails(*PEER, "--folder", str(one.folder), *listen, *join)
    assert "not mounted?" in machine.fails("twistedp2p", "share", *listen, str(one.folder))
    assert not (one.folder / ".twistedp2p").exists()
    shutil.rmtree(one.folder)
    assert "mounted?" in machine.fails(*PEER, "--folder", str(one.folder), *listen)
    assert not one.folder.exists()


def test_folder_served_already(machine: Machine) -> None:
    """A folder that another process serves is refused, and that process goes on; after a kill it can be served."""
    machine.tracker()
    put(machine.folder("one"), {"a": b"a"})
    one = machine.begin("one")
    machine.wait(one.in_sync, "it runs")
    assert "Another process serves this folder" in machine.fails(*PEER, "--folder", str(one.folder), "--listen", LOCAL)
    assert "Another process serves" in machine.fails("twistedp2p", "share", "--listen", LOCAL, str(one.folder))
    two = machine.join("two")
    machine.wait_for([two], tree(one.folder))
    one.kill()
    again = machine.peer("one")
    machine.wait(again.in_sync, "it runs again")


def test_other_share(machine: Machine) -> None:
    """A folder of one share is not joined to another one, and does not begin a new one."""
    machine.tracker()
    one = machine.begin("one")
    machine.wait(one.in_sync, "it is a member")
    one.stop()
    folder = ("--folder", str(one.folder), "--listen", LOCAL)
    assert "another share" in machine.fails(*PEER, *folder, "--join", INVITE.text())
    assert "--new-share" in machine.fails(*PEER, *folder, "--new-share")


def test_status_of_nobody(machine: Machine) -> None:
    """Asking for the status of a folder that nobody serves ends with status 1, and says how to serve it."""
    machine.folder("one").mkdir()
    assert "twistedp2p" in machine.fails("twistedp2p", "status", str(machine.folder("one")))
