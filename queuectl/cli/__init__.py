"""The command line: the public methods of `Queue`, bound by Fire, run once every word is understood."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from queuectl.errors import QueuectlError

if TYPE_CHECKING:
    from queuectl.cli.argv import Request

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(
    argv: Sequence[str] | None = None,
    *,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    api: type | None = None,
) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: The words after `queuectl`; `sys.argv[1:]` by default.
        stdout: Where results go; the process's own by default.
        stderr: Where errors and remarks go; the process's own by default.
        api: The class whose public methods are the commands; `Queue` by default.

    Returns:
        0 done, 1 a run-time fault, 2 usage or bad value, 3 nothing matched, 4 timed out waiting,
        5 refused because of a conflicting state.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    with ExitStack() as streams:
        if stdout is not None:
            streams.enter_context(redirect_stdout(stdout))
        if stderr is not None:
            streams.enter_context(redirect_stderr(stderr))
        return _guarded(words, api, lean=argv is None)


def _guarded(words: list[str], api: type | None, *, lean: bool) -> int:
    """Run the words; every error becomes one line and an exit code."""
    try:
        code = _run(words, api or _queue_class(lean))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop(sys.stdout)  # the reader has seen enough
        return 0
    except KeyboardInterrupt:
        _drop(sys.stdout)
        return INTERRUPTED
    except QueuectlError as e:
        return _complain(str(e), e.exit_code)
    except OSError as e:
        if _is_about_stdout(e):
            _drop(sys.stdout)
            return _complain(
                f"standard output: {e.strerror}; what was asked for was done, but not all of it is shown", 1
            )
        return _complain(f"{e.filename}: {e.strerror}" if e.filename else str(e), 1)
    except Exception as e:
        return _complain(f"unexpected {type(e).__name__}: {e} (QUEUECTL_TRACEBACK=1 shows where)", 1)


def _run(words: list[str], api: type) -> int:
    from queuectl.cli.argv import understand
    from queuectl.cli.table import functions

    known = functions(api)
    request = understand(words, known)
    if request.help:
        from queuectl.cli.help import page

        sys.stdout.write(page(request.path, known))
    elif request.version:
        from queuectl import __version__

        sys.stdout.write(f"queuectl {__version__}\n")
    elif request.command is None:
        from queuectl.cli.completion import script

        sys.stdout.write(script(request.options["words"], known))
    else:
        return _call(request, api)
    return 0


def _queue_class(lean: bool) -> type:
    from queuectl.queue import command_line

    return command_line(lean=lean)


def _call(request: Request, api: type) -> int:
    from queuectl.cli.binding import bind
    from queuectl.cli.render import exit_code, render

    assert request.command is not None
    call = bind(request.command, request.options)
    queue = api(request.db) if request.db is not None else api()
    try:
        result = call.on(queue)
        render(result, request.form, sys.stdout, sys.stderr, declared=request.command.returns)
    finally:
        getattr(queue, "close", _nothing)()
    return exit_code(result)


def _nothing() -> None:
    """Stand in for `close` where there is none."""


def _complain(message: str, code: int) -> int:
    """Print one line on stderr, with QUEUECTL_TRACEBACK set also where it arose; return the exit code."""
    from queuectl.display import escape_terminal, mask_secrets

    try:
        if os.environ.get("QUEUECTL_TRACEBACK"):
            import traceback

            sys.stderr.write(escape_terminal(mask_secrets(traceback.format_exc()), multiline=True))
        sys.stderr.write(f"queuectl: {escape_terminal(mask_secrets(message))}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _drop(sys.stderr)  # nobody listens; the exit code tells
    return code


def _is_about_stdout(error: OSError) -> bool:
    """Whether writing the output failed, rather than the work."""
    import errno

    return error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)


def _drop(stream: Any) -> None:
    """Send what is still buffered nowhere, so that the interpreter's last flush is quiet."""
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass
