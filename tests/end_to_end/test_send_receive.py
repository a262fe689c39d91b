"""Sending files once: real processes, a code, somebody who agrees, kills in the midst of it, and a tracker between."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.processes import Machine, Process, put, tree
from twistedp2p.home import Home
from twistedp2p.identity.files_code import SendCode

BIG = 60_000_000
LOOPBACK = ("--listen", "tcp:0:interface=127.0.0.1")


class Desk:
    """A machine with things to send, and a folder where they arrive."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.mine = machine.folder("mine")
        self.mine.mkdir()
        self.theirs = machine.folder("theirs")

    def send(self, *words: str) -> Process:
        """Begin to send; returns once the code is in the file `code`."""
        sending = self.machine.start("send", "twistedp2p", "send", "--json", *LOOPBACK, *words)
        self.machine.wait(lambda: bool(events(sending.text())), "the code is printed")
        (self.machine.base / "code").write_text(events(sending.text())[0]["code"])
        return sending

    def receive(self, *words: str) -> Process:
        """Begin to receive by that code."""
        return self.machine.start("receive", "twistedp2p", "receive", "@code", "--to", "theirs", "--json", *words)

    @contextlib.contextmanager
    def asked(self, *words: str) -> Iterator[tuple[Process, Callable[[str], object]]]:
        """Begin to receive at a terminal; gives the process, once it asks, and what types a line, or Ctrl-D alone."""
        mine, theirs = pty.openpty()
        try:
            receiving = self.machine.start(
                "receive", "twistedp2p", "receive", "@code", "--to", "theirs", "--json", *words, stdin=theirs
            )
            self.machine.wait(lambda: "[Y/n]" in receiving.text(), "the receiver asks")
            yield receiving, lambda line: os.write(mine, (line if line == "\x04" else f"{line}\n").encode())
        finally:
            os.close(mine)
            os.close(theirs)

    def received(self, *words: str, status: int = 0) -> list[dict[str, Any]]:
        """Receive by that code, without being asked; return what it says."""
        receiving = self.receive("--yes", *words)
        assert receiving.ended() == status, receiving.text()
        assert "Traceback" not in receiving.text()
        return events(receiving.text())


def events(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in what a command printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture
def desk(machine: Machine) -> Iterator[Desk]:
    """Something to send from."""
    yield Desk(machine)


def size_of_part(folder: Path) -> int:
    """Return how much is in the part there."""
    size = 0
    for path in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):  # it was whole a moment ago, and has its name
            size += path.stat().st_size
    return size


def test_files_and_folders(desk: Desk) -> None:
    """What is sent arrives as it is, names with spaces and empty folders too, and the sender ends with status 0."""
    put(desk.mine, {"a b.txt": b"letter", "photos/1.jpg": os.urandom(3_000_000), "photos/deep/2.jpg": os.urandom(500)})
    (desk.mine / "photos/empty").mkdir()
    (desk.mine / "photos/link").symlink_to("/etc/passwd")
    sending = desk.send("mine/a b.txt", "mine/photos")
    start, *_, end = desk.received()
    assert start == {"event": "start", "to": str(desk.theirs), "files": 3, "bytes": 3_000_506}
    assert (end["files"], end["files_done"], end["files_failed"]) == (3, 3, 0)
    assert sending.ended() == 0, sending.text()
    (desk.mine / "photos/link").unlink()
    assert tree(desk.theirs) == tree(desk.mine)
    assert events(sending.text())[-1]["deliveries"] == 1


def test_the_code_is_one_line(desk: Desk) -> None:
    """Without --json the code stands alone on a line, whole however narrow a terminal is, and nowhere else."""
    put(desk.mine, {"note": b"note"})
    sending = desk.machine.start("send", "twistedp2p", "send", *LOOPBACK, "mine/note")
    desk.machine.wait(lambda: "\ntp2p1:" in sending.text(), "the code is printed")
    (code,) = [line for line in sending.text().splitlines() if line.startswith("tp2p1:")]
    assert SendCode.parse(code).text() == code
    (desk.machine.base / "code").write_text(code)
    desk.received()
    assert sending.ended() == 0
    assert sending.text().count(code) == 1


def test_it_works_once(desk: Desk) -> None:
    """When it was received nobody can receive it again; with --many they can, until the sender is told to end."""
    put(desk.mine, {"note": b"note"})
    sending = desk.send("mine/note")
    desk.received()
    assert sending.ended() == 0
    assert desk.received(status=1) == []
    sending = desk.send("mine/note", "--many")
    for _ in range(3):
        desk.received()
    sending.stop()
    assert sending.ended() == 0
    assert events(sending.text())[-1]["deliveries"] == 3


def test_kill_the_receiver(desk: Desk) -> None:
    """A receiver that was killed goes on where its part ends, and the sender waits for it."""
    data = random.randbytes(BIG)
    put(desk.mine, {"big": data})
    sending = desk.send("mine/big")
    receiving = desk.receive("--yes")
    desk.machine.wait(lambda: size_of_part(desk.theirs) >= BIG // 10, "something came")
    receiving.kill()
    kept = size_of_part(desk.theirs)
    end = desk.received()[-1]
    assert (end["bytes_resumed"], end["bytes_moved"]) == (kept, BIG - kept)
    assert sending.ended() == 0
    assert (desk.theirs / "big").read_bytes() == data


def test_only_who_began_goes_on(desk: Desk) -> None:
    """Who has the code too is told that somebody else receives, or began to; who began is known, and goes on."""
    data = random.randbytes(BIG)
    put(desk.mine, {"big": data})
    sending = desk.send("mine/big")
    receiving = desk.receive("--yes")
    desk.machine.wait(lambda: size_of_part(desk.theirs) >= BIG // 10, "something came")
    receiving.send(signal.SIGSTOP)
    assert "This machine receives by this code already" in refused(desk)
    mine, desk.machine.home = desk.machine.home, Home(desk.machine.base / "elsewhere")
    assert "Somebody else receives it at this moment" in refused(desk)
    receiving.kill()
    desk.machine.wait(lambda: '"disconnected"' in sending.text(), "the sender notices")
    assert "Somebody else began to receive it" in refused(desk)
    desk.machine.home = mine
    end = desk.received()[-1]
    assert end["bytes_resumed"] >= BIG // 10
    assert sending.ended() == 0
    assert (desk.theirs / "big").read_bytes() == data


def refused(desk: Desk) -> str:
    """Receive once more, which must fail; return the one line that is said."""
    receiving = desk.receive("--yes")
    assert receiving.ended() == 1
    (line,) = receiving.text().splitlines()
    return line


def test_kill_the_sender(desk: Desk) -> None:
    """When the sender is killed the receiver gives up after the time that it was told, with one sentence."""
    put(desk.mine, {"big": random.randbytes(BIG)})
    sending = desk.send("mine/big")
    receiving = desk.receive("--yes", "--give-up", "1")
    desk.machine.wait(lambda: size_of_part(desk.theirs) >= BIG // 10, "something came")
    sending.kill()
    assert receiving.ended() == 1
    (said,) = [line for line in receiving.text().splitlines() if not line.startswith("{")]
    assert said.startswith("twistedp2p: 127.0.0.1:") and "can not be reached" in said
    assert size_of_part(desk.theirs) >= BIG // 10


def test_a_file_changes_while_it_is_received(desk: Desk) -> None:
    """Of what was agreed to a file that changes meanwhile fails, and both ends name it; the others arrive."""
    put(desk.mine, {"big": random.randbytes(BIG), "small": b"small"})
    sending = desk.send("mine/big", "mine/small")
    with desk.asked() as (receiving, type_line):
        type_line("y")
        desk.machine.wait(lambda: size_of_part(desk.theirs) >= BIG // 10, "something came")
        with (desk.mine / "big").open("ab") as file:
            file.write(b"more")
        assert receiving.ended() == 1, receiving.text()
    failed = [event for event in events(receiving.text()) if event["event"] == "failed"]
    assert [(event["path"], event["code"]) for event in failed] == [("big", "file-changed")]
    assert {path: data for path, data in tree(desk.theirs).items() if not path.endswith(".part")} == {
        "small": (b"small", False)
    }
    troubles = [event["text"] for event in events(sending.text()) if event["event"] == "trouble"]
    assert troubles == ["big changed after it was listed, and was not sent as it is now."]
    assert sending.running()
    desk.received()
    assert sending.ended() == 0
    assert (desk.theirs / "big").read_bytes() == (desk.mine / "big").read_bytes()


def test_nothing_is_overwritten(desk: Desk) -> None:
    """Where another file has the name, the new one gets a free one, is left out, or replaces it, as was said."""
    put(desk.mine, {"note.txt": b"new"})
    put(desk.theirs, {"note.txt": b"old"})
    sending = desk.send("mine/note.txt")
    desk.received("--skip")
    assert sending.ended() == 0
    assert tree(desk.theirs) == {"note.txt": (b"old", False)}
    sending = desk.send("mine/note.txt")
    done = [event for event in desk.received() if event["event"] == "done"]
    assert [(event["path"], event["target"]) for event in done] == [("note.txt", "note (2).txt")]
    assert sending.ended() == 0
    assert tree(desk.theirs) == {"note.txt": (b"old", False), "note (2).txt": (b"new", False)}
    sending = desk.send("mine/note.txt")
    desk.received("--overwrite")
    assert sending.ended() == 0
    assert (desk.theirs / "note.txt").read_bytes() == b"new"


def test_agreeing(desk: Desk) -> None:
    """At a terminal names and sizes are shown, and nothing is written before somebody agrees."""
    put(desk.mine, {"note": b"note", "photos/1.jpg": bytes(2000)})
    sending = desk.send("mine/note", "mine/photos")
    with desk.asked() as (receiving, type_line):
        assert "4 B  note" in receiving.text() and "folder  photos" in receiving.text()
        assert "Receive 2 files, 2.00 kB, into " in receiving.text()
        assert not desk.theirs.exists()
        type_line("y")
        assert receiving.ended() == 0, receiving.text()
    assert sending.ended() == 0
    assert tree(desk.theirs) == tree(desk.mine)


def test_declining(desk: Desk) -> None:
    """Who says no receives nothing, and the sender ends with status 1 and says that it was not received."""
    put(desk.mine, {"note": b"note"})
    sending = desk.send("mine/note")
    with desk.asked() as (receiving, type_line):
        type_line("n")
        assert receiving.ended() == 1
        assert "Nothing was received." in receiving.text()
    assert sending.ended() == 1
    assert events(sending.text())[-1]["deliveries"] == 0
    assert not desk.theirs.exists()


@pytest.mark.parametrize("change", ["added", "larger", "as large", "gone"])
def test_what_was_not_agreed_to(desk: Desk, change: str) -> None:
    """What changes at the sender between the question and the answer is refused, and not written; the code goes on."""
    put(desk.mine, {"photos/1.jpg": bytes(2000), "photos/2.jpg": bytes(3000)})
    sending = desk.send("mine/photos")
    with desk.asked() as (receiving, type_line):
        if change == "added":
            put(desk.mine, {"photos/0.exe": b"surprise"})
        elif change == "gone":
            (desk.mine / "photos/1.jpg").unlink()
        else:
            put(desk.mine, {"photos/2.jpg": b"x" * (3000 if change == "as large" else 4000)})
        type_line("y")
        assert receiving.ended() == 1, receiving.text()
        assert "not what you agreed to" in receiving.text() and "Traceback" not in receiving.text()
    assert tree(desk.theirs) == {}
    assert sending.running()
    desk.received()
    assert sending.ended() == 0
    assert tree(desk.theirs) == tree(desk.mine)


@pytest.mark.parametrize(("typed", "found"), [("", "both"), ("over", "new"), ("s", "old")])
def test_names_that_are_taken(desk: Desk, typed: str, found: str) -> None:
    """Names that other files have here are shown, and one question is about all of them."""
    put(desk.mine, {"a.txt": b"new a", "b.txt": b"new b!", "same": b"same"})
    put(desk.theirs, {"a.txt": b"old", "b.txt": b"old b!", "same": b"same"})
    os.utime(desk.theirs / "same", ns=2 * (os.stat(desk.mine / "same").st_mtime_ns,))
    sending = desk.send("mine/a.txt", "mine/b.txt", "mine/same")
    with desk.asked() as (receiving, type_line):
        type_line("yes")
        desk.machine.wait(lambda: "[Keep/overwrite/skip]" in receiving.text(), "it asks about the names")
        assert "2 names are taken here:\n           a.txt\n           b.txt\n" in receiving.text()
        type_line("what?")
        desk.machine.wait(lambda: "Type keep or overwrite or skip" in receiving.text(), "it asks again")
        type_line(typed)
        assert receiving.ended() == 0, receiving.text()
    assert sending.ended() == 0
    files = {path: data for path, (data, _) in tree(desk.theirs).items()}  # type: ignore[misc]
    both = {"a.txt": b"old", "b.txt": b"old b!", "a (2).txt": b"new a", "b (2).txt": b"new b!"}
    new, old = {"a.txt": b"new a", "b.txt": b"new b!"}, {"a.txt": b"old", "b.txt": b"old b!"}
    assert files == {"same": b"same"} | {"both": both, "new": new, "old": old}[found]


@pytest.mark.parametrize("way", ["Ctrl-C", "Ctrl-D"])
def test_no_answer(desk: Desk, way: str) -> None:
    """Ctrl-C and Ctrl-D at the question end the receiver at once; nothing is written, and the sender goes on."""
    put(desk.mine, {"note": b"note"})
    sending = desk.send("mine/note")
    with desk.asked() as (receiving, type_line):
        if way == "Ctrl-C":
            receiving.send(signal.SIGINT)
        else:
            type_line("\x04")
        assert receiving.ended(5) == 130
        assert "Traceback" not in receiving.text()
    assert not desk.theirs.exists()
    desk.received()
    assert sending.ended() == 0


def test_something_at_the_top_goes(desk: Desk) -> None:
    """A file that is gone before it is received is named at both ends, the others arrive, and the code goes on."""
    put(desk.mine, {"a.txt": b"a", "b.txt": b"b", "photos/1.jpg": b"1"})
    sending = desk.send("mine/a.txt", "mine/b.txt", "mine/photos")
    (desk.mine / "a.txt").unlink()
    for _ in range(2):
        receiving = desk.receive("--yes")
        assert receiving.ended() == 1
        assert receiving.text().count("The sender has a.txt no more") == 1, receiving.text()
        assert tree(desk.theirs) == tree(desk.mine)
    troubles = [event["text"] for event in events(sending.text()) if event["event"] == "trouble"]
    assert troubles == ["a.txt is gone, and can not be sent any more."]
    assert sending.running()
    put(desk.mine, {"a.txt": b"again"})
    desk.received()
    assert sending.ended() == 0
    assert tree(desk.theirs) == tree(desk.mine)


def test_nobody_to_ask(desk: Desk) -> None:
    """Without a terminal and without --yes nothing is received, and the sender goes on waiting."""
    put(desk.mine, {"note": b"note"})
    sending = desk.send("mine/note")
    receiving = desk.receive()
    assert receiving.ended() == 2
    assert "--yes" in receiving.text()
    assert not desk.theirs.exists()
    desk.received()
    assert sending.ended() == 0


def test_what_can_not_be_sent(desk: Desk) -> None:
    """Something that is not there, and two of one name, end with one sentence."""
    put(desk.mine, {"note": b"note", "other/note": b"other"})
    for words, sentence in ((("mine/nothing",), "nothing"), (("mine/note", "mine/other/note"), "called note")):
        sending = desk.machine.start("send", "twistedp2p", "send", *LOOPBACK, *words)
        assert sending.ended() == 1
        assert sentence in sending.text() and "Traceback" not in sending.text()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--listen", "rubbish", "not an endpoint"),
        ("--listen", "tcp:notaport", "not an endpoint"),
        ("--listen", "tcp:99999999", "not an endpoint"),
        ("--listen", "tcp:0:nonsense=1", "not an endpoint"),
        ("--listen", "ssl:0", "not an endpoint"),
        ("--listen", "tcp:0:interface=203.0.113.1", "Can not listen"),
        ("--listen", "\x1b[31mred", "not an endpoint"),
        ("--advertise", "a b", "not an address"),
        ("--advertise", "host:99999999", "not an address"),
        ("--tracker", "nowhere", ""),
    ],
)
def test_what_can_not_be_listened_on(desk: Desk, option: str, value: str, sentence: str) -> None:
    """An endpoint or an address that is none, or is not of this machine, is one sentence."""
    put(desk.mine, {"note": b"note"})
    sending = desk.machine.start("send", "twistedp2p", "send", "mine/note", option, value)
    assert sending.ended() == 1, sending.text()
    assert sentence in sending.text() and len(sending.text().splitlines()) == 1
    assert "\x1b" not in sending.text()


def test_meeting_at_a_tracker(desk: Desk) -> None:
    """A sender that nobody can reach is met at its tracker, and dials the receiver."""
    put(desk.mine, {"note": b"note", "big": os.urandom(2_000_000)})
    tracker = desk.machine.start("tracker", "twistd", "-n", "tracker", "--listen", "tcp:0:interface=127.0.0.1")
    address = desk.machine.base / "home/tracker/address"
    desk.machine.wait(address.exists, "the tracker listens")
    sending = desk.send("mine", "--advertise", "127.0.0.1:1", "--tracker", address.read_text().strip())
    code = SendCode.parse((desk.machine.base / "code").read_text())
    assert code.tracker is not None and [place.port for place in code.places] == [1]
    desk.received()
    assert sending.ended() == 0
    assert tree(desk.theirs / "mine") == tree(desk.mine)
    tracker.stop()
