"""What the system tells in /proc, read from a /proc made by hand and from the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twistedp2p.disk import syscalls
from twistedp2p.disk.machine import MountedAt, Watches, mounted_at, open_files, watches

ME = os.geteuid()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with two limits and no process."""
    limits = tmp_path / "sys/fs/inotify"
    limits.mkdir(parents=True)
    (limits / "max_user_watches").write_text("1000\n")
    (limits / "max_user_instances").write_text("128\n")
    return tmp_path


def process(proc: Path, number: int, queues: dict[str, int]) -> None:
    """Make a process with these queues, name of descriptor -> watches, and a file that is open."""
    for folder in ("fd", "fdinfo"):
        (proc / str(number) / folder).mkdir(parents=True)
    (proc / str(number) / "fd" / "0").symlink_to("/dev/null")
    for name, count in queues.items():
        (proc / str(number) / "fd" / name).symlink_to("anon_inode:inotify")
        lines = "".join(f"inotify wd:{wd} ino:1 sdev:1 mask:1\n" for wd in range(count))
        (proc / str(number) / "fdinfo" / name).write_text(f"pos:\t0\nflags:\t02004000\n{lines}")


def test_counted(proc: Path) -> None:
    """Watches and queues of all processes of the user are counted; what is no process is not looked at."""
    process(proc, 10, {"3": 4, "7": 1})
    process(proc, 11, {"5": 0})
    process(proc, 12, {})
    (proc / "tty").mkdir()
    assert watches(proc) == Watches(5, 1000, 3, 128)


def test_of_others(proc: Path) -> None:
    """Processes of other users do not count against this one's limit."""
    process(proc, 10, {"3": 4})
    assert watches(proc, ME + 1) == Watches(0, 1000, 0, 128)


def test_gone_meanwhile(proc: Path) -> None:
    """A process that ends while it is looked at is left out."""
    process(proc, 10, {"3": 4})
    process(proc, 11, {"3": 2})
    shutil.rmtree(proc / "10" / "fdinfo")
    shutil.rmtree(proc / "11" / "fd")
    assert watches(proc) == Watches(0, 1000, 1, 128)


def test_no_inotify(tmp_path: Path) -> None:
    """A system without inotify tells nothing."""
    assert watches(tmp_path) == Watches()


def test_real(tmp_path: Path) -> None:
    """A watch of this process is among those of the real system."""
    queue = syscalls.inotify_init1()
    try:
        before = watches()
        syscalls.inotify_add_watch(queue, os.fsencode(tmp_path), 2)
        after = watches()
    finally:
        os.close(queue)
    assert before.most is not None and after.used is not None and after.queues_used is not None
    assert after.used >= 1 and after.queues_used >= 1


def test_open_files() -> None:
    """The limits of this process are told."""
    soft, hard = open_files()
    assert 0 < soft <= hard


TABLE = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:30 / /home/anna/net rw - fuse.sshfs host:/ rw
23 21 0:31 / /home/anna/with\\040space rw - vfat /dev/sdb1 rw
24 21 0:32 / /home/anna/net rw - nfs4 host:/x rw
25 21 0:33 / /home/an rw - tmpfs tmpfs rw
garbage
"""


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/home/anna/x", MountedAt("ext4", "/")),
        ("/home/anna/net/deep/in", MountedAt("nfs4", "/home/anna/net")),
        ("/home/anna/with space", MountedAt("vfat", "/home/anna/with space")),
        ("/home/anna/network", MountedAt("ext4", "/")),
    ],
)
def test_mounted(tmp_path: Path, folder: str, found: MountedAt) -> None:
    """The longest mount point above a folder counts, and of several there the last."""
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert mounted_at(Path(folder), table) == found


def test_not_told(tmp_path: Path) -> None:
    """A system that has no such table tells nothing."""
    assert mounted_at(Path("/"), tmp_path / "none") == MountedAt()


def test_raise_open_files() -> None:
    """A process may raise how many files it has open as far as its hard limit, and never lowers it."""
    program = (
        "import resource as r; from twistedp2p.disk.machine import raise_open_files as f\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (50, 200)); print(f(40), f(100), f(200), f(201), r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "50 100 200 200 (200, 200)\n"
