"""Magics for IPython and notebooks: `%queuectl` is the command line in a cell, `%%enqueue` makes a cell's text a job.

    %load_ext queuectl
    %queuectl list -s dead
    %queuectl retry {dead}

Both run in this process on the same table of commands as the shell's `queuectl`, and return the record, so that it shows as what it is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic import cell_magic as _cell_magic

from queuectl import selection
from queuectl.answers import JobDetails, Status, WaitResult
from queuectl.cli import binding, help, records, render, table
from queuectl.cli.argv import Request, understand
from queuectl.cli.cells import local, span
from queuectl.cli.completion import candidates, script
from queuectl.errors import InvalidValue, QueuectlError
from queuectl.html import table as html_table
from queuectl.model import JobList
from queuectl.queue import Queue
from queuectl.queue._adding import AddedJobs

_NAME = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_COLOURS = re.compile(rb"\x1b\[[0-9;:]*m")
Frames = list[tuple[list[str], Any]]  # a variable that stands for several jobs: their ids, and its value
_OWN_FLAGS = ("--many", "--again")
_PLAIN = (
    AddedJobs,
    JobDetails,
    JobList,
    Status,
    WaitResult,
)  # shown as the command line does where there is no HTML


class _InNotebook(Queue):
    _actor = "notebook"


@magics_class
class QueueMagics(Magics):
    """The magics of one IPython shell."""

    @no_var_expand
    @line_magic
    def queuectl(self, line: str) -> Any:
        """Run one queuectl command: `%queuectl list -s dead`, `%queuectl help`.

        It acts on the notebook's `q` where that is a Queue, else on $QUEUECTL_DB or data/queue.db; `--db PATH` overrides both. A word that is
        exactly `{name}` or `{name.attribute}` stands for that variable: text, a number, a job, or several jobs as a list or a frame. Everything
        else is taken as it stands.
        """
        with _one_line_errors():
            words, frames = self._words(line)
            return self._run(understand(words, _functions()), frames)

    @no_var_expand
    @_cell_magic
    def enqueue(self, line: str, cell: str) -> Any:
        """Enqueue the cell's text as one command, byte for byte; the flags are those of `queuectl enqueue`.

        `--many` makes each line that is not blank a command of its own. Running the cell again (as Run All does) gives the jobs it has added
        before; `--again` adds them once more.
        """
        with _one_line_errors():
            words, frames = self._words(line)
            own = [w for w in words if w in _OWN_FLAGS]
            words = [w for w in words if w not in _OWN_FLAGS]
            many = "--many" in own
            text = cell.removesuffix("\n")  # IPython's own, which ends every cell with one
            commands = [part for part in text.split("\n") if part.strip()] if many else [text]
            if not "".join(commands).strip():
                raise InvalidValue("%%enqueue: expected a command in the cell, got nothing")
            requests = [understand(["enqueue", f"--command={c}", *words], _functions()) for c in commands]
            if requests[0].help:
                return self._run(requests[0], frames)
            return self._add(requests, many=many, again="--again" in own)

    # --- what was typed ---

    def _words(self, line: str) -> tuple[list[str], Frames]:
        """Return the line's words with `{name}` filled in, and the values that became several words, or none."""
        try:
            typed = shlex.split(line)
        except ValueError as e:
            raise InvalidValue(f"{line.strip()}: {e}") from None
        words: list[str] = []
        frames: Frames = []
        for word in typed:
            name = _NAME.fullmatch(word)
            words += self._filled_in(name[1], frames) if name else [word]
        return words, frames

    def _filled_in(self, name: str, frames: Frames) -> list[str]:
        first, *rest = name.split(".")
        try:
            value = self._variables()[first]
            for attribute in rest:
                value = getattr(value, attribute)
        except (KeyError, AttributeError):
            raise InvalidValue(f"{{{name}}}: expected a variable of this notebook; there is none") from None
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return [str(value)]
        ids = selection.ids_of([value], path=getattr(value, "attrs", {}).get("queuectl_db") or "")
        if not hasattr(value, "id"):
            frames.append((ids, value))
        return ids

    def _variables(self) -> Any:
        return getattr(self.shell, "user_ns", {})

    # --- what is done ---

    def _queue(self, db: str | None) -> Queue:
        found = self._variables().get("q")
        if db is None and isinstance(found, Queue):
            return _InNotebook(found.path)
        return _InNotebook(db)

    def _run(self, request: Request, frames: Frames) -> Any:
        functions = _functions()
        if request.help:
            return print(help.page(request.path, functions), end="")
        if request.version:
            from queuectl import __version__

            return print(f"queuectl {__version__}")
        if request.command is None:
            return print(script(request.options["words"], functions), end="")
        _refuse(request)
        call = binding.bind(request.command, request.options)
        _put_back(frames, call)
        queue = self._queue(request.db)
        try:
            result = call.on(queue)
            if isinstance(result, Iterator):
                result = (_COLOURS.sub(b"", piece) for piece in result)
            elif request.form == "human":
                return _shown(result)
            return render.render(result, request.form, _Cell(), sys.stderr, declared=request.command.returns)
        finally:
            queue.close()

    def _add(self, requests: list[Request], *, many: bool, again: bool) -> Any:
        queue = self._queue(requests[0].db)
        try:
            specs = [dict(r.options) for r in requests]
            guarded = not again and _mark(specs, self._cell())
            newest = queue.list(limit=1) if guarded else []
            jobs = queue.enqueue_many(specs) if many else AddedJobs([queue.enqueue(**specs[0])])
        finally:
            queue.close()
        old = [j for j in jobs if newest and j.seq <= newest[-1].seq]
        if old:
            shown = ", ".join(f"{j.id} ({j.state})" for j in old[:5]) + ("…" if len(old) > 5 else "")
            print(
                f"This cell has added {shown} before; %%enqueue --again adds {'it' if len(old) == 1 else 'them'} once more."
            )
        if requests[0].form != "human":
            return render.render(jobs, requests[0].form, sys.stdout, sys.stderr)
        return jobs if many else jobs[0]

    def _cell(self) -> str | None:
        """Return the front end's id of the cell that runs; None where cells have none, as on a terminal."""
        kernel = getattr(self.shell, "kernel", None)
        parent = kernel.get_parent() if kernel is not None else {}
        found = parent.get("metadata", {}).get("cellId") if isinstance(parent, dict) else None
        return str(found) if found else None


def _mark(specs: list[dict[str, Any]], cell: str | None) -> bool:
    """Give each job a key of its cell, flags and text, so that running the cell again does not add it again."""
    if cell is None or any("unique_key" in s for s in specs):
        return False
    seen: Counter[str] = Counter()
    for spec in specs:
        text = repr(sorted(spec.items()))
        seen[text] += 1  # two equal lines are two jobs
        digest = hashlib.sha256(f"{cell}\n{seen[text]}\n{text}".encode()).hexdigest()[:24]
        spec.update(unique_key=f"cell-{digest}", unique_for="forever", on_conflict="skip")
    return True


def _put_back(frames: Frames, call: binding.Call) -> None:
    """Give the verb the frames themselves for their ids: they know their database, and what their rows showed when they were read."""
    for name in (p.name for p in call.command.parameters if p.many):
        words: list[Any] = call.options.get(name) or []
        for ids, value in frames:
            at = next((i for i in range(len(words) + 1) if words[i : i + len(ids)] == ids), None)
            if at is not None:
                words[at : at + len(ids)] = [value]
        if words:
            call.options[name] = words


def _functions() -> Any:
    return table.functions(_InNotebook)


def _refuse(request: Request) -> None:
    assert request.command is not None
    name, options = request.command.name, request.options
    if name == "worker" and not (options.get("detach") or options.get("stop")):
        raise InvalidValue(
            "worker: it would hold this kernel until it is stopped; add --detach, or run it in a terminal"
        )
    if name == "enqueue-many" and options.get("source") == "-":
        raise InvalidValue("enqueue-many: a notebook has no standard input; use %%enqueue --many")


# --- what is shown ---


def _shown(result: Any) -> Any:
    """Return a result that has a face of its own as it is, others with one."""
    if isinstance(result, str):
        return _Text(result)
    if result is None or hasattr(result, "_repr_html_"):
        return result
    return _Listing(result) if isinstance(result, (list, tuple)) else _Text(_human(result))


def _human(result: Any) -> str:
    out = io.StringIO()
    render.render(result, "human", out, out)
    return out.getvalue().strip("\n")


class _Cell(io.StringIO):
    """The cell's output, which is for eyes: what a job printed is spelt out there as on a terminal, never passed on as bytes."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return True


class _Text(str):
    """Text that shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        from queuectl.display import escape_terminal, mask_secrets

        return escape_terminal(mask_secrets(str(self)), multiline=True)


class _Listing(list[Any]):
    """Records as a table."""

    def __repr__(self) -> str:
        return "\n".join(" ".join(str(v) for v in row.values()) for row in self._rows()) or "nothing"

    def _rows(self) -> list[dict[str, Any]]:
        return [r if isinstance(r, dict) else {"value": r} for r in records.records(list(self))]

    def _repr_html_(self) -> str:
        rows = self._rows()
        if not rows:
            return "<p>nothing</p>"
        names = [n for n in rows[0] if n not in ("boot_id", "runner")]
        titles = [n.removesuffix("_ms").replace("_", " ") for n in names]
        return html_table(titles, [[_cell_text(n, r.get(n)) for n in names] for r in rows])


def _cell_text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith(("at_ms", "seen_ms")):
        return local(value)
    return span(value) if name.endswith("_ms") else str(value)


class _one_line_errors:  # noqa: N801
    """Errors that queuectl raises on purpose show as their one line; they are raised all the same, so that Run All stops."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if os.environ.get("QUEUECTL_TRACEBACK"):
            return
        if isinstance(error, (QueuectlError, OSError)):
            _show_as(error, str(error))
        elif isinstance(error, KeyboardInterrupt):
            _show_as(error, "interrupted; the jobs go on")


def _show_as(error: BaseException, text: str) -> None:
    from queuectl.display import escape_terminal, mask_secrets

    line = f"queuectl: {escape_terminal(mask_secrets(text))}"
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]  # what IPython asks an error for


# --- completion ---


def _complete(_shell: Any, event: Any) -> list[str]:
    """Return what may stand at the cursor of a `%queuectl` line; nothing leaves it to IPython."""
    before = event.text_until_cursor.split()[1:]
    if event.symbol and before:
        before.pop()
    return candidates(before, _functions())


def load(shell: Any) -> None:
    """Give a shell the magics; what `%load_ext queuectl` calls."""
    shell.register_magics(QueueMagics)
    shell.set_hook("complete_command", _complete, str_key="%queuectl")
    plain = shell.display_formatter.formatters["text/plain"]
    for kind in _PLAIN:
        plain.for_type(kind, lambda record, printer, _cycle: printer.text(_human(record)))
