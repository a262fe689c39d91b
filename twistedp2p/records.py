"""The canonical record: a path and its register as bytes, and back.

Equal registers give equal bytes, and so equal items: that is what makes a converged share silent. A record is
the MessagePack array ``[format, path, context, siblings]``: context as pairs sorted by replica id, siblings as
``[rid, n, value]`` sorted by dot, values as in `versions.encode_value`; no maps, no floats, integers in their
shortest form. No local fact (disk, holds, time of receipt) is ever in a record.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, Value, encode_value

__all__ = ["FORMAT", "Record", "UnknownFormat", "decode_record", "encode_record"]

FORMAT = 1
"""The format of records that this version writes."""

_Rid = Annotated[bytes, Meta(min_length=8, max_length=8)]
_N = Annotated[int, Meta(ge=1, le=limits.COUNTER_CAP)]
_Lamport = Annotated[int, Meta(ge=0, le=limits.LAMPORT_CAP)]
_Mtime = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Size = Annotated[int, Meta(ge=0, le=limits.SIZE_CAP)]
_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_LiveFields = tuple[Annotated[int, Meta(ge=0, le=1)], _Hash | None, _Size, bool, _Mtime, _Lamport, _Hash | None]
_DeadFields = tuple[_Mtime, _Lamport]
_Context = Annotated[list[tuple[_Rid, _N]], Meta(max_length=limits.CONTEXT_ENTRIES)]
_Siblings = Annotated[list[tuple[_Rid, _N, msgspec.Raw]], Meta(max_length=limits.SIBLINGS)]

_head = msgspec.msgpack.Decoder(list[msgspec.Raw])
_int = msgspec.msgpack.Decoder(int)
_text = msgspec.msgpack.Decoder(str)
_context = msgspec.msgpack.Decoder(_Context)
_siblings = msgspec.msgpack.Decoder(_Siblings)
_live = msgspec.msgpack.Decoder(_LiveFields)
_dead = msgspec.msgpack.Decoder(_DeadFields)
_encode = msgspec.msgpack.Encoder().encode


class UnknownFormat(ProtocolViolation):
    """A record of a format that this version does not know: it is kept and passed on, never acted on."""


@frozen
class Record:
    """A path (text, not checked yet: see `paths`) and all that is known of it."""

    path: str
    register: Register


def encode_record(path: str, register: Register) -> bytes:
    """Return the canonical bytes of the record of `path`."""
    siblings = [[dot.rid, dot.n, encode_value(value)] for dot, value in register.siblings]
    return _encode([FORMAT, path, register.context, siblings])


def _decode_value(raw: msgspec.Raw) -> Value:
    data = bytes(raw)
    if data[:1] == b"\x92":  # an array of two: a tombstone
        mtime_ns, lamport = _dead.decode(data)
        return Dead(lamport, mtime_ns)
    kind, content, size, executable, mtime_ns, lamport, manifest = _live.decode(data)
    if (content is None) != (kind == Kind.FOLDER):
        raise ProtocolViolation("a record has a file without content, or a folder with content")
    return Live(content or b"", size, lamport, mtime_ns, Kind(kind), executable, manifest or b"")


def decode_record(data: bytes) -> Record:
    """Return the record that `data` is the canonical encoding of.

    Raises `UnknownFormat` for a later format and `ProtocolViolation` for anything else that this function
    would not have been given by `encode_record`: a record that is not canonical could differ between peers.
    """
    try:
        parts = _head.decode(data)
        if not parts:
            raise ProtocolViolation("a record is empty")
        number = _int.decode(parts[0])
        if number != FORMAT:
            raise UnknownFormat(f"a record has format {number}; this version knows {FORMAT}")
        if len(parts) != 4:
            raise ProtocolViolation("a record has the wrong number of fields")
        path = _text.decode(parts[1])
        context = tuple((rid, n) for rid, n in _context.decode(parts[2]))
        siblings = tuple((Dot(rid, n), _decode_value(raw)) for rid, n, raw in _siblings.decode(parts[3]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolViolation(f"a record is malformed: {error}") from None
    register = Register(context, siblings)
    if any(not register.covers(dot) for dot, _ in siblings):
        raise ProtocolViolation("a record has a version that its context does not cover")
    if encode_record(path, register) != data or Register.of(dict(context), dict(siblings)) != register:
        raise ProtocolViolation("a record is not in canonical form")
    return Record(path, register)
