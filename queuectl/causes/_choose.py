"""Which line of the output tells the cause.

Programs say what went wrong in the middle and then say goodbye: stack frames, hints, `make: *** Error 1`. So lines
are told apart by what they are (complaint, closing word, small talk), and the two streams compete by that tier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from queuectl.causes import _records, _structured
from queuectl.causes._lines import TAIL_BYTES, tail_lines
from queuectl.records import record

STRUCTURED, STRONG, WEAK, CLOSING, WARNED, PLAIN, QUIET = 90, 80, 70, 60, 45, 40, 20
FAR_BYTES = 65536


@record
class Pick:
    """A line that may tell the cause: how much it says, the message in it, the line itself."""

    tier: int
    text: str
    line: str


def best(stderr: bytes, stdout: bytes) -> Pick | None:
    """The line that tells the cause, of both streams; stderr wins a draw."""
    picks = [pick for pick in (_of_stream(stderr, 1), _of_stream(stdout, 0)) if pick is not None]
    return max(picks, key=lambda pick: pick.tier, default=None)


def _of_stream(data: bytes, bonus: int) -> Pick | None:
    """The best line of one stream; further back only when the end says nothing."""
    if not data:
        return None
    pick = _of_lines(tail_lines(data), bonus)
    if len(data) > TAIL_BYTES and (pick is None or pick.tier < WEAK):
        far = _of_lines(tail_lines(data, skip=TAIL_BYTES, size=FAR_BYTES - TAIL_BYTES), bonus)
        if far is not None and (pick is None or far.tier >= STRONG):
            return far
    return pick


def _of_lines(lines: Sequence[str], bonus: int) -> Pick | None:
    found = _structured.find(lines)
    if found is not None and found[0].startswith("subprocess.CalledProcessError: "):
        before = lines[: _structured.last_head(lines)]
        told = _structured.find(before)
        if told is not None:
            return Pick(STRUCTURED + bonus, *told)
        inner = _by_words(before, bonus)
        if inner is not None and inner.tier >= WEAK:
            return inner
    if found is not None:
        return Pick(STRUCTURED + bonus, *found)
    return _by_words(lines, bonus)


_WORDS = (
    "err", "fatal", "panic", "exception", "critical", "severe", "emerg", "fail", "cannot", "unable", "denied", "refused", "not ", "n't ", "no ",
    "timed out", "timeout", "invalid", "missing", "expected", "unknown", "undefined", "undeclared", "unrecogni", "illegal", "abort", "killed", "terminate",
    "fault", "overflow", "exceed", "mismatch", "corrupt", "unreachable", "too ", "bad ", "giving up", "forbidden", "unauthor", "expired", "conflict",
    "reject", "exhausted", "exit status", "unsupported", "must ", "required", "unbound", "unreadable", "disconnect", "reset by", "broken pipe", "lost",
    "violat", "http ", "unterminated", "deadlock", "locked", "duplicate", "already ", "out of mem", "out of ran", "out of bound", "out of space", "out of disk", "insufficient", "quota", "what()", "unresolved",
    "stale", "unused", "ambiguous", "redefin", "sc2", "toomany", "multiple def",
)  # fmt: skip
_LEVEL_FIELDS = (
    '"level"',
    '"severity"',
    '"lvl"',
    '"levelname"',
    '"log.level"',
    "level=",
    "lvl=",
    "severity=",
)

# Complaints by their form: a level, `error:` and its kin, a class whose name says so.
_STRONG = re.compile(
    r"(?:^|[\s\[(:<|*])(?:fatal error|error|fatal|panic|critical|severe|emerg|exception|err!)(?:\[\w{1,12}\]|\s\w{1,4}\d{1,5}| near line \d+)?\s?(?:[:\])}>|!]|- )"
    r"|(?:^|[\s\[(:|])(?:ERROR|FATAL|CRITICAL|CRIT|SEVERE|PANIC|EMERG|ALERT)(?:[\s:\])|]|$)"
    r"|(?:^|[\s.:\"'(\[$>])[A-Z]\w{0,80}(?:Error|Exception|Failure|Fault|Panic)(?:\s?\(\w{1,40}\))?(?::|\)?$)"
    r"|^Exception: |^(?:error|fatal|FAILED|Uncaught|Unhandled|E)\b[\s:]|^ERROR! |^(?:\S{1,200}:\d+:\d+:? )?(?:[A-Z]{1,4}\d{3,5} (?:\[\*\] )?\S|SC\d{4})|\[SC\d{4}\]$|\bSC\d{4} \("
    r"|^\s+\d+:\d+\s+error\s|^! (?!==>)|\b(?:CMake Error|make(?:\[\d+\])?: \*\*\*|terminate called|Assertion .{1,200} failed|internal compiler error)",
)
_STRONG_FOLDED = re.compile(
    r"(?:^|[\s\[(:<|*])(?:fatal error|error|fatal|panic|critical)(?:\[\w{1,12}\])?\s?:", re.IGNORECASE
)
_COMPILER = re.compile(
    r"^! |^\s+\d+:\d+\s+error\s|^\S{1,200}?(?::\d+|\(\d+)(?:[:,]\d+\)?)?(?::|\))(?: -)? (?:fatal )?error\b|^\S{1,200}:\d+(?::\d+)? - error TS|^error(?:\[E\d+\]| TS\d+)?: "
    r"|^\[error\] |^\S{1,200}:\d+: \w+ error : |^(?:\S{1,200}:\d+:\d+:? )?[A-Z]{1,4}\d{3,5}\b|\bSC\d{4}\b|: multiple definition of |: undefined reference to |: cannot find -l|^\[ERROR\] |^npm (?:ERR!|error) |^(?:\S{1,100}\.go:\d+:\d+: )|^E: |^CMake Error"
)
_CLOSING = re.compile(
    r"^(?:(?:\W*(?:ERROR|Error|error|FATAL|fatal)\W+)?(?:the )?(?:[Jj]ob|[Ss]cript|[Bb]uild|[Ss]tep|[Tt]ask|[Pp]ipeline|[Pp]rocess) failed(?! (?:to|because|with|for))[^:]{0,40}$|Error (?:while processing|reinitializing|splitting the argument|initializing)|Failed to inject|Execution of .{1,200} aborted|make(?:\[\d+\])?: \*\*\* \[|collect2: |ninja: build stopped|FAILED(?: \(|: |$)|BUILD FAIL|Build failed|\d+ errors?(?: generated)?\.?$|"
    r"compilation terminated|(?:\S{1,60}(?: \(child\))?: )?(?:Exiting with failure status|Error is not recoverable|Child returned status|error exit delayed)|"
    r"error: (?:could not compile|aborting due to|test failed|failed to push some refs|build failed|process didn't exit|failed to run custom)|"
    r"rsync error: |rsync: connection unexpectedly closed|fatal: (?:Could not read from remote|the remote end hung up|clone of)|(?:scp|sftp): [Cc]onnection closed|[Cc]onnection closed by|lost connection|"
    r"npm (?:ERR!|error) (?:code|errno|command|path|A complete|Lifecycle script|syscall|workspace|location|Exit status|dest|signal)|error Command failed with|ELIFECYCLE|"
    r"exit status \d+$|Error: Process completed|Process exited with|subprocess\.CalledProcessError: |Failed to execute goal|"
    r"\[ERROR\] (?:Failed to execute goal|COMPILATION ERROR|BUILD|Tests run:|There are test failures|-> |Some problems were|\[ERROR\] Some problems|The build could not|  The project )|"
    r"\W{0,3}Found \d+ errors?|! ==> |\W{0,3}\d+ problems? \(|\w{1,20}: found \d+ fatal errors?$|\d+ problems? |BEGIN failed--|[Cc]ommand exited with|Command failed|Script failed|Conversion failed|Aborting\.?$|Configuring incomplete|"
    r"mv: |Segmentation fault|Killed$|Aborted|Terminated$|Error opening (?:input|output) files?: (?:No such|Invalid)|Automatic merge failed|Exiting\.{0,3}$|Execution halted)"
)
_FAREWELL = re.compile(
    r"^(?:(?:\[[^\]]{0,80}\]|\([^)]{0,80}\)|[^\s:]{0,40}\d\S{0,40}|\S{1,40}:|[A-Z]{4,8}|\w{1,20} :|[|>=*#:-]{1,4})\s+){0,6}(?:\([A-Z]{1,8}\):)?"
    r"(?:(?:[Gg]iving|[Gg]ave) up|[Aa]bort(?:ing|ed)|[Ee]xit(?:ing|ed)|[Bb]ailing out|[Ss]hutting down|[Tt]erminating|[Rr]olling back|[Cc]leaning up|"
    r"[Dd]ownload aborted|(?:[Ff]atal )?errors (?:found|detected|in|were|occurred)\b|[Ee]rror(?:\(s\))? (?:found|detected|occurred)\b|(?:\w+ : )?Fatal errors found|(?:There|[Ss]ome) (?:were|was|are) .{0,40}(?:errors?|failures?)|"
    r"[Ff]ailed (?:with|after) (?:exit |return )?(?:code|status|\d)|(?:exit|return) (?:code|status)\b|\d+ (?:errors?|failures?|failed)\b|[Tt]he (?:above|previous) |# Looks like you failed|"
    r"(?:[Ss]tep|[Jj]ob|[Tt]ask|[Ss]tage|[Cc]ommand|[Ss]cript|[Pp]rocess|[Bb]uild|[Hh]ook)\b.{0,60}\b(?:failed|exited|ended|returned) with (?:non-zero )?(?:exit |return )?(?:code|status))"
)
_CLOSING_MV = re.compile(r"^mv: ")
_NOISE = re.compile(
    r"^(?:[\s\W_]*$|\s*[\w ()-]{1,40}:\s{1,4}0(?:\.0{1,4})?$|\s+(?:code|errno|syscall|path|address|port|type|requiredBy|hostname|url|signal|killed|cmd|stdout|stderr|status): |\[error\] +(?:[>|\d]|\W*$)|\s*\[C\]: |stack traceback|\s+\S{1,200}:\d+: in |\d+: \(|\s+dmesg\(|Time: |Snapshots: |Test Suites: |Tests: |Ran all test|\s+-->|\s*(?:at |\.{3} \d+ more|from \S+:\d+|File \"|in <|#\d+ )|\s+\d* *\||\s*\^|goroutine \d|\s+\+0x|note: |help: |hint: |\s*= (?:note|help)|"
    r"= |[Uu]sage:|\s*For more information|For more|Try '|Try `|See '|See also|See: |[Ss]ee |Run '|run with |Picked up |To see the full|Re-run Maven|Node\.js v|"
    r"\s+no (?:file|field) |#\s+(?:got|expected): |#\s+at |If (?:there|you|this|the) |Please |Did you |Perhaps |Maybe |Consider |Total time|Finished at|A complete log|\(Background on|\[SQL|\[param|Require stack|DETAIL: |HINT: |LINE \d+:|CONTEXT: |STATEMENT: |"
    r"\s*Is the server running|\s*location: |\s*symbol: |In file included|In function|\S+: In (?:function|member|constructor)|\S+: At top level|  % Total|\s+Dload|npm notice|"
    r"npm (?:ERR!|error) ?(?:$|\d+\s*$|\d+ (?:Not Found - |Note|tarball)|    at |A complete|  [\w\s'\[]+: |\}|If you are|This is probably|code \w|errno|syscall|path|dest|type|network|previous)|"
    r"Failed to (?:parse JSON|connect).{0,40}previous|\d+ (?:passed|failed)|\d+%|[\d.]+[KMG]?B? +[\d.]+[KMG]?B? |Stack dump|stack backtrace|Backtrace|Traceback|The above|During handling|Saving to|Resolving |Connecting to .{1,200}connected|HTTP request sent.{0,80} \d\.\.\.$|"
    r"\[ERROR\]\s*$|\[ERROR\] (?:To see|Re-run|For more|\[Help|-> \[Help|After correct|  symbol|  location|mvn )|\s*\{?$|Suppressed: |Ran \d+ test|  (?:libav|built with|configuration)|ffmpeg version|caused by:?$|Caused by:?$|Compiling |Finished |Location: |Location searched|location searched|required by )"
)
_QUIET = re.compile(
    r"(?:^|[\s\[(:\"])(?:warn(?:ing)?|WARN(?:ING)?|[A-Z]\w*Warning|DEBUG|INFO|NOTICE|TRACE|debug|info|deprecated|npm notice|DEPRECATION)(?:[\s:\])|\"]|$)|\b0 (?:errors?|failed|failures?)\b|\bsucceeded\b"
)


_OPEN = re.compile(
    r"^(?:ERROR in \S{1,200}(?: [\d:-]{1,20})?|[a-z][\w ]{1,40}:|CMake Error .{0,200}:|.{0,40}(?:error|Error|ERROR)\W*|Error in .{0,200} :|Unhandled .{0,200}:|.{0,60}In procedure .{0,40}:)\s*$"
)
_SYMBOL = re.compile(r"^(?:\[ERROR\])?\s+symbol: ")


def _by_words(lines: Sequence[str], bonus: int) -> Pick | None:
    """The last line that complains, or the first where one complaint causes the next."""
    whole = "\n".join(lines).lower()
    words = [word for word in _WORDS if word in whole]
    records = any(field in whole for field in _LEVEL_FIELDS)
    weak = closing = plain = quiet = warned = None
    strong: list[str] = []
    for line in reversed(lines):
        if not line or line.isspace():
            continue
        if records and (record := _records.read(line)) is not None:
            if record.message and record.bad:
                return Pick(STRONG + bonus, record.message, line)
            continue
        low = line.lower()
        speaks = any(word in low for word in words)
        if not speaks and plain is not None:
            continue
        if _NOISE.match(line):
            continue
        if (_CLOSING.match(line) and not _CLOSING_MV.match(line)) or _FAREWELL.match(line):
            closing = closing or line
        elif speaks and (_STRONG.search(line) or _STRONG_FOLDED.search(line)) and not _QUIET_LEAD.match(line):
            strong.append(line)
        elif _QUIET.search(line[:120]):
            quiet = quiet or line
            if bonus and speaks:
                warned = warned or line
        elif speaks:
            weak = _earlier(weak, line)
        else:
            plain = plain or line
    top = _first_of_block(strong)
    if top is not None and top.rstrip().endswith("cannot find symbol"):
        symbol = next((line for line in lines if _SYMBOL.match(line)), "").removeprefix("[ERROR]")
        return Pick(STRONG + bonus, f"{top.strip()} {' '.join(symbol.split())}", top)
    if top is not None and (_OPEN.search(top) or "=> {" in top):
        return Pick(STRONG + bonus, _continued(top, lines), top)
    for tier, pick in (
        (STRONG, top),
        (WEAK, weak),
        (CLOSING, closing),
        (PLAIN, plain),
        (WARNED, warned),
        (QUIET, quiet),
    ):
        if pick is not None:
            worth = PLAIN + 25 if tier == PLAIN and bonus else tier
            return Pick(worth + bonus, pick.strip(), pick)
    return None


_QUIET_LEAD = re.compile(
    r"^[\s\[]*(?:\S{1,40}[\s\]]+){0,3}(?:WARN|WARNING|INFO|DEBUG|warning|Warning|[A-Z]\w*Warning)\b"
)


def _continued(line: str, lines: Sequence[str]) -> str:
    """A line that only announces, with what it announces: the lines below it, or the object at its end."""
    if "=> {" in line:
        head, _, fields = line.partition("=> ")
        told = _records.message_in(fields) or head
        if told != "non-zero return code":
            return told
        task = next((text for text in reversed(lines[: lines.index(line)]) if text.startswith("TASK [")), "")
        return f"{told} in {task.partition(']')[0].removeprefix('TASK [')}"
    at = len(lines) - 1 - list(reversed(lines)).index(line)
    below = [text.strip() for text in lines[at + 1 : at + 6]]
    said = [text for text in below if text]
    size = (
        below.index("", below.index(said[0])) if said and "" in below[below.index(said[0]) :] else len(below)
    )
    paragraph = [text for text in below[:size] if text][:3]
    return " ".join([line.strip(), *paragraph])


def _earlier(kept: str | None, line: str) -> str:
    """Of weak lines read backwards: the last, or the first of those that one program printed in a row."""
    if kept is None or _COMPILER.search(line) or (_speaker(line) and _speaker(line) == _speaker(kept)):
        return line
    return kept


def _first_of_block(strong: Sequence[str]) -> str | None:
    """Of strong lines read backwards: the last, or the first of its program's when they cascade."""
    if not strong:
        return None
    pick = strong[0]
    for line in strong[1:]:
        if _COMPILER.search(line) or (_speaker(pick) and _speaker(line) == _speaker(pick)):
            pick = line
    return pick


def _speaker(line: str) -> str:
    """The program that a line names as its own: `tar: …`."""
    word, colon, _ = line.partition(": ")
    return word if colon and " " not in word and len(word) < 40 else ""
