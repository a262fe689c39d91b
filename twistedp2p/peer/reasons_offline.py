"""Why a path stays local, as far as it can be told without a running peer: from the disk alone. Blocks."""

from __future__ import annotations

import os
from pathlib import Path

from twistedp2p.disk.real import RealDisk
from twistedp2p.errors import BadInvite, BadPath
from twistedp2p.identity.invite import Invite
from twistedp2p.paths import NameRules
from twistedp2p.peer.ignoring import list_in
from twistedp2p.peer.reasons_disk import examine, path_of
from twistedp2p.peer.troubles import Code, Trouble

__all__ = ["without_peer"]


def without_peer(folder: Path, inside: str) -> Trouble | None:
    """Return what keeps the path `inside` the shared `folder` local or unreadable; None if nothing on this disk does.

    Raises `FolderUnusable` if there is no folder.
    """
    name = tuple(os.fsencode(part) for part in inside.split("/"))
    try:
        path = path_of(name, _rules(folder))
    except BadPath as error:
        return Trouble(Code.NAME_NOT_SHARED, str(error))
    ignores = list_in(folder)
    disk = RealDisk(os.fsencode(folder))
    try:
        return examine(disk, name, path, ignores.of).trouble
    finally:
        disk.close()


def _rules(folder: Path) -> NameRules:
    try:
        invite = Invite.parse((folder / ".twistedp2p/invite").read_text("utf-8", errors="replace"))
    except (OSError, BadInvite):
        return NameRules.POSIX
    return NameRules.PORTABLE if invite.portable else NameRules.POSIX
