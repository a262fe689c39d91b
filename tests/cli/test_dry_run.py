"""`twistedp2p join --dry-run`, with real processes on loopback: it says what joining would do, and does nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.cli.test_commands import run
from tests.cli.test_share_join import ShareJoinTestCase


def all_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all that lies in a folder, with times and sizes: also what is never shared."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in (folder, *folder.rglob("*"))}


class DryRunTests(ShareJoinTestCase):
    """A look before one joins."""

    def setUp(self) -> None:
        super().setUp()
        for folder, text in ((self.one, "1"), (self.two, "22")):
            (folder / "same").write_text("same")
            (folder / "differs.txt").write_text(text)
            for file in folder.iterdir():
                os.utime(file, (1_000_000_000, 1_000_000_000))
        (self.two / "link").symlink_to("same")

    def look(self, *arguments: str, folder: Path | None = None) -> tuple[int, str, str]:
        """Run a dry run of joining with the second folder."""
        return self.start("join", "--dry-run", *arguments, str(folder or self.two)).end()

    def test_what_would_happen(self) -> None:
        """All kinds are told, folder and state folder stay as they are, and then joining does just that."""
        share, invite = self.share()
        share.until("in sync")
        before, home = all_of(self.two), all_of(self.base / "home")
        code, out, err = self.look(invite)
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(
            [line for line in out.splitlines() if line.startswith("  ") and "free" not in line],
            [
                "  members of the share that run now: 1",
                "  adopt: 1 file, 4 B (the same here and there, stays as it is)",
                "    same  4 B",
                "  send: 1 file, 1 B (only here, the others get it)",
                "    from two  1 B",
                "  fetch: 1 file, 1 B (only there, comes here)",
                "    from one  1 B",
                "  copy: 1 file, 2 B (differs, both are kept)",
                next(line for line in out.splitlines() if line.startswith("    differs.txt  2 B: theirs becomes ")),
                "  not shared: 1",
                "    link (It is a symbolic link; only files and folders are shared.)",
                "  nothing would be deleted",
            ],
        )
        found: dict[str, Any] = json.loads(self.look(invite, "--json")[1])
        self.assertEqual((all_of(self.two), all_of(self.base / "home")), (before, home))
        share.said.clear()
        join = self.start("join", invite, str(self.two))
        join.until("in sync", "5 files")
        names = {path.name for path in self.two.iterdir()} - {".twistedp2p"}
        copy = found["copy"]["first"][0]["copy"]
        self.assertEqual(names, {"same", "from one", "from two", "differs.txt", copy, "link"})
        self.assertEqual(((self.two / copy).read_text(), (self.two / "differs.txt").read_text()), ("1", "22"))
        _, _, err = self.look(invite)
        self.assertIn("is a member of a share already", err)
        for command in (join, share):
            self.assertEqual(command.end(signal.SIGTERM)[0], 0)

    def test_a_folder_that_is_not_there(self) -> None:
        """A folder that joining would make is not made; everything would be fetched."""
        share, invite = self.share()
        share.until("in sync")
        found = json.loads(self.look(invite, "--json", folder=self.base / "new" / "folder")[1])
        self.assertEqual((found["fetch"]["files"], found["send"]["files"], found["members"]), (3, 0, 1))
        self.assertFalse((self.base / "new").exists())

    def test_nobody_runs(self) -> None:
        """Without a tracker it is one sentence and status 1."""
        share, invite = self.share()
        share.end(signal.SIGTERM)
        self.assertIn("can not be reached", self.fails("join", "--dry-run", invite, str(self.two)))

    def test_wrong_use(self) -> None:
        """Its options belong to it; a file is no folder."""
        for option in ("--list", "--json"):
            self.assertEqual(run("join", option, "tp2p1:x", str(self.two)).exit_code, 2)
        invite = self.share()[1]
        self.assertIn("is no folder", self.fails("join", "--dry-run", invite, str(self.two / "same")))
