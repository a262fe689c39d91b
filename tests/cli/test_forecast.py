"""What `join --dry-run` prints of a forecast."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from twistedp2p.cli.forecast import as_json, lines_of
from twistedp2p.disk.seam import Space
from twistedp2p.peer.rehearsal import Forecast, Group, Line

GIB = 1024**3
ROOM = Space(free=10 * GIB, total=100 * GIB)


def group(*lines: Line, files: int | None = None) -> Group:
    """Return a group of these; `files` of them in all."""
    made = Group()
    for line in lines:
        made.add(line)
    made.files = made.files if files is None else files
    return made


SOME = Forecast(
    adopt=group(Line("same", size=10)),
    send=group(Line("new", folder=True), Line("new/mine", size=2000)),
    fetch=group(Line("theirs", size=5), files=30),
    copy=group(
        Line("d/a.txt", size=7, copy="d/a (conflict).txt"), Line("b", size=8, copy="b (conflict)", yours=True)
    ),
    fetch_bytes=3000,
    more_bytes=4000,
    modes=0,
    displaced=0,
    unusable=0,
)


class ForecastTests(SynchronousTestCase):
    """The report and the object."""

    def test_report(self) -> None:
        """Each kind has its count, its bytes and its first paths; then space, and that nothing is deleted."""
        self.assertEqual(
            lines_of("/f", 2, SOME, [("l\x07", "A link.")], ROOM, 20),
            [
                "What joining with /f would do; nothing was changed.",
                "  members of the share that run now: 2",
                "  adopt: 1 file, 10 B (the same here and there, stays as it is)",
                "    same  10 B",
                "  send: 1 file and 1 folder, 2.00 kB (only here, the others get it)",
                "    new/",
                "    new/mine  2.00 kB",
                "  fetch: 30 files, 5 B (only there, comes here)",
                "    theirs  5 B",
                "    and 29 more; --list names them all",
                "  copy: 2 files, 15 B (differs, both are kept)",
                "    d/a.txt  7 B: theirs becomes a (conflict).txt",
                "    b  8 B: yours becomes b (conflict)",
                "  not shared: 1",
                "    l\\x07 (A link.)",
                "  3.00 kB come over the network; the folder grows by 4.00 kB, and 10.7 GB are free",
                "  nothing would be deleted",
            ],
        )

    def test_space(self) -> None:
        """Exactly what may be taken is enough; a byte more is not, and is said."""
        usable = ROOM.free - GIB
        for more, enough in ((usable, True), (usable + 1, False)):
            forecast = evolve(SOME, more_bytes=more)
            lines = lines_of("/f", 1, forecast, [], ROOM, 20)
            self.assertEqual(any("not enough" in line for line in lines), not enough)
            self.assertEqual(as_json("/f", 1, forecast, [], ROOM)["space"]["enough"], enough)

    def test_what_is_rare(self) -> None:
        """Executable bits, records of other versions and files that only the trash would have are said if there are."""
        text = "\n".join(lines_of("/f", 1, evolve(SOME, modes=2, displaced=1, unusable=3), [], ROOM, None))
        for said in ("2 files get another executable bit", "1 file would be in .twistedp2p/trash only", "3 records"):
            self.assertIn(said, text)
        self.assertNotIn("nothing would be deleted", text)

    def test_json(self) -> None:
        """The object has the same, and survives JSON."""
        found = json.loads(json.dumps(as_json("/f", 2, SOME, [("l", "A link.")], ROOM)))
        self.assertEqual((found["send"]["files"], found["send"]["folders"], found["send"]["bytes"]), (1, 1, 2000))
        self.assertEqual(found["copy"]["first"][1]["copy"], "b (conflict)")
        self.assertEqual(found["not_shared"], [{"path": "l", "reason": "A link."}])
        self.assertEqual((found["deleted"], found["members"], found["fetch_bytes"]), (0, 2, 3000))
