"""The documents say what the code does: commands, options, layers, limits, messages, and the bytes of two exchanges.

python -m tests.test_docs      prints the sample exchanges of docs/protocol.md as the code makes them
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import attrs
import click
import pytest
from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.internet.interfaces import IAddress
from twisted.plugin import getPlugins
from twisted.python.usage import Options

from tests.framing.memory import Hub, Made
from tests.test_layers import ROOMS
from tests.tracker.test_client import News
from tests.transfer.nodes import MemorySource
from twistedp2p import __version__, limits
from twistedp2p.cli.main import command
from twistedp2p.framing.admission import Admission
from twistedp2p.framing.network import PEER_ALPN, TRACKER_ALPN
from twistedp2p.identity.device import DeviceKey
from twistedp2p.identity.invite import TrackerAddress
from twistedp2p.identity.seal import item_key, seal
from twistedp2p.identity.share import ShareKeys
from twistedp2p.messages.peer import PEER_TYPES
from twistedp2p.messages.tracker import TRACKER_TYPES
from twistedp2p.peer.announce import Announcer
from twistedp2p.peer.status import StatusBoard
from twistedp2p.peer.troubles import Code
from twistedp2p.records import FORMAT, encode_record
from twistedp2p.tap import echo, fileserver, peer, tracker
from twistedp2p.testing.world import World
from twistedp2p.tracker.client import TrackerClient
from twistedp2p.tracker.directory import Directory
from twistedp2p.tracker.local import LocalDirectory
from twistedp2p.tracker.protocol import TrackerProtocol
from twistedp2p.tracker.wire import TRACKER
from twistedp2p.transfer.files.messages import FILES_TYPES
from twistedp2p.transfer.hashing import content_id_of
from twistedp2p.transfer.protocol import PeerProtocol
from twistedp2p.transfer.wire import PEER
from twistedp2p.versions import EMPTY, Dot, Live, write
from twistedp2p.wire import Codec

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CHANGELOG.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


@cache
def text_of(document: str) -> str:
    """Return the text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def section(document: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    text = text_of(document)
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert found, f"{document} has no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of tables, but for their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    rules = [index for index, cells in enumerate(found) if set("".join(cells)) <= set("-|")]
    return [cells for index, cells in enumerate(found) if index not in rules and index + 1 not in rules]


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


# -- links, paths and names ---------------------------------------------------


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document: str) -> None:
    """Every relative link leads to a file, and its anchor to a heading there."""
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / document).parent / name if name else ROOT / document
        if not path.exists():
            wrong.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            wrong += [target] if anchor not in map(slug, headings) else []
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files(document: str) -> None:
    """Every test and file of the package that is named is there."""
    named = re.findall(r"`((?:tests|twistedp2p|tools)/[\w./]+)`", text_of(document))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", ["README.md", "docs/design.md", "docs/protocol.md"])
def test_named_modules(document: str) -> None:
    """Every module that is named is there. (In running.md such names are fields of the status.)"""
    rooms = "peer|tracker|transfer|framing|identity|web|cli|testing|tap"
    named = re.findall(rf"`(?:twistedp2p\.)?((?:{rooms})\.[a-z_.]+)`", text_of(document))
    paths = [ROOT / "twistedp2p" / Path(*name.split(".")) for name in named]
    assert [path for path in paths if not (path.is_dir() or path.with_suffix(".py").exists())] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_limits_exist(document: str) -> None:
    """Every limit that is named is one."""
    named = set(re.findall(r"`(?:limits\.)?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`", text_of(document)))
    assert {name for name in named if not name.startswith("TWISTEDP2P_") and not hasattr(limits, name)} == set()


def test_values_of_limits() -> None:
    """The table of limits has the values of today, and every limit that the protocol's text names."""
    limit_rows = rows(section("docs/protocol.md", "Limits"))
    table = {cells[0].strip("`"): float(cells[1].replace(",", "")) for cells in limit_rows}
    assert table == {name: getattr(limits, name) for name in table}
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`", text_of("docs/protocol.md")))
    assert named - table.keys() == set()


def test_layers() -> None:
    """The list of rooms is that of the test of layers, in its order."""
    first_column = [cells[0] for cells in rows(section("docs/design.md", "Rooms"))]
    assert [name.strip("`") for name in first_column if "." not in name] == [*ROOMS]


def test_version() -> None:
    """The changelog begins with the version of the package."""
    newest = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.M)
    assert newest is not None and newest[1] == __version__


# -- commands and options -----------------------------------------------------


def test_make_targets() -> None:
    """Every make target that is named exists."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    named = {name for document in DOCUMENTS for name in re.findall(r"(?:`|\$ )make ([a-z-]+)", text_of(document))}
    assert {"demo", "test"} <= named <= targets


def test_commands() -> None:
    """Every command and service that is named exists, and running.md has a section for each that exists."""
    commands = {*command.list_commands(click.Context(command))}
    makers = [maker for maker in getPlugins(IServiceMaker) if isinstance(maker, ServiceMaker)]
    services = {maker.tapname for maker in makers if maker.module.startswith("twistedp2p.")}
    for document in DOCUMENTS:
        assert set(re.findall(r"(?:`|\$ )twistedp2p ([a-z]+)", text_of(document))) <= commands
        assert set(re.findall(r"twistd -n ([a-z]+)", text_of(document))) <= services
    for name in commands:
        section("docs/running.md", f"twistedp2p {name}")
    for name in services:
        section("docs/running.md", f"twistd -n {name}")


@pytest.mark.parametrize("name", command.list_commands(click.Context(command)))
def test_options_of_commands(name: str) -> None:
    """The table of a command's options has all of them and no others."""
    found = command.get_command(click.Context(command), name)
    assert found is not None
    parts = [found, *found.commands.values()] if isinstance(found, click.Group) else [found]
    parameters = [parameter for part in parts for parameter in part.params if isinstance(parameter, click.Option)]
    options = {option for parameter in parameters for option in parameter.opts}
    assert table_of_options(f"twistedp2p {name}") == {option for option in options if option.startswith("--")}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tracker", tracker.Options()),
        ("peer", peer.Options()),
        ("echo", echo.Options()),
        ("fileserver", fileserver.Options()),
    ],
)
def test_options_of_services(name: str, options: Options) -> None:
    """The table of a service's options has all of them and no others."""
    every = {f"--{option.rstrip('=')}" for option in options.longOpt}
    assert table_of_options(f"twistd -n {name}") == every - {"--help", "--version"}


def table_of_options(heading: str) -> set[str]:
    """Return the options that stand in the first column of the table below a heading."""
    first_column = [cells[0] for cells in rows(section("docs/running.md", heading))]
    return {option for cell in first_column for option in re.findall(r"--[a-z-]+", cell)}


STATUS_LISTS = {
    "moving": {"path", "size", "done", "rate"},
    "not_shared": {"path", "reason"},
    "errors": {"path", "code", "text"},
    "waiting": {"path", "code", "text"},
    "reasons": {"code", "files", "text"},
}
"""Fields of lists that are empty in a peer that is in sync; `twistedp2p.web.status` reads them."""


def test_status(tmp_path: Path) -> None:
    """The table of the status has all its fields and no others."""
    with World(1, tmp_path) as world:
        world.tracker()
        anna, _ = world.peers(2)
        world.settle()
        status = StatusBoard(anna.peer, world.clock.seconds, world.clock.seconds).status()
    fields: set[str] = set()
    for name, value in status.items():
        if isinstance(value, dict):
            fields |= {f"{name}.{field}" for field in value}
        elif isinstance(value, list) and not all(isinstance(one, str) for one in value or [{}]):
            fields |= {f"{name}[].{field}" for field in (STATUS_LISTS.get(name) or value[0])}
        else:
            fields.add(name)
    table = rows(section("docs/running.md", "The status as JSON"))
    assert {field for cells in table for field in re.findall(r"`([^`]+)`", cells[0])} == fields


def test_codes_of_reasons() -> None:
    """The table of reasons has every code, and no others."""
    table = rows(section("docs/running.md", "When something does not sync"))
    codes = {code for cells in table for code in re.findall(r"`([a-z-]+)`", cells[0])}
    assert codes == {code.value for code in Code} | {"no-peer"}


@pytest.mark.parametrize("number", range(2))
def test_programs(number: int, tmp_path: Path) -> None:
    """The programs of the README run as they stand."""
    program = blocks(text_of("README.md"), "python")[number]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.match((r"0 files can be fetched by who has tp2p1:", r"in sync after [\d.]+ s")[number], done.stdout)


# -- messages -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "types"),
    [("Peer and tracker", TRACKER_TYPES), ("Peer and peer", PEER_TYPES), ("Client and file server", FILES_TYPES)],
)
def test_type_bytes(heading: str, types: dict[int, type]) -> None:
    """The tables of type bytes are those of the code."""
    numbered = [cells for cells in rows(section("docs/protocol.md", heading)) if cells[0].isdigit()]
    table = {int(cells[0]): cells[1].strip("`") for cells in numbered}
    assert table == {number: cls.__name__ for number, cls in types.items()}


EMPTY_MESSAGES = {"Ping", "Pong", "Goodbye"}


@pytest.mark.parametrize(
    "message",
    {cls.__name__: cls for types in (TRACKER_TYPES, PEER_TYPES, FILES_TYPES) for cls in types.values()}.values(),
)
def test_fields(message: type) -> None:
    """Each message has a section whose table has all its fields, in their order."""
    fields = [field.name for field in attrs.fields(message)]
    if message.__name__ in EMPTY_MESSAGES:
        assert fields == []
        return
    table = rows(section("docs/protocol.md", message.__name__))
    assert [cells[0].strip("`") for cells in table] == fields


# -- the sample exchanges -----------------------------------------------------

KEYS = ShareKeys.derive(b"s" * 16, portable=False)
LETTER = b"Dear Ben\n"
LINE = 40
"""Bytes in a line of hex."""


def key_of(letter: str) -> DeviceKey:
    """Return the device key that is made of that letter."""
    return DeviceKey.generate(lambda size: letter.encode() * size)


class Tape:
    """Writes down what goes over the links of a hub: (who said it, its bytes)."""

    def __init__(self, hub: Hub, names: dict[str, str]) -> None:
        self.frames: list[tuple[str, bytes]] = []
        self._hub = hub
        self._names = names

    def run(self) -> None:
        """Deliver until nothing moves."""
        moved = True
        while moved:
            moved = False
            for link in list(self._hub.links):
                data = link.outbox[0] if link.outbox else b""
                if link.step():
                    moved = True
                    self.frames += [(self._names[link.host.host], data)] if data else []


class Anna(News):
    """A peer with one file, as its tracker's client sees it."""

    def __init__(self) -> None:
        super().__init__("anna")
        version = Live(content_id_of(LETTER), len(LETTER), mtime_ns=1_800_000_000_000_000_000)
        register = write(EMPTY, Dot(b"anna's 1", 1), version, None)
        blob = seal(KEYS, encode_record("letter", register), FORMAT)
        key = item_key(blob)
        self.blobs = {key: blob}
        self.announcer = Announcer(lambda path: (key, True), lambda key: None, lambda: ["letter"])
        self.client: TrackerClient

    def say(self) -> None:
        """Announce what is new."""
        batch = self.announcer.next()
        assert batch is not None
        self.digests = (self.announcer.known.value(), self.announcer.held.value())
        self.client.announce(batch)

    def say_all(self, whole: bool) -> None:
        """Announce everything."""
        self.announcer.say_all(by_key=True, whole=whole)
        self.say()


def tracker_exchange() -> list[tuple[str, bytes]]:
    """Return what Anna and the tracker say."""
    hub = Hub()
    network = hub.network(key_of("t"), "10.0.0.9")
    directory = LocalDirectory(Directory(bytes), hub.clock, wall=lambda: 1_800_000_000.0)
    admission = Admission()

    def take(address: IAddress) -> TrackerProtocol:
        ticket = admission.enter(address)
        assert ticket is not None
        return TrackerProtocol(network, directory, ticket)

    network.listen(f"tcp:{limits.TRACKER_PORT}", Made(take), alpn=TRACKER_ALPN)
    anna = Anna()
    where = TrackerAddress("10.0.0.9", limits.TRACKER_PORT, key_of("t").pin)
    anna.client = TrackerClient(
        hub.network(key_of("a"), "10.0.0.1"), [where], KEYS, anna, random=lambda: 0.0, entropy=bytes
    )
    tape = Tape(hub, {"10.0.0.1": "anna", "10.0.0.9": "tracker"})
    anna.client.start()
    tape.run()
    anna.say()
    tape.run()
    hub.clock.advance(limits.KEEPALIVE)
    tape.run()
    anna.client.stop()
    tape.run()
    directory.stop()
    assert not hub.clock.getDelayedCalls()
    return tape.frames


def peer_exchange() -> list[tuple[str, bytes]]:
    """Return what Ben and Anna say when he fetches her letter."""
    hub = Hub()
    source = MemorySource()
    content = source.add(LETTER).content_id

    def protocol(name: str, expected: bytes | None) -> PeerProtocol:
        return PeerProtocol(
            network=hub.network(key_of(name[0]), {"anna": "10.0.0.1", "ben": "10.0.0.2"}[name]),
            keys=KEYS,
            name=name,
            versions=(1,),
            source=source,
            entropy=bytes,
            opened=lambda _: None,
            lost=lambda *_: None,
            expected=expected,
        )

    hub.network(key_of("a"), "10.0.0.1").listen("tcp:17412", Made(lambda _: protocol("anna", None)), alpn=PEER_ALPN)
    ben = protocol("ben", key_of("a").node_id)
    hub.connect(hub.network(key_of("b"), "10.0.0.2"), Made(lambda _: ben), ("10.0.0.1", 17412), PEER_ALPN)
    tape = Tape(hub, {"10.0.0.1": "anna", "10.0.0.2": "ben"})
    tape.run()
    arrived: dict[bytes, bytes] = {}
    ben.fetch_contents([content], arrived.__setitem__)
    tape.run()
    assert arrived == {content: LETTER}
    ben.say_goodbye()
    tape.run()
    assert not hub.clock.getDelayedCalls()
    return tape.frames


def written(frames: list[tuple[str, bytes]], codec: Codec) -> Iterator[str]:
    """Yield the lines of an exchange as docs/protocol.md has it."""
    for who, frame in frames:
        yield f"{who}: {type(codec.decode(frame[4:])).__name__}"
        yield from (f"  {frame[at : at + LINE].hex()}" for at in range(0, len(frame), LINE))


EXCHANGES: list[tuple[str, Callable[[], list[tuple[str, bytes]]], Codec]] = [
    ("Anna and the tracker", tracker_exchange, TRACKER),
    ("Ben fetches the letter from Anna", peer_exchange, PEER),
]


@pytest.mark.parametrize(("heading", "exchange", "codec"), EXCHANGES)
def test_exchange(heading: str, exchange: Callable[[], list[tuple[str, bytes]]], codec: Codec) -> None:
    """The code says, byte by byte, what the sample exchange shows, and each frame is the message that is named."""
    (shown,) = blocks(section("docs/protocol.md", heading), "text")
    assert shown.splitlines() == [*written(exchange(), codec)]


if __name__ == "__main__":
    for heading, exchange, codec in EXCHANGES:
        print(heading, *written(exchange(), codec), sep="\n")
