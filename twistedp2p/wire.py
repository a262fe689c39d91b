"""Messages to bytes and back; what is malformed or over a limit goes no further.

The first byte of a frame is the type of the message, from the tables in `messages`; the rest is MessagePack, a
map from field names to values, which msgspec validates into the frozen class of that type. Fields that this
version does not know are skipped, so that a later version can add some. `Data` is the exception: four bytes of
request number (big-endian), then the bytes themselves.

A type byte of 128 or more announces a notice that may be skipped by who does not know it; one below can not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from twistedp2p import limits
from twistedp2p.errors import ProtocolViolation, UnknownType
from twistedp2p.messages.common import Data

__all__ = ["Codec", "pack", "pieces"]

T = TypeVar("T")

_SKIPPABLE = 128
_DATA_HEADER = 5
"""The type byte of a Data frame and its request number."""
_MESSAGE_HEADER = 1024
"""Room in a frame for the fields beside its lists, bytes."""


class Codec:
    """The messages of one conversation, by their type bytes.

    Args:
        types: the class of each.
        data_bytes: content that one Data message may have.
    """

    def __init__(self, types: Mapping[int, type], data_bytes: int = limits.DATA_BYTES) -> None:
        self.frame_bytes = max(limits.FRAME_BYTES, _DATA_HEADER + data_bytes)
        """The longest frame of all."""
        self._data_bytes = data_bytes
        self._numbers = {cls: bytes([number]) for number, cls in types.items()}
        self._types = {number: cls for number, cls in types.items() if cls is not Data}
        # Made when they are needed: a program that speaks one conversation does not wait for those of the others.
        self._decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {}
        self._data = next((number for number, cls in types.items() if cls is Data), None)
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, message: object) -> bytes:
        """Return the frame of `message`; KeyError if it is not of this conversation."""
        return b"".join(self.encode_parts(message))

    def encode_parts(self, message: object) -> tuple[bytes, bytes | memoryview]:
        """Return the frame of `message` in two parts, so that long bytes need not be copied to be put behind others."""
        head = self._numbers[type(message)]
        if isinstance(message, Data):
            return head + message.request.to_bytes(4, "big"), message.payload
        return head, self._encode(message)

    def decode(self, frame: bytes | memoryview) -> object:
        """Return the message of `frame`.

        Raises `UnknownType` for a type byte that this version does not know, `ProtocolViolation` for anything
        else that is not exactly one message within its limits.
        """
        if not frame:
            raise ProtocolViolation("a frame is empty")
        number = frame[0]
        if number == self._data:
            return self._decode_data(frame)
        if len(frame) > limits.FRAME_BYTES:
            raise ProtocolViolation(f"a message of type {number} has {len(frame)} bytes")
        decoder = self._decoders.get(number) or self._decoder(number)
        try:
            return decoder.decode(memoryview(frame)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolViolation(f"a message of type {number} is malformed: {error}") from None

    def _decode_data(self, frame: bytes | memoryview) -> Data:
        if not _DATA_HEADER <= len(frame) <= _DATA_HEADER + self._data_bytes:
            raise ProtocolViolation(f"a Data frame has {len(frame)} bytes")
        return Data(int.from_bytes(frame[1:_DATA_HEADER], "big"), memoryview(frame)[_DATA_HEADER:])

    def _decoder(self, number: int) -> msgspec.msgpack.Decoder[Any]:
        cls = self._types.get(number)
        if cls is None:
            raise UnknownType(number, skippable=number >= _SKIPPABLE)
        self._decoders[number] = msgspec.msgpack.Decoder(cls)
        return self._decoders[number]


def pieces(
    items: Iterable[T],
    size: Callable[[T], int],
    most_bytes: int = limits.BATCH_BYTES,
    most_items: int = limits.LIST_ITEMS,
) -> Iterator[list[T]]:
    """Split a long list into lists that each fit a message; yields nothing for an empty one.

    `size` bounds from above how many bytes an item takes once encoded.
    """
    for piece in pack({"items": items}, {"items": size}, most_bytes, most_items):
        yield list(piece["items"])


def pack(
    fields: Mapping[str, Iterable[Any]],
    sizes: Mapping[str, Callable[[Any], int]],
    most_bytes: int = limits.BATCH_BYTES,
    most_items: int = limits.LIST_ITEMS,
) -> Iterator[dict[str, tuple[Any, ...]]]:
    """Split several long lists into pieces that each fit a message, given as field name -> items.

    The lists are taken in order, and a piece may hold the end of one and the beginning of the next.
    """
    piece: dict[str, list[Any]] = {}
    left = most_bytes - _MESSAGE_HEADER
    for name, items in fields.items():
        for item in items:
            size = sizes[name](item)
            if piece and (size > left or len(piece.get(name, ())) >= most_items):
                yield {field: tuple(values) for field, values in piece.items()}
                piece, left = {}, most_bytes - _MESSAGE_HEADER
            piece.setdefault(name, []).append(item)
            left -= size
    if piece:
        yield {field: tuple(values) for field, values in piece.items()}
