"""``twistedp2p ignored``: what is not shared, and why; without a peer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twistedp2p.cli.main import command
from twistedp2p.limits import IGNORE_BYTES
from twistedp2p.peer.ignore import DEFAULTS, IGNORE_NAME


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Return a folder that looks like a member's, with a list."""
    folder = tmp_path / "share"
    (folder / ".twistedp2p").mkdir(parents=True)
    (folder / ".twistedp2p" / "mark").touch()
    (folder / "build").mkdir()
    (folder / IGNORE_NAME).write_text("*.log\nbuild/\n!*.part\n")
    return folder


def run(share: Path, *words: str) -> Result:
    """Run the command with a state folder of its own."""
    return CliRunner().invoke(command, ["ignored", "--home", str(share.parent / "home"), *words])


def test_patterns(share: Path) -> None:
    """Without a path it prints all patterns in their order, with where each comes from."""
    lines = run(share, str(share)).stdout.splitlines()
    assert lines[0] == f"default:1\t{DEFAULTS[0][0]}"
    assert lines[-3:] == [f"{IGNORE_NAME}:1\t*.log", f"{IGNORE_NAME}:2\tbuild/", f"{IGNORE_NAME}:3\t!*.part"]


def test_defaults(share: Path) -> None:
    """--defaults prints the default list, with what makes such files; it needs no shared folder."""
    lines = run(share, "--defaults").stdout.splitlines()
    assert [line.split("  # ")[0].rstrip() for line in lines] == [text for text, _ in DEFAULTS]


def test_paths(share: Path) -> None:
    """Of a path it says which pattern decides, also of one that is not there; the status is 0 if one is ignored."""
    result = run(share, str(share), "x.log", str(share / "build"), "film.part", "plain")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"x.log: ignored by {IGNORE_NAME}:1\t*.log",
        f"build: ignored by {IGNORE_NAME}:2\tbuild/",
        f"film.part: not ignored by {IGNORE_NAME}:3\t!*.part",
        "plain: not ignored",
    ]


def test_none_ignored(share: Path) -> None:
    """If none of the paths is ignored, the status is 1."""
    assert run(share, str(share), "plain").exit_code == 1


def test_json(share: Path) -> None:
    """--json says the same as one object."""
    answer = json.loads(run(share, str(share), "x.log", "--json").stdout)
    assert answer["paths"][0]["by"] == {"source": IGNORE_NAME, "line": 1, "pattern": "*.log", "negated": False}


def test_outside(share: Path) -> None:
    """A path that is in no shared folder is an error of the command line."""
    result = run(share, str(share), os.fspath(share.parent / ".." / "elsewhere"))
    assert result.exit_code == 2 and "is not in" in result.stderr


def test_unusable_line(share: Path) -> None:
    """A line that is not used is named, with the reason."""
    (share / IGNORE_NAME).write_text("[z-a]x\n")
    assert f"{IGNORE_NAME}:1 is not used" in run(share, str(share)).stderr


@pytest.mark.parametrize(
    ("what", "words"), [("long", "shorter"), ("link", "can not be read"), ("folder", "can not be read")]
)
def test_unusable_list(share: Path, what: str, words: str) -> None:
    """A list that can not be used is one sentence, status 1; a link is not followed."""
    file = share / IGNORE_NAME
    file.unlink()
    if what == "long":
        file.write_bytes(b"#" * (IGNORE_BYTES + 1))
    elif what == "link":
        file.symlink_to("/etc/passwd")
    else:
        file.mkdir()
    result = run(share, str(share))
    assert result.exit_code == 1 and words in result.stderr and len(result.stderr.splitlines()) == 1


def test_names_are_shown_safely(share: Path) -> None:
    """A pattern that another member chose can do nothing to a terminal."""
    (share / IGNORE_NAME).write_bytes(b"\x1b[2Jx\n")
    assert "\x1b" not in run(share, str(share)).stdout
