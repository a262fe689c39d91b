"""Numbers and names as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["count", "day", "duration", "moment", "rate", "shown", "size"]

_UNITS = ("kB", "MB", "GB", "TB", "PB")


def size(number: float) -> str:
    """Return a number of bytes with three digits: 17 B, 1.25 MB, 340 GB (powers of 1000)."""
    if number < 1000:
        return f"{int(number)} B"
    for unit in _UNITS:
        number /= 1000
        # 999.5 would be rounded to four digits.
        if number < 999.5 or unit == _UNITS[-1]:
            break
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f} {unit}"


def rate(number: float) -> str:
    """Return a number of bytes a second: 1.25 MB/s."""
    return f"{size(number)}/s"


def duration(seconds: float) -> str:
    """Return a time to go, with the precision that a guess deserves: 5 s, 3 min, 2 h 10 min, 4 days."""
    if seconds < 99.5:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 1440)} days"


def moment(seconds: float) -> str:
    """Return a moment, seconds since 1970, as the clock on the wall here shows it: 2026-03-01 17:05."""
    return _on_the_wall(seconds, "%Y-%m-%d %H:%M")


def day(seconds: float) -> str:
    """Return the day of a moment, seconds since 1970, as the calendar on the wall here shows it: 2026-03-01."""
    return _on_the_wall(seconds, "%Y-%m-%d")


def _on_the_wall(seconds: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).astimezone().strftime(form)
    except (OverflowError, OSError, ValueError):
        return "an unknown time"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: 1 file, 3,012 files; `many` is the plural if it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shown(name: str) -> str:
    """Return a name, which others may have chosen, so that it can not do anything to a terminal or a line."""
    return "".join(c if c.isprintable() else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    # A byte that is not UTF-8 comes as a surrogate.
    code = ord(character)
    return f"\\x{code & 0xFF:02x}" if code < 0x100 or 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
