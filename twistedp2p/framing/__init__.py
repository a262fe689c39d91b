"""Frames, the member handshake, requests and replies."""
