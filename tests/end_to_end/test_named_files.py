"""A file server and those who list, fetch, put and rename its files: real processes, killed in the midst of it."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.processes import Machine, Process, put, tree
from twistedp2p.identity.codes import Place
from twistedp2p.limits import DOWNLOAD_RANGE
from twistedp2p.transfer.files.service import FilesKeys

BIG = 100_000_000
MIB = 1024 * 1024


class Shop:
    """A machine with a folder that is served, and the invite to it in a file."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.root = machine.folder("root")
        self.root.mkdir()
        self.place: Place | None = None

    def serve(self, *words: str) -> Process:
        """Serve the folder, on the same port as before; returns once the invite is in `invite`."""
        port = 0 if self.place is None else self.place.port
        listen = f"tcp:{port}:interface=127.0.0.1"
        started = self.machine.start(
            "fileserver", "twistd", "-n", "fileserver", "--root", str(self.root), "--listen", listen, *words
        )
        self.machine.wait(lambda: "Serving" in started.text(), "the file server listens")
        invite = FilesKeys.keep(self.machine.home.path, self.root).invite(writable="--writable" in words)
        (self.machine.base / "invite").write_text(invite.text())
        self.place = invite.places[0]
        return started

    def begin(self, verb: str, *words: str, source: str = "@invite", **options: Any) -> Process:
        """Start `twistedp2p VERB SOURCE WORDS`."""
        return self.machine.start(verb, "twistedp2p", verb, source, *words, **options)

    def run(self, verb: str, *words: str, status: int = 0, source: str = "@invite") -> str:
        """Run `twistedp2p VERB SOURCE WORDS`, which must end with `status`; return what it printed."""
        process = self.begin(verb, *words, source=source)
        assert process.ended() == status, process.text()
        assert "Traceback" not in process.text()
        return process.text()

    def events(self, verb: str, *words: str, status: int = 0) -> list[dict[str, Any]]:
        """Run a command with --json; return what it says."""
        return events(self.run(verb, "--json", *words, status=status))

    def save(self, path: str, size: int) -> bytes:
        """Write random bytes into the served folder, and return them."""
        data = random.randbytes(size)
        put(self.root, {path: data})
        return data


def events(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in what a command printed, but those about all files together while they move."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [one for one in found if one.get("event") not in ("start", "progress")]


@pytest.fixture
def shop(machine: Machine) -> Iterator[Shop]:
    """A folder to serve."""
    yield Shop(machine)


def part_of(folder: Path) -> Path | None:
    """Return the part that lies in a folder, if there is one."""
    return next(iter(folder.glob(".*.part")), None)


def size_now(path: Path) -> int:
    """Return the size of a file that may be renamed at this moment; 0 if it was."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def size_of_part(folder: Path) -> int:
    """Return how much is in the part there."""
    part = part_of(folder)
    return 0 if part is None else size_now(part)


def test_list_and_fetch(shop: Shop) -> None:
    """What a server lists is fetched whole, with empty folders, times and permissions; a second time nothing moves."""
    put(shop.root, {f"photos/{n}.jpg": os.urandom(5000) for n in range(50)})
    put(shop.root, {"photos/raw/a b.raw": os.urandom(3 * MIB), "run me": b"#!/bin/sh\n"})
    (shop.root / "photos/empty/er").mkdir(parents=True)
    (shop.root / "run me").chmod(0o755)
    os.utime(shop.root / "run me", (1_500_000_000, 1_500_000_000))
    (shop.root / "secret").symlink_to("/etc/passwd")
    shop.serve()
    listed = shop.run("files")
    assert "photos/" in listed and "run me*" in listed and "secret" not in listed
    assert "1 file, 1 folder" in listed
    lines = events(shop.run("files", "photos", "--recursive", "--pattern", "*.jpg", "--json"))
    assert {line["path"] for line in lines} == {f"photos/{n}.jpg" for n in range(50)}
    shop.run("get", ".", "--to", "here")
    here = shop.machine.folder("here")
    (shop.root / "secret").unlink()
    assert tree(here) == tree(shop.root)
    assert (here / "run me").stat().st_mtime == 1_500_000_000
    *_, end = shop.events("get", ".", "--to", "here")
    assert (end["files_skipped"], end["files"], end["bytes_moved"]) == (52, 52, 0)
    shop.run("get", "photos/raw", "run me", "--to", "there/deep")
    assert set(tree(shop.machine.folder("there/deep"))) == {"raw", "raw/a b.raw", "run me"}
    assert shop.run("get", "run me", "--range", "2-3") == "/b"


def test_kill_the_client(shop: Shop) -> None:
    """A client that is killed at any moment goes on where its part ends; no byte that was written is sent again."""
    data = shop.save("big", BIG)
    shop.serve()
    here = shop.machine.folder("here")
    kept = 0
    for number in range(3):
        until = kept + random.randrange(1, BIG // 5)
        process = shop.begin("get", "big", "--to", "here", "--json")
        shop.machine.wait(lambda least=until: size_of_part(here) >= least, "something came")  # type: ignore[misc]
        process.kill()
        begun, *_ = events(process.text())
        assert (begun["event"], begun["done"]) == ("begun", kept), number
        kept = size_of_part(here)
    *_, end = shop.events("get", "big", "--to", "here")
    assert (end["bytes_resumed"], end["bytes_moved"]) == (kept, BIG - kept)
    assert [path.name for path in here.iterdir()] == ["big"]
    assert (here / "big").read_bytes() == data


def test_kill_the_server(shop: Shop) -> None:
    """When the server is killed and started again, the client reaches it again, and only what was lost comes twice."""
    data = shop.save("big", BIG)
    put(shop.root, {f"small/{n}": os.urandom(100) for n in range(2000)})
    server = shop.serve()
    here = shop.machine.folder("here")
    process = shop.begin("get", ".", "--to", "here", "--json")
    shop.machine.wait(lambda: size_of_part(here) > BIG // 10, "something came")
    server.kill()
    shop.machine.processes.remove(server)
    assert size_of_part(here) < BIG, "it was killed too late to tell anything"
    shop.serve()
    assert process.ended() == 0, process.text()
    assert (here / "big").read_bytes() == data
    assert tree(here) == tree(shop.root)
    *_, end = events(process.text())
    assert (end["files_done"], end["bytes_moved"]) == (2001, end["bytes"])
    begun = [event["done"] for event in events(process.text()) if event["event"] == "begun"]
    assert begun == [0], "what was here of it was not begun anew"


def test_interrupt(shop: Shop) -> None:
    """Ctrl-C ends a get with status 130; what came is kept, and the next get says how much was here."""
    data = shop.save("big", BIG)
    shop.serve()
    here = shop.machine.folder("here")
    process = shop.begin("get", "big", "--to", "here")
    shop.machine.wait(lambda: size_of_part(here) > 0, "something came")
    process.send(signal.SIGINT)
    assert process.ended() == 130, process.text()
    kept = size_of_part(here)
    assert 0 < kept < BIG
    text = shop.run("get", "big", "--to", "here")
    assert f"{kept / 1e6:.3g}"[:2] in text and "were here from before" in text
    assert (here / "big").read_bytes() == data


def test_changing_the_server(shop: Shop) -> None:
    """With the invite to write, files are put, renamed and removed; other content is replaced only on purpose."""
    mine = shop.machine.folder("mine")
    put(mine, {"a": os.urandom(2 * MIB), "deep/b": b"b", "deep/c": b""})
    (mine / "empty").mkdir()
    shop.serve("--writable")
    shop.run("put", "mine", "--to", "up")
    assert tree(shop.root / "up/mine") == tree(mine)
    *_, end = shop.events("put", "mine", "--to", "up")
    assert (end["files_skipped"], end["bytes_moved"]) == (3, 0)
    put(mine, {"deep/b": b"other"})
    text = shop.run("put", "mine", "--to", "up", status=1)
    assert "up/mine/deep/b" in text and "already" in text
    assert (shop.root / "up/mine/deep/b").read_bytes() == b"b"
    shop.run("put", "mine", "--to", "up", "--overwrite")
    assert tree(shop.root / "up/mine") == tree(mine)
    shop.run("mv", "up/mine/a", "elsewhere/new name")
    assert (shop.root / "elsewhere/new name").read_bytes() == (mine / "a").read_bytes()
    assert "already" in shop.run("mv", "elsewhere/new name", "up/mine/deep/b", status=1)
    assert "not empty" in shop.run("rm", "up", status=1)
    shop.run("rm", "--recursive", "up")
    shop.run("rm", "elsewhere/new name", "elsewhere")
    assert set(tree(shop.root)) == set()


def test_resume_a_put(shop: Shop) -> None:
    """A put that is killed goes on where the server's part ends, also after the server was killed too."""
    mine = shop.machine.folder("mine")
    data = random.randbytes(BIG)
    put(mine, {"big": data})
    server = shop.serve("--writable")
    parts = shop.root / ".twistedp2p/files"

    def sizes() -> list[int]:
        return [size_now(path) for path in parts.iterdir()] if parts.is_dir() else []

    process = shop.begin("put", "mine/big")
    shop.machine.wait(lambda: sum(sizes()) > BIG // 10, "something came")
    process.kill()
    server.kill()
    shop.machine.processes.remove(server)
    (kept,) = sizes()
    assert kept < BIG, "it was killed too late to tell anything"
    shop.serve("--writable")
    *_, end = shop.events("put", "mine/big")
    assert (end["bytes_resumed"], end["bytes_moved"]) == (kept, BIG - kept)
    assert (shop.root / "big").read_bytes() == data


def test_kill_the_server_of_a_put(shop: Shop) -> None:
    """When the server is killed and started again in the midst of a put, the client goes on with the rest."""
    mine = shop.machine.folder("mine")
    put(mine, {"big": random.randbytes(BIG)})
    put(mine, {f"small/{n}": os.urandom(100) for n in range(200)})
    server = shop.serve("--writable")
    parts = shop.root / ".twistedp2p/files"

    def biggest() -> int:
        return max((size_now(path) for path in parts.iterdir()), default=0) if parts.is_dir() else 0

    process = shop.begin("put", "mine", "--json")
    shop.machine.wait(lambda: biggest() > BIG // 10, "something came")
    server.kill()
    shop.machine.processes.remove(server)
    kept = biggest()
    shop.serve("--writable")
    assert process.ended() == 0, process.text()
    assert tree(shop.root / "mine") == tree(mine)
    resumed = [event["done"] for event in events(process.text()) if event["event"] == "begun"]
    assert kept in resumed, "it went on where the server's part ended"


def test_stop_the_server(shop: Shop) -> None:
    """SIGTERM ends a server in the midst of a put or a get, cleanly; the same client goes on when it is back."""
    mine = shop.machine.folder("mine")
    data, served = random.randbytes(BIG), shop.save("served", BIG)
    put(mine, {"big": data})
    parts, here = shop.root / ".twistedp2p/files", shop.machine.folder("here")
    server = shop.serve("--writable")
    for words, came in (
        (("put", "mine/big"), lambda: parts.is_dir() and any(parts.iterdir())),
        (("get", "served", "--to", "here"), lambda: size_of_part(here) > 0),
    ):
        client = shop.begin(*words)
        shop.machine.wait(came, "something came")
        server.stop()
        assert "Traceback" not in server.text(), server.text()
        shop.machine.processes.remove(server)
        server = shop.serve("--writable")
        assert client.ended() == 0, client.text()
        shop.machine.processes.remove(client)
    assert (shop.root / "big").read_bytes() == data
    assert (here / "served").read_bytes() == served


def test_who_may_only_read(shop: Shop) -> None:
    """With the invite to read nothing is changed, and a sentence says so; without any nothing is even listed."""
    shop.save("file", 10)
    shop.serve()
    put(shop.machine.folder("mine"), {"other": b"1"})
    for verb, *words in (["put", "mine/other"], ["rm", "file"], ["mv", "file", "new"]):
        assert "lets you read only; ask for one that lets you write" in shop.run(verb, *words, status=1)
    assert set(tree(shop.root)) == {"file"}
    assert shop.place is not None
    text = shop.run("files", status=1, source=shop.place.address)
    assert "ask for a new one" in text
    assert text.count("\n") == 1


def test_anybody_may_read(shop: Shop) -> None:
    """What anybody may read is fetched by host and port alone."""
    data = shop.save("file", MIB)
    shop.serve("--anonymous")
    assert shop.place is not None
    shop.run("get", "file", source=shop.place.address)
    assert shop.machine.folder("file").read_bytes() == data


def test_exit_statuses(shop: Shop) -> None:
    """A script can tell what happened: all is here 0, something failed 1, a wrong command line 2, nothing there 3."""
    shop.save("file", 10)
    put(shop.machine.folder("here"), {"file": b"other"})
    shop.serve()
    failed, end = shop.events("get", "file", "--to", "here", status=1)
    assert (failed["event"], failed["code"], end["files_failed"]) == ("failed", "already-there", 1)
    shop.run("get", status=2)
    shop.run("get", "file", "--priority", "soon", status=2)
    assert "There is no nothing" in shop.run("get", "nothing", status=3)
    assert "There is no nothing" in shop.run("files", "nothing", status=3)
    shop.run("get", "file", "--to", "here", "--overwrite")
    text = shop.run("files", status=1, source="127.0.0.1:1")
    assert "can not be reached" in text and text.count("\n") == 1


def test_queue(shop: Shop) -> None:
    """A queue is fetched by its priorities and watched: new lines come too, and what is urgent is not kept waiting."""
    shop.save("slow one", BIG)
    shop.save("urgent", 20 * DOWNLOAD_RANGE)
    queue = shop.machine.folder("queue")
    queue.write_text("# films\n'slow one' low\n")
    shop.serve()
    here = shop.machine.folder("here")
    process = shop.begin("get", "--queue", "queue", "--to", "here", "--json")
    shop.machine.wait(lambda: size_of_part(here) > 0, "the first comes")
    with queue.open("a") as file:
        file.write("urgent critical\nnothing\n")
    shop.machine.wait(lambda: tree(here).keys() == {"slow one", "urgent"}, "both are here")
    shop.machine.wait(lambda: "There is no nothing" in process.text(), "what is not there is said")
    assert process.running(), "it waits for more"
    process.send(signal.SIGTERM)
    assert process.ended() == 130
    assert tree(here) == tree(shop.root)
    queue.write_text("urgent\n")
    *_, end = shop.events("get", "--queue", "queue", "--until-done", "--to", "here")
    assert (end["files"], end["files_skipped"]) == (1, 1)


def test_priorities_meanwhile(shop: Shop) -> None:
    """Priorities are read from a pipe while files come, and from a file while they go; neither is waited for."""
    shop.save("a/big", BIG)
    shop.serve("--writable")
    here = shop.machine.folder("here")
    read, write = os.pipe()
    try:
        process = shop.begin("get", "a", "--to", "here", "--control", "--json", stdin=read)
        shop.machine.wait(lambda: size_of_part(here / "a") > 0, "something comes")
        os.write(write, b"a/big soon\na/big critical\n")
        shop.machine.wait(lambda: "a/big soon: soon is not critical" in process.text(), "the wrong line is said")
        assert process.ended() == 0, process.text()
    finally:
        os.close(read)
        os.close(write)
    assert tree(here) == tree(shop.root)
    first, *_ = process.text().splitlines()
    assert json.loads(first) == {"event": "start", "paths": ["a"], "queue": None, "to": str(here)}
    lines = shop.machine.folder("lines")
    lines.write_text("up/here/a low\nup soon\n")
    with lines.open("rb") as file:
        process = shop.begin("put", "here", "--to", "up", "--control", stdin=file)
        assert process.ended() == 0, process.text()
    assert "up soon: soon is not critical" in process.text()
    assert tree(shop.root / "up/here") == tree(here)
