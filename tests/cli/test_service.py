"""`twistedp2p service`: the unit, and what is asked of systemd; `systemctl` is a small program here."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_share_join import ShareJoinTestCase
from twistedp2p.cli.unit import UNIT, unit_path, unit_text
from twistedp2p.limits import SERVICE_FILES

SYSTEMCTL = """\
#!/bin/sh
echo "$@" >> "$CALLS"
[ "$2" = is-active ] && { echo active; exit 0; }
[ -z "$BROKEN" ] || { echo "Failed to connect to bus: No medium found" >&2; exit 1; }
"""


class UnitTests(SynchronousTestCase):
    """The text of the unit."""

    def test_what_it_says(self) -> None:
        """It runs the command, is started again if it fails, and may have many files open."""
        lines = unit_text(["/usr/bin/python3", "-m", "x"]).splitlines()
        for line in ('ExecStart="/usr/bin/python3" "-m" "x"', "Restart=on-failure", f"LimitNOFILE={SERVICE_FILES}"):
            self.assertIn(line, lines)

    @given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs", "Cc")), min_size=1))
    def test_words(self, word: str) -> None:
        """A word is read back as it was: quoted, and without what systemd would put something else for."""
        (line,) = [line for line in unit_text(["/x", word]).split("\n") if line.startswith("ExecStart=")]
        read = line.removeprefix('ExecStart="/x" ')
        self.assertNotRegex(read.replace("%%", "").replace("$$", ""), "[%$]")
        self.assertEqual(shlex.split(read.replace("%%", "%").replace("$$", "$")), [word])

    def test_where(self) -> None:
        """It lies where XDG_CONFIG_HOME says, if that is absolute, else in ~/.config."""
        self.assertEqual(unit_path({"XDG_CONFIG_HOME": "/c"}), Path("/c/systemd/user") / UNIT)
        for environ in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "c"}):
            self.assertEqual(unit_path(environ), Path.home() / ".config/systemd/user" / UNIT)

    def test_systemd_reads_it(self) -> None:
        """systemd finds nothing to complain of, also of odd names, where it can be asked."""
        program = shutil.which("systemd-analyze")
        if program is None:
            return  # it is for systems with systemd; the other tests hold everywhere
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / UNIT
            python = Path(folder) / "a $c %d" / "python"
            python.parent.mkdir()
            python.symlink_to(sys.executable)
            file.write_text(unit_text([str(python), "-m", "twistedp2p.cli", "run", "--home", '/a b/100% "$x\\']))
            done = subprocess.run(
                [program, "verify", "--user", str(file)],
                capture_output=True,
                text=True,
                env={**os.environ, "XDG_RUNTIME_DIR": folder, "HOME": folder},
                check=False,
            )
            complaints = [line for line in done.stderr.splitlines() if UNIT in line]
            self.assertEqual(complaints, [])


class ServiceTests(ShareJoinTestCase):
    """The command."""

    def setUp(self) -> None:
        super().setUp()
        self.calls = self.base / "calls"
        self.calls.touch()
        bin_ = self.base / "bin"
        bin_.mkdir()
        (bin_ / "systemctl").write_text(SYSTEMCTL)
        (bin_ / "systemctl").chmod(0o755)
        self.unit = self.base / "config" / "systemd" / "user" / UNIT
        self.environ = {
            "PATH": f"{bin_}:/usr/bin:/bin",
            "XDG_CONFIG_HOME": str(self.base / "config"),
            "CALLS": str(self.calls),
        }

    def service(self, action: str, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """Run the command, and return its status and what it said."""
        return self.start("service", action, *arguments, env={**self.environ, **environ}).end()

    def called(self) -> list[str]:
        """Return what was asked of systemctl since the last time."""
        lines = self.calls.read_text().splitlines()
        self.calls.write_text("")
        return [line.removeprefix("--user ") for line in lines]

    def test_install_and_remove(self) -> None:
        """It is written, enabled and started; a second time changes nothing; it is ended, disabled and removed."""
        code, out, err = self.service("install")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("loginctl enable-linger", out)
        text = self.unit.read_text()
        command = shlex.split(text.partition("ExecStart=")[2].partition("\n")[0])
        home = str(self.base / "home")
        self.assertEqual(command, [sys.executable, "-m", "twistedp2p.cli", "run", "--wait", "--home", home])
        self.assertEqual(self.called(), ["daemon-reload", f"enable --now {UNIT}"])
        before = self.unit.stat().st_mtime_ns
        self.assertEqual(self.service("install")[0], 0)
        self.assertEqual(
            (self.called(), self.unit.stat().st_mtime_ns), (["daemon-reload", f"enable --now {UNIT}"], before)
        )
        self.assertEqual(self.service("remove")[::2], (0, ""))
        self.assertFalse(self.unit.exists())
        self.assertEqual(self.called(), [f"disable --now {UNIT}", "daemon-reload"])
        code, out, err = self.service("remove")
        self.assertEqual((code, out, err), (0, "There is no service to remove.\n", ""))
        self.assertEqual(self.called(), [])

    def test_another_state_folder(self) -> None:
        """Installed anew with another state folder, it is started anew."""
        self.service("install")
        self.called()
        other = self.base / "other home"
        self.assertEqual(self.service("install", "--home", str(other))[0], 0)
        self.assertIn(f'"--home" "{other}"', self.unit.read_text())
        self.assertEqual(self.called()[-1], f"restart {UNIT}")

    def test_without_systemd(self) -> None:
        """Where systemctl is missing or has nobody to talk to, the unit is written, and the rest is said."""
        for environ in ({"BROKEN": "1"}, {"PATH": "/nowhere"}):
            code, out, err = self.service("install", **environ)
            self.assertEqual(code, 0)
            self.assertTrue(self.unit.exists())
            self.assertIn(f"systemctl --user enable --now {UNIT}", err)
            self.assertNotIn("It runs", out)
            code, _, err = self.service("remove", **environ)
            self.assertEqual((code, self.unit.exists()), (0, False))
            self.assertIn(f"systemctl --user disable --now {UNIT}", err)

    def test_no_place(self) -> None:
        """A unit that can not be written is one sentence."""
        (self.base / "config").write_text("a file")
        code, out, err = self.service("install")
        self.assertEqual((code, out, err.count("\n")), (1, "", 1))

    def test_the_installed_command(self) -> None:
        """What the unit runs goes on with the folders from the root folder, and `service status` tells of each."""
        share, _ = self.share()
        share.until("in sync")
        share.end(signal.SIGTERM)
        self.service("install")
        code, out, _ = self.service("status")
        self.assertEqual(code, 1)
        self.assertIn("is not running", out)
        command = shlex.split(self.unit.read_text().partition("ExecStart=")[2].partition("\n")[0])
        process = subprocess.Popen(command, cwd="/", stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stderr is not None
        self.addCleanup(process.stderr.close)
        for line in process.stderr:
            if f"{self.one}: in sync" in line:
                break
        code, out, err = self.service("status")
        self.assertEqual((code, err), (0, ""))
        self.assertIn(f"{self.unit}: active", out)
        self.assertIn(f"  {self.one}: in-sync\n", out)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
