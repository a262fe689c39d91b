"""Numbers and names as people read them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.words import count, duration, rate, shown, size


class NumberTests(SynchronousTestCase):
    """Sizes, speeds, times and counts."""

    def test_size(self) -> None:
        """A size has three digits and the unit that fits, also where rounding goes to the next unit."""
        for number, text in (
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9994, "9.99 kB"),
            (9996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (2**62, "4612 PB"),
        ):
            self.assertEqual(size(number), text)
        self.assertEqual(rate(1_250_000), "1.25 MB/s")

    @given(st.integers(0, 10**15))
    def test_size_is_near(self, number: int) -> None:
        """What is shown differs from the number by less than one part in a hundred."""
        value, unit = size(number).split()
        power = ["B", "kB", "MB", "GB", "TB", "PB"].index(unit)
        self.assertLessEqual(abs(float(value) * 1000**power - number), number / 100)

    def test_duration(self) -> None:
        """A time is given in the unit that fits."""
        for seconds, text in (
            (0.2, "0 s"),
            (99.4, "99 s"),
            (99.6, "2 min"),
            (5969, "99 min"),
            (5971, "1 h 40 min"),
            (6030, "1 h 40 min"),
            (200_000, "2 days"),
        ):
            self.assertEqual(duration(seconds), text)

    def test_count(self) -> None:
        """One is singular, anything else plural, thousands are set apart."""
        self.assertEqual([count(n, "file") for n in (0, 1, 3012)], ["0 files", "1 file", "3,012 files"])
        self.assertEqual(count(2, "entry", "entries"), "2 entries")


class ShownTests(SynchronousTestCase):
    """Names on a terminal."""

    def test_harmless(self) -> None:
        """Ordinary names are shown as they are."""
        self.assertEqual(shown("Grüße 世界 [bold].txt"), "Grüße 世界 [bold].txt")

    def test_hostile(self) -> None:
        """Escape sequences, line breaks, direction marks and bytes that are not UTF-8 are spelled out."""
        self.assertEqual(shown("a\x1b[2Jb\nc\u202ed\udce9\x9b"), "a\\x1b[2Jb\\x0ac\\u202ed\\xe9\\x9b")

    @given(st.text())
    def test_any_name(self, name: str) -> None:
        """No name leaves anything in the text that a terminal acts on, or that can not be printed."""
        text = shown(name)
        self.assertTrue(text.isprintable())
        self.assertIsNone(re.search(r"[\x00-\x1f\x7f-\x9f]", text))
        text.encode()
