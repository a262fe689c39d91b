"""The messages between nodes: one frozen class each; docs/protocol.md tells the conversations.

Lengths and ranges stand in the annotations, so that decoding (`wire`) refuses what is over a limit before
anything else sees it. `TRACKER_TYPES` and `PEER_TYPES` give each class its type byte; a type byte is never reused.
Each conversation has a module, since making these classes takes time, and most programs speak one.
"""
