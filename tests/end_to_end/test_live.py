"""What is changed in one folder, while the peers run, is changed in the other."""

from __future__ import annotations

import os
import shutil
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import Machine, Peer, put, tree
from twistedp2p.limits import QUIET_AFTER_WRITE


@frozen
class Pair:
    """Two peers of one share that are in sync; each test works in a folder of its own."""

    machine: Machine
    one: Peer
    two: Peer

    def begin(self, place: str, files: dict[str, bytes]) -> tuple[Path, Path]:
        """Put files into the folder `place` of the first; return it in both when the second has them."""
        put(self.one.folder / place, files)
        (self.one.folder / place).mkdir(exist_ok=True)
        self.same(place)
        return self.one.folder / place, self.two.folder / place

    def same(self, place: str) -> None:
        """Wait until the folder `place` is the same in both."""
        left, right = self.one.folder / place, self.two.folder / place
        self.machine.wait(
            lambda: left.exists() and right.exists() and tree(left) == tree(right),
            lambda: f"{place} is the same in both; it is {sorted(tree(left))} and {sorted(tree(right))}",
        )


@pytest.fixture(scope="module")
def running() -> Iterator[Pair]:
    """A tracker and two peers for all tests here: starting them takes longer than what they do."""
    with running_machine() as machine:
        machine.tracker()
        one = machine.begin("one")
        yield Pair(machine, one, machine.join("two"))


@pytest.fixture
def pair(running: Pair) -> Pair:
    """The two peers."""
    return running


def test_edit(pair: Pair) -> None:
    """An edit in place, an edit by replacing the file, and one that appends arrive, in both directions."""
    one, two = pair.begin("edit", {"a": b"1", "b": b"1", "c": b"1"})
    (two / "a").write_bytes(b"22")
    (two / "b.new").write_bytes(b"replaced")
    (two / "b.new").replace(two / "b")
    with (one / "c").open("ab") as file:
        file.write(b"23")
    wanted = {"a": (b"22", False), "b": (b"replaced", False), "c": (b"123", False)}
    pair.machine.wait(lambda: tree(one) == wanted and tree(two) == wanted, "the edits are in both")


def test_rename_is_not_fetched(pair: Pair) -> None:
    """A renamed file arrives under its new name, without its content travelling once more."""
    one, two = pair.begin("rename", {"old name": os.urandom(400_000)})
    inode = (two / "old name").stat().st_ino
    (one / "old name").rename(one / "new name")
    pair.machine.wait(lambda: tree(one) == tree(two), "the new name is in both")
    assert sorted(os.listdir(two)) == ["new name"]
    assert (two / "new name").stat().st_ino == inode


def test_delete(pair: Pair) -> None:
    """A deleted file and a deleted folder are gone, and what they held is in the trash of the other."""
    one, two = pair.begin("delete", {"file": b"deleted file", "folder/inside": b"deleted inside"})
    (one / "file").unlink()
    shutil.rmtree(one / "folder")
    pair.machine.wait(lambda: tree(two) == {}, "all of it is gone")
    trash = {path.read_bytes() for path in (pair.two.folder / ".twistedp2p/trash").rglob("*") if path.is_file()}
    assert trash >= {b"deleted file", b"deleted inside"}


def test_folders(pair: Pair) -> None:
    """A new folder with things in it, an empty one, and a folder that is moved into another arrive."""
    one, two = pair.begin("folders", {"from/x/1": b"1", "from/x/2": b"2", "to/here": b""})
    shutil.copytree(one / "from", one / "copied")
    (two / "empty/in/empty").mkdir(parents=True)
    (two / "from/x").rename(two / "to/moved")
    wanted = {
        "copied", "copied/x", "copied/x/1", "copied/x/2", "empty", "empty/in", "empty/in/empty",
        "from", "to", "to/here", "to/moved", "to/moved/1", "to/moved/2",
    }  # fmt: skip
    pair.machine.wait(lambda: set(tree(one)) == set(tree(two)) == wanted, lambda: f"{sorted(tree(one))}")
    assert tree(one) == tree(two)


def test_executable_bit(pair: Pair) -> None:
    """Making a file executable, and no longer, arrives though its content is the same."""
    one, two = pair.begin("bit", {"run": b"#!/bin/sh\n"})
    (one / "run").chmod(0o755)
    pair.machine.wait(lambda: tree(two) == {"run": (b"#!/bin/sh\n", True)}, "it is executable")
    (two / "run").chmod(0o644)
    pair.machine.wait(lambda: tree(one) == {"run": (b"#!/bin/sh\n", False)}, "it is not executable")


def test_empty_file(pair: Pair) -> None:
    """An empty file arrives, and so do a file that is emptied and one that is filled."""
    one, two = pair.begin("empty", {"empty": b"", "full": b"full"})
    (one / "full").write_bytes(b"")
    (two / "empty").write_bytes(b"filled")
    wanted = {"empty": (b"filled", False), "full": (b"", False)}
    pair.machine.wait(lambda: tree(one) == tree(two) == wanted, lambda: f"{tree(one)} {tree(two)}")


def test_dates(pair: Pair) -> None:
    """A file that is saved with an old date has that date at the other."""
    one, two = pair.begin("dates", {})
    (one / "new").write_bytes(b"new")
    os.utime(one / "new", ns=(1, 1_111_111_111_222_222_222))
    (one / "new").rename(one / "old")
    pair.machine.wait((two / "old").exists, "it arrives")
    assert (two / "old").stat().st_mtime_ns == 1_111_111_111_222_222_222


def test_strange_names(pair: Pair) -> None:
    """Names with spaces, newlines, quotes, stars, backslashes and characters of all planes arrive as they are."""
    names = (" ", "a b", "line\nbreak", "\ttab", "-rf", "*?", "quote\"'", "back\\slash", "é", "日本", "🎈", "x" * 255)
    one, two = pair.begin("names", {name: name.encode() for name in names})
    assert sorted(os.listdir(two)) == sorted(unicodedata.normalize("NFC", name) for name in names)
    for number, name in enumerate(names):
        (two / name).rename(two / str(number))
    pair.machine.wait(lambda: tree(one) == tree(two), "the new names are in both")
    assert sorted(os.listdir(one), key=int) == [str(number) for number in range(len(names))]


def test_decomposed_name(pair: Pair) -> None:
    """A name in decomposed Unicode stays so where it was made, is composed elsewhere, and is one file in both."""
    one, two = pair.begin("decomposed", {})
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (one / decomposed).write_bytes(b"made")
    pair.machine.wait((two / composed).exists, "it arrives composed")
    (two / composed).write_bytes(b"edited there")
    pair.machine.wait(lambda: (one / decomposed).read_bytes() == b"edited there", "the edit comes back")
    (one / decomposed).write_bytes(b"edited here")
    pair.machine.wait(lambda: (two / composed).read_bytes() == b"edited here", "the edit arrives")
    assert (os.listdir(one), os.listdir(two)) == ([decomposed], [composed])


def test_file_and_folder_change_places(pair: Pair) -> None:
    """A folder where a file was, and a file where a folder was, arrive."""
    one, two = pair.begin("places", {"file": b"file", "folder/inside": b"inside"})
    (one / "file").unlink()
    put(one, {"file/inside": b"was a file"})
    shutil.rmtree(one / "folder")
    (one / "folder").write_bytes(b"was a folder")
    pair.machine.wait(lambda: tree(one) == tree(two), lambda: f"{tree(one)} {tree(two)}")
    assert tree(two) == {"file": None, "file/inside": (b"was a file", False), "folder": (b"was a folder", False)}


def test_not_by_halves(pair: Pair) -> None:
    """A file that somebody still writes to is not announced; the other sees nothing of it, and then all of it."""
    one, two = pair.begin("halves", {})
    sizes: set[int] = set()
    with (one / "download").open("wb", buffering=0) as download:

        def goes_on() -> None:
            download.write(b"piece" * 1000)
            sizes.update(entry.stat().st_size for entry in os.scandir(two) if entry.name == "download")

        def arrived(name: str) -> bool:
            goes_on()
            return (two / name).exists()

        began = time.monotonic()
        pair.machine.wait(
            lambda: arrived("never") or time.monotonic() > began + 2 * QUIET_AFTER_WRITE, "the download goes on"
        )
        (one / "saved").write_bytes(b"saved meanwhile")
        pair.machine.wait(lambda: arrived("saved"), "what was saved later arrives while the download goes on")
        assert sizes == set(), "a half was announced"
    whole = (one / "download").stat().st_size
    pair.machine.wait((two / "download").exists, "the download arrives")
    assert (two / "download").stat().st_size == whole


def test_many_at_once(pair: Pair) -> None:
    """Hundreds of files that are saved in both folders at once are in both, and nothing else is."""
    one, two = pair.begin("many", {})
    for number in range(150):
        put(one, {f"{number % 5}/one {number}": f"{number}".encode()})
        put(two, {f"{number % 5}/two {number}": f"{number}".encode()})
    pair.machine.wait(
        lambda: len(tree(one)) == len(tree(two)) == 305, lambda: f"{len(tree(one))} and {len(tree(two))} are there"
    )
    assert tree(one) == tree(two)
