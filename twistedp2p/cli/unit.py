"""The systemd user unit that goes on with all shared folders: its text, and asking systemd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from twistedp2p.limits import SERVICE_FILES, STOP_WAIT, SYSTEMCTL

__all__ = ["UNIT", "systemctl", "unit_path", "unit_text"]

UNIT = "twistedp2p.service"
_TEXT = """\
# Written by `twistedp2p service install`, which replaces it; `twistedp2p service remove` removes it.
[Unit]
Description=twistedp2p: shared folders

[Service]
ExecStart={command}
# Not the home folder: Python would look for modules there.
WorkingDirectory=/
Restart=on-failure
RestartSec=5
TimeoutStopSec={stop:.0f}
LimitNOFILE={files}
# The folders may be anywhere, /tmp included, so the file system is left as it is.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=default.target
"""


def unit_path(environ: Mapping[str, str]) -> Path:
    """Return where a person's units are: XDG_CONFIG_HOME, else ~/.config, has them."""
    named = environ.get("XDG_CONFIG_HOME")
    config = Path(named) if named and os.path.isabs(named) else Path.home() / ".config"
    return config / "systemd" / "user" / UNIT


def unit_text(command: Sequence[str]) -> str:
    """Return the unit that runs `command`, the first word of which is an absolute path."""
    program, *arguments = (_word(word) for word in command)
    # In the name of the program a dollar is only a dollar.
    words = " ".join([program, *(word.replace("$", "$$") for word in arguments)])
    return _TEXT.format(command=words, files=SERVICE_FILES, stop=STOP_WAIT)


def _word(word: str) -> str:
    """Return a word as systemd reads it back: quoted, and with nothing that it would put something else for."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + escaped.replace("%", "%%") + '"'


def systemctl(*words: str) -> tuple[bool, str]:
    """Call ``systemctl --user``; return whether it succeeded, and what it said. It may be missing."""
    try:
        done = subprocess.run(  # noqa: S603
            ["systemctl", "--user", *words],  # noqa: S607  # the one of this system, wherever that is
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SYSTEMCTL,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        return False, "systemctl is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"systemctl does not answer ({error})"
    return done.returncode == 0, (done.stdout + done.stderr).strip()
