"""What the findings of `twistedp2p doctor` are: facts on one side, level and words on the other."""

from __future__ import annotations

import pytest
from attrs import evolve

from twistedp2p.cli import diagnosis
from twistedp2p.cli.diagnosis import Finding, Level
from twistedp2p.cli.doctor import lines
from twistedp2p.disk.machine import MountedAt, Watches
from twistedp2p.disk.seam import Abilities, Space
from twistedp2p.framing.knock import Answer, Ending
from twistedp2p.limits import FREE_SPACE_BYTES
from twistedp2p.peer.index_outside import Seen
from twistedp2p.peer.index_schema import STEPS

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
ALL = Abilities(True, True, True, True, False, 1)
NOW = 1_800_000_000.0
TERA = 10**12
LATEST = len(STEPS)


def answered(ending: Ending, actual: bytes = b"") -> Finding:
    """Return what is said of an answer of somebody with this key, where the one with key b"k" should be."""
    return diagnosis.judge_answer("tracker", "The tracker", "h:1", Answer(ending, "refused"), b"k", actual)


CASES = [
    ("the oldest version that works", diagnosis.judge_version("python", "Python", "3.10.0", "3.10"), OK, "3.10.0"),
    ("numbers are compared as numbers", diagnosis.judge_version("python", "Python", "3.9.18", "3.10"), PROBLEM, "old"),
    ("a version with letters", diagnosis.judge_version("openssl", "OpenSSL", "1.1.0l", "1.1.1"), PROBLEM, "1.1.1"),
    ("no version at all", diagnosis.judge_version("openssl", "OpenSSL", "", "1.1.1"), PROBLEM, "old"),
    ("all libraries", diagnosis.judge_libraries([("click", "8.1", "8.1.7")]), OK, "1"),
    ("a library that is missing", diagnosis.judge_libraries([("click", "8.1", None)]), PROBLEM, "click is missing"),
    ("an old library", diagnosis.judge_libraries([("click", "8.1", "8.0.9")]), PROBLEM, "8.1 is needed"),
    ("enough open files", diagnosis.judge_open_files(1024, 1024), OK, "1,024"),
    ("few open files", diagnosis.judge_open_files(1023, 1023), WARNING, "ulimit -n 1023"),
    ("fewer than connections", diagnosis.judge_open_files(255, 100_000), PROBLEM, "ulimit -n 4096"),
    ("no inotify", diagnosis.judge_watches(Watches()), WARNING, "scans only"),
    ("watches to spare", diagnosis.judge_watches(Watches(100, 1000, 3, 128), 800), OK, "800 folders"),
    ("hardly enough watches", diagnosis.judge_watches(Watches(100, 1000, 3, 128), 801), WARNING, "max_user_watches="),
    ("exactly enough watches", diagnosis.judge_watches(Watches(100, 1000, 3, 128), 900), WARNING, "=2000"),
    ("too few watches", diagnosis.judge_watches(Watches(100, 1000, 3, 128), 901), PROBLEM, "=2002"),
    ("no more queues", diagnosis.judge_watches(Watches(9, 1000, 128, 128)), PROBLEM, "max_user_instances=256"),
    ("the last queue", diagnosis.judge_watches(Watches(9, 1000, 127, 128)), OK, "9 of 1,000"),
    ("a clock", diagnosis.judge_clock(NOW), OK, "2027"),
    ("a clock without a battery", diagnosis.judge_clock(5.0), PROBLEM, "1970"),
    ("a clock before all time", diagnosis.judge_clock(-9e9), PROBLEM, "1970"),
    ("a private folder", diagnosis.judge_private("home", "/h", 0o700, True, True), OK, "/h"),
    ("one that others read", diagnosis.judge_private("home", "/h", 0o750, True, True), WARNING, "chmod go= /h"),
    ("somebody else's", diagnosis.judge_private("home", "/h", 0o700, False, True), WARNING, "another user"),
    ("one that takes nothing", diagnosis.judge_private("home", "/h", 0o700, True, False), PROBLEM, "/h can not"),
    ("room", diagnosis.judge_space(Space(2 * FREE_SPACE_BYTES, TERA)), OK, "1.00 TB"),
    ("little room", diagnosis.judge_space(Space(2 * FREE_SPACE_BYTES - 1, TERA)), WARNING, "will be fetched"),
    ("the floor", diagnosis.judge_space(Space(FREE_SPACE_BYTES, TERA)), WARNING, "will be fetched"),
    ("below the floor", diagnosis.judge_space(Space(FREE_SPACE_BYTES - 1, TERA)), PROBLEM, "Make room"),
    ("a small disk has a lower floor", diagnosis.judge_space(Space(20_000_000, 10**9)), OK, "20.0 MB"),
    ("a good disk", diagnosis.judge_mounted(MountedAt("ext4", "/"), False), OK, "ext4"),
    ("one that nobody knows", diagnosis.judge_mounted(MountedAt(), False), OK, "does not tell"),
    ("a read-only disk", diagnosis.judge_mounted(MountedAt("ext4", "/m"), True), PROBLEM, "remount,rw /m"),
    ("a network disk", diagnosis.judge_mounted(MountedAt("nfs4", "/m"), False), WARNING, "network"),
    ("another network disk", diagnosis.judge_mounted(MountedAt("fuse.sshfs", "/m"), False), WARNING, "network"),
    ("a stick", diagnosis.judge_mounted(MountedAt("vfat", "/m"), False), WARNING, "power cut"),
    ("a disk that can all", diagnosis.judge_abilities(ALL)[0], OK, "all that is needed"),
    ("no exchange", diagnosis.judge_abilities(evolve(ALL, exchange=False))[0], WARNING, "instant"),
    ("links instead of a rename", diagnosis.judge_abilities(evolve(ALL, noreplace=False))[0], OK, "all"),
    (
        "neither of them",
        diagnosis.judge_abilities(evolve(ALL, noreplace=False, hard_links=False))[0],
        PROBLEM,
        "nothing is stored",
    ),
    ("one case", diagnosis.judge_abilities(evolve(ALL, case_sensitive=False))[0], WARNING, "one name"),
    ("other names", diagnosis.judge_abilities(evolve(ALL, normalises=True))[0], WARNING, "Unicode"),
    ("coarse times", diagnosis.judge_abilities(evolve(ALL, mtime_granularity_ns=2 * 10**9))[0], WARNING, "2 s"),
    ("fine times", diagnosis.judge_abilities(evolve(ALL, mtime_granularity_ns=10**7))[0], OK, "all"),
    ("a sound index", diagnosis.judge_index(Seen(5000, LATEST)), OK, "sound"),
    ("one in use", diagnosis.judge_index(Seen(5000, open=True)), OK, "in use"),
    ("one after a kill", diagnosis.judge_index(Seen(5000, LATEST, closed=False)), OK, "checks all"),
    ("a damaged one", diagnosis.judge_index(Seen(5000, 0, "torn\x1b[2J")), PROBLEM, "torn\\x1b[2J"),
    ("one of a later version", diagnosis.judge_index(Seen(5000, LATEST + 1)), PROBLEM, "Update"),
    ("nobody", answered(Ending.NO_ROUTE), PROBLEM, "firewall"),
    ("another program", answered(Ending.NO_TLS), PROBLEM, "another protocol"),
    ("another version", answered(Ending.NO_VERSION), PROBLEM, "Update"),
    ("another key", answered(Ending.HEARD, b"x"), PROBLEM, "new invite"),
    ("the right one", answered(Ending.HEARD, b"k"), OK, "h:1"),
]


@pytest.mark.parametrize(("finding", "level", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_judgement(finding: Finding, level: Level, words: str) -> None:
    """Each fact has its level and its words; what is not well says what to do."""
    assert finding.level is level
    assert words in f"{finding.text} {finding.advice}"
    if level is not OK:
        assert finding.text.endswith((".", ")")) and finding.advice
    assert all(character.isprintable() for line in lines(finding) for character in line)


def test_free_files() -> None:
    """A disk that counts its files is judged by how many more it takes."""
    assert diagnosis.judge_free_files(0, 0) is None
    assert diagnosis.judge_free_files(1000, 10**6) is None
    few, none = diagnosis.judge_free_files(999, 10**6), diagnosis.judge_free_files(0, 10**6)
    assert few is not None and few.level is WARNING
    assert none is not None and none.level is PROBLEM


def test_worst() -> None:
    """The worst finding counts; nothing found is nothing wrong."""
    found = [Finding("a", level, "") for level in (OK, PROBLEM, WARNING)]
    assert diagnosis.worst(found) is PROBLEM
    assert diagnosis.worst(found[::2]) is WARNING
    assert diagnosis.worst([]) is OK


def test_several_shortcomings() -> None:
    """A file system that lacks several things is told of each."""
    assert len(diagnosis.judge_abilities(Abilities(False, False, False, False, True, 2 * 10**9))) == 5
