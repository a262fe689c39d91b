"""What all tests share: nothing may be skipped in CI, and long tests run only when asked for.

Environment:

``CI=true``              a skipped test, for whatever reason, counts as failed.
``TWISTEDP2P_LONG=1``    tests marked ``long`` run too, and hypothesis tries more examples.
"""

from __future__ import annotations

import os
import shutil
import signal
import unittest
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

# A shell that starts the tests in the background has them, and every program they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

IN_CI = os.environ.get("CI") == "true"
LONG = os.environ.get("TWISTEDP2P_LONG") == "1"

# No deadline: how long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("short", deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("long" if LONG else "short")
# Found failures are kept in the checkout, whatever the working directory is by then.
set_hypothesis_home_dir(Path(__file__).parent.parent / ".hypothesis")


def need_tool(name: str) -> str:
    """Return the path of the program `name`; skip the calling test, by name, if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise unittest.SkipTest(f"the program {name!r} is not installed")
    return path


@pytest.fixture(scope="session", autouse=True)
def _working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the tests in a temporary folder, as trial does: `mktemp` makes its files in the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("run"))
    yield
    os.chdir(before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for; they are not skipped, but not selected."""
    if LONG:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn a skipped test into a failed one."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In CI, turn a test module that skips itself into a failed one."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    """Return the reason in pytest's (file, line, reason) of a skip."""
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
