"""Whose turn it is: shares of bytes by weight, whatever the sizes, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from twistedp2p.transfer.files.fair import Fair, Priority, Said

MIB = 1024 * 1024


def serve(fair: Fair[str], size: int, bytes_in_all: int) -> Counter[str]:
    """Give turns of `size` bytes until so many bytes are given; return how many each got."""
    got: Counter[str] = Counter()
    while got.total() < bytes_in_all:
        key = fair.next()
        assert key is not None
        fair.charge(key, size)
        got[key] += size
    return got


def test_shares_of_the_priorities() -> None:
    """While all four priorities wait, they get bytes as 64, 16, 4 and 1, within one turn."""
    fair: Fair[str] = Fair()
    for priority in Priority:
        fair.add(priority.word, priority)
    got = serve(fair, MIB, 850 * MIB)
    for priority in Priority:
        assert abs(got[priority.word] - 850 * MIB * priority / 85) <= MIB


@given(
    weights=st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=8),
    sizes=st.lists(st.integers(min_value=1, max_value=MIB), min_size=400, max_size=600),
)
def test_shares_whatever_the_sizes(weights: list[Priority], sizes: list[int]) -> None:
    """No one that waits all the time is ever more than a turn behind or ahead of its share by weight."""
    fair: Fair[int] = Fair()
    for key, weight in enumerate(weights):
        fair.add(key, weight)
    got: Counter[int] = Counter()
    for size in sizes:
        turn = fair.next()
        assert turn is not None
        fair.charge(turn, size)
        got[turn] += size
    virtual = [got[key] / weight for key, weight in enumerate(weights)]
    slack = [MIB / weight for weight in weights]
    for one, own in zip(virtual, slack, strict=True):
        for other in virtual:
            assert one - other <= own + 1e-6


def test_a_change_takes_effect_at_once() -> None:
    """Whose priority is raised gets its new share from the next turn on."""
    fair: Fair[str] = Fair()
    fair.add("one", Priority.NORMAL)
    fair.add("other", Priority.NORMAL)
    serve(fair, MIB, 100 * MIB)
    fair.set_weight("other", Priority.CRITICAL)
    got = serve(fair, MIB, 170 * MIB)
    assert abs(got["other"] - 160 * MIB) <= 2 * MIB


def test_who_comes_later_does_not_catch_up() -> None:
    """A newcomer shares from now on; it neither makes up for the time before, nor has to wait."""
    fair: Fair[str] = Fair()
    fair.add("old", Priority.NORMAL)
    serve(fair, MIB, 500 * MIB)
    fair.add("new", Priority.NORMAL)
    got = serve(fair, MIB, 10 * MIB)
    assert abs(got["new"] - got["old"]) <= 2 * MIB


def test_low_is_served_too() -> None:
    """The lowest priority gets its turn however many urgent ones wait."""
    fair: Fair[str] = Fair()
    for number in range(20):
        fair.add(f"critical {number}", Priority.CRITICAL)
    fair.add("low", Priority.LOW)
    assert serve(fair, MIB, 1300 * MIB)["low"] >= MIB


def test_nobody() -> None:
    """When nobody waits it is nobody's turn; who left gets none."""
    fair: Fair[str] = Fair()
    assert fair.next() is None
    fair.add("one", 1)
    fair.remove("one")
    fair.remove("one")
    assert (fair.next(), len(fair), "one" in fair) == (None, 0, False)


def test_what_is_said_of_a_folder() -> None:
    """What is said of a folder holds for all that is in it, until more is said of a part of it."""
    said = Said()
    assert not said
    assert said.of("a/b") is None
    said.say("a", Priority.LOW)
    assert said
    assert said.of("a") is said.of("a/b/c") is Priority.LOW
    assert said.of("ab") is None
    said.say("a/b", Priority.HIGH)
    assert (said.of("a/b/c"), said.of("a/c")) == (Priority.HIGH, Priority.LOW)
    said.add("", Priority.CRITICAL)
    assert (said.of("a/b"), said.of("a"), said.of("x")) == (Priority.HIGH, Priority.LOW, Priority.CRITICAL)
    said.say("a", Priority.NORMAL)
    assert said.of("a/b/c") is Priority.NORMAL
    said.say("", Priority.LOW)
    assert said.of("a/b/c") is Priority.LOW
