"""The version, without the cost of reading package metadata."""

__version__ = "0.1.0"
