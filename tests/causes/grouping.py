"""The recorded outputs, and how well the causes group them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from queuectl.causes import VERSION, Cause, cause_of

OUTPUTS = Path(__file__).parent / "outputs"
WRONG_MERGES, WRONG_SPLITS = 8, 19
"""The most that may go wrong, as docs/causes.md says."""

PINNED = (
    "py-module-1", "py-chain-direct-1", "py-chain-context-1", "py-group-2", "py-requests-503-1", "py-pytest-assert-1", "pip-missing-1", "sh-command-1",
    "segv-1", "tar-1", "jq-3", "curl-28-1", "wget-404-1", "git-rejected-1", "psql-unique-1", "ffmpeg-1", "gcc-undeclared-2", "ld-undefined-2",
    "cargo-test-1", "rust-panic-3", "go-test-1", "java-cause-1", "mvn-compile-1", "node-fetch-1", "npm-404-1", "tsc-TS2322-2", "json-nested-1", "logfmt-1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """What one failing command left behind, and the label it was given by hand."""

    name: str
    group: str
    outcome: str
    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes

    def cause(self) -> Cause:
        """Its cause by the rules."""
        return cause_of(
            outcome=self.outcome,
            exit_code=self.exit_code,
            signal=self.signal,
            stdout=self.stdout,
            stderr=self.stderr,
        )


@dataclass(frozen=True, slots=True)
class Score:
    """Pairs of outputs: alike by label and by sig, and where the two part."""

    outputs: int
    groups: int
    together: int
    wrong_merges: tuple[tuple[Output, Output], ...]
    wrong_splits: tuple[tuple[Output, Output], ...]

    @property
    def precision(self) -> float:
        """Of the pairs that got one sig, the share whose labels agree."""
        kept = self.together - len(self.wrong_splits)
        return kept / (kept + len(self.wrong_merges)) if kept or self.wrong_merges else 1.0

    @property
    def recall(self) -> float:
        """Of the pairs with one label, the share that got one sig."""
        return 1 - len(self.wrong_splits) / self.together if self.together else 1.0

    def row(self, name: str) -> str:
        """One line of the table."""
        return (
            f"| {name} | {self.outputs} | {self.groups} | {self.together} | {len(self.wrong_merges)} | "
            f"{len(self.wrong_splits)} | {self.precision:.3f} | {self.recall:.3f} |"
        )


def load(names: Iterable[str] = ()) -> list[Output]:
    """The outputs of the named files, or of all."""
    paths = [OUTPUTS / f"{name}.json" for name in names] or sorted(OUTPUTS.glob("*.json"))
    return [_output(entry) for path in paths for entry in json.loads(path.read_text())]


def _output(entry: dict[str, object]) -> Output:
    streams = {key: str(entry[key]).encode("utf-8", "surrogateescape") for key in ("stdout", "stderr")}
    fields = {key: entry[key] for key in ("name", "group", "outcome", "exit_code", "signal")}
    return Output(**fields, **streams)  # type: ignore[arg-type]


def score(outputs: Sequence[Output]) -> Score:
    """Compare each pair's labels with its sigs."""
    sigs = {id(output): output.cause().sig for output in outputs}
    merges, splits, together = [], [], 0
    for a, b in combinations(outputs, 2):
        alike, same = a.group == b.group, sigs[id(a)] == sigs[id(b)]
        together += alike
        if alike and not same:
            splits.append((a, b))
        elif same and not alike:
            merges.append((a, b))
    return Score(len(outputs), len({o.group for o in outputs}), together, tuple(merges), tuple(splits))


def score_files(names: Iterable[str] = ()) -> Score:
    """The pairs within each file together: a label means what the others of its file mean."""
    files = list(names) or sorted(path.stem for path in OUTPUTS.glob("*.json"))
    scores = [score(load([name])) for name in files]
    return Score(
        sum(s.outputs for s in scores),
        sum(s.groups for s in scores),
        sum(s.together for s in scores),
        tuple(pair for s in scores for pair in s.wrong_merges),
        tuple(pair for s in scores for pair in s.wrong_splits),
    )


def main(argv: Sequence[str]) -> int:
    """Print the table; with -v the pairs that went wrong."""
    if "--golden" in argv:
        sigs = {o.name: o.cause().sig for o in load() if o.name in PINNED}
        OUTPUTS.with_name("golden.json").write_text(
            json.dumps({"version": VERSION, "sigs": sigs}, indent=1) + "\n"
        )
    names = [word for word in argv if not word.startswith("-")]
    print(
        "| outputs of | outputs | groups | pairs alike | wrong merges | wrong splits | precision | recall |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in names or sorted(path.stem for path in OUTPUTS.glob("*.json")):
        print(score(load([name])).row(name))
    whole = score_files(names)
    print(whole.row("all"))
    if "-v" in argv:
        _explain(whole)
    return 0


def _explain(whole: Score) -> None:
    wrong = defaultdict(set)
    for kind, pairs in (("merge", whole.wrong_merges), ("split", whole.wrong_splits)):
        for pair in pairs:
            for output in pair:
                key = output.cause().template if kind == "merge" else output.group
                wrong[kind, key].add(output)
    for (kind, key), outputs in sorted(wrong.items(), key=lambda item: item[0]):
        print(f"\n{kind}: {key}")
        for output in sorted(outputs, key=lambda o: o.name):
            print(f"    {output.name:24} {output.group if kind == 'merge' else output.cause().template}")


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
