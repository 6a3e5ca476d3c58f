"""What all benchmarks share: whole commands and their costs, alternating rounds, and the table."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import figures

ROOT = Path(__file__).resolve().parent.parent.parent
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
QUEUECTL = (sys.executable, "-m", "queuectl")
START, END = "<!-- figures: written by scripts/bench -->", "<!-- end of figures -->"


@dataclass(slots=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    jobs: int = 3_000
    many_jobs: int = 10_000
    echoes: int = 4_000
    samples: int = 100
    idle_s: float = 20.0
    singles: int = 2_000
    batch: int = 100_000
    writers_s: float = 8.0
    starts: int = 15
    rows: int = 10_000_000

    @classmethod
    def quick(cls) -> Sizes:
        """Just enough to see that everything runs."""
        return cls(1, 200, 400, 200, 10, 3.0, 100, 2_000, 1.0, 3, 20_000)


class Cost(NamedTuple):
    """What a whole command took, all its processes together."""

    wall_s: float
    cpu_s: float


class Row(NamedTuple):
    """One line of the table. `value` is what the bar is about; `bar` is None where none is set."""

    what: str
    value: float
    low: float
    high: float
    unit: str
    bar: float | None
    further: float | None
    more_is_better: bool
    detail: str

    @property
    def verdict(self) -> str:
        """Whether the bar is reached."""
        if self.bar is None:
            return ""

        def reached(bar: float) -> bool:
            return self.value >= bar if self.more_is_better else self.value <= bar

        if self.further is not None and reached(self.further):
            return "further"
        return "reached" if reached(self.bar) else "**missed**"


def ratio(
    what: str, ours: Sequence[float], theirs: Sequence[float], *, bar: float | None, further: float | None = None, speed: bool, detail: str = ""
) -> Row:  # fmt: skip
    """Return the row of a paired comparison of seconds (or of any cost).

    Args:
        what: its name.
        ours: one figure a round.
        theirs: the reference's in the same rounds.
        bar: what is to be reached.
        further: what would be better still.
        speed: the ratio is of speeds (theirs / ours, more is better), else of costs (ours / theirs, less is better).
        detail: shown last.
    """
    pairs = [(t / o) if speed else (o / t) for o, t in zip(ours, theirs, strict=True)]
    sign = "×"
    return Row(what, statistics.median(pairs), min(pairs), max(pairs), sign, bar, further, speed, detail)


def rate(n: int, costs: Sequence[Cost]) -> str:
    """Return how many a second, by the median of the rounds."""
    return f"{n / statistics.median(c.wall_s for c in costs):,.0f}/s"


def amount(
    what: str, values: Sequence[float], unit: str, *, bar: float | None, further: float | None = None, value: float | None = None, more: bool = False, detail: str = ""
) -> Row:  # fmt: skip
    """Return the row of a figure with a unit; its median unless `value` is given."""
    middle = statistics.median(values) if value is None else value
    return Row(what, middle, min(values), max(values), unit, bar, further, more, detail)


def run(
    command: Sequence[str],
    *,
    source: Path | None = None,
    target: Path | None = None,
    env: Mapping[str, str] = ENV,
) -> Cost:
    """Run a command to its end; return what it and its children took."""
    with contextlib.ExitStack() as files:
        stdin = files.enter_context(source.open("rb")) if source else subprocess.DEVNULL
        stdout = files.enter_context(target.open("wb")) if target else subprocess.DEVNULL
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=dict(env))
        assert child.stderr is not None
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(
            f"{' '.join(command)}: exit {child.returncode}: {errors.decode(errors='replace')[-400:]}"
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def alternate(cases: Mapping[str, Callable[[Path], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Run each case once a round, in turning order, each in a folder of its own."""
    found: dict[str, list[Cost]] = {name: [] for name in cases}
    names = list(cases)
    for n in range(rounds):
        for name in names[n % len(names) :] + names[: n % len(names)]:
            with folder() as place:
                found[name].append(cases[name](place))
    return found


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes away, on the disk and not in memory: durable commits must cost what they cost."""
    place = Path(tempfile.mkdtemp(prefix="bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def commands(place: Path, command: str, n: int) -> Path:
    """Write a file of n equal commands."""
    path = place / "commands"
    path.write_text(f"{command}\n" * n)
    return path


@contextlib.contextmanager
def worker(database: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A foreground worker for the length of a block, ready when the block starts."""
    child = subprocess.Popen(
        [*QUEUECTL, "worker", "--db", str(database), *words],
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    try:
        child.stdout.readline()  # Worker started
        time.sleep(0.3)
        yield child
    finally:
        child.terminate()
        child.wait(30)
        child.stdout.close()


def tree(pid: int, *, depth: int = 1000) -> list[int]:
    """A process and all below it, down to its children's children's … (`depth` times)."""
    found = [pid]
    if depth:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    found += tree(child, depth=depth - 1)
    return found


def print_table(rows: Sequence[Row], *, file: IO[str] | None = None) -> None:
    """Print the markdown table."""
    print(table(rows), file=file or sys.stdout, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Return the markdown table."""
    lines = ["| what | median (min–max) | bar | further | | detail |", "|---|---|---|---|---|---|"]
    for r in rows:
        sign = "≥" if r.more_is_better else "≤"
        bars = [f"{sign} {b:g}" if b is not None else "" for b in (r.bar, r.further)]
        figures = f"{_short(r.value)} {r.unit} ({_short(r.low)}–{_short(r.high)})"
        lines.append(f"| {r.what} | {figures} | {bars[0]} | {bars[1]} | {r.verdict} | {r.detail} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def write(rows: Sequence[Row], docs: Path) -> None:
    """Put the rows among the recorded figures, and the table of all that are recorded into docs/benchmarks.md between its marks."""
    kept = figures.recorded("bench").get("rows", {})
    kept |= {r.what: r._asdict() | {"machine": figures.machine()} for r in rows}
    figures.record("bench", {"rows": kept})
    page = docs / "benchmarks.md"
    before, _, rest = page.read_text().partition(START)
    _, _, after = rest.partition(END)
    known = [Row(**{k: v for k, v in row.items() if k != "machine"}) for row in kept.values()]
    page.write_text(f"{before}{START}\n\n{figures.machine()}\n\n{table(known)}\n\n{END}{after}")


__all__ = [
    "Cost",
    "Row",
    "Sizes",
    "alternate",
    "amount",
    "commands",
    "folder",
    "ratio",
    "run",
    "table",
    "tree",
    "worker",
]
