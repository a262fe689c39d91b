"""A damaged index heals: whatever happens to its file, the peer ends in sync and nobody's files are touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from twistedp2p.limits import INDEX_AGAIN
from twistedp2p.testing.nodes import SimPeer
from twistedp2p.testing.world import World
from twistedp2p.versions import Register

FILES = 200
DAMAGES = int(os.environ.get("TWISTEDP2P_DAMAGES", "0")) or (400 if os.environ.get("TWISTEDP2P_LONG") else 12)
"""How many random damages are tried."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Anna, who has files, folders and a deleted file, and Ben, who has the same; both are in sync."""
    with World("damage", tmp_path) as made:
        made.tracker()
        anna, ben = made.peers(2)
        for number in range(FILES):
            anna.write(f"folder {number % 7}/file {number}", b"content %d" % (number % 150))
        made.settle()
        ben.delete("folder 0/file 0")
        made.settle()
        yield made


def index_of(peer: SimPeer) -> Path:
    """Return the file of a peer's index."""
    return peer.folder / ".twistedp2p" / "index.sqlite"


def as_after_a_kill(peer: SimPeer) -> None:
    """Kill a peer as `kill -9` does: its index is not closed, the log of changes is there."""
    state = index_of(peer).parent
    kept = {file: file.read_bytes() for file in (index_of(peer), state / "index.sqlite-wal")}
    peer.kill()
    for file, data in kept.items():
        file.write_bytes(data)
    (state / "index.sqlite-sum").unlink(missing_ok=True)


def assert_healed(world: World, peer: SimPeer) -> None:
    """Raise unless all are in sync, nobody lost a file, and nothing was taken for a change by a user."""
    expected = {name: other.tree() for name, other in world.members.items() if other is not peer}
    world.settle()
    world.assert_same()
    for name, other in world.members.items():
        assert expected.get(name, other.tree()) == other.tree(), name
        assert not [path for path in other.tree() if "conflict" in path]
        assert other.peer.index.totals().tombstones == 1
        trash = [file for file in (other.folder / ".twistedp2p" / "trash").rglob("*") if file.is_file()]
        assert all("file 0" in file.name or "file 1" in file.name for file in trash)
    assert records(peer) == records(world.members["peer1"])
    peer.write("folder 1/file 1", b"saved after all")
    world.settle()
    world.assert_same()
    assert records(peer) == records(world.members["peer1"])
    world.assert_silent(120)


def records(peer: SimPeer) -> dict[str, Register]:
    """Return all that a peer knows."""
    return {path: peer.peer.index.record(path) for path in peer.peer.index.paths()}


@pytest.mark.parametrize("seed", range(DAMAGES))
def test_overwritten(world: World, seed: int) -> None:
    """Random bytes anywhere in the files of an index, closed or killed: it heals, or they did not matter."""
    chance = Random(seed)
    ben = world.members["peer2"]
    as_after_a_kill(ben) if chance.random() < 0.6 else ben.kill()
    files = [file for file in index_of(ben).parent.glob("index.sqlite*") if file.stat().st_size]
    for _ in range(chance.choice((1, 1, 3))):
        overwrite(chance.choice(files), chance)
    ben.start()
    assert_healed(world, ben)


def overwrite(file: Path, chance: Random) -> None:
    """Write other bytes over a range of a file."""
    data = bytearray(file.read_bytes())
    length = chance.choice((1, 1, 8, 100, 4096, 20000))
    start = chance.randrange(len(data))
    new = chance.randbytes(length) if chance.random() < 0.7 else bytes(length)
    data[start : start + length] = new
    file.write_bytes(data)


def changed(ben: SimPeer, sql: str) -> None:
    """Change what the tables say, as no test of pages can see."""
    with sqlite3.connect(index_of(ben)) as db:
        db.execute(sql)
    db.close()


MEANINGS = {
    "content of a version": "UPDATE records SET register = replace(register, substr(register, -60, 4), x'01020304')",
    "a register of another path": "UPDATE records SET register = (SELECT max(register) FROM records)",
    "counter": "UPDATE meta SET value = 0 WHERE name = 'counter'",
    "replica": "UPDATE meta SET value = x'0102030405060708' WHERE name = 'rid'",
    "missing replica": "DELETE FROM meta WHERE name = 'rid'",
    "totals": "UPDATE meta SET value = '[0]' WHERE name = 'tally'",
    "stamp": "UPDATE meta SET value = x'00' WHERE name = 'stamp'",
    "share": "UPDATE meta SET value = x'00' WHERE name = 'share_id'",
    "cursor": "UPDATE meta SET value = 'seven' WHERE name = 'cursor'",
    "records": "DELETE FROM records WHERE path LIKE '%1'",
    "rows": "DELETE FROM rows WHERE path LIKE '%1'",
    "contents of rows": "UPDATE rows SET content = x'00'",
    "kinds of rows": "UPDATE rows SET kind = 7",
    "bases of rows": "UPDATE rows SET n = n + 1",
    "signatures of rows": "UPDATE rows SET mtime_ns = 'yesterday'",
    "items": "DELETE FROM items",
    "keys of items": "UPDATE items SET path = 'x'",
    "needed contents": "INSERT INTO needed VALUES (x'00', 'folder 1/file 1', 1)",
    "intents": "INSERT INTO intents VALUES ('folder 1/file 1', x'00')",
    "a table": "DROP TABLE rows",
}


@pytest.mark.parametrize("sql", MEANINGS.values(), ids=MEANINGS)
def test_changed_meaning(world: World, sql: str) -> None:
    """Values that others put into a sound database are not believed after a kill, and no change by a user follows."""
    ben = world.members["peer2"]
    ben.kill()
    changed(ben, sql)
    index_of(ben).with_name("index.sqlite-sum").unlink()
    ben.start()
    assert_healed(world, ben)


def test_changed_after_closing(world: World) -> None:
    """One byte that changed since the index was closed is seen by its hash."""
    ben = world.members["peer2"]
    ben.kill()
    changed(ben, "UPDATE rows SET executable = 1 WHERE path LIKE '%7'")
    ben.start()
    assert ben.peer.index.lost
    assert_healed(world, ben)


PAGE = 4096


def test_while_running(world: World) -> None:
    """Pages that are damaged under a running peer: it sets its index aside and begins a new one, without a restart."""
    ben = world.members["peer2"]
    overwrite_live(ben)
    ben.write("saved meanwhile", b"by Ben")
    world.members["peer1"].write("sent meanwhile", b"by Anna")
    world.clock.advance(30)
    assert ben.peer.index.lost
    assert index_of(ben).with_name("index.sqlite.damaged-1").exists()
    world.settle()
    world.assert_same()
    assert {"saved meanwhile", "sent meanwhile"} <= ben.tree().keys()
    assert_healed(world, ben)
    assert not world.members["peer1"].peer.index.lost


def overwrite_live(peer: SimPeer) -> None:
    """Overwrite all pages but the first of the index of a running peer, which has forgotten what it read."""
    for file in (index_of(peer), index_of(peer).with_name("index.sqlite-wal")):
        with file.open("r+b") as opened:
            opened.seek(PAGE)
            opened.write(b"\xa5" * max(0, file.stat().st_size - PAGE))
    peer.peer.index._db._connection.execute("PRAGMA shrink_memory")


def test_found_by_a_look(world: World) -> None:
    """Damage that only a scan of the folder meets is healed too."""
    ben = world.members["peer2"]
    overwrite_live(ben)
    ben.peer.observer.scan()
    world.clock.advance(5)
    assert ben.peer.index.lost
    assert_healed(world, ben)


def test_not_hot(world: World) -> None:
    """A disk that damages one index after the other gets a new one less and less often."""
    ben = world.members["peer2"]
    begun: list[float] = []
    while world.clock.seconds() < 600:
        overwrite_live(ben)
        ben.peer.observer.scan()
        world.clock.advance(5)
        aside = len(list(index_of(ben).parent.glob("index.sqlite.damaged-?")))
        begun += [world.clock.seconds()] * (aside - len(begun))
    first, second, third, fourth = (round(moment - begun[0], -1) for moment in begun)
    assert (first, second, third, fourth) == (0, INDEX_AGAIN, 3 * INDEX_AGAIN, 7 * INDEX_AGAIN)


@pytest.mark.parametrize("names", [("",), ("-wal",), ("", "-wal")])
def test_removed_while_running(world: World, names: tuple[str, ...]) -> None:
    """An index that somebody removes is noticed at the next commit, and another one begun."""
    ben = world.members["peer2"]
    rid = ben.peer.index.rid
    for name in names:
        index_of(ben).with_name(f"index.sqlite{name}").unlink()
    ben.write("saved meanwhile", b"by Ben")
    world.clock.advance(30)
    assert ben.peer.index.rid != rid and index_of(ben).exists()
    assert_healed(world, ben)
    assert "saved meanwhile" in world.members["peer1"].tree()


def test_removed_while_away(world: World) -> None:
    """An index that is gone at the start is begun anew."""
    ben = world.members["peer2"]
    ben.kill()
    ben.lose_index()
    ben.start()
    assert_healed(world, ben)


def empty(file: Path) -> None:
    """Leave a file of no length."""
    file.write_bytes(b"")


def cut(file: Path) -> None:
    """Leave the first half."""
    os.truncate(file, file.stat().st_size // 2)


def cut_in_page(file: Path) -> None:
    """Leave all but the last few bytes."""
    os.truncate(file, file.stat().st_size - 100)


def folder(file: Path) -> None:
    """Put a folder in its place."""
    file.unlink()
    (file / "inside").mkdir(parents=True)


def text(file: Path) -> None:
    """Put some other file in its place."""
    file.write_bytes(b"something else" * 1000)


def other_log(file: Path) -> None:
    """Put the log of another database beside it, complete in itself."""
    with sqlite3.connect(file.parent / "other") as db:
        db.execute("PRAGMA journal_mode = WAL")
        for number in range(50):
            db.execute(f"CREATE TABLE t{number} (x)")
        db.commit()
        file.with_name(file.name + "-wal").write_bytes((file.parent / "other-wal").read_bytes())
    db.close()


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
@pytest.mark.parametrize("damage", [empty, cut, cut_in_page, folder, text, other_log])
def test_damage(world: World, damage: Callable[[Path], None], clean: bool) -> None:
    """Whatever lies in the place of the index of a peer that was closed or killed, it ends in sync."""
    ben = world.members["peer2"]
    ben.kill() if clean else as_after_a_kill(ben)
    damage(index_of(ben))
    ben.start()
    assert_healed(world, ben)


def test_log_of_another_index(world: World) -> None:
    """The log of another member's index, which SQLite would take in, does not make this peer another one."""
    anna, ben = world.members["peer1"], world.members["peer2"]
    log = index_of(anna).with_name("index.sqlite-wal").read_bytes()
    for clean in (True, False):
        ben.kill() if clean else as_after_a_kill(ben)
        index_of(ben).with_name("index.sqlite-wal").write_bytes(log)
        ben.start()
        assert ben.peer.index.rid != anna.peer.index.rid
        assert_healed(world, ben)
    assert index_of(ben).with_name("index.sqlite-wal.damaged-1").read_bytes() == log
