"""Gathering what `twistedp2p doctor` judges: each check by itself, at the same time as the others, with a deadline.

What may block, a disk that does not answer or a name server that is away, runs in a thread that nobody waits for.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.python.failure import Failure

from twistedp2p.cli import diagnosis
from twistedp2p.cli.diagnosis import Finding, Level
from twistedp2p.cli.doctor_network import Neighbourhood
from twistedp2p.cli.talk import ask
from twistedp2p.cli.words import count
from twistedp2p.disk.machine import mounted_at, open_files, watches
from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import NotServed, TwistedP2PError
from twistedp2p.home import Home
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import Invite
from twistedp2p.limits import CHECK_SECONDS
from twistedp2p.peer.folder.mark import MARK, PARTS
from twistedp2p.peer.index_outside import look_at
from twistedp2p.peer.settings import Settings

__all__ = ["Examination", "in_thread"]

T = TypeVar("T")

_MOST_FOLDERS = 2_000_000
_LEAST = {"Python": "3.10", "Twisted": "26.10", "SQLite": "3.31", "OpenSSL": "1.1.1"}


def in_thread(reactor: Any, call: Callable[[], T], seconds: float = CHECK_SECONDS) -> Deferred[T]:
    """Return what `call` returns or raises; `TimeoutError` after so many seconds. Nothing waits for its end."""
    result: Deferred[T] = Deferred()

    def done(value: Any) -> None:
        if not result.called:
            result.callback(value)

    def work() -> None:
        try:
            value: Any = call()
        except BaseException:
            value = Failure()
        reactor.callFromThread(done, value)

    Thread(target=work, daemon=True).start()
    return result.addTimeout(seconds, reactor)


class Examination:
    """One run of all checks.

    Args:
        reactor: for the network and the deadlines.
        home: the person's state folder.
        folder: the shared folder, or the one that may become one; None: only the machine.
        told: is called with each finding when it is known.
        wall: seconds since 1970.
        entropy: random bytes.
    """

    def __init__(
        self,
        reactor: Any,
        home: Home,
        folder: Path | None,
        told: Callable[[Finding], object],
        *,
        wall: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._reactor = reactor
        self._home = home
        self._folder = None if folder is None else Path(os.path.realpath(folder))
        self._told = told
        self._wall = wall
        self._entropy = entropy
        self.findings: list[Finding] = []

    async def run(self) -> Level:
        """Run all checks that make sense; return the worst level."""
        await self._all(
            *(self._blocking(name, check) for name, check in self._machine_checks()),
            *(() if self._folder is None else (self._of_folder(self._folder),)),
        )
        return diagnosis.worst(self.findings)

    async def _all(self, *checks: Coroutine[Deferred[Any], Any, None]) -> None:
        waiting = [Deferred.fromCoroutine(check) for check in checks]
        results: list[tuple[bool, Any]] = await DeferredList(waiting, consumeErrors=True)
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()

    def _say(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self.findings.append(finding)
            self._told(finding)

    async def _blocking(self, name: str, check: Callable[[], Sequence[Finding]]) -> None:
        """Run one check in a thread; it may find that what it asks does not answer."""
        self._say(await self._answer(name, check) or ())

    async def _answer(self, name: str, check: Callable[[], T]) -> T | None:
        """Return what a blocking check returns; None, and say so, if it fails or does not end in time."""
        try:
            return await in_thread(self._reactor, check)
        except (TimeoutError, CancelledError):
            text = f"This did not answer within {CHECK_SECONDS:.0f} s."
            self._say([Finding(name, Level.PROBLEM, text, "A disk or a server that it needs may be away.")])
        except OSError as error:
            self._say([Finding(name, Level.PROBLEM, f"This can not be looked at ({error.strerror or error}).")])
        except TwistedP2PError as error:
            self._say([Finding(name, Level.PROBLEM, str(error))])
        return None

    # -- the machine ----------------------------------------------------------

    def _machine_checks(self) -> list[tuple[str, Callable[[], Sequence[Finding]]]]:
        return [
            ("python", self._versions),
            ("libraries", lambda: [diagnosis.judge_libraries(_needed())]),
            ("home", self._home_folder),
            ("open-files", lambda: [diagnosis.judge_open_files(*open_files())]),
            ("clock", lambda: [diagnosis.judge_clock(self._wall())]),
            *((("watches", lambda: [diagnosis.judge_watches(watches())]),) if self._folder is None else ()),
        ]

    @staticmethod
    def _versions() -> list[Finding]:
        openssl = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace").split()
        found = {
            "Python": ".".join(map(str, sys.version_info[:3])),
            "Twisted": metadata.version("twisted"),
            "SQLite": sqlite3.sqlite_version,
            "OpenSSL": openssl[1] if len(openssl) > 1 else "",
        }
        return [diagnosis.judge_version(name.lower(), name, found[name], least) for name, least in _LEAST.items()]

    def _home_folder(self) -> list[Finding]:
        path = self._home.path
        try:
            found = path.stat()
        except FileNotFoundError:
            above = next((folder for folder in path.parents if folder.exists()), path.parent)
            writable = os.access(above, os.W_OK | os.X_OK)
            return [diagnosis.judge_private("home", str(path), 0o700, True, writable)]
        return [_private("home", path, found)]

    # -- the folder -------------------------------------------------------------

    async def _of_folder(self, folder: Path) -> None:
        state = folder / ".twistedp2p"
        there = await self._answer("folder", lambda: _there(self._home, folder))
        if there is None:
            return
        self._say(there)
        if not (state / "mark").is_file():
            if not any(finding.level is Level.PROBLEM for finding in there):
                await self._all(self._blocking("space", lambda: _disk(folder)), self._watches(folder, False))
            return
        status = await self._answer("peer", lambda: _status(self._home, folder))
        if status is None:
            return
        self._say(_of_peer(folder, status))
        await self._all(
            self._blocking("permissions", lambda: _permissions(folder)),
            self._blocking("space", lambda: _disk(folder)),
            self._blocking("abilities", lambda: _abilities(folder)),
            self._blocking("index", lambda: _index(state)),
            self._watches(folder, bool(status)),
            self._network(folder, status),
        )

    async def _watches(self, folder: Path, running: bool) -> None:
        """Judge the watches; those of a running peer are among the ones in use."""

        def check() -> list[Finding]:
            return [diagnosis.judge_watches(watches(), 0 if running else _folders_in(folder))]

        await self._blocking("watches", check)

    async def _network(self, folder: Path, status: dict[str, Any]) -> None:
        invite = await self._answer("invite", lambda: _invite(folder))
        if invite is None:
            return
        self._say([Finding("invite", Level.OK, f"it is whole, and names {count(len(invite.trackers), 'tracker')}")])
        neighbourhood = Neighbourhood(
            self._reactor,
            DeviceKey.generate(self._entropy),
            invite,
            status,
            own_tracker=Settings(folder / ".twistedp2p").get("tracker_port") is not None,
            in_thread=lambda call: in_thread(self._reactor, call),
            wall=self._wall,
            entropy=self._entropy,
        )
        await self._all(*(self._several(check) for check in neighbourhood.checks()))

    async def _several(self, check: Awaitable[Sequence[Finding]]) -> None:
        self._say(await check)


# -- facts of this machine ------------------------------------------------------


def _needed() -> list[tuple[str, str, str | None]]:
    """Return the libraries that an installed twistedp2p asks for; none if it runs from its source."""
    found: list[tuple[str, str, str | None]] = []
    try:
        required = metadata.requires("twistedp2p") or []
    except metadata.PackageNotFoundError:
        return found
    for line in required:
        match = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)", line)
        if match is None or "extra ==" in line:
            continue
        try:
            found.append((match[1], match[2], metadata.version(match[1])))
        except metadata.PackageNotFoundError:
            found.append((match[1], match[2], None))
    return found


def _private(check: str, path: Path, found: os.stat_result) -> Finding:
    mine = found.st_uid == os.geteuid()
    writable = os.access(path, os.W_OK | (os.X_OK if stat.S_ISDIR(found.st_mode) else 0))
    return diagnosis.judge_private(check, str(path), stat.S_IMODE(found.st_mode), mine, writable)


# -- facts of a folder ------------------------------------------------------------


def _there(home: Home, folder: Path) -> list[Finding]:
    """Say whether the folder is there, with its mark."""
    if not folder.is_dir():
        return [Finding("folder", Level.PROBLEM, f"{folder} is not there.", "Is its disk not mounted?")]
    found = [Finding("folder", Level.OK, f"{folder} is there")]
    mark = folder.joinpath(*map(os.fsdecode, MARK))
    if mark.is_file():
        return [*found, Finding("mark", Level.OK, "the folder has its mark")]
    member = home.member(folder)
    if (member is not None and member.share_id is not None) or (folder / ".twistedp2p" / "invite").exists():
        return [
            *found,
            Finding(
                "mark",
                Level.PROBLEM,
                f"{folder} is a member of a share, but {mark.relative_to(folder)} is not in it.",
                "Mount its disk. If the mark itself was removed, join the share again in another folder.",
            ),
        ]
    advice = "Make it one with `twistedp2p share` or `join`."
    return [*found, Finding("mark", Level.WARNING, "This is no shared folder yet.", advice)]


def _status(home: Home, folder: Path) -> dict[str, Any]:
    """Return what the running peer says; empty if none runs."""
    try:
        return ask(home, folder, "/status", seconds=CHECK_SECONDS - 1)
    except NotServed as error:
        if "does not answer" in str(error):
            raise
        return {}


def _of_peer(folder: Path, status: dict[str, Any]) -> list[Finding]:
    if not status:
        return [
            Finding(
                "peer",
                Level.WARNING,
                "No peer runs for this folder, so nothing is synchronised now.",
                f"Start it: twistedp2p share {folder}",
            )
        ]
    state = str(status.get("state", "running"))
    found = [Finding("peer", Level.OK, f"a peer runs for this folder: {state.replace('-', ' ')}")]
    if state == "paused":
        found = [Finding("peer", Level.WARNING, "The folder is paused.", f"Go on: twistedp2p resume {folder}")]
    for error in list(status.get("errors") or [])[:5]:
        where = f"{error.get('path')}: " if error.get("path") else ""
        found.append(Finding("peer", Level.WARNING, f"{where}{error.get('text', '')}"))
    return found


def _permissions(folder: Path) -> list[Finding]:
    state = folder / ".twistedp2p"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return [
            Finding(
                "permissions",
                Level.PROBLEM,
                f"{folder} can not be written to by this user: nothing that others save can be stored.",
                f"chmod u+rwx {folder}",
            )
        ]
    found = [_private("permissions", state, state.stat())]
    for name in ("key.pem", "invite"):
        if (file := state / name).exists():
            found.append(_private("permissions", file, file.stat()))
    bad = [finding for finding in found if finding.level is not Level.OK]
    return bad or [Finding("permissions", Level.OK, "the folder can be written to, and its secrets are yours alone")]


def _disk(folder: Path) -> list[Finding]:
    disk = RealDisk(os.fsencode(folder))
    try:
        found = [diagnosis.judge_space(disk.space())]
    finally:
        disk.close()
    told = os.statvfs(folder)
    few = diagnosis.judge_free_files(told.f_favail, told.f_files)
    found += [] if few is None else [few]
    return [*found, diagnosis.judge_mounted(mounted_at(folder), bool(told.f_flag & os.ST_RDONLY))]


def _abilities(folder: Path) -> list[Finding]:
    parts = folder.joinpath(*map(os.fsdecode, PARTS))
    if not os.access(parts, os.W_OK | os.X_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        return []  # said by others; a folder without parts gets it at the next start
    disk = RealDisk(os.fsencode(folder))
    try:
        return diagnosis.judge_abilities(disk.probe(PARTS))
    finally:
        disk.close()


def _index(state: Path) -> list[Finding]:
    try:
        return [diagnosis.judge_index(look_at(str(state / "index.sqlite")))]
    except FileNotFoundError:
        return [Finding("index", Level.OK, "there is none yet: the next start reads the folder and begins one")]


def _invite(folder: Path) -> Invite:
    return Invite.parse((folder / ".twistedp2p" / "invite").read_text("utf-8", errors="replace"))


def _folders_in(folder: Path) -> int:
    """Return how many folders a peer would watch; what can not be read is not counted."""
    number = 0
    for base, folders, _ in os.walk(folder):
        number += 1
        if Path(base) == folder and ".twistedp2p" in folders:
            folders.remove(".twistedp2p")
        if number >= _MOST_FOLDERS:
            break
    return number
