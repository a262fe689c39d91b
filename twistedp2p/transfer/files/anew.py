"""One more try of a file that changed at the server while it was fetched, or came with other bytes."""

from __future__ import annotations

from collections.abc import Callable

from twistedp2p.errors import CorruptContent, FileChanged, TwistedP2PError
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.ledger import Ledger
from twistedp2p.transfer.files.messages import FileEntry
from twistedp2p.transfer.files.pending import Pending
from twistedp2p.transfer.files.tasks import Tasks

__all__ = ["Anew"]

_TRIES = 3
"""A file that changes at the server while it is fetched, or comes with other bytes, is begun anew so often."""


class Anew:
    """Begins files anew.

    Args:
        client: reaches the server.
        ledger: where the files are.
        tasks: runs what nobody waits for.
        wait: lets a file wait to be looked at.
        as_listed: whether a file that changes fails, instead of being taken as it is then.
    """

    def __init__(
        self,
        client: FilesClient,
        ledger: Ledger,
        tasks: Tasks,
        wait: Callable[[Pending], object],
        *,
        as_listed: bool = False,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._tasks = tasks
        self._wait = wait
        self._as_listed = as_listed

    def would_help(self, file: Pending, error: TwistedP2PError) -> bool:
        """Whether a file that failed with `error` is to be begun anew."""
        helps = isinstance(error, CorruptContent) or (isinstance(error, FileChanged) and not self._as_listed)
        return helps and file.tries < _TRIES

    def begin_or_fail(self, file: Pending, error: TwistedP2PError) -> None:
        """Begin a file anew, or say that it failed."""
        if not self._ledger.has(file):
            return  # something else that was asked for of it said so before
        if self.would_help(file, error):
            self._tasks.start(self._begin(file))
        elif isinstance(error, FileChanged) and self._as_listed:
            self._ledger.failed(file, FileChanged("It changed there after it was listed, and is left out; ask again."))
        else:
            self._ledger.failed(file, error)

    async def _begin(self, file: Pending) -> None:
        """Ask for the state that a file has now, unless it must be as it was listed, and fetch that."""
        anew = self._ledger.begin_anew(file)
        if self._as_listed:
            self._wait(anew)
            return

        async def now(server: FilesConnection) -> FileEntry:
            found: list[FileEntry] = []
            await server.listing(file.path, found.extend)
            if len(found) != 1 or found[0].folder or found[0].path != file.path:
                raise FileChanged(f"{file.path} is no file any more.")
            return found[0]

        try:
            entry = await self._client.answer(now)
        except TwistedP2PError as error:
            self._ledger.failed(anew, error)
            return
        self._ledger.changed(anew, entry)
        self._wait(anew)
