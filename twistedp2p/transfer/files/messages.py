"""The messages about named files: one frozen class each; docs/protocol.md tells the conversation.

    client                                         server
    1. FilesHello (proof as DIAL_FILES, or none) -->  checks it; a stranger hears nothing and is cut off
    2. may ask                                   <--  FilesWelcome, or Refused
    3. a request, with a number of its own       -->  answers, many at a time (`framing.requests`)
    4. parts                                     <--  Listed, Data, FileMissing, Hashed or PutAt
    5. hears the end                             <--  Done, or Failed with a code
    6. Cancel, at any time before 5              -->  stops; Failed comes all the same

A file is asked for by path and token, as a listing gave them: the token stands for one state of the file, so that
two ranges asked for by one token are of one and the same file.
"""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from twistedp2p import limits
from twistedp2p.messages.common import (
    Cancel,
    Data,
    Done,
    Failed,
    Goodbye,
    Hash,
    Number,
    Ping,
    Pong,
    Proof,
    Refused,
    Request,
    Text,
    Versions,
)
from twistedp2p.wire import Codec

__all__ = [
    "FILES",
    "FILES_TYPES",
    "FileEntry",
    "FileMissing",
    "FilesHello",
    "FilesWelcome",
    "HashOf",
    "Hashed",
    "ListFolder",
    "Listed",
    "MakeFolder",
    "PutAt",
    "PutEnd",
    "PutFile",
    "ReadFiles",
    "ReadRange",
    "Received",
    "RemoveFile",
    "RenameFile",
]

Path = Annotated[str, Meta(max_length=limits.PATH_BYTES)]
"""A path below the served folder, as `paths.RelPath` has it; "" is the folder itself where that makes sense."""
Size = Annotated[int, Meta(ge=0, le=limits.SIZE_CAP)]
"""Bytes."""
Moment = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Nanoseconds since 1970."""
Token = Annotated[bytes, Meta(max_length=16)]
"""What stands for one state of a file, 16 bytes; empty for a folder."""


@frozen
class FileEntry:
    """What a listing says of one file or folder; of a folder only `path` and `mtime_ns` count."""

    path: Path
    folder: bool
    size: Size = 0
    mtime_ns: Moment = 0
    executable: bool = False
    token: Token = b""


@frozen
class FilesHello:
    """Client to server, first: what I may do, if I have an invite, and who I am."""

    name: Text
    versions: Versions
    proof: Proof | None = None


@frozen
class FilesWelcome:
    """Server to client: the answer to a valid `FilesHello`; `once`: it ends when all was received."""

    name: Text
    versions: Versions
    writable: bool
    once: bool = False


@frozen
class ListFolder:
    """List what is in that folder, or that file alone, in the order of the components of the paths.

    `deep`: what is in its folders too. `pattern`: only what it matches, as gitignore patterns do. `after`: only what
    comes after this path, for whoever lost the connection in the middle, or has room for more. `most`: no more entries
    than that, 0 for all.
    """

    request: Request
    path: Path = ""
    deep: bool = False
    pattern: Annotated[str, Meta(max_length=limits.IGNORE_PATTERN_CHARS)] = ""
    after: Path = ""
    most: Number = 0


@frozen
class Listed:
    """A part of a listing; an empty one says that the server is still looking."""

    request: Request
    entries: Annotated[tuple[FileEntry, ...], Meta(max_length=limits.LIST_ITEMS)]


@frozen
class ReadRange:
    """Send me these bytes of a file, as `Data` frames in order, then `Done`."""

    request: Request
    path: Path
    token: Token
    offset: Size
    length: Annotated[int, Meta(ge=1, le=limits.RANGE_BYTES)]


@frozen
class ReadFiles:
    """Send me these small files: each as one `Data` of content id and bytes, or `FileMissing`, in this order."""

    request: Request
    files: Annotated[tuple[tuple[Path, Token], ...], Meta(min_length=1, max_length=limits.SMALL_FILES_PER_REQUEST)]


@frozen
class FileMissing:
    """The file at that position of those asked for can not be sent; `code` is that of an error class."""

    request: Request
    position: Annotated[int, Meta(ge=0, lt=limits.SMALL_FILES_PER_REQUEST)]
    code: Annotated[str, Meta(max_length=32)]


@frozen
class HashOf:
    """Tell me the content id of that file."""

    request: Request
    path: Path
    token: Token


@frozen
class Hashed:
    """So many bytes are hashed; the last one of a reply has the content id."""

    request: Request
    done: Size
    content: Hash | None = None


@frozen
class PutFile:
    """I want to put a file of that content there; never over another one unless `overwrite`."""

    request: Request
    path: Path
    size: Size
    mtime_ns: Moment
    executable: bool
    content: Hash
    overwrite: bool = False


@frozen
class PutAt:
    """Send the file from `offset` on, as `Data` frames, then `PutEnd`; with `present` it is there already.

    Later: so many bytes of it have come, written or not.
    """

    request: Request
    offset: Size
    present: bool = False


@frozen
class PutEnd:
    """All `Data` of that file was sent; or, before that, I give up: the server keeps what it has."""

    request: Request


@frozen
class RemoveFile:
    """Remove a file or an empty folder; with `deep` a folder with all that is in it."""

    request: Request
    path: Path
    deep: bool = False


@frozen
class RenameFile:
    """Rename a file or folder; over another file only with `overwrite`."""

    request: Request
    path: Path
    to: Path
    overwrite: bool = False


@frozen
class MakeFolder:
    """Make a folder, and those above it that are not there."""

    request: Request
    path: Path


@frozen
class Received:
    """Client to a sender: I have all I wanted (`files` of `bytes` in all), or, not `accepted`, I do not want it."""

    request: Request
    files: Number
    bytes: Number
    accepted: bool = True


FILES_TYPES: dict[int, type] = {
    38: Done,
    39: Failed,
    40: Cancel,
    41: Data,
    42: Ping,
    43: Pong,
    44: Goodbye,
    45: Refused,
    64: FilesHello,
    65: FilesWelcome,
    66: ListFolder,
    67: Listed,
    68: ReadRange,
    69: ReadFiles,
    70: FileMissing,
    71: HashOf,
    72: Hashed,
    73: PutFile,
    74: PutAt,
    75: PutEnd,
    76: RemoveFile,
    77: RenameFile,
    78: MakeFolder,
    79: Received,
}

FILES = Codec(FILES_TYPES, limits.FILE_DATA_BYTES)
"""The conversation between a client and a server of named files."""
