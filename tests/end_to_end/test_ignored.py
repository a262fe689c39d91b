"""A list of what is ignored, saved while real peers run, holds at once and everywhere."""

from __future__ import annotations

from tests.end_to_end.conftest import running_machine
from tests.end_to_end.processes import put


def test_list() -> None:
    """What it names stays local from then on, is deleted nowhere, and is shared again when it is named no more."""
    with running_machine() as machine:
        machine.tracker()
        one = machine.begin("one")
        two = machine.join("two")
        put(one.folder, {"build/a": b"1", "code": b"1", "code~": b"editor"})
        machine.wait(lambda: (two.folder / "build/a").exists() and (two.folder / "code").exists(), "all is there")
        put(one.folder, {".twistedp2pignore": b"build/\n"})
        for peer in (one, two):
            machine.wait(lambda: peer.state()["ignored"] > 0, f"the list is in force at {peer.name}")  # noqa: B023
        put(two.folder, {"build/b": b"2"})
        (one.folder / "build/a").unlink()
        put(two.folder, {"last": b"2"})
        machine.wait(lambda: (one.folder / "last").exists(), "the next save is there")
        machine.wait(lambda: one.in_sync() and two.in_sync(), "all are in sync")
        assert not any((one.folder / "build" / name).exists() for name in "ab")
        assert (two.folder / "build/a").read_bytes() == b"1"
        assert not (two.folder / "code~").exists()
        assert one.state()["missing"]["files"] == 0

        (two.folder / ".twistedp2pignore").unlink()
        machine.wait(lambda: (one.folder / "build/b").exists() and (one.folder / "build/a").exists(), "all is shared")
        (two.folder / "build/c").write_bytes(b"watched again")
        machine.wait(lambda: (one.folder / "build/c").exists(), "a change in the folder is seen at once")
