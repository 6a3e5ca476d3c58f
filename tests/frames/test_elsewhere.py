"""What other programs make of frames and of the file: CSV, Parquet, DuckDB and Datasette, each in a process of its own."""

import csv
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from frames_data import fill
from harness import await_true

ROOT = Path(__file__).resolve().parents[2]
VIEWS = ("active", "dlq", "run_log")


@pytest.fixture
def full(q):
    fill(q, 120)
    return q


def counts(q):
    rows = q._store.connection.rows
    return {name: rows(f"select count(*) from {name}")[0][0] for name in (*VIEWS, "jobs", "runs")}


@pytest.mark.parametrize("name", ["jobs", "runs", "dead", "causes"])
def test_parquet_gives_back_the_same_frame(full, tmp_path, name) -> None:
    frame = {"jobs": full.jobs, "runs": full.runs, "dead": full.dlq.frame, "causes": full.failures_frame}[
        name
    ]()
    frame.to_parquet(tmp_path / "a.parquet")
    again = pd.read_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(again, frame, check_freq=False)
    assert again.attrs == frame.attrs


def test_csv_gives_back_ids_and_text(full, tmp_path) -> None:
    frame = full.jobs()
    frame.to_csv(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert [r["id"] for r in rows] == list(frame.index) and [r["command"] for r in rows] == list(
        frame["command"]
    )
    again = pd.read_csv(tmp_path / "a.csv", index_col="id")
    assert (
        len(full.dlq.retry(again[again["state"] == "dead"], dry_run=True).done)
        == (frame["state"] == "dead").sum()
    )


DUCK = """
import json, sys, duckdb, duckdb_extension_sqlite_scanner as extension
from pathlib import Path
path, = Path(extension.__file__).parent.rglob("sqlite_scanner.duckdb_extension")
c = duckdb.connect()
c.execute(f"load '{path}'")
c.execute(f"attach '{sys.argv[1]}' as q (type sqlite, read_only)")
found = {name: c.execute(f"select count(*) from q.{name}").fetchone()[0] for name in ("active", "dlq", "run_log", "jobs")}
found["runs"] = c.execute("select count(job) from q.runs").fetchone()[0]  # count(*) asks for a rowid, which `runs` has not
found["worst"] = c.execute(
    "select error_sig, count(*) as n from q.runs where error_sig is not null group by all order by n desc, 1 limit 1").fetchone()
found["died"] = c.execute("select max(died) from q.dlq").fetchone()[0]
print(json.dumps(found))
"""


def test_duckdb_reads_the_tables_and_the_views(full, tmp_path) -> None:
    """On a copy that SQLite itself made, and in another process: a second engine has no business in ours."""
    expected, worst = counts(full), full.failures()[0]
    died = full._store.connection.one("select max(died) from dlq")[0]
    copy = tmp_path / "copy.db"
    full._store.connection.rows("vacuum into ?", (str(copy),))
    out = subprocess.run([sys.executable, "-c", DUCK, str(copy)], capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    assert found.pop("worst") == [worst.sig, worst.count] and found.pop("died") == died
    assert found == expected


def served(words, tmp_path):
    """Start datasette on a free port of loopback; yields its address."""
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(tmp_path / "datasette.log", "wb")  # noqa: SIM115
    program = subprocess.Popen(
        [sys.executable, "-m", "datasette", "serve", *words, "-h", "127.0.0.1", "-p", str(port)],
        stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    return program, f"http://127.0.0.1:{port}", log


@pytest.mark.parametrize("live", [False, True], ids=["a copy, immutable", "the file itself, beside a writer"])
def test_datasette_serves_the_tables_and_the_views(full, tmp_path, live) -> None:
    expected = counts(full)
    path = tmp_path / "queue.db"
    if live:
        path = Path(full.path)
    else:
        full._store.connection.rows("vacuum into ?", (str(path),))
    program, address, log = served([str(path)] if live else ["-i", str(path)], tmp_path)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(name):
        with opener.open(f"{address}/queue/{name}.json?_shape=array&_size=max", timeout=20) as answer:
            return json.load(answer)

    def answers():
        try:
            return ask("dlq") is not None
        except OSError:
            assert program.poll() is None, (tmp_path / "datasette.log").read_text()
            return False

    try:
        await_true(answers, 40, what="datasette")
        for name in VIEWS:
            assert len(ask(name)) == expected[name], name
        dead = {row["id"] for row in ask("dlq")}
        assert dead == set(full.dlq.frame().index)
        if live:  # what is written meanwhile is seen, and nobody is in anybody's way
            job = full.enqueue("echo while it is served").id
            assert job in {row["id"] for row in ask("active")}
    finally:
        program.terminate()
        program.wait(20)
        log.close()


PROGRAM = """
import sys, _sqlite3
from queuectl.queue import Queue
q = Queue(sys.argv[1])
for read in (q.jobs, q.runs, q.dlq.frame, q.failures_frame, q.events_frame, q.workers_frame):
    read()
own = {line.split()[-1] for line in open("/proc/self/maps") if "sqlite" in line}
names = {line.split()[-1] for line in open("/proc/self/maps") if line.split()[-1].startswith("/")}
print(*sorted(own), sep="\\n")
print("pyarrow" in sys.modules)
print(*sorted(n for n in names if any(x in n for x in ("adbc", "connectorx", "duckdb", "apsw", "pysqlite3"))), sep="\\n")
"""


def test_frames_never_bring_a_second_engine_into_the_process(full) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM, full.path], capture_output=True, text=True, env=env, timeout=60
    )
    assert out.returncode == 0, out.stderr
    mapped, _, others = out.stdout.partition("True\n")
    assert "True" in out.stdout, "pyarrow is part of the test environment"
    engines = [line for line in mapped.split() if "libsqlite3" in line or "pysqlite3" in line]
    assert len(engines) <= 1 and not others.strip()
