"""Why a path is not in sync: rules on facts that others gathered, in one order. Pure.

The first rule that applies is the reason: what rests the whole peer, then what keeps the path local for good, then
what this disk has that was not taken in, then what the share has that is not here, then what others were not told.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from attrs import frozen

from twistedp2p.peer.troubles import Code, Trouble

__all__ = [
    "SUMMARIES",
    "Facts",
    "Fetched",
    "Holder",
    "Peerwide",
    "Phase",
    "Way",
    "of_phase",
    "of_want",
    "reason",
    "unheard",
    "untold",
]

SUMMARIES = {
    Code.IN_SYNC: "in sync",
    Code.UNKNOWN_PATH: "there is nothing of that name",
    Code.PAUSED: "this folder is paused",
    Code.FOLDER_UNUSABLE: "the shared folder can not be used",
    Code.NAME_NOT_SHARED: "their names can not be used",
    Code.KIND_NOT_SHARED: "they are neither files nor folders",
    Code.OTHER_DISK: "they are on another disk",
    Code.IGNORED: "they are ignored",
    Code.TOO_LARGE: "they are too large",
    Code.UNREADABLE: "they can not be read here",
    Code.NOT_READ_YET: "they were not read yet",
    Code.CHANGING: "a program is writing to them",
    Code.WAITING_QUIET: "they changed a moment ago",
    Code.SECOND_LOOK: "they vanished a moment ago",
    Code.NO_TRACKER: "there is no tracker",
    Code.NOT_CAUGHT_UP: "what the others have was not heard in full yet",
    Code.NOT_ANNOUNCED: "the others are being told",
    Code.FETCHING: "they are arriving",
    Code.QUEUED: "they wait for their turn",
    Code.NO_HOLDER: "no living member has them",
    Code.UNREACHABLE: "those who have them can not be reached",
    Code.HOLDER_INCOMPATIBLE: "those who have them speak another version",
    Code.NO_SPACE: "there is no room on the disk",
    Code.NO_PERMISSION: "there is no permission to write them",
    Code.READ_ONLY: "the disk is read-only",
    Code.OBSTRUCTED: "something is in their place",
    Code.PROGRAM_WRITING: "a program still writes to what they replace",
    Code.TOO_MANY_FILES: "too many files are open",
    Code.TOO_MANY_WATCHES: "they can not be watched",
    Code.DISK_FAILING: "the disk fails",
    Code.CLOCK: "a clock is wrong",
    Code.ERROR: "something failed",
}
"""Each code for many files at once, as `status` tells it: "3 files: ..."."""


class Phase(Enum):
    """Where the observer is with a path that changed on this disk."""

    QUIET = "it is waited for until nobody writes to it"
    CHANGING = "it changed while it was read"
    MISSING = "it is looked at once more before it counts as deleted"
    DUE = "it is about to be looked at"
    SEEN = "it was read, and waits to become a version"


class Way(Enum):
    """How another member can be had."""

    LINKED = "there is a connection"
    OPEN = "it may be dialled"
    CLOSED = "it can not be reached"
    OTHER_VERSION = "it speaks no version that this peer speaks"


@frozen
class Holder:
    """A living member that has a content, by the name that people know; `why` it can not be had, if it can not."""

    name: str
    way: Way
    why: str = ""


@frozen
class Fetched:
    """A content that is wanted: its size and what of it is here, bytes; who has it, who had it; who sends it now."""

    size: int
    done: int
    holders: tuple[Holder, ...] = ()
    asked: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    others: int = 0
    """Other living members that this peer can reach."""
    losing: bool = False
    """It is wanted for a conflict copy."""


@frozen
class Peerwide:
    """What is true of the whole peer."""

    paused: bool = False
    trouble: Trouble | None = None
    """Why the folder can not be used."""
    connected: bool = True
    caught: bool = True
    """Whether the others were heard in full since the start."""
    acting: bool = True
    """Whether what is known may be carried out now."""
    tracker_trouble: str = ""
    stuck: Trouble | None = None
    """What keeps the steps of the loop from being taken: a full disk under the index, say."""


@frozen
class Facts:
    """What is known of one path."""

    peer: Peerwide = Peerwide()
    local: Trouble | None = None
    """What this disk has at the path, or above it, that keeps it from being shared or read."""
    there: bool = False
    """Whether something lies on this disk at the path."""
    changed: bool = False
    """Whether this disk has something else there than when it was last taken in."""
    phase: Phase | None = None
    known: bool = False
    """Whether the share knows the path, living or deleted."""
    deleted: bool = False
    """Whether it is deleted in the share."""
    settled: bool = True
    """Whether this disk has what the share has, and no version waits to be copied."""
    error: Trouble | None = None
    """What went wrong when something was to be done about it."""
    fetched: tuple[Fetched, ...] = ()
    announced: bool = True


_STAYS = frozenset({Code.IGNORED, Code.KIND_NOT_SHARED, Code.OTHER_DISK, Code.TOO_LARGE, Code.NAME_NOT_SHARED})

_PAUSED = Trouble(Code.PAUSED, "This folder is paused: `twistedp2p resume` lets it go on.")


def reason(facts: Facts) -> Trouble:
    """Return the reason why a path is not in sync, or that it is."""
    return next(_reasons(facts))


def _reasons(facts: Facts) -> Iterator[Trouble]:
    """Yield what is true of a path, the reason first."""
    peer, error = facts.peer, facts.error
    if peer.paused:
        yield _PAUSED
    if peer.trouble is not None:
        yield peer.trouble
    if error is not None and error.code is Code.OBSTRUCTED:
        yield error
    if facts.local is not None and facts.local.code in _STAYS:
        yield facts.local
    if not facts.there and not facts.known and not facts.changed:
        yield from _nothing(peer)
    if facts.changed:
        yield from _not_taken(facts)
    if facts.known and not facts.settled:
        yield from _not_here(facts)
    if error is not None:
        yield error
    if not facts.announced:
        yield untold(peer)
    if facts.deleted:
        yield Trouble(Code.IN_SYNC, "It is in sync: it was deleted, and the others know.")
    yield Trouble(Code.IN_SYNC, "It is in sync: this disk has what the share has, and the others know.")


def _nothing(peer: Peerwide) -> Iterator[Trouble]:
    text = "There is nothing of that name, neither in this folder nor in the share."
    if not peer.caught:
        text += " But the others were not heard in full yet."
    yield Trouble(Code.UNKNOWN_PATH, text)


_PHASES = {
    Phase.CHANGING: Trouble(
        Code.CHANGING, "A program is writing to it: it is read when it has not changed for a while."
    ),
    Phase.QUIET: Trouble(Code.WAITING_QUIET, "It changed a moment ago: it is read when nobody writes to it any more."),
    Phase.MISSING: Trouble(
        Code.SECOND_LOOK, "It vanished a moment ago: it is looked for once more before it counts as deleted."
    ),
}


def of_phase(phase: Phase, peer: Peerwide) -> Trouble:
    """Return why a path that changed on this disk is no version yet, by where the observer is with it alone."""
    return next(_not_taken(Facts(peer, phase=phase)))


def _not_taken(facts: Facts) -> Iterator[Trouble]:
    """Yield why what this disk has is not a version yet."""
    if facts.phase in _PHASES:
        yield _PHASES[facts.phase]
    if facts.local is not None:
        yield facts.local
    if facts.phase is Phase.SEEN and not facts.peer.caught:
        yield unheard(facts.peer)
    if facts.error is not None:
        yield facts.error
    if facts.peer.stuck is not None:
        yield facts.peer.stuck
    if facts.phase is Phase.SEEN:
        yield Trouble(Code.QUEUED, "It was read, and is about to become a version.")
    if facts.phase is None and facts.there:
        yield Trouble(
            Code.NOT_READ_YET,
            "It was not read yet: a change that nobody told of is seen by the next scan of the whole folder.",
        )
    yield Trouble(Code.NOT_READ_YET, "It is about to be looked at.")


def _not_here(facts: Facts) -> Iterator[Trouble]:
    """Yield why this disk lacks what the share has."""
    if facts.error is not None:
        yield facts.error
    if not facts.peer.acting:
        yield unheard(facts.peer)
    for fetched in facts.fetched:
        yield of_want(fetched, facts.peer)
    if facts.local is not None:
        yield facts.local
    if facts.peer.stuck is not None:
        yield facts.peer.stuck
    yield Trouble(Code.QUEUED, "It is about to be put in its place.")


def untold(peer: Peerwide) -> Trouble:
    """Return why the others do not know yet what is here."""
    if not peer.connected:
        return _no_tracker("It is safe here, but the others can not be told of it without a tracker", peer)
    if not peer.acting:
        return unheard(peer)
    return Trouble(Code.NOT_ANNOUNCED, "It is safe here, and the others are just being told of it.")


def unheard(peer: Peerwide) -> Trouble:
    """Return why nothing can be done for want of news from the others."""
    if not peer.connected:
        return _no_tracker("Nothing is done about it before a tracker was heard", peer)
    return Trouble(
        Code.NOT_CAUGHT_UP, "What the others have was not heard in full yet; it goes on in a moment, by itself."
    )


def _no_tracker(what: str, peer: Peerwide) -> Trouble:
    why = f" ({peer.tracker_trouble.rstrip('.')})" if peer.tracker_trouble else ""
    return Trouble(Code.NO_TRACKER, f"{what}{why}; it goes on by itself when there is one.")


def of_want(fetched: Fetched, peer: Peerwide) -> Trouble:
    """Return why a content that is wanted is not here."""
    if fetched.asked:
        what = "A version that lost its name" if fetched.losing else "It"
        done = f": {_size(fetched.done)} of {_size(fetched.size)} are here" if fetched.done else ""
        return Trouble(Code.FETCHING, f"{what} is arriving from {_names(fetched.asked)}{done}.")
    usable = [holder for holder in fetched.holders if holder.way in (Way.LINKED, Way.OPEN)]
    if usable:
        names = _names(holder.name for holder in usable)
        done = f"; {_size(fetched.done)} of {_size(fetched.size)} are here" if fetched.done else ""
        return Trouble(Code.QUEUED, f"It waits for its turn to come from {names}{done}.")
    if not fetched.holders:
        return _no_holder(fetched, peer)
    return _not_to_be_had(fetched)


def _no_holder(fetched: Fetched, peer: Peerwide) -> Trouble:
    if not peer.connected:
        return _no_tracker("Who has it can not be asked without a tracker", peer)
    had = f"; {_names(fetched.gone)} had it" if fetched.gone else ""
    return Trouble(
        Code.NO_HOLDER,
        f"No living member has it{had}: start a member that has it, and it comes by itself.",
    )


def _not_to_be_had(fetched: Fetched) -> Trouble:
    """Return why none of the members that have it can give it."""
    foreign = [holder for holder in fetched.holders if holder.way is Way.OTHER_VERSION]
    if len(foreign) == len(fetched.holders):
        names = _names(holder.name for holder in foreign)
        return Trouble(Code.HOLDER_INCOMPATIBLE, f"Only {names} has it, and can not be asked: {foreign[0].why}")
    closed = [holder for holder in fetched.holders if holder.way is Way.CLOSED]
    third = "nobody else who can be reached has it yet" if fetched.others else "there is no third to pass it on"
    return Trouble(
        Code.UNREACHABLE,
        f"{_names(holder.name for holder in closed)} lives and has it, but no connection comes about, and {third}: "
        f"{closed[0].why}",
    )


def _names(names: Iterator[str] | tuple[str, ...]) -> str:
    """Return up to three names as a person lists them."""
    found = [*names]
    if len(found) > 3:
        return f"{', '.join(found[:2])} and {len(found) - 2} others"
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _size(number: float) -> str:
    """Return a number of bytes in a unit that fits."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.3g} {units[0]}"
