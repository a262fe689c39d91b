"""What is kept for one folder between starts: ports, what a person chose, whether it is paused. Blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from twistedp2p.errors import FolderUnusable
from twistedp2p.home import write_private
from twistedp2p.peer.options import PeerOptions

__all__ = ["PAUSED", "TRACKER_PORT_KEPT", "Settings", "chosen", "recalled"]

PAUSED = "paused_since"
"""The setting of a folder that is paused: since when, seconds since 1970."""
TRACKER_PORT_KEPT = "tracker_port"
"""The setting of a folder that has its own tracker."""
_CHOSEN = "chosen"
_KINDS: Mapping[str, type] = {"listen": tuple, "advertise": str, "name": str, "durable": bool, "trash_days": int}
"""The options that are remembered, with what each is made of."""


class Settings:
    """The settings in the state folder `state` of a shared folder; a damaged file counts as an empty one."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def get(self, name: str) -> Any:
        """Return a setting, None if there is none."""
        return self._read().get(name)

    def keep(self, name: str, value: object) -> None:
        """Keep a setting, durably. Raises `FolderUnusable`."""
        settings = self._read()
        if settings.get(name) != value:
            settings[name] = value
            try:
                write_private(self._state / "settings.json", json.dumps(settings).encode())
            except OSError as error:
                raise FolderUnusable(f"A setting can not be kept in {self._state}: {error.strerror}.") from error

    def paused_since(self) -> float | None:
        """Return since when the folder is paused, seconds since 1970; None if it is not."""
        since = self.get(PAUSED)
        return float(since) if isinstance(since, (int, float)) else None

    def recall(self, options: PeerOptions) -> PeerOptions:
        """Return `options`, with what was chosen before where they say nothing."""
        return recalled(options, self.get(_CHOSEN))

    def remember(self, options: PeerOptions) -> None:
        """Keep what these options say, for a start that says nothing. Raises `FolderUnusable`."""
        self.keep(_CHOSEN, chosen(options) or None)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads((self._state / "settings.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def recalled(options: PeerOptions, kept: object) -> PeerOptions:
    """Return `options`, with what is in `kept` (see `chosen`) where they say nothing; what is malformed is skipped."""
    if options.defaults or not isinstance(kept, dict):
        return options
    changes: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        value = kept.get(name)
        if kind is tuple and isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = tuple(value)
        if isinstance(value, kind) and getattr(options, name) in (None, ()):
            changes[name] = value
    return evolve(options, **changes)


def chosen(options: PeerOptions) -> dict[str, Any]:
    """Return what a person chose of what is remembered, of values that JSON has."""
    found = {name: getattr(options, name) for name in _KINDS}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in found.items()
        if value not in (None, ())
    }
