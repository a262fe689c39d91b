"""Reading a folder that is no member: everything that could be shared, nothing is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from blake3 import blake3
from twisted.trial.unittest import SynchronousTestCase

from tests.peer.bench import MomentDisk
from twistedp2p.disk.seam import Name
from twistedp2p.limits import SURVEY_TRIES
from twistedp2p.paths import NameRules
from twistedp2p.peer.survey import Survey, survey
from twistedp2p.versions import Kind


class SurveyTests(SynchronousTestCase):
    """What a survey finds."""

    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tp2p-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.disk = MomentDisk(os.fsencode(self.root))
        self.addCleanup(self.disk.close)
        self.survey = Survey()
        self.pauses: list[float] = []

    def save(self, path: str, data: bytes = b"data") -> Path:
        """Save a file."""
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(data)
        return there

    def read(self, rules: NameRules = NameRules.POSIX) -> dict[str, tuple[Kind, bytes]]:
        """Read the folder; return path -> kind and content, in order."""
        found = survey(self.disk, rules, self.survey, self.pauses.append)
        return {path: (seen.kind, seen.content) for path, seen in found}

    def test_files_and_folders(self) -> None:
        """Files come with their content, folders before what is in them; files and bytes are counted."""
        self.save("d/e/f", b"12345")
        self.save("top", b"678")
        self.save(".twistedp2p/stray", b"never shared")
        found = self.read()
        self.assertEqual(
            found,
            {
                "d": (Kind.FOLDER, b""),
                "d/e": (Kind.FOLDER, b""),
                "d/e/f": (Kind.FILE, blake3(b"12345").digest()),
                "top": (Kind.FILE, blake3(b"678").digest()),
            },
        )
        self.assertLess(list(found).index("d/e"), list(found).index("d/e/f"))
        self.assertEqual((self.survey.files, self.survey.bytes, self.survey.hidden, self.pauses), (2, 8, [], []))

    def test_what_is_not_shared(self) -> None:
        """Links, pipes and names that can not travel are named with their reason; odd bytes stay what they are."""
        (self.root / "link").symlink_to("top")
        os.mkfifo(self.root / "pipe")
        (self.root / os.fsdecode(b"\xff")).touch()
        self.save("a:b")
        self.assertEqual(self.read(NameRules.PORTABLE), {})
        self.assertEqual({name for name, _ in self.survey.hidden}, {"link", "pipe", "\udcff", "a:b"})
        self.assertTrue(all(reason.endswith(".") for _, reason in self.survey.hidden))

    def test_somebody_writes(self) -> None:
        """A file that is written to while it is read is read again, a few times, and then left out with a reason."""
        there = self.save("busy")
        self.save("still")

        def write(times: list[int]) -> None:
            def before(verb: str, name: Name) -> None:
                if verb == "open" and name == (b"busy",) and times[0]:
                    times[0] -= 1
                    self.disk.stopped_at_ns = there.stat().st_mtime_ns
                elif verb == "open":
                    self.disk.stopped_at_ns = None

            self.disk.before = before

        write([SURVEY_TRIES])
        self.assertEqual(set(self.read()), {"busy", "still"})
        self.assertEqual(len(self.pauses), SURVEY_TRIES)
        write([SURVEY_TRIES + 1])
        self.assertEqual(set(self.read()), {"still"})
        self.assertIn("writing to it", dict(self.survey.hidden)["busy"])

    def test_nothing_is_written(self) -> None:
        """After a survey the folder is as it was, times included."""
        self.save("d/f")
        before = {str(path): path.lstat().st_mtime_ns for path in (self.root, *self.root.rglob("*"))}
        wrote: list[str] = []
        self.disk.before = lambda verb, name: wrote.append(verb) if verb not in ("open", "stat") else None
        self.read()
        self.assertEqual(wrote, [])
        self.assertEqual({str(path): path.lstat().st_mtime_ns for path in (self.root, *self.root.rglob("*"))}, before)
