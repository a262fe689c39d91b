"""One message of every type, in its ordinary form and at its limits, for the tests of both conversations."""

from __future__ import annotations

from twistedp2p import limits
from twistedp2p.messages import common, peer, tracker

KEY = bytes(range(16))
NODE = bytes(range(20))
HASH = bytes(range(32))
PROOF = common.Proof(NODE, HASH, KEY, bytes(64))
NAME = "n" * limits.NAME_CHARS
DIGEST = tracker.SetDigest(3, KEY)
ADDRESS = tracker.Address("192.0.2.1", 17412)
LONG_ADDRESS = tracker.Address("h" * 255, 65535)
BIG = 2**63 - 1

TRACKER_SAMPLES: list[object] = [
    tracker.Hello(PROOF, KEY, "desk", (1,), (ADDRESS,), b"", 0, tracker.SetDigest(), tracker.SetDigest()),
    tracker.Hello(
        PROOF,
        KEY,
        "\N{GRINNING FACE}" * limits.NAME_CHARS,
        tuple([65535] * 16),
        (LONG_ADDRESS,) * limits.ADDRESSES,
        KEY,
        BIG,
        tracker.SetDigest(BIG, KEY),
        tracker.SetDigest(BIG, KEY),
    ),
    tracker.Welcome(1, "192.0.2.1", 30.0, 100.0, KEY, 5, 0, False),
    tracker.Welcome(1, "192.0.2.1", 30.0, 100.0, KEY, 5, 0, False, 1e12),
    tracker.Announce(1, True, True, ((0, 5), (9, 1)), ((5, 1),), (), (KEY,), (), (), None),
    tracker.Announce(2, True, True, reference=(DIGEST, DIGEST)),
    tracker.Need(1, True, (KEY,)),
    tracker.Need(1, True, everything=True),
    tracker.Blobs(1, True, (b"blob",)),
    tracker.Blobs(1, True, (bytes(limits.RECORD_BYTES),)),
    tracker.Announced(1, True, ((0, 5),)),
    tracker.Peers((tracker.PeerInfo(2, NODE, "shelf", (1,), (ADDRESS,)),), (3, 4)),
    tracker.Delta(9, True, (tracker.Entry(8, b"blob", (2, 3)),)),
    tracker.Delta(9, False, (tracker.Entry(8, bytes(limits.RECORD_BYTES), tuple([BIG] * 16)),)),
    tracker.Holders(2, ((0, 9),), ((11, 1),)),
    tracker.WhoHolds(((0, 9),)),
    tracker.HoldersOf(((8, (2, 3), (2, 3, 4)),)),
    tracker.KeepAlive(DIGEST, DIGEST),
    tracker.Alive(True),
    tracker.DialMe(7),
    common.Ping(),
    common.Pong(),
    common.Goodbye(),
    common.Refused("full", "The tracker serves as many peers as it can; try again later."),
]

PEER_SAMPLES: list[object] = [
    peer.PeerHello(PROOF, NAME, (1,)),
    peer.GetContents(1, (HASH, HASH)),
    peer.GetContents(2**32 - 1, (HASH,) * limits.SMALL_CONTENTS_PER_REQUEST),
    peer.GetManifest(2, HASH),
    peer.GetRange(3, HASH, 0, limits.RANGE_BYTES),
    peer.Missing(1, HASH),
    common.Done(1),
    common.Failed(1, "not-held", "That file is not here any more."),
    common.Cancel(1),
    common.Data(7, b""),
    common.Data(2**32 - 1, bytes(limits.DATA_BYTES)),
    common.Ping(),
    common.Pong(),
    common.Goodbye(),
    common.Refused("full", "Try again later."),
]
