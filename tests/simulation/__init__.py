"""Whole networks of real peers and trackers in virtual time."""
