"""Moving content by its hash; knows nothing of trackers, shares or sync."""
