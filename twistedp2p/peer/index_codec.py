"""How the index writes registers, rows and intents: trusted bytes and columns, checked when they came in."""

from __future__ import annotations

from typing import Any

import msgspec

from twistedp2p.peer.values import Intent, Row, Signature
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, Value, encode_value

__all__ = [
    "Unreadable",
    "inode_columns",
    "intent_of",
    "pack_intent",
    "pack_register",
    "register_of",
    "row_columns",
    "row_of",
]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_INT64 = 2**63
_FOREIGN = (ValueError, TypeError, LookupError, AttributeError, msgspec.MsgspecError)
"""What comes of bytes that were not written here."""


class Unreadable(Exception):
    """Bytes or columns that no `pack` function or `row_columns` gave: the file was changed by somebody else."""


def pack_register(register: Register) -> bytes:
    """Return the register as bytes: ``[context, siblings]`` as in a record (see `records`)."""
    return _encode([register.context, [[dot.rid, dot.n, encode_value(value)] for dot, value in register.siblings]])


def register_of(data: bytes) -> Register:
    """Return the register that `pack_register` gave these bytes for; raises `Unreadable`."""
    try:
        context, siblings = _decode(data)
        return Register(
            tuple([(rid, n) for rid, n in context]),
            tuple([(Dot(rid, n), _value(fields)) for rid, n, fields in siblings]),
        )
    except _FOREIGN as error:
        raise Unreadable("a record") from error


def _value(fields: list[Any]) -> Value:
    if len(fields) == 2:
        return Dead(fields[1], fields[0])
    kind, content, size, executable, mtime_ns, lamport, manifest = fields
    return Live(content or b"", size, lamport, mtime_ns, Kind(kind), executable, manifest or b"")


def _number(number: int) -> int | str:
    """Return what SQLite can keep: some file systems have inodes and times that need more than 63 bits."""
    return number if -_INT64 <= number < _INT64 else str(number)


def row_columns(row: Row) -> tuple[object, ...]:
    """Return the columns of a row, in the order of `row_of`."""
    base, found = row.base, row.signature
    rid, n = (None, None) if base is None else base
    if found is None:
        return (rid, n, int(row.kind), row.content, row.executable, None, None, None, None, None)
    return (
        rid,
        n,
        int(row.kind),
        row.content,
        row.executable,
        *(_number(number) for number in (found.device, found.inode, found.size, found.mtime_ns)),
        found.executable,
    )


def row_of(columns: Any) -> Row:
    """Return the row of these ten columns; raises `Unreadable`."""
    rid, n, kind, content, executable, device, inode, size, mtime_ns, was_executable = columns
    signature = None
    try:
        if inode is not None:
            signature = Signature(int(device), int(inode), int(size), int(mtime_ns), bool(was_executable))
        return Row(None if rid is None else Dot(rid, n), Kind(kind), content, bool(executable), signature)
    except _FOREIGN as error:
        raise Unreadable("a row") from error


def inode_columns(device: int, inode: int) -> tuple[int | str, int | str]:
    """Return how `row_columns` writes these two."""
    return _number(device), _number(inode)


def pack_intent(intent: Intent) -> bytes:
    """Return the intent as bytes, without its path."""
    before = None if intent.before is None else row_columns(intent.before)
    return _encode(
        [before, intent.dot, int(intent.kind), intent.content, intent.executable, intent.trash],
    )


def intent_of(path: str, data: bytes) -> Intent:
    """Return the intent that `pack_intent` gave these bytes for; raises `Unreadable`."""
    try:
        before, (rid, n), kind, content, executable, trash = _decode(data)
        row = None if before is None else row_of(before)
        return Intent(path, row, Dot(rid, n), Kind(kind), content, executable, trash)
    except _FOREIGN as error:
        raise Unreadable("a publish") from error
