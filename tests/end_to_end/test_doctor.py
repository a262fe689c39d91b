"""`twistedp2p doctor` on a machine where all is well, and on ones where something is not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from tests.end_to_end.processes import DEADLINE, Machine, Peer, Process, put
from twistedp2p.identity.invite import Invite

SETPRIV = shutil.which("setpriv")


@frozen
class Report:
    """What one run found."""

    status: int
    worst: str
    checks: list[dict[str, str]]

    def of(self, check: str) -> list[str]:
        """Return the levels of one check."""
        return [found["level"] for found in self.checks if found["check"] == check]

    def text(self, check: str) -> str:
        """Return what is said of one check, and what to do."""
        return " ".join(f"{found['text']} {found['advice']}" for found in self.checks if found["check"] == check)

    def bad(self) -> set[str]:
        """Return the checks that are not well."""
        return {found["check"] for found in self.checks if found["level"] != "ok"}


def doctor(machine: Machine, *words: str, prefix: tuple[str, ...] = ()) -> Report:
    """Run it to its end; fails if it shows a traceback, or its exit status does not fit."""
    command = (str(machine.programs / "twistedp2p"), "doctor", "--json", *words)
    process = machine.start("doctor", *prefix, *command)
    status = process.ended(DEADLINE)
    machine.excused.add("doctor")
    assert "Traceback" not in process.text(), process.text()
    found: dict[str, Any] = json.loads(process.text())
    assert status == (1 if found["worst"] == "problem" else 0)
    return Report(status, found["worst"], found["checks"])


class Share:
    """A tracker and two peers, of which `one` runs all the time."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tracker: Process = machine.tracker()
        put(machine.folder("one"), {"a/b": b"b"})
        self.one: Peer = machine.begin("one")
        self.two: Peer = machine.join("two")
        machine.wait_equal(self.one, self.two)
        machine.wait(lambda: self.one.in_sync() and self.two.in_sync(), "both are in sync")

    @property
    def folder(self) -> str:
        """The folder of the second peer."""
        return str(self.two.folder)


@pytest.fixture
def share(machine: Machine) -> Iterator[Share]:
    """A share that works."""
    yield Share(machine)


def test_all_is_well(share: Share) -> None:
    """With a tracker and two peers that run, every check is well; the running peers notice nothing."""
    found = doctor(share.machine, share.folder)
    assert (found.status, found.worst, found.bad()) == (0, "ok", set())
    assert {"python", "home", "watches", "space", "index", "invite", "tracker", "member", "port", "peers"} <= {
        check["check"] for check in found.checks
    }
    assert "one" in found.text("peers") and "in use" in found.text("index")
    assert share.two.text().count("Connected to the tracker") == 1
    assert len(share.one.state()["peers"]) == 1


def test_as_a_person_reads_it(share: Share) -> None:
    """The report has a line for each check as it ends, and a summary; from inside of the folder no DIR is needed."""
    done = subprocess.run(
        [str(share.machine.programs / "twistedp2p"), "doctor"],
        cwd=share.two.folder / "a",
        env={**os.environ, "TWISTEDP2P_HOME": str(share.machine.home.path)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    *lines, summary = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.startswith("ok       ") for line in lines), done.stdout
    assert summary == f"All {len(lines)} checks are well."


def test_peer_that_does_not_run(share: Share) -> None:
    """Without its peer a folder is checked as a guest of the share: who is alive, what time it is, the index."""
    share.two.stop()
    found = doctor(share.machine, share.folder)
    assert (found.worst, found.bad()) == ("warning", {"peer"})
    assert "takes this folder for a member" in found.text("member")
    assert "one" in found.text("peers") and "sound" in found.text("index")
    share.machine.wait(lambda: not share.one.state()["peers"], "the guest has left")
    again = share.machine.peer("two")
    share.machine.wait(again.in_sync, "it goes on as it was")


def test_only_the_machine(machine: Machine) -> None:
    """Outside of any share the machine alone is checked, and nothing is made."""
    found = doctor(machine)
    assert found.bad() == set() and not found.of("folder")
    assert not machine.home.path.exists()


def test_tracker_down(share: Share) -> None:
    """A tracker that does not run is named, by the running peer too."""
    share.tracker.stop()
    share.machine.wait(lambda: not share.two.state()["tracker"]["connected"], "the peer has lost it")
    found = doctor(share.machine, share.folder)
    assert found.bad() == {"tracker", "member"}
    assert "can not be reached" in found.text("tracker") and "firewall" in found.text("tracker")


def changed_invite(share: Share, **changes: Any) -> None:
    """Give the second peer, which is ended, an invite that names another tracker."""
    share.two.stop()
    file = share.two.folder / ".twistedp2p" / "invite"
    invite = Invite.parse(file.read_text())
    file.write_text(evolve(invite, trackers=(evolve(invite.trackers[0], **changes),)).text())


def test_wrong_pin(share: Share) -> None:
    """A tracker with another key than the invite says is not taken for the tracker."""
    changed_invite(share, pin=bytes(16))
    found = doctor(share.machine, share.folder)
    assert found.bad() == {"peer", "tracker"} and "another key" in found.text("tracker")


def test_another_program_has_the_port(share: Share) -> None:
    """What has the tracker's port and is no tracker is told from one that does not run."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        changed_invite(share, host="127.0.0.1", port=server.getsockname()[1])
        process = share.machine.start("doctor", "twistedp2p", "doctor", share.folder)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            assert process.ended(DEADLINE) == 1
    assert "another protocol" in process.text() and "Traceback" not in process.text()


def test_tracker_of_another_share(share: Share) -> None:
    """An invite that is no invite any more is said to be damaged."""
    share.two.stop()
    file = share.two.folder / ".twistedp2p" / "invite"
    file.write_text(file.read_text()[:-5])
    found = doctor(share.machine, share.folder)
    assert found.of("invite") == ["problem"] and "cut off" in found.text("invite")


def test_unwritable_folder(share: Share) -> None:
    """A folder that this user can not write to is named, with the command that mends it."""
    share.two.stop()
    # The superuser may write anywhere, unless it gives that up.
    prefix = (SETPRIV, "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 and SETPRIV else ()
    if os.geteuid() == 0 and not prefix:
        pytest.skip("setpriv is needed to be less than root")
    share.two.folder.chmod(0o555)
    try:
        found = doctor(share.machine, share.folder, prefix=tuple(word for word in prefix if word))
    finally:
        share.two.folder.chmod(0o755)
    assert found.of("permissions") == ["problem"]
    assert f"chmod u+rwx {share.folder}" in found.text("permissions")


def test_no_mark(share: Share) -> None:
    """A member without its mark may be a disk that is not mounted; so may one that is not there at all."""
    share.two.stop()
    (share.two.folder / ".twistedp2p" / "mark").unlink()
    found = doctor(share.machine, share.folder)
    assert found.of("mark") == ["problem"] and "Mount" in found.text("mark")
    shutil.rmtree(share.folder)
    found = doctor(share.machine, share.folder)
    assert found.of("folder") == ["problem"] and "mounted" in found.text("folder")


def test_no_share(machine: Machine) -> None:
    """A folder that is to be shared can be checked before."""
    machine.folder("new").mkdir()
    found = doctor(machine, str(machine.folder("new")))
    assert (found.worst, found.bad()) == ("warning", {"mark"})
    assert found.of("space") and found.of("watches") and not found.of("tracker")
    assert list(machine.folder("new").iterdir()) == []


def test_damaged_index(share: Share) -> None:
    """A damaged index is told; nothing is changed, and the next start heals it."""
    share.two.stop()
    index = share.two.folder / ".twistedp2p" / "index.sqlite"
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("DELETE FROM rows")
    damaged = index.read_bytes()
    found = doctor(share.machine, share.folder)
    assert found.of("index") == ["problem"] and "damaged" in found.text("index")
    assert index.read_bytes() == damaged
    again = share.machine.peer("two")
    share.machine.wait(again.in_sync, "it is in sync")
    share.machine.wait_equal(share.one, again)
    assert Path(f"{index}.damaged-1").read_bytes() == damaged
    assert doctor(share.machine, share.folder).bad() == set()
