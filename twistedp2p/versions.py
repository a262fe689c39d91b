"""The register of one path: its concurrent versions, how two are joined, and which one wins.

A register is a dotted version vector set: a *context* (for each replica id, how many of its
versions this register has seen or knows to be superseded) and the *siblings* (versions that no
other version is known to supersede). Joining is commutative, associative and idempotent, so order,
repetition and grouping of what arrives can not matter; the order that names a winner is total and
looks at nothing local. See Almeida et al., "Scalable and accurate causality tracking for eventually
consistent stores" (DAIS 2014), for the structure; the rules are in docs/design.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec
from attrs import field, frozen
from blake3 import blake3

from twistedp2p.limits import COUNTER_CAP, LAMPORT_CAP

__all__ = [
    "EMPTY",
    "Dead",
    "Dot",
    "Kind",
    "Live",
    "Register",
    "Value",
    "conflict_dot",
    "encode_value",
    "join",
    "put_aside",
    "settle",
    "short_hash",
    "winner",
    "write",
]


class Kind(IntEnum):
    """What a live version is."""

    FILE = 0
    FOLDER = 1


class Dot(NamedTuple):
    """The name of one version of one path: the `n`-th version minted by replica `rid` (8 bytes)."""

    rid: bytes
    n: int


@frozen
class Live:
    """A version that exists: a file or a folder.

    `content` is the BLAKE3-256 of the bytes, empty for a folder; `manifest` the manifest id, empty for a
    folder and for a content of one chunk; `size` is in bytes; `mtime_ns` never decides what is kept.
    """

    content: bytes
    size: int = 0
    lamport: int = 0
    mtime_ns: int = 0
    kind: Kind = Kind.FILE
    executable: bool = False
    manifest: bytes = b""

    @property
    def is_folder(self) -> bool:
        """Whether this version is a folder."""
        return self.kind == Kind.FOLDER


@frozen
class Dead:
    """A deletion: a tombstone, never collected."""

    lamport: int = 0
    mtime_ns: int = 0


Value = Live | Dead


@frozen(cache_hash=True)
class Register:
    """All that is known of one path: `context` maps replica ids to counters, `siblings` dots to values.

    Both are read-only mappings held as sorted tuples of pairs, so that equal registers are equal, hash
    equal and encode equally whatever the order in which they came to be.
    """

    context: tuple[tuple[bytes, int], ...] = ()
    siblings: tuple[tuple[Dot, Value], ...] = ()
    _ctx: dict[bytes, int] = field(init=False, eq=False, repr=False)
    _sibs: dict[Dot, Value] = field(init=False, eq=False, repr=False)

    @_ctx.default
    def _make_ctx(self) -> dict[bytes, int]:
        return dict(self.context)

    @_sibs.default
    def _make_sibs(self) -> dict[Dot, Value]:
        return dict(self.siblings)

    @staticmethod
    def of(context: Mapping[bytes, int], siblings: Mapping[Dot, Value]) -> Register:
        """Return the canonical register of these two mappings."""
        return Register(tuple(sorted(context.items())), tuple(sorted(siblings.items(), key=lambda pair: pair[0])))

    def seen(self, rid: bytes) -> int:
        """Return how many versions of replica `rid` this register knows of."""
        return self._ctx.get(rid, 0)

    def covers(self, dot: Dot) -> bool:
        """Whether the version `dot` is here or is known to be superseded."""
        return self._ctx.get(dot.rid, 0) >= dot.n

    def get(self, dot: Dot | None) -> Value | None:
        """Return the sibling of that dot, or None if it is not one (any more)."""
        return None if dot is None else self._sibs.get(dot)

    def has_content(self, content: bytes, kind: Kind) -> Dot | None:
        """Return the dot of the greatest live sibling with this content, or None."""
        equal = [
            (dot, value)
            for dot, value in self.siblings
            if isinstance(value, Live) and value.content == content and value.kind == kind
        ]
        return max(equal, key=lambda pair: order(*pair))[0] if equal else None

    def without(self, dots: set[Dot]) -> Register:
        """Return this register with those siblings dropped; the context goes on covering them."""
        return Register(self.context, tuple(pair for pair in self.siblings if pair[0] not in dots))


EMPTY = Register()
_DEAD0 = Dead()
_NO_DOT = Dot(b"", 0)


def short_hash(*parts: bytes) -> bytes:
    """Return the first 8 bytes of BLAKE3 over the length-prefixed `parts`: a replica id that is a pure function."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big"))
        hasher.update(part)
    return hasher.digest(8)


def order(dot: Dot, value: Value) -> tuple[bool, bool, int, int, bytes, int]:
    """Return the sort key that decides between siblings: live, then folder, lamport, mtime, dot.

    It is total and the same on every peer; nothing else may decide, never arrival or identity.
    """
    live = isinstance(value, Live)
    folder = live and value.kind == Kind.FOLDER  # type: ignore[union-attr]
    return (live, folder, value.lamport, value.mtime_ns, dot.rid, dot.n)


def winner(register: Register) -> tuple[Dot, Value]:
    """Return the greatest sibling, or an empty dot and a tombstone if there is none."""
    if not register.siblings:
        return (_NO_DOT, _DEAD0)
    if len(register.siblings) == 1:
        return register.siblings[0]
    return max(register.siblings, key=lambda pair: order(*pair))


def encode_value(value: Value) -> list[object]:
    """Return the canonical array of a version: its fields in the order of `order`, absent ones None."""
    if isinstance(value, Live):
        return [
            int(value.kind),
            value.content or None,
            value.size,
            value.executable,
            value.mtime_ns,
            value.lamport,
            value.manifest or None,
        ]
    return [value.mtime_ns, value.lamport]


def _encoding(value: Value) -> bytes:
    return msgspec.msgpack.encode(encode_value(value))


def join(x: Register, y: Register) -> Register:
    """Return what is known of a path when both `x` and `y` are: the least upper bound of the two.

    Two different values under one dot (a clone, a restored backup) are both kept: the one with the
    smaller encoding under the dot, the other under a dot derived from it, the same on every peer.
    """
    if x is y or x == y or not y.context:
        return x
    if not x.context:
        return y
    context = dict(x.context)
    for rid, n in y.context:
        if n > context.get(rid, 0):
            context[rid] = n
    siblings: dict[Dot, Value] = {}
    twins: list[tuple[Dot, Value]] = []
    for dot, value in x.siblings:
        other = y.get(dot)
        if other is None:
            if not y.covers(dot):
                siblings[dot] = value
        elif other == value:
            siblings[dot] = value
        else:
            small, large = sorted((value, other), key=_encoding)
            siblings[dot] = small
            twins.append((dot, large))
    for dot, value in y.siblings:
        if x.get(dot) is None and not x.covers(dot):
            siblings[dot] = value
    for dot, value in twins:
        content = value.content if isinstance(value, Live) else b""
        twin = Dot(short_hash(b"twin", dot.rid, str(dot.n).encode(), content), 1)
        if context.get(twin.rid, 0) < twin.n:
            context[twin.rid] = twin.n
            siblings[twin] = value
    return Register.of(context, siblings)


def write(register: Register, dot: Dot, value: Value, base: Dot | None) -> Register:
    """Return the register after the user saved or deleted `value` over the version `base`.

    `dot` is freshly minted. Only `base`, which was on disk under the user's eyes, is superseded, whatever its
    lamport; live versions that the user has never seen stay siblings. The lamport of `value` is set to one
    more than the greatest here, saturating.
    """
    lamport = min(LAMPORT_CAP, 1 + max((v.lamport for _, v in register.siblings), default=0))
    siblings: dict[Dot, Value] = {d: v for d, v in register.siblings if isinstance(v, Live) and d != base}
    if isinstance(value, Live):
        siblings[dot] = Live(
            value.content, value.size, lamport, value.mtime_ns, value.kind, value.executable, value.manifest
        )
    else:
        siblings[dot] = Dead(lamport, value.mtime_ns)
    context = dict(register.context)
    context[dot.rid] = max(dot.n, context.get(dot.rid, 0))
    if dot.n > COUNTER_CAP:
        raise OverflowError("this index has minted all the versions that it can; delete it to begin a new one")
    return Register.of(context, siblings)


def settle(register: Register) -> Register:
    """Return `register` without the siblings that need no copy: tombstones and equal contents beside the winner."""
    if len(register.siblings) < 2:
        return register
    top, value = winner(register)
    drop: set[Dot] = set()
    for dot, other in register.siblings:
        if dot == top:
            continue
        if isinstance(other, Dead) or (
            isinstance(value, Live) and other.kind == value.kind and other.content == value.content
        ):
            drop.add(dot)
    return register.without(drop) if drop else register


def conflict_dot(path: str, dot: Dot, value: Live) -> Dot:
    """Return the dot of the conflict copy of the losing version `dot` of `path`.

    It is pure: all peers that collapse at once make one version, and a user's deletion of the copy
    covers it for ever.
    """
    return Dot(short_hash(b"conflict", path.encode(), dot.rid, str(dot.n).encode(), value.content), 1)


def put_aside(copy: Register, dot: Dot, value: Live) -> Register:
    """Return the register of a conflict copy's path after the copy `dot` was joined to it."""
    return join(copy, Register(((dot.rid, dot.n),), ((dot, value),)))
