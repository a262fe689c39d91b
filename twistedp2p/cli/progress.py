"""What is going on in a peer, in one line: pure functions of its status."""

from __future__ import annotations

from twistedp2p.cli.words import count, duration, moment, rate, shown, size
from twistedp2p.web.status import Status

__all__ = ["details", "line", "news", "state_text"]

_STATES = {
    "starting": "starting",
    "waiting-for-tracker": "no tracker yet",
    "scanning": "reading the folder",
    "syncing": "syncing",
    "in-sync": "in sync",
    "paused": "paused",
}


def state_text(status: Status) -> str:
    """Return the state of the peer in words."""
    if status.state == "paused" and status.paused_since is not None:
        return f"paused since {moment(status.paused_since)}"
    return _STATES.get(status.state, shown(status.state))


def line(status: Status) -> str:
    """Return the line of progress: the state, and the `details`."""
    return f"{state_text(status)} | {details(status)}"


def details(status: Status) -> str:
    """Return files, bytes, speed, peers, time to go: what matters most comes first."""
    parts = [_files(status)]
    if status.missing.bytes:
        parts.append(f"{size(status.bytes - status.missing.bytes)} of {size(status.bytes)}")
    elif status.bytes:
        parts.append(size(status.bytes))
    parts += _speeds(status)
    parts.append(_peers(status))
    if status.missing.bytes and status.rates.inward >= 1:
        parts.append(f"{duration(status.missing.bytes / status.rates.inward)} to go")
    if status.errors:
        parts.append(count(len(status.errors), "problem"))
    return " | ".join(parts)


def news(before: Status | None, now: Status) -> str | None:
    """Return a line for the log if the state, the tracker, the peers or the problems changed, or files came or went.

    Else None. The line says where things stand; `before` is the status that was last spoken of, None at the start.
    """
    if before is not None and _remarkable(before) == _remarkable(now):
        return None
    problem = ""
    if now.errors and (before is None or not {*_kinds(now)[:1]} <= {*_kinds(before)}):
        first = now.errors[0]
        problem = f": {shown(first.path)}: {shown(first.text)}" if first.path else f": {shown(first.text)}"
    return line(now) + problem


def _remarkable(status: Status) -> tuple[object, ...]:
    # Connections come and go with what there is to move; who is alive is what matters.
    alive = frozenset(peer.node for peer in status.peers)
    files = status.files if status.in_sync else None
    return status.state, status.tracker.connected, alive, _kinds(status), files


def _kinds(status: Status) -> tuple[tuple[str, str], ...]:
    """Return what is wrong where; a sentence may have numbers in it that change all the time."""
    return tuple((error.path, error.code or error.text) for error in status.errors)


def _files(status: Status) -> str:
    if not status.missing.files:
        return count(status.files, "file")
    return f"{status.files - status.missing.files:,} of {count(status.files, 'file')}"


def _speeds(status: Status) -> list[str]:
    speeds = []
    if status.rates.inward >= 1:
        speeds.append(f"in {rate(status.rates.inward)}")
    if status.rates.outward >= 1:
        speeds.append(f"out {rate(status.rates.outward)}")
    return speeds


def _peers(status: Status) -> str:
    # A peer that is listed is alive; a connection is made only when there is something to move.
    return count(len(status.peers), "other peer") if status.peers else "nobody else here"
