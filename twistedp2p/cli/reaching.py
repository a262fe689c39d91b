"""A command that talks to a file server: from the SOURCE that a person gives to a client, and to an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar

import click
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from twistedp2p.cli.interruptible import NOTHING, run_to_end
from twistedp2p.disk.memory import keep_free_memory
from twistedp2p.errors import BadInvite, NoSuchFile, ProtocolViolation, TwistedP2PError
from twistedp2p.framing.network import Network
from twistedp2p.framing.tls import TLSNetwork
from twistedp2p.identity.codes import Place
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.files_code import FilesInvite
from twistedp2p.identity.given import given_text
from twistedp2p.limits import FILES_PATIENCE, MOVING_BLOCK_BYTES
from twistedp2p.paths import RelPath
from twistedp2p.transfer.files.client import FilesClient, Make, Server, is_passing
from twistedp2p.transfer.files.connection import FilesConnection
from twistedp2p.transfer.files.messages import FileEntry

__all__ = [
    "SOURCE_FROM_INPUT",
    "SOURCE_VARIABLE",
    "Session",
    "give_up_option",
    "parse_source",
    "remote_path",
    "source_argument",
    "with_server",
]

P = ParamSpec("P")
T = TypeVar("T")

SOURCE_FROM_INPUT = "twistedp2p.source_from_input"
"""Where the context of a command says whether SOURCE was read from standard input: then nothing else is."""
SOURCE_VARIABLE = "TWISTEDP2P_SOURCE"
"""What SOURCE is when it is ``@``, or not given at all."""
_ENTRIES_AT_ONCE = 5000
"""Entries of a listing that are held at a time: then it is asked for again from there."""


class NetworkWay(Protocol):
    """A `Way` of a `FilesClient` that needs the network of the client, which `with_server` makes."""

    network: Network | None

    def __call__(self, make: Make) -> Deferred[Any]:
        """See `Way`."""


def parse_source(text: str) -> Server:
    """Return the server that an invite or HOST:PORT names; raises `BadInvite`."""
    if "tp2p" in text.lower():
        return Server.of(FilesInvite.parse(text))
    try:
        return Server((Place.parse(text),))
    except BadInvite:
        raise BadInvite(
            "This is neither the invite of a file server, which begins with tp2p1:, nor HOST:PORT."
        ) from None


@frozen
class Session:
    """A server that is talked to, and the reactor that does it."""

    reactor: Any
    client: FilesClient

    def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run what blocks."""
        return deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work, *args, **kwargs)

    async def ask(self, question: Callable[[FilesConnection], Deferred[T]]) -> T:
        """Ask until there is an answer, over a new connection if one breaks."""
        return await self.client.answer(question)

    async def entries(self, path: str, *, deep: bool = False, pattern: str = "") -> AsyncIterator[Sequence[FileEntry]]:
        """Yield what the server lists, some thousand at a time; what it must not list is refused.

        Raises what the server says is missing after all that it listed was yielded.
        """
        after = ""
        while True:
            found: list[FileEntry] = []
            missing: NoSuchFile | None = None
            try:
                whole = await self._some(path, deep, pattern, after, found)
            except NoSuchFile as error:
                missing = error
            for entry in found:
                _check(entry, path, after)
                after = entry.path
            if found:
                yield found
            if missing is not None:
                raise missing
            if whole:
                return

    async def _some(self, path: str, deep: bool, pattern: str, after: str, found: list[FileEntry]) -> bool:
        """List some thousand entries; return whether that was all."""
        connection = await self.client.connected()
        try:
            await connection.listing(path, found.extend, deep=deep, pattern=pattern, after=after, most=_ENTRIES_AT_ONCE)
        except TwistedP2PError as error:
            if not is_passing(error):
                raise
            return False
        return len(found) < _ENTRIES_AT_ONCE


def _check(entry: FileEntry, path: str, before: str) -> None:
    """Raise unless `entry` may stand in a listing of `path` after `before`: a server is not trusted with names.

    Its paths must rise: a listing that repeats itself would never end.
    """
    RelPath(entry.path)
    if path and entry.path != path and not entry.path.startswith(path + "/"):
        raise ProtocolViolation("The server lists what it was not asked for.")
    if before and entry.path.encode().split(b"/") <= before.encode().split(b"/"):
        raise ProtocolViolation("The server lists the same names again; tell whoever runs it.")


def remote_path(text: str) -> str:
    """Return the path at the server that a person means: "", "." and "/" are the top. Raises `BadPath`."""
    text = text.strip("/") if text.strip("/") else ""
    if text in ("", "."):
        return ""
    return RelPath(text.removeprefix("./")).text


def with_server(
    server: Server,
    work: Callable[[Session], Coroutine[Any, Any, int]],
    *,
    patience: float = FILES_PATIENCE,
    ways: Sequence[NetworkWay] = (),
    device: DeviceKey | None = None,
) -> None:
    """Run `work` with a client of the server, and end the process with the status that it returns.

    `ways` lead to it beside dialling; `device` is the key of this side, by default one that is made now.

    An error is one sentence and status 1; `NoSuchFile` is status 3; Ctrl-C is 130.
    """

    async def main(reactor: Any) -> int:
        network = TLSNetwork(reactor, device or DeviceKey.generate(), long_streams=True)
        client = FilesClient(network, server, name=os.uname().nodename, patience=patience, ways=ways)
        for way in ways:
            way.network = network
        try:
            return await work(Session(reactor, client))
        finally:
            client.close()

    keep_free_memory(MOVING_BLOCK_BYTES)
    run_to_end(main, nothing=NOTHING)


def _source(context: click.Context, parameter: click.Parameter, value: str | None) -> Server:
    if value in (None, "@"):
        value = os.environ.get(SOURCE_VARIABLE)
        if not value:
            raise click.UsageError(
                f"Give SOURCE: the invite of a file server, '@FILE', '-', HOST:PORT, or '@' with {SOURCE_VARIABLE} set."
            )
    assert value is not None
    context.meta[SOURCE_FROM_INPUT] = value == "-"
    return parse_source(given_text(value, sys.stdin))


def source_argument(function: Any) -> Any:
    """Add SOURCE; the command gets a `Server`."""
    return click.argument("source", metavar="SOURCE", required=False, callback=_source)(function)


def give_up_option(function: Any) -> Any:
    """Add ``--give-up``; the command gets `give_up`, seconds."""
    return click.option(
        "--give-up",
        type=click.FloatRange(min=0),
        default=FILES_PATIENCE,
        show_default=True,
        metavar="SECONDS",
        help="End when the server can not be reached for this long.",
    )(function)
