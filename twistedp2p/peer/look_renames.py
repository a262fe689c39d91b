"""Renames in what a look finds: a file is recognised by its inode, and neither read nor looked for a second time."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from twistedp2p.peer.index import Index
from twistedp2p.peer.looked import Looked
from twistedp2p.peer.values import Observed, Row, Signature
from twistedp2p.versions import Kind, Live

__all__ = ["Renames"]


class Renames:
    """Finds the old names of what is seen under new ones.

    `signature` returns that of what lies at a path, None if nothing does; `may_be_gone` says whether a path with this
    row would count as missing if nothing lay there.
    """

    def __init__(
        self,
        index: Index,
        signature: Callable[[str], Signature | None],
        may_be_gone: Callable[[str, Row], bool],
    ) -> None:
        self._index = index
        self._signature = signature
        self._may_be_gone = may_be_gone

    def known_file(self, path: str, signature: Signature) -> Observed | None:
        """Return what a new name holds if it is a known file that is not under its old name any more."""
        for old, row in self._index.row_by_inode(signature.device, signature.inode):
            if old != path and row.kind == Kind.FILE and _unmodified(row, signature) and self._signature(old) is None:
                version = self._version(old, row)
                if version is not None:
                    return Observed(
                        Kind.FILE,
                        row.content,
                        signature.size,
                        signature.mtime_ns,
                        signature.executable,
                        version.manifest,
                        signature,
                    )
        return None

    def _version(self, path: str, row: Row) -> Live | None:
        """Return the live version that a row stands for, None if it is superseded (then the file is read)."""
        value = self._index.record(path).get(row.base)
        return value if isinstance(value, Live) and value.content == row.content else None

    def match(self, looked: Looked) -> None:
        """Move what is missing to what is gone where its inode is seen under a new name: no second look is needed."""
        if not looked.seen:
            return
        # In the order of the paths: which of two deletions has the smaller number must not depend on inodes.
        inodes = dict.fromkeys(
            (observed.signature.device, observed.signature.inode)
            for _, observed, _ in looked.seen
            if observed.signature is not None
        )
        gone = set(looked.gone)
        for inode in inodes:
            for old, row in self._index.row_by_inode(*inode):
                if old not in gone and self._may_be_gone(old, row) and self._signature(old) is None:
                    looked.gone.append(old)
                    gone.add(old)
        looked.missing = [path for path in looked.missing if path not in gone]


def _unmodified(row: Row, signature: Signature) -> bool:
    return row.signature is not None and evolve(row.signature, executable=signature.executable) == signature
