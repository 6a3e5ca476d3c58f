"""`Queue`: the one public API. Every public method is also a command of the same name; both are this implementation."""

from __future__ import annotations

import os
from typing import Any

from queuectl import _sqlite
from queuectl.queue._acting import Acting
from queuectl.queue._adding import Adding
from queuectl.queue._base import ask
from queuectl.queue._checking import Checking
from queuectl.queue._editing import Editing
from queuectl.queue._explaining import Explaining
from queuectl.queue._failures import Failing
from queuectl.queue._frames import Framing
from queuectl.queue._groups import Config, DeadList, Dlq
from queuectl.queue._looking import Looking
from queuectl.queue._pruning import Pruned, Pruning
from queuectl.queue._queues import LimitList, Limits, QueueList, Queues
from queuectl.queue._schedules import Schedule
from queuectl.queue._sweeping import Group, Sweeping
from queuectl.queue._waiting import Waiting
from queuectl.settings import ConfigChange


class Queue(
    Adding,
    Sweeping,
    Looking,
    Waiting,
    Acting,
    Editing,
    Explaining,
    Pruning,
    Failing,
    Framing,
    Checking,
):
    """A queue of shell commands in one SQLite file.

    Args:
        path: the database file; $QUEUECTL_DB, else data/queue.db under the current folder when None. Made on first use.
    """

    _groups = {"config": Config, "dlq": Dlq, "queue": Queues, "limit": Limits, "schedule": Schedule}  # noqa: RUF012
    _python_only = (
        "start_workers", "stop_workers", "workers_running", "wait_async", "chain", "group", "close", "path", "panel",
        "jobs", "runs", "workers_frame", "events_frame", "failures_frame",
    )  # fmt: skip

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(path)
        self.config, self.dlq = Config(self), Dlq(self)
        self.queue, self.limit, self.schedule = Queues(self), Limits(self), Schedule(self)

    def panel(self, *, basic: bool = False, read_only: bool = False) -> Any:
        """Show the control panel in a notebook; in one kernel the same one each time, so that a cell can be run again.

        Args:
            basic: use stock ipywidgets only.
            read_only: look, but change nothing.
        """
        from queuectl.panel import panel

        return panel(self, basic=basic, read_only=read_only)


def command_line(*, lean: bool) -> type[Queue]:
    """Return the Queue whose changes are noted as made by the command line.

    Args:
        lean: the process is the command's own and needs no pandas.
    """
    _sqlite.lean = _sqlite.lean or lean

    class CommandLine(Queue):
        _actor = "cli"

        def _confirm(self, verb: str, jobs: int) -> bool:
            return ask(f"{verb} {jobs:,} jobs? [y/N] ")

    return CommandLine


__all__ = [
    "Config",
    "ConfigChange",
    "DeadList",
    "Dlq",
    "Group",
    "LimitList",
    "Pruned",
    "Queue",
    "QueueList",
    "Schedule",
    "command_line",
]
