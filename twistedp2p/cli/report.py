"""The status of a peer as a person reads it: a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twistedp2p.cli.progress import details, state_text
from twistedp2p.cli.words import count, day, duration, rate, shown, size
from twistedp2p.web.status import Peer, Reason, Status, Trash, Waits

__all__ = ["reasons", "report"]

_MOST = 20
"""Lines of one list; the rest is counted. --json has them all."""


def report(status: Status) -> list[str]:
    """Return the lines of `twistedp2p status`: what is true first, then what is under way, then what is wrong."""
    lines = [f"{shown(status.folder)}: {state_text(status)}", f"  {details(status)}", f"  {_who(status)}"]
    lines += [f"  tracker {_tracker(status)}"]
    lines += _list(count(len(status.peers), "other peer"), [_peer(peer) for peer in status.peers])
    if status.missing.files:
        lines.append(f"  missing: {count(status.missing.files, 'file')}, {size(status.missing.bytes)}")
    lines += reasons(status.reasons, status.waiting)
    lines += _list("arriving", list(_moving(status)))
    left_out = [f"{shown(item.path)} ({shown(item.reason)})" for item in status.not_shared]
    lines += _list(f"not shared: {len(left_out):,}", left_out)
    if status.ignored:
        lines.append(f"  ignored: {count(status.ignored, 'file or folder', 'files and folders')}")
    problems = [": ".join(shown(word) for word in (item.path, item.text) if word) for item in status.errors]
    lines += _list(count(len(problems), "problem"), problems)
    if status.trash.files:
        lines.append(f"  trash: {_trash(status.trash)}")
    return lines


def reasons(found: Sequence[Reason], waiting: Sequence[Waits]) -> list[str]:
    """Return what is not in sync: how much for each reason, then the first paths with theirs."""
    if not found:
        return []
    lines = [f"{count(reason.files, 'path')}: {shown(reason.text)}" for reason in found]
    paths: list[str] = []
    for before, item in zip([None, *waiting], waiting, strict=False):
        same = before is not None and before.text == item.text
        paths.append(f"{shown(item.path)}: {'the same' if same else shown(item.text)}")
    return _list("not in sync", lines) + _list("the first of them", paths, sum(reason.files for reason in found))


def _who(status: Status) -> str:
    name = f"{shown(status.name)}, " if status.name else ""
    return f"this peer is {name}node {shown(status.node)[:8]}, in share {shown(status.share)[:8]}"


def _tracker(status: Status) -> str:
    tracker = status.tracker
    if not tracker.address:
        return "not known yet"
    if tracker.connected:
        return f"{shown(tracker.address)}: connected"
    return f"{shown(tracker.address)}: not reached{f' ({shown(tracker.trouble)})' if tracker.trouble else ''}"


def _peer(peer: Peer) -> str:
    name = shown(peer.name) or shown(peer.node)[:8]
    where = ", ".join(shown(address) for address in peer.addresses)
    moved = f"in {size(peer.bytes_in)}, out {size(peer.bytes_out)}"
    if peer.rate_in >= 1 or peer.rate_out >= 1:
        moved += f"; now in {rate(peer.rate_in)}, out {rate(peer.rate_out)}"
    return f"{name} at {where or 'no address'}: {moved}{'' if peer.connected else ' (no connection now)'}"


def _moving(status: Status) -> Iterator[str]:
    for item in status.moving:
        text = f"{shown(item.path)}: {f'{size(item.done)} of ' if item.done else ''}{size(item.size)}"
        if item.rate >= 1:
            text += f", {rate(item.rate)}, {duration(max(0, item.size - item.done) / item.rate)} to go"
        yield text


def _trash(trash: Trash) -> str:
    text = f"{count(trash.files, 'file')}, {size(trash.bytes)}; kept for {count(trash.days, 'day')}"
    if trash.since is not None and trash.until is not None:
        text += f", the oldest from {day(trash.since)} to {day(trash.until)}"
    return text


def _list(title: str, items: list[str], total: int | None = None) -> list[str]:
    """Return the lines of a list; nothing if it is empty. `total` counts also what `items` leaves out."""
    total = len(items) if total is None else total
    if not total:
        return []
    more = total - len(items[:_MOST])
    return [f"  {title}", *(f"    {item}" for item in items[:_MOST]), *([f"    and {more:,} more"] if more > 0 else [])]
