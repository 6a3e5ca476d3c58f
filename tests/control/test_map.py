"""Sweeps: one job a row, values that stay one word whatever they are, and names that must match."""

import io
import json
import math
import os
import random
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from queuectl.cli import main
from queuectl.errors import InvalidValue, NothingMatched
from queuectl.model import State
from queuectl.template import Cell, Template

HOSTILE = [
    "; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "'; touch PWNED; '", '"; touch PWNED; "', "\ntouch PWNED\n", "it's", 'say "hi"',
    "a\\", "$HOME", "* ?", "~", "", " ", "é\u202e", "a\tb", "{x}", "}}; touch PWNED", "\\'; touch PWNED; \\'", "#", "&& touch PWNED",
]  # fmt: skip


def commands(q):
    return [j.command for j in q.list()]


# --- quoting ---


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
def test_a_hostile_value_reaches_the_program_as_one_word_byte_for_byte(q, tmp_path, shell):
    q.map("printf '%s\\0' a={x} -- {x}", {"x": HOSTILE}, cwd=str(tmp_path))
    for value, command in zip(HOSTILE, commands(q), strict=True):
        ran = subprocess.run([shell, "-c", command], cwd=tmp_path, capture_output=True, check=True)
        assert ran.stdout.decode().split("\0")[:-1] == [f"a={value}", "--", value]
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("echo '{x}'", "between ' and '"), ('echo "a {x}"', 'between " and "'), ("echo `id {x}`", "between ` and `"), ("echo a\\{x}", "backslash"),
        ("echo hi # {x}", "comment"), ("cat <<EOF\n{x}\nEOF", "here-document"), ("echo ${x}", r"after \$"), ("echo $(( {x} ))", "arithmetic"),
        ("echo $'a' {x}", r"after \$'"), ('echo "$(id {x})"', 'between " and "'),
    ],
)  # fmt: skip
def test_a_name_where_quoting_would_not_hold_is_refused(q, template, says):
    with pytest.raises(InvalidValue, match=says):
        q.map(template, {"x": ["a"]})
    assert q.list() == []


@pytest.mark.parametrize(
    "template", ["echo {x}", "a=1 echo 'b c'{x}\"d\"", "echo \"it's\" {x}", "echo $(id {x})", "echo a#{x}", "echo '#' {x} # done", "cat < {x} | wc"]
)  # fmt: skip
def test_a_name_that_is_a_word_or_part_of_one_is_taken(q, template):
    assert q.map(template, {"x": ["a b"]}, dry_run=True).commands == (template.replace("{x}", "'a b'"),)


FRAGMENTS = ["'", '"', "\\", "`", "$", "(", ")", "#", "<", "\n", " ", "a", "; ", " -- ", "=", "{{", "}}", "$(", "$((", "))", "$'", "${{a:-", "| cat ", "<<a\n", "eof"]  # fmt: skip


def _breaks_out(command, folder):
    subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,
        check=False,
    )
    mark = Path(folder, "PWNED")
    found = mark.exists()
    mark.unlink(missing_ok=True)
    return found


def test_no_template_that_is_taken_lets_a_value_become_a_command(tmp_path):
    dice, taken, control = random.Random(7), 0, 0
    while taken < 120:
        parts = [dice.choice(FRAGMENTS) for _ in range(dice.randint(1, 6))]
        parts.insert(dice.randint(0, len(parts)), "{x}")
        text, value = "echo " + "".join(parts), dice.choice([h for h in HOSTILE if "PWNED" in h])
        try:
            command = Template(text).command({"x": Cell(value, value)})
        except InvalidValue:
            control += control < 3 and _breaks_out(text.format(x=f"'{value}'"), tmp_path)
            continue
        taken += 1
        assert not _breaks_out(command, tmp_path), (text, value)
    assert control, "nothing that was refused would have broken out: the check is not put to the test"


def test_a_text_that_a_program_would_read_as_an_option_is_refused_and_a_negative_number_is_not(q):
    for text in ("-rf", "--output=/etc/passwd", "-"):
        with pytest.raises(InvalidValue, match=r"row 2: x: .* would be read as an option"):
            q.map("rm {x}", {"x": ["a", text]})
    assert q.list() == []
    q.map("run --x={x} {y}", {"x": ["-rf"], "y": [-0.5]})
    q.map("rm -- {x}", {"x": ["-rf"]})
    assert commands(q) == ["run --x=-rf -0.5", "rm -- -rf"]
    with pytest.raises(InvalidValue, match="option"):
        q.map("rm -- a; rm {x}", {"x": ["-rf"]})


# --- values ---


@pytest.mark.parametrize(
    ("value", "text", "kept"),
    [
        (1, "1", 1), (-3, "-3", -3), (0.1, "0.1", 0.1), (1e-5, "1e-05", 1e-5), (1.0, "1.0", 1.0), (True, "true", True), (False, "false", False),
        ("a b", "'a b'", "a b"), (np.float32(0.1), "0.1", 0.1), (np.float64(0.1), "0.1", 0.1), (np.int64(2**62), str(2**62), 2**62),
        (np.bool_(True), "true", True), (np.str_("x"), "x", "x"), (date(2026, 1, 2), "2026-01-02", "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00", "2026-01-02T03:00:00+00:00"),
        (pd.Timestamp("2026-01-02 03:04"), "2026-01-02T03:04:00", "2026-01-02T03:04:00"), (np.datetime64("2026-01-02"), "2026-01-02", "2026-01-02"),
        (Decimal("0.10"), "0.10", 0.1), (Path("/tmp/a b"), "'/tmp/a b'", "/tmp/a b"), (10**30, str(10**30), 10**30), (State.DEAD, "dead", "dead"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_is_written_as_a_person_would(q, value, text, kept):
    group = q.map("run {x}", [{"x": value}])
    assert commands(q) == [f"run {text}"]
    assert json.loads(group.jobs[0].params) == {"x": kept}


@pytest.mark.parametrize(
    "value",
    [None, math.nan, np.nan, np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), math.inf, -math.inf, Decimal("Infinity"), [1], {"a": 1}, b"x",
     np.array([1, 2]), {1}, 1j, object(), "a\0b", "\udcff", pd.Timedelta("1s"), lambda: 1],
    ids=repr,
)  # fmt: skip
def test_a_value_that_is_missing_or_none_at_all_is_refused_with_its_row(q, value):
    with pytest.raises(InvalidValue, match=r"row 2|text|UTF-8"):
        q.map("run {x}", [{"x": 1}, {"x": value}])
    assert q.list() == []


def test_a_frame_gives_a_job_a_row_in_its_order(q):
    frame = pd.DataFrame(
        {
            "lr": np.array([0.1, 0.001], dtype="float32"),
            "n": pd.array([1, 2], dtype="Int64"),
            "day": pd.to_datetime(["2026-01-02", "2026-01-03"]),
            "kind": pd.Categorical(["a", "b c"]),
        },
        index=[7, 3],
    )
    q.map("train --lr {lr:.0e} --lr {lr} -n {n:03d} --day {day:%d.%m.} {kind}", frame)
    assert commands(q) == [
        "train --lr 1e-01 --lr 0.1 -n 001 --day 02.01. a",
        "train --lr 1e-03 --lr 0.001 -n 002 --day 03.01. 'b c'",
    ]
    frame.loc[3, "n"] = pd.NA
    with pytest.raises(InvalidValue, match="row 2, n: is empty"):
        q.map("run {n}", frame[["n"]])


# --- names ---


@pytest.mark.parametrize(
    ("template", "params", "says"),
    [
        ("run {lr} {seed}", {"lr": [1]}, "no column for seed"), ("run {lr}", {"lr": [1], "seed": [2]}, "seed is not in the template"),
        ("run", {"lr": [1]}, "a {name} in it"), ("run {}", {"lr": [1]}, "a name between"), ("run {lr!r}", {"lr": [1]}, "got more"),
        ("run {lr:{w}}", {"lr": [1], "w": [1]}, "got more"), ("run {lr", {"lr": [1]}, "write {{ and }}"), ("run lr}", {"lr": [1]}, "write {{ and }}"),
        ("awk '{print $1}' {lr}", {"lr": [1]}, "between '"), ("run {lr.x}", {"lr": [1]}, "no column for lr.x"),
        ("run {lr[0]}", {"lr": [[1]]}, "row 1, lr"), ("run {lr}", {"lr": [1, 2], "b": [1]}, "one length"), ("run {lr}", {"lr": 1}, "a list of values"),
        ("run {lr}", {"lr": "abc"}, "a list of values"), ("run {lr}", {"lr": []}, "at least one row"), ("run {lr}", {}, "column"), ("run {lr}", [], "at least"),
        ("run {lr}", [{"lr": 1}, {"l": 1}], "row 2: .* no lr, l too many"), ("run {lr}", [{"lr": 1}, 2], "row 2"), ("run {lr}", 7, "params"),
        ("run {lr:.3g}", {"lr": ["fast"]}, "row 1: lr: 'fast' does not fit"), ("run {lr}", "params.xml", "ends in"), ("run {lr}", "gone.csv", "No such file"),
        ("", {"lr": [1]}, "command"), (7, {"lr": [1]}, "command"),
        ("run {lr}", pd.DataFrame([[1, 2]], columns=["lr", "lr"]), "lr twice"),
    ],
    ids=str,
)  # fmt: skip
def test_names_that_do_not_match_are_refused_and_nothing_is_enqueued(q, template, params, says):
    with pytest.raises(InvalidValue, match=says):
        q.map(template, params)
    assert q.list() == []


def test_braces_of_the_command_are_doubled(q):
    q.map("awk '{{print $1}}' {file} ${{HOME}}", {"file": ["a b"]})
    assert commands(q) == ["awk '{print $1}' 'a b' ${HOME}"]


def test_columns_that_are_not_used_are_kept_when_that_is_asked_for(q):
    group = q.map("run {lr}", {"lr": [1], "label": ["first"]}, allow_unused=True)
    assert json.loads(group.jobs[0].params) == {"lr": 1, "label": "first"}


# --- files ---


def test_a_table_in_a_file_gives_what_is_written_in_it(q, tmp_path):
    file = tmp_path / "p.csv"
    file.write_text('\ufefflr, name, code\n1e-3, "a, ""b""\nc", 007\n0.10, x, 12\n', encoding="utf-8")
    group = q.map("run {lr} {lr:.2f} {name} {code}", str(file))
    assert commands(q) == ["run 1e-3 0.00 'a, \"b\"\nc' 007", "run 0.10 0.10 x 12"]
    assert [json.loads(j.params) for j in group.jobs] == [
        {"lr": 0.001, "name": 'a, "b"\nc', "code": "007"},
        {"lr": 0.1, "name": "x", "code": "12"},
    ]
    for name, text in (
        ("p.json", '[{"lr": 0.5}]'),
        ("q.json", '{"lr": [0.5]}'),
        ("p.jsonl", '{"lr": 0.5}\n\n'),
    ):
        (tmp_path / name).write_text(text)
        assert q.map("run {lr}", tmp_path / name, dry_run=True).commands == ("run 0.5",)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.csv", b"", "empty file"), ("p.csv", b"lr\n", "at least one row"), ("p.csv", b"lr,lr\n1,2\n", "lr twice"), ("p.csv", b"lr,b\n1\n", "row 1: expected 2"),
        ("p.csv", b"lr\n\"1\n", "end of data"), ("p.csv", b"lr,b\n1,\n", "row 1, b: is empty"), ("p.csv", b"lr\n\xff\n", "UTF-8"), ("p.csv", b"lr,\n1,2\n", "empty one"),
        ("p.json", b"[1]", "row 1"), ("p.json", b"{\"lr\": [1], \"lr\": [2]}", "twice"), ("p.json", b"3", "a list of objects"), ("p.json", b"[{\"lr\": NaN}]", "is empty"),
        ("p.json", b"[{\"lr\": null}]", "is empty"), ("p.json", b"[" * 100_000, "expected JSON"), ("p.jsonl", b"{\"lr\": 1}\n{\n", "line 2"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_refused(q, tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InvalidValue, match=says):
        q.map("run {lr}", str(tmp_path / name))
    assert q.list() == []


# --- all or none, and what becomes of it ---


def test_all_rows_are_enqueued_or_none(q):
    with pytest.raises(InvalidValue, match="row 1000"):
        q.map("run {x}", {"x": [*range(999), None]})
    with pytest.raises(InvalidValue, match="timeout"):
        q.map("run {x}", {"x": [1]}, timeout="soon")
    assert q.list() == []
    group = q.map("run {x}", {"x": range(1000)}, tag="sweep", priority=3)
    assert (len(group), len(group.ids), q.status().counts[State.PENDING]) == (1000, 1000, 1000)
    assert {(j.tag_list, j.priority, j.batch) for j in group.jobs} == {(("sweep",), 3, group.id)}
    assert q.group(group.id).ids == group.ids
    with pytest.raises(NothingMatched):
        q.group("b0")


def test_a_dry_run_shows_the_first_commands_and_enqueues_nothing(q):
    shown = q.map("run {x}", {"x": range(50)}, dry_run=True)
    assert shown.commands == tuple(f"run {n}" for n in range(10))
    assert (len(shown), shown.ids, q.list()) == (50, (), [])
    for verb in (shown.wait, shown.cancel, shown.retry, shown.status):
        with pytest.raises(InvalidValue, match="dry run"):
            verb()


def test_a_sweep_is_cancelled_and_retried_as_one(q):
    group = q.map("run {x}", {"x": [1, 2, 3]})
    q.cancel(group.ids[0])
    assert sorted(group.cancel().done) == sorted(group.ids[1:])
    assert (group.status(), bool(group.cancel())) == ({State.CANCELLED: 3}, False)
    assert sorted(group.retry().done) == sorted(group.ids)
    assert group.status() == {State.PENDING: 3}
    assert group.id in group._repr_html_()


@pytest.mark.process
def test_a_sweep_comes_back_as_the_frame_of_its_parameters_with_results(q, start):
    command = (
        'test {fail} = false || { echo "ValueError: bad" >&2; exit 3; }; '
        'echo "{\\"loss\\": 0.5, \\"state\\": \\"ok\\"}" > $QUEUECTL_RESULT'
    )
    template = command.replace("{", "{{").replace("}", "}}").replace("{{fail}}", "{fail}")
    params = pd.DataFrame({"lr": [0.3, 0.1, 0.2], "fail": [False, True, False]})
    group = q.map(template, params, allow_unused=True, max_retries=1)
    worker = start("-c", "2", "--drain")
    assert not group.wait(timeout=30)
    assert worker.wait(30) == 0
    frame = group.frame()
    assert list(frame.index) == list(group.ids)
    pd.testing.assert_frame_equal(frame[["lr", "fail"]].reset_index(drop=True), params)
    assert list(frame["state"]) == ["completed", "dead", "completed"]
    assert list(frame["exit_code"]) == [0, 3, 0]
    assert frame["duration"].between(0, 30).all()
    assert frame["error"].iloc[1] == "ValueError: bad"
    assert list(frame["loss"].dropna()) == [0.5, 0.5]
    assert list(frame["result.state"].dropna()) == ["ok", "ok"]
    assert q.retry(frame[frame["state"] == "dead"]).done == (group.ids[1],)


def test_the_command_line_maps_a_file(place, tmp_path):
    (tmp_path / "p.csv").write_text("lr\n0.1\n0.2\n")

    def typed(*words):
        out, err = io.StringIO(), io.StringIO()
        code = main(["--db", str(place), *words], stdout=out, stderr=err)
        return code, out.getvalue(), err.getvalue()

    file = str(tmp_path / "p.csv")
    assert typed("map", "run {lr}", file, "--dry-run") == (
        0,
        "run 0.1\nrun 0.2\n(nothing was enqueued)\n",
        "",
    )
    code, out, _ = typed("map", "run {lr}", file, "--tag", "s")
    assert (code, out[:34]) == (0, "2 jobs added successfully, with ID")
    found = json.loads(typed("map", "run {lr}", file, "--json")[1])
    assert (found["rows"], len(found["jobs"]), found["template"]) == (2, 2, "run {lr}")
    code, out, err = typed("map", "run {seed}", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert len(typed("list", "--json")[1].splitlines()) == 4
