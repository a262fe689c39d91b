"""The wheel, installed into a fresh environment and run from another folder."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import put, tree
from tests.test_packaging import build, install, run, source

__all__ = ["source"]


def test_installed_programs(source: Path, tmp_path: Path) -> None:
    """A tracker and two peers run from the installed wheel, and synchronise both ways."""
    into = tmp_path / "wheel"
    into.mkdir()
    programs = install(build(source, "--wheel", into), tmp_path / "venv")
    where = run(programs / "python", "-c", "import twistedp2p; print(twistedp2p.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where
    with running_machine(programs) as machine:
        machine.tracker()
        put(machine.folder("one"), {"a/b": b"from one"})
        one = machine.begin("one")
        two = machine.join("two")
        machine.wait_for([two], tree(one.folder))
        put(two.folder, {"c": b"from two"})
        machine.wait_for([one], {"a": None, "a/b": (b"from one", False), "c": (b"from two", False)})
        assert all(str(programs) in process.text() for process in machine.processes), "another Python was used"
