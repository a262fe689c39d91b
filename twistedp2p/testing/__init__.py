"""A whole network in one process, for our tests and for embedders."""
