"""What all that serves named files from a disk has in common: worker threads, and what the disk says in words."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from twistedp2p.disk.seam import Disk, FileKind, Name, NotRegular
from twistedp2p.errors import AlreadyThere, DiskFailed, NoSpace, NoSuchFile, NotWritable

__all__ = ["InThread", "in_words", "make_folders"]

P = ParamSpec("P")
T = TypeVar("T")


class InThread(Protocol):
    """Runs blocking work in a worker thread."""

    def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Return what `work` returns, or fails with what it raises."""


@contextmanager
def in_words(path: str) -> Iterator[None]:
    """Turn what the disk says into errors whose sentences may go to the other side."""
    try:
        yield
    except NotRegular as error:
        raise NoSuchFile(f"{path} is {error.kind.value}, not a file.") from error
    except OSError as error:
        shown = path or "what is served"
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
            raise NoSuchFile(f"There is no {path}." if path else "The folder that is served is gone.") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise NotWritable(f"The server's system gives no permission for {shown} ({error.strerror}).") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpace("The disk of the server is full.") from error
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR):
            raise AlreadyThere(f"{shown}: {error.strerror}.") from error
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            raise NoSuchFile(f"{shown}: the server's disk can not have that name.") from error
        raise DiskFailed(f"The server can not read or write {shown}: {error.strerror or error}.") from error


def make_folders(disk: Disk, name: Name, mode: int = 0o777) -> None:
    """Make the folder `name` and those above it, as far as they are missing; raises `AlreadyThere`."""
    for end in range(1, len(name) + 1):
        try:
            disk.make_folder(name[:end], mode)
        except FileExistsError as error:
            if disk.stat(name[:end]).kind is not FileKind.FOLDER:
                shown = b"/".join(name[:end]).decode(errors="replace")
                raise AlreadyThere(f"{shown} is there already, and no folder.") from error
