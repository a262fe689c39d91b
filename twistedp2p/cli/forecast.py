"""What joining a share would do, as a person reads it and as JSON: pure functions of a forecast."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from twistedp2p.cli.words import count, shown, size
from twistedp2p.disk.seam import Space
from twistedp2p.limits import FREE_SPACE_BYTES
from twistedp2p.peer.rehearsal import Forecast, Group, Line

__all__ = ["as_json", "lines_of"]


def lines_of(
    folder: str, members: int, forecast: Forecast, hidden: list[tuple[str, str]], space: Space, most: int | None
) -> list[str]:
    """Return the lines; lists name up to `most` paths (None: all)."""
    lines = [
        f"What joining with {shown(folder)} would do; nothing was changed.",
        f"  members of the share that run now: {members}",
    ]
    lines += _group("adopt", "the same here and there, stays as it is", forecast.adopt)
    lines += _group("send", "only here, the others get it", forecast.send)
    lines += _group("fetch", "only there, comes here", forecast.fetch)
    lines += _group("copy", "differs, both are kept", forecast.copy)
    lines.append(f"  not shared: {len(hidden):,}")
    lines += [f"    {shown(name)} ({shown(reason)})" for name, reason in hidden[:most]]
    lines += _more(len(hidden), len(hidden[:most]))
    lines.append(f"  {size(forecast.fetch_bytes)} come over the network; {_room(forecast, space)}")
    if forecast.modes:
        lines.append(f"  {count(forecast.modes, 'file')} get another executable bit")
    if forecast.unusable:
        lines.append(f"  {count(forecast.unusable, 'record')} of the share can not be used here: update twistedp2p")
    if forecast.displaced:
        lines.append(f"  {count(forecast.displaced, 'file')} would be in .twistedp2p/trash only")
    else:
        lines.append("  nothing would be deleted")
    return lines


def _group(word: str, meaning: str, group: Group) -> list[str]:
    what = count(group.files, "file")
    if group.folders:
        what += f" and {count(group.folders, 'folder')}"
    lines = [f"  {word}: {what}, {size(group.bytes)} ({meaning})"]
    lines += [f"    {_line(line)}" for line in group.lines]
    return lines + _more(group.files + group.folders, len(group.lines))


def _line(line: Line) -> str:
    text = f"{shown(line.path)}/" if line.folder else f"{shown(line.path)}  {size(line.size)}"
    if line.copy:
        whose = "yours" if line.yours else "theirs"
        text += f": {whose} becomes {shown(line.copy.rpartition('/')[2])}"
    return text


def _more(total: int, named: int) -> list[str]:
    return [f"    and {total - named:,} more; --list names them all"] if total > named else []


def _room(forecast: Forecast, space: Space) -> str:
    text = f"the folder grows by {size(forecast.more_bytes)}, and {size(space.free)} are free"
    if forecast.more_bytes > _usable(space):
        text += ": that is not enough. Free some space first; fetching stops before the disk is full"
    return text


def _usable(space: Space) -> int:
    """Return how many bytes fetching may take: some room is left free."""
    return max(0, space.free - min(FREE_SPACE_BYTES, space.total // 100))


def as_json(
    folder: str, members: int, forecast: Forecast, hidden: list[tuple[str, str]], space: Space
) -> dict[str, Any]:
    """Return the same, of values that JSON has."""
    groups = {name: getattr(forecast, name) for name in ("adopt", "send", "fetch", "copy")}
    return {
        "folder": folder,
        "members": members,
        **{
            name: {
                "files": group.files,
                "folders": group.folders,
                "bytes": group.bytes,
                "first": [asdict(line) for line in group.lines],
            }
            for name, group in groups.items()
        },
        "not_shared": [{"path": name, "reason": reason} for name, reason in hidden],
        "fetch_bytes": forecast.fetch_bytes,
        "space": {"needed": forecast.more_bytes, "free": space.free, "enough": forecast.more_bytes <= _usable(space)},
        "executable_bits": forecast.modes,
        "deleted": forecast.displaced,
        "unusable_records": forecast.unusable,
    }
