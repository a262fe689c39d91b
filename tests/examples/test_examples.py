"""Each program of docs/examples runs by itself, says what the page promises, and ends; none leaves anything behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.pages import DOCS, EXAMPLES

SECONDS = 60.0
"""None takes more than four; this is for a machine that does much else."""

SAYS = {
    "echo_inside": r"app: welcome echo: hello\n0 connections now, 1 at most, 1 in all; .* 5 bytes echoed\.\n",
    "serve_folder": r"letters/to ben: 8 bytes\nlist: 6 bytes\nstopped\n",
    "fetch": r"long: begun, 0 of 3,000,000 bytes\n(long: moved, [\d,]+ of 3,000,000 bytes\n)+"
    r"long: done, 3,000,000 of 3,000,000 bytes\n1 files, 3,000,000 bytes\n",
    "peer_inside": r"added by others: letter, 8 bytes\n"
    r"renamed by others: to ben, 8 bytes, before letter\nben has: Dear Ben\nstopped\n",
}
"""What each program prints, as a pattern for all of it."""


def test_every_example_is_here() -> None:
    """No example goes untested, and the page names them all."""
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert names == sorted(SAYS)
    page = (DOCS / "embedding.md").read_text(encoding="utf-8")
    assert [name for name in names if f"(examples/{name}.py)" not in page] == []


@pytest.mark.parametrize("name", sorted(SAYS))
def test_length(name: str) -> None:
    """An example is short enough to be read, and takes the reactor as an argument."""
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "import reactor" not in text


@pytest.mark.parametrize("name", sorted(SAYS))
def test_example_runs(name: str, tmp_path: Path) -> None:
    """It does on loopback what it says, with warnings as errors, ends with status 0, and leaves no file."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(SAYS[name], done.stdout), done.stdout
    assert list(tmp_path.iterdir()) == []
