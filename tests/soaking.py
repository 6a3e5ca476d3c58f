"""The soak: enqueue, fail, retry, cancel, stop, restart and kill at random, for minutes; then everything must add up.

One worker is never stopped or killed: its memory is what is watched.
"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness import await_true, check_invariants, job_processes
from storm import CHILDREN, Supervised

from queuectl import processes
from queuectl.errors import JobNotFound, NothingMatched, StateConflict
from queuectl.model import FINAL
from queuectl.queue import Queue

EXPECTED = (JobNotFound, NothingMatched, StateConflict)  # answers to a verb that came too late or too early
WARM_UP = 0.1  # share of the time after which memory counts: by then every kind of job has been seen
GROWTH_MAX = 0.1
KEPT = 5000  # ids that verbs pick from

COMMANDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("true", {}),
    ("sleep 0.05", {}),
    ("echo some words; echo more >&2", {}),
    ("head -c 30000 /dev/urandom | base64", {}),
    ("seq 100000", {}),
    ("exit 7", {"max_retries": 2, "backoff_base": 1, "backoff_max": "200ms"}),
    ("test $QUEUECTL_ATTEMPT = 2", {"backoff": "fixed", "backoff_max": "100ms"}),
    ("python3 -c 'import json; json.loads(\"{\")'", {"max_retries": 1}),
    ("case $QUEUECTL_RUN in *.[12]) exit 75;; esac", {"max_retries": 1}),
    ("sleep 30", {"timeout": "200ms", "kill_after": "200ms", "max_retries": 1}),
    ("true", {"delay": "300ms"}),
    ("sleep 2", {"priority": 5}),
    ("/nowhere/at/all", {"max_retries": 1}),
    *((f"{c} sleep 0.02", {}) for c in CHILDREN.values() if c),
)


@dataclass(slots=True)
class Soaked:
    """What a soak came to; `faults` is empty when every promise held."""

    verbs: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    runs: int = 0
    first_mib: float = 0.0
    last_mib: float = 0.0
    tenths_mib: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """How much the watched runner's resident memory grew, as a share."""
        return self.last_mib / self.first_mib - 1 if self.first_mib else 0.0


class Soak:
    """One soak over a new database.

    Args:
        folder: where database and logs lie; they stay.
        seed: of every choice.
        seconds: how long it goes on; draining comes on top.
    """

    def __init__(self, folder: Path, *, seed: int, seconds: float) -> None:
        self.folder, self.dice, self.seconds = folder, random.Random(seed), seconds
        folder.mkdir(parents=True)
        self.queue = Queue(folder / "data" / "queue.db")
        self.figures = Soaked()
        self.ids: list[str] = []
        self.added = self.removed = 0
        self.memory: list[tuple[float, float]] = []
        self.others: list[Supervised] = []
        self.verbs: dict[Callable[[], object], int] = {
            self.enqueue: 60, self.enqueue_many: 6, self.cancel: 12, self.retry: 12, self.retry_dead: 2, self.delete: 4, self.purge: 1,
            self.look: 8, self.pause: 1, self.configure: 2, self.stop_one: 1, self.stop_now: 1, self.kill_one: 1, self.start_one: 4,
        }  # fmt: skip

    def run(self) -> Soaked:
        """Do random verbs until the time is up, drain, and take stock."""
        self.queue.config.set("snooze", "200ms")
        self.queue.config.set("max-interruptions", "1000000")
        steady = self.worker(3)
        try:
            self.soak(steady)
            self.drain()
            self.watch_memory(steady, 1.0)
            self.queue.worker(stop=True)
            for worker in (steady, *self.others):
                worker.process.wait(60)
        finally:
            for worker in (steady, *self.others):
                worker.process.kill()
                worker.process.wait()
            left = job_processes(self.queue.path)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        if left:
            self.figures.faults.append(f"{len(left)} processes left behind")
        self.take_stock()
        self.queue.close()
        return self.figures

    def worker(self, slots: int) -> Supervised:
        """Start a worker of this many slots."""
        return Supervised(self.queue.path, self.folder / "workers.log", slots=slots, env={})

    def soak(self, steady: Supervised) -> None:
        """Random verbs, as fast as about two workers can follow."""
        started = looked = time.monotonic()
        while (now := time.monotonic()) - started < self.seconds:
            (verb,) = self.dice.choices(list(self.verbs), list(self.verbs.values()))
            try:
                verb()
            except EXPECTED:
                self.figures.verbs["refused"] += 1
            self.figures.verbs[verb.__name__] += 1
            if now - looked > 1:
                looked = now
                self.watch_memory(steady, (now - started) / self.seconds)
            behind = self.queue._store.line.unfinished(None)
            time.sleep(0.01 if behind < 50 else 0.2)

    def watch_memory(self, steady: Supervised, at: float) -> None:
        """Note the resident memory of the runner that is never stopped."""
        if steady.process.poll() is not None:
            raise AssertionError(f"the steady worker ended with {steady.process.returncode}")
        pids = steady.runners(self.queue._store)
        if pids:
            pid = min(pids, key=processes.start_ticks)  # its companions, which try suspects alone, come later
            status = Path(f"/proc/{pid}/status").read_text()
            kib = re.search(r"VmRSS:\s+(\d+)", status)
            if kib:
                self.memory.append((at, int(kib[1]) / 1024))

    # --- verbs ---

    def some(self, most: int = 3) -> list[str]:
        """Return a few ids of jobs that were once enqueued."""
        return self.dice.sample(self.ids, min(len(self.ids), self.dice.randint(1, most)))

    def remember(self, ids: list[str]) -> None:
        self.added += len(ids)
        self.ids = (self.ids + ids)[-KEPT:]

    def enqueue(self) -> None:
        command, fields = self.dice.choice(COMMANDS)
        self.remember([self.queue.enqueue(command, **fields).id])

    def enqueue_many(self) -> None:
        specs = [{"command": c, **f} for c, f in self.dice.choices(COMMANDS, k=self.dice.randint(1, 20))]
        self.remember([j.id for j in self.queue.enqueue_many(specs)])

    def cancel(self) -> None:
        self.queue.cancel(*self.some())

    def retry(self) -> None:
        self.queue.retry(*self.some())

    def retry_dead(self) -> None:
        if dead := [j.id for j in self.queue.dlq.list(limit=5)]:
            self.queue.dlq.retry(*dead)

    def delete(self) -> None:
        self.removed += len(self.queue.delete(*self.some(20), force=self.dice.random() < 0.2).done)

    def purge(self) -> None:
        self.removed += len(self.queue.dlq.purge(all=True).done)

    def look(self) -> None:
        self.queue.status()
        for job in self.queue.list(limit=2):
            if job.runs and job.state in FINAL:
                b"".join(self.queue.logs(job.id))

    def pause(self) -> None:
        self.queue.pause()
        time.sleep(0.2)
        self.queue.resume()

    def configure(self) -> None:
        key, values = self.dice.choice(
            (("stop-grace", ("1", "2")), ("priority-aging", ("300", "none")), ("max-retries", ("2", "3")))
        )
        self.queue.config.set(key, self.dice.choice(values))

    def start_one(self) -> None:
        self.others = [w for w in self.others if w.process.poll() is None]
        if len(self.others) < 2:
            self.others.append(self.worker(self.dice.randint(1, 3)))

    def stop_one(self, now: bool = False) -> None:
        if self.others:
            pids = self.dice.choice(self.others).runners(self.queue._store)
            if ids := [w.id for w in self.queue.workers() if w.pid in pids]:
                self.queue.stop_workers(*ids, now=now)

    def stop_now(self) -> None:
        self.stop_one(now=True)

    def kill_one(self) -> None:
        if self.others:
            victim, whom = (
                self.dice.choice(self.others),
                self.dice.choice(("runner", "keeper", "supervisor", "all")),
            )
            if victim.process.poll() is None:
                victim.kill(whom, self.queue._store)

    # --- the end ---

    def drain(self) -> None:
        """Let the rest run, with at least the steady worker."""
        self.queue.resume()
        try:
            await_true(lambda: not self._unfinished(), 120, "the end of the last job")
        except AssertionError as e:
            self.figures.faults.append(str(e))

    def _unfinished(self) -> int:
        return sum(n for s, n in self.queue.status(limit=1).counts.items() if s not in FINAL)

    def take_stock(self) -> None:
        """Everything must add up."""
        f, store = self.figures, self.queue._store
        counts = store.jobs.counts()
        f.jobs, here = self.added, sum(counts.values())
        ((f.runs,),) = store.connection.rows("select count(*) from runs")
        if here != self.added - self.removed:
            f.faults.append(f"{self.added} jobs enqueued, {self.removed} removed, {here} there")
        unfinished = {s.value: n for s, n in counts.items() if n and s not in FINAL}
        if unfinished:
            f.faults.append(f"unfinished: {unfinished}")
        wrong = store.connection.rows(
            "select id from jobs where state = 'completed' and not exists (select 1 from runs where job = seq and runs.outcome = 'ok')"
        )
        if wrong:
            f.faults.append(f"{len(wrong)} completed jobs without a run that ended well")
        try:
            check_invariants(store)
        except AssertionError as e:
            f.faults.append(f"an invariant does not hold: {e}")
        self._measure_growth()

    def _measure_growth(self) -> None:
        f = self.figures
        early = [m for at, m in self.memory if WARM_UP <= at < WARM_UP + 0.1]
        late = [m for at, m in self.memory if at >= 0.9]
        if not early or not late:
            f.faults.append("memory was not measured")
            return
        tenths = [[m for at, m in self.memory if n / 10 <= at < (n + 1) / 10] for n in range(10)]
        f.tenths_mib = [statistics.median(t) for t in tenths if t]
        f.first_mib, f.last_mib = statistics.median(early), statistics.median(late)
        if f.growth > GROWTH_MAX:
            f.faults.append(f"the runner's memory grew by {f.growth:.0%}")
