"""Values for property tests: registers as they come to be, rows, intents."""

from __future__ import annotations

from hypothesis import strategies as st

from twistedp2p.limits import COUNTER_CAP, LAMPORT_CAP, SIZE_CAP
from twistedp2p.peer.values import Intent, Row, Signature
from twistedp2p.versions import Dead, Dot, Kind, Live, Register, Value

INT64 = st.integers(-(2**63), 2**63 - 1)
RIDS = st.sampled_from([bytes([65 + number]) * 8 for number in range(4)])
CONTENTS = st.sampled_from([bytes([number]) * 32 for number in range(4)])
LAMPORTS = st.integers(0, 3) | st.just(LAMPORT_CAP)
FILES = st.builds(
    Live,
    CONTENTS,
    size=st.integers(0, 9) | st.just(SIZE_CAP),
    lamport=LAMPORTS,
    mtime_ns=st.integers(-2, 2) | INT64,
    executable=st.booleans(),
    manifest=st.just(b"") | CONTENTS,
)
FOLDERS = st.builds(Live, st.just(b""), lamport=LAMPORTS, mtime_ns=st.integers(0, 2), kind=st.just(Kind.FOLDER))
TOMBSTONES = st.builds(Dead, LAMPORTS, st.integers(-2, 2) | INT64)
VALUES: st.SearchStrategy[Value] = FILES | FOLDERS | TOMBSTONES
DOTS = st.builds(Dot, RIDS, st.integers(1, 3) | st.just(COUNTER_CAP))


@st.composite
def registers(draw: st.DrawFn, values: st.SearchStrategy[Value] = VALUES) -> Register:
    """Any register that is well formed: its context covers its siblings."""
    siblings = draw(st.dictionaries(DOTS, values, max_size=4))
    context = draw(st.dictionaries(RIDS, st.integers(1, 5), max_size=3))
    for dot in siblings:
        context[dot.rid] = max(dot.n, context.get(dot.rid, 0))
    return Register.of(context, siblings)


@st.composite
def histories(draw: st.DrawFn) -> list[Register]:
    """Registers in which a dot has one value for ever: what peers have without an accident."""
    table = draw(st.dictionaries(DOTS, VALUES, min_size=1, max_size=6))
    found = []
    for _ in range(3):
        siblings = {dot: value for dot, value in table.items() if draw(st.booleans())}
        context = draw(st.dictionaries(RIDS, st.integers(1, 5), max_size=3))
        for dot in siblings:
            context[dot.rid] = max(dot.n, context.get(dot.rid, 0))
        found.append(Register.of(context, siblings))
    return found


NUMBERS = st.integers(0, 2**64 - 1)
SIGNATURES = st.builds(Signature, NUMBERS, NUMBERS, NUMBERS, st.integers(-(2**63), 2**64), st.booleans())
ROWS = st.builds(
    Row, st.none() | DOTS, st.just(Kind.FILE), CONTENTS, st.booleans(), st.none() | SIGNATURES
) | st.builds(Row, st.none() | DOTS, st.just(Kind.FOLDER), st.just(b""), signature=st.none() | SIGNATURES)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTENTS = st.builds(
    Intent, TEXTS, st.none() | ROWS, DOTS, st.sampled_from(Kind), st.none() | CONTENTS, st.booleans(), TEXTS
)
