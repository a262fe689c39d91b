"""The long run: a tracker and five peers as real processes, people who work in their folders, and kills all the time.

    make soak-run                              30 minutes
    make soak-run MINUTES=5 SEED=7 EVERY=10    shorter, repeatable choices, a kill every 10 s

Four of the peers and the tracker are killed and started again at random; the fifth peer, `witness`, is never killed, so
that its memory and descriptors show what grows. At the end the work stops, all is started, and the folders must become
identical by content and executable bit; everything that somebody saved and nobody gave up must be in a folder or a
trash; no log may have a traceback. Exit status 0 only if all of that holds.
"""

from __future__ import annotations

import argparse
import csv
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from random import Random

import attrs

from tests.end_to_end.processes import LOCAL, Machine, Peer, Process
from tools.soak_figures import Sample, flat, measure, settled, size_of, table
from tools.soak_user import STATE, Ledger, Tree, User, files_below, tree_of

NAMES = ("one", "two", "three", "four", "witness")
SPARED = "witness"
SAMPLE_EVERY = 10.0
TERM_SHARE = 0.2
"""This part of the processes is asked to end (SIGTERM) instead of being killed."""
DOWN_MOST = 10.0
"""Longest pause before a process is started again, seconds."""
SETTLING = 180.0
"""How long the folders may take to become identical after the last work, seconds."""
START = 30.0
END = 20.0
SPARE_MEMORY = 15e6
"""Memory may swing by this much by itself, bytes: caches of SQLite and what a big file holds in flight."""
MOST_MEMORY = 200e6
"""No process may ever have more, bytes, however young: it would leak too fast to be told by a slope."""
SPARE_DESCRIPTORS = 8
"""Descriptors may swing by this many: a connection with each other peer, and files being read."""
TROUBLE = ("Traceback", "Unhandled", "#critical]")


class Role:
    """A process that is started again and again, on a machine of its own."""

    def __init__(self, name: str, machine: Machine, begin: Callable[[int], Process]) -> None:
        self.name = name
        self.machine = machine
        self.lives = 0
        self.since = 0.0
        self.process: Process | None = None
        self.ending: Process | None = None
        self.again_at = 0.0
        self._begin = begin

    def start(self) -> None:
        """Start it."""
        self.process = self._begin(self.lives)
        self.lives += 1
        self.since = time.monotonic()

    @property
    def folder(self) -> Path:
        """The folder of a peer."""
        return self.machine.folder(self.name)

    @property
    def state(self) -> Path | None:
        """The state folder of a peer's folder; None for a tracker."""
        return None if self.name == "tracker" else self.folder / STATE


class Run:
    """One long run in the folder `base`."""

    def __init__(self, base: Path, minutes: float, seed: int, every: float, rate: float, most_bytes: int) -> None:
        self.base = base
        self.seconds = minutes * 60
        self.random = Random(seed)
        self.every = every
        self.rate = rate
        self.most_bytes = most_bytes
        self.began = 0.0
        self.ledger = Ledger()
        self.samples: list[Sample] = []
        self.kills: Counter[str] = Counter()
        self.failures: list[str] = []
        self.disk_most = 0
        self.port = free_port(self.random)
        self.tracker = Role("tracker", self._machine("tracker"), lambda _: self._start_tracker())
        self.peers = [Role(name, self._machine(name), self._starter(name)) for name in NAMES]
        self.users = [
            User(role.folder, base / role.name / "desk", Random(seed + number), self.ledger, self.room)
            for number, role in enumerate(self.peers, 1)
        ]

    @property
    def roles(self) -> list[Role]:
        """All processes."""
        return [self.tracker, *self.peers]

    def room(self) -> int:
        """Return how many bytes may be saved now: the whole allowance is only there at the end of the run."""
        passed = min((time.monotonic() - self.began) / self.seconds, 1.0)
        return int(self.most_bytes * (0.1 + 0.9 * passed)) - self.ledger.bytes

    # -- starting -------------------------------------------------------------

    def _machine(self, name: str) -> Machine:
        place = self.base / name
        place.mkdir(parents=True)
        return Machine(place)

    def _start_tracker(self) -> Process:
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        return self.tracker.machine.start("tracker", "twistd", "-n", "tracker", "--listen", listen)

    def _starter(self, name: str) -> Callable[[int], Process]:
        invite = self.base / "invite"

        def start(life: int) -> Process:
            role = self.peers[NAMES.index(name)]
            words = ["--folder", str(role.folder), "--listen", LOCAL, "--name", name]
            if name != NAMES[0]:
                words += ["--join", f"@{invite}"]
            elif life == 0:
                tracker = self.tracker.machine.address().text()
                words += ["--new-share", "--tracker", tracker, "--invite-file", str(invite)]
            return role.machine.start(name, "twistd", "-n", "peer", *words, folder=role.folder)

        return start

    def begin(self) -> None:
        """Start everything, and wait until the empty share is in sync."""
        self.began = time.monotonic()
        self.tracker.start()
        self._wait(lambda: self.tracker.machine.home.tracker_address() is not None, "the tracker listens", START)
        self.peers[0].start()
        self._wait((self.base / "invite").exists, "the invite is written", START)
        for role in self.peers[1:]:
            role.start()
        self._wait(self.all_in_sync, "the peers find each other", START)

    # -- the work -------------------------------------------------------------

    def work(self) -> None:
        """Let the people work and the processes die until the time is over."""
        self.began = time.monotonic()
        end = self.began + self.seconds
        acts = self.began
        samples = self.began + SAMPLE_EVERY
        kills = self.began + self.every
        while (now := time.monotonic()) < end:
            if now >= acts:
                self.random.choice(self.users).act()
                # A slow action is not made up for: a person does not hurry because the disk was slow.
                acts = now + self.random.expovariate(self.rate)
            if now >= samples:
                self.sample()
                samples += SAMPLE_EVERY
            if now >= kills:
                self.kill_one()
                kills += self.every
            self.tend()
            time.sleep(max(0.0, min(acts - time.monotonic(), 0.05)))

    def kill_one(self) -> None:
        """Kill a random process, or ask it to end; it is started again after a while."""
        able = [role for role in self.roles if role.process is not None and role.name != SPARED]
        if not able:
            return
        role = self.random.choice(able)
        assert role.process is not None
        gently = self.random.random() < TERM_SHARE
        role.process.send(signal.SIGTERM if gently else signal.SIGKILL)
        self.kills["SIGTERM" if gently else "SIGKILL"] += 1
        self.say(f"{role.name} gets {'SIGTERM' if gently else 'SIGKILL'}")
        role.ending, role.process = role.process, None
        role.again_at = time.monotonic() + self.random.uniform(0, DOWN_MOST)
        if not gently:
            role.ending.ended(END)

    def tend(self) -> None:
        """Start again what was killed, and note what ended by itself."""
        now = time.monotonic()
        for role in self.roles:
            if role.process is not None and not role.process.running():
                self.fail(f"{role.name} has ended by itself with {role.process.ended()}: {role.process.text()[-1000:]}")
                role.ending, role.process, role.again_at = None, None, now
            if role.ending is not None and role.ending.running():
                if now > role.again_at + END:
                    self.fail(f"SIGTERM did not end {role.name} within {END:.0f} s")
                    role.ending.kill()
                continue
            if role.process is None and now >= role.again_at:
                role.ending = None
                role.start()

    def sample(self) -> None:
        """Measure every process, and the disk."""
        now = time.monotonic()
        for role in self.roles:
            if role.process is not None:
                found = measure(
                    role.process.pid, now - self.began, role.name, role.lives, now - role.since, role.state
                )
                self.samples += [] if found is None else [found]
        self.disk_most = max(self.disk_most, size_of(self.base)[1])

    # -- the end --------------------------------------------------------------

    def end(self) -> None:
        """Wait until the folders are identical; check that they are right, the ledger, the figures and the logs."""
        stopped = time.monotonic()
        for role in self.roles:
            role.again_at = min(role.again_at, stopped)
        self.say("the work stops")
        try:
            self._wait(lambda: self._tended() and self.all_in_sync() and self.identical(), "identical", SETTLING)
            self.say(f"identical {time.monotonic() - stopped:.1f} s after the end of the work")
        except TimeoutError:
            self.fail(f"the folders are not identical after {SETTLING:.0f} s: {self.difference()}")
        self.sample()
        lost = self.ledger.lost(self.places())
        for what in lost[:20]:
            self.fail(f"lost: what was {what}")
        self.say(f"{len(self.ledger)} contents saved, {len(self.ledger.owed)} owed, {len(lost)} of them lost")
        self.judge_figures()
        self.close()
        self.judge_logs()

    def places(self) -> chain[Path]:
        """Return every file in which something saved may be: current ones, conflict copies, the trash."""
        folders = [role.folder for role in self.peers]
        shared = (path for folder in folders for path in files_below(folder) if STATE not in path.parts)
        return chain(shared, *(files_below(folder / STATE / "trash") for folder in folders))

    def _tended(self) -> bool:
        self.tend()
        return all(role.process is not None for role in self.roles)

    def all_in_sync(self) -> bool:
        """Return whether every peer says that it is in sync, and sees all others."""
        states = [
            role.process.status() if isinstance(role.process, Peer) and role.process.running() else None
            for role in self.peers
        ]
        return all(state is not None and state["in_sync"] and len(state["peers"]) == len(NAMES) - 1 for state in states)

    def trees(self) -> list[Tree]:
        """Return what each folder holds."""
        return [tree_of(role.folder) for role in self.peers]

    def identical(self) -> bool:
        """Return whether all folders hold the same."""
        first, *others = self.trees()
        return all(other == first for other in others)

    def difference(self) -> str:
        """Return in which paths the folders differ, and what the peers say."""
        trees = self.trees()
        everywhere = sorted(set().union(*trees))
        paths = [path for path in everywhere if len({_shown(tree, path) for tree in trees}) > 1]
        lines = [f"{len(paths)} paths differ"]
        for path in paths[:10]:
            texts = [_shown(tree, path) for tree in trees]
            lines.append(f"  {path!r}: " + ", ".join(f"{name} {text}" for name, text in zip(NAMES, texts, strict=True)))
        for role in self.peers:
            state = role.process.status() if isinstance(role.process, Peer) else None
            shown = state and {key: state[key] for key in ("state", "tracker", "missing", "errors", "not_shared")}
            lines.append(f"  {role.name}: {shown}")
        return "\n".join(lines)

    def judge_figures(self) -> None:
        """Fail if memory or descriptors of a settled process grow, or a process has very much memory."""
        for role in self.roles:
            most = max((one.rss for one in self.samples if one.role == role.name), default=0)
            if most > MOST_MEMORY:
                self.fail(f"{role.name} had {most / 1e6:.0f} MB of memory")
            late = settled((one for one in self.samples if one.role == role.name), self.seconds / 3)
            for what, value, spare in (
                ("memory", lambda one: float(one.rss), SPARE_MEMORY),
                ("number of descriptors", lambda one: float(one.descriptors), SPARE_DESCRIPTORS),
            ):
                wrong = flat(late, value, spare)
                if wrong:
                    self.fail(f"the {what} of {role.name} {wrong}")

    def judge_logs(self) -> None:
        """Fail if a log tells of a bug."""
        for role in self.roles:
            for process in role.machine.processes:
                found = [line for line in process.text().splitlines() if any(sign in line for sign in TROUBLE)]
                if found:
                    self.fail(f"{process.log} tells of trouble: {found[0][:300]}")

    def close(self) -> None:
        """End every process that this run started, the peers before the tracker."""
        running = [
            process
            for role in reversed(self.roles)
            for process in role.machine.processes
            if process.running()
        ]
        for process in running:
            process.send(signal.SIGTERM)
        for process in running:
            try:
                process.check_end(END)
            except (subprocess.TimeoutExpired, AssertionError) as error:
                self.fail(f"{process.name} did not end well: {error}")
                process.kill()

    # -- telling --------------------------------------------------------------

    def report(self) -> None:
        """Print the figures, and keep all samples in a file."""
        series = self.base / "series.csv"
        with series.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in attrs.fields(Sample)])
            writer.writerows(attrs.astuple(sample) for sample in self.samples)
        done: Counter[str] = Counter()
        for user in self.users:
            done.update(user.done)
        print(f"\nKills: {dict(self.kills)}. Actions: {sum(done.values())}: {dict(done.most_common())}.")
        files, size = size_of(self.peers[0].folder / STATE / "trash")
        tree = tree_of(self.peers[0].folder)
        print(
            f"At the end {len(tree)} files and folders, {sum('(conflict ' in path for path in tree)} of them conflict "
            f"copies; {self.ledger.bytes / 1e6:.0f} MB were saved; the trash of {NAMES[0]} has {files} files of "
            f"{size / 1e6:.0f} MB; the most on disk was {self.disk_most / 1e6:.0f} MB.\n"
        )
        print(table(self.samples, self.seconds / 3))
        print(f"\nEvery sample is in {series}.")
        for failure in self.failures:
            print(f"FAILED: {failure}")

    def say(self, text: str) -> None:
        """Tell whoever watches what happens."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def fail(self, text: str) -> None:
        """Note something that must not happen."""
        self.failures.append(text)
        self.say(f"FAILED: {text}")

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.2)


def _shown(tree: Tree, path: str) -> str:
    if path not in tree:
        return "-"
    found = tree[path]
    return "folder" if found is None else found[0].hex()[:8] + "x" * found[1]


def free_port(random: Random) -> int:
    """Return a TCP port that nobody has, below those that the system gives to connections.

    The tracker comes back at its port; one of the others could be given to a connection while it is down.
    """
    for _ in range(100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port := random.randrange(10_000, 30_000)))
            except OSError:
                continue
            return port
    raise SystemExit("There is no free port between 10,000 and 30,000.")


def in_memory(path: Path) -> bool:
    """Return whether `path` is in a file system that is kept in memory."""
    found = subprocess.run(
        ["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return found in ("tmpfs", "ramfs")


def main() -> int:
    """Do the run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long people work: 30")
    parser.add_argument("--seed", type=int, default=None, help="for all that is random; a new one without it")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills: 20")
    parser.add_argument("--rate", type=float, default=6.0, help="actions a second, of all people together: 6")
    parser.add_argument("--most-bytes", type=int, default=300_000_000, help="what is saved in all: 300 MB")
    parser.add_argument("--dir", type=Path, default=None, help="work here, and keep it; without it a temporary folder")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="soak-", dir=options.dir))
    print(f"Seed {seed}, {options.minutes:g} minutes, a kill every {options.every:g} s, in {base}", flush=True)
    if in_memory(base):
        print("This folder is in memory (tmpfs): waiting for a disk plays no part in this run.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = Run(base, options.minutes, seed, options.every, options.rate, options.most_bytes)
    try:
        run.begin()
        run.work()
        run.end()
    except KeyboardInterrupt:
        run.fail("it was interrupted")
    except TimeoutError as error:
        run.fail(str(error))
    finally:
        run.close()
    run.report()
    if run.failures or options.dir is not None:
        print(f"The folders and logs are in {base}.")
    else:
        shutil.rmtree(base)
    print(f"{'FAILED' if run.failures else 'Passed'}. Again: make soak-run MINUTES={options.minutes:g} SEED={seed}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
