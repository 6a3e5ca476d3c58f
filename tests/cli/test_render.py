"""Each type of record has one layout for people, and the same as JSON Lines and CSV."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest

from queuectl.answers import ActionResult, JobDetails, Status, WaitResult
from queuectl.cli.cells import local, size, span
from queuectl.cli.render import render
from queuectl.model import Job, JobList, Outcome, Run, State, Worker
from queuectl.records import names

WHEN = 1_764_516_622_000


def job(**changes: Any) -> Job:
    """Return a job, otherwise plain."""
    plain: dict[str, Any] = dict.fromkeys(names(Job))
    plain |= {"seq": 1, "id": "kj5p8v9y", "command": "echo Hello World", "queue": "default", "tags": ""}
    plain |= {"state": State.COMPLETED, "attempts": 0, "max_retries": 3, "runs": 1, "priority": 0}
    plain |= {"created_at_ms": WHEN, "updated_at_ms": WHEN + 3000}
    return Job(**(plain | changes))


def run(**changes: Any) -> Run:
    """Return a run, otherwise plain."""
    plain: dict[str, Any] = dict.fromkeys(names(Run))
    plain |= {
        "job_id": "kj5p8v9y",
        "run": 1,
        "started_at_ms": WHEN,
        "finished_at_ms": WHEN + 1500,
        "outcome": Outcome.OK,
    }
    plain |= {"stdout_bytes": 12, "stderr_bytes": 0, "cpu_user_ms": 3, "cpu_sys_ms": 1, "max_rss": 4 << 20}
    return Run(**(plain | changes))


def worker(**changes: Any) -> Worker:
    """Return a worker, otherwise plain."""
    plain: dict[str, Any] = dict.fromkeys(names(Worker))
    plain |= {"id": "abc123xy", "state": "idle", "pid": 7, "heartbeat_at_ms": WHEN, "done": 1, "failed": 0}
    return Worker(**(plain | changes))


def shown(result: Any, form: str = "human") -> str:
    """Return what is printed on stdout."""
    out = io.StringIO()
    render(result, form, out, io.StringIO())
    return out.getvalue()


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_new_job_is_its_id() -> None:
    assert shown(job()) == "Job added successfully with ID: kj5p8v9y\n"


def test_a_list_of_jobs() -> None:
    assert (
        shown(JobList([job()]))
        == """
ID: kj5p8v9y
Command: echo Hello World
State: completed
Attempts: 0
Max Retries: 3
Created At: 2025-11-30 15:30:22
Updated At: 2025-11-30 15:30:25
"""
    )
    assert shown(JobList()) == "No jobs found.\n"


def test_what_a_list_leaves_out_is_said_on_stderr() -> None:
    err = io.StringIO()
    render(JobList([job()], left_out=1234), "json", io.StringIO(), err)
    assert err.getvalue() == "1,234 more not shown; raise --limit or narrow the filter\n"


def test_a_status_of_few_jobs() -> None:
    jobs = (job(id="job001"), job(id="job002", state=State.FAILED))
    status = Status({State.COMPLETED: 1, State.FAILED: 1}, jobs, 0, (worker(),), ())
    assert (
        shown(status)
        == """
===== JOB STATES =====
ID: job001   State: completed
ID: job002   State: failed

===== ACTIVE WORKERS =====
Worker: abc123xy   Heartbeat: 2025-11-30 15:30:22
===========================
"""
    )


def test_a_status_of_many_jobs_counts_them_first() -> None:
    text = shown(Status({State.PENDING: 1200, State.DEAD: 0}, (job(),), 1199, (), ("slow",)))
    assert (
        "\n===== JOB STATES =====\npending: 1,200\nID: kj5p8v9y   State: completed\n(1,199 older jobs not shown)\n"
        in text
    )
    assert "Paused: slow" in text and "No active workers." in text


def test_an_action_reports_id_by_id() -> None:
    result = ActionResult("cancel", ("a", "b"), (("c", "it is completed"),))
    assert shown(result) == "a: cancelled\nb: cancelled\nc: skipped, it is completed\n"
    assert shown(ActionResult("cancel", ("a",), dry_run=True)) == "a: would be cancelled\n"
    assert shown(ActionResult("retry")) == "Nothing to retry.\n"


def test_a_job_in_detail() -> None:
    failed = job(state=State.DEAD, reason="exit status 1", error="No such file", error_sig="a1b2c3d4")
    text = shown(JobDetails(failed, (run(outcome=Outcome.FAILED, reason="exit status 1"),)))
    assert "Reason: exit status 1\nError: No such file\nCause: a1b2c3d4\n" in text
    assert (
        "  1  2025-11-30 15:30:22  failed       1.5s  CPU 4ms  memory 4.0 MiB  output 12 B  exit status 1\n"
        in text
    )


def test_a_wait_counts_how_the_jobs_ended() -> None:
    assert shown(WaitResult({"a": State.COMPLETED, "b": State.DEAD})) == "1 completed, 1 dead\nb: dead\n"


def test_json_is_one_object_a_line() -> None:
    lines = shown(JobList([job(), job(id="b")]), "json").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["kj5p8v9y", "b"]
    details = json.loads(shown(JobDetails(job(), (run(),)), "json"))
    assert details["id"] == "kj5p8v9y" and details["runs"][0]["outcome"] == "ok"


def test_json_is_safe_on_a_terminal_and_says_the_same() -> None:
    nasty = "\x1b]0;x\x07 \x9b \u202e \u2028 \x7f é 🎉"
    text = shown(JobList([job(command=nasty)]), "json")
    assert text.strip().isprintable() and "é 🎉" in text
    assert json.loads(text)["command"] == nasty


FORMULAS = ["=cmd|'/c calc'!A0", "+1", "-1", "@x", "\tx", "\rx"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_csv_disarms_formulas_and_leaves_numbers(formula: str) -> None:
    row = next(
        csv.DictReader(io.StringIO(shown(JobList([job(command=formula, priority=-5)]), "csv"), newline=""))
    )
    assert row["command"] == "'" + formula
    assert row["priority"] == "-5"


def test_csv_of_results_that_are_not_rows() -> None:
    assert shown(Status({State.DEAD: 2}, (), 2, (), ()), "csv") == "state,jobs\ndead,2\n"
    assert (
        shown(ActionResult("x", ("a",), (("b", "no, never"),)), "csv")
        == 'id,done,reason\na,true,\nb,false,"no, never"\n'
    )
    assert shown(WaitResult({"a": State.DEAD}), "csv") == "id,state\na,dead\n"


@pytest.mark.parametrize("form", ["human", "json", "csv"])
def test_secrets_are_masked_in_every_form(form: str) -> None:
    secret = job(command="curl --password=hunter2 https://u:hunter2@h", error="TOKEN=hunter2", reason="x")
    for result in (
        JobList([secret]),
        JobDetails(secret, (run(error="token: hunter2", reason="TOKEN=hunter2"),)),
    ):
        assert "hunter2" not in shown(result, form) and "***" in shown(result, form)


@pytest.mark.parametrize(
    "attack", ["\x1b]52;c;eA==\x07", "\x1b[2J", "a\rb", "\x9b1A", "\u202etxt.exe", "\x7f", "x\nState: dead"]
)
def test_no_text_of_a_job_reaches_the_terminal_raw(attack: str) -> None:
    hurt = job(command=attack, id=attack, queue=attack, reason=attack, error=attack)
    text = shown(JobDetails(hurt, (run(reason=attack),))) + shown(
        Status({}, (hurt,), 0, (worker(id=attack),), (attack,))
    )
    assert attack not in text
    assert all(c == "\n" or c.isprintable() for c in text)


PIECES = [b"caf\xc3", b"\xa9 \xff\x1b[31m\nsec", b"ond\r\n=1"]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_output_goes_byte_for_byte_into_a_file_and_spelt_out_to_a_terminal() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render(iter(PIECES), "human", out, io.StringIO())
    assert out.buffer.getvalue() == b"".join(PIECES)  # type: ignore[attr-defined]
    terminal = Terminal()
    render(iter(PIECES), "human", terminal, io.StringIO())
    assert terminal.getvalue() == "café \\xff\\x1b[31m\nsecond\\r\n=1"


def test_output_for_programs_is_a_record_a_line() -> None:
    lines = ["café \\xff\x1b[31m", "second\r", "=1"]
    assert [json.loads(line)["line"] for line in shown(iter(PIECES), "json").split("\n")[:-1]] == lines
    rows = list(csv.DictReader(io.StringIO(shown(iter(PIECES), "csv"), newline="")))
    assert [row["line"] for row in rows] == [*lines[:2], "'=1"]


def test_a_csv_on_a_terminal_moves_no_cursor() -> None:
    terminal = Terminal()
    render(JobList([job(command="\x1b[2J")]), "csv", terminal, io.StringIO())
    assert "\x1b" not in terminal.getvalue() and "\\x1b[2J" in terminal.getvalue()


def test_an_empty_list_says_of_what() -> None:
    out = io.StringIO()
    render([], "human", out, io.StringIO(), declared="Workers")
    assert out.getvalue() == "No active workers.\n"


def test_units() -> None:
    assert [span(x) for x in (None, 0, 850, 2500, 60_000, 7_500_000)] == [
        "-",
        "0ms",
        "850ms",
        "2.5s",
        "1m00s",
        "2h05m",
    ]
    assert [size(x) for x in (None, 0, 1023, 1536, 5 << 30)] == ["-", "0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
    assert (local(None), local(WHEN)) == ("-", "2025-11-30 15:30:22")
