"""How long a change takes to reach the last of three peers: separate processes, loopback, one machine.

    .venv/bin/python benchmarks/live.py [--changes 50] [--files 2000] [--base DIR]

A tracker and three peers run under `twistd -n` with their defaults (durable). After the first sync of a tree of
small files, one change at a time is made in one folder, and the others are looked at every millisecond. The clock
runs from the return of the user's write, rename or unlink to the moment at which the last folder has it, complete
and under its final name. `--base` says where the folders are: on a disk or in memory, the difference is in the syncs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
WAIT_SECONDS = 30.0


def load_demo() -> ModuleType:
    """Return tools/demo.py, which knows how to start and ask the processes."""
    spec = importlib.util.spec_from_file_location("demo", HERE.parent / "tools" / "demo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def percentile(values: list[float], part: float) -> float:
    """Return the value below which `part` of the values are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def timed(change: Callable[[], None], arrived: Callable[[], bool]) -> float:
    """Make a change; return the seconds from its return until it has arrived."""
    change()
    began = time.monotonic()
    while not arrived():
        if time.monotonic() - began > WAIT_SECONDS:
            raise SystemExit("A change did not arrive.")
        time.sleep(0.001)
    return time.monotonic() - began


def measure(folders: list[Path], changes: int) -> dict[str, list[float]]:
    """Return the seconds of each change of each kind, made in turn in each folder."""
    found: dict[str, list[float]] = {"create": [], "edit": [], "rename": [], "delete": []}
    for number in range(changes):
        here = folders[number % len(folders)]
        others = [folder for folder in folders if folder != here]
        for what, seconds in one_of_each(here, others, f"live{number}.txt", f"moved{number}.txt").items():
            found[what].append(seconds)
    return found


def one_of_each(here: Path, others: list[Path], name: str, moved: str) -> dict[str, float]:
    """Create, edit, rename and delete a file; return how long each took to arrive."""
    first, second = os.urandom(1024), os.urandom(1024)

    def have(name: str, data: bytes) -> bool:
        try:
            return all((folder / name).read_bytes() == data for folder in others)
        except FileNotFoundError:
            return False

    def lack(name: str) -> bool:
        return not any((folder / name).exists() for folder in others)

    return {
        "create": timed(lambda: save(here / name, first), lambda: have(name, first)),
        "edit": timed(lambda: save(here / name, second), lambda: have(name, second)),
        "rename": timed(lambda: rename(here / name, here / moved), lambda: have(moved, second) and lack(name)),
        "delete": timed((here / moved).unlink, lambda: lack(moved)),
    }


def rename(old: Path, new: Path) -> None:
    """Rename as a file browser does."""
    old.rename(new)


def save(path: Path, data: bytes) -> None:
    """Save as a program does."""
    path.write_bytes(data)


def main() -> None:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--base", type=Path)
    options = parser.parse_args()
    demo_module = load_demo()
    base = Path(tempfile.mkdtemp(prefix="live-", dir=options.base))
    demo = demo_module.Demo(base)
    try:
        demo.start("tracker", "tracker", "--listen", f"tcp:{demo_module.free_port()}:interface=127.0.0.1")
        demo.wait("The tracker", lambda: demo.home.tracker_address() is not None, 30)
        demo.folders[0].mkdir()
        for number in range(options.files):
            save(demo.folders[0] / f"file{number}.txt", b"%d" % number)
        demo.start("one", "peer", "--folder", "one", "--new-share", "--name", "one", "--invite-file", "invite")
        demo.wait("The invite", (base / "invite").exists, 60)
        for name in demo_module.NAMES[1:]:
            demo.start(name, "peer", "--folder", name, "--join", "@invite", "--name", name)
        demo_module.show_first_sync(demo, options.files, options.files * 4)
        found = measure(demo.folders, options.changes)
    finally:
        demo.stop()
        shutil.rmtree(base, ignore_errors=True)
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{' '.join(sys.argv)}: {options.changes} changes of each kind, 1 KiB files, to the last of 3 peers")
    print(f"{'':8}{'median':>10}{'p90':>10}{'p99':>10}{'most':>10}   ms")
    for what, values in found.items():
        row = [percentile(values, part) * 1000 for part in (0.5, 0.9, 0.99, 1.0)]
        print(f"{what:8}" + "".join(f"{value:10.0f}" for value in row))


if __name__ == "__main__":
    main()
