"""The process behind `queuectl` and `python -m queuectl`."""

import contextlib
import gc
import os
import sys


def run() -> int:
    """Run the command line of this process and return its exit code."""
    gc.set_threshold(200_000)  # starting makes objects, not garbage
    for number in (0, 1, 2):
        _open_if_closed(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # LANG=C and an emoji
    try:
        from queuectl.cli import main

        return main()
    except KeyboardInterrupt:  # while still importing
        return 130


def program() -> int:
    """Run the command line and end the process at once: taking the interpreter apart costs 5 ms. Where somebody follows it, a profiler say, return the code."""
    code = run()
    if sys.gettrace() is None and sys.getprofile() is None and _is_alone():
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    gc.freeze()  # the interpreter's last collection then has nothing to look through
    return code


def _is_alone() -> bool:
    """Whether no other thread of ours goes on."""
    return "threading" not in sys.modules or sys.modules["threading"].active_count() == 1


def _open_if_closed(number: int) -> None:
    """Keep the standard descriptors taken: the next file opened, the database, must not get one."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


if __name__ == "__main__":
    sys.exit(program())
