"""Named files: a folder served to who has its invite, and fetched from, sent to or changed by them."""
