"""What `cause_of` promises whatever a run printed."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.causes import VERSION, Cause, cause_of, parse_rules
from queuectl.errors import InvalidValue, QueuectlError


def failed(stderr: str = "", stdout: str = "", *, exit_code: int | None = 1, **more: object) -> Cause:
    fields = {"outcome": "failed", "exit_code": exit_code, "signal": None} | more
    return cause_of(stdout=stdout.encode(), stderr=stderr.encode(), **fields)  # type: ignore[arg-type]


PIECES = st.sampled_from(
    [
        b"error: ", b"Traceback (most recent call last):\n", b'  File "a.py", line 3\n', b"KeyError: 'x'\n", b"\r", b"\n", b"\x1b[31m", b"\x1b[",
        b'{"level":"error","msg":', b'"}\n', b"level=error err=\"", b"Caused by: ", b"Caused by:\n", b"[cause]: ", b"panicked at ",
        b"thread 'main' ", b"short test summary info\n", b"FAILED a::b - ", b"--- FAIL: T (", b"\nRan ", b" stdout ----\n", b"not ok 1 - x\n",
        b"terminate called after throwing\n", b"  + Exception Group Traceback (most recent call last):\n", b"  | ", b"\xff\xfe", b"'", b"`",
        b"/a/b.c:1:2: ", b"(Caused by ", b"During handling of the above exception", b"The above exception was the direct cause", b"\n\n",
        "●‘’“”\u202e\u2028".encode(), b"SyntaxError: ", b"[ERROR] ", b"0x1f", b"12:00:00", b"9%|", b"AssertionError\n", b"cannot find symbol\n",
    ]
)  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=300), st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=40).map(b"".join)
)


@given(
    stdout=BYTES,
    stderr=BYTES,
    outcome=st.sampled_from(["failed", "timeout", "killed", "lost", "spawn", "other", ""]),
    exit_code=st.one_of(st.none(), st.integers(-300, 100_000)),
    signal=st.one_of(st.none(), st.integers(-3, 200)),
)
def test_any_bytes_get_a_cause_of_the_promised_form(stdout, stderr, outcome, exit_code, signal) -> None:
    cause = cause_of(outcome=outcome, exit_code=exit_code, signal=signal, stdout=stdout, stderr=stderr)
    assert re.fullmatch(r"[0-9a-f]{8}", cause.sig)
    assert 0 < len(cause.template) <= 200 and 0 < len(cause.line) <= 300
    for text in (cause.template, cause.line):
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")]
        assert not set(text) & set("\u200b\u202a\u202e\u2066\ufeff")


@pytest.mark.parametrize(
    ("fields", "template"),
    [
        ({"exit_code": 3}, "exit status 3"),
        ({"exit_code": None, "signal": 11, "outcome": "killed"}, "signal SIGSEGV"),
        ({"exit_code": 139}, "signal SIGSEGV"),
        ({"exit_code": None, "signal": 34, "outcome": "killed"}, "signal SIGRTMIN"),
        ({"exit_code": None, "signal": 99, "outcome": "killed"}, "signal 99"),
        ({"exit_code": None, "outcome": "timeout", "stderr": "error: step 3"}, "timed out"),
        ({"exit_code": None, "outcome": "lost", "stderr": "error: step 3"}, "worker lost"),
        ({"exit_code": None, "outcome": "spawn"}, "could not be started"),
        ({"exit_code": None, "outcome": "killed", "signal": 9, "stdout": "row 12 done"}, "signal SIGKILL"),
        ({"exit_code": None, "outcome": "killed", "signal": 11, "stdout": "row 12 done"}, "signal SIGSEGV"),
        (
            {"exit_code": 139, "stderr": "a.sh: line 3: 17 Segmentation fault      (core dumped) ./a"},
            "signal SIGSEGV",
        ),
    ],
)
def test_a_silent_end_is_its_own_cause(fields, template) -> None:
    assert failed(**fields).template == template


def test_the_users_rule_wins_over_everything() -> None:
    rules = parse_rules([(r"nothing like this", "no"), (r"vol(ume)?-\d+ offline", "storage is down")])
    a = failed("KeyError: 'x'\nvol-3 offline\nbye\n", rules=rules)
    b = failed(stdout="volume-7 offline", outcome="timeout", exit_code=None, rules=rules)
    assert (a.template, a.line, b.template) == ("storage is down", "vol-3 offline", "storage is down")
    assert a.sig == b.sig


@pytest.mark.parametrize(
    "rules",
    [
        [("(", "x")],
        [("x", "")],
        [("x",)],
        ["xy"],
        [("x", 3)],
        [(b"x", "y")],
        [("a" * 3 + "{99999999999}", "x")],
    ],
)
def test_a_bad_rule_is_refused_by_its_position(rules) -> None:
    with pytest.raises(InvalidValue, match="cause rule 1: expected") as caught:
        parse_rules(rules)
    assert isinstance(caught.value, QueuectlError) and isinstance(caught.value, ValueError)


def test_the_sig_is_the_same_in_every_process() -> None:
    code = "from queuectl.causes import cause_of as c; print(c(outcome='failed', exit_code=1, signal=None, stdout=b'', stderr=b'error: x 3').sig)"
    env = {"PYTHONPATH": ":".join(sys.path)}
    sigs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=env | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert sigs == {failed("error: x 9").sig + "\n"}


def test_importing_causes_imports_nothing_heavy() -> None:
    code = "import sys, queuectl.causes; print(*sorted(m for m in ('pandas', 'numpy', 'asyncio', 'dateutil', 'sqlite3') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


def test_only_the_end_of_a_stream_is_read() -> None:
    hidden = failed("error: from long ago\n" + "x\n" * 60_000)
    seen = failed(
        "error: from a moment ago\n" + "\tat com.acme.Walk.down(Walk.java:31)\n" * 1024
    )  # as a stack overflow prints
    assert "long ago" not in hidden.template
    assert seen.template == "from a moment ago"


@pytest.mark.parametrize(
    "chunk",
    [
        b"'",
        b"/a",
        b"a.",
        b"\x1b[",
        b"1",
        b"error: ",
        b"[",
        b"a-",
        b"9%|",
        b'{"level":',
        b"af0",
        b"error\n",
        b"a@b.",
    ],
)
def test_hostile_bytes_never_make_a_rule_see_more_than_it_should(chunk) -> None:
    """No clock here: the work is bounded because no line and no number of lines passes the caps."""
    from queuectl.causes import _lines

    data = (chunk * 65536)[:65536]
    lines = _lines.tail_lines(data)
    assert len(lines) <= _lines.MAX_LINES
    assert max(map(len, lines)) <= (_lines.MAX_JSON_CHARS if chunk[:1] == b"{" else _lines.MAX_CHARS)
    assert cause_of(outcome="failed", exit_code=1, signal=None, stdout=data, stderr=data).sig


def test_the_version_is_a_whole_number() -> None:
    assert isinstance(VERSION, int) and VERSION >= 1
