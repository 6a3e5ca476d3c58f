"""The local executor by itself: what it tells, and when."""

import json
import os
import signal

import pytest
from harness import await_true, claimed, ended

from queuectl.executors.local import LocalExecutor
from queuectl.executors.spawn import CannotStart, Forker, Spawner

pytestmark = pytest.mark.process


@pytest.fixture
def executor(tmp_path):
    told = []

    def started(slot, job, worker):
        told.append((slot, job.id, worker, made.slots[0].pid, (tmp_path / "ran").exists()))

    made = LocalExecutor(
        ["w1"], folder=str(tmp_path / "logs"), database="x", output_cap=1 << 20, started=started
    )
    made.told = told
    yield made
    await_true(lambda: not made.poll() and not made.running(), what="an idle executor")
    made.close()


def test_a_start_is_told_before_the_command_can_do_anything(executor, tmp_path):
    executor.submit([claimed(f"touch {tmp_path}/ran")])
    assert ended(executor).exit_code == 0
    assert executor.told == [(0, "j", "w1", 0, False)]


def test_a_command_that_cannot_be_started_says_why(executor):
    executor.submit([claimed("true", cwd="/nowhere/at/all")])
    assert ended(executor).spawn_error == "No such file or directory: /nowhere/at/all"


def test_what_is_not_started_can_be_taken_back_and_the_count_stays_true(executor, tmp_path):
    gate = tmp_path / "gate"
    executor.submit([claimed(f"while ! test -e {gate}; do sleep 0.01; done"), claimed("true", seq=2, id="k")])
    await_true(lambda: executor.running(), what="the first job")
    assert [j.id for j in executor.withdraw()] == ["k"]
    assert executor.in_flight() == 1
    gate.touch()
    assert ended(executor).exit_code == 0
    assert executor.in_flight() == 0


ODD_RESULTS = {
    "a folder": "mkdir $QUEUECTL_RESULT && touch $QUEUECTL_RESULT/x",
    "a FIFO": "mkfifo $QUEUECTL_RESULT",
    "a link to nothing": "ln -s /nowhere $QUEUECTL_RESULT",
    "a link to a secret": "ln -s /etc/passwd $QUEUECTL_RESULT",
    "a folder that cannot be emptied": "mkdir -p $QUEUECTL_RESULT/a/b && chmod 0 $QUEUECTL_RESULT/a",
    "no text": "printf '\\377\\376' > $QUEUECTL_RESULT",
    "too much": "head -c 2000000 /dev/zero | tr '\\0' 1 > $QUEUECTL_RESULT",
    "depth": "printf '%0100000d' 0 | tr 0 '[' > $QUEUECTL_RESULT",
}


@pytest.mark.parametrize("odd", ODD_RESULTS)
def test_an_odd_thing_in_the_results_place_is_no_result_and_leaves_the_slot_whole(executor, odd):
    executor.submit([claimed(ODD_RESULTS[odd])])
    first = ended(executor)
    assert (first.exit_code, first.result) == (0, None)
    executor.submit([claimed("echo '{\"a\": 1}' > $QUEUECTL_RESULT", seq=2, id="k")])
    assert json.loads(ended(executor).result) == {"a": 1}


@pytest.fixture(params=[Spawner, Forker])
def spawn(request, tmp_path):
    """Run a command with each way to start one; return its exit code and output."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    spawner = request.param(stdin=null, environment={"PATH": os.environ["PATH"], "BASE": "1"}, names=["OWN"])

    def run(command, *, cwd="/", own="x", extra=None):
        out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        pid = spawner.start(command, stdout=out, stderr=out, cwd=cwd, values=[own], extra=extra)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        text = (tmp_path / "out").read_text()
        os.close(out)
        return pid, code, text

    run.way = request.param
    yield run
    spawner.close()
    os.close(null)


def test_a_spawned_command_has_its_folder_its_session_and_its_own_environment(spawn, tmp_path):
    _, code, text = spawn("pwd; echo $BASE $OWN; exit 7", cwd=str(tmp_path), own="ä b")
    assert (code, text) == (7, f"{tmp_path}\n1 ä b\n")
    pid, _, text = spawn("exec cut -d' ' -f1,5,6 /proc/self/stat")
    assert set(text.split()) == {str(pid)}
    assert spawn("echo $BASE$OWN$MORE", extra={"BASE": "2", "MORE": "=3", "OWN": ""})[2] == "2=3\n"
    assert spawn("cat; echo end")[2] == "end\n"


def test_a_command_that_looks_like_a_flag_is_a_command(spawn):
    assert spawn("-c")[1] == 127


def test_a_spawned_command_finds_signals_as_a_shell_finds_them(spawn):
    old = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGPIPE, signal.SIGINT, signal.SIGUSR1)}
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        text = spawn("grep -E '^Sig(Blk|Ign)' /proc/self/status")[2]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        for number, handler in old.items():
            signal.signal(number, handler)
    blocked, ignored = (int(line.split()[1], 16) for line in text.splitlines())
    pipe = 1 << (signal.SIGPIPE - 1)
    assert ignored & pipe == 0
    assert blocked == 0 or spawn.way is Forker  # subprocess has no means to unblock


@pytest.mark.parametrize(
    ("cwd", "command", "culprit"),
    [
        ("/nowhere", "true", "No such file or directory: /nowhere"),
        ("/dev/null", "true", "Not a directory: /dev/null"),
        ("/", "x" * 200_000, "Argument list too long: /bin/sh"),
    ],
)
def test_what_cannot_be_spawned_names_the_culprit(spawn, cwd, command, culprit):
    with pytest.raises(CannotStart) as refused:
        spawn(command, cwd=cwd)
    assert f"{refused.value.strerror}: {refused.value.filename}" == culprit
