"""Outputs with a form of their own: tracebacks, cause chains, panics, test runners.

Where errors are chained, the end nearest to the fix is taken: the root of `Caused by` and of Python's `raise … from`;
but the last of `During handling of the above exception`, where the first was expected and the second was not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Found = tuple[str, str]
"""The message and the line it stands in."""

_HEAD = "Traceback (most recent call last)"
_DIRECT = "The above exception was the direct cause"
_CONTEXT = "During handling of the above exception"
_GROUP_EDGE = re.compile(r"^[\s|+]*(?:[-+]{2,}.*)?\| ?|^[\s|+-]*\+[-+]+.*$")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]{0,120}(?:: |:?$)")
_SYSTEMS = re.compile(r"^(?:Connection\w*Error|TimeoutError|BrokenPipeError|OSError|socket\.\w+|ssl\.\w+)\b")
"""What the operating system says alike to every library; the last of the chain tells whose call it was."""
_VAGUE = re.compile(r"^(?:RuntimeError|Exception|SystemExit|[\w.]+\.(?:CalledProcessError))(?::|$)")
_PYTEST = re.compile(r"^(FAILED|ERROR) (\S{1,300})(?: - (.{0,400}))?$")
_PYTEST_E = re.compile(r"^E   +(\S.*)$")
_UNITTEST = re.compile(r"^(FAIL|ERROR): (\w{1,100}) \(([\w.]{1,200})\)")
_GO_TEST = re.compile(r"^\s*--- FAIL: (\S{1,200}) \(")
_CARGO_TEST = re.compile(r"^---- (\S{1,200}) stdout ----")
_TAP = re.compile(r"^\s*not ok \d+ -? ?(.{1,200})$")
_JEST = re.compile(r"^\s+● (?!Console|Test suite failed)(\S.{0,200})$")
_TERRAFORM = re.compile(r"^Error: (.{1,200})$")
_CTEST = re.compile(r"^\s*\d+ - (\S{1,200}) \(")
_DOCTEST = re.compile(r'^File "[^"]{1,300}", line \d+, in (\S{1,200})$')
_MOCHA = re.compile(r"^\s{2}1\) (.{1,200})$")
_SUREFIRE = re.compile(r"^\[ERROR\]\s+(\w[\w.$]{0,200}\.\w{1,100}):\d+ ?(.{0,300})$")
_PANIC = re.compile(r"^thread '[^']{0,100}' (?:\(\d+\) )?panicked at (.{1,300})$")
_OLD_PANIC = re.compile(r"^'(.{0,300})', (\S{1,200}?):\d+")
_NUMBERED = re.compile(r"^\s*\d+: ")
_PARAMETERS = re.compile(r"\[[^\]]{0,200}\]$")
_SYNTAX_FILE = re.compile(r'^\s*File "([^"]{1,300})", line \d+')


def find(lines: Sequence[str]) -> Found | None:
    """The cause as the output's own form tells it, or None when it has none of the known forms."""
    whole = "\n".join(lines)
    for mark, reader in _READERS:
        if mark in whole and (found := reader(lines)) is not None:
            return found
    return None


def _pytest(lines: Sequence[str]) -> Found | None:
    summary = next((i for i in range(len(lines) - 1, -1, -1) if "short test summary info" in lines[i]), None)
    if summary is None:
        return None
    for line in lines[summary + 1 :]:
        m = _PYTEST.match(line.strip())
        if m is None:
            continue
        told = m.group(3) or next(
            (e.group(1) for text in lines[:summary] if (e := _PYTEST_E.match(text)) and ("Error" in text)), ""
        )
        if (
            told
            and not told.startswith(("assert", "AssertionError", "Failed: ", "failed on setup"))
            and "..." not in told[:20]
        ):
            return (f"{told} in {_test_name(m.group(2))}" if _BARE.match(told) else told), line
        if m.group(1) == "ERROR" and (e := _last(lines[:summary], _PYTEST_E)):
            return e.group(1), line
        return f"test failed: {_test_name(m.group(2))}", line
    return None


def _test_name(name: str) -> str:
    """A test's name without its file's folders and its parameters; never masked as a path."""
    path, *rest = _PARAMETERS.sub("", name).split("::")
    return " > ".join([path.rsplit("/", 1)[-1].removesuffix(".py"), *rest])


def _unittest(lines: Sequence[str]) -> Found | None:
    for i, line in enumerate(lines):
        m = _UNITTEST.match(line)
        if m is None:
            continue
        told = next(
            (
                t
                for t in lines[i + 1 : i + 60]
                if not t.startswith((" ", "-", "Traceback")) and _EXCEPTION.match(t)
            ),
            "",
        )
        if told and not told.startswith("AssertionError") and m.group(1) == "ERROR":
            return told, told
        suite = m.group(3).removesuffix("." + m.group(2))
        return f"test failed: {suite.replace('.', ' > ')} > {m.group(2)}", line
    return None


def _tests_named(pattern: re.Pattern[str], runner: str) -> Callable[[Sequence[str]], Found | None]:
    def read(lines: Sequence[str]) -> Found | None:
        for line in lines:
            if m := pattern.match(line):
                return f"{runner} test failed: {m.group(1).strip()}", line
        return None

    return read


def _after(mark: str, pattern: re.Pattern[str], runner: str) -> Callable[[Sequence[str]], Found | None]:
    """The first test named below a line that announces those that failed."""

    def read(lines: Sequence[str]) -> Found | None:
        at = next((i for i, line in enumerate(lines) if mark in line), len(lines))
        found = next((m for line in lines[at + 1 : at + 6] if (m := pattern.match(line))), None)
        return None if found is None else (f"{runner} test failed: {found.group(1)}", found.group(0).strip())

    return read


def _doctest(lines: Sequence[str]) -> Found | None:
    """The first failed example's function, which the line above it names."""
    at = lines.index("Failed example:") if "Failed example:" in lines else 0
    m = _DOCTEST.match(lines[at - 1]) if at else None
    return None if m is None else (f"doctest failed: {m.group(1)}", lines[at - 1])


def _mocha(lines: Sequence[str]) -> Found | None:
    """The first failure's title, which stands on lines of growing indent up to a colon."""
    for i, line in enumerate(lines):
        if m := _MOCHA.match(line):
            words = [m.group(1).strip()]
            for more in lines[i + 1 : i + 5]:
                if words[-1].endswith(":") or not more.strip():
                    break
                words.append(more.strip())
            return f"mocha test failed: {' > '.join(words).rstrip(':')}", line
    return None


def _terraform(lines: Sequence[str]) -> Found | None:
    """A title, where it is, and below the excerpt what it means."""
    for i, line in enumerate(lines):
        m = _TERRAFORM.match(line)
        if m is None:
            continue
        told = next((text for text in lines[i + 1 : i + 14] if text[:1].isalpha()), "")
        return f"{m.group(1)}: {told.split('. ')[0].rstrip('.')}" if told else m.group(1), line
    return None


def last_head(lines: Sequence[str]) -> int:
    """Where the last traceback begins."""
    return next((i for i in range(len(lines) - 1, -1, -1) if _HEAD in lines[i]), len(lines))


def _go_test(lines: Sequence[str]) -> Found | None:
    """The innermost failed test of the first that failed."""
    found = None
    for line in lines:
        m = _GO_TEST.match(line)
        if m and (found is None or line.startswith(" ")):
            found = f"go test failed: {m.group(1)}", line
        elif found:
            break
    return found


def _traceback(lines: Sequence[str]) -> Found | None:
    """The exception of the last traceback, or the one it was raised from."""
    heads = [i for i, line in enumerate(lines) if _HEAD in line]
    if not heads:
        return None
    if any(line.lstrip().startswith(("+-+--", "| ")) for line in lines[heads[0] :]):
        lines = [_GROUP_EDGE.sub("", line) for line in lines]
        heads = [i for i, line in enumerate(lines) if _HEAD in line]
        return _first_leaf(lines, heads)
    n = len(heads) - 1
    at: int | None = _exception_after(lines, heads[n])
    while n > 0 and at is not None:
        link = next((line for line in reversed(lines[heads[n - 1] : heads[n]]) if line.strip()), "")
        follow = link.startswith(_DIRECT) or (link.startswith(_CONTEXT) and _VAGUE.match(lines[at]))
        earlier = _exception_after(lines, heads[n - 1]) if follow else None
        if earlier is None:
            break
        n -= 1
        at = earlier
    if at is None:
        return None
    message, line = _told(lines, at, heads[n])
    outer = _exception_after(lines, heads[-1]) if n < len(heads) - 1 else None
    kind = "" if outer is None else lines[outer].partition(":")[0].strip()
    if "." in kind and _SYSTEMS.match(message) and not _VAGUE.match(kind):
        return f"{message} ({kind})", line
    return message, line


def _first_leaf(lines: Sequence[str], heads: Sequence[int]) -> Found | None:
    for i in range(heads[0], len(lines)):
        line = lines[i]
        if (
            line[:1].isalpha()
            and _EXCEPTION.match(line)
            and "ExceptionGroup" not in line
            and _HEAD not in line
        ):
            return _told(lines, i, max(head for head in heads if head <= i))
    at = _exception_after(lines, heads[0])
    return None if at is None else _told(lines, at, heads[0])


def _exception_after(lines: Sequence[str], head: int) -> int | None:
    for i in range(head + 1, len(lines)):
        line = lines[i]
        if line[:1] not in ("", " ", "\t") and _EXCEPTION.match(line):
            return i
        if _HEAD in line:
            return None
    return None


def _told(lines: Sequence[str], at: int, head: int) -> Found:
    line = lines[at]
    kind, _, words = line.partition(":")
    if not words.strip() and kind.endswith("AssertionError"):
        code = next(
            (
                t.strip()
                for t in reversed(lines[head:at])
                if t.strip(" ^~") and not t.lstrip().startswith("File ")
            ),
            "",
        )
        return f"{kind}: {code.replace(chr(34), '').replace(chr(39), '')}", line
    if kind == "FileNotFoundError" and any(
        text.rstrip().endswith("in _execute_child") for text in lines[head:at]
    ):
        command = words.rpartition(": ")[2].strip(" '\"")
        return f"command not found: {command.rsplit('/', 1)[-1]}", line
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        return _with_file(lines, at), line
    if (not words.strip() and line.rstrip().endswith(":")) or re.search(r"\d+ validation errors?\b", line):
        more = [t for t in lines[at + 1 : at + 3] if t.strip()]
        return " ".join([line, *(t.strip() for t in more)]), line
    if m := _COMMAND.search(line):
        return f"{kind}: {m.group(1).rsplit('/', 1)[-1]} {m.group(2)}", line
    if _BARE.match(line):
        return f"{line.rstrip(' :')}{_function(lines, head, at)}", line
    return line, line


_COMMAND = re.compile(
    r"Command '(?:\[['\"])?([^\s'\"]{1,200}).*['\"\]] (returned non-zero exit status -?\d+|died with .{1,60}|timed out after)"
)
_BARE = re.compile(
    r"^(?:ZeroDivisionError|IndexError|RecursionError|StopIteration|NotImplementedError|OverflowError|TypeError: (?:'NoneType'|'\w+' object is not|unsupported operand)"
    r"|(?!TimeoutError|MemoryError|KeyboardInterrupt|[\w.]*(?:Timeout|Connect)\w*)[\w.]{1,80}(?:Error|Exception)\s*:?\s*$)"
)
"""Exceptions that say nothing of what they are about: where they were raised is what tells them apart."""
_FRAME = re.compile(r'^\s*File "([^"]{1,300})", line \d+, in (\w{1,80})$')
_LIBRARY = ("site-packages/", "dist-packages/", "lib/python3", "<frozen", "<string>")


def _function(lines: Sequence[str], head: int, at: int) -> str:
    """The innermost function of the program's own, as ` in name`; nothing at the top level."""
    for line in reversed(lines[head:at]):
        m = _FRAME.match(line)
        if m and not any(part in m.group(1) for part in _LIBRARY):
            return "" if m.group(2) == "main" else f" in {m.group(2)}"
    return ""


def _with_file(lines: Sequence[str], at: int) -> str:
    """A syntax error by the file it is in: its words are few, its fix is there."""
    for i in range(at - 1, max(-1, at - 8), -1):
        if m := _SYNTAX_FILE.match(lines[i]):
            stem = m.group(1).rsplit("/", 1)[-1].removesuffix(".py")
            return f"{re.sub(r' on line [0-9]+', '', lines[at])} in {stem}"
    return lines[at]


def _syntax(lines: Sequence[str]) -> Found | None:
    for i in range(len(lines) - 1, -1, -1):
        if lines[i].startswith(("SyntaxError: ", "IndentationError: ", "TabError: ")) and i:
            return _with_file(lines, i), lines[i]
    return None


def _caused_by(lines: Sequence[str]) -> Found | None:
    """The last `Caused by`: of the line itself (Java) or of the numbered or indented lines below it (Rust)."""
    for i in range(len(lines) - 1, -1, -1):
        text = lines[i].strip()
        if text.startswith(("Caused by: ", "caused by: ")):
            return text[11:], lines[i]
        if text in ("Caused by:", "caused by:"):
            below = []
            for line in lines[i + 1 : i + 12]:
                if not line[:1].isspace():
                    break
                below.append(line)
            numbered = [line for line in below if _NUMBERED.match(line)]
            told = numbered[-1] if numbered else next((line for line in below if line.strip()), None)
            if told is not None:
                return _NUMBERED.sub("", told).strip(), told
    return None


def _node_cause(lines: Sequence[str]) -> Found | None:
    for line in reversed(lines):
        text = line.strip()
        if text.startswith("[cause]: "):
            return text[9:].rstrip(" {"), line
    return None


def _panic(lines: Sequence[str]) -> Found | None:
    for i, line in enumerate(lines):
        m = _PANIC.match(line.strip())
        if m is None:
            continue
        if old := _OLD_PANIC.match(m.group(1)):
            return f"panicked: {old.group(1)}", line
        told = next((t for t in lines[i + 1 : i + 3] if t.strip()), "")
        place = (
            f" in {m.group(1).rsplit('/', 1)[-1].split(':')[0].removesuffix('.rs')}"
            if told.startswith("assertion")
            else ""
        )
        return f"panicked: {told}{place}", told or line
    return None


def _last(lines: Sequence[str], pattern: re.Pattern[str]) -> re.Match[str] | None:
    return next((m for line in reversed(lines) if (m := pattern.match(line))), None)


def _exception_line(lines: Sequence[str]) -> Found | None:
    """C++'s `terminate called after throwing`: the kind and what it says."""
    for i, line in enumerate(lines):
        if line.startswith("terminate called after throwing"):
            what = next((t.strip() for t in lines[i + 1 : i + 3] if "what():" in t), "")
            return f"{line.partition('of ')[2]} {what}", what or line
    return None


_READERS: tuple[tuple[str, Callable[[Sequence[str]], Found | None]], ...] = (
    ("short test summary info", _pytest),
    ("\nRan ", _unittest),
    ("--- FAIL: ", _go_test),
    (" stdout ----", _tests_named(_CARGO_TEST, "cargo")),
    ("\n  ● ", _tests_named(_JEST, "jest")),
    ("not ok ", _tests_named(_TAP, "tap")),
    ("\n  1) ", _mocha),
    ("The following tests FAILED:", _after("The following tests FAILED:", _CTEST, "ctest")),
    ("Failed example:", _doctest),
    ("[ERROR] Failures:", _tests_named(_SUREFIRE, "junit")),
    (_HEAD, _traceback),
    ("SyntaxError: ", _syntax),
    ("IndentationError: ", _syntax),
    ("aused by:", _caused_by),
    ("[cause]: ", _node_cause),
    ("panicked at ", _panic),
    ("terminate called", _exception_line),
    ("\n  on ", _terraform),
)
