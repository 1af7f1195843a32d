"""The version of edgedx, by itself, so that every room can import it."""

__version__ = "0.1.0"
