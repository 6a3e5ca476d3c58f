"""What a job leaves behind dies with it: children of every kind, whichever way the job ends."""

import pytest
from harness import await_true, job_processes
from storm import CHILDREN

from queuectl.model import FINAL, State

pytestmark = pytest.mark.process

KINDS = {
    **{name: command for name, command in CHILDREN.items() if command},
    "holds the output": "(trap '' HUP; sleep 900; echo late) &",
}
ENDS = {
    "success": ("sleep 0.05; exit 0", State.COMPLETED, None),
    "failure": ("sleep 0.05; exit 3", State.DEAD, "exit status 3"),
    "timeout": (
        "trap '' TERM; while :; do sleep 0.1; done",
        State.DEAD,
        "timed out after 0.5 s (attempt 1 of 1)",
    ),
}


def test_seven_kinds_of_children_survive_none_of_three_ends(q, start):
    assert len(KINDS) == 7
    jobs = {
        (kind, end): q.enqueue(
            f"{children}\n{command}", max_retries=1, timeout=0.5 if end == "timeout" else 60, kill_after=0.3
        )
        for kind, children in KINDS.items()
        for end, (command, _, _) in ENDS.items()
    }
    worker = start("-c", "3", "-s", "1")
    await_true(lambda: all(q.show(j.id).job.state in FINAL for j in jobs.values()), 60, "the end of all")
    # An end is recorded when nothing of the job lives, not some time before.
    assert job_processes(q.path) == []
    assert worker.poll() is None
    for (kind, end), job in jobs.items():
        found = q.show(job.id).job
        assert (found.state, found.reason) == ENDS[end][1:], (kind, end)
