"""The kill storm: random SIGKILLs of runners and supervisors while jobs with children of every kind drain.

Overlap is not judged by times: each job takes a lock that its whole process tree inherits, so a second run that starts while anything of the
first still lives cannot take it, and says so. `scripts/soak` runs it in full, `tests/faults/test_storm.py` a small one.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness import await_true, check_invariants, job_processes

from queuectl import processes
from queuectl.model import State
from queuectl.queue import Queue
from queuectl.store import Store

ROOT = Path(__file__).resolve().parent.parent

JOB = """exec 9>>"$STORM/locks/$QUEUECTL_JOB_ID"
flock -n 9 || {{ echo "$QUEUECTL_RUN" >> "$STORM/overlaps"; exit 1; }}
echo "$QUEUECTL_RUN" >> "$STORM/starts"
{children}
sleep {seconds}
echo "$QUEUECTL_RUN" >> "$STORM/ends"
"""
CHILDREN = {
    "none": "",
    "background": "sleep 900 &",
    "nohup": "nohup sleep 900 >/dev/null 2>&1 &",
    "own session": "setsid sleep 900 &",
    "double fork": "(setsid sleep 900 &)",
    "deaf to TERM": "(trap '' TERM HUP INT; exec sleep 900) &",
    "deaf daemon": "(trap '' TERM; setsid sh -c 'sleep 900 & exec sleep 900' &)",
}
NEVER = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a storm does.

    Attributes:
        jobs: how many jobs drain.
        kills: how many SIGKILLs fall while they do.
        seed: of every choice.
        supervisors: how many workers run at once.
        slots: jobs at once of each.
        victims: whom a kill may hit: runner, keeper, supervisor, all three at once.
        max_interruptions: the setting; None for the default, at which a job is a poison pill after three.
        longest_s: of a job's own command.
    """

    jobs: int
    kills: int
    seed: int
    supervisors: int = 3
    slots: int = 4
    victims: tuple[str, ...] = ("runner", "runner", "runner", "keeper", "supervisor", "supervisor", "all")
    max_interruptions: int | None = NEVER
    longest_s: float = 0.1


@dataclass(slots=True)
class Figures:
    """What a storm came to; `faults` is empty when every promise held."""

    plan: Plan
    seconds: float = 0.0
    completed: int = 0
    dead: int = 0
    runs: int = 0
    overlaps: int = 0
    left_behind: int = 0
    interrupted: int = 0
    repeated: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    requeues_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def requeue_s(self, share: float) -> float:
        """Return a quantile of the times from a kill until its jobs were nobody's any more."""
        times = sorted(self.requeues_s)
        return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


class Supervised:
    """One `queuectl worker` of its own session: started, found, killed, started again."""

    def __init__(self, place: str, log: Path, *, slots: int, env: dict[str, str]) -> None:
        self.place, self.log, self.slots, self.env = place, log, slots, env
        self.start()

    def start(self) -> None:
        """Start a supervisor, whose runner follows."""
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "queuectl", "worker", "-c", str(self.slots), "-s", "1", "--db", self.place],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            )  # fmt: skip

    def runners(self, store: Store) -> list[int]:
        """Return the pids of our registered runners that live."""
        found = (r for r in store.workers.runners() if processes.is_alive(r.pid, r.pid_start))
        return [r.pid for r in found if self.process.pid in ancestors(r.pid)]

    def kill(self, whom: str, store: Store) -> list[int]:
        """SIGKILL one kind of our processes, or all; return the pids of the runners it hit, one way or another."""
        runners = self.runners(store)
        keepers = [p for r in runners for p in ancestors(r) if self.process.pid in ancestors(p)]
        victims = {"runner": runners, "keeper": keepers, "supervisor": [], "all": runners + keepers}[whom]
        falls = whom in ("supervisor", "all")
        for pid in {*victims, *([self.process.pid] if falls else [])}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in {*victims}:
            await_true(lambda pid=pid: not _lives(pid), what="the end of what was killed")
        if falls:
            self.process.wait()
        return runners


def _lives(pid: int) -> bool:
    found = processes.read(pid)
    return found is not None and found.state not in "ZX"


def ancestors(pid: int) -> list[int]:
    """Return the parents of a process, the nearest first."""
    found, above = processes.read(pid), []
    while found is not None and found.ppid > 1:
        above.append(found.ppid)
        found = processes.read(found.ppid)
    return above


class Requeues(threading.Thread):
    """Watches, every few milliseconds, how long the jobs of killed runners stay theirs."""

    def __init__(self, place: str, figures: Figures) -> None:
        super().__init__(name="requeues")
        self.place, self.figures = place, figures
        self.lock, self.over = threading.Lock(), threading.Event()
        self.since: dict[tuple[int, int, str], float] = {}

    def run(self) -> None:
        """Look until told that it is over."""
        store = Store(self.place)
        while not self.over.wait(0.01):
            self.look(store)
        store.close()

    def look(self, store: Store) -> None:
        """Note the jobs that are no longer held."""
        if not self.since:
            return
        held = set(held_jobs(store))
        now = time.monotonic()
        with self.lock:
            for key in [k for k in self.since if k not in held and (k[0], k[1], "") not in held]:
                self.figures.requeues_s.append(now - self.since.pop(key))

    def expect(self, keys: list[tuple[int, int, str]], since: float) -> None:
        """Begin to wait for these jobs' requeue."""
        with self.lock:
            for key in keys:
                self.since.setdefault(key, since)


def held_jobs(store: Store) -> list[tuple[int, int, str]]:
    """Return seq, run and runner of every job that is being processed; '' for a runner that has no row."""
    return store.connection.rows(
        """select seq, runs, coalesce(runner, '') from jobs left join workers on workers.id = worker_id
           where jobs.state = 'processing' order by seq"""
    )


class Storm:
    """One storm over a new database.

    Args:
        plan: what it does.
        folder: where database, locks, marks and logs lie; they stay.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder, self.dice = plan, folder, random.Random(plan.seed)
        self.figures = Figures(plan)
        (folder / "locks").mkdir(parents=True)
        for name in ("starts", "ends", "overlaps"):
            (folder / name).touch()
        self.queue = Queue(folder / "data" / "queue.db")
        self.fleet: list[Supervised] = []

    def run(self) -> Figures:
        """Fill the queue, let the kills fall while it drains, and take stock."""
        started = time.monotonic()
        self.fill()
        env = {"STORM": str(self.folder)}
        watch = Requeues(self.queue.path, self.figures)
        watch.start()
        try:
            for n in range(self.plan.supervisors):
                log = self.folder / f"worker-{n}.log"
                self.fleet.append(Supervised(self.queue.path, log, slots=self.plan.slots, env=env))
            self.rage(watch)
            self.await_drained()
            self.stop()
        finally:
            watch.over.set()
            watch.join()
            self.end()
        self.figures.seconds = time.monotonic() - started
        self.take_stock(watch)
        self.queue.close()
        return self.figures

    def fill(self) -> None:
        """Enqueue the jobs, children of all kinds in turn, with a shell and without."""
        if self.plan.max_interruptions is not None:
            self.queue.config.set("max-interruptions", str(self.plan.max_interruptions))
        kinds, scripts = list(CHILDREN.values()), []
        for n, children in enumerate(kinds):
            scripts.append(self.folder / f"job{n}.sh")
            scripts[-1].write_text(JOB.format(children=children, seconds='"$1"'))
        self.queue.enqueue_many(self.command(n, kinds, scripts) for n in range(self.plan.jobs))

    def command(self, n: int, kinds: list[str], scripts: list[Path]) -> str:
        """Return the n-th job: a text that a shell must read, or a plain command, which the runner starts itself."""
        kind, seconds = n % len(kinds), f"{self.dice.uniform(0, self.plan.longest_s):.3f}"
        if n // len(kinds) % 2:
            return f"sh {scripts[kind]} {seconds}"
        return JOB.format(children=kinds[kind], seconds=seconds)

    def rage(self, watch: Requeues) -> None:
        """Let the kills fall, spread over the first nine tenths of the work."""
        store = self.queue._store
        await_true(lambda: len(store.workers.runners()) >= self.plan.supervisors, 60, "the workers")
        for n in range(1, self.plan.kills + 1):
            due = 0.9 * self.plan.jobs * (n - self.dice.random()) / self.plan.kills
            pause_until = time.monotonic() + self.dice.uniform(0.2, 1.0)
            while self.completed() < due and time.monotonic() < pause_until:
                time.sleep(0.005)
            self.strike(watch)

    def strike(self, watch: Requeues) -> None:
        """One kill; a supervisor that fell is started again at once."""
        store, whom = self.queue._store, self.dice.choice(self.plan.victims)
        victim = self.dice.choice(self.fleet)
        others = [f for f in self.fleet if f is not victim and f.process.poll() is None]
        runners = {r.pid: r.id for r in store.workers.runners()}
        hit = {runners[pid] for pid in victim.kill(whom, store) if pid in runners}
        fell = time.monotonic()
        if victim.process.poll() is not None:
            victim.start()
            fell = fell if others else time.monotonic()
        watch.expect([k for k in held_jobs(store) if k[2] in hit], fell)
        self.figures.kills[whom] += 1

    def completed(self) -> int:
        """Return how many jobs have completed."""
        return self.queue._store.jobs.counts()[State.COMPLETED]

    def await_drained(self) -> None:
        """Wait until nothing is left to do; give up when nothing moves for a minute."""
        seen, moved = -1, time.monotonic()
        while self.queue._store.line.unfinished(None):
            now = self.completed()
            if now != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > 60:
                self.figures.faults.append(f"stuck: nothing completed for 60 s at {seen}")
                return
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the workers as a person would, once the one that was started last is up."""
        store = self.queue._store
        await_true(
            lambda: all(f.runners(store) or f.process.poll() is not None for f in self.fleet),
            30,
            "the workers",
        )
        self.queue.worker(stop=True)
        for worker in self.fleet:
            try:
                if worker.process.wait(30):
                    self.figures.faults.append(f"a worker ended with {worker.process.returncode}")
            except subprocess.TimeoutExpired:
                self.figures.faults.append("a worker did not stop within 30 s")

    def end(self) -> None:
        """Count what was left behind, then leave nothing running."""
        self.figures.left_behind = len(set(job_processes(self.queue.path))) or self.locked()
        for worker in self.fleet:
            worker.process.kill()
            worker.process.wait()
        for pid in job_processes(self.queue.path):
            os.kill(pid, signal.SIGKILL)

    def locked(self) -> int:
        """Return how many locks are still held: by processes that hide from every other look."""
        n = 0
        for path in (self.folder / "locks").iterdir():
            with open(path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    n += 1
        return n

    def take_stock(self, watch: Requeues) -> None:
        """Compare what was promised with the marks that jobs left and with the database."""
        f, store = self.figures, self.queue._store
        starts, ends, overlaps = (
            (self.folder / n).read_text().split() for n in ("starts", "ends", "overlaps")
        )
        ok = {
            f"{job}.{run}"
            for job, run in store.connection.rows(
                "select id, run from runs join jobs on seq = job where runs.outcome = 'ok'"
            )
        }
        counts = store.jobs.counts()
        f.completed, f.dead, f.runs, f.overlaps = (
            counts[State.COMPLETED],
            counts[State.DEAD],
            len(starts),
            len(overlaps),
        )
        f.repeated = len(ends) - len({e.rpartition(".")[0] for e in ends})
        ((f.interrupted,),) = store.connection.rows("select count(*) from runs where outcome = 'lost'")
        twice = store.connection.rows(
            "select detail from events where verb = 'recover' group by substr(detail, 1, 16) having count(*) > 1"
        )
        for wrong, what in (
            (f.completed != self.plan.jobs, f"{f.completed} of {self.plan.jobs} jobs completed"),
            (overlaps, f"{len(overlaps)} overlaps"),
            (f.left_behind, f"{f.left_behind} processes left behind"),
            (watch.since, f"{len(watch.since)} jobs never requeued"),
            (len(starts) != len(set(starts)), "a run number was started twice"),
            (not ok <= set(ends), f"{len(ok - set(ends))} runs recorded as ok that did not end"),
            (len(ok) != f.completed, f"{len(ok)} ends recorded for {f.completed} jobs"),
            (twice, f"{len(twice)} runners recovered twice"),
        ):
            if wrong:
                f.faults.append(what)
        try:
            check_invariants(store)
        except AssertionError as e:
            f.faults.append(f"an invariant does not hold: {e}")
