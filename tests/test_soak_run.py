"""The long run would notice what it looks for: a lost save, a folder that differs, memory that grows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import attrs
import pytest

from tools.soak_figures import Sample, flat, measure, settled, size_of, slope
from tools.soak_user import Ledger, User, digest, files_below, tree_of


def user_in(base: Path, seed: int = 1, room: int = 10_000_000) -> User:
    """Return somebody who works in an empty folder below `base`."""
    folder = base / "folder"
    folder.mkdir()
    return User(folder, base / "desk", Random(seed), Ledger(), lambda: room)


def samples(value: Callable[[float], float], lives: int = 3, length: int = 20) -> Iterator[Sample]:
    """Yield samples of processes that live one after the other; `value` of their age is their memory."""
    for life, step in itertools.product(range(lives), range(length)):
        age = 300.0 + 10 * step
        at = life * length * 10 + age
        yield Sample(at, "one", life, age, rss=int(value(age)), descriptors=20, threads=4, cpu=1.0)


def samples_of_leak() -> list[Sample]:
    """Return samples of processes that grow by a tenth of a megabyte a second."""
    return list(samples(lambda age: 60e6 + 100_000 * age))


@pytest.mark.parametrize("seed", range(3))
def test_user_owes_nothing_alone(tmp_path: Path, seed: int) -> None:
    """Of what somebody saves alone, all that was not given up is in the folder, whatever was done to it."""
    user = user_in(tmp_path, seed)
    for _ in range(400):
        user.act()
    assert len(user.done) >= 10, user.done
    assert user.ledger.lost(files_below(user.folder)) == []
    assert len(user.ledger.owed) == len(list(files_below(user.folder))) > 0
    assert list((tmp_path / "desk").iterdir()) == []


def test_lost_save_is_noticed(tmp_path: Path) -> None:
    """A file that vanishes without anybody having given it up is lost; one that somebody deleted is not."""
    user = user_in(tmp_path)
    while len(list(files_below(user.folder))) < 5:
        user.create()
    victim = next(files_below(user.folder))
    victim.unlink()
    (lost,) = user.ledger.lost(files_below(user.folder))
    assert str(victim) in lost


@pytest.mark.parametrize("action", [User.replace, User.delete, User.edit_in_place, User.append])
def test_what_somebody_else_saved_is_never_given_up(tmp_path: Path, action: Callable[[User], bool]) -> None:
    """Only what was really overwritten or deleted counts as given up, not what its name had before."""
    user = user_in(tmp_path)
    user.create()
    (path,) = files_below(user.folder)
    listed = path.read_bytes()
    user._list()
    path.unlink()
    path.write_bytes(b"put there meanwhile")
    user.ledger.saved(digest(b"put there meanwhile"), 19, "put there meanwhile")
    assert action(user)
    assert digest(listed) in user.ledger.owed
    assert digest(b"put there meanwhile") not in user.ledger.owed


def test_room_is_kept(tmp_path: Path) -> None:
    """Nobody saves a big file for which there is no room."""
    user = user_in(tmp_path, room=1000)
    assert not user.create_big()
    assert not user.create_many()
    assert list(files_below(user.folder)) == []


def test_trees_differ(tmp_path: Path) -> None:
    """Trees differ by content, by the executable bit and by empty folders, and not by what the state folder has."""
    folder = tmp_path / "folder"
    (folder / ".twistedp2p").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    before = tree_of(folder)
    (folder / ".twistedp2p/state").write_bytes(b"x")
    assert tree_of(folder) == before
    (folder / "a").chmod(0o755)
    executable = tree_of(folder)
    (folder / "a").write_bytes(b"b")
    edited = tree_of(folder)
    (folder / "empty").mkdir()
    trees = [before, executable, edited, tree_of(folder)]
    assert all(one != other for one, other in itertools.combinations(trees, 2))


def test_flat_and_growing() -> None:
    """Memory that grows within lives is told by its slope; what only differs between lives is not."""
    grows = list(samples(lambda age: 80e6 + 50_000 * age))
    found = slope(grows, lambda sample: sample.rss)
    assert found is not None and abs(found - 50_000) < 1
    assert flat(list(samples(lambda age: 90e6 + 50_000 * age)), lambda sample: sample.rss, 0) == ""  # under a tenth
    assert flat(samples_of_leak(), lambda sample: sample.rss, 15e6).startswith("rises by 19,000,000")
    assert flat(samples_of_leak(), lambda sample: sample.rss, 20e6) == ""
    shrinks = list(samples(lambda age: 80e6 - 50_000 * age))
    assert flat(shrinks, lambda sample: sample.rss, 15e6) == ""
    steps = [attrs.evolve(one, rss=one.life * 50_000_000) for one in samples(lambda age: 0.0)]
    assert slope(steps, lambda sample: sample.rss) == 0
    assert slope(grows[:12], lambda sample: sample.rss) is not None
    assert slope(grows[:11], lambda sample: sample.rss) is None


def test_young_processes_do_not_count() -> None:
    """A process that is not settled, and the first third of a run, say nothing."""
    found = settled(samples(lambda age: 0.0), since=500.0)
    assert min(sample.at for sample in found) >= 500 and len(found) < 60
    young = [Sample(400.0, "one", 1, 299.0, rss=1, descriptors=1, threads=1, cpu=0.0)]
    assert settled(young, since=300.0) == []


def test_measures_a_process(tmp_path: Path) -> None:
    """What a process uses is read from outside; one that has ended has no figures."""
    (tmp_path / "trash").mkdir()
    (tmp_path / "trash/x").write_bytes(b"12345")
    (tmp_path / "index.sqlite").write_bytes(b"123")
    found = measure(os.getpid(), 1.0, "one", 1, 1.0, tmp_path)
    assert found is not None
    assert found.rss > 1e6 and found.descriptors >= 3 and found.threads >= 1 and found.cpu > 0
    assert (found.index, found.parts, found.trash) == (3, 0, 5)
    assert measure(2**22 + 1, 1.0, "one", 1, 1.0, None) is None
    assert size_of(tmp_path / "nothing") == (0, 0)
