"""Jobs whose worker died under them are suspects: claimed only by a runner that has nothing else."""

import os

import pytest

from queuectl import processes
from queuectl.store.workers import Runner


@pytest.mark.parametrize("queues", [1, 2])
def test_a_suspect_is_never_claimed_together_with_others(q, queues):
    jobs = [q.enqueue("true", queue=f"q{n % queues}") for n in range(6)]
    line, now = q._store.line, processes.now_ms()
    me = Runner(
        "r",
        processes.host(),
        processes.boot_id(),
        os.getpid(),
        processes.start_ticks(os.getpid()),
        processes.mono_ms(),
    )
    with q._store.write() as sql:
        q._store.workers.register(["w"], me, queues=None, now_ms=now)
        sql.execute("update jobs set interruptions = 1 where seq <= 2")
        assert {j.seq for j in line.claim("w", 10, queues=None, now_ms=now)} == {3, 4, 5, 6}
        assert line.suspects(None) == 2
        assert [j.id for j in line.claim_suspect("w", queues=None, now_ms=now)] == [jobs[0].id]
        assert [j.id for j in line.claim_suspect("w", queues=None, now_ms=now)] == [jobs[1].id]
