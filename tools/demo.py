"""The main job, shown: a tracker and three peers as real processes, three folders, and a real tree in the first.

    make demo             goes on until Ctrl-C, so that you can edit in the folders and watch
    make demo ONCE=1      ends by itself; exit status 0 only if the three trees are identical
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from twistedp2p.home import Home

BASE = Path(__file__).resolve().parent.parent / ".demo"
NAMES = ("one", "two", "three")
LEAST_FILES, LEAST_BYTES = 3000, 100 * 1024 * 1024
FIRST_SYNC_SECONDS = 600.0
CHANGE_SECONDS = 30.0


class Demo:
    """One run: the processes and the three folders."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = Home(base / "home")
        self.folders = [base / name for name in NAMES]
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *words: str) -> None:
        """Start `twistd -n` with these words; what it logs goes to a file beside the folders."""
        log = (self.base / f"{name}.log").open("wb")
        environment = dict(os.environ, TWISTEDP2P_HOME=str(self.home.path))
        twistd = [sys.executable, "-m", "twisted.scripts.twistd"]
        shown = Path(sys.executable).parent / "twistd"
        if shown.exists():
            twistd = [str(shown)]
        command = [*twistd, "-n", *words]
        print("$ twistd -n", " ".join(words))
        self.processes.append(
            subprocess.Popen(command, cwd=self.base, env=environment, stdout=log, stderr=log, start_new_session=True)
        )
        log.close()

    def check_alive(self) -> None:
        """Raise SystemExit with the end of its log if a process has ended."""
        for process, name in zip(self.processes, ("tracker", *NAMES), strict=False):
            if process.poll() is not None:
                tail = (self.base / f"{name}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"The {name} has ended:\n{tail}")

    def status(self, folder: Path) -> dict[str, Any] | None:
        """Ask a running peer how it is; None while it does not answer yet."""
        connection = http.client.HTTPConnection("localhost", timeout=5)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            connection.sock.connect(self.home.control_socket(folder))
            connection.request("GET", "/status")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def wait(self, what: str, condition: Callable[[], bool], seconds: float, pause: float = 0.005) -> float:
        """Wait until `condition` holds; return how long it took, seconds."""
        began = time.monotonic()
        while not condition():
            self.check_alive()
            if time.monotonic() - began > seconds:
                raise SystemExit(f"{what}: not within {seconds:.0f} s. The logs are in {self.base}.")
            time.sleep(pause)
        return time.monotonic() - began

    def stop(self) -> None:
        """End every process that this run started, the peers before the tracker."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def files_below(root: Path) -> Iterator[Path]:
    """Yield the regular files and folders below `root` that are shared."""
    for folder, folders, files in os.walk(root):
        if ".twistedp2p" in folders:
            folders.remove(".twistedp2p")
        for name in sorted(folders + files):
            path = Path(folder, name)
            if not path.is_symlink():
                yield path


def tree_of(root: Path) -> dict[str, str]:
    """Return what a folder holds: for each path the hash of the content and the executable bit, or "folder"."""
    found = {}
    for path in files_below(root):
        text = str(path.relative_to(root))
        if path.is_dir():
            found[text] = "folder"
        else:
            found[text] = f"{blake3(path.read_bytes()).hexdigest()} {bool(path.stat().st_mode & 0o100)}"
    return found


def copy_real_tree(target: Path) -> tuple[int, int]:
    """Copy the running Python's site-packages and library, until it is enough; return how many files and bytes."""
    count = size = 0
    for name in ("purelib", "stdlib"):
        source = Path(sysconfig.get_path(name))
        for path in sorted(source.rglob("*")):
            if count >= LEAST_FILES and size >= LEAST_BYTES:
                return count, size
            if path.suffix == ".pyc" or path.is_symlink() or not path.is_file():
                continue
            copy = target / name / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
            count, size = count + 1, size + path.stat().st_size
    while size < LEAST_BYTES or count < LEAST_FILES:
        data = os.urandom(4 * 1024 * 1024) if size < LEAST_BYTES else b"%d" % count
        (target / f"more{count}.bin").write_bytes(data)
        count, size = count + 1, size + len(data)
    return count, size


def show_first_sync(demo: Demo, count: int, size: int) -> None:
    """Show a live line until the three peers say that they are in sync and have all there is."""
    terminal = sys.stdout.isatty()
    began = shown = time.monotonic()

    def synced() -> bool:
        nonlocal shown
        statuses = [demo.status(folder) for folder in demo.folders]
        now = time.monotonic()
        line = f"{now - began:6.1f} s "
        for name, status in zip(NAMES, statuses, strict=True):
            if status is None:
                line += f" | {name}: starting"
            else:
                missing = status["missing"]["files"]
                rate = status["rates"]["in"] / 1e6
                line += f" | {name}: {status['files'] - missing:5d}/{status['files']:5d} files {rate:6.1f} MB/s"
        if terminal:
            print("\r" + line, end="", flush=True)
        elif now - shown >= 2:
            shown = now
            print(line)
        return all(s is not None and s["in_sync"] and s["files"] >= count for s in statuses)

    took = demo.wait("The first sync", synced, FIRST_SYNC_SECONDS, 0.1)
    if terminal:
        print()
    print(f"{count:,} files, {size / 1e6:,.0f} MB: identical on three peers after {took:.1f} s")


def show_change(demo: Demo, what: str, change: Callable[[], None], arrived: Callable[[Path], bool]) -> None:
    """Make a change as a user would, and show how long it took to reach the last folder."""
    change()
    took = demo.wait(what, lambda: all(arrived(folder) for folder in demo.folders), CHANGE_SECONDS, 0.001)
    print(f"  {what:<58} {took * 1000:7.0f} ms")


def show_changes(demo: Demo) -> None:
    """Edit, rename, move a folder and delete, each in another folder."""
    one, two, three = demo.folders
    victim = next(path for path in files_below(one / "purelib") if path.suffix == ".py" and path.stat().st_size > 0)
    edited = victim.relative_to(one)
    moved = max((path for path in (one / "purelib").iterdir() if path.is_dir()), key=lambda p: len(list(p.rglob("*"))))
    moved = moved.relative_to(one)
    text = f"# changed {time.time()}\n".encode()
    print("Changes, and how long each took to arrive at the last peer:")
    show_change(
        demo, f"edit {edited} in one", lambda: save(one / edited, text), lambda f: (f / edited).read_bytes() == text
    )
    show_change(
        demo,
        "new file note.txt in two",
        lambda: save(two / "note.txt", b"hello\n"),
        lambda f: (f / "note.txt").exists() and (f / "note.txt").read_bytes() == b"hello\n",
    )
    show_change(
        demo,
        "rename note.txt to letter.txt in three",
        lambda: (three / "note.txt").rename(three / "letter.txt"),
        lambda f: (f / "letter.txt").exists() and not (f / "note.txt").exists(),
    )
    inside = sum(1 for _ in files_below(one / moved))
    show_change(
        demo,
        f"move the folder {moved} ({inside:,} files and folders) in two",
        lambda: (two / moved).rename(two / "moved"),
        lambda f: not (f / moved).exists() and sum(1 for _ in files_below(f / "moved")) == inside,
    )
    show_change(
        demo,
        "delete letter.txt in one",
        (one / "letter.txt").unlink,
        lambda f: not (f / "letter.txt").exists(),
    )


def save(path: Path, data: bytes) -> None:
    """Save as a program does."""
    path.write_bytes(data)


def compare(demo: Demo) -> bool:
    """Compare the trees by content; say and return whether they are identical."""
    demo.wait(
        "The peers",
        lambda: all((demo.status(folder) or {}).get("in_sync") for folder in demo.folders),
        CHANGE_SECONDS * 4,
        0.1,
    )
    trees = [tree_of(folder) for folder in demo.folders]
    for folder, tree in zip(demo.folders[1:], trees[1:], strict=True):
        for path in sorted(trees[0].keys() | tree.keys()):
            if trees[0].get(path) != tree.get(path):
                print(f"  differs in {folder.name}: {path}: {trees[0].get(path)} / {tree.get(path)}")
    same = all(tree == trees[0] for tree in trees)
    print(f"Compared by content: {len(trees[0]):,} files and folders are {'identical' if same else 'NOT identical'}.")
    return same


def free_port() -> int:
    """Return a TCP port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--once", action="store_true", help="end when all has been shown")
    parser.add_argument("--base", type=Path, default=BASE, help="where the folders are made (default: .demo)")
    options = parser.parse_args()
    shutil.rmtree(options.base, ignore_errors=True)
    options.base.mkdir(parents=True)
    demo = Demo(options.base)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        demo.start("tracker", "tracker", "--listen", f"tcp:{free_port()}:interface=127.0.0.1")
        demo.wait("The tracker", lambda: demo.home.tracker_address() is not None, 30)
        print(f"Copying a real tree into {demo.folders[0]} ...")
        count, size = copy_real_tree(demo.folders[0])
        invite = options.base / "invite"
        demo.start("one", "peer", "--folder", "one", "--new-share", "--name", "one", "--invite-file", "invite")
        demo.wait("The invite", invite.exists, 60)
        for name in NAMES[1:]:
            demo.start(name, "peer", "--folder", name, "--join", "@invite", "--name", name)
        show_first_sync(demo, count, size)
        show_changes(demo)
        same = compare(demo)
        if not options.once:
            print(f"The folders are {', '.join(map(str, demo.folders))}.")
            print("Change what you like in any of them and look at the others; Ctrl-C ends the demo.")
            while True:
                demo.check_alive()
                time.sleep(1)
        return 0 if same else 1
    except KeyboardInterrupt:
        return 0
    finally:
        demo.stop()


if __name__ == "__main__":
    sys.exit(main())
