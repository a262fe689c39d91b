"""The machine of a test, and what its processes printed if the test fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.processes import BIN, Machine

MEMORY = "/dev/shm"


@contextmanager
def running_machine(programs: Path = BIN) -> Iterator[Machine]:
    """A machine with an empty state folder, in memory where there is such a file system; ended with the context."""
    base = Path(tempfile.mkdtemp(prefix="twistedp2p-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    machine = Machine(base, programs)
    try:
        yield machine
    finally:
        try:
            machine.close()
        finally:
            shutil.rmtree(base)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of the test's own."""
    with running_machine() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes printed below the failure of a test."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for machine in getattr(value, "machines", [getattr(value, "machine", value)]):
                if isinstance(machine, Machine):
                    report.sections.extend(machine.logs())
    return report
