"""Reading TLS records from OpenSSL with as little Python for each as can be.

A long transfer is tens of thousands of records of 16 KiB. What pyOpenSSL does around each of them, a new buffer and the
search for an error, takes a twentieth of the time of all, and it has no public way around that. So names of its own are
used if they are there; if they are not, or if anything but a record comes, pyOpenSSL is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

__all__ = ["RECORD_BYTES", "record_reader"]

RECORD_BYTES = 2**14
"""The content of a TLS record, at most (RFC 8446, 5.1)."""

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


def record_reader(connection: SSL.Connection) -> Callable[[], bytes]:
    """Return what returns the content of the next record of `connection`, each time that it is called.

    It returns nothing when no whole record is here, and when the connection has ended or is broken: `connection.recv`
    then says what it is.
    """
    ssl = getattr(connection, "_ssl", None)
    if ssl is None or _ffi is None or not hasattr(_lib, "SSL_read"):
        return bytes
    read, view = _lib.SSL_read, _ffi.buffer
    buffer = _ffi.new("char[]", RECORD_BYTES)

    def next_record() -> bytes:
        length = read(ssl, buffer, RECORD_BYTES)
        content: bytes = view(buffer, length)[:] if length > 0 else b""
        return content

    return next_record
