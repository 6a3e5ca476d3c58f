"""queuectl: run and repair background jobs kept in one SQLite file."""

__version__ = "0.1.0"
