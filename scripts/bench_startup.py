"""What starting costs: CPU time of `queuectl enqueue`, `list`, `status` and `help` against an interpreter that does nothing.

python scripts/bench_startup.py [rounds]

The commands take turns, so that what else the machine does hits all of them alike; medians of user + system time. Fails when an
enqueue costs more than LIMIT interpreters.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

import figures

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 7.0  # times `python -c pass`
PYTHON = "python -c pass"
COMMANDS = {
    PYTHON: ["-c", "pass"],
    "queuectl enqueue": ["-m", "queuectl", "enqueue", "-c", "true"],
    "queuectl list": ["-m", "queuectl", "list"],
    "queuectl status": ["-m", "queuectl", "status"],
    "queuectl help": ["-m", "queuectl", "help"],
}


def cpu_ms(words: list[str], folder: str) -> float:
    """Run the interpreter once and return the CPU time it took, milliseconds."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "QUEUECTL"))}
    env |= {
        "PYTHONPATH": str(ROOT),
        "PYTHONPYCACHEPREFIX": f"{folder}/bytecode",
        "QUEUECTL_DB": f"{folder}/queue.db",
    }
    null = os.open(os.devnull, os.O_RDWR)
    moves = [(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1)]
    pid = os.posix_spawn(sys.executable, [sys.executable, *words], env, file_actions=moves)
    os.close(null)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{words} ended with {os.waitstatus_to_exitcode(status)}")
    return 1000 * (used.ru_utime + used.ru_stime)


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the CPU times of each command, milliseconds, one a round."""
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 2):
            for name, words in COMMANDS.items():
                spent = cpu_ms(words, folder)
                if turn >= 2:  # the first rounds make the database and the byte code
                    took[name].append(spent)
    return took


def main() -> int:
    """Measure, print a table, keep the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    took = measure(rounds)
    medians = {name: statistics.median(times) for name, times in took.items()}
    ratios = {name: round(ms / medians[PYTHON], 1) for name, ms in medians.items()}
    print("| command | CPU, median of", rounds, "| times an empty interpreter |\n|---|---|---|")
    for name, ms in medians.items():
        print(f"| `{name}` | {ms:.0f} ms | {ratios[name]} |")
    figures.record(
        "startup",
        {"rounds": rounds, "cpu_ms": {n: round(ms, 1) for n, ms in medians.items()}, "times_python": ratios},
    )
    return int(ratios["queuectl enqueue"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
