"""A folder that several machines share without a cloud, as small Twisted protocols."""

__version__ = "0.1.0"
