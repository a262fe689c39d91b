"""The questions that a node can be asked: plain values, decided by `swarm` and carried out by `fetch`."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

__all__ = ["Ask", "AskContents", "AskManifest", "AskRun", "pieces_of"]


@frozen
class AskContents:
    """Ask this node for these small contents, `size` bytes in all."""

    node: bytes
    contents: tuple[bytes, ...]
    size: int
    priority: int


@frozen
class AskManifest:
    """Ask this node for the manifest of this content; at most `size` bytes."""

    node: bytes
    content: bytes
    manifest: bytes
    size: int
    priority: int


@frozen
class AskRun:
    """Ask this node for `count` chunks of this content, from chunk `first`: `size` bytes at `offset`."""

    node: bytes
    content: bytes
    first: int
    count: int
    offset: int
    size: int
    priority: int


Ask = AskContents | AskManifest | AskRun


def pieces_of(ask: Ask) -> Iterable[tuple[bytes, Iterable[int]]]:
    """Return which pieces of which contents a question is about; a small content is one piece, and so is a manifest."""
    if isinstance(ask, AskContents):
        return ((content, (0,)) for content in ask.contents)
    if isinstance(ask, AskManifest):
        return ((ask.content, (0,)),)
    return ((ask.content, range(ask.first, ask.first + ask.count)),)
