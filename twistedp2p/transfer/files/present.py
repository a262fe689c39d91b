"""What is here already under the name that a file shall get, and what to do then."""

from __future__ import annotations

from enum import Enum

from twistedp2p.disk.seam import Disk
from twistedp2p.transfer.files.client import FilesClient
from twistedp2p.transfer.files.local import free_name, hash_of, in_the_way
from twistedp2p.transfer.files.on_disk import InThread
from twistedp2p.transfer.files.pending import Pending

__all__ = ["Present", "Taken"]


class Taken(Enum):
    """What to do with a file where another one with other content has its name."""

    FAIL = "fail"
    OVERWRITE = "overwrite"
    RENAME = "rename"  # NAME (2), NAME (3), ...
    SKIP = "skip"


class Present:
    """Compares files that are here with those of the server.

    Args:
        client: reaches the server.
        disk: the folder that targets are names in.
        in_thread: runs what blocks.
        taken: what to do where a file with other content is.
    """

    def __init__(self, client: FilesClient, disk: Disk, in_thread: InThread, taken: Taken) -> None:
        self.overwrite = taken is Taken.OVERWRITE
        """Whether files with other content are replaced."""
        self._client = client
        self._disk = disk
        self._in_thread = in_thread
        self._taken = taken

    def is_in_the_way(self, file: Pending, size: int | None) -> bool:
        """Whether it matters what is here: a size in bytes, -1 for what is no file, None for nothing."""
        return size is not None and (not self.overwrite or size in (-1, file.entry.size))

    async def is_enough(self, file: Pending, size: int, content: bytes | None = None) -> bool:
        """Return whether nothing is left to do for a file; else it is to be fetched, to the target that it has then.

        `size` is what is here, as `is_in_the_way` takes it, and `content` its content id if that is known. Raises
        `AlreadyThere` if another one is in its way.
        """
        if size == file.entry.size:
            here = content or await self._in_thread(hash_of, self._disk, file.target)
            if here == await self.content_of(file):
                return True
        if size == -1 or not self.overwrite:
            return await self._other_is_enough(file, is_file=size != -1)
        return False

    async def _other_is_enough(self, file: Pending, *, is_file: bool) -> bool:
        """Something else has the name: do what was said about that."""
        if self._taken is Taken.SKIP:
            return True
        if self._taken is not Taken.RENAME:
            raise in_the_way(file.target, is_file)
        content = await self.content_of(file)
        file.target, same = await self._in_thread(free_name, self._disk, file.target, file.entry.size, content)
        return same

    async def content_of(self, file: Pending) -> bytes:
        """Ask the server for the content id of a file."""
        return await self._client.answer(lambda server: server.content_of(file.path, file.entry.token))
