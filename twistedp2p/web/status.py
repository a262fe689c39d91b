"""What ``GET /status`` of a running peer says, version 1, as values.

Fields that are missing have their defaults and unknown ones are skipped, so that a command and a peer of
different versions understand each other. Sizes are in bytes, rates in bytes a second, times in seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from attrs import frozen

from twistedp2p.errors import ProtocolViolation
from twistedp2p.limits import TRASH_DAYS

__all__ = [
    "Failed",
    "Missing",
    "Moving",
    "NotShared",
    "Peer",
    "Rates",
    "Reason",
    "Status",
    "Tracker",
    "Trash",
    "Waits",
    "Why",
    "parse_status",
    "parse_why",
]


@frozen
class Tracker:
    """The tracker that the peer uses: HOST:PORT, since when (seconds of the epoch) it is, or is not, connected, and
    what is wrong."""

    address: str = ""
    connected: bool = False
    since: float | None = None
    trouble: str = ""


@frozen
class Peer:
    """Another live member, and what came from it and went to it."""

    node: str
    name: str = ""
    addresses: tuple[str, ...] = ()
    connected: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    rate_in: float = 0.0
    rate_out: float = 0.0


@frozen
class Missing:
    """What is known of and not here yet; `first` names the first few."""

    files: int = 0
    bytes: int = 0
    first: tuple[str, ...] = ()


@frozen
class Moving:
    """A content under way to this peer."""

    path: str
    size: int = 0
    done: int = 0
    rate: float = 0.0


@frozen
class Rates:
    """Content that comes in and goes out, with all peers together: `in` and `out` in the JSON."""

    inward: float = 0.0
    outward: float = 0.0


@frozen
class NotShared:
    """Something in the folder that stays on this machine, and why."""

    path: str
    reason: str = ""


@frozen
class Failed:
    """Something that went wrong and is tried again; `path` is empty if it concerns no single file."""

    path: str = ""
    text: str = ""
    code: str = ""


@frozen
class Waits:
    """A path that is not in sync, and why: a stable code and a sentence."""

    path: str
    code: str = ""
    text: str = ""


@frozen
class Reason:
    """How many files are not in sync for one reason, which `text` says of all of them."""

    code: str
    files: int = 0
    text: str = ""


@frozen
class Why:
    """The answer of ``GET /why``: why one path is not in sync; of a folder, also what in it is not."""

    path: str
    code: str = ""
    text: str = ""
    waiting: tuple[Waits, ...] = ()
    reasons: tuple[Reason, ...] = ()


@frozen
class Trash:
    """What is in the trash; each file is kept for `days`. The oldest came at `since` and goes at `until`, if it can."""

    files: int = 0
    bytes: int = 0
    days: int = TRASH_DAYS
    since: float | None = None
    until: float | None = None


@frozen
class Status:
    """All that a running peer tells of itself."""

    folder: str
    version: str = ""
    api: int = 1
    share: str = ""
    node: str = ""
    name: str = ""
    replica: str = ""
    state: Literal["starting", "waiting-for-tracker", "scanning", "syncing", "in-sync", "paused"] | str = "starting"
    in_sync: bool = False
    paused_since: float | None = None
    tracker: Tracker = Tracker()
    peers: tuple[Peer, ...] = ()
    files: int = 0
    folders: int = 0
    bytes: int = 0
    missing: Missing = Missing()
    moving: tuple[Moving, ...] = ()
    rates: Rates = Rates()
    not_shared: tuple[NotShared, ...] = ()
    ignored: int = 0
    errors: tuple[Failed, ...] = ()
    trash: Trash = Trash()
    waiting: tuple[Waits, ...] = ()
    reasons: tuple[Reason, ...] = ()


def parse_status(data: object) -> Status:
    """Return the status that the decoded JSON `data` is; raises `ProtocolViolation`."""
    if isinstance(data, dict) and isinstance(rates := data.get("rates"), dict):
        data = {**data, "rates": {"inward": rates.get("in", 0.0), "outward": rates.get("out", 0.0)}}
    try:
        return msgspec.convert(data, Status)
    except msgspec.ValidationError as error:
        raise ProtocolViolation(f"The peer's status can not be read ({error}): is it of another version?") from error


def parse_why(data: object) -> Why:
    """Return the answer of ``GET /why`` that the decoded JSON `data` is; raises `ProtocolViolation`."""
    try:
        return msgspec.convert(data, Why)
    except msgspec.ValidationError as error:
        raise ProtocolViolation(f"The peer's answer can not be read ({error}): is it of another version?") from error
