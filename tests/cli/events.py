"""The events that docs/running.md lists, to compare with what commands print."""

from __future__ import annotations

import re
from typing import Any

from tests.test_docs import rows, section

__all__ = ["check", "documented"]


def documented() -> dict[tuple[str, str], tuple[set[str], set[str]]]:
    """Return by command and event the fields that are always there, and those that may be."""
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for event, commands, fields, _ in rows(section("docs/running.md", "Events as JSON")):
        named = re.findall(r"`([^`]+)`(\??)", fields)
        for command in re.findall(r"`([^`]+)`", commands):
            always = {name for name, maybe in named if not maybe}
            found[command, event.strip("`")] = (always, {name for name, maybe in named if maybe})
    return found


def check(command: str, said: list[dict[str, Any]]) -> set[str]:
    """Assert that every event has just the fields that are documented for it; return the names of the events."""
    fields = documented()
    for one in said:
        always, maybe = fields[command, one["event"]]
        there = set(one) - {"event"}
        assert always <= there <= always | maybe, (command, one)
    return {one["event"] for one in said}
