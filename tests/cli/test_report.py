"""What `twistedp2p status` prints, from a status."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.web.test_status import FULL
from twistedp2p.cli.report import report
from twistedp2p.cli.words import day
from twistedp2p.web.status import Missing, NotShared, Status, parse_status


class ReportTests(SynchronousTestCase):
    """The lines of a report."""

    def test_all_of_it(self) -> None:
        """State, tracker, peers, what is missing, arriving, left out and wrong, and the trash are all there."""
        self.assertEqual(
            report(parse_status(FULL)),
            [
                "/home/ada/shared: syncing",
                "  6 of 10 files | 600 B of 1.00 kB | in 25 B/s | out 5 B/s | 1 other peer | 16 s to go | 1 problem",
                "  this peer is ada, node nnnnnnnn, in share 00000000",
                "  tracker 192.0.2.7:17411: connected",
                "  1 other peer",
                "    bob at 192.0.2.8:4001: in 10 B, out 20 B; now in 1 B/s, out 2 B/s",
                "  missing: 4 files, 400 B",
                "  not in sync",
                "    1,203 paths: there is no room on the disk",
                "  the first of them",
                "    b: No room.",
                "    and 1,202 more",
                "  arriving",
                "    a: 50 B of 100 B, 25 B/s, 2 s to go",
                "  not shared: 1",
                "    link (a symbolic link)",
                "  1 problem",
                "    b: The disk is full.",
                f"  trash: 1 file, 5 B; kept for 7 days, the oldest from {day(1_000_000)} to {day(1_604_800)}",
            ],
        )

    def test_nothing_to_say(self) -> None:
        """A peer that has just started has a short report, without empty lists."""
        lines = report(Status("/x"))
        self.assertEqual(len(lines), 4)
        self.assertIn("tracker not known yet", lines[3])

    def test_long_lists(self) -> None:
        """A long list is cut, and its rest counted."""
        lines = report(Status("/x", not_shared=tuple(NotShared(str(n), "a device") for n in range(1234))))
        self.assertEqual(lines[4], "  not shared: 1,234")
        self.assertEqual(lines[-1], "    and 1,214 more")
        self.assertEqual(len(lines), 4 + 1 + 20 + 1)

    def test_hostile_names(self) -> None:
        """No name that comes from others reaches the terminal as it is."""
        evil = "\x1b]0;x\x07\n"
        status = parse_status(
            {
                "folder": evil,
                "name": evil,
                "share": evil,
                "node": evil,
                "state": evil,
                "tracker": {"address": evil, "trouble": evil},
                "peers": [{"node": evil, "name": evil, "addresses": [evil]}, {"node": evil}],
                "moving": [{"path": evil}],
                "not_shared": [{"path": evil, "reason": evil}],
                "errors": [{"path": evil, "text": evil}],
                "waiting": [{"path": evil, "text": evil}],
                "reasons": [{"code": evil, "files": 1, "text": evil}],
            }
        )
        status = evolve(status, missing=Missing(1, 1, (evil,)))
        for line in report(status):
            self.assertTrue(line.isprintable(), line)
