"""In which order the actions of a batch must be carried out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from twistedp2p.paths import RelPath
from twistedp2p.peer.plan import Action, Keep, MakeFolder, Publish, Remove
from twistedp2p.versions import Kind

__all__ = ["in_phases"]


def in_phases(actions: Iterable[Action]) -> tuple[list[Keep], list[list[Action]]]:
    """Sort the actions of a batch into copies to keep, and phases of changes that must follow each other.

    What is made outside of folders that are still files; files that make way for a folder; what is made in those;
    files that are removed; folders that are removed, deepest first; files that take the place of a folder.
    """
    actions = list(dict.fromkeys(actions))
    swaps = {action.path for action in actions if isinstance(action, MakeFolder)} & {
        action.path for action in actions if isinstance(action, Remove) and action.kind == Kind.FILE
    }
    emptied = {action.path for action in actions if isinstance(action, Remove) and action.kind == Kind.FOLDER}
    keeps: list[Keep] = []
    made: list[Action] = []
    swapped: list[Action] = []
    below: list[Action] = []
    files: list[Action] = []
    folders: list[Action] = []
    last: list[Action] = []
    for action in actions:
        if isinstance(action, Keep):
            keeps.append(action)
        elif isinstance(action, Remove):
            phase = folders if action.kind == Kind.FOLDER else swapped if action.path in swaps else files
            phase.append(action)
        elif isinstance(action, Publish) and action.path in emptied:
            last.append(action)
        elif swaps and (action.path in swaps or any(above.text in swaps for above in RelPath(action.path).ancestors())):
            below.append(action)
        else:
            made.append(action)
    folders.sort(key=lambda action: action.path, reverse=True)
    return keeps, [made, swapped, below, files, folders, last]
