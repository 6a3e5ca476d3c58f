"""Everything queuectl raises on purpose.

    QueuectlError                    1   a run-time fault
    ├── InvalidValue      ValueError 2   a value that is not understood; nothing was changed
    ├── DatabaseRefused              2   a file that is not ours, newer, broken or unsafe; left untouched
    ├── NotSupported                 2   this platform or file system cannot keep the promise
    ├── JobNotFound      LookupError 3   no job has this id
    ├── NothingMatched   LookupError 3   a filter matched no job
    ├── WaitTimeout     TimeoutError 4   waiting ended before the jobs did
    ├── StateConflict                5   the job's state forbids what was asked
    ├── DatabaseBusy                 1   somebody held the write lock too long
    ├── DatabaseMoved                1   the file was deleted or replaced while open
    ├── DiskFull             OSError 1   no space to record it durably
    └── WorkerStartFailed            1   a worker did not come up

The number is the command line's exit code.
"""


class QueuectlError(Exception):
    """Base of all errors that queuectl raises on purpose; its message is one line for a person."""

    exit_code = 1


class InvalidValue(QueuectlError, ValueError):
    """A value, flag or field is not what was expected. Nothing was changed."""

    exit_code = 2


class DatabaseRefused(QueuectlError):
    """The database file is foreign, newer, broken or unsafe. It was left untouched."""

    exit_code = 2


class NotSupported(QueuectlError):
    """The platform or file system cannot keep what queuectl promises."""

    exit_code = 2


class JobNotFound(QueuectlError, LookupError):
    """No job has this id."""

    exit_code = 3


class NothingMatched(QueuectlError, LookupError):
    """A filter or a list of ids matched no job."""

    exit_code = 3


class WaitTimeout(QueuectlError, TimeoutError):
    """The jobs waited for had not ended in time. They go on."""

    exit_code = 4


class StateConflict(QueuectlError):
    """The job is in a state in which this cannot be done."""

    exit_code = 5


class IdTaken(StateConflict):
    """A job has this id already."""


class DatabaseBusy(QueuectlError):
    """The write lock was held by somebody else for too long."""


class DatabaseMoved(QueuectlError):
    """The database was deleted or replaced while it was open; what was just written may be lost."""


class DiskFull(QueuectlError, OSError):
    """There is no space left to record a change durably; nothing was acknowledged."""


class WorkerStartFailed(QueuectlError):
    """A background worker did not register in time; the message has the tail of its log."""


def expected(what: str, rule: str, got: object) -> InvalidValue:
    """Return the one shape of complaint: what, expected, got."""
    shown = repr(got)
    if len(shown) > 80:
        shown = f"{shown[:60]}… ({len(shown):,} characters)"
    return InvalidValue(f"{what}: expected {rule}, got {shown}")
