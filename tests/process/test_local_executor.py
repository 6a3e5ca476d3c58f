"""The local executor by itself: what it tells, and when."""

import pytest
from harness import await_true

from queuectl.executors.local import LocalExecutor
from queuectl.lifecycle import Claimed

pytestmark = pytest.mark.process


def job(command, **changes):
    base = Claimed(
        1,
        "j",
        1,
        command,
        "default",
        0,
        0,
        3,
        0,
        None,
        10_000,
        None,
        "fixed",
        1.0,
        1000,
        0.0,
        None,
        None,
        0,
        "/",
        None,
    )
    return base._replace(**changes)


@pytest.fixture
def executor(tmp_path):
    told = []

    def started(_slot, claimed, pid, _worker):
        told.append((claimed.id, pid, (tmp_path / "ran").exists()))

    made = LocalExecutor(
        ["w1"], folder=str(tmp_path / "logs"), database="x", output_cap=1 << 20, started=started
    )
    made.told = told
    yield made
    await_true(lambda: not made.poll() and not made.running(), what="an idle executor")
    made.close()


def ended(executor):
    done = []
    await_true(lambda: done.extend(executor.poll()) or done, what="the end of the run")
    return done[0].ended


def test_a_start_is_told_before_the_command_can_do_anything(executor, tmp_path):
    executor.submit([job(f"touch {tmp_path}/ran")])
    assert ended(executor).exit_code == 0
    assert executor.told[0] == ("j", 0, False)
    assert executor.told[1][1] > 0


def test_a_command_that_cannot_be_started_says_why(executor):
    executor.submit([job("true", cwd="/nowhere/at/all")])
    assert ended(executor).spawn_error == "No such file or directory: /nowhere/at/all"


def test_what_is_not_started_can_be_taken_back_and_the_count_stays_true(executor, tmp_path):
    gate = tmp_path / "gate"
    executor.submit([job(f"while ! test -e {gate}; do sleep 0.01; done"), job("true", seq=2, id="k")])
    await_true(lambda: executor.running(), what="the first job")
    assert [j.id for j in executor.withdraw()] == ["k"]
    assert executor.in_flight() == 1
    gate.touch()
    assert ended(executor).exit_code == 0
    assert executor.in_flight() == 0
