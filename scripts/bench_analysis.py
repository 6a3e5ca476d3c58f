"""How long each analysis function takes over many runs; prints a markdown table.

python scripts/bench_analysis.py [rows]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from queuectl import analysis

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "analysis"))
from analysis_frames import make_jobs, make_runs

LIMIT_S = 0.3


def measure(rows: int = 300_000, rounds: int = 5) -> pd.DataFrame:
    """Median and worst time of each function over a made-up frame of that many rows.

    Returns:
        DataFrame, one row per call: call, rows, median_s, worst_s (seconds), within (median_s ≤ LIMIT_S).
    """
    runs, jobs = make_runs(rows), make_jobs(rows)
    before, after = analysis.split_at(runs, "84h")
    calls: dict[str, Callable[[], object]] = {
        "error_groups(runs)": lambda: analysis.error_groups(runs),
        'error_groups(runs, "24h")': lambda: analysis.error_groups(runs, "24h"),
        'failure_rate(runs, "1h")': lambda: analysis.failure_rate(runs, "1h"),
        'failure_rate(runs, "1h", "command")': lambda: analysis.failure_rate(runs, "1h", "command"),
        "durations(runs)": lambda: analysis.durations(runs),
        "waits(jobs)": lambda: analysis.waits(jobs),
        "retries_to_success(runs)": lambda: analysis.retries_to_success(runs),
        "what_if_retries(runs, 10)": lambda: analysis.what_if_retries(runs, 10),
        "flakiness(runs)": lambda: analysis.flakiness(runs),
        "recovery(runs)": lambda: analysis.recovery(runs),
        'recovery(runs, "command")': lambda: analysis.recovery(runs, "command"),
        "recovery_summary(runs)": lambda: analysis.recovery_summary(runs),
        "compare(before, after)": lambda: analysis.compare(before, after),
        "by_worker(runs)": lambda: analysis.by_worker(runs),
    }
    rows_out = []
    for name, call in calls.items():
        call()
        times = sorted(_seconds(call) for _ in range(rounds))
        rows_out.append((name, rows, times[rounds // 2], times[-1], times[rounds // 2] <= LIMIT_S))
    return pd.DataFrame(rows_out, columns=["call", "rows", "median_s", "worst_s", "within"])


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def markdown(measured: pd.DataFrame) -> str:
    """The table of `measure` as markdown."""
    lines = [f"| function | rows | median | worst | ≤ {LIMIT_S} s |", "|---|---|---|---|---|"]
    for call, rows, median, worst, within in measured.itertuples(index=False):
        answer = "yes" if within else "**no**"
        lines.append(f"| `{call}` | {rows:,} | {median:.3f} s | {worst:.3f} s | {answer} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)))
