"""``twistedp2p doctor``: checks what usually goes wrong, and says what to do about it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from attrs import asdict

from twistedp2p import __version__
from twistedp2p.cli.diagnosis import Finding, Level
from twistedp2p.cli.folders import is_member
from twistedp2p.cli.options import FOLDER, home_option
from twistedp2p.cli.words import count, shown
from twistedp2p.home import Home

__all__ = ["command", "examined_folder", "lines"]

_SIGNS = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "problem"}


@click.command("doctor")
@click.argument("folder", metavar="[DIR]", type=FOLDER, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object, at the end.")
@home_option
def command(folder: Path | None, as_json: bool, home: Home) -> None:
    """Check what usually goes wrong on this machine, and with the shared folder DIR.

    Without DIR it is the shared folder that you are in; outside of any, only the machine is checked. The exit
    status is 1 if there is a problem. Nothing is changed, and a running peer is not disturbed.
    """
    from twisted.internet.task import react  # only a command that needs the network waits for it

    from twistedp2p.cli.examining import Examination

    examined = examined_folder(folder, Path.cwd())

    def told(finding: Finding) -> None:
        if not as_json:
            click.echo("\n".join(lines(finding)))

    async def examine(reactor: Any) -> None:
        examination = Examination(reactor, home, examined, told)
        worst = await examination.run()
        if as_json:
            click.echo(json.dumps(_as_json(examined, examination.findings, worst), indent=2))
        else:
            click.echo(_summary(examination.findings))
        if worst is Level.PROBLEM:
            raise SystemExit(1)

    react(lambda reactor: _started(examine, reactor))


def _started(examine: Any, reactor: Any) -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(examine(reactor))


def examined_folder(named: Path | None, here: Path) -> Path | None:
    """Return the shared folder that `named`, or else `here`, is or is in; `named` itself if there is none."""
    real = Path(os.path.realpath(named if named is not None else here))
    inside = next((folder for folder in (real, *real.parents) if is_member(folder)), None)
    return inside or (None if named is None else real)


def lines(finding: Finding) -> list[str]:
    """Return a finding as a person reads it: what was checked, how it is, and below it what to do."""
    text = [f"{_SIGNS[finding.level]:8} {finding.check}: {shown(finding.text)}"]
    return text + ([f"{'':8} -> {shown(finding.advice)}"] if finding.advice else [])


def _summary(findings: list[Finding]) -> str:
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if not (problems or warnings):
        return f"All {len(findings)} checks are well."
    return f"{len(findings)} checks: {count(problems, 'problem')}, {count(warnings, 'warning')}."


def _as_json(folder: Path | None, findings: list[Finding], worst: Level) -> dict[str, Any]:
    return {
        "version": __version__,
        "api": 1,
        "folder": None if folder is None else str(folder),
        "worst": worst.value,
        "checks": [{**asdict(finding), "level": finding.level.value} for finding in findings],
    }
