"""Finishing or undoing a publish that was interrupted: what the disk says decides. In the state thread.

It runs for every intent at start, once others have been heard (it may mint), before any other look at its path;
and for a publish that the disk refused half way.
"""

from __future__ import annotations

from collections.abc import Collection

from twistedp2p.peer.folder.read import Read
from twistedp2p.peer.folder.trash import TrashStore
from twistedp2p.peer.index import Index
from twistedp2p.peer.look import Eye
from twistedp2p.peer.replica import finish, mint, version_of
from twistedp2p.peer.store import View
from twistedp2p.peer.troubles import Code, Trouble
from twistedp2p.peer.values import Intent, Observed, Row, Signature

__all__ = ["STILL_WRITTEN", "Recovery"]

STILL_WRITTEN = Trouble(
    Code.PROGRAM_WRITING,
    "A program is still writing to the file that was replaced here: close it there, and what it wrote is kept as a "
    "version of its own.",
)


class Recovery:
    """Settles intents by what lies at their path and at their name in the trash."""

    def __init__(self, *, index: Index, eye: Eye, trash: TrashStore) -> None:
        self._index = index
        self._eye = eye
        self._trash = trash

    def settle_all(self, view: View) -> set[str]:
        """Settle every intent; return their paths, to be planned and looked at again."""
        intents = view.store.intents()
        for intent in intents:
            self.settle(intent, view)
        return {intent.path for intent in intents}

    def settle(self, intent: Intent, view: View) -> bool:
        """Settle one intent in `view`; False if it has to wait: a program still writes to what was displaced."""
        if intent.before is None and intent.content is not None:
            placed = self._placed(intent)
            finish(view, intent, placed is not None, placed, None)
            return True
        displaced = self._trash.look(intent.trash)
        if displaced is None:
            finish(view, intent, False, None, None)
            return True
        found = self._trash.read(intent.trash)
        if found is None:
            return False
        self._list(intent.trash, intent.path, found, False)
        if intent.content is not None and found.observed.content == intent.content:
            # The new content was staged under the trash name and not exchanged yet: it stays there to be taken.
            finish(view, intent, False, None, None)
            return True
        # What was displaced may be all that happened: without exchange, the name is free before the new file has it.
        # A row for a file that is not there would be taken for a deletion by the user.
        finish(view, intent, True, self._placed(intent), self._as_before(intent, found.observed, displaced))
        return True

    def bring_back(self, names: Collection[str] | None, view: View) -> None:
        """Make a version of each of these entries of the trash (None: all) that was written to after it came there.

        A program that had the file open when it was displaced went on saving into it. Its base is not known any
        more, so the version is concurrent with what is there: both are kept.
        """
        for entry in self._index.trash_entries():
            if names is not None and entry.name not in names:
                continue
            now = self._trash.look(entry.name)
            if now is None or (now.size, now.mtime_ns) == (entry.size, entry.mtime_ns):
                continue
            found = self._trash.read(entry.name)
            if found is None:
                continue
            written = found.observed.content != entry.content
            self._list(entry.name, entry.path, found, entry.kept or written)
            if written:
                mint(view, entry.path, version_of(found.observed), None)

    def _placed(self, intent: Intent) -> Row | None:
        """Return the row of what was put in place, None if it was not (or was changed since)."""
        found = self._eye.read(intent.path)
        if intent.content is not None and isinstance(found, Read) and found.observed.content == intent.content:
            return Row(intent.dot, intent.kind, intent.content, intent.executable, found.observed.signature)
        return None

    def _as_before(self, intent: Intent, observed: Observed, signature: Signature) -> Observed:
        """Return what was displaced; with the row's executable bit if only that could differ by the exchange."""
        before = intent.before
        if before is not None and before.signature == signature:
            return Observed(before.kind, before.content, executable=before.executable, signature=signature)
        return observed

    def _list(self, name: str, path: str, found: Read, kept: bool) -> None:
        """List a file of the trash as it was read now."""
        observed = found.observed
        if found.manifest:
            self._index.put_manifest(observed.manifest, found.manifest)
        self._index.add_trash(name, path, observed.content, observed.size, observed.mtime_ns, kept)
