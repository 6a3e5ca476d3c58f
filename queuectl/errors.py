"""What can go wrong, one class per fact."""

from __future__ import annotations


class QueuectlError(Exception):
    """Base of every error that queuectl raises on purpose."""

    exit_code = 1


class InvalidValue(QueuectlError, ValueError):  # noqa: N818
    """A value is not what was expected."""

    exit_code = 2
