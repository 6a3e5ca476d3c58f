"""In a real kernel: workers outlive whatever happens to it, an interrupt leaves jobs alone, errors are one line."""

import os

import pytest
from harness import await_true

from queuectl.errors import WaitTimeout
from queuectl.queue import Queue


@pytest.fixture
def queue(place):
    """The test's own view of the queue; workers left at the end are killed."""
    made = Queue(place)
    yield made
    made.stop_workers(now=True)
    await_true(lambda: not made.workers())
    made.close()


def begin(place):
    return f"from queuectl import Queue\nq = Queue({str(place)!r})\n"


def works(queue):
    """Whether a job enqueued now is run."""
    return queue.wait(queue.enqueue("true"), timeout=20)


def environment(pid):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return dict(item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item)


@pytest.mark.parametrize("from_thread", [False, True], ids=["cell", "thread"])
def test_workers_outlive_interrupt_restart_and_shutdown(kernel, queue, place, from_thread):
    start = "started = [w.id for w in q.start_workers(2)]"
    if from_thread:  # as a click in a widget does; the thread is gone when the kernel goes on
        start = f"import threading\nt = threading.Thread(target=lambda: exec({start!r}, globals()))\nt.start(); t.join()"
    status, out, _, trace = kernel.run(begin(place) + start + "\nprint(*started)")
    assert status == "ok", trace
    ids = set(out.split())
    found = queue.workers()
    assert {w.id for w in found} == ids and len(ids) == 2 and works(queue)
    runner = found[0].pid
    kernel_pid = int(kernel.run("import os; print(os.getpid())")[1])
    assert os.getsid(runner) != os.getsid(kernel_pid)
    assert not any(
        name.startswith(b"JPY_") or name in (b"MPLBACKEND", b"FORCE_COLOR", b"PAGER")
        for name in environment(runner)
    )

    asked = begun(
        kernel,
        f"import time\nopen({str(place.parent / 'begun')!r}, 'w').close()\nwhile True: time.sleep(0.01)",
        place.parent / "begun",
    )
    kernel.interrupt()
    assert await_reply(kernel, asked)["ename"] == "KeyboardInterrupt" and works(queue)

    kernel.restart()
    status, out, _, trace = kernel.run(begin(place) + "print(*(w.id for w in q.workers()))")
    assert set(out.split()) == ids and works(queue), trace

    kernel.shutdown()
    assert {w.id for w in queue.workers()} == ids and works(queue)


def test_an_interrupted_wait_leaves_the_job_running(kernel, queue, place, tmp_path):
    gate = tmp_path / "gate"
    kernel.run(begin(place) + "q.start_workers(1)\n%load_ext queuectl")
    job = queue.enqueue(f"until test -e {gate}; do sleep 0.05; done")
    await_true(lambda: queue.show(job.id).job.state == "processing")
    for n, (cell, what) in enumerate(
        (("q.wait()", "KeyboardInterrupt"), ("%queuectl wait", "queuectl: interrupted; the jobs go on"))
    ):
        kernel.run(TELL.format(mark=str(tmp_path / f"waits{n}")))
        asked = begun(kernel, cell, tmp_path / f"waits{n}")
        kernel.interrupt()
        reply = await_reply(kernel, asked)
        assert reply["status"] == "error" and what in "\n".join(reply["traceback"])
    assert queue.show(job.id).job.state == "processing"
    gate.touch()
    assert queue.wait(job, timeout=20)


# The first nap inside the wait makes a file: an interrupt from then on hits the wait.
TELL = """
import time, types, queuectl.queue._waiting as waiting
def nap(seconds):
    open({mark!r}, 'w').close()
    time.sleep(seconds)
waiting.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=nap)
"""


def begun(kernel, cell, mark):
    """Start a cell that makes the file `mark`; return what was asked once it is there."""
    asked = kernel.send(cell)
    await_true(mark.exists)
    return asked


def await_reply(kernel, asked):
    while True:
        message = kernel.client.get_shell_msg(timeout=30)
        if message["parent_header"].get("msg_id") == asked:
            return message["content"]


def test_an_error_of_a_magic_is_one_line_and_stops_run_all(kernel, place):
    kernel.run(begin(place) + "%load_ext queuectl")
    status, _, _, trace = kernel.run("%queuectl show nope")
    assert status == "error" and trace == ["queuectl: job nope: no job has this id (see `queuectl list`)"]


def test_records_show_as_tables_and_a_wait_as_a_bar(kernel, place, queue):
    kernel.run(begin(place) + "%load_ext queuectl")
    assert queue.list() == []
    _, _, shown, _ = kernel.run("%%enqueue\nsleep 0.7; echo '<b>done</b>'\n")
    assert "<table" in shown["text/html"] and "&lt;b&gt;" in shown["text/html"]
    kernel.run("q.start_workers(1)")
    _, _, shown, trace = kernel.run("await q.wait_async()")
    assert "1 completed" in shown["text/html"], trace
    assert "application/vnd.jupyter.widget-view+json" in shown  # tqdm's bar


def test_stopping_can_wait_until_the_workers_are_gone(q):
    (worker,) = q.start_workers(1)
    gate = q.path + ".gate"
    job = q.enqueue(f"until test -e {gate}; do sleep 0.05; done")
    await_true(lambda: q.show(job.id).job.state == "processing")
    with pytest.raises(WaitTimeout, match="not gone after"):
        q.stop_workers(wait=0.1)
    open(gate, "w").close()
    assert q.stop_workers(wait="20s").done == (worker.id,) and q.workers() == []
