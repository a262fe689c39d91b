"""One message of every type, in its ordinary form and at its limits, for the tests of both conversations."""

from __future__ import annotations

from twistedp2p import limits
from twistedp2p import messages as m

KEY = bytes(range(16))
NODE = bytes(range(20))
HASH = bytes(range(32))
PROOF = m.Proof(NODE, HASH, KEY, bytes(64))
NAME = "n" * limits.NAME_CHARS
DIGEST = m.SetDigest(3, KEY)
ADDRESS = m.Address("192.0.2.1", 17412)
LONG_ADDRESS = m.Address("h" * 255, 65535)
BIG = 2**63 - 1

TRACKER_SAMPLES: list[object] = [
    m.Hello(PROOF, KEY, "desk", (1,), (ADDRESS,), b"", 0, m.SetDigest(), m.SetDigest()),
    m.Hello(
        PROOF,
        KEY,
        "\N{GRINNING FACE}" * limits.NAME_CHARS,
        tuple([65535] * 16),
        (LONG_ADDRESS,) * limits.ADDRESSES,
        KEY,
        BIG,
        m.SetDigest(BIG, KEY),
        m.SetDigest(BIG, KEY),
    ),
    m.Welcome(1, "192.0.2.1", 30.0, 100.0, KEY, 5, 0, False),
    m.Welcome(1, "192.0.2.1", 30.0, 100.0, KEY, 5, 0, False, 1e12),
    m.Announce(1, True, True, ((0, 5), (9, 1)), ((5, 1),), (), (KEY,), (), (), None),
    m.Announce(2, True, True, reference=(DIGEST, DIGEST)),
    m.Need(1, True, (KEY,)),
    m.Need(1, True, everything=True),
    m.Blobs(1, True, (b"blob",)),
    m.Blobs(1, True, (bytes(limits.RECORD_BYTES),)),
    m.Announced(1, True, ((0, 5),)),
    m.Peers((m.PeerInfo(2, NODE, "shelf", (1,), (ADDRESS,)),), (3, 4)),
    m.Delta(9, True, (m.Entry(8, b"blob", (2, 3)),)),
    m.Delta(9, False, (m.Entry(8, bytes(limits.RECORD_BYTES), tuple([BIG] * 16)),)),
    m.Holders(2, ((0, 9),), ((11, 1),)),
    m.WhoHolds(((0, 9),)),
    m.HoldersOf(((8, (2, 3), (2, 3, 4)),)),
    m.KeepAlive(DIGEST, DIGEST),
    m.Alive(True),
    m.DialMe(7),
    m.Ping(),
    m.Pong(),
    m.Goodbye(),
    m.Refused("full", "The tracker serves as many peers as it can; try again later."),
]

PEER_SAMPLES: list[object] = [
    m.PeerHello(PROOF, NAME, (1,)),
    m.GetContents(1, (HASH, HASH)),
    m.GetContents(2**32 - 1, (HASH,) * limits.SMALL_CONTENTS_PER_REQUEST),
    m.GetManifest(2, HASH),
    m.GetRange(3, HASH, 0, limits.RANGE_BYTES),
    m.Missing(1, HASH),
    m.Done(1),
    m.Failed(1, "not-held", "That file is not here any more."),
    m.Cancel(1),
    m.Data(7, b""),
    m.Data(2**32 - 1, bytes(limits.DATA_BYTES)),
    m.Ping(),
    m.Pong(),
    m.Goodbye(),
    m.Refused("full", "Try again later."),
]
