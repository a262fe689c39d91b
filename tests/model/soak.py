"""Run schedules: `python -m tests.model.soak [SCHEDULES] [FIRST] [--bug NAME] [--trace]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .bugs import BUGS
from .schedule import run
from .world import Failure

__all__ = ["find", "main"]


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
    parser.add_argument("--trace", action="store_true", help="print what happens")
    asked = parser.parse_args(arguments)
    if asked.trace:
        return _traced(asked.first, asked.bug)
    began = time.perf_counter()
    kinds: Counter[str] = Counter()
    for seed in range(asked.first, asked.first + asked.schedules):
        text = attempt(seed, asked.bug)
        if text is not None:
            kinds[text.partition(":")[0]] += 1
            if sum(kinds.values()) <= 20:
                print(f"seed {seed}: {text}", flush=True)
    taken = time.perf_counter() - began
    print(f"{asked.schedules} schedules, {asked.schedules / taken:.0f} a second; failures: {dict(kinds) or 'none'}")
    return 1 if kinds else 0


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
