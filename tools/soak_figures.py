"""What a process uses, measured from outside, and whether it stays flat.

Processes that are killed all the time have short lives, and a young process grows: it reads its index and makes its
connections. So growth is looked for within lives only, by age, and not before an age at which a process is settled:
one straight line through the samples of each life, all with the same slope (least squares), taken from the last two
thirds of the run. A process that is never killed has one life, so for it this is the line through its last two thirds.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["Sample", "descriptors", "flat", "mean", "measure", "size_of", "slope", "table"]

SETTLED = 300.0
"""Age from which a process counts as settled, seconds: by then it has moved some big files, and keeps that memory."""
ENOUGH = 12
"""Samples of settled processes below which no slope is told."""
_TICKS = os.sysconf("SC_CLK_TCK")
_MB = 1e6


@frozen
class Sample:
    """One process at one moment."""

    at: float
    """Seconds since the run began."""
    role: str
    life: int
    """The how manieth process of its role."""
    age: float
    """Seconds since this process began."""
    rss: int
    """Resident memory, bytes."""
    descriptors: int
    threads: int
    cpu: float
    """Processor time since this process began, seconds."""
    index: int = 0
    """Index with its write-ahead log, bytes."""
    parts: int = 0
    """Parts in the folder's state, files."""
    trash: int = 0
    """Trash, bytes."""


def measure(pid: int, at: float, role: str, life: int, age: float, state: Path | None) -> Sample | None:
    """Return what a process uses now, None if it has ended; `state` is the `.twistedp2p` of a peer's folder."""
    proc = Path("/proc", str(pid))
    try:
        fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
        times = (proc / "stat").read_text().rpartition(")")[2].split()
        count = descriptors(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    if "VmRSS" not in fields:  # it has ended, and nobody has taken its status yet
        return None
    return Sample(
        at, role, life, age,
        rss=int(fields["VmRSS"].split()[0]) * 1024,
        descriptors=count,
        threads=int(fields["Threads"]),
        cpu=(int(times[11]) + int(times[12])) / _TICKS,
        index=0 if state is None else sum(size_of(state / f"index.sqlite{end}")[1] for end in ("", "-wal")),
        parts=0 if state is None else size_of(state / "parts")[0],
        trash=0 if state is None else size_of(state / "trash")[1],
    )  # fmt: skip


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def size_of(path: Path) -> tuple[int, int]:
    """Return how many files are at or below `path`, and their bytes; what vanishes meanwhile may be missing."""
    files = total = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not path.is_dir():
            return 1, path.lstat().st_size
    for base, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(base, name)).st_size
                files += 1
    return files, total


def settled(samples: Iterable[Sample], since: float) -> list[Sample]:
    """Return the samples that count: of settled processes, from `since` on (seconds of the run)."""
    return [sample for sample in samples if sample.at >= since and sample.age >= SETTLED]


def slope(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float | None:
    """Return how much `value` grows a second within lives; None if there is too little to tell."""
    if len(samples) < ENOUGH:
        return None
    lives: defaultdict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        lives[sample.role, sample.life].append(sample)
    above = below = 0.0
    for life in lives.values():
        middle_age = mean([sample.age for sample in life])
        middle = mean([value(sample) for sample in life])
        above += sum((sample.age - middle_age) * (value(sample) - middle) for sample in life)
        below += sum((sample.age - middle_age) ** 2 for sample in life)
    return above / below if below else None


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def flat(samples: Sequence[Sample], value: Callable[[Sample], float], spare: float) -> str:
    """Return "" if `value` is flat, or nobody can tell, else what is wrong.

    Flat: over the ages that were seen, the line through the samples rises by less than a tenth of its mean, or by less
    than `spare`, which is how much it may swing by itself. It is not drawn on to ages that no process reached.
    """
    rate = slope(samples, value)
    if rate is None:
        return ""
    rise = rate * (max(sample.age for sample in samples) - min(sample.age for sample in samples))
    middle = mean([value(sample) for sample in samples])
    return f"rises by {rise:,.0f}, from {middle:,.0f} on average" if rise > max(spare, middle / 10) else ""


def table(samples: Sequence[Sample], since: float) -> str:
    """Return the figures of each role as the rows of a table (Markdown)."""
    lines = [
        "| process | lives | longest, s | RSS settled, MB | RSS most, MB | RSS slope, MB/min | descriptors | most "
        "| slope, 1/min | threads most | CPU, s | index, MB | parts | trash, MB |",
        "|---|" + "---:|" * 13,
    ]
    for role in dict.fromkeys(sample.role for sample in samples):
        own = [sample for sample in samples if sample.role == role]
        late = settled(own, since)
        last = {sample.life: sample for sample in own}
        newest = own[-1]
        cells: list[object] = [
            role, len(last), f"{max(sample.age for sample in own):.0f}",
            _average(late, lambda sample: sample.rss / _MB), f"{max(sample.rss for sample in own) / _MB:.0f}",
            _per_minute(late, lambda sample: sample.rss / _MB),
            _average(late, lambda sample: sample.descriptors), max(sample.descriptors for sample in own),
            _per_minute(late, lambda sample: sample.descriptors),
            max(sample.threads for sample in own), f"{sum(sample.cpu for sample in last.values()):.0f}",
            f"{newest.index / _MB:.1f}", newest.parts, f"{newest.trash / _MB:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _average(samples: Sequence[Sample], value: Callable[[Sample], float]) -> str:
    return f"{mean([value(sample) for sample in samples]):.0f}" if samples else "-"


def _per_minute(samples: Sequence[Sample], value: Callable[[Sample], float]) -> str:
    rate = slope(samples, value)
    return "-" if rate is None else f"{rate * 60:+.2f}"
