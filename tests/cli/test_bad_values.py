"""Bad values of every kind, numbered as in the list of bad inputs: refused with a word about them, and the database as it was, byte for byte."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import size
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_bad_input import content, database, run, stored  # noqa: F401  # database is a fixture

from queuectl import lifecycle
from queuectl.errors import InvalidValue, JobNotFound, NothingMatched, QueuectlError, StateConflict
from queuectl.model import State
from queuectl.queue import Queue

WORDS: list[tuple[str, list[str], int, str]] = [
    ("4 NUL in an id", ["show", "a\0b"], 2, "letters, digits"),
    ("15 a flag that is a word", ["dlq", "purge", "--dry-run=1"], 2, "true or false"),
    ("20 a member of the class", ["enqueue_many", "x", "__doc__"], 2, "extra word"),
    ("20 a private word of a group", ["dlq", "_queue"], 2, "unknown command"),
    ("21 an index into the result", ["list", "0"], 2, "extra word"),
    ("23 Fire's verbose", ["list", "--", "--verbose"], 2, "extra word"),
    ("27 many digits", ["enqueue", "-c", "x", "--max-retries", "9" * 30], 2, "whole number"),
    ("29 infinite delay", ["enqueue", "-c", "x", "--delay", "inf"], 2, "delay"),
    ("31 base below 1", ["enqueue", "-c", "x", "--backoff-base", "0.5"], 2, "number"),
    ("31 negative base", ["enqueue", "-c", "x", "--backoff-base=-2"], 2, "number"),
    ("33 fewer workers than none", ["worker", "-c", "-1"], 2, "count"),
    ("33 ten thousand workers", ["worker", "-c", "10000"], 2, "from 1 to 64"),
    ("34 negative pause", ["worker", "-s", "-1"], 2, "sleep"),
    ("34 no pause worth the name", ["worker", "-s", "0.000000001"], 2, "sleep"),
    ("35 no time at all", ["enqueue", "-c", "x", "--timeout", "0"], 2, "timeout"),
    ("36 nothing to list", ["list", "--limit", "0"], 2, "limit"),
    ("36 beyond all numbers", ["list", "--limit", str(10**13)], 2, "limit"),
    ("40 unknown id", ["show", "nosuchjob"], 3, "no job has this id"),
    ("40 unknown id of a change", ["cancel", "nosuchjob"], 3, "no job has this id"),
    ("41 empty id", ["show", ""], 2, "letters, digits"),
    ("42 a path for an id", ["show", "../../etc/passwd"], 2, "letters, digits"),
    ("42 a path whose output is asked for", ["logs", "../../etc/passwd"], 2, "letters, digits"),
    ("42 a path for a new id", ["enqueue", "-c", "x", "--id", "../../tmp/x"], 2, "letters, digits"),
    ("43 a slash", ["show", "a/b"], 2, "letters, digits"),
    ("43 this folder", ["show", "."], 2, "letters, digits"),
    ("43 the folder above", ["show", ".."], 2, "letters, digits"),
    ("43 dots within", ["enqueue", "-c", "x", "--id", "a..b"], 2, "letters, digits"),
    ("44 SQL for an id", ["delete", "1 OR 1=1"], 2, "letters, digits"),
    ("45 a wildcard of SQL", ["delete", "%"], 2, "letters, digits"),
    ("45 another", ["cancel", "_"], 2, "letters, digits"),
    ("45 a wildcard of the shell", ["delete", "*"], 2, "letters, digits"),
    ("45 a wildcard at the end", ["delete", "job%"], 2, "letters, digits"),
    ("46 a look-alike", ["show", "jоb1"], 2, "letters, digits"),
    ("46 a space at the end", ["show", "job1 "], 2, "letters, digits"),
    ("46 upper case is another id", ["show", "JOB1"], 3, "no job has this id"),
    ("47 an id of 10 KB", ["show", "a" * 10_240], 2, "(10,242 characters)"),
    ("48 the state is suggested", ["list", "-s", "runnning"], 2, "did you mean processing?"),
    ("49 SQL for an order", ["list", "--order-by", "id; DROP TABLE jobs"], 2, "unknown flag --order-by"),
    ("50 a query for an order", ["list", "--order-by=(select 1)"], 2, "unknown flag --order-by"),
    ("51 a column nobody has", ["list", "--columns", "secret--"], 2, "unknown flag --columns"),
    ("53 yesterday", ["list", "--since", "yesterday"], 2, "an age like 2h"),
    ("53 a thirteenth month", ["list", "--since", "2025-13-01"], 2, "an age like 2h"),
    ("53 the year 9999", ["list", "--until", "9999-01-01"], 2, "until"),
    ("53 seconds beyond all time", ["list", "--since", "1" + "0" * 18], 2, "since"),
    ("54 until before since", ["list", "--since", "1h", "--until", "2h"], 2, "a time before until"),
    ("65 no such folder", ["enqueue", "-c", "x", "--cwd", "/no/such/folder"], 2, "existing folder"),
    ("65 a file for a folder", ["enqueue", "-c", "x", "--cwd", "/etc/passwd"], 2, "folder"),
    ("67 retry of a job that is not dead", ["dlq", "retry", "job1"], 5, "only dead jobs are in the DLQ"),
    ("71 purge of nothing in particular", ["dlq", "purge"], 2, "expected ids or a filter"),
    ("71 delete of nothing in particular", ["delete"], 2, "expected ids or a filter"),
    ("72 a setting of nobody", ["config", "get", "max-retrys"], 2, "did you mean max-retries?"),
    ("72 a fraction of a retry", ["config", "set", "max-retries", "1.5"], 2, "whole number"),
    ("74 wait for an unknown job", ["wait", "nosuchjob"], 3, "no job has this id"),
]  # fmt: skip


@pytest.mark.parametrize("words, code, message", [w[1:] for w in WORDS], ids=[w[0] for w in WORDS])
def test_a_bad_word_is_refused(words: list[str], code: int, message: str, database: Path) -> None:  # noqa: F811
    before = content(database)
    ended = run(database, *words)
    assert (ended[0], ended[1]) == (code, ""), ended
    assert message in ended[2]
    assert ended[2].startswith("queuectl: ") and ended[2].count("\n") == 1
    assert content(database) == before


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def breaks_off() -> Any:
    yield "true"
    raise ZeroDivisionError


Call = Callable[[Queue, Path], Any]
CALLS: list[tuple[str, Call, type[BaseException], str]] = [
    *((f"7 {type(x).__name__} for a command", lambda q, _, x=x: q.enqueue(x), InvalidValue, "expected text") for x in (["ls"], {"a": 1}, 5, None, b"ls")),
    ("26 text for a number", lambda q, _: q.enqueue("x", max_retries="abc"), InvalidValue, "whole number"),
    ("28 beyond 64 bits", lambda q, _: q.enqueue("x", priority=2**70), InvalidValue, "whole number"),
    ("29 infinite", lambda q, _: q.enqueue("x", backoff_base=float("inf")), InvalidValue, "number"),
    ("29 infinite time", lambda q, _: q.enqueue("x", timeout=float("inf")), InvalidValue, "timeout"),
    ("30 not a number", lambda q, _: q.enqueue("x", jitter=float("nan")), InvalidValue, "number"),
    ("30 not a number of seconds", lambda q, _: q.enqueue("x", delay=float("nan")), InvalidValue, "delay"),
    ("33 no worker", lambda q, _: q.start_workers(0), InvalidValue, "count"),
    ("37 SQL for a limit", lambda q, _: q.list(limit="1 union select"), InvalidValue, "limit"),
    ("38 priority 1e308", lambda q, _: q.enqueue("x", priority=1e308), InvalidValue, "whole number"),
    ("39 True for a number", lambda q, _: q.enqueue("x", max_retries=True), InvalidValue, "whole number"),
    ("43 NUL in an id", lambda q, _: q.show("a\0b"), InvalidValue, "letters, digits"),
    ("49 SQL for an order", lambda q, _: q.jobs(order_by="id; DROP TABLE jobs"), TypeError, "order_by"),
    ("51 a column nobody has", lambda q, _: q.jobs(columns=["secret--"]), InvalidValue, "column"),
    ("52 SQL for a filter", lambda q, _: q.list(where="1=1"), TypeError, "where"),
    ("53 an epoch beyond all time", lambda q, _: q.list(since=10**18), InvalidValue, "since"),
    ("55 unknown key", lambda q, _: q.enqueue_many([{"command": "x", "retrys": 1}]), InvalidValue, "did you mean"),
    ("56 no command", lambda q, _: q.enqueue_many([{"id": "x"}]), InvalidValue, "command"),
    ("57 an id that is taken", lambda q, _: q.enqueue("echo second", id="job1"), StateConflict, "first is kept"),
    ("57 an id given twice", lambda q, _: q.enqueue_many([{"command": "a", "id": "z"}, {"command": "b", "id": "z"}]), StateConflict, "z"),
    ("58 the 777th of 1,000", lambda q, _: q.enqueue_many([{"command": "x" if n != 777 else ""} for n in range(1, 1001)]), InvalidValue, "777"),
    ("62 NaN in a spec", lambda q, _: q.enqueue_many([{"command": "x", "params": {"a": float("nan")}}]), InvalidValue, "JSON"),
    ("63 a folder for a file", lambda q, d: q.enqueue_many(d), InvalidValue, "expected a file"),
    ("63 a device for a file", lambda q, _: q.enqueue_many("/dev/zero"), InvalidValue, "expected a file"),
    ("64 = in a name", lambda q, _: q.enqueue("x", env={"A=B": "c"}), InvalidValue, "env"),
    ("64 NUL in a value", lambda q, _: q.enqueue("x", env={"A": "b\0"}), InvalidValue, "NUL"),
    ("64 no name", lambda q, _: q.enqueue("x", env={"": "b"}), InvalidValue, "env"),
    ("64 a number for a value", lambda q, _: q.enqueue("x", env={"A": 1}), InvalidValue, "expected text"),
    ("65 a loop of links", lambda q, d: q.enqueue("x", cwd=loop(d)), InvalidValue, "existing folder"),
    ("66 a generator that breaks off", lambda q, _: q.enqueue_many(breaks_off()), ZeroDivisionError, ""),
    ("67 retry of a pending job", lambda q, _: q.retry("job1"), StateConflict, "is pending"),
    ("68 cancel of a completed job", lambda q, _: q.cancel("done1"), StateConflict, "is completed"),
    ("68 retry of a completed job", lambda q, _: q.dlq.retry("done1"), StateConflict, "is completed"),
    ("69 delete of a running job", lambda q, _: q.delete("busy1"), StateConflict, "is processing"),
    ("73 stop of an unknown worker", lambda q, _: q.stop_workers("nosuchworker"), NothingMatched, "nosuchworker"),
    ("74 wait for an unknown job", lambda q, _: q.wait("nosuchjob"), JobNotFound, "no job has this id"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, message", [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_a_bad_call_is_refused(call: Call, error: type, message: str, database: Path, tmp_path: Path) -> None:  # noqa: F811
    q = Queue(database)
    q.enqueue("true", id="done1")
    q.enqueue("true", id="busy1")
    with q._store.write() as sql:
        sql.execute("update jobs set state = 'completed', finished_at_ms = 1 where id = 'done1'")
        sql.execute("update jobs set state = 'processing', worker_id = 'w', runs = 1 where id = 'busy1'")
    before = content(database)
    with pytest.raises(error, match=message) as caught:
        call(q, tmp_path)
    assert len(str(caught.value).splitlines()) <= 1
    assert content(database) == before
    q.close()


FILES: list[tuple[str, bytes, str]] = [
    ("55 unknown key", b'{"command": "x", "retrys": 3}\n', "did you mean"),
    ("56 no command", b'{"id": "x"}\n', "command"),
    (
        "59 nested 10,000 deep",
        b'{"command": "x", "params": ' + b"[" * 10_000 + b"]" * 10_000 + b"}\n",
        "nested too deep|recursion",
    ),
    ("60 a key twice", b'{"command": "x", "command": "y"}\n', "given twice"),
    ("61 a byte order mark", b"\xef\xbb\xbfecho\n", "byte order mark"),
    ("61 UTF-16", "echo\n".encode("utf-16"), "byte order mark"),
    ("61 UTF-16 without a mark", "echo é\n".encode("utf-16-le"), "UTF-8|NUL"),
    ("62 a last line cut short", b'{"command": "x"}\n{"command": "y', "line 2"),
    ("63 a line without an end", b"x" * 1_100_000, "at most 1,000,000 bytes"),
]


@pytest.mark.parametrize("text, message", [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_bad_file_is_refused(text: bytes, message: str, database: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "jobs").write_bytes(text)
    before = content(database)
    code, out, err = run(database, "enqueue-many", str(tmp_path / "jobs"))
    assert (code, out) == (2, "") and err.count("\n") == 1, err
    assert any(part in err for part in message.split("|")), err
    assert content(database) == before


def test_63_a_pipe_for_a_file_is_refused_at_once(database: Path, tmp_path: Path) -> None:  # noqa: F811
    os.mkfifo(tmp_path / "pipe")
    assert run(database, "enqueue-many", str(tmp_path / "pipe"))[0] == 2  # opening it would wait for ever


def test_32_a_huge_delay_is_capped_and_no_error(database: Path) -> None:  # noqa: F811
    q = Queue(database)
    job = q.enqueue("false", backoff_base=10, max_retries=400, backoff_max="24h")
    claimed = lifecycle.Claimed(*[{"run": 1}.get(f, getattr(job, f, 1)) for f in lifecycle.Claimed._fields])
    assert lifecycle.delay_ms(claimed, 399, dice=0.5) == 86_400_000
    q.close()


def test_36_a_limit_beyond_all_rows_is_no_error(database: Path) -> None:  # noqa: F811
    code, out, err = run(database, "list", "--limit", str(10**12))
    assert (code, err) == (0, "") and "job1" in out


def test_45_an_id_is_no_pattern(database: Path) -> None:  # noqa: F811
    for word in ("job_", "job"):
        assert run(database, "show", word)[0] == 3
    assert run(database, "list", "--tag", "j_b1")[1] == "No jobs found.\n"


def test_57_the_first_of_two_is_kept(database: Path) -> None:  # noqa: F811
    run(database, "enqueue", "--id", "j", "-c", "echo first")
    assert run(database, "enqueue", "--id", "j", "-c", "echo second")[0] == 5
    assert stored(database) == "echo first"


def test_70_of_two_retries_at_once_one_wins(database: Path) -> None:  # noqa: F811
    run(database, "cancel", "job1")
    first, second = Queue(database), Queue(database)
    assert first.retry("job1").done == ("job1",)
    with pytest.raises(StateConflict, match="is pending"):
        second.retry("job1")
    first.close()
    second.close()


SAFE_VERBS = ("show", "cancel", "retry", "delete", "logs", "list", "dlq", "config", "status", "wait", "pause", "explain", "edit", "bump", "events", "map", "zzz")  # fmt: skip
text = st.text(max_size=20) | st.sampled_from(["-s", "--limit", "--queue", "--dry-run", "--json", "-", "--", "--db", "dead", "1", "' or 1=1 --", "%", "\0", "job1", "\x1b[2J"])  # fmt: skip


@pytest.mark.sized
@settings(
    max_examples=size(200, 10_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(SAFE_VERBS), st.lists(text, max_size=4))
def test_no_words_make_a_traceback_or_an_unknown_exit_code(
    database: Path,  # noqa: F811
    verb: str,
    words: list[str],
) -> None:
    if verb == "wait" or any(w in ("-f", "--follow") for w in words):
        words = [*words, "--timeout", "0.01"] if verb == "wait" else []
    code, out, err = run(database, verb, *words)
    assert code in (0, 1, 2, 3, 4, 5)
    assert "unexpected" not in err and "Traceback" not in err
    assert code == 0 or err.count("\n") == 1 or out
    assert not any(ord(c) < 32 and c != "\n" and c != "\t" for c in out + err)


@pytest.mark.sized
@settings(
    max_examples=size(200, 10_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text(max_size=80))
def test_any_text_is_a_valid_id_or_refused(database: Path, name: str) -> None:  # noqa: F811
    q = Queue(database)
    try:
        with pytest.raises(QueuectlError) as caught:
            q.show(name)
        assert isinstance(caught.value, (InvalidValue, JobNotFound)) or name == "job1"
        if name not in {str(s) for s in State}:
            with pytest.raises(InvalidValue):
                q.list(state=name)
        assert json.loads(json.dumps(str(caught.value)))
    finally:
        q.close()
