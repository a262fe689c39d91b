"""Which side is too old, when two have no version of a conversation in common: one sentence for a person. Pure."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["no_common_version"]


def no_common_version(who: str, theirs: Collection[int], mine: Collection[int]) -> str:
    """Return the sentence; `who` is the other side, and its versions are empty if it did not say which it speaks.

    It did not say if the connection broke off over them. There is no version before 1, so whoever speaks none of
    ours, when 1 is among them, speaks later ones.
    """
    spoken = f"{who} speaks no version that I speak ({_list(mine)})"
    if theirs:
        spoken = f"{who} speaks no version that I speak (it {_list(theirs)}, I {_list(mine)})"
    newer = max(theirs) > max(mine) if theirs else min(mine) == 1
    if newer:
        return f"{spoken}: update twistedp2p on this machine."
    if theirs:
        return f"{spoken}: update twistedp2p there."
    return f"{spoken}: update the older of the two."


def _list(versions: Collection[int]) -> str:
    return ", ".join(map(str, sorted(versions)))
