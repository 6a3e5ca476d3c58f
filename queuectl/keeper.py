"""The keeper: the process between a supervisor and its runner, there to be in the way.

A job may kill whoever it takes for its parent: the runner, and when that has gone whoever adopted the job. Adopted by the supervisor, the second
job of the same instant would end the whole worker. So the orphans of a dead runner come to the keeper, which kills them and ends; if it
is killed itself, the supervisor notices and has the next runner clear up by the marks that processes carry.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from queuectl import processes
from queuectl.board import Board

LOST = 4  # exit code: the runner was killed
FAULT = 3  # exit code of a fault that a restart does not mend
ORPHANED = (
    signal.SIGUSR2
)  # keeper to runner: the supervisor is gone; supervisor to keeper: kill a frozen runner
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, ORPHANED)
SWEEP_S = 5.0


def keep(run: Callable[[], int], *, supervisor: int, board: Board) -> int:
    """Run a runner below us until it ends and nothing of its jobs is left; return its exit code, or LOST.

    Args:
        run: the runner's whole life; called in the forked child.
        supervisor: our parent.
        board: where the runner's pid is written.
    """
    keeper = _Keeper(supervisor)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until there is a runner, and it can hear them
    for number in SIGNALS:
        signal.signal(number, keeper.pass_on)
    processes.become_subreaper()
    if not processes.die_with_parent(signal.SIGTERM, supervisor):
        return FAULT
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = FAULT
        try:
            # The runner may not outlive us: what it starts then would be adopted by strangers.
            if processes.die_with_parent(signal.SIGKILL, me):
                code = run()
        finally:
            os._exit(code)
    board.runner_is(pid, processes.start_ticks(pid))
    keeper.runner = pid
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            break
    keeper.runner = 0
    _sweep()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else LOST


class _Keeper:
    """Passes signals on to the runner."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor, self.runner = supervisor, 0

    def pass_on(self, number: int, _frame: object) -> None:
        if os.getppid() != self.supervisor:
            number = ORPHANED
        elif number == ORPHANED:
            number = signal.SIGKILL
        if self.runner:
            with contextlib.suppress(
                ProcessLookupError
            ):  # it has just been reaped, and its place not yet emptied
                os.kill(self.runner, number)


def _sweep() -> None:
    """Kill everything below us, which is what was adopted from the dead runner."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:  # nothing was: no need to look through all processes
        return
    me = os.getpid()
    processes.kill_all(
        lambda procs: {p.pid for p in procs.values() if p.ppid == me}, patience_s=SWEEP_S, pause_s=0.002
    )
