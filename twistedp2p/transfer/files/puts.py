"""Files that are being put over one connection: their bytes as they come, and how each put ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import PeerTimeout, ProtocolViolation, Refusal
from twistedp2p.framing.alarm import Alarm
from twistedp2p.messages.common import Data
from twistedp2p.transfer.files.messages import PutAt, PutFile
from twistedp2p.transfer.files.source import Upload, WritableSource

__all__ = ["Puts"]

_WRITE_BYTES = limits.DOWNLOAD_RANGE
"""Bytes of a file that is put which are written in one go."""


class Puts:
    """All puts of one connection, by the numbers of their requests.

    A put ends when all came, when something fails, when it is cancelled, or when the client has sent nothing of any
    file for `limits.FILES_PUT_IDLE` seconds although this side was ready to read: what came is kept in all cases.

    Args:
        clock: tells the time.
        send: sends a message to the client.
        hold_reading: reads nothing more from it until a Deferred has fired; None is no wait.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[object], object],
        hold_reading: Callable[[Deferred[Any] | None], object],
    ) -> None:
        self.bytes_in = 0
        """Bytes of content that came."""
        self._clock = clock
        self._send = send
        self._hold_reading = hold_reading
        self._coming: dict[int, _Incoming] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._heard_at = 0.0
        self._idle = Alarm(clock, self._on_idle)

    async def put(self, asked: PutFile, source: WritableSource) -> None:
        """Take a file in, from beginning to end; raises why it can not be put."""
        try:
            upload = await source.put(asked)
        except BaseException:
            self._put_ended(asked.request)
            raise
        incoming = _Incoming(upload, asked.size)
        alive = Alarm(self._clock, lambda: self._go_on_saying(asked.request, incoming, alive))
        try:
            self._send(PutAt(asked.request, upload.offset, upload.present))
            if upload.present:
                return
            self._begins(asked.request, incoming)
            alive.set(limits.PUT_SAID_EVERY)
            await incoming.ended
            await upload.finish()
        except BaseException:
            await incoming.flush()
            self._put_ended(asked.request)
            raise
        finally:
            alive.stop()
            self._coming.pop(asked.request, None)
            if not self._coming:
                self._idle.stop()
            upload.close()

    def take(self, data: Data) -> None:
        """Bytes of a file came; raises `ProtocolViolation` if nobody asked for them."""
        incoming = self._coming.get(data.request)
        if incoming is not None:
            self.bytes_in += len(data.payload)
            self._heard_at = self._clock.seconds()
            written = incoming.take(data.payload)
            if written is not None:
                written.addCallback(lambda _: self._say_how_far(data.request, incoming))
                self._hold_reading(written)
        elif data.request not in self._ended:
            raise ProtocolViolation("bytes of a file that is not being put")

    def all_came(self, request: int) -> None:
        """The client sent all of a file that it wants to; raises `ProtocolViolation` if there is no such put."""
        incoming = self._coming.get(request)
        if incoming is not None:
            incoming.all_came()
        elif request not in self._ended:
            raise ProtocolViolation("the end of a file that is not being put")

    def _begins(self, request: int, incoming: _Incoming) -> None:
        self._coming[request] = incoming
        self._heard_at = self._clock.seconds()
        if not self._idle.is_set:
            self._idle.set(limits.FILES_PUT_IDLE)

    def _say_how_far(self, request: int, incoming: _Incoming) -> None:
        if request in self._coming:
            self._send(PutAt(request, incoming.came))

    def _go_on_saying(self, request: int, incoming: _Incoming, alive: Alarm) -> None:
        self._say_how_far(request, incoming)
        alive.set(limits.PUT_SAID_EVERY)

    def _put_ended(self, request: int) -> None:
        """What still comes for this one is dropped: it was on its way when the put failed."""
        self._ended[request] = None
        while len(self._ended) > limits.PUTS_ENDED:
            self._ended.popitem(last=False)

    def _on_idle(self) -> None:
        """Fail what is waited for, if nothing came for too long."""
        now = self._clock.seconds()
        waited_for = [incoming for incoming in self._coming.values() if not incoming.ended.called]
        if any(incoming.writing for incoming in waited_for):
            self._heard_at = now  # this side reads nothing meanwhile
        left = self._heard_at + limits.FILES_PUT_IDLE - now
        if left > 0:
            self._idle.set(left)
            return
        for incoming in waited_for:
            incoming.fail(PeerTimeout("Nothing came of the file for too long; what came is kept."))
        if self._coming:
            self._idle.set(limits.FILES_PUT_IDLE)


class _Incoming:
    """The bytes of one file that is put, gathered until it is worth while to write them."""

    def __init__(self, upload: Upload, size: int) -> None:
        self.ended: Deferred[None] = Deferred()
        """Fires when all bytes came and were written; fails if that can not be."""
        self._upload = upload
        self._size = size
        self._left = size - upload.offset
        self._waiting: list[bytes | memoryview] = []
        self._waits = 0
        self._writing: Deferred[None] | None = None
        self._broken = False

    @property
    def came(self) -> int:
        """How many bytes of the file are here, with those that are not written yet."""
        return self._size - self._left

    @property
    def writing(self) -> bool:
        """Whether bytes are being written."""
        return self._writing is not None and not self._writing.called

    def take(self, data: bytes | memoryview) -> Deferred[None] | None:
        """Take bytes; return what to wait for before more of them are read. ProtocolViolation if there are too many."""
        self._left -= len(data)
        if self._left < 0:
            raise ProtocolViolation("more bytes of a file than it has")
        self._waiting.append(data)
        self._waits += len(data)
        return self.flush() if self._waits >= _WRITE_BYTES else None

    def flush(self) -> Deferred[None]:
        """Write what waits; the Deferred fires when that is done, also if it failed: then `ended` fails."""
        data = b"".join(self._waiting)
        self._waiting, self._waits = [], 0
        before = self._writing
        written: Deferred[None] = Deferred()
        self._writing = written

        def write(_: object) -> None:
            if data and not self._broken:
                self._upload.write(data).addErrback(self._failed).addBoth(lambda _: written.callback(None))
            else:
                written.callback(None)

        if before is None or before.called:
            write(None)
        else:
            before.addBoth(write)
        return written

    def all_came(self) -> None:
        """The other side has sent all it wants to."""
        self.flush().addCallback(self._all_written)

    def fail(self, error: Exception) -> None:
        """It does not come any more."""
        if not self.ended.called:
            self.ended.errback(Failure(error))

    def _all_written(self, _: None) -> None:
        if self._left:
            self.fail(Refusal("The file did not come whole; what came is kept."))
        elif not self.ended.called:
            self.ended.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._broken = True
        if not self.ended.called:
            self.ended.errback(failure)
