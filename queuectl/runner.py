"""The runner: *reap, settle, beat, promote, claim, start* — one loop, one transaction a turn.

The main thread owns the database; an executor spawns and waits. What has ended and what is wanted next are written together, so that
with short jobs one commit serves dozens of them; with long ones every end is written at once.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from queuectl import lifecycle, processes
from queuectl.aftermath import Aftermath
from queuectl.board import Board
from queuectl.chores import Chores, Moment, of_a_runner
from queuectl.claiming import Claiming
from queuectl.errors import DiskFull, QueuectlError
from queuectl.executors import Done
from queuectl.executors.local import FLUSH_S, LocalExecutor
from queuectl.executors.told import Listener, Told
from queuectl.hooks import LIMIT_S
from queuectl.ids import new_id
from queuectl.lifecycle import Claimed, Verdict
from queuectl.model import State
from queuectl.orders import Orders
from queuectl.pace import STRANDED_S
from queuectl.progress_lines import latest
from queuectl.records import record
from queuectl.recovery import recover
from queuectl.report import Report, say
from queuectl.reserve import LAST_LOOK_S, Space
from queuectl.settling import settled
from queuectl.store import Store
from queuectl.store.line import Settled
from queuectl.store.workers import Runner as Identity
from queuectl.wakeup import Alarm

BEAT_S = 2.0
GARBAGE = 10_000  # objects made and not freed, until a look for unreachable ones
PEERS_S = 1.0  # between two looks at other runners
AFTER_COMMIT_S = 0.2  # after a commit of somebody, until the next look: it may be a new runner's
CHORE_PAUSE_S = 0.005  # after a start from rest, until the chores may have the interpreter
SWITCH_S = 0.0005  # a slot's thread waits at most so long for the interpreter (Python's own is 5 ms)
CACHE_KIB = 512  # pages of the database kept in memory: a turn needs few, and others' commits empty it again and again
TEND_S = 0.05  # between two looks at the limits of running jobs while somebody else holds the write lock
HOOKS_S = {None: LIMIT_S, "wait": LIMIT_S, "grace": 2.0, "now": 0.0}  # for hooks, when their worker ends


@record
class Options:
    """What a worker was asked to be."""

    database: str
    count: int = 1
    poll_s: float = 3.0
    limit: int | None = None
    queues: tuple[str, ...] | None = None
    drain: bool = False
    verbose: bool = False
    solo: bool = False  # try one suspect job alone, then the next, then end


@record(frozen=False)
class Pulse:
    """When things were last done, monotonic seconds."""

    beat: float = 0.0
    peers: float = 0.0


class Runner:
    """One process with N slots.

    Args:
        options: what was asked.
        board: memory shared with the supervisor.
        started: the runs that the runner before this one had started when it died, or None when there was none.
        predecessor: that runner's id.
        id: our own id; a random one when None.
        supervisor: the supervisor's pid; 0 when nobody starts companions.
        rest_s: seconds in which we claim nothing, because the runners before us died soon after their starts.
    """

    def __init__(
        self,
        options: Options,
        board: Board,
        *,
        started: frozenset[tuple[int, int]] | None = None,
        predecessor: str | None = None,
        id: str | None = None,
        supervisor: int = 0,
        rest_s: float = 0.0,
    ) -> None:
        self.o, self.board = options, board
        self.id = id or new_id()
        self.workers = [new_id() for _ in range(options.count)]
        self.report = Report(verbose=options.verbose)
        self._tended: float | None = None  # monotonic; None until there is an executor
        self.store = Store(options.database, waiting=self._meanwhile, cache_kib=CACHE_KIB)
        self._started, self._predecessor = started, predecessor
        self.boot = processes.boot_id()
        self.orders = Orders(self.store, id=self.id, workers=self.workers)
        self.pulse = Pulse()
        self._rested = time.monotonic() + rest_s
        self.tally = {w: [0, 0] for w in self.workers}
        self.unsettled: list[Done] = []
        self.stranded: list[Claimed] = []  # claimed ahead, taken back from the executor, not yet given back
        self.from_rest = False  # whether the last turn gave jobs to slots that had none
        self.aftermath = Aftermath(
            self.store, self._tell, runner=self.id, queues=options.queues, solo=options.solo
        )
        self.chores = Chores([])
        if not options.solo:
            self.chores = of_a_runner(self.store, tell=self._tell, more=[self.aftermath])
        self.supervisor = supervisor
        self.gone: set[str] = set()  # workers that have ended before their runner
        self.space = Space(options.database, say=say)
        self.has_peers = True

    # --- life ---

    def run(self) -> int:
        """Work until told to stop, or until nothing is left with `drain`; return 0."""
        processes.require_linux()
        processes.become_subreaper()
        sys.setswitchinterval(SWITCH_S)
        self.orders.listen()
        self.register()
        folder = os.path.join(os.path.dirname(self.o.database), "logs")
        self.executor = LocalExecutor(
            self.workers, folder=folder, database=self.o.database, output_cap=self.store.settings.get("output-cap"),
            limit=self.o.limit, started=self._on_start,
        )  # fmt: skip
        self.claims = Claiming(
            self.store, self.executor, board=self.board, orders=self.orders, aftermath=self.aftermath, workers=self.workers,
            queues=self.o.queues, solo=self.o.solo, supervisor=self.supervisor, rested=self._rested,
        )  # fmt: skip
        self.executor.guests = self.aftermath.hooks.running
        self._tended = time.monotonic()
        self.listener = Listener(self.executor.slots)
        log = self.o.database + ("-wal" if self.store.connection.has_wal else "")
        self.alarm = Alarm(log, ends=self.executor.fileno(), late=self.o.drain)
        try:
            if not self.o.solo:
                for worker in self.workers:
                    say(f"Worker started: {worker}")
            self._loop()
            return 0
        finally:
            self.alarm.close()
            self.executor.close()
            self.store.close()

    def register(self) -> None:
        """Write our workers' rows, then recover what dead runners left."""
        now, mono = processes.now_ms(), processes.mono_ms()
        me = Identity(
            self.id, os.uname().nodename, self.boot, os.getpid(), processes.start_ticks(os.getpid()), mono
        )
        self.me = me
        self.board.beat()
        self.space.look(now=time.monotonic())

        def enlist() -> None:
            with self.store.write():
                self.store.line.rebase(self.boot, now_ms=now, mono_ms=mono)
                self.store.workers.register(self.workers, me, queues=self.o.queues, now_ms=now)

        self._in_any_room(enlist)
        wanted = self.store.workers.requests(self.id)
        self.orders.stop_generation, self.config_generation = wanted.stop_generation, wanted.config_generation
        self.orders.deletions = wanted.deletions
        self.pulse.beat = self.pulse.peers = time.monotonic()
        self.version = self.store.connection.data_version()
        self.configure()
        self._in_any_room(
            lambda: recover(
                self.store,
                me=self.id,
                boot_id=self.boot,
                started=self._started,
                predecessor=self._predecessor,
                tell=self._tell,
                died=self.aftermath.died,
            )
        )

    def configure(self) -> None:
        """Read the settings that workers obey."""
        get = self.store.settings.get
        self.orders.grace_ms, self.snooze_ms, self.aging_ms = (
            get("stop-grace"),
            get("snooze"),
            get("priority-aging"),
        )
        self.cause_rules = tuple((regex, name) for regex, name in get("cause-rules") or ())
        self.beat_s: float = min(BEAT_S, get("lease") / 4000)  # four signs of life a lease
        self.aftermath.configure()

    def _loop(self) -> None:
        self.tend_chores()
        self.heed()  # signals that came before there was an alarm
        self.turn()
        while not self.is_finished():
            self.wait()
            self.heed()
            self.turn()
            if self.notice_dead_peers():
                self.turn()
            # A job that is on its way to a slot must not wait for the interpreter because of them.
            if not self.from_rest and self.tend_chores():
                self.turn()
        self.leave()

    def is_finished(self) -> bool:
        """Whether there is nothing more for us to do."""
        # Counted, not looked for: a job between the line and its slot is in neither.
        if self.unsettled or self.executor.in_flight() > (
            self.executor.queued() if self.orders.stopping else 0
        ):
            return False
        if self.orders.stopping is not None or self.executor.room() == 0:
            return True
        if self.o.solo:
            return not self.store.line.suspects(self.o.queues)
        return self.o.drain and not self.board.lent() and not self.store.line.unfinished(self.o.queues)

    def leave(self) -> None:
        """Give back what was claimed and not started, and take our rows away."""
        left = self.stranded + self.executor.withdraw()
        if left:
            self._in_any_room(lambda: self._give_back(left))
        self._let_hooks_end()
        self._in_any_room(self._delist)
        self.store.connection.checkpoint_if_large()

    def _give_back(self, left: Sequence[Claimed]) -> None:
        with self.store.write():
            self.store.line.give_back([(j.seq, j.run) for j in left], now_ms=processes.now_ms())

    def _delist(self) -> None:
        with self.store.write(durable=False):  # rows that come back are those of a dead runner
            self.store.workers.forget(self.id)

    def _let_hooks_end(self) -> None:
        """Give the hooks that are under way some time, as a living worker."""
        hooks = self.aftermath.hooks
        while True:
            hooks.end_within(HOOKS_S[self.orders.stopping])
            if hooks.have_ended():
                return
            self.alarm.sleep(0.05, for_commits=False)
            self.board.beat()
            self.orders.obey_signals(self.executor)
            if time.monotonic() - self.pulse.beat >= self.beat_s:
                with contextlib.suppress(DiskFull), self.store.write(durable=False):
                    self._beat(processes.now_ms(), processes.mono_ms())

    # --- waiting ---

    def _meanwhile(self) -> None:
        """While somebody else holds the write lock: show that we live, and keep the limits of what runs; neither needs the database."""
        self.board.beat()
        if self._tended is not None and (now := time.monotonic()) - self._tended >= TEND_S:
            self._tended = now
            self.executor.tend()

    def wait(self) -> None:
        """Sleep until something ends, somebody commits, a signal comes or a deadline is reached."""
        wants_more = self.executor.free() > 0 and self.orders.stopping is None
        self.alarm.sleep(self.timeout_s(), for_commits=wants_more)
        self.board.beat()

    def timeout_s(self) -> float:
        """Return how long we may sleep."""
        now = time.monotonic()
        due = [self.pulse.beat + self.beat_s - now, self.o.poll_s]
        tend = self.executor.tend()
        if tend is not None:
            due.append(tend)
        if self.has_peers:
            due.append(self.pulse.peers + PEERS_S - now)
        if now < self.claims.rested:
            due.append(self.claims.rested - now)
        if self.orders.stop_at is not None:
            due.append(self.orders.stop_at - now)
        if (space := self.space.next_look_s(now=now)) is not None:
            return max(0.0, min(*due[1:], space))
        if (look := self.alarm.due_s()) is not None:
            due.append(look)
        wall, mono = self.claims.next_due
        if wall is not None:
            due.append((wall - processes.now_ms()) / 1000 + 0.001)
        if mono is not None:
            due.append((mono - processes.mono_ms()) / 1000 + 0.001)
        if self.unsettled:
            due.append(FLUSH_S)
        if self.orders.stopping is None and (chore := self.chores.next_due_s(self._moment())) is not None:
            due.append(max(chore, CHORE_PAUSE_S if self.from_rest else 0))
        if self.executor.queued():
            due.append(STRANDED_S)
        return max(0.0, min(due))

    def heed(self) -> None:
        """Obey signals, stop requests and cancels."""
        now = time.monotonic()
        self.orders.obey_signals(self.executor)
        if self.orders.companion_ended:
            self.orders.companion_ended = False
            self.pulse.peers = 0.0
            self.claims.companion_ended()
        version = self.store.connection.data_version()
        if version != self.version:
            self.claims.others_wrote = True
            self.version = version
            self.alarm.seen()
            self.pulse.peers = min(self.pulse.peers, now - PEERS_S + AFTER_COMMIT_S)
            self.chores.notice()
            self._heed_requests()
        if self.orders.stopping is not None:
            self._start_nothing_more()

    def _start_nothing_more(self) -> None:
        """Take back what was claimed ahead; and where all is to end now, end also what slipped into a slot meanwhile."""
        self.stranded += self.executor.withdraw()
        if self.orders.stopping == "now":
            self.orders.stop("now", self.executor)

    def notice_dead_peers(self) -> bool:
        """Recover what other runners left, when it is time to look; return whether there was anything.

        After the turn, not before it: what woke us is mostly a new job, and that should not wait for a look at all workers.
        """
        now = time.monotonic()
        if now - self.pulse.peers < PEERS_S or self.space.is_short:  # a full disk silences the living too
            return False
        self.pulse.peers = now
        runners = self.store.workers.runners()
        self.has_peers = len(runners) > 1
        if not recover(
            self.store,
            me=self.id,
            boot_id=self.boot,
            runners=runners,
            tell=self._tell,
            died=self.aftermath.died,
        ):
            return False
        self.claims.backlog = True
        return True

    def tend_chores(self) -> bool:
        """Do what is due beside the work; return whether there may be new jobs to claim."""
        if self.orders.stopping is not None or self.space.is_short:
            return False
        try:
            made = self.chores.tend(self._moment())
        except DiskFull as e:
            self.space.ran_out(e, now=time.monotonic())
            return False
        self.claims.backlog |= made
        return self._heed_breakers() or made

    def _moment(self) -> Moment:
        return Moment(processes.now_ms(), processes.mono_ms(), idle=self.executor.in_flight() == 0)

    def _heed_requests(self) -> None:
        wanted = self.store.workers.requests(self.id)
        if wanted.config_generation != self.config_generation:
            self.configure()
            self.config_generation = wanted.config_generation
        if not wanted.is_registered and self.orders.stopping is None:
            self._start_over()
        self.orders.obey(wanted, self.executor)

    def _start_over(self) -> None:
        """Another took us for dead, and our jobs from us: end what still runs of them, and take our place again."""
        self.executor.withdraw()
        for key in self.executor.running():
            self.executor.stop(key, "stop", kill_after_ms=0)
        with self.store.write():
            self.store.workers.register(
                self.workers, self.me, queues=self.o.queues, now_ms=processes.now_ms()
            )
        self.pulse.beat = 0.0

    def _on_start(self, slot: int, job: Claimed, worker: str) -> None:
        self.board.started(slot, job.seq, job.run)
        self.report.picked(worker, job)

    def _tell(self, line: str) -> None:
        self.report.note(self.workers[0], line)

    # --- one turn ---

    def turn(self) -> None:
        """Settle what ended, beat, promote what is due, claim what is wanted, start it."""
        for done in (ended := self.executor.poll()):  # before it is decided how many more are wanted
            self.claims.pace.observe((done.ended.finished_ms - done.ended.started_ms) / 1000)
        self.unsettled += ended
        if self.space.is_waiting(now=time.monotonic()):
            return
        self._heed_space()
        now, mono, clock = processes.now_ms(), processes.mono_ms(), time.monotonic()
        wanted, self.from_rest = 0 if self.space.is_short else self.claims.wanted(), False
        beating = clock - self.pulse.beat >= self.beat_s
        if not (
            self.unsettled
            or beating
            or self._is_stuck()
            or self.claims.is_worth_it(wanted)
            or self.claims.is_due(now, mono)
        ):
            return
        # On a full disk what has ended is kept in memory until the next look at it.
        with contextlib.suppress(DiskFull):
            self._in_any_room(
                lambda: self._write(0 if self.space.is_short else wanted, now=now, mono=mono, beating=beating)
            )

    def _write(self, wanted: int, *, now: int, mono: int, beating: bool) -> None:
        line, ended = self.store.line, self.unsettled
        verdicts = [
            lifecycle.settle(d.job, d.ended, mono_ms=mono, dice=random.random(), snooze_ms=self.snooze_ms)
            for d in ended
        ]
        self._strand()
        rows = [
            settled(d, v, aging_ms=self.aging_ms, cause_rules=self.cause_rules)
            for d, v in zip(ended, verdicts, strict=True)
        ]
        told = [Told(p, d.job.seq, d.job.run) for d in ended if (p := latest(d.ended.stdout, ended=True))]
        # What has ended must survive a power cut; of a claim that does not, only its job runs once more.
        with self.store.write(durable=bool(rows)):
            line.tell(told)
            late = line.settle(rows, now_ms=now)
            for r in late:
                self.store.history.note("fenced", r.job_id, f"run {r.run}", actor="worker", now_ms=now)
            if beating or any(d.ended.finished_ms - d.ended.started_ms > 1000 for d in ended):
                self._beat(now, mono)
            line.give_back([(j.seq, j.run) for j in self.stranded], now_ms=now)
            ended_workers = self._ended_workers()
            self.store.workers.forget_workers(ended_workers)
            promoted = line.promote(now_ms=now, mono_ms=mono) if self.claims.is_due(now, mono) else []
            self.aftermath.recorded(ended, rows, late, now_ms=now)
            claims = self.claims.claim(wanted, now_ms=now)
        self.unsettled, self.stranded = [], []
        for job_id, attempts, _ in promoted:
            if attempts:
                self.report.due(self.workers[0], job_id)  # said before it is picked up
        self.from_rest = bool(claims) and not self.executor.in_flight()
        self.executor.submit(claims)  # before all that can wait
        self.gone.update(ended_workers)
        self.claims.learn_next_due()
        self._forget_own()
        self.claims.lend(wanted, len(claims))
        self.executor.low_water = self.claims.pace.low_water(self.executor.capacity)
        self._after(ended, verdicts, late)
        self.aftermath.committed()
        self._heed_breakers()
        self.store.connection.checkpoint_if_large()

    def _forget_own(self) -> None:
        """Forget what our own commit wrote to the log, but not what somebody else committed about the same time."""
        self.alarm.forget_own()
        if self.store.connection.data_version() != self.version:
            self.alarm.look_at_once()

    def _is_stuck(self) -> bool:
        """Whether jobs claimed ahead, in the belief that jobs are short, wait behind ones that are not."""
        return self.executor.queued() > 0 and time.monotonic() - self.executor.last_end > STRANDED_S

    def _strand(self) -> None:
        """Take such jobs back, so that others may run them."""
        if self._is_stuck():
            self.claims.pace.slow_down()
            self.stranded += self.executor.withdraw()

    def _heed_breakers(self) -> bool:
        """When a breaker has paused its queue, start none of the jobs that were claimed ahead; return whether that was so."""
        opened, self.aftermath.has_opened = self.aftermath.has_opened, False
        if opened:
            self.stranded += self.executor.withdraw()
            self.claims.backlog = True
        return opened

    def _ended_workers(self) -> list[str]:
        """Return the workers that were told to stop and have nothing left to do; all of them go with their runner."""
        if self.orders.stopping is not None:
            return []
        return [
            s.worker_id
            for s in self.executor.slots
            if s.retire and s.job is None and s.worker_id not in self.gone
        ]

    def _beat(self, now: int, mono: int) -> None:
        self.pulse.beat = time.monotonic()
        keys = self.executor.running()
        running = {where: seq for (seq, _), where in keys.items()}
        self.store.line.assign([(where, seq, run) for (seq, run), where in keys.items()])
        self.store.line.tell(self.listener.news())
        self.store.workers.beat(
            [
                ("busy" if w in running else "idle", running.get(w), self.tally[w][0], self.tally[w][1], w)
                for w in self.workers
            ],
            now_ms=now,
            mono_ms=mono,
        )

    def _after(
        self,
        ended: Sequence[Done],
        verdicts: Sequence[Verdict],
        late: Sequence[Settled],
    ) -> None:
        gone = {(s.seq, s.run) for s in late}
        for done, verdict in zip(ended, verdicts, strict=True):
            if (done.job.seq, done.job.run) in gone:
                self.report.note(
                    done.worker_id,
                    f"Job {done.job.id} fenced: its run {done.job.run} was taken over, this result changes nothing",
                )
                continue
            self.tally[done.worker_id][verdict.state is not State.COMPLETED] += 1
            self.report.settled(
                done.worker_id, done.job, verdict, (verdict.run_at_ms or 0) - done.ended.finished_ms
            )

    def _in_any_room(self, write: Callable[[], object]) -> None:
        """Do a write; on a full disk once more, in the room that the moved log and the reserve leave.

        Raises:
            DiskFull: there is none.
        """
        try:
            write()
        except DiskFull as e:
            self.space.ran_out(e, now=time.monotonic())
            with contextlib.suppress(QueuectlError):
                self.store.connection.checkpoint()  # the log is then written from its start again
            write()

    def _heed_space(self) -> None:
        now = time.monotonic()
        if self.space.look(now=now):
            self.claims.backlog = True
            self.pulse.peers = now + 2 * LAST_LOOK_S  # until all have beaten that could not


def serve(options: Options, board: Board, *, on_fault: Callable[[str], None] = say, **history: Any) -> int:
    """Run a runner as the body of a process; return its exit code (3: a fault that a restart does not mend)."""
    processes.bound_heap()
    gc.set_threshold(GARBAGE)
    try:
        return Runner(options, board, **history).run()
    except QueuectlError as e:
        on_fault(f"queuectl: {e}")
        return 3
