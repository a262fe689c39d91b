"""The house keeps its order: imports look up the list of rooms only, and nothing loads the reactor.

Two kinds of check: the source of every module is read for what it imports, and every module
is imported alone in a fresh interpreter to see what that drags in.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

import twistedp2p

PACKAGE = Path(twistedp2p.__file__).parent

ROOMS = (
    "errors",
    "limits",
    "paths",
    "versions",
    "records",
    "ranges",
    "messages",
    "wire",
    "identity",
    "disk",
    "home",
    "framing",
    "echo",
    "transfer",
    "tracker",
    "peer",
    "web",
    "gateways",
    "cli",
    "testing",
    "tap",
)
"""The rooms from the ground up; a module imports from its own room and from those before it."""

CLOSED = frozenset({"tap", "cli", "testing"})
"""Rooms at the edge: nobody imports them, not even those after them."""

PURE = (
    "errors",
    "limits",
    "paths",
    "versions",
    "records",
    "ranges",
    "messages",
    "wire",
    "identity",
    "transfer.swarm",
    "transfer.chunking",
    "tracker.directory",
    "peer.ignore",
    "peer.phases",
    "peer.plan",
    "peer.replica",
    "peer.announce",
    "peer.changes",
    "peer.looked",
    "peer.reasons",
    "peer.troubles",
)
"""Values and decisions: they load nothing of Twisted. A room means all its modules."""


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package, as its dotted name below the package, with its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


def room(module: str) -> str:
    """Return the room that `module` is in."""
    return module.partition(".")[0]


def is_pure(module: str) -> bool:
    """Say whether `module` is one that must not load Twisted."""
    return any(module == pure or module.startswith(pure + ".") for pure in PURE)


def imported(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Yield what `source`, the text of `module`, imports of our package; imports inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ("twistedp2p." + module).split(".")
                above = here[: len(here) - node.level + (1 if is_package else 0)]
                base = ".".join([*above, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("twistedp2p."):
                yield name.removeprefix("twistedp2p.")


def wrong_import(importer: str, target: str) -> str | None:
    """Say why `importer` must not import `target`, both named below the package; None if it may."""
    here, there = room(importer), room(target)
    if here == there or there.startswith("__"):
        return None
    for name in (here, there):
        if name not in ROOMS:
            return f"{importer} imports {target}: {name} is not in the list of rooms"
    if there in CLOSED:
        return f"{importer} imports {target}, which is at the edge"
    if ROOMS.index(there) > ROOMS.index(here):
        return f"{importer} imports {target}, which comes after it"
    return None


def loaded_by(module: str) -> tuple[str, bool, bool]:
    """Import `module` in a fresh interpreter.

    Returns its error output, whether it loaded anything of Twisted, and whether it loaded the reactor.
    """
    program = (
        f"import sys, twistedp2p.{module}\n"
        "print('twisted' in sys.modules, 'twisted.internet.reactor' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        check=False,
    )
    if done.returncode:
        return done.stderr, False, False
    twisted, reactor = done.stdout.split()
    return "", twisted == "True", reactor == "True"


@cache
def loads() -> dict[str, tuple[str, bool, bool]]:
    """Return `loaded_by` of every module outside `tap`; two interpreters run at a time."""
    names = [name for name in modules() if room(name) != "tap"]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(loaded_by, names), strict=True))


def test_every_room_is_in_the_list() -> None:
    """No module stands outside the list of rooms."""
    assert sorted({room(name) for name in modules()} - set(ROOMS)) == []


def test_imports_look_up_the_list() -> None:
    """No module imports a room that comes after its own, or one at the edge."""
    wrong = [
        why
        for name, path in modules().items()
        for target in imported(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        if (why := wrong_import(name, target))
    ]
    assert wrong == []


def test_every_module_can_be_imported_alone() -> None:
    """Each module imports cleanly in a fresh interpreter: there are no import cycles."""
    assert {name: error for name, (error, _, _) in loads().items() if error} == {}


def test_pure_modules_load_no_twisted() -> None:
    """A module of values and decisions does not load Twisted, neither itself nor through others."""
    assert [name for name, (_, twisted, _) in loads().items() if twisted and is_pure(name)] == []


def test_nothing_but_tap_loads_the_reactor() -> None:
    """No module outside `tap` loads the global reactor: the embedding program chooses it."""
    assert [name for name, (_, _, reactor) in loads().items() if reactor] == []


def test_fresh_interpreter_sees_twisted() -> None:
    """The check itself notices Twisted where it is loaded."""
    assert loads()["echo"] == ("", True, False)


@pytest.mark.parametrize(
    ("importer", "source", "targets"),
    [
        ("peer.sync", "from twistedp2p.tracker.client import TrackerClient", ["tracker.client.TrackerClient"]),
        ("peer.sync", "import twistedp2p.wire as w", ["wire"]),
        ("peer.sync", "from twistedp2p import wire, limits", ["wire", "limits"]),
        ("peer.sync", "from . import plan", ["peer.plan"]),
        ("peer.sync", "from ..tap import echo", ["tap.echo"]),
        ("peer.sync", "def f():\n    from twistedp2p.cli import main", ["cli.main"]),
        ("peer.sync", "import twisted.internet, os", []),
    ],
)
def test_reader_sees_every_way_to_import(importer: str, source: str, targets: list[str]) -> None:
    """The reader of sources understands each form of import, inside functions too."""
    assert list(imported(source, importer)) == targets


@pytest.mark.parametrize(
    ("importer", "target"),
    [
        ("transfer.swarm", "tracker.directory"),
        ("transfer.protocol", "peer.plan"),
        ("tracker.protocol", "peer.values"),
        ("wire", "identity.proof"),
        ("limits", "echo"),
        ("cli.main", "testing.network"),
        ("tap.peer", "cli.main"),
        ("peer.sync", "tap.peer"),
        ("peer.sync", "nowhere"),
    ],
)
def test_order_refuses(importer: str, target: str) -> None:
    """The rule refuses imports down the list, of the edge, and of unknown rooms."""
    assert wrong_import(importer, target)


@pytest.mark.parametrize(
    ("importer", "target"),
    [("tracker.protocol", "wire"), ("cli.main", "web.page"), ("tap.peer", "peer.service"), ("peer.sync", "peer.plan")],
)
def test_order_allows(importer: str, target: str) -> None:
    """The rule allows imports up the list and inside a room."""
    assert wrong_import(importer, target) is None
