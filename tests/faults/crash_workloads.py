"""What is recorded: real work of the real package, acknowledged line by line. Run as `crash_workloads.py SCENARIO DATABASE ACKS WITHOUT`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from queuectl import _sqlite
from queuectl.queue import Queue

Say = Callable[[str], None]
BATCH = 25


def weaken(without: str) -> None:
    """The negative controls: the package as it is, with one mechanism off."""
    if without == "folder":
        _sqlite._sync_folder = lambda _: None
        return
    configure = _sqlite.Connection.configure

    def weaker(self: _sqlite.Connection) -> None:
        configure(self)
        self.rows(f"pragma synchronous={without}")

    _sqlite.Connection.configure = weaker  # type: ignore[method-assign]


def enqueue(q: Queue, say: Say) -> None:
    """Single jobs, batches, and what is done to them afterwards."""
    for n in range(60):
        q.enqueue(f"echo {'x' * 200}", id=f"e{n}")
        say(f"there e{n}")
        if n % 10 == 9:
            q.enqueue_many({"id": f"b{n}-{i}", "command": "true"} for i in range(BATCH))
            say(f"batch b{n}")
        if n % 7 == 6:
            q.cancel(f"e{n}")
            say(f"state e{n} cancelled")
        if n % 13 == 12:
            say(f"deleting e{n - 1}")
            q.delete(f"e{n - 1}")
            say(f"gone e{n - 1}")


def worker(q: Queue, say: Say) -> None:
    """A supervisor with two workers runs jobs that complete, die and are retried; what it prints is the acknowledgement."""
    for n in range(40):
        command, budget = ("echo hello", 3) if n % 4 else ("exit 3", 1 + n % 8 // 4)
        q.enqueue(command, id=f"w{n}", max_retries=budget, backoff="fixed", backoff_base=1)
        say(f"there w{n}")
    q.worker(verbose=True, count=2, drain=True)


def config(q: Queue, say: Say) -> None:
    """Settings and pauses."""
    for n in range(1, 70):
        q.config.set("max-retries", str(n))
        say(f"config {n}")
        if n % 5 == 0:
            q.pause(f"queue{n}")
            say(f"paused queue{n}")


def migration(q: Queue, say: Say) -> None:
    """A first start: the folder, the file and its schema are made; then one job."""
    q.enqueue("true", id="first")
    say("there first")


SCENARIOS = {f.__name__: f for f in (enqueue, worker, config, migration)}


def main(scenario: str, database: str, acks: str, without: str) -> None:
    if without:
        weaken(without)
    _sqlite.CHECKPOINT_BYTES = 96 << 10  # so that a short recording holds checkpoints and resets of the log
    handle = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    queue = Queue(database)
    SCENARIOS[scenario](queue, lambda line: os.write(handle, f"{line}\n".encode()))
    queue.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
