"""Run schedules: `python -m tests.model.soak [SCHEDULES] [FIRST] [--bug NAME] [--trace] [--processes N]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from .bugs import BUGS
from .schedule import run
from .world import Failure

__all__ = ["attempt", "find", "main"]

_SLICE = 500
_SHOWN = 20


def find(schedules: int, first: int = 0, bug: str = "") -> tuple[int, str] | None:
    """Return the seed and the text of the first failure, None if there is none."""
    for seed in range(first, first + schedules):
        text = attempt(seed, bug)
        if text is not None:
            return seed, text
    return None


def attempt(seed: int, bug: str = "") -> str | None:
    """Run one schedule; return what is wrong, with the command that repeats it, None if nothing is."""
    try:
        run(seed, BUGS[bug]())
    except Failure as failure:
        planted = f" --bug {bug!r}" if bug else ""
        return f"{failure}\n  python -m tests.model.soak 1 {seed} --trace{planted}"
    return None


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.soak", description=__doc__)
    parser.add_argument("schedules", type=int, nargs="?", default=1000)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--bug", choices=sorted(BUGS), default="", help="plant this bug, which must be found")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many run side by side")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    asked = parser.parse_args(arguments)
    if asked.trace:
        return _traced(asked.first, asked.bug)
    began = time.perf_counter()
    kinds: Counter[str] = Counter()
    slices = range(asked.first, asked.first + asked.schedules, _SLICE)
    sizes = [min(_SLICE, asked.first + asked.schedules - first) for first in slices]
    with ProcessPoolExecutor(asked.processes) as pool:
        for found in pool.map(_slice, slices, sizes, repeat(asked.bug)):
            for seed, text in found:
                kinds[text.partition(":")[0]] += 1
                if sum(kinds.values()) <= _SHOWN:
                    print(f"seed {seed}: {text}", flush=True)
    taken = time.perf_counter() - began
    print(f"{asked.schedules} schedules, {asked.schedules / taken:.0f} a second; failures: {dict(kinds) or 'none'}")
    return 1 if kinds else 0


def _slice(first: int, schedules: int, bug: str) -> list[tuple[int, str]]:
    """Run some schedules; return the seeds that failed and what was wrong."""
    texts = ((seed, attempt(seed, bug)) for seed in range(first, first + schedules))
    return [(seed, text) for seed, text in texts if text is not None]


def _traced(seed: int, bug: str) -> int:
    trace: list[str] = []
    try:
        run(seed, BUGS[bug](), trace)
    except Failure as failure:
        trace.append(str(failure))
        return 1
    finally:
        print("\n".join(trace))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
