"""The shared folder on this peer's disk: what is in it, what changes there, and safe steps to change it.

Nothing here knows of versions or of other peers, and all of it blocks, `watch` excepted.
"""
