"""The client's side of one connection with a server of named files; `messages` tells the conversation.

Whoever dialled, the client speaks first, once it knows the key of the other side.

Every method that asks returns a Deferred (which can be awaited): it fails with what the server says, a class of
`errors`, or with `Unreachable` when the connection is lost; cancelling it cancels the request. What came of a file is
not verified here: who puts the ranges together compares the whole with `content_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twistedp2p import limits
from twistedp2p.errors import CorruptContent, ProtocolViolation, TwistedP2PError, WrongPeer, code_to_error
from twistedp2p.framing.endings import why_lost
from twistedp2p.framing.frames import FrameProtocol
from twistedp2p.framing.handshake import prove
from twistedp2p.framing.network import FILES_ALPN, Network
from twistedp2p.framing.requests import Requests
from twistedp2p.identity.device import pin_of
from twistedp2p.identity.proof import NONCE_BYTES, Channel, Role
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.common import Cancel, Data, Done, Failed, Goodbye, Ping, Pong, Refused
from twistedp2p.transfer.files.messages import (
    FILES,
    FileEntry,
    FileMissing,
    FilesHello,
    FilesWelcome,
    Hashed,
    HashOf,
    Listed,
    ListFolder,
    MakeFolder,
    PutAt,
    PutEnd,
    PutFile,
    ReadFiles,
    ReadRange,
    Received,
    RemoveFile,
    RenameFile,
)
from twistedp2p.transfer.files.source import SmallFile
from twistedp2p.transfer.liveness import Liveness
from twistedp2p.transfer.stream import data_of

__all__ = ["FilesConnection", "Put"]

_VERSIONS = (1,)


class FilesConnection(FrameProtocol):
    """One connection with a server; lives until it is lost or closed.

    `server` is the server's `FilesWelcome` once `opened` was called.

    Args:
        network: the way to the server.
        keys: of an invite; None to ask without one, which the server must allow.
        pin: of the server's key, which is checked before a word is said; None if it is not known.
        name: by which this side is shown to people.
        entropy: random bytes, for the nonce.
        opened: called with this connection once the server said `FilesWelcome`.
        lost: called with this connection and the reason, once, in whatever state it was.
        dialled: whether this side dialled; a sender that this side can not reach dials itself.
    """

    def __init__(
        self,
        *,
        network: Network,
        keys: ShareKeys | None,
        pin: bytes | None,
        name: str,
        entropy: Callable[[int], bytes],
        opened: Callable[[FilesConnection], object],
        lost: Callable[[FilesConnection, Failure], object],
        dialled: bool = True,
    ) -> None:
        super().__init__(network, FILES, alpn=FILES_ALPN, dialled=dialled)
        self._dialled = dialled
        self.server: FilesWelcome | None = None
        self.server_pin = b""
        """The pin of the key that the server showed, 16 bytes."""
        self.bytes_in = 0
        """Bytes of content that came."""
        self.bytes_out = 0
        """Bytes of content that were written to the connection."""
        self.fell_silent = False
        """Whether it was given up because the server did not answer any more."""
        self.ended: TwistedP2PError | None = None
        self._keys = keys
        self._pin = pin
        self._name = name[: limits.NAME_CHARS]
        self._entropy = entropy
        self._opened = opened
        self._lost = lost
        self._requests = Requests(
            self.clock,
            send=self.send_message,
            cancel_of=Cancel,
            silent=self._no_answers,
            heard_at=lambda: self.heard_at,
        )
        self._liveness = Liveness(
            self.clock,
            heard_at=lambda: self.heard_at,
            ping=lambda: self.send_message(Ping()),
            dead=lambda: self.abort("the other side gives no sign of life"),
            busy=lambda: self.sending,
        )

    # -- asking --

    def listing(
        self,
        path: str,
        sink: Callable[[Sequence[FileEntry]], object],
        *,
        deep: bool = False,
        pattern: str = "",
        after: str = "",
        most: int = 0,
    ) -> Deferred[None]:
        """List a folder ("" is the top) or a file; `sink` hears the entries in order, a page at a time.

        No more than `most`, 0 for all; to go on, ask for what comes `after` the last.
        """

        listed = 0

        def part(message: object) -> None:
            nonlocal listed
            if not isinstance(message, Listed):
                raise ProtocolViolation("a listing without entries")
            listed += len(message.entries)
            if most and listed > most:
                raise ProtocolViolation("more of a listing than was asked for")
            sink(message.entries)

        return self._requests.ask(lambda number: ListFolder(number, path, deep, pattern, after, most), part)

    def read_range(
        self, path: str, token: bytes, offset: int, length: int, sink: Callable[[int, bytes | memoryview], object]
    ) -> Deferred[None]:
        """Ask for a range of at most `limits.RANGE_BYTES`; `sink(offset, bytes)` hears it in order.

        The bytes that the sink heard are good even if the Deferred fails.
        """
        at, end = offset, offset + length

        def part(message: object) -> None:
            nonlocal at
            if not isinstance(message, Data) or not message.payload or at + len(message.payload) > end:
                raise ProtocolViolation("other bytes than were asked for")
            here = at
            at += len(message.payload)
            self.bytes_in += len(message.payload)
            sink(here, message.payload)

        def done(_: None) -> None:
            if at != end:
                raise CorruptContent("Fewer bytes came than were asked for.")

        return self._requests.ask(lambda number: ReadRange(number, path, token, offset, length), part).addCallback(done)

    def read_files(
        self, files: Sequence[tuple[str, bytes]], sink: Callable[[int, SmallFile | TwistedP2PError], object]
    ) -> Deferred[None]:
        """Ask for small files, at most `limits.SMALL_FILES_PER_REQUEST`, by (path, token).

        `sink(position, file)` hears each, or why it did not come, in order. Whoever uses the bytes compares them with
        the content id, in a worker thread: that costs more than all the rest.
        """
        at = 0

        def part(message: object) -> None:
            nonlocal at
            position = at
            at += 1
            if position >= len(files):
                raise ProtocolViolation("more files than were asked for")
            if isinstance(message, FileMissing) and message.position == position:
                sink(position, code_to_error(message.code, f"{files[position][0]} could not be read."))
            elif isinstance(message, Data) and len(message.payload) >= 32:
                self.bytes_in += len(message.payload) - 32
                sink(position, SmallFile(bytes(message.payload[:32]), bytes(message.payload[32:])))
            else:
                raise ProtocolViolation("other files than were asked for")

        def done(_: None) -> None:
            if at != len(files):
                raise CorruptContent("Fewer files came than were asked for.")

        return self._requests.ask(lambda number: ReadFiles(number, tuple(files)), part).addCallback(done)

    def content_of(self, path: str, token: bytes, progress: Callable[[int], object] | None = None) -> Deferred[bytes]:
        """Ask for the content id of a file (BLAKE3, 32 bytes); `progress` hears how many bytes are hashed."""
        found: list[bytes] = []

        def part(message: object) -> None:
            if not isinstance(message, Hashed) or found:
                raise ProtocolViolation("something else than the hash asked for")
            if message.content is not None:
                found.append(message.content)
            elif progress is not None:
                progress(message.done)

        def done(_: None) -> bytes:
            if not found:
                raise CorruptContent("The hash that was asked for did not come.")
            return found[0]

        return self._requests.ask(lambda number: HashOf(number, path, token), part).addCallback(done)

    def put(
        self,
        path: str,
        *,
        size: int,
        mtime_ns: int,
        executable: bool,
        content: bytes,
        overwrite: bool = False,
        moved: Callable[[int], object] = lambda _: None,
    ) -> Put:
        """Begin to put a file of `size` bytes whose content id is `content`; the rest is told to what is returned.

        `moved` hears, from time to time, how many bytes of the file the server has.
        """
        put = Put(self, moved)

        def message(number: int) -> PutFile:
            put.number = number
            return PutFile(number, path, size, mtime_ns, executable, content, overwrite)

        put.done = self._requests.ask(message, put.part)
        put.done.addErrback(put.failed)
        return put

    def remove(self, path: str, *, deep: bool = False) -> Deferred[None]:
        """Remove a file or an empty folder, with `deep` a folder with all that is in it."""
        return self._ask(lambda number: RemoveFile(number, path, deep))

    def rename(self, path: str, to: str, *, overwrite: bool = False) -> Deferred[None]:
        """Rename a file or folder, over another file only with `overwrite`."""
        return self._ask(lambda number: RenameFile(number, path, to, overwrite))

    def make_folder(self, path: str) -> Deferred[None]:
        """Make a folder, and those above it that are not there."""
        return self._ask(lambda number: MakeFolder(number, path))

    def received(self, files: int, size: int, *, accepted: bool = True) -> Deferred[None]:
        """Tell a sender that all that is wanted is here, or that nothing is wanted."""
        return self._ask(lambda number: Received(number, files, size, accepted))

    def check(self) -> Deferred[bool]:
        """Find out whether the server is still there; a connection that is dead is aborted."""
        return self._liveness.check()

    def say_goodbye(self) -> None:
        """Close now; what is under way fails."""
        self.close(Goodbye())

    def _ask(self, message_of: Callable[[int], object]) -> Deferred[None]:
        def part(_: object) -> None:
            raise ProtocolViolation("a part of a reply that has none")

        return self._requests.ask(message_of, part)

    def _no_answers(self) -> None:
        self.fell_silent = True
        self.abort("no answers any more")

    # -- FrameProtocol calls these --

    def secured(self, channel: Channel) -> None:
        """The server's key is known: make sure that it is the right one, and say who this is."""
        self.server_pin = pin_of(channel.acceptor_spki if self._dialled else channel.dialler_spki)
        if self._pin is not None and self.server_pin != self._pin:
            self.ended = WrongPeer("Another server answers there than the one of this invite; ask for a new invite.")
            self.abort("another server than was dialled")
            return
        proof = None
        if self._keys is not None:
            role = Role.DIAL_FILES if self._dialled else Role.ACCEPT_FILES
            proof = prove(self._keys, role, channel, self._entropy(NONCE_BYTES))
        self.send_message(FilesHello(self._name, _VERSIONS, proof))

    def message_received(self, message: object) -> None:
        """Take one message; what is not expected now raises ProtocolViolation, which aborts the connection."""
        self._liveness.heard()
        match message:
            case Refused():
                self.ended = code_to_error(message.code, message.text)
                self.close()
            case FilesWelcome() if not self.proven:
                self.server = message
                self.set_proven()
                self._liveness.start()
                self._opened(self)
            case _ if not self.proven:
                raise ProtocolViolation(f"{type(message).__name__} came before the welcome")
            case Listed() | Data() | FileMissing() | Hashed() | PutAt():
                self._requests.part(message.request, message)
            case Done():
                self._requests.done(message.request)
            case Failed():
                self._requests.failed(message.request, code_to_error(message.code, message.text))
            case Ping():
                self.send_message(Pong())
            case Pong():
                pass
            case Goodbye():
                self.close()
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not expected now")

    def link_lost(self, reason: Failure) -> None:
        """Fail what was asked, and tell whoever made this connection."""
        self.ended = why_lost(self.ended, self.error, reason)
        reason = Failure(self.ended)
        self._liveness.stop()
        # First, so that whoever asks again because its request failed does not ask this connection.
        self._lost(self, reason)
        self._requests.lost(reason)


class Put:
    """A file on its way to the server: wait for `begun`, `write` from there on, `end`, then wait for `done`.

    Args:
        moved: hears how many bytes of the file the server has.
    """

    def __init__(self, connection: FilesConnection, moved: Callable[[int], object]) -> None:
        self._connection = connection
        self._moved = moved
        self.number = -1
        self.begun: Deferred[PutAt] = Deferred()
        """Fires with where to begin; `present`: the very file is there already. Fails as `done` does."""
        self.done: Deferred[None]
        """Fires when the file is in place; fails if it can not be put. Cancel it to give up: the server keeps
        what it has for the next time."""

    def write(self, data: bytes) -> Deferred[None]:
        """Send the next bytes; the Deferred fires when the connection took them: wait for it."""
        self._connection.bytes_out += len(data)
        return self._connection.send_stream(data_of(self.number, data, limits.FILE_DATA_SENT_BYTES))

    def end(self) -> None:
        """All was written."""
        self._connection.send_message(PutEnd(self.number))

    def part(self, message: object) -> None:
        """The server says where to begin, or how far it is."""
        if not isinstance(message, PutAt):
            raise ProtocolViolation("something else than how far a file is put")
        if not self.begun.called:
            self.begun.callback(message)
        else:
            self._moved(message.offset)

    def failed(self, failure: Failure) -> Failure:
        """It can not be put: `begun` does not wait any longer."""
        if not self.begun.called:
            self.begun.errback(failure)
        return failure
