"""Getting TLS records into OpenSSL and out of it with as little Python, and as few copies, as can be.

A long transfer is tens of thousands of records of 16 KiB. What pyOpenSSL does around each of them, a new buffer, a copy
and the search for an error, takes a tenth of the time of all, and it has no public way around that. So names of its own
are used if they are there; if they are not, pyOpenSSL is asked.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

__all__ = ["RECORD_BYTES", "Records", "new_buffer"]

RECORD_BYTES = 2**14
"""The content of a TLS record, at most (RFC 8446, 5.1)."""

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
_new: Any = bytearray if _ffi is None else _ffi.new_allocator(should_clear_after_alloc=False)


def new_buffer(length: int) -> memoryview:
    """Return memory that can be written to; what is in it before is not said."""
    if _ffi is None:
        return memoryview(_new(length))
    return memoryview(_ffi.buffer(_new("char[]", length)))


class Records:
    """The records of one connection: those that came, and those that are to leave.

    Both ways to read return nothing when no whole record is here, and when the connection has ended or is broken:
    `connection.recv` then says what it is.
    """

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._ssl = getattr(connection, "_ssl", None)
        self._is_direct = self._ssl is not None and _ffi is not None and hasattr(_lib, "SSL_read")
        self._record: memoryview | None = None

    def next(self) -> bytes:
        """Return the content of the next record."""
        if self._record is None:
            self._record = new_buffer(RECORD_BYTES)
        return bytes(self._record[: self._read(self._record)])

    def read_into(self, room: memoryview) -> int:
        """Write the content of records to `room` until it is full or none is left; return how many bytes that are."""
        if not self._is_direct:
            return self._read(room)
        read, ssl, to = _lib.SSL_read, self._ssl, _ffi.from_buffer(room)
        at, length = 0, len(room)
        while at < length and (more := read(ssl, to + at, length - at)) > 0:
            at += more
        return at

    def encrypted(self, most: int) -> memoryview:
        """Return the records that were written and are to leave, at most so many bytes; some must be there."""
        bio = getattr(self._connection, "_from_ssl", None)
        if not self._is_direct or bio is None or not hasattr(_lib, "BIO_read"):
            return memoryview(self._connection.bio_read(most))
        room = new_buffer(most)
        length: int = _lib.BIO_read(bio, _ffi.from_buffer(room), most)
        return room[: max(length, 0)]

    def _read(self, room: memoryview) -> int:
        """Write the content of one record, or as much of it as there is room for; return its length."""
        if self._is_direct:
            length: int = _lib.SSL_read(self._ssl, _ffi.from_buffer(room), len(room))
            return max(length, 0)
        try:
            return self._connection.recv_into(room, len(room))
        except SSL.Error:
            return 0
