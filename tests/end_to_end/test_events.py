"""What scripts hear: the events of --json have the fields that the document lists, and no others."""

from __future__ import annotations

import io
import json
import os
import signal
from collections import defaultdict
from contextlib import redirect_stdout
from typing import Any

from twisted.internet.task import Clock

from tests.cli.events import check, documented
from tests.end_to_end.processes import Machine, put
from twistedp2p.cli.moving import moving_on
from twistedp2p.limits import DOWNLOAD_WRITE, SMALL_FILE_BYTES
from twistedp2p.transfer.files.progress import FileEvent, Totals, What
from twistedp2p.transfer.files.service import FilesKeys

LOCAL = "tcp:0:interface=127.0.0.1"
TIMED = {("send", "sent"), ("get", "progress"), ("put", "progress"), ("receive", "progress")}
"""Events that come only if a command takes long enough; `test_timed_events` and tests/cli/test_sending.py have them."""


class Script:
    """Runs commands as a script does, and keeps what they say."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.heard: defaultdict[str, set[str]] = defaultdict(set)

    def run(self, verb: str, *words: str, status: int = 0) -> list[dict[str, Any]]:
        """Run `twistedp2p VERB --json WORDS` to its end; return what it says, which must be as documented."""
        process = self.machine.start(verb, "twistedp2p", verb, "--json", *words)
        assert process.ended() == status, process.text()
        return self.hear(verb, process.text())

    def hear(self, verb: str, text: str) -> list[dict[str, Any]]:
        """Check what a command said."""
        said = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        self.heard[verb] |= check(verb, said)
        return said


def test_every_event(machine: Machine) -> None:
    """Each event is told as the document says, by each command that it names, and the first and last stand there."""
    script = Script(machine)
    root = machine.folder("root")
    big = os.urandom(SMALL_FILE_BYTES + 1)
    put(root, {"big": big, "small": b"small", "other": b"theirs", "folder/x": b"x"})
    server = machine.start(
        "fileserver", "twistd", "-n", "fileserver", "--root", str(root), "--listen", LOCAL, "--writable"
    )
    machine.wait(lambda: "Serving" in server.text(), "the file server listens")
    invite = FilesKeys.keep(machine.home.path, root).invite(writable=True)
    (machine.base / "invite").write_text(invite.text())
    put(machine.folder("here"), {"other": b"mine", "small": b"small"})
    said = script.run("get", "@invite", ".", "nowhere", "--to", "here", status=1)
    assert [one["event"] for one in (said[0], said[-1])] == ["start", "end"]
    failed = {one["path"]: one["code"] for one in said if one["event"] == "failed"}
    assert failed == {"other": "already-there", "nowhere": "no-such-file"}
    put(machine.folder("mine"), {"big": os.urandom(5 * DOWNLOAD_WRITE), "small": b"small", "other": b"mine"})
    said = script.run("put", "@invite", "mine/big", "--to", "new")
    script.run("put", "@invite", "mine/small", "mine/other", status=1)
    assert (said[0]["to"], said[-1]["files_done"]) == ("new", 1)
    send_and_receive(script)
    missing = {key for key in documented() if key not in TIMED and key[1] not in script.heard[key[0]]}
    assert missing == set()


def send_and_receive(script: Script) -> None:
    """Send three files, of which one is gone, one here and one in the way; then once more, until it is received."""
    machine = script.machine
    put(machine.folder("theirs"), {"small": b"small", "other": b"theirs"})
    words = ("--listen", LOCAL, "mine/big", "mine/small", "mine/other")
    sending = machine.start("send", "twistedp2p", "send", "--json", *words)
    machine.wait(lambda: "\n" in sending.text(), "the code is printed")
    (machine.base / "code").write_text(json.loads(sending.text().splitlines()[0])["code"])
    mine = machine.folder("mine") / "big"
    mine.rename(mine.with_name("away"))
    said = script.run("receive", "@code", "--to", "theirs", "--yes", status=1)
    assert {one["event"]: one.get("target") for one in said if "target" in one} == {"done": "other (2)"}
    mine.with_name("away").rename(mine)
    said = script.run("receive", "@code", "--to", "theirs", "--yes")
    assert {one["event"]: one.get("target") for one in said if "target" in one} == {"skipped": "other (2)"}
    assert sending.ended() == 0, sending.text()
    said = script.hear("send", sending.text())
    assert [one["event"] for one in (said[0], said[-1])] == ["code", "end"]
    receive_where_a_folder_is(script)


def receive_where_a_folder_is(script: Script) -> None:
    """Receive a file where a folder has its name, which fails whatever is said about files."""
    machine = script.machine
    put(machine.folder("theirs") / "blocked", {"in the way": b""})
    put(machine.folder("mine"), {"blocked": b"a file"})
    sending = machine.start("send", "twistedp2p", "send", "--json", "--listen", LOCAL, "mine/blocked")
    machine.wait(lambda: "\n" in sending.text(), "the code is printed")
    (machine.base / "code").write_text(json.loads(sending.text().splitlines()[0])["code"])
    said = script.run("receive", "@code", "--to", "theirs", "--yes", "--overwrite", status=1)
    assert [one["code"] for one in said if one["event"] == "failed"] == ["already-there"]
    sending.send(signal.SIGTERM)
    assert sending.ended() == 130


def test_timed_events() -> None:
    """What is told by time has the fields of the document, too."""
    clock = Clock()
    with redirect_stdout(io.StringIO()) as out:
        moving = moving_on("fetched", as_json=True, quiet=False, clock=clock.seconds)
        clock.advance(1)
        moving.event(FileEvent(What.MOVED, "big", 7, 3), Totals())
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    for command in ("get", "put", "receive"):
        assert check(command, said) == {"moved", "progress"}
