"""Causes of real failures: grouped, retried by cause, filed anew, and reported in three forms."""

import html.parser
import io
import json
import re

import nbformat
import pytest

from queuectl import causes
from queuectl.cli import main
from queuectl.errors import InvalidValue

HOSTILE = """printf '%s\\n' '<script>alert(1)</script> ```` & "x" $x^2$ token=s3cr3t' >&2; printf '\\033[2Jerror: <img src=x onerror=alert(1)> is bad\\n' >&2; exit 4"""
MISSING = "cat /nowhere/data_{}.csv"


@pytest.fixture
def broken(q, start):
    """Nine dead jobs of three causes and two that completed, run by a real worker."""
    commands = [MISSING.format(i) for i in range(6)] + ["exit 3"] * 2 + [HOSTILE] + ["true"] * 2
    q.enqueue_many([{"command": c, "id": f"j{i}", "max_retries": 1} for i, c in enumerate(commands)])
    assert start("-c", "2", "--drain").wait(60) == 0
    return q


def cli(q, *words):
    out = io.StringIO()
    code = main([*words, "--db", q.path], stdout=out, stderr=out)
    return code, out.getvalue()


def test_causes_are_grouped_with_what_one_needs_to_know(broken) -> None:
    first, *rest = found = broken.failures()
    assert [c.count for c in found] == [6, 2, 1] and found.left_out == 0
    assert first.message == "cat: <path>.data: No such file or directory" and first.jobs == 6
    assert first.share == pytest.approx(6 / 9) and sum(c.share for c in found) == pytest.approx(1)
    assert re.fullmatch(r"cat: /nowhere/data_\d\.csv: No such file or directory", first.example_line)
    assert broken.show(first.example_job).job.error_sig == first.sig
    assert (
        first.first_seen_ms <= first.last_seen_ms
        and first.wasted_ms >= 0
        and first.commands[0].startswith("cat /nowhere")
    )
    assert broken.failures(limit=1).left_out == 2
    assert not broken.failures(since="0s") and len(broken.failures(since="1h")) == 3
    assert (
        "6 runs" in repr(first) and first.sig in found._repr_html_() and "<script" not in found._repr_html_()
    )
    assert rest[0].message == "exit status 3"


def test_the_command_line_shows_the_same(broken) -> None:
    code, text = cli(broken, "failures")
    assert code == 0 and text.splitlines()[0].split()[:4] == ["CAUSE", "RUNS", "JOBS", "SHARE"]
    assert "67%" in text and "No such file or directory" in text and "\x1b" not in text
    rows = [json.loads(line) for line in cli(broken, "failures", "--json")[1].splitlines()]
    assert [r["count"] for r in rows] == [6, 2, 1] and rows[0]["commands"]
    assert cli(broken, "failures", "--csv")[1].startswith("sig,message,count,jobs,share")
    assert "more not shown" in cli(broken, "failures", "--limit", "1")[1]


def test_one_cause_is_retried_and_the_others_left(broken) -> None:
    sig = broken.failures()[0].sig
    assert len(broken.dlq.retry(sig=sig, dry_run=True).done) == 6
    assert cli(broken, "dlq", "retry", "--sig", sig)[0] == 0
    assert {j.id for j in broken.list(state="pending")} == {f"j{i}" for i in range(6)}
    assert len(broken.dlq.list()) == 3


def test_the_frame_of_causes_is_the_list(broken) -> None:
    frame, found = broken.failures_frame(), broken.failures()
    assert list(frame.index) == [c.sig for c in found] and list(frame["count"]) == [6, 2, 1]
    assert list(frame["message"]) == [c.message for c in found]


def test_nothing_failed_is_no_error(q) -> None:
    assert (
        q.failures() == []
        and "No failures." in cli(q, "failures")[1]
        and q.failures()._repr_html_() == "<p>no failures</p>"
    )


def test_causes_of_an_older_version_are_computed_anew(broken) -> None:
    before = [(c.sig, c.message, c.count) for c in broken.failures()]
    with broken._store.write() as sql:
        sql.execute("update runs set error_sig = '0ld00000', sig_version = 1 where error_sig is not null")
        sql.execute("update jobs set error_sig = '0ld00000' where error_sig is not null")
        sql.execute("delete from causes")
        sql.execute("insert into causes values ('0ld00000', 'everything', 1, 1)")
    stamps = {j.id: j.updated_at_ms for j in broken.list()}
    preview = broken.refingerprint(dry_run=True)
    assert len(preview.done) == 9 and [c.sig for c in broken.failures()] == ["0ld00000"]
    assert sorted(broken.refingerprint().done) == [f"j{i}" for i in range(9)]
    assert [(c.sig, c.message, c.count) for c in broken.failures()] == before
    assert {j.error_sig for j in broken.dlq.list()} == {sig for sig, _, _ in before}
    rows = broken._store.connection.rows
    assert {r[0] for r in rows("select distinct sig_version from runs where error_sig is not null")} == {
        causes.VERSION
    }
    assert {r[0] for r in rows("select sig from causes")} == {sig for sig, _, _ in before}
    assert {j.id: j.updated_at_ms for j in broken.list()} == stamps  # no job changed, no frame is stale
    assert broken.refingerprint().done == ()


def test_rules_of_ones_own_name_causes_new_and_old(broken, start) -> None:
    broken.config.set("cause-rules", json.dumps([["data_[0-4]", "the nightly export is missing"]]))
    assert len(broken.refingerprint().done) == 5
    assert next((c.message, c.count) for c in broken.failures()) == ("the nightly export is missing", 5)
    broken.enqueue(MISSING.format(3), max_retries=1)
    assert start("--drain").wait(60) == 0
    assert next((c.message, c.count) for c in broken.failures()) == ("the nightly export is missing", 6)
    broken.config.set("cause-rules", "none")
    assert len(broken.refingerprint().done) == 6 and broken.failures()[0].count == 7


@pytest.mark.parametrize("wrong", ["x", "[1]", '[["(", "a"]]', '[["a", ""]]', '[["a"]]', "{}"])
def test_rules_that_are_none_are_refused(q, wrong) -> None:
    with pytest.raises(InvalidValue, match="cause-rules"):
        q.config.set("cause-rules", wrong)


def test_a_run_whose_output_is_gone_keeps_its_cause(broken) -> None:
    broken.config.set("cause-rules", json.dumps([["nowhere", "another name"]]))
    with broken._store.write() as sql:
        sql.execute("delete from outputs where job = 1")
    result = broken.refingerprint()
    assert len(result.done) == 5 and "1 kept theirs" in result.notes[-1]
    assert broken.show("j0").job.error_sig != broken.show("j1").job.error_sig


def test_large_outputs_are_read_from_their_files(q, start) -> None:
    q.enqueue(
        "head -c 300000 /dev/zero | tr '\\0' x | fold >&2; echo 'error: the end of it' >&2; exit 1",
        id="big",
        max_retries=1,
    )
    assert start("--drain").wait(60) == 0
    sig = q.failures()[0].sig
    assert q._store.connection.one("select stderr_file from runs")[0]
    with q._store.write() as sql:
        sql.execute("update runs set error_sig = '0ld00000'")
        sql.execute("update jobs set error_sig = '0ld00000'")
    assert q.refingerprint().done == ("big",) and q.failures()[0].sig == sig


# --- reports ---


class Seen(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.attributes, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *a) for a in attrs]

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_has_everything_and_asks_for_nothing(broken, tmp_path) -> None:
    path = tmp_path / "incident.html"
    result = broken.report(path)
    assert result.done == (str(path),)
    page = path.read_text()
    seen = Seen(page)
    text = "".join(seen.text)
    assert not {"script", "img", "iframe", "link", "object", "embed", "form", "base"} & set(seen.tags)
    assert {tag for tag in seen.tags if tag in ("svg", "rect", "table", "pre")} == {
        "svg",
        "rect",
        "table",
        "pre",
    }
    assert not [
        a for a in seen.attributes if a[1].startswith("on") or a[1] in ("src", "action", "xlink:href")
    ]
    assert all(value.startswith("#") for _, name, value in seen.attributes if name == "href")
    assert "http:" not in page and "https:" not in page and "@import" not in page and "url(" not in page
    assert "<script>alert(1)</script>" in text and "s3cr3t" not in page and "\x1b" not in page
    for cause in broken.failures():
        assert f"queuectl --db {broken.path} dlq retry --sig {cause.sig}" in text
        assert f"q.dlq.retry(sig='{cause.sig}')" in text
    assert "9 runs failed of 3 causes" in text and "67% of them share one cause" in text
    assert "cat: /nowhere/data_" in text


def test_the_calls_of_a_report_do_what_they_say(broken, tmp_path) -> None:
    broken.report(tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text()
    line = next(x for x in text.splitlines() if x.startswith("queuectl ") and "--dry-run" not in x)
    import shlex

    assert main(shlex.split(line)[1:], stdout=io.StringIO()) == 0
    assert len(broken.list(state="pending")) == 6


def test_markdown_keeps_untrusted_text_in_code(broken, tmp_path) -> None:
    broken.report(tmp_path / "incident.md")
    outside, fence = [], None
    for line in (tmp_path / "incident.md").read_text().splitlines():
        if fence is None and (found := re.match(r"(`{3,})\w*$", line)):
            fence = found[1]
        elif fence is not None and line == fence:
            fence = None
        elif fence is None:
            outside.append(re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", line))
    prose = "\n".join(outside)
    assert fence is None and "alert" not in prose and "$x" not in prose and "<" not in prose


def test_a_notebook_is_valid_without_outputs_and_ready_to_run(broken, tmp_path) -> None:
    broken.report(tmp_path / "incident.ipynb", since="1h")
    book = nbformat.read(tmp_path / "incident.ipynb", as_version=4)
    nbformat.validate(book)
    code = [c.source for c in book.cells if c.cell_type == "code"]
    assert all(not c.get("outputs") for c in book.cells)
    assert f"q = Queue({broken.path!r})" in code[0] and "q.runs(since='1h')" in code[1]
    assert (
        sum("dry_run=True" in c for c in code) == 3 and sum(c.startswith("# q.dlq.retry(") for c in code) == 3
    )
    for source in code:
        compile(source, "cell", "exec")


def test_a_report_of_nothing_says_so(q, tmp_path) -> None:
    for name in ("a.html", "a.md", "a.ipynb"):
        q.report(tmp_path / name)
        assert "No run failed" in (tmp_path / name).read_text()


def test_a_file_is_replaced_only_by_force_and_only_of_our_forms(broken, tmp_path) -> None:
    path = tmp_path / "incident.md"
    path.write_text("mine")
    with pytest.raises(InvalidValue, match="--force"):
        broken.report(path)
    assert path.read_text() == "mine" and len(list(tmp_path.glob(".report*"))) == 0
    broken.report(path, force=True)
    assert path.read_text() != "mine"
    for name in (broken.path, "a.pdf", "a"):
        with pytest.raises(InvalidValue, match=r"\.html, \.ipynb or \.md"):
            broken.report(name, force=True)


def test_the_command_line_writes_a_report(broken, tmp_path) -> None:
    code, text = cli(broken, "report", str(tmp_path / "i.html"), "--limit", "2")
    assert code == 0 and text == f"Report of 9 failed runs of 3 causes written to {tmp_path / 'i.html'}\n"
    assert "1 cause more not shown." in (tmp_path / "i.html").read_text()
    assert cli(broken, "report", str(tmp_path / "none" / "i.html"))[0] == 1
