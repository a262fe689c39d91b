"""Every size, count and interval, with its unit and its reason."""

from __future__ import annotations

# -- frames (bytes) ---------------------------------------------------------
DATA_BYTES = 64 * 1024
"""Content in one Data frame: longer ones cost less a byte, but over a slow link they keep what is urgent waiting."""
DATA_SENT_BYTES = DATA_BYTES - 9
"""Content in one Data frame as it is sent: with its header the frame is four whole TLS records, not a bit more."""
FILE_DATA_BYTES = 256 * 1024
"""Content in one Data frame where named files move, which takes 7 % less time; who asks over a slow link asks for
less. At LOWEST_RATE it comes within FILES_PUT_IDLE."""
FILE_DATA_SENT_BYTES = FILE_DATA_BYTES - 9
"""As much is sent in one: sixteen whole TLS records."""
FRAMES_BYTES = DATA_BYTES
"""Frames of one stream are written together up to this size: TLS and the reactor cost by the write."""
SOCKET_READ_BYTES = 512 * 1024
"""Where named files move, as much is read from a socket at a time, and may wait before its writer has to wait."""
SOCKET_SEND_BYTES = 1024 * 1024
"""As much is given to a socket at a time: more than waits, so that it leaves in one go."""
SOCKET_UNSENT_BYTES = 256 * 1024
"""No more than this waits in a socket for its turn: what is urgent, or a new priority, would wait behind it."""
FRAME_BYTES = DATA_BYTES + 512
"""Longest frame after the proof but for FILE_DATA_BYTES; the rest is the header of a Data frame."""
PROOF_FRAME_BYTES = 1024
"""Longest frame from somebody who has not proved anything yet."""
HELLO_FRAME_BYTES = 2048
"""Longest Hello: the proof, a name and as many addresses as it may have."""
BATCH_BYTES = 56 * 1024
"""How much a list message is filled before the next one is begun; leaves room for headers."""
LIST_ITEMS = 4096
"""Longest list in one message: bounds what a decoder builds from one frame."""
NAME_CHARS = 64
"""Longest display name of a peer."""
SENTENCE_CHARS = 400
"""As much of an error's text as goes to the other side."""
ADDRESSES = 4
"""Addresses that a peer may advertise: a longer list would make it a reflector."""
UNREAD_OUTPUT_BYTES = 1024 * 1024
"""Output that may wait for a reader before its producers pause."""
LOWEST_RATE = 1024
"""Bytes a second that a frame must arrive at, once it has begun ..."""
LOWEST_RATE_WINDOW = 30.0
"""... over this many seconds: slower is somebody who only holds the connection."""
UNREAD_SECONDS = 60.0
"""A reader that takes nothing for this long is gone."""
TRACKERS = 8
"""Trackers that one invite may name."""
INVITE_CHARS = 4096
"""Longest text looked at as an invite: eight host names of 253 characters have room."""

# -- names ------------------------------------------------------------------
PATH_BYTES = 1024
"""Longest path, UTF-8."""
COMPONENT_BYTES = 255
"""Longest component on the file systems that we run on."""
PORTABLE_COMPONENT_UNITS = 240
"""Longest component of a portable share, in bytes and in UTF-16 units."""
CONFLICT_NAME_BYTES = 240
"""A conflict copy's name is cut to this, so that it fits everywhere."""
PATH_DEPTH = 64
"""Deepest path, in components."""

# -- what is ignored ----------------------------------------------------------
IGNORE_BYTES = 64 * 1024
"""Longest `.twistedp2pignore` that is used: it comes from other members, and bounds what matching a path costs."""
IGNORE_PATTERNS = 1000
"""Most patterns of a list: each path is compared with all that have a wildcard in the middle."""
IGNORE_PATTERN_CHARS = 512
"""Longest pattern: two of the longest names."""
IGNORE_FOLDERS = 10_000
"""Folders of which is remembered whether they are ignored: bounds memory."""
IGNORE_WAIT = 10.0
"""At start, the share's list is waited for this long (seconds) before anything else is taken or put in place."""

# -- records ----------------------------------------------------------------
SIBLINGS = 32
"""Concurrent versions of one path in a record; more is a bomb."""
CONTEXT_ENTRIES = 256
"""Replica ids in the context of one record."""
LAMPORT_CAP = 2**53 - 1
"""Lamport stamps saturate here, so that a forged one can not overflow."""
COUNTER_CAP = 2**53 - 1
"""Highest dot number accepted."""
SIZE_CAP = 2**62
"""Largest file size accepted, bytes."""
RECORD_BYTES = 48 * 1024
"""Longest sealed record: one must fit a frame with room for its neighbours."""
SEAL_STEP_BYTES = 64
"""Sealed records are padded to a multiple of this, so that sizes say little about names."""
ITEMS_PER_PEER = 1_000_000
"""Items that one peer may announce."""
TRACKER_BYTES = 1024**3
"""Sealed records that a tracker keeps in memory."""
REPLACED_RECORDS = 10_000
"""Replaced records that an index still gives to the tracker, which may ask for them a moment later."""

# -- connections (counts) ---------------------------------------------------
STRANGERS_PER_ADDRESS = 8
"""Connections from one address that have not proved membership."""
STRANGERS = 256
"""Connections in all that have not proved membership: 256 x 37 KiB is 9 MiB."""
MEMBERS_PER_ADDRESS = 64
"""Proved connections from one address: several peers behind one router."""
BACKLOG = 1024
"""Connections that may wait to be accepted: a burst beyond it waits a second for its callers to try again."""
ACCEPT_AGAIN = 1.0
"""While no more files can be opened, accepting is tried again this often, seconds."""
CONNECTIONS = 4096
"""Proved connections of one tracker."""
PEERS_PER_SHARE = 1000
"""Live members of one share."""
REQUESTS_IN_FLIGHT = 64
"""Requests that one side may have unanswered on one connection."""
ANSWERS_AT_ONCE = 4
"""Requests of one connection that are being read for at the same time; the others wait: bounds memory."""
CHANGES_WAITING = 1000
"""Changes of a folder that wait for a program that reads them; one that is slower is told that it lost some."""
BATCHES_IN_FLIGHT = 16
"""Batches that a peer may have sent to its tracker without an acknowledgement."""
PEER_CONNECTIONS = 256
"""Connections of one peer with other peers."""

# -- intervals (seconds) ----------------------------------------------------
KEEPALIVE = 30.0
"""A peer says that it is alive this often."""
EXPIRY = 100.0
"""A peer that was silent this long is forgotten: three keep-alives missed."""
HANDSHAKE = 10.0
"""TLS and proof must be done in this time, absolutely, not idle."""
REFUSAL_LINGER = 2.0
"""How long a refusal that is meant to be read may take to leave."""
REPLY = 30.0
"""A request without any progress for this long has failed."""
CALLS_IDLE = 600.0
"""Who answers typed requests closes a connection on which nothing was asked for so long, seconds: it can not be told
from one whose other side died without a word, and to dial again takes a moment."""
DUPLICATE_PING = 5.0
"""How long the first session of a device key has to answer before it is replaced."""
UPDATE_COALESCE = 0.05
"""Holder news is gathered this long before it is sent."""
BACKOFF_FIRST = 0.25
"""First wait before dialling again."""
BACKOFF_MOST = 10.0
"""Longest wait before dialling again."""
SESSION_STEADY = 1.0
"""A session with a tracker that lasted this long was a success: dialling begins with the first wait again."""
DIAL_ME_AFTER = 1.0
"""A dial that took so long without an answer is helped: the other side is asked to dial too."""
DIAL_ME_WAIT = 5.0
"""Who asked to be dialled waits this long for it: the way through the tracker, a dial, and TLS."""
DIAL_ME_PAIR = 5.0
"""One member's wish to be dialled by another is passed on at most this often: sooner the last dial is not through."""
DIAL_ME_WINDOW = 60.0
"""Wishes to be dialled are counted over this time ..."""
DIAL_ME_MOST = 128
"""... and so many of one member are passed on in it: enough to meet a large share, too few to make others a weapon."""
DIAL_ME_HEED = 5.0
"""A wish to be dialled ends the wait before the next dial at most this often, whatever a tracker says."""
CLOCK_OFF = 60.0
"""A clock that differs from the tracker's by more than this is said to a person: dates would mislead."""
WHEREABOUTS = 5.0
"""A peer looks this often whether it has another address, or slept: it costs two system calls."""
LINK_IDLE = 30.0
"""A connection with a peer on which nothing was heard for this long is tried with a Ping."""
LINK_CHECK = 5.0
"""A connection that may be dead (the other side dialled again, or moved) must show life in this time."""
SURVEY_TRIES = 3
"""Who only looks at a folder reads a file that somebody writes to so many more times before leaving it out."""
GUEST_PATIENCE = 30.0
"""Who only wants to look at a share waits this long for one of its trackers."""
GUEST_PEERS = 2.0
"""... and this long to hear of live members: a tracker that has none to list says nothing."""
FULL_SCAN = 3600.0
"""The folder is read in full this often; the watcher is only a hint."""
QUIET_AFTER_CLOSE = 0.010
"""Quiet after a close-after-write or rename event before a file is read."""
QUIET_AFTER_WRITE = 1.0
"""Quiet after any other change: a slow download is not announced by halves."""
DELETE_SECOND_LOOK_LIVE = 0.2
"""Second look at a name whose deletion a live watch reported."""
DELETE_SECOND_LOOK_SCAN = 2.0
"""Second look at a name that a scan alone found missing."""
TRACKER_NOTICE = 30.0
"""A peer without a tracker says so this often."""
HOLDER_RETRY = 5.0
"""A holder that said "not held", or failed, is asked for that content again after this."""
BAD_HOLDER = 600.0
"""A holder that served bad bytes is not asked again for this long."""
RETRY_FIRST = 5.0
"""What failed on this disk is tried again after this, then after twice as long ..."""
RETRY_MOST = 60.0
"""... and so on, up to this: whoever made room or gave permission does not wait for long."""
SAID_AGAIN = 600.0
"""A trouble that was over for this long, seconds, is said in the log again; one that stands is said once."""
SAID_PATHS = 10
"""Paths named in the log that have one sort of trouble; `status` lists the others."""
WATCH_AGAIN = 60.0
"""Folders that the system let nobody watch are tried again after this: somebody may have raised its limit."""
INDEX_AGAIN = 60.0
"""An index that is damaged right after it was begun anew is followed by another one after this, then ever later."""
TRASH_AGAIN = 10.0
"""A displaced file is looked at again after this: a program that had it open may have gone on writing."""
TRASH_DAYS = 30
"""How long displaced files are kept unless a person says otherwise, days."""
TRASH_DAYS_MOST = 36_500
"""The longest that a person may say, days: for ever, and still a date."""
TRASH_SLICE = 1000
"""Files of the trash that are told of, or removed, in one step: the peer goes on with other things in between."""

# -- content ----------------------------------------------------------------
SMALL_BYTES = 64 * 1024
"""A content up to this size is one chunk, has no manifest and fits one Data frame."""
CHUNK_AVERAGE = 256 * 1024
"""Average chunk, bytes."""
CHUNK_AVERAGE_MOST = 4 * 1024 * 1024
"""Average chunk of the largest files: as far as the chunker goes."""
CHUNKS_AIM = 8192
"""The average chunk is doubled until a file has about this many."""
CONTENT_BYTES = 1024**4
"""Largest content that can be shared: its manifest still fits MANIFEST_BYTES."""
MANIFEST_BYTES = 40 * 1024 * 1024
"""Longest manifest accepted: CONTENT_BYTES in the shortest chunks of 1 MiB, 36 bytes each."""
SMALL_CONTENTS_PER_REQUEST = 256
"""Small contents asked for in one request."""
SMALL_FILE_BYTES = 32 * 1024
"""A named file up to this size travels whole, content id and all, in one Data frame; a batch of them is one request."""
SMALL_FILES_PER_REQUEST = 256
"""Small named files asked for in one request: 8 MiB at most."""
OFFERED_NAMES = 1_000_000
"""Files and folders that are sent once, at a time: as many as a peer may have, listed in a minute; a list that goes on
for ever ends there."""
LISTING_NAMES = 20_000
"""Names of one folder that a listing holds at a time: a longer folder is read again for each so many of them."""
NEXT_ADDRESS = 0.5
"""The next address of a server is tried when one has not answered for this long, seconds (RFC 8305 advises 0.25)."""
DIALLED_ANEW = 10.0
"""A receiver that dials a sender again after this long, seconds, gave up what it dialled before; it tries several
addresses within this."""
FILES_PATIENCE = 300.0
"""A server that can not be reached is dialled again and again for this long, seconds, before its client gives up."""
DOWNLOAD_RANGE = 4 * FILE_DATA_SENT_BYTES
"""Bytes of a named file asked for at a time, at most, some 1 MiB: what a priority is a share of."""
DOWNLOAD_WRITE = 4 * 1024 * 1024
"""Bytes of a named file that are written in one go, at most: they are copied for it."""
HASHED_AT_ONCE = 64
"""Served files that are hashed while they are read in order, at the same time."""
FILES_AT_ONCE = 16
"""Named files of one priority that are fetched at the same time."""
OLD_PARTS_FOLDERS = 256
"""Folders of which a download knows what parts earlier runs left: files come folder by folder, some at a time."""
FILES_WAITING = 2000
"""Files that a download knows of and has not begun: whoever lists more waits."""
KNOWN_HASHES = 100_000
"""Content ids of served files that are remembered: some 20 MiB."""
FILES_PUT_IDLE = 300.0
"""A client that sends nothing of the files that it puts for so long, seconds, does not go on: its puts fail."""
PUT_SAID_EVERY = 0.5
"""A server says this often how much of a file has come that is put, seconds, and whenever it has written some."""
PUTS_ENDED = 1024
"""Files given up of which a little more may still come, on one connection."""
LISTINGS_PAUSED = 4
"""Listings of one connection that wait to be gone on with: each may hold LISTING_NAMES names for each level."""
HASHED_EVERY = 2.0
"""Who hashes a long file for somebody says this often how far it is, seconds: well within REPLY."""
RANGE_BYTES = 16 * 1024 * 1024
"""Longest run of bytes asked for in one request: the longest chunk of the largest files."""
RUN_BYTES = 4 * 1024 * 1024
"""A run of chunks is asked for up to this length, or a single longer chunk."""
CONNECTION_BYTES_IN_FLIGHT = 16 * 1024 * 1024
"""Content asked for on one connection that is not stored yet: bounds memory."""
BYTES_IN_FLIGHT = 64 * 1024 * 1024
"""Content asked for in all that is not stored yet."""
BAD_STRIKES = 3
"""A holder that served bad bytes for this many contents is asked for none at all for BAD_HOLDER."""
PART_FLUSH_BYTES = 64 * 1024 * 1024
"""Parts are flushed this often, so that a power cut costs no more."""
PART_FLUSH_SECONDS = 5.0
"""... or this often."""
READ_BYTES = 1024 * 1024
"""A file is read this many bytes at a time."""
PART_ORPHAN_SECONDS = 86_400.0
"""A part that nobody wrote to for this long is removed at start."""
TIMESTAMP_TICK_NS = 10_000_000
"""Two writes within this time may leave a file with the same mtime: the coarsest kernel clock (100 Hz)."""
SYNC_FOLDERS_ONE_BY_ONE = 8
"""Up to this many folders or files are flushed one by one; for more, flushing the file system is quicker."""
RENAME_PAIR = 0.005
"""The second half of a rename follows the first within this; else the file has left the folder, seconds."""
WATCH_SLICE = 200
"""Folders that are given a watch in one turn of a worker thread."""
EARLY_EVENTS = 10_000
"""Events of folders whose watch is just being made; with more of them the folder is scanned anew."""
FREE_SPACE_BYTES = 1024**3
"""Fetching stops when less than this, or 1 % of the disk if that is less, is free."""

# -- safety -----------------------------------------------------------------
BRAKE_FILES = 50
"""A batch of deletes larger than this ..."""
BRAKE_SHARE = 0.25
"""... and larger than this part of the share waits for a person."""
BRAKE_WINDOW = 600.0
"""... counted over this many seconds."""

TRACKER_PORT = 17411
"""The tracker's default port."""
FILES_PORT = 17413
"""The file server's default port."""

# -- this machine -------------------------------------------------------------
LARGE_BLOCK_BYTES = 128 * 1024
"""Blocks of memory from this size on go back to the system when they are freed: pieces and chunks of large files."""
KEPT_FREE_BYTES = 16 * 1024 * 1024
"""Free memory that a program of many short-lived buffers keeps: as many as are in use at once, and little beside it."""
MOVING_BLOCK_BYTES = 2 * 1024 * 1024
"""Where named files move, blocks up to this size are short-lived buffers: reads of a socket, frames, ranges."""
SOCKET_PATH_BYTES = 103
"""Longest path of a UNIX socket that every system takes: Linux takes 107 bytes, macOS 103."""
CHECK_SECONDS = 15.0
"""One check of `twistedp2p doctor` that blocks may take this long, seconds: a disk or a name server may be away."""
CONTROL_ANSWER = 10.0
"""A command waits this long for the running peer that it asks, seconds."""
CONTROL_WORK = 600.0
"""... and this long for what has to wait for the peer's disk: a step that publishes large files comes first."""
STOP_WAIT = 60.0
"""A command waits this long for a peer to end, seconds: a goodbye, and the steps that are under way."""
STOP_LOOK = 0.05
"""... and looks this often whether it has, seconds."""
FOLDERS_LOOK = 3.0
"""`run` looks this often for folders that came or went, and for one that another process has, seconds."""
FOLDER_RETRY_FIRST = 1.0
"""A folder that can not be served now is tried again after this, doubling, seconds ..."""
FOLDER_RETRY_MOST = 60.0
"""... and at least this often: somebody who mounts a disk should not have to wait longer."""
LOG_BYTES = 10 * 1024 * 1024
"""A log file is begun anew when it is this long, unless a person says otherwise: it can still be opened anywhere."""
LOG_BYTES_LEAST = 4096
"""Shortest log file that may be asked for, bytes: one event with a traceback must fit."""
LOG_FILES = 5
"""Older log files that are kept, unless a person says otherwise."""
LOG_FILES_MOST = 1000
"""Most of them that may be asked for: all are renamed at each turn."""
SERVICE_FILES = 65536
"""Open files that the service may have: a connection, a part and a watch each take some."""
SYSTEMCTL = 30.0
"""A call of systemctl may take this long, seconds."""

# -- echo ---------------------------------------------------------------------
ECHO_CONNECTIONS = 20_000
"""Connections of an echo server at once, unless a person says otherwise: each takes a file and some 4 KiB."""
ECHO_HELD = 128
"""Callers that were accepted when the last place went, and wait for one; the next ones wait in the system."""
ECHO_SPARE_FILES = 64
"""Open files that an echo server, or what measures one, needs besides its connections."""
ECHO_IDLE = 600.0
"""Nothing moved on a connection for this long, seconds: a person at a keyboard would have said something ..."""
ECHO_IDLE_STEPS = 8
"""... looked at this many times in that time: a timer for each connection would cost more."""
ECHO_QUIET = 0.1
"""A connection is silent, at the end of a server, when nothing came for this long, seconds."""
ECHO_GRACE = 3.0
"""At its end a server goes on echoing for this long, seconds, where clients go on ..."""
ECHO_STOP = 5.0
"""... and breaks off what is left after this: whoever ends a service waits for ten."""
ECHO_DATAGRAM_BYTES = 65536
"""Longest datagram read: longer than any that there can be."""
ECHO_DATAGRAMS = 20_000
"""Datagrams sent back to one address in a second: as many as a core can, and a bound if it was forged."""
ECHO_MESSAGE_BYTES = 16 * 1024 * 1024
"""Longest message of `twistedp2p echo`."""
ECHO_DATAGRAM_LEAST = 8
"""Shortest datagram of `twistedp2p echo`: its number, by which it is known when it comes back."""
ECHO_DATAGRAM_MOST = 65507
"""Longest datagram of `twistedp2p echo`: what IPv4 leaves of 64 KiB."""
ECHO_LOAD_BYTES = 1024**3
"""Bytes that `twistedp2p echo` may have under way: it keeps them to compare what comes back."""
ECHO_DIALS = 256
"""Connections that `twistedp2p echo` dials at once: a burst of all would only fill the server's queue."""
ECHO_PATIENCE = 30.0
"""`twistedp2p echo` gives up a connection on which nothing came back for this long, seconds ..."""
ECHO_DATAGRAM_PATIENCE = 1.0
"""... and takes a datagram for lost after this."""
ECHO_SOURCE_PORTS = 20_000
"""Connections from one address of this machine: Linux has 28,232 ports for them, and some are still closing."""
