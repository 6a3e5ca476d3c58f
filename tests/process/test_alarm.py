"""What wakes a runner: the commits of others, also one that comes in the same moment as its own, but not its own."""

import os

import pytest

from queuectl.board import Board
from queuectl.runner import Options, Runner
from queuectl.wakeup import Alarm


@pytest.fixture
def runner(q):
    q.status()
    found = Runner(Options(q.path), Board(1))
    ends = os.eventfd(0)
    found.alarm = Alarm(q.path + "-wal", ends=ends)
    found.version = found.store.connection.data_version()
    found.alarm.seen()
    yield found
    found.alarm.close()
    os.close(ends)
    found.store.close()


def commit(runner):
    with runner.store.write():
        runner.store.settings.signal("test", "", now_ms=1)


def test_a_runner_is_not_woken_by_what_it_commits_itself(runner):
    commit(runner)
    runner._forget_own()
    assert runner.alarm.due_s() is None
    assert runner.alarm._poller.poll(0) == []


def test_a_commit_that_comes_with_its_own_is_looked_at_at_once(runner, q):
    commit(runner)
    q.enqueue("true")  # its notice waits beside that of the runner's own commit, and is thrown away with it
    runner._forget_own()
    assert runner.alarm.due_s() == 0
