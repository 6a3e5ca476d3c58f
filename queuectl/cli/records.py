"""The same results for programs: JSON Lines and CSV, and a job's output byte for byte. Secrets are masked, formulas disarmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, get_args

from queuectl.display import csv_cell, escape_terminal, mask_secrets


def write_json(result: Any, out: TextIO) -> None:
    """Print a result as JSON Lines: one object for each record."""
    for record in records(result):
        out.write(_json(record) + "\n")


def write_csv(result: Any, out: TextIO) -> None:
    """Print a result as CSV with a header, also when there is nothing else."""
    write = _escaped(out.write) if out.isatty() else out.write
    for i, row in enumerate(_rows(result)):
        write(",".join(_quoted(cell if i == 0 else csv_cell(_cell(cell))) for cell in row) + "\n")


def records(result: Any) -> Iterable[Any]:
    """Return the records of a result as plain data with secrets masked: one for each line or row."""
    many = (
        isinstance(result, Sequence)
        and not isinstance(result, (str, bytes))
        and not hasattr(result, "as_dict")
    )
    return (_masked(plain(r)) for r in (result if many else [result]))


def plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return value
    names = getattr(value, "FIELDS", None)
    return {name: plain(getattr(value, name)) for name in names} if names else str(value)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {k: _masked(v) for k, v in value.items()}
    return [_masked(v) for v in value] if isinstance(value, list) else value


def pass_on(pieces: Iterator[bytes], form: str, out: TextIO) -> None:
    """Write a job's output as it comes: byte for byte into a file or pipe, spelt out on a terminal."""
    if form == "human" and not out.isatty() and hasattr(out, "buffer"):
        out.flush()
        for piece in pieces:
            out.buffer.write(piece)
            out.buffer.flush()
        return
    if form == "csv":
        out.write("line\n")
    for text in _decoded(pieces, by_line=form != "human"):
        if form == "human":
            out.write(escape_terminal(text, multiline=True))
        else:
            out.write((_json({"line": text}) if form == "json" else _quoted(csv_cell(text))) + "\n")
        out.flush()


def _decoded(pieces: Iterator[bytes], *, by_line: bool) -> Iterator[str]:
    """Yield bytes as text, what is not UTF-8 spelt out; in whole lines without their ends when asked."""
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")("backslashreplace")
    rest = ""
    for piece in pieces:
        text = rest + decoder.decode(piece)
        if by_line:
            *lines, rest = text.split("\n")
            yield from lines
        else:
            yield text
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _json(value: Any) -> str:
    """Return JSON on one line, control and direction characters escaped, so that it is safe on a terminal."""
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _quoted(cell: Any) -> str:
    """Return a cell as RFC 4180 has it; a lone carriage return is quoted too, which Python's csv forgets."""
    text = "" if cell is None else str(cell)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _escaped(write: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: write(escape_terminal(text, multiline=True))


def _rows(result: Any) -> Iterator[list[Any]]:
    """Yield the header and then the rows of a result."""
    kind = type(result).__name__
    if kind == "Status":
        yield ["state", "jobs"]
        yield from ([str(state), count] for state, count in result.counts.items())
    elif kind == "ActionResult":
        yield ["id", "done", "reason"]
        yield from ([job_id, True, None] for job_id in result.done)
        yield from ([job_id, False, _masked(why)] for job_id, why in result.skipped)
    elif kind == "ConfigTable":
        yield ["key", "value"]
        yield from ([key, _masked(value)] for key, value in result.items())
    elif kind == "WaitResult":
        yield ["id", "state"]
        yield from ([job_id, str(state)] for job_id, state in result.states.items())
    else:
        yield from _record_rows(result)


def _record_rows(result: Any) -> Iterator[list[Any]]:
    header: list[str] = []
    if not result and isinstance(result, Sequence):
        yield _columns(_element(type(result)))
    for record in records(result):
        row = record if isinstance(record, dict) else {"value": record}
        if not header:
            header = list(row)
            yield header
        yield [row.get(name) for name in header]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value) if isinstance(value, (list, dict)) else value


def _element(kind: type) -> Any:
    """Return what a list is of, as its class says: Job for `class JobList(list[Job])`."""
    bases = (base for k in kind.__mro__ for base in k.__dict__.get("__orig_bases__", ()))
    return next((member for base in bases for member in get_args(base)), None)


def _columns(record: Any) -> list[str]:
    """Return the columns of a record's kind, of which there is none to ask."""
    return list(getattr(record, "COLUMNS", None) or getattr(record, "FIELDS", None) or ("value",))
