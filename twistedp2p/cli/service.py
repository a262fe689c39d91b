"""``twistedp2p service``: installs and removes the systemd user unit that goes on with all shared folders."""

from __future__ import annotations

import os
import sys

import click

from twistedp2p.cli.options import home_option
from twistedp2p.cli.talk import ask_at
from twistedp2p.cli.unit import UNIT, systemctl, unit_path, unit_text
from twistedp2p.cli.words import shown
from twistedp2p.errors import FolderUnusable, NotServed
from twistedp2p.home import Home, write_private

__all__ = ["command"]


@click.command("service")
@click.argument("action", type=click.Choice(["install", "remove", "status"]))
@home_option
def command(action: str, home: Home) -> None:
    """Install, or remove, a service that goes on with all shared folders whenever you are logged in.

    It is a systemd user unit that runs `twistedp2p run --wait` of this very installation, with this state
    folder. `status` says whether it is installed, whether it runs, and how each folder stands.
    """
    {"install": _install, "remove": _remove, "status": _status}[action](home)


def _install(home: Home) -> None:
    if not sys.platform.startswith("linux"):
        raise FolderUnusable("A service is for Linux with systemd; run `twistedp2p run` in another way here.")
    file = unit_path(os.environ)
    text = unit_text([sys.executable, "-m", "twistedp2p.cli", "run", "--wait", "--home", str(home.path)])
    before = file.read_text("utf-8", errors="replace") if file.is_file() else None
    if before != text:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_private(file, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise FolderUnusable(f"The unit can not be written to {file} ({error.strerror}).") from error
    click.echo(f"The service is in {file}.")
    steps = [["daemon-reload"], ["enable", "--now", UNIT]]
    if before not in (None, text):
        steps.append(["restart", UNIT])  # it may run as it was written before
    if _do(steps):
        click.echo("It runs, and is started whenever you log in.")
    click.echo("To have it started with the machine, before anybody logs in: loginctl enable-linger")


def _remove(home: Home) -> None:
    file = unit_path(os.environ)
    if not file.exists():
        click.echo("There is no service to remove.")
        return
    # First, for systemd must still know the unit.
    done = _do([["disable", "--now", UNIT]])
    try:
        file.unlink()
    except OSError as error:
        raise FolderUnusable(f"The unit {file} can not be removed ({error.strerror}).") from error
    if done:
        _do([["daemon-reload"]])
    click.echo(f"The service is removed from {file}; the shared folders are as they were.")


def _do(steps: list[list[str]]) -> bool:
    """Call systemctl step by step; what can not be done is said, for a person to do by hand."""
    for number, step in enumerate(steps):
        done, text = systemctl(*step)
        if not done:
            click.echo(f"systemctl did not do it ({_first_line(text)}). Say this yourself:", err=True)
            for left in steps[number:]:
                click.echo(f"    systemctl --user {' '.join(left)}", err=True)
            return False
    return True


def _status(home: Home) -> None:
    file = unit_path(os.environ)
    installed = file.is_file()
    if installed:
        _, text = systemctl("is-active", UNIT)
        click.echo(f"The service is installed in {file}: {_first_line(text)}.")
    else:
        click.echo("The service is not installed: `twistedp2p service install` does that.")
    try:
        answer = ask_at(home.run_socket(), "/status", "GET", "`twistedp2p run`")
    except NotServed as error:
        click.echo(str(error))
        raise SystemExit(1) from None
    click.echo(f"`twistedp2p run` serves the folders of {home.path}:")
    for entry in answer.get("folders", ()):
        text = f" ({shown(entry['text'])})" if entry["text"] else ""
        click.echo(f"  {shown(entry['folder'])}: {entry['state']}{text}")


def _first_line(text: str) -> str:
    return shown((text.splitlines() or ["it says nothing"])[0]).rstrip(".")
