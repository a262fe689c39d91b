"""The line of progress and the lines of the log, from a status."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.progress import line, news
from twistedp2p.web.status import Failed, Missing, Peer, Rates, Status, Tracker

QUIET = Status("/x", state="in-sync", in_sync=True, files=3012, bytes=104_000_000, peers=(Peer("n"), Peer("m")))
BUSY = Status(
    "/x",
    state="syncing",
    files=3000,
    bytes=100_000_000,
    missing=Missing(1800, 58_000_000),
    rates=Rates(4_000_000.0, 250_000.0),
    peers=(Peer("n"),),
    errors=(Failed("a", "No."), Failed("b", "No.")),
)


class LineTests(SynchronousTestCase):
    """One line."""

    def test_in_sync(self) -> None:
        """A peer that is in sync says how much there is and who else is alive."""
        self.assertEqual(line(QUIET), "in sync | 3,012 files | 104 MB | 2 other peers")

    def test_syncing(self) -> None:
        """A peer at work says how far it is, how fast it goes, and how long it will take."""
        self.assertEqual(
            line(BUSY),
            "syncing | 1,200 of 3,000 files | 42.0 MB of 100 MB | in 4.00 MB/s | out 250 kB/s | 1 other peer"
            " | 14 s to go | 2 problems",
        )

    def test_nothing_moves(self) -> None:
        """Without speed there is no time to go; nothing at all is said in a few words."""
        self.assertNotIn("to go", line(evolve(BUSY, rates=Rates())))
        self.assertEqual(line(Status("/x", state="waiting-for-tracker")), "no tracker yet | 0 files | nobody else here")

    def test_unknown_state(self) -> None:
        """A state of a later version is shown, harmlessly."""
        self.assertTrue(line(Status("/x", state="rest\x1bing")).startswith("rest\\x1bing | "))


class NewsTests(SynchronousTestCase):
    """What is worth a line in a log."""

    def test_first(self) -> None:
        """The first status is always news."""
        self.assertEqual(news(None, QUIET), line(QUIET))

    def test_same(self) -> None:
        """Numbers that change, and connections that come and go, are no news."""
        more = evolve(QUIET, bytes=1, rates=Rates(5.0), peers=(Peer("m", bytes_in=7), Peer("n", connected=True)))
        self.assertIsNone(news(QUIET, more))

    def test_changes(self) -> None:
        """A new state, a tracker that comes or goes, a peer or a file more or less, is news."""
        for change in (
            evolve(QUIET, files=3013),
            evolve(QUIET, state="syncing"),
            evolve(QUIET, tracker=Tracker("t", True)),
            evolve(QUIET, peers=(Peer("n"),)),
        ):
            self.assertEqual(news(QUIET, change), line(change))

    def test_under_way(self) -> None:
        """While it syncs, each file that comes is no news."""
        self.assertIsNone(news(BUSY, evolve(BUSY, files=3001, missing=Missing(1700, 50_000_000))))

    def test_problem(self) -> None:
        """A new problem is named; one that was there already is not named again."""
        one = evolve(QUIET, errors=(Failed("a\n", "No room."),))
        self.assertEqual(news(QUIET, one), f"{line(one)}: a\\x0a: No room.")
        self.assertEqual(news(one, evolve(one, state="syncing")), line(evolve(one, state="syncing")))
        numbers = [evolve(QUIET, errors=(Failed("", f"{left} MiB are free.", "no-space"),)) for left in (7, 6)]
        self.assertIsNone(news(*numbers))
        self.assertEqual(news(QUIET, evolve(QUIET, errors=(Failed("", "No."),)))[-5:], ": No.")  # type: ignore[index]
