"""Thousands of random schedules keep the promises, and every planted bug breaks one of them.

`TWISTEDP2P_SCHEDULES` says how many schedules are run in all; `python -m tests.model.soak` runs more. The classes
share the work between two processes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .bugs import BUGS
from .schedule import run
from .soak import attempt, find

SCHEDULES = int(os.environ.get("TWISTEDP2P_SCHEDULES", "2000"))
ROOT = Path(__file__).parents[2]
PARTS = range(4)


def found_seeds() -> list[int]:
    """Return the seeds that once failed."""
    lines = Path(__file__).with_name("seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def check(part: int, parts: int) -> None:
    """Run one part of the schedules."""
    first, after = SCHEDULES * part // parts, SCHEDULES * (part + 1) // parts
    found = find(after - first, first)
    assert found is None, f"seed {found[0]}: {found[1]}" if found else ""


class TestFirstHalf:
    """Half of the schedules."""

    @pytest.mark.parametrize("part", PARTS)
    def test_promises(self, part: int) -> None:
        """Nothing that was saved is lost, all agree in the end, and then they fall silent."""
        check(part, 2 * len(PARTS))


class TestSecondHalf:
    """The other half, beside it."""

    @pytest.mark.parametrize("part", PARTS)
    def test_promises(self, part: int) -> None:
        """Nothing that was saved is lost, all agree in the end, and then they fall silent."""
        check(part + len(PARTS), 2 * len(PARTS))


class TestSeeds:
    """Single schedules."""

    @pytest.mark.parametrize("seed", found_seeds())
    def test_found_before(self, seed: int) -> None:
        """A schedule that once found a mistake passes."""
        assert attempt(seed) is None

    def test_deterministic(self) -> None:
        """A seed gives the same schedule in every process, whatever the order of its sets."""
        program = "from tests.model.test_model import fingerprint\nprint(fingerprint(), end='')"
        prints = {
            subprocess.run(
                [sys.executable, "-c", program],
                cwd=ROOT,
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for hash_seed in ("1", "2")
        }
        assert prints == {fingerprint()}


def fingerprint() -> str:
    """Return a digest of all that happens in some schedules."""
    trace: list[str] = []
    for seed in range(40):
        run(seed, BUGS[""](), trace)
    return hashlib.sha256("\n".join(trace).encode()).hexdigest()


class TestPlantedBugs:
    """The model has teeth."""

    @pytest.mark.parametrize(
        ("bug", "schedules"),
        [
            ("base forgotten", 20),
            ("unseen dropped", 20),
            ("loser dropped", 20),
            ("hold before content", 20),
            ("two commits", 20),
            ("order not total", 50),
            ("ignored deleted", 100),
            ("inside delta", 200),
            ("dot reuse", 600),
            ("dot reuse, no twins", 600),
            ("shared numbers", 800),
            ("at batch ends", 1800),
        ],
    )
    def test_found_soon(self, bug: str, schedules: int) -> None:
        """A bug that many schedules can find is found by the first few."""
        assert find(schedules, bug=bug) is not None

    @pytest.mark.long
    @pytest.mark.parametrize("bug", ["live base adopted", "put back unseen", "equal content superseded"])
    def test_found(self, bug: str) -> None:
        """A bug that needs a rare coincidence is found within 20,000 schedules."""
        assert find(20_000, bug=bug) is not None
