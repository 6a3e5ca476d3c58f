"""`await q.wait_async(…)`: the loop goes on, cancelling is clean, and a bar shows where somebody looks."""

import asyncio
import io
import os
import sys
import threading
import time

import pytest
from harness import await_true

from queuectl import progress
from queuectl.errors import InvalidValue, JobNotFound, WaitTimeout


def looking():
    return [t for t in threading.enumerate() if t.name == "queuectl-wait"]


def files_of(place):
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return sum(f == str(place) for f in found)


def test_it_returns_how_the_jobs_ended(q, start):
    good, bad = q.enqueue("true"), q.enqueue("exit 3", max_retries=1)
    start("--drain")
    result = asyncio.run(q.wait_async(good, bad.id, timeout=30, progress=False))
    assert not result and result.failed == (bad.id,) and result.states[good.id] == "completed"


def test_the_loop_goes_on_meanwhile(q):
    job = q.enqueue("true")
    turns = []

    async def main():
        waiting = asyncio.ensure_future(q.wait_async(job, timeout=30))
        while not looking():
            await asyncio.sleep(0)
        for n in range(200):
            turns.append(n)
            await asyncio.sleep(0)
        assert not waiting.done()
        q.cancel(job)
        return await waiting

    assert asyncio.run(main()).failed == (job.id,) and len(turns) == 200


def test_several_waits_at_once_each_get_their_own(q):
    jobs = [q.enqueue("true") for _ in range(20)]

    async def main():
        waits = [asyncio.ensure_future(q.wait_async(j, timeout=30)) for j in jobs]
        await asyncio.sleep(0)
        for j in jobs:
            q.cancel(j)
        return await asyncio.gather(*waits)

    assert [list(r.states) for r in asyncio.run(main())] == [[j.id] for j in jobs]
    await_true(lambda: not looking())


def test_cancelling_leaves_the_job_alone_and_nothing_behind(q, place):
    job = q.enqueue("true")
    files = files_of(place)

    async def main():
        waiting = asyncio.ensure_future(q.wait_async(job))
        while not looking():
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    for _ in range(5):
        asyncio.run(main())
        await_true(lambda: not looking())
    # SQLite keeps one closed connection's file for reuse while another one of the process holds a lock on it.
    assert files_of(place) <= files + 1 and q.show(job.id).job.state == "pending"


def test_time_out_and_mistakes_are_raised_where_it_is_awaited(q):
    job = q.enqueue("true")
    with pytest.raises(WaitTimeout, match="1 of 1 jobs had not ended"):
        asyncio.run(q.wait_async(job, timeout=0.05))
    with pytest.raises(JobNotFound):
        asyncio.run(q.wait_async("notthere"))
    with pytest.raises(InvalidValue):
        asyncio.run(q.wait_async(job, timeout="soon"))
    await_true(lambda: not looking())


def test_an_empty_selection_waits_for_nothing(q):
    q.enqueue("true")
    assert asyncio.run(q.wait_async([], timeout=5)).states == {}
    assert q.wait([], timeout=5).states == {}


def test_a_bar_says_how_many_have_ended_and_how_many_not_well(q, monkeypatch):
    monkeypatch.setattr(progress, "DELAY_S", 0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    jobs = [q.enqueue("true") for _ in range(3)]

    async def main():
        waiting = asyncio.ensure_future(q.wait_async(jobs, progress=True))
        while not looking():
            await asyncio.sleep(0)
        for j in jobs:
            q.cancel(j)
        return await waiting

    asyncio.run(main())
    assert "3/3" in sys.stderr.getvalue() and "3 not completed" in sys.stderr.getvalue()


def test_nobody_looking_means_no_bar_and_no_tqdm(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = progress.bar(10, label="waiting")
    bar.update()
    bar.to(10, "x")
    bar.close()
    assert sys.stderr.getvalue() == "" and not progress.is_looked_at()


def test_waiting_costs_little(q):
    job = q.enqueue("true")

    async def main():
        with pytest.raises(WaitTimeout):
            await q.wait_async(job, timeout=1)

    before = time.process_time()
    asyncio.run(main())
    assert time.process_time() - before < 0.5  # it naps; it does not spin
