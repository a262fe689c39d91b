"""One family of errors; each class is one thing that a caller does differently.

Every class has a ``code``: the word by which it travels in a ``Refused`` message.
The text of an instance is a whole sentence that a person can read, and that says
what to do next where there is something to do.
"""

from __future__ import annotations

__all__ = [
    "AlreadyThere",
    "BadAddress",
    "BadArgument",
    "BadArguments",
    "BadInvite",
    "BadPath",
    "BadProof",
    "ConnectionFull",
    "CorruptContent",
    "DiskFailed",
    "DuplicateDevice",
    "FileChanged",
    "FolderBusy",
    "FolderUnusable",
    "HomeUnusable",
    "IndexUnusable",
    "InternalError",
    "KeyUnusable",
    "NoCommonVersion",
    "NoSpace",
    "NoSuchFile",
    "NotHeld",
    "NotServed",
    "NotWritable",
    "PeerTimeout",
    "ProtocolViolation",
    "Refusal",
    "SizeChanged",
    "TooLarge",
    "TwistedP2PError",
    "UnknownRequest",
    "UnknownType",
    "WrongPeer",
    "WrongTracker",
    "code_to_error",
    "error_to_code",
]


class TwistedP2PError(Exception):
    """Any error of this package that a caller may want to tell from a bug."""

    code: str = "error"


class BadPath(TwistedP2PError):
    """A name that can not be used inside a shared folder; it stays local, or is refused."""

    code = "bad-path"


class BadAddress(TwistedP2PError):
    """A HOST[:PORT] that is none; write it again."""

    code = "bad-address"


class BadArgument(TwistedP2PError):
    """A request of the control API says something that it can not; write it again."""

    code = "argument"


class BadInvite(TwistedP2PError):
    """An invite that is malformed, damaged or of another share; ask for it again."""

    code = "bad-invite"


class BadProof(TwistedP2PError):
    """The other side did not prove that it is a member; the connection is aborted silently."""

    code = "bad-proof"


class WrongTracker(TwistedP2PError):
    """The key of the tracker is not the one that the invite pins; nothing was sent to it."""

    code = "wrong-tracker"


class WrongPeer(TwistedP2PError):
    """Another node than was dialled answers at that address; nothing was said to it."""

    code = "wrong-peer"


class Unreachable(TwistedP2PError):
    """A node can not be reached at any address that is known of it; it is dialled again later."""

    code = "unreachable"


class ProtocolViolation(TwistedP2PError):
    """Malformed bytes, a message out of turn, or one over a limit; the connection is aborted."""

    code = "protocol"


class UnknownType(ProtocolViolation):
    """A message of a type that this version does not know; `skippable` if it is a mere notice."""

    def __init__(self, number: int, *, skippable: bool) -> None:
        super().__init__(f"a message has the unknown type {number}")
        self.number = number
        self.skippable = skippable


class NoCommonVersion(TwistedP2PError):
    """The other side speaks no version of the protocol that this one speaks; update one of them."""

    code = "version"


class Refusal(TwistedP2PError):
    """The other side answered a request with a refusal that has no class of its own here."""

    code = "refused"


class UnknownRequest(Refusal):
    """The other side does not know this kind of request."""

    code = "unknown-request"


class BadArguments(Refusal):
    """What was asked has arguments that the other side can not use; ask it differently."""

    code = "bad-arguments"


class InternalError(Refusal):
    """The other side has a bug, and its log the reason."""

    code = "internal"


class NotHeld(Refusal):
    """The content asked for is not on the other side's disk (any more); ask another holder."""

    code = "not-held"


class NoSuchFile(Refusal):
    """There is nothing of that name on the other side, or not the kind of thing that was asked for."""

    code = "no-such-file"


class FileChanged(Refusal):
    """The file is not what it was when it was listed; list it again."""

    code = "file-changed"


class AlreadyThere(Refusal):
    """Something has that name already; overwrite it on purpose, or choose another name."""

    code = "already-there"


class NotWritable(Refusal):
    """The other side lets one read only, or its disk does."""

    code = "not-writable"


class DiskFailed(Refusal):
    """The other side's disk can not read or write what was asked for; somebody must look after it there."""

    code = "disk"


class ConnectionFull(Refusal):
    """A limit on connections or sessions is reached; try again later."""

    code = "full"


class DuplicateDevice(Refusal):
    """Another live session has the same device key: this folder is a copy of a member's."""

    code = "duplicate-device"


class PeerTimeout(TwistedP2PError):
    """The other side did not answer within the deadline."""

    code = "timeout"


class CorruptContent(TwistedP2PError):
    """Bytes that do not have the hash they were asked by; ask another holder."""

    code = "corrupt"


class SizeChanged(TwistedP2PError):
    """A file is not as long as it was when reading began; read it again when it is quiet."""

    code = "size-changed"


class TooLarge(TwistedP2PError):
    """A file larger than any that can be shared, which stays local; or a request, reply or list that is too long."""

    code = "too-large"


class FolderUnusable(TwistedP2PError):
    """The shared folder is missing, not mounted, without its mark, or can not be read."""

    code = "folder"


class FolderBusy(TwistedP2PError):
    """Another process serves this folder."""

    code = "folder-busy"


class NotServed(TwistedP2PError):
    """No process serves this folder; start one."""

    code = "not-served"


class HomeUnusable(TwistedP2PError):
    """The person's state folder can not be read or written, or a file in it is damaged."""

    code = "home"


class IndexUnusable(TwistedP2PError):
    """The index can not be opened or is damaged; it is set aside and made anew."""

    code = "index"


class KeyUnusable(TwistedP2PError):
    """The file of the device key is damaged; remove it, and a new key is made: a new device to the others."""

    code = "key"


class NoSpace(TwistedP2PError):
    """The disk is full, or as full as it may become; nothing more is fetched until there is room."""

    code = "no-space"


_BY_CODE: dict[str, type[TwistedP2PError]] = {
    cls.code: cls
    for cls in (
        UnknownRequest,
        NotHeld,
        NoSuchFile,
        FileChanged,
        AlreadyThere,
        NotWritable,
        DiskFailed,
        NoSpace,
        BadPath,
        ConnectionFull,
        DuplicateDevice,
        PeerTimeout,
        CorruptContent,
        ProtocolViolation,
        NoCommonVersion,
    )
}


def error_to_code(error: BaseException) -> str:
    """Return the wire code of `error`; "internal" for anything outside the family."""
    return error.code if isinstance(error, TwistedP2PError) else "internal"


def code_to_error(code: str, text: str) -> TwistedP2PError:
    """Return the error that the other side's `code` stands for, carrying its `text`."""
    cls = _BY_CODE.get(code)
    if cls is None:
        return Refusal(f"{text} ({code})" if text else code)
    return cls(text)
