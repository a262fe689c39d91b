"""What a person may say about one peer."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from twistedp2p.home import Home
from twistedp2p.identity.invite import Invite, TrackerAddress

__all__ = ["PeerOptions"]


@frozen
class PeerOptions:
    """The choices for one peer; what is None or empty is remembered from before, or has a default.

    `folder` is shared. `invite` admits to a share; `new_share` begins one, on `tracker` if that is named.
    `portable`: a new share allows only names that Windows can store. `listen`: Twisted endpoint descriptions;
    `advertise`: HOST or HOST:PORT that others reach this machine by. `durable`: on disk before it counts.
    `invite_file`: the invite is written there (0600) as well. `trash_days`: how long displaced files are kept.
    `listen`, `advertise`, `name`, `durable` and `trash_days` are remembered for the folder; with `defaults` what was
    chosen before is forgotten.
    """

    folder: Path
    home: Home
    invite: Invite | None = None
    new_share: bool = False
    tracker: TrackerAddress | None = None
    portable: bool = False
    listen: tuple[str, ...] = ()
    advertise: str | None = None
    name: str | None = None
    durable: bool | None = None
    invite_file: Path | None = None
    defaults: bool = False
    trash_days: int | None = None
