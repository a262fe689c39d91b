"""How much is asked for ahead, by what the way brings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twistedp2p import limits
from twistedp2p.transfer.files.window import Pieces, Window

MIB = 1024 * 1024


def window_of(most: int = 16 * MIB) -> tuple[Window, Clock]:
    """Return a window that nothing is known of, and its clock."""
    clock = Clock()
    return Window(clock, most), clock


def after(rate: float, round_trip: float, seconds: float = 60.0) -> tuple[Window, Clock]:
    """Return a window after a download of `rate` bytes a second over a way of `round_trip` seconds, and its clock.

    The way is simulated: the answers come one after the other, each a round trip after its question at the earliest.
    """
    window, clock = window_of()
    free = 0.0
    under_way: list[tuple[float, float, int]] = []  # when asked, when answered, how long
    while clock.seconds() < seconds or under_way:
        now = clock.seconds()
        while now < seconds and not window.is_full:
            length = window.range_bytes
            window.asked(length)
            begins = max(free, now + round_trip)
            free = begins + length / rate
            under_way.append((now, free, length))
        asked_at, answered_at, length = under_way.pop(0)
        clock.advance(answered_at - now)
        window.began(answered_at - length / rate - asked_at)
        window.answered(length, more=True)
        window.stored(length)
    return window, clock


@pytest.mark.parametrize(
    ("rate", "round_trip", "least", "most"),
    [
        (4_000, 0.3, 0.2, 0.5),  # a mobile phone whose volume is used up
        (100_000, 0.1, 0.7, 0.8),
        (1_000_000, 0.05, 0.7, 0.8),
        (12_500_000, 0.02, 0.9, 1.0),  # 100 Mbit/s
        (125_000_000, 0.0005, 0.7, 0.8),  # 1 Gbit/s nearby
        (125_000_000, 0.1, 16.0, 16.0),  # ... and far away
        (700_000_000, 0.0005, 1.0, 3.0),
    ],
)
def test_ways(rate: float, round_trip: float, least: float, most: float) -> None:
    """Some seconds' worth over a slow way, a few round trips' worth over a long one; given in MiB."""
    window, _ = after(rate, round_trip)
    assert least * MIB <= window.bytes <= most * MIB


@pytest.mark.parametrize("rate", [4_000, 100_000, 1_000_000, 125_000_000])
@pytest.mark.parametrize("round_trip", [0.0005, 0.02, 0.1])
def test_the_way_is_used(rate: float, round_trip: float) -> None:
    """More is under way than the way takes within a round trip, so that it is never idle for want of questions."""
    assert after(rate, round_trip)[0].bytes > min(1.5 * rate * round_trip, 16 * MIB - 1)


def test_the_beginning() -> None:
    """Before anything is known of a way, little is asked for at a time: it may be a slow one."""
    window, _ = window_of()
    asked = 0
    while not window.is_full:
        window.asked(window.range_bytes)
        asked += 1
    assert (asked, window.range_bytes) == (4, limits.DATA_SENT_BYTES)


def lockstep(answer: float, store: float, *, more: bool = True) -> Window:
    """Return a window when all was answered, and then stored, before more was asked for; both take so many seconds."""
    window, clock = window_of()
    for _ in range(300):
        lengths = []
        while not window.is_full:
            lengths.append(window.range_bytes)
            window.asked(lengths[-1])
        for length in lengths:
            window.began(0.0003)
            clock.advance(answer)
            window.answered(length, more=more)
        clock.advance(store)
        window.stored(sum(lengths))
    return window


def test_all_answered_before_more_is_asked_for() -> None:
    """A way that is quicker than whoever asks is found to be quick, although nothing is under way between."""
    window = lockstep(answer=0.0005, store=0.0005)
    assert window.bytes > 8 * MIB
    assert window.range_bytes == limits.DOWNLOAD_RANGE


def test_a_disk_that_hesitates() -> None:
    """A disk that takes its time whatever the length is given more at a time."""
    assert lockstep(answer=0.0005, store=0.025).bytes > 2 * MIB


def seldom_idle(rate: float) -> Window:
    """Return a window after a download over a way of `rate` bytes a second that was idle after each 60 answers."""
    window, clock = window_of()
    for _ in range(50):
        window.asked(limits.FILE_DATA_SENT_BYTES)
        window.began(0.0005)
        for left in range(60):
            if left < 59:
                window.asked(limits.FILE_DATA_SENT_BYTES)
            clock.advance(limits.FILE_DATA_SENT_BYTES / rate)
            window.answered(limits.FILE_DATA_SENT_BYTES, more=True)
            window.stored(limits.FILE_DATA_SENT_BYTES)
        clock.advance(0.0005)
    return window


@pytest.mark.parametrize(
    ("rate", "least", "most"),
    [
        (125e6, 0.7, 1.0),  # 1 Gbit/s
        (165e6, 0.7, 1.0),
        (250e6, 8, 16),  # within one machine
    ],
)
def test_seldom_idle(rate: float, least: float, most: float) -> None:
    """A network that is idle now and then gets no more than a chunk to do ahead, a busy machine much more; in MiB."""
    assert least * MIB <= seldom_idle(rate).bytes <= most * MIB


def test_nothing_more_to_ask_for() -> None:
    """A way that is idle because all is here does not get more to do ahead."""
    assert lockstep(answer=0.0005, store=0.0005, more=False).bytes < 3 * MIB


def test_pauses_are_forgotten() -> None:
    """A way that is never idle any more gets less to do ahead after some thousand answers."""
    window = lockstep(answer=0.0005, store=0.0005)
    before = window.bytes
    window.asked(1)
    for _ in range(8000):
        window.asked(MIB)
        window.answered(MIB, more=True)
        window.stored(MIB)
    assert window.bytes < before / 3


def test_idle_time_does_not_count() -> None:
    """A pause in which nothing was wanted does not make the way seem slow."""
    window, clock = after(125e6, 0.001)
    before = window.bytes
    for _ in range(10):
        clock.advance(1)
        window.asked(4 * MIB)
        clock.advance(0.03)
        window.answered(4 * MIB, more=True)
        window.stored(4 * MIB)
    assert window.bytes > before / 2


def test_another_way() -> None:
    """After the connection was made anew nothing counts that was measured over the other way."""
    window, _ = after(125e6, 0.1)
    assert window.bytes == 16 * MIB
    window.reconnected()
    assert window.bytes < MIB


def test_a_way_that_gets_slower() -> None:
    """Within some answers less is asked for ahead, so that a new priority does not wait for minutes."""
    window, clock = after(125e6, 0.01)
    before = window.bytes
    for _ in range(30):
        window.asked(65_536)
        clock.advance(65_536 / 50_000)
        window.answered(65_536, more=True)
        window.stored(65_536)
    assert window.bytes < before / 4


def test_what_came_and_is_not_stored() -> None:
    """It counts until it is stored; but if nothing is asked for any more something may be: the rest may wait for it."""
    window, _ = window_of(most=MIB)
    for _ in range(2):
        window.asked(MIB)
    window.answered(MIB, more=True)
    assert window.is_full
    window.answered(0, more=True)
    assert not window.is_full
    window.asked(MIB)
    assert window.is_full


@given(st.floats(100, 1e10), st.floats(0, 10), st.integers(1, 64 * MIB))
def test_limits(rate: float, round_trip: float, most: int) -> None:
    """Never more than the most, and a range is whole frames, and not more than DOWNLOAD_RANGE."""
    window, clock = window_of(most)
    window.asked(1)
    window.began(round_trip)
    clock.advance(max(1.0, round_trip))
    window.answered(int(rate), more=True)
    assert 0 < window.bytes <= most
    assert window.range_bytes <= limits.DOWNLOAD_RANGE
    assert window.range_bytes == limits.DATA_SENT_BYTES or window.range_bytes % limits.FILE_DATA_SENT_BYTES == 0


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (8_000, limits.DATA_SENT_BYTES),
        (200_000, limits.DATA_SENT_BYTES),
        (600_000, 2 * limits.FILE_DATA_SENT_BYTES),
        (2_000_000, limits.DOWNLOAD_RANGE),
        (1e9, limits.DOWNLOAD_RANGE),
    ],
)
def test_pieces(rate: float, expected: int) -> None:
    """A piece is as long as the way takes within a second, or the shortest; what buffers took at first is forgotten."""
    pieces = Pieces()
    assert pieces.bytes == limits.DATA_SENT_BYTES
    for _ in range(10):
        pieces.took(0.0)
    assert pieces.bytes == limits.DOWNLOAD_RANGE
    for _ in range(5):
        pieces.took(pieces.bytes / rate)
    assert pieces.bytes == expected
