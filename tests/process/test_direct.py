"""Plain commands without a shell: everything that can be told of a run is what it is with one."""

import os
import signal
import subprocess
import sys

import pytest
from harness import await_true, claimed, ended
from hypothesis import given
from hypothesis import strategies as st

from queuectl.executors import direct
from queuectl.executors.direct import Direct, last_words, words
from queuectl.executors.local import LocalExecutor

pytestmark = pytest.mark.process

PLAIN = ["ls -l", "date +%s%N", "python3 -m http.server --bind=127.0.0.1", "./a.sh x=1 y,z", "/usr/bin/env A=b", " ls\t-l ", "7z x a.7z"]  # fmt: skip
NOT_PLAIN = ["true", "echo hello", "a=1 env", "ls *", "ls ~", "ls a~", "cat < a", "ls | wc", "ls&", "ls;ls", "ls $HOME", "ls `ls`", "ls 'a'",
             'ls "a"', "ls \\a", "ls a#b", "# ls", "{ ls; }", "! ls", "if x", "( ls )", "ls\nls", "exec ls", ". ./a", "[ a ]", "ls a{b,c}", "", " ",
             "ls é", "a=b", "cd /", "test a", "kill 1", "wait", "command ls", "printf x", "[", "ls [a]", "ls ?", "setsid ls", "/usr/bin/setsid ls", "nice setsid ls", "ls a=~", "ls !x"]  # fmt: skip


@pytest.mark.parametrize("command", PLAIN)
def test_a_plain_command_is_its_words(command):
    assert words(command) == command.split()


@pytest.mark.parametrize("command", NOT_PLAIN)
def test_what_a_shell_must_read_is_left_to_it(command):
    assert words(command) is None


def test_all_words_of_the_shell_are_known():
    """Every word that this shell itself knows, of all that shells of its kind know, and of all that could be spelled with three letters."""
    others = "bind builtin caller declare dirs disown enable fc function help history let local logout mapfile popd pushd select shopt source suspend time typeset unlet printf which type newgrp sleep chown hist"
    letters = "abcdefghijklmnopqrstuvwxyz"
    short = [*letters, *(a + b for a in letters for b in letters)]
    asked = sorted(direct.OF_THE_SHELL | set(others.split()) | set(short))
    script = 'for w in "$@"; do [ "$(command -v -- "$w")" = "$w" ] && echo "$w"; done; true'
    told = subprocess.run([direct.SHELL, "-c", script, "sh", *asked], capture_output=True, text=True, check=True)  # fmt: skip
    assert set(told.stdout.split()) <= direct.OF_THE_SHELL


WORDS = st.lists(st.text("abzAZ09_./+,:@%=-", min_size=1, max_size=6), min_size=1, max_size=5)


@given(WORDS)
def test_the_shell_reads_the_same_words(found):
    command = "./show " + " ".join(found)
    assert words(command) == ["./show", *found]
    show = 'show() { for w in "$@"; do printf "%s\\n" "$w"; done; }'
    read = subprocess.run([direct.SHELL, "-c", f"{show}; {command[2:]}"], capture_output=True, text=True, check=True)  # fmt: skip
    assert read.stdout.split("\n")[:-1] == found


# --- both ways, in one executor each ---


@pytest.fixture
def place(tmp_path):
    def script(name, text, mode=0o755):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)

    script("dies", "#!/bin/sh\nkill -$1 $$\n")
    script("without-a-first-line", "echo $0 $1\n")
    script("refused", "#!/bin/sh\n", mode=0o644)
    script("bad-interpreter", "#!/no/such/thing\n")
    script("show", f"#!{sys.executable}\nimport os,sys\nprint(sys.argv, os.getcwd(), os.getpgid(0) == os.getsid(0))\n")  # fmt: skip
    script("exits", "#!/bin/sh\necho out; echo err >&2; exit $1\n")
    script("signals", f"#!{sys.executable}\nimport signal\nprint([signal.getsignal(s) for s in sorted(signal.valid_signals())], signal.pthread_sigmask(0, []))\n")  # fmt: skip
    script("handles", f"#!{sys.executable}\nimport os\nprint(sorted(os.listdir('/proc/self/fd')), [os.readlink(f'/proc/self/fd/{{n}}') == '/dev/null' for n in (0,)])\n")  # fmt: skip
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    return tmp_path


def _executor(folder, monkeypatch, *, shell):
    with monkeypatch.context() as patch:
        if shell:
            patch.setattr("queuectl.executors.local.Direct", lambda _: None)
        return LocalExecutor(["w1"], folder=str(folder), database="x", output_cap=1 << 20)


def _run(executor, command, cwd, run):
    executor.submit([claimed(command, run=run, cwd=str(cwd))])
    end = ended(executor)
    return end.exit_code, end.signal, end.spawn_error, end.stdout, end.stderr


def _close(executor):
    await_true(lambda: not executor.poll() and not executor.running(), what="an idle executor")
    executor.close()


COMMANDS = ["./exits 0", "./exits 3", "./exits 255", "no-such-command -x", "./no-such-file", "./refused", "./bad-interpreter", "./folder", "./without-a-first-line a", "/tmp",
            *(f"./dies {s}" for s in ("TERM", "KILL", "INT", "HUP", "PIPE", "SEGV", "USR1", "ABRT", "ALRM", "QUIT")),
            "./show a b=c +%s", "env", "cat /proc/self/cmdline", "pwd -P", "printenv PWD", "./signals", "./handles", "ls /no/such", "sort -k", "nice -n 3 ./exits 4"]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [{}, {"PWD": "/wrong"}, {"OLDPWD": "/x", "SHLVL": "4", "_": "/y"}, {"a.b": "1", "BASH_FUNC_x%%": "() { :; }"}, {"IFS": ":"}, {"PPID": "1"},
     {"PATH": ""}, {"PATH": ".:/usr/bin"}, {"OPTIND": "5"}, {"PATH": "/no/such:/usr/local/bin:/usr/bin:/bin"}],
    ids=lambda odd: ",".join(odd) or "as it is",
)  # fmt: skip
def test_a_run_is_the_same_with_and_without_a_shell(place, monkeypatch, odd):
    for name, value in odd.items():
        monkeypatch.setenv(name, value)
    ways = [_executor(place / f"logs{n}", monkeypatch, shell=n == 1) for n in range(2)]
    try:
        for run, command in enumerate(COMMANDS, 1):
            for cwd in (place, place / "link") if command in ("env", "printenv PWD", "pwd -P") else (place,):
                one, two = (_run(e, command, cwd, run) for e in ways)
                if command == "env":
                    one, two = ((*r[:3], sorted(_plain(r[3])), r[4]) for r in (one, two))
                assert one == two, command
    finally:
        for executor in ways:
            _close(executor)


def _plain(output):
    return [line for line in output.splitlines() if not line.startswith(b"QUEUECTL_RESULT=")]


def test_it_is_indeed_without_a_shell(place, monkeypatch):
    """Where the shell is dash, as on Debian; elsewhere commands keep theirs."""
    executor = _executor(place / "logs", monkeypatch, shell=False)
    with_shell = _executor(place / "logs2", monkeypatch, shell=True)
    (place / "parent").write_text(f"#!{sys.executable}\nimport os\nprint(os.getppid())\n")
    (place / "parent").chmod(0o755)
    is_dash = os.path.basename(os.path.realpath(direct.SHELL)) == "dash"
    found = _run(executor, "./parent", place, 1)[3]
    assert (found == b"%d\n" % os.getpid()) is is_dash
    assert _run(executor, "./parent;", place, 2)[3] != b"%d\n" % os.getpid()
    assert _run(with_shell, "./parent", place, 1)[3] != b"%d\n" % os.getpid()
    for one in (executor, with_shell):
        _close(one)


def test_a_folder_that_has_moved_is_called_by_its_new_name(place, monkeypatch):
    """The name of the folder is asked for at each start, not remembered."""
    monkeypatch.delenv("PWD", raising=False)
    executor = _executor(place / "logs", monkeypatch, shell=False)
    assert _run(executor, "printenv PWD", place / "link", 1)[3] == f"{place}/folder\n".encode()
    (place / "folder").rename(place / "other")
    (place / "link").unlink()
    (place / "link").symlink_to(place / "other")
    assert _run(executor, "printenv PWD", place / "link", 2)[3] == f"{place}/other\n".encode()
    _close(executor)


def test_an_own_environment_goes_by_the_shell(place, monkeypatch):
    executor = _executor(place / "logs", monkeypatch, shell=False)
    executor.submit([claimed("printenv A", cwd=str(place), env='{"A": "b"}')])
    assert ended(executor).stdout == b"b\n"
    _close(executor)


@pytest.mark.parametrize(
    "trial",
    ["cat /proc/self/stat", "no-such-command", "env -i cat /proc/self/environ /proc/self/stat"],
)
def test_a_trial_that_shows_anything_else_leaves_all_to_the_shell(place, monkeypatch, trial):
    monkeypatch.setattr(direct, "TRIAL", trial)
    executor = _executor(place / "logs", monkeypatch, shell=False)
    (place / "parent").write_text(f"#!{sys.executable}\nimport os\nprint(os.getppid())\n")
    (place / "parent").chmod(0o755)
    code, _, _, out, _ = _run(executor, "./parent", place, 1)
    assert code == 0 and out != b"%d\n" % os.getpid()
    _close(executor)


def test_a_run_that_we_stop_died_of_its_signal(place, monkeypatch):
    executor = _executor(place / "logs", monkeypatch, shell=False)
    executor.submit([claimed("sleep 60")])
    await_true(lambda: executor.slots[0].pid, what="the start")
    executor.stop((1, 1), "cancel", kill_after_ms=5000)
    end = ended(executor)
    assert (end.exit_code, end.signal, end.stopped, end.stderr) == (None, signal.SIGTERM, "cancel", b"")  # fmt: skip
    _close(executor)


def _listen():
    """Ignore no signal, whatever the tests before this one left behind."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def test_last_words_are_those_of_the_shell():
    stay = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
    for number in (s for s in signal.Signals if s.name not in stay):
        script = f"ulimit -c 0; {direct.SHELL} -c 'kill -{int(number)} $$'; exit $?"
        shell = subprocess.run([direct.SHELL, "-c", script], capture_output=True, check=False, preexec_fn=_listen)  # fmt: skip
        assert (shell.returncode, shell.stderr) == (128 + number, last_words(int(number)))
    assert last_words(signal.SIGSEGV | 0x80) == b"Segmentation fault (core dumped)\n"


def test_where_the_shell_or_the_path_is_another_nothing_is_tried(tmp_path):
    other = tmp_path / "sh"
    other.symlink_to("/bin/bash")
    never = lambda: pytest.fail("a trial")  # noqa: E731
    path = {"PATH": "/usr/bin:/bin"}
    assert not Direct(path, shell=str(other)).is_exact(never)
    for odd in ("", ".", "/bin:", "/bin:bin", "/usr/bin:/a%b"):
        assert not Direct({"PATH": odd}).is_exact(never)
    assert not Direct({}).is_exact(never)
