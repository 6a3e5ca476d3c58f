"""`%queuectl` and `%%enqueue` in a real IPython shell: the same commands, records that show themselves, one line for an error."""

import json
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from queuectl.answers import ActionResult
from queuectl.errors import InvalidValue, JobNotFound
from queuectl.model import Job, JobList
from queuectl.queue._adding import AddedJobs


@pytest.fixture(scope="module")
def one_shell():
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "queuectl")
    yield made
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(one_shell, q):
    one_shell.user_ns.update(q=q)
    yield one_shell
    for name in [
        n
        for n in one_shell.user_ns
        if not n.startswith("_") and n not in ("In", "Out", "exit", "quit", "get_ipython", "open")
    ]:
        del one_shell.user_ns[name]


@pytest.fixture
def run(shell):
    """Run a cell; return its value, raise what it raised."""

    def go(cell):
        found = shell.run_cell(cell, store_history=False)
        found.raise_error()
        return found.result

    return go


def test_it_acts_on_the_notebooks_queue_and_returns_the_record(run, q):
    job = run("%queuectl enqueue -c 'echo hi' --priority 3 --tag a,b")
    assert isinstance(job, Job) and q.show(job.id).job.priority == 3
    listed = run("%queuectl list -s pending")
    assert (
        isinstance(listed, JobList)
        and "<table" in listed._repr_html_()
        and [j.id for j in listed] == [job.id]
    )
    assert run("%queuectl cancel " + job.id).done == (job.id,)
    assert [r[:2] for r in q._store.connection.rows("select actor, verb from events")] == [
        ("notebook", "cancel")
    ]


def test_another_database_can_be_named(run, tmp_path, q):
    other = tmp_path / "other.db"
    run(f"%queuectl --db {other} enqueue -c true")
    assert len(run(f"%queuectl --db {other} list")) == 1 and len(q.list()) == 0


def test_without_a_queue_it_is_the_command_lines_own(run, shell, tmp_path, monkeypatch):
    del shell.user_ns["q"]
    monkeypatch.setenv("QUEUECTL_DB", str(tmp_path / "env.db"))
    run("%queuectl enqueue -c true")
    assert (tmp_path / "env.db").exists()


@pytest.mark.parametrize(
    "command", ["echo $HOME {x} $x", "awk '{print $1}'", 'echo "two  words" \\\\ #no', "tab\there é 🎉"]
)
def test_nothing_is_filled_in_inside_a_command(run, shell, command):
    import shlex

    shell.user_ns["x"] = "SURPRISE"
    assert run(f"%queuectl enqueue -c {shlex.quote(command)}").command == command


def test_a_word_in_braces_is_a_variable(run, shell, q):
    import pandas as pd

    jobs = [q.enqueue("false") for _ in range(3)]
    shell.user_ns.update(
        job=jobs[0], rest=pd.DataFrame(index=pd.Index([j.id for j in jobs[1:]], name="id")), n=7
    )
    assert run("%queuectl show {job.id}").job.id == jobs[0].id
    assert run("%queuectl cancel {job} {rest}").done == tuple(j.id for j in jobs)
    assert run("%queuectl enqueue -c true --priority {n}").priority == 7
    with pytest.raises(InvalidValue, match=r"\{nothing\.here\}: expected a variable"):
        run("%queuectl show {nothing.here}")


def test_a_frame_is_acted_on_as_it_was_read(run, shell, q):
    jobs = [q.enqueue("true") for _ in range(2)]
    shell.user_ns["frame"] = q.jobs()
    q.cancel(jobs[0])
    result = run("%queuectl cancel {frame}")
    assert result.done == (jobs[1].id,) and "pending when read, cancelled now" in result.skipped[0][1]
    shell.user_ns["none"] = q.jobs(state="dead")
    q.enqueue("true")
    assert run("%queuectl cancel {none}").done == () and len(q.list(state="pending")) == 1


def test_a_frame_of_another_database_is_refused(run, shell, q):
    import pandas as pd

    frame = pd.DataFrame(index=pd.Index([q.enqueue("true").id], name="id"))
    frame.attrs["queuectl_db"] = "/elsewhere/queue.db"
    shell.user_ns["frame"] = frame
    with pytest.raises(InvalidValue, match="/elsewhere/queue"):
        run("%queuectl cancel {frame}")
    assert len(q.list(state="pending")) == 1


@pytest.mark.parametrize(
    ("cell", "line"),
    [("%queuectl show nope", "queuectl: job nope: no job has this id"), ("%queuectl lst", "did you mean list?"), ("%queuectl enqueue -c hi --bogus", "unknown flag --bogus"),
     ("%queuectl enqueue -c 'open", "No closing quotation"), ("%queuectl worker", "add --detach"), ("%queuectl enqueue-many -", "use %%enqueue --many"),
     ("%%enqueue\n  \n", "expected a command in the cell"), ("%%enqueue --timeout soon\ntrue", "timeout"), ("%%enqueue -c false\ntrue", "given twice"),
     ("%%enqueue extra\ntrue", "extra word 'extra'")],
)  # fmt: skip
def test_a_mistake_is_one_line_and_changes_nothing(shell, q, capsys, cell, line):
    found = shell.run_cell(cell, store_history=False)
    said = capsys.readouterr()
    text = [t for t in (said.out + said.err).splitlines() if t.strip()]
    assert len(text) == 1 and text[0].startswith("queuectl: ") and line in text[0]
    assert found.error_in_exec is not None and q.list() == []  # Run All stops here


def test_the_traceback_is_there_for_who_asks(shell, monkeypatch, capsys):
    monkeypatch.setenv("QUEUECTL_TRACEBACK", "1")
    assert isinstance(shell.run_cell("%queuectl show nope").error_in_exec, JobNotFound)
    assert "Traceback" in capsys.readouterr().out


def test_the_cell_is_the_command_byte_for_byte(run, q):
    body = "  for f in *.csv; do\n\techo \"$f\" {x} \\\n  'é'\n  done\n\n# end  "
    assert run(f"%%enqueue --queue slow --max-retries 1\n{body}").command == body
    (job,) = q.list()
    assert (job.command, job.queue, job.max_retries) == (body, "slow", 1)
    assert run("%%enqueue\necho one\n").command == "echo one"


def test_many_makes_each_line_a_command_all_or_none(run, q):
    jobs = run("%%enqueue --many --tag batch\necho 1\n\n  echo '{2}'  \n{ echo 3; }")
    assert isinstance(jobs, AddedJobs) and [j.command for j in jobs] == [
        "echo 1",
        "  echo '{2}'  ",
        "{ echo 3; }",
    ]
    assert {j.tags.strip() for j in jobs} == {"batch"}
    with pytest.raises(InvalidValue, match="nothing was enqueued"):
        run("%%enqueue --many\necho 4\necho \0")
    assert len(q.list()) == 3


def test_a_cell_run_again_adds_its_job_once(run, shell, q, capsys, monkeypatch):
    class Kernel:
        cell = "c1"

        def get_parent(self):
            return {"metadata": {"cellId": self.cell}}

    monkeypatch.setattr(shell, "kernel", Kernel(), raising=False)
    first = run("%%enqueue\necho train")
    again = run("%%enqueue\necho train")
    assert again.id == first.id and len(q.list()) == 1
    assert f"This cell has added {first.id} (pending) before" in capsys.readouterr().out
    assert run("%%enqueue --again\necho train").id != first.id
    assert run("%%enqueue\necho train --lr 2").id != first.id  # another text is another job
    shell.kernel.cell = "c2"
    assert run("%%enqueue\necho train").id != first.id  # so is the same text in another cell
    assert (
        len(run("%%enqueue --many\ntrue\ntrue"))
        == len({j.id for j in run("%%enqueue --many\ntrue\ntrue\nfalse")}) - 1
    )


def test_json_csv_help_and_text_are_printed(run, q, capsys):
    q.enqueue("echo a", id="a")
    assert run("%queuectl list --json") is None
    assert json.loads(capsys.readouterr().out)["id"] == "a"
    run("%queuectl list --csv")
    assert capsys.readouterr().out.startswith("seq,id,command")
    run("%queuectl enqueue --help")
    assert "--max-retries" in capsys.readouterr().out
    run("%%enqueue --help\nignored")
    assert "--max-retries" in capsys.readouterr().out and len(q.list()) == 1
    run("%queuectl --version")
    assert capsys.readouterr().out.startswith("queuectl 0.")


def test_what_has_no_face_of_its_own_gets_one(run, q, start):
    assert repr(run("%queuectl config set max-retries 5")).startswith(
        "Configuration updated: max-retries = 5"
    )
    assert "max-retries" in run("%queuectl config get")._repr_html_()
    assert run("%queuectl workers")._repr_html_() == "<p>nothing</p>"
    job = q.enqueue("printf '\\033[31mred\\033[0m\\n<b>'; exit 1", max_retries=1)
    start("--drain")
    waited = run(f"%queuectl wait {job.id} --timeout 30")
    assert job.id in waited._repr_html_() and not waited
    result = run(f"%queuectl retry {job.id} --dry-run")
    assert isinstance(result, ActionResult) and "would be done" in result._repr_html_()


def test_output_is_printed_without_its_colours(run, q, start, capsys):
    job = q.enqueue("printf '\\033[31mred\\033[0m \\033]0;title\\007<b>\\n'")
    start("--drain")
    q.wait(job, timeout=30)
    capsys.readouterr()
    run(f"%queuectl logs {job.id}")
    out = capsys.readouterr().out
    assert out.startswith("red ") and "<b>" in out and "\x1b" not in out and "\x07" not in out


def test_workers_are_started_detached_and_stopped(run, q):
    try:
        assert len(run("%queuectl worker --detach -c 2").done) == 2
        assert "idle" in run("%queuectl workers")._repr_html_()
    finally:
        run("%queuectl worker --stop")
        from harness import await_true

        await_true(lambda: not q.workers())


def test_the_line_is_completed(shell):
    def at(text):
        return set(shell.complete(text.rpartition(" ")[2], text, len(text))[1])

    assert {"enqueue", "dlq", "config"} <= at("%queuectl ")
    assert at("%queuectl enq") == {"enqueue", "enqueue-many"}
    assert at("%queuectl list -s de") == {"dead"}
    assert at("%queuectl dlq ret") == {"retry"}
    assert at("%queuectl enqueue --max-r") == {"--max-retries"}


def test_a_terminal_shows_lists_as_the_command_line_does(shell, q):
    q.enqueue("echo a", id="a")
    text = shell.display_formatter.format(q.list())[0]
    assert "ID: a" in text["text/plain"] and "<table" in text["text/html"]


def test_ipython_is_imported_by_the_magics_alone(place):
    code = "import sys; from queuectl import Queue; q = Queue(sys.argv[1]); q.enqueue('true'); q.list(); import queuectl.panel; print('IPython' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
