"""The directory of live peers and of what they hold."""
