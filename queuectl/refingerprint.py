"""The causes of stored failures, computed anew: after a new version of the rules, or with rules of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from queuectl import causes
from queuectl.causes import Rule
from queuectl.progress import bar
from queuectl.records import NamedTuple
from queuectl.store import Store
from queuectl.store.refile import FailedRun, Filed, Refile

BATCH = 500  # runs in one write transaction
TAIL_BYTES = 65_536


class Refiled(NamedTuple):
    """What was found: runs looked at, jobs with a run that got another cause, and runs whose output is gone."""

    runs: int
    changed_runs: int
    jobs: tuple[str, ...]
    kept: int


def refingerprint(
    store: Store, rules: Sequence[Rule], *, dry_run: bool = False, shown: bool | None = False
) -> Refiled:
    """Compute the cause of every failed run anew, some hundred in a transaction; runs whose output is gone keep theirs.

    Args:
        store: the queue's database.
        rules: the user's own, the first of which that matches wins.
        dry_run: only count.
        shown: whether to show a bar; see `progress.bar`.
    """
    source, logs = Refile(store.connection), os.path.join(os.path.dirname(store.path), "logs")
    seen = changed = kept = 0
    jobs: dict[str, None] = {}
    after = (0, 0)
    progress = bar(source.count(), label="causes", shown=shown)
    try:
        while batch := source.failed(after=after, limit=BATCH):
            after = batch[-1].job, batch[-1].run
            found = []
            for run in batch:
                filed = _filed(run, rules, logs)
                if filed is None:
                    kept += 1
                elif (filed.error_sig, filed.error, filed.version) != (
                    run.error_sig,
                    run.error,
                    run.sig_version,
                ):
                    found.append(filed)
                    if filed.error_sig != run.error_sig:
                        changed += 1
                        jobs[run.job_id] = None
            if found and not dry_run:
                with store.write():
                    source.file(found)
            seen += len(batch)
            progress.to(seen)
        if changed and not dry_run:
            with store.write():
                source.forget_unused()
    finally:
        progress.close()
    return Refiled(seen, changed, tuple(jobs), kept)


def _filed(run: FailedRun, rules: Sequence[Rule], logs: str) -> Filed | None:
    stdout = _tail(run.stdout, run.stdout_file, run.stdout_bytes, logs)
    stderr = _tail(run.stderr, run.stderr_file, run.stderr_bytes, logs)
    if run.outcome == "spawn":  # it wrote nothing; the line is why it could not be started
        stderr = (run.error or "").encode()
    if stdout is None or stderr is None:
        return None
    cause = causes.cause_of(
        outcome=run.outcome,
        exit_code=run.exit_code,
        signal=run.signal,
        stdout=stdout,
        stderr=stderr,
        rules=rules,
    )
    return Filed(run.job, run.run, cause.line, cause.sig, cause.template, causes.VERSION, run.finished_at_ms)


def _tail(inline: bytes | None, name: str | None, size: int, logs: str) -> bytes | None:
    """The end of an output; None where it was removed."""
    if inline is not None:
        return inline
    if name is None:
        return b"" if not size else None
    try:
        with open(os.path.join(logs, os.path.basename(name)), "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - TAIL_BYTES))
            return f.read(TAIL_BYTES)
    except FileNotFoundError:
        return None
