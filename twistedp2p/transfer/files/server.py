"""The server's side of one connection about named files; `messages` tells the conversation.

Who has not proved that it has an invite hears not one byte, unless the server is open to read for anybody. What is
asked is answered at the pace at which the other side reads, a few requests at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import (
    BadPath,
    ConnectionFull,
    DiskFailed,
    NotWritable,
    ProtocolViolation,
    TwistedP2PError,
    error_to_code,
)
from twistedp2p.framing.admission import Ticket
from twistedp2p.framing.endings import end_of
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import acceptor_of, dialler_of
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.framing.requests import Answers
from twistedp2p.identity.device import node_text
from twistedp2p.identity.proof import Channel
from twistedp2p.messages.common import Cancel, Data, Goodbye, Ping, Pong
from twistedp2p.paths import RelPath
from twistedp2p.transfer.files.access import Access
from twistedp2p.transfer.files.listings import Listings
from twistedp2p.transfer.files.messages import (
    FILES,
    FileMissing,
    FilesHello,
    FilesWelcome,
    Hashed,
    HashOf,
    Listed,
    ListFolder,
    MakeFolder,
    PutEnd,
    PutFile,
    ReadFiles,
    ReadRange,
    Received,
    RemoveFile,
    RenameFile,
)
from twistedp2p.transfer.files.puts import Puts
from twistedp2p.transfer.files.source import FileSource, SmallFile, WritableSource, check_range
from twistedp2p.transfer.liveness import Liveness
from twistedp2p.transfer.stream import Stream

__all__ = ["Access", "FilesServerProtocol"]

_VERSIONS = (1,)
_SMALL_AT_ONCE = 64
"""Small files read in one go: 2 MiB at most."""


class FilesServerProtocol(FrameProtocol):
    """One connection with a client; made by `service`, lives until it is lost or closed.

    Args:
        network: the way to the others, with the key of this device.
        source: the files; a `WritableSource` if `access` has writers.
        access: who may do what.
        ticket: this caller's place in the counts.
        name: by which this side is shown to people.
        once: whether the source ends when all was received.
        opened: called with this protocol when the client may ask.
        dialled: whether this side dialled, because the client asked for that.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        network: Network,
        source: FileSource,
        access: Access,
        ticket: Ticket,
        name: str,
        once: bool = False,
        opened: Callable[[FilesServerProtocol], object] | None = None,
        dialled: bool = False,
    ) -> None:
        super().__init__(network, FILES, alpn=FILES_ALPN, dialled=dialled)
        self._dialled = dialled
        self.ended: Deferred[None] = Deferred()
        """Fires when the connection is gone and nothing is done for it any more."""
        self.node = b""
        """The node id of the client, 20 bytes."""
        self.name = ""
        """What the client calls itself."""
        self._source = source
        self._access = access
        self._ticket = ticket
        self._my_name = name[: limits.NAME_CHARS]
        self._once = once
        self._opened = opened
        self._channel: Channel | None = None
        self._writer = False
        self._stream = Stream(self.send_stream, limits.FILE_DATA_SENT_BYTES)
        self._listings = Listings(source.listing)
        self._answers = Answers(self._answered)
        self._puts = Puts(self.clock, self.send_message, self.hold_reading)
        self._liveness = Liveness(
            self.clock,
            heard_at=lambda: self.heard_at,
            ping=lambda: self.send_message(Ping()),
            dead=lambda: self.abort("the other side gives no sign of life"),
            busy=lambda: bool(len(self._answers)),
        )

    @property
    def bytes_in(self) -> int:
        """How many bytes of content came."""
        return self._puts.bytes_in

    @property
    def bytes_out(self) -> int:
        """How many bytes of content were sent."""
        return self._stream.sent

    def say_goodbye(self) -> None:
        """Close now; what is under way fails on both sides."""
        if self.proven:
            self.close(Goodbye())
        else:
            self.abort("the server stops")

    # -- FrameProtocol calls these --

    def secured(self, channel: Channel) -> None:
        """The client's key is known; wait for what it says."""
        self._channel = channel
        self.node = acceptor_of(channel) if self._dialled else dialler_of(channel)

    def message_received(self, message: object) -> None:
        """Take one message; what is not expected now raises ProtocolViolation, which aborts the connection."""
        if not self.proven:
            if not isinstance(message, FilesHello):
                raise ProtocolViolation(f"{type(message).__name__} came before the proof")
            self._on_hello(message)
            return
        self._liveness.heard()
        match message:
            case Data():
                self._puts.take(message)
            case PutEnd():
                self._puts.all_came(message.request)
            case Cancel():
                self._answers.cancel(message.request)
            case Ping():
                self.send_message(Pong())
            case Pong():
                pass
            case Goodbye():
                self.close()
            case _:
                self._on_request(message)

    def link_lost(self, reason: Failure) -> None:
        """Stop answering, and tell whoever made this connection."""
        self._answers.lost()
        self._liveness.stop()
        self._ticket.leave()
        if self.name:
            self._log.info(
                "{name} ({node}) left; {sent} bytes of files went out, {came} came in",
                name=self.name,
                node=node_text(self.node),
                sent=self.bytes_out,
                came=self.bytes_in,
            )
        self.ended.callback(None)

    # -- the proof --

    def _on_hello(self, hello: FilesHello) -> None:
        assert self._channel is not None
        self._writer = self._access.may_write(hello, self._channel, dialled=self._dialled)
        try:
            self._ticket.prove()
        except ConnectionFull as error:
            self.refuse(error)
            return
        self.name = hello.name
        self.set_proven()
        self._liveness.start()
        self.send_message(FilesWelcome(self._my_name, _VERSIONS, self._writer, self._once))
        self._log.info("{name} ({node}) may {do}", name=self.name, node=node_text(self.node), do=self._may())
        if self._opened is not None:
            self._opened(self)

    def _may(self) -> str:
        return "read and write" if self._writer else "read"

    # -- requests --

    def _on_request(self, message: object) -> None:
        work: Callable[[], Coroutine[Any, Any, None]]
        match message:
            case ListFolder():
                work = partial(self._list, message)
            case ReadRange():
                work = partial(self._range, message)
            case ReadFiles():
                work = partial(self._small, message)
            case HashOf():
                work = partial(self._hash, message)
            case PutFile():
                work = partial(self._put, message)
            case RemoveFile() | RenameFile() | MakeFolder():
                work = partial(self._change, message)
            case Received():
                work = partial(self._tell_received, message)
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not expected now")
        self._answers.begin(message.request, 0, work)

    async def _list(self, asked: ListFolder) -> None:
        for path in (asked.path, asked.after):
            if path:
                RelPath(path)
        async for page in self._listings.listing(asked):
            await self._stream.send(iter((Listed(asked.request, tuple(page)),)))

    async def _range(self, asked: ReadRange) -> None:
        if asked.length <= self._stream.piece_bytes:
            data = await self._source.read_range(_checked(asked.path), asked.token, asked.offset, asked.length)
            await self._stream.send(self._stream.frames(asked.request, data))
            return
        opened = await self._source.open(_checked(asked.path), asked.token)
        try:
            check_range(asked.path, opened, asked.offset, asked.length)
            await self._stream.send_range(asked.request, opened, asked.offset, asked.length)
        finally:
            opened.close()

    async def _small(self, asked: ReadFiles) -> None:
        for path, _ in asked.files:
            RelPath(path)
        groups = [asked.files[first : first + _SMALL_AT_ONCE] for first in range(0, len(asked.files), _SMALL_AT_ONCE)]
        reading = self._source.read_small(groups[0])
        at = 0
        for number, group in enumerate(groups):
            found = await reading
            more = number + 1 < len(groups)
            if more:
                reading = self._source.read_small(groups[number + 1])
            await self._stream.send(self._small_parts(asked.request, at, found), reading if more else None)
            at += len(group)

    def _small_parts(self, request: int, first: int, found: Sequence[SmallFile | TwistedP2PError]) -> Iterator[object]:
        for position, one in enumerate(found, first):
            if isinstance(one, SmallFile):
                self._stream.sent += len(one.data)
                yield Data(request, one.content + one.data)
            else:
                if isinstance(one, DiskFailed):
                    self._log.error("{error}", error=one)
                yield FileMissing(request, position, error_to_code(one))

    async def _hash(self, asked: HashOf) -> None:
        def progress(done: int) -> None:
            self.send_message(Hashed(asked.request, done))

        content = await self._source.content_of(_checked(asked.path), asked.token, progress)
        self.send_message(Hashed(asked.request, 0, content))

    async def _change(self, asked: RemoveFile | RenameFile | MakeFolder) -> None:
        source = self._writable()
        path = _checked(asked.path)
        match asked:
            case RemoveFile():
                await source.remove(path, asked.deep)
            case RenameFile():
                await source.rename(path, _checked(asked.to), asked.overwrite)
            case MakeFolder():
                await source.make_folder(path)

    async def _put(self, asked: PutFile) -> None:
        source = self._writable()
        _checked(asked.path)
        await self._puts.put(asked, source)

    async def _tell_received(self, asked: Received) -> None:
        self._source.received(asked.files, asked.bytes, asked.accepted)

    def _writable(self) -> WritableSource:
        if not self._writer:
            raise NotWritable("This invite lets you read only; ask for one that lets you write.")
        return cast(WritableSource, self._source)

    # -- the ends of answers --

    def _answered(self, request: int, failure: Failure | None) -> None:
        """Tell the other side how its request ended."""
        if failure is not None and failure.check(DiskFailed):
            self._log.error("{error}", error=failure.value)
        end = end_of(request, failure, bug="The server failed to do it; its log says why.")
        if end is not None:
            self.send_message(end)


def _checked(path: str) -> str:
    """Return a path that names something below the top; raises `BadPath`."""
    if not path:
        raise BadPath("The top of what is served can not be meant here; name a file or folder in it.")
    return RelPath(path).text
