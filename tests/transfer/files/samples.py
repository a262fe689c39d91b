"""One message of each kind about named files, ordinary ones and ones at their limits."""

from __future__ import annotations

from tests.samples import HASH, NAME, PROOF
from twistedp2p import limits
from twistedp2p.messages import common
from twistedp2p.transfer.files import messages as f

PATH = "\u00e4" * (limits.PATH_BYTES // 2)
TOKEN = bytes(range(16))
MOST = 2**32 - 1

FILES_SAMPLES: list[object] = [
    f.FilesHello(NAME, (1,), PROOF),
    f.FilesHello(NAME, tuple(range(16))),
    f.FilesWelcome(NAME, (1,), True, True),
    f.ListFolder(1),
    f.ListFolder(MOST, PATH, True, "*" * limits.IGNORE_PATTERN_CHARS, PATH, 2**63 - 1),
    f.Listed(1, ()),
    f.Listed(1, (f.FileEntry("a", False, limits.SIZE_CAP, -1, True, TOKEN), f.FileEntry("b", True))),
    f.ReadRange(1, PATH, TOKEN, limits.SIZE_CAP, limits.RANGE_BYTES),
    f.ReadFiles(1, (("a", TOKEN),)),
    f.ReadFiles(1, (("x" * 200, TOKEN),) * limits.SMALL_FILES_PER_REQUEST),
    f.FileMissing(1, limits.SMALL_FILES_PER_REQUEST - 1, "no-such-file"),
    f.HashOf(1, PATH, TOKEN),
    f.Hashed(1, 5),
    f.Hashed(1, 0, HASH),
    f.PutFile(1, PATH, limits.SIZE_CAP, 2**63 - 1, True, HASH, True),
    f.PutAt(1, 0, True),
    f.PutEnd(MOST),
    f.RemoveFile(1, PATH, True),
    f.RenameFile(1, PATH, PATH, True),
    f.MakeFolder(1, PATH),
    f.Received(1, 2, 3, False),
    common.Done(1),
    common.Failed(1, "file-changed", "It is not what it was."),
    common.Cancel(1),
    common.Data(1, bytes(limits.FILE_DATA_BYTES)),
    common.Ping(),
    common.Pong(),
    common.Goodbye(),
    common.Refused("full", "Try again later."),
]
