"""The memory: all SQL of queuectl, one method for each thing that is remembered or asked.

    Store            one connection, and what belongs together on it
    ├── jobs         insert, look up, list, count
    ├── line         what a runner does in its transaction: settle, promote, claim, give back, recover
    ├── workers      register, beat, stop, forget
    ├── retention    removal by age, outputs by their total, files
    ├── schedules    cron entries, and the jobs of their slots
    ├── family       jobs that wait for jobs: told of every end
    ├── foresight    what a verb would do to jobs; reads only
    ├── changes      what people do to jobs: cancel, retry, delete, bump, edit
    ├── queues       what each holds and obeys, breakers, limits
    ├── settings     config, control signals
    └── history      events: what happened, and by whom

Beside them, made where they are asked for: `browse` (the panel's pages), `frames` (columns of whole tables), `trends` (runs and causes over time),
`refile` (causes anew), `standing` (what a job waits for), `checks` (what `doctor` asks); `filters` says which jobs are meant.

Methods that write expect to be called inside `store.write()`; one block is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from queuectl._sqlite import Connection
from queuectl.schema import open_database
from queuectl.store.changes import Changes
from queuectl.store.family import Family
from queuectl.store.foresight import Foresight
from queuectl.store.history import History
from queuectl.store.jobs import Jobs
from queuectl.store.line import Line
from queuectl.store.queues import Queues
from queuectl.store.settings import Settings
from queuectl.store.workers import Workers

if TYPE_CHECKING:
    from queuectl.store.retention import Retention
    from queuectl.store.schedules import Schedules


class Store:
    """A queue's database.

    Args:
        path: absolute path of the database file.
        create: make the file when there is none.
        waiting: called again and again while the write lock is held by somebody else.
        read_only: change nothing.
        cache_kib: most memory for pages of the file, KiB; None for SQLite's own 2000.
    """

    def __init__(
        self,
        path: str,
        *,
        create: bool = True,
        waiting: Callable[[], None] | None = None,
        read_only: bool = False,
        cache_kib: int | None = None,
    ) -> None:
        self.connection: Connection = open_database(
            path, create=create, waiting=waiting, read_only=read_only, cache_kib=cache_kib
        )
        self.path = path
        self.jobs = Jobs(self.connection)
        self.history = History(self.connection)
        self.family = Family(self.connection, self.history)
        self.line = Line(self.connection, self.family, self.history)
        self.workers = Workers(self.connection)
        self.settings = Settings(self.connection)
        self.foresight = Foresight(self.connection)
        self.changes = Changes(self.connection, self.family, self.history)
        self.queues = Queues(self.connection)

    @cached_property
    def schedules(self) -> Schedules:
        """Cron entries; loaded only where they are asked for."""
        from queuectl.store.schedules import Schedules

        return Schedules(self.connection)

    @cached_property
    def retention(self) -> Retention:
        """Removal of what has ended; loaded only where it is asked for."""
        from queuectl.store.retention import Retention

        return Retention(self.connection)

    def write(self, *, durable: bool = True) -> AbstractContextManager[Any]:
        """One write transaction; see `Connection.write`."""
        return self.connection.write(durable=durable)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
