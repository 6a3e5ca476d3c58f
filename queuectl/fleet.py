"""The fleet: runners as processes — supervised in the foreground, started in the background, listed and stopped.

The supervisor holds no connection and no truth: it forks a keeper, which forks the runner; when the runner dies the keeper kills whatever it
adopted from it, and the supervisor starts the next, which recovers the jobs at once, and rests before it claims any when many have died in a row. It tells a frozen runner by the board.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from queuectl import keeper, processes
from queuectl.board import Board
from queuectl.errors import WorkerStartFailed
from queuectl.ids import new_id
from queuectl.model import Worker
from queuectl.records import record, replace
from queuectl.runner import Options, serve
from queuectl.store import Store

if TYPE_CHECKING:
    import subprocess

REST_S = (
    0.0,
    0.0,
    0.1,
    0.5,
    1.0,
    2.0,
    5.0,
)  # after the n-th death in a row, in which the next runner claims nothing
RESTART_S = 0.5  # at most, before a runner follows one that died while it rested; what it held before that has been given back
HOOKS_S = 2.0  # for the hooks of what died with a runner that was told to stop
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CALM_S = 10.0  # a runner that lived this long starts the row anew
SCRUBBED = (
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "PAGER",
    "GIT_PAGER",
    "TERM",
    "MPLBACKEND",
    "PYDEVD_USE_FRAME_EVAL",
)


@record
class _Heir:
    """A runner that is to be started.

    Attributes:
        at: when, monotonic seconds.
        predecessor: id of the dead runner that it follows.
        started: the (seq, run) that this one had started.
        rest_s: how long it is to claim nothing, seconds.
    """

    at: float
    predecessor: str
    started: frozenset[tuple[int, int]]
    rest_s: float


class Supervisor:
    """Keeps one runner (and, when asked, companions that try suspect jobs alone) alive until they have finished.

    Args:
        options: what the worker was asked to be.
        lease_ms: silence after which the runner counts as frozen.
    """

    def __init__(self, options: Options, *, lease_ms: int) -> None:
        self.o, self.lease_ms = options, lease_ms
        self.board = Board(options.count)
        self.runner, self.runner_id = 0, ""  # its keeper's pid, its id
        self.solos: dict[int, Board] = {}  # by their keepers' pids
        self.stops = 0
        self.exit_code = 0
        self.failures = 0  # deaths of runners in a row
        self.rested = 0.0  # when the runner has rested, or had, monotonic
        self.heir: _Heir | None = None  # the runner that is to be started next

    def run(self) -> int:
        """Supervise until the runner ends by itself; return the exit code."""
        processes.require_linux()
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(
            signal.SIGUSR1, signal.SIG_IGN
        )  # inherited: a nudge must not kill a runner that is just starting
        with _stops_held():
            for number in STOPS:
                signal.signal(number, self._on_stop)
            self._start()
        tick = min(5.0, self.lease_ms / 4000)
        while self.runner or self.solos or self.heir:
            busy = self.runner and self.board.lent()
            wait = min(tick, 0.05) if busy else tick
            if self.heir:
                wait = max(0.0, min(wait, self.heir.at - time.monotonic()))
            select.select([reader], [], [], wait)
            try:
                os.read(reader, 4096)
            except BlockingIOError:
                pass
            self._reap()
            self._start_heir()
            self._watch()
            while self.runner and not self.stops and self.board.solos_wanted() > 0:
                self._start_solo()
        return self.exit_code

    # --- starting ---

    def _start(self, **history: Any) -> None:
        self.runner_id = new_id()
        self.board.clear()
        self.board.beat()
        self.born = time.monotonic()
        self.rested = self.born + history.get("rest_s", 0.0)
        self.runner = self._fork(self.o, self.board, id=self.runner_id, **history)

    def _start_heir(self) -> None:
        """Start the runner that follows a dead one, when it is time."""
        if not self.heir:
            return
        with _stops_held():
            if not self.stops:
                if time.monotonic() >= self.heir.at:
                    heir, self.heir = self.heir, None
                    self._start(predecessor=heir.predecessor, started=heir.started, rest_s=heir.rest_s)
                return
        self.heir = None
        self._recover_and_leave()

    def _start_solo(self) -> None:
        self.board.solo_born()
        board = Board(1)
        with _stops_held():
            pid = self._fork(replace(self.o, count=1, limit=None, drain=False, solo=True), board, id=new_id())
            self.solos[pid] = board

    def _fork(self, options: Options, board: Board, **history: Any) -> int:
        me = os.getpid()
        sys.stdout.flush()
        gc.freeze()  # collections of the children leave these pages alone, which they share with us
        pid = os.fork()
        if pid:
            return pid
        code = keeper.FAULT
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # Ctrl-C reaches the supervisor only, which passes it on

            def run() -> int:
                return _guarded(options, board, supervisor=me, **history)

            code = keeper.keep(run, supervisor=me, board=board)
        finally:
            os._exit(code)

    # --- watching ---

    def _on_stop(self, _number: int, _frame: object) -> None:
        self.stops += 1
        for pid in (self.runner, *self.solos):
            if pid:
                os.kill(pid, signal.SIGTERM)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid in self.solos:
                board = self.solos.pop(pid)
                if code < 0:
                    self._end_orphan(board)
                self.board.solo_ended()
                if self.runner:
                    os.kill(self.runner, signal.SIGUSR1)  # there may be a job to recover, and a slot is back
            elif pid == self.runner:
                self._runner_ended(code)

    def _runner_ended(self, code: int) -> None:
        self.runner = 0
        if code in (0, keeper.FAULT):
            self.exit_code = 1 if code else 0
            for pid in self.solos:
                os.kill(pid, signal.SIGTERM)
            return
        if code < 0:
            self._end_orphan(self.board)
        started, dead = self.board.runs(), self.runner_id
        if self.stops:
            self._recover_and_leave()
            return
        now = time.monotonic()
        self.failures = self.failures + 1 if now - self.born < CALM_S else 1
        rest = REST_S[min(self.failures, len(REST_S)) - 1]
        # At once, for it recovers the jobs of the dead one. Only who died without having claimed a job is followed a little later.
        pause = min(rest, RESTART_S) if now < self.rested else 0.0
        self.heir = _Heir(now + pause, dead, started, rest)

    def _recover_and_leave(self) -> None:
        """The runner was killed while it stopped: what it held is given back before we go."""
        pid = os.fork()
        if pid == 0:
            try:
                from queuectl.aftermath import recover_at_the_end

                recover_at_the_end(
                    Store(self.o.database), queues=self.o.queues, hooks_s=0.0 if self.stops > 1 else HOOKS_S
                )
            finally:
                os._exit(0)
        os.waitpid(pid, 0)

    def _watch(self) -> None:
        if not self.runner or (silent := self.board.silent_ms()) <= self.lease_ms:
            return
        # The keeper may kill its child without a doubt about who that is; if it is frozen too, it goes.
        os.kill(self.runner, keeper.ORPHANED if silent < 2 * self.lease_ms else signal.SIGKILL)

    def _end_orphan(self, board: Board) -> None:
        """The keeper was killed, and the kernel with it the runner: wait until that has gone, so that the next may take its place."""
        pid, start = board.runner()
        deadline = time.monotonic() + 5
        while pid and processes.is_alive(pid, start) and time.monotonic() < deadline:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


@contextlib.contextmanager
def _stops_held() -> Iterator[None]:
    """Take signals to stop only at the end of the block: one that came between the fork of a runner and the note of its pid would not reach it.

    Those that are forked in it let the signals in when they can heed them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _guarded(options: Options, board: Board, **history: Any) -> int:
    """Run a runner; a bug in it says its name."""
    try:
        return serve(options, board, **history)
    except BaseException as e:
        sys.stderr.write(f"queuectl: unexpected {type(e).__name__} in a worker: {e}\n")
        if os.environ.get("QUEUECTL_TRACEBACK"):
            import traceback

            traceback.print_exc()
        sys.stderr.flush()
        return keeper.FAULT
    finally:
        sys.stdout.flush()


def supervise(options: Options, *, lease_ms: int) -> int:
    """Run workers in the foreground until they end; return the exit code."""
    return Supervisor(options, lease_ms=lease_ms).run()


def log_tail(worker: Worker, *, database: str, size: int = 16_384) -> str | None:
    """Return the end of the log of a worker that runs in the background on this host; None for one that has none."""
    folder = os.path.realpath(os.path.join(os.path.dirname(database), "logs"))
    try:
        log = os.readlink(f"/proc/{worker.pid}/fd/1")
        if os.path.dirname(log) != folder or not os.path.basename(log).startswith("worker-"):
            return None
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return None


def start_background(
    options: Options, *, store: Store, arguments: Sequence[str], timeout_s: float = 20.0
) -> list[Worker]:
    """Start workers that outlive this process, its terminal and its kernel; return when their rows have appeared.

    Raises:
        WorkerStartFailed: they did not come up; the message has the tail of their log.
    """
    folder = os.path.join(os.path.dirname(options.database), "logs")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    import subprocess  # here only: a foreground worker has no use for it

    log = os.path.join(folder, f"worker-{new_id()}.log")
    before = {w.id for w in store.workers.all()}
    env = {
        k: v for k, v in os.environ.items() if k not in SCRUBBED and not k.startswith(("JPY_", "QUEUECTL_"))
    }
    if (journal := os.environ.get("QUEUECTL_JOURNAL")) is not None:
        env["QUEUECTL_JOURNAL"] = journal
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "worker", "--db", options.database, *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        new = [w for w in store.workers.all() if w.id not in before and _is_below(w.pid, child.pid)]
        if len(new) >= options.count:
            _forget_child(child)
            return new
        if child.poll() is not None:
            break
        time.sleep(0.02)
    with open(log, encoding="utf-8", errors="replace") as text:
        tail = " ".join(text.read()[-500:].split())
    raise WorkerStartFailed(
        f"worker: did not start within {timeout_s:g} s; its log {log} ends: {tail or '(empty)'}"
    )


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        found = processes.read(pid)
        pid = found.ppid if found else 0
    return False


def _forget_child(child: subprocess.Popen[bytes]) -> None:
    """Let a thread wait for the child, so that it leaves no zombie and no warning when it ends before us."""
    import threading

    threading.Thread(target=child.wait, daemon=True, name=f"queuectl-worker-{child.pid}").start()


def await_gone(
    store: Store, ids: Sequence[str], *, timeout_s: float, nap: Callable[[float], None] = time.sleep
) -> bool:
    """Wait until these workers' rows have gone; return whether they have."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not {w.id for w in store.workers.all()} & set(ids):
            return True
        nap(0.05)
    return False
