"""From the line that tells the cause to its template: what varies is masked, what decides the fix is kept.

Every expression is linear or bounded on its own, and the text it sees is at most MAX_CHARS long.
"""

from __future__ import annotations

import re

from queuectl.causes._paths import PATH, extension, is_path, path_at, path_word

MAX_CHARS = 500

_TIME = re.compile(
    r"\b\d{4}[-/.]\d\d[-/.]\d\d(?:[T _]\d\d[:_]\d\d(?:[:_]\d\d)?(?:[.,_]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?\b"
    r"|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}\d{1,2}"
    r"(?: \d{4})?(?: \d\d:\d\d:\d\d(?:\.\d+)?)?\b"
    r"|\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b"
)
_LEVEL = re.compile(
    r"^(?:<t>|[\s\[\]()|:,*<>-])*(?:\[?\b(?:ERROR|FATAL|CRITICAL|CRIT|SEVERE|EMERG|ALERT|FAILURE|Error|error)\b\]?[\s:|\])-]*"
    r"(?:<t>[\s:|,\])-]*)?)+(?=\S)"
)
_LOGGER = re.compile(
    r"^(?:[^\s:]{1,60}(?: \||:)? +|\[[^\]]{0,80}\][ :|-]*|\([^)]{0,80}\)[ :|-]*|\{[^}]{0,80}\}[ :|-]*|<t>[ :|,-]*|\|[ ]*){1,6}?"
    r"\[?\b(?:ERROR|FATAL|CRITICAL|CRIT|SEVERE|EMERG|ALERT)\b\]?(?:[ :|>-]+|$)"
)
_PLAIN_LOGGER = re.compile(r"^(?:ERROR|CRITICAL|FATAL):[\w.-]{1,80}:(?=\S)")
_LOGGER_NAME = re.compile(
    r"^(?:<t>[ |,-]*|\[[^\]]{1,80}\][ :|-]*|\([^)]{1,80}\) ?[:|-] |\{[^}]{1,80}\}[ :|-]*|[A-Za-z_$][\w.$/-]{0,80}(?:[.:][\w<>]{1,60})?(?::\d{1,6})? ?(?:[-|]|: -) |[a-z][\w$]{0,40}(?:\.[\w$]{1,60}){1,8}(?::\d{1,6})?:? (?=\S))+(?=\S)"
)
_LEAD_TIME = re.compile(r"^(?:\[\d{1,8}\] |[\s\[(]*<t>[\s\])|,:-]*)+")
_KLOG = re.compile(r"^[EF]\d{4} \S{8,20} +\d+ [\w.-]{1,60}:\d+\] ")
_SYSLOG = re.compile(r"^<t> [\w.-]{1,60} ([\w./-]{1,40})\[\d+\]: ")
_THREAD = re.compile(
    r'^(?:<internal:[^>]{1,200}>:\d+:in [`\'][^`\']{0,80}\': |([\w-]{1,40}): error: \1: |[\w.-]{1,40}: ?(?=[^\s:]{1,200}:\d+(?::\d+)?: )|\S{1,200}:\(\.\w{1,20}\+0x[0-9a-f]{1,16}\): |(?:Error )?[Ii]n [^:]{1,100} : (?=\S)|[=*#-]{3,} |Exception in thread "[^"]{0,80}" |Uncaught |Unhandled exception: |\(node:\d+\) )'
)
_LOCATION = re.compile(
    r"^(?:! |[\"'][^\"']{1,200}[\"']:\d+: |\d+:\d+\s+error\s+|[^\s:()'\"]{1,200}(?::\d+(?::\d+|[.-]\d+)*(?:: ?| )|\(\d+(?:,\d+)?\): (?=error|warning|fatal)|:\[\d+,\d+\] )(?:in [`'][^`']{0,80}': )?(?:- )?)"
)
_TOLD_BY = re.compile(
    r"^(?:[^\s:]{1,80}: (?=(?:fatal )?error: ))?(?:fatal error: |error: )?(?:(?:ba|da|z|k)?sh: (?:cannot open (?=\S*: No such))?|cannot open (?=\S{1,200}: No such file$)|docker: |PHP |Connecting to .{1,120}?\.\.\. ?)?"
)
_ASIDE = re.compile(
    r"[.;:]? ?[Dd]id you mean.*$|, input_value=.*$|(?<=not found) in: .*$|,? ?(?:\.\.\.)?\x22[^\x22]{0,200}\x22?.{0,80} is not valid JSON$|(?<=not in scope: )(\w+) :: .*$| [=*#-]{3,}$| \(you may need to install.*$| \(child\)|, needed by '[^']{1,200}'|(?<=Merge conflict in ).*$|(?<=\[rejected\]) .{1,200}(?= \()|(?<=\*\*\*) \[[^\]]{1,200}\]"
)
_ASIDE_MARKS = (
    "you mean",
    "input_value",
    "not found in",
    "valid JSON",
    "not in scope",
    "---",
    "===",
    "***",
    "may need",
    "(child)",
    "needed by",
    "conflict in",
    "[rejected]",
)
_LETTER_DIGIT = re.compile(r"[A-Za-z]\d[A-Za-z]|0x|\d[a-f]")
_TWO_DIGITS = re.compile(r"\d\d")
_ASSERTION = re.compile(r"Assertion [`'‘\"](.{1,200}?)['’\"] failed")
_FACTS = (
    "No space left on device", "Disk quota exceeded", "Too many open files", "Read-only file system", "Cannot allocate memory", "Text file busy",
)  # fmt: skip
_SQL_PLACE = re.compile(
    r"^(?:psql:[^\s:]{1,200}:\d+: |(?:Parse e|Runtime e|E)rror(?: near line \d+|)?(?:: (?:in prepare|stepping))?[:,] )"
)
_SHELL_LOCATION = re.compile(r"^[^\s:]{1,200}: (?:line )?\d+: ")
_PERL_AT = re.compile(r" at (?:\S{1,200}|\(eval \d+\)) line \d+(?:, .{0,80})?\.?$")
_RSYNC = re.compile(r"^rsync: \[(\w+)\] \w+ ")
_PROGRAM = re.compile(r"^/(?:[\w.+-]{1,60}/){1,12}([\w+-]{1,40}): ")
_URL = re.compile(r"\b[a-zA-Z][\w+.-]{1,20}://[^\s'\"<>()\]]+")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_HOST = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5}|/\d{1,2}|, port \d+| port \d+)?\b|\[?::1\]?(?::\d{1,5})\b"
    r"|\b(?:localhost|[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}):\d{2,5}\b(?!:)"
    r"|(?<![\w.])(?:[a-z0-9-]{1,63}\.){1,6}(?:com|net|org|io|dev|local|localdomain|internal|invalid|example|test|lan|cloud|eu|de|uk|fr)\b(?![.\w(:]\w)"
)
_HOST_AFTER = re.compile(
    r"((?:resolv\w{1,5}(?: the)?(?: host| hostname| host name| host address| address| proxy)|\bhost(?:name)?:|\blookup|"
    r"translate host name|getaddrinfo [A-Z_]{3,12}|connect to host|connect to server at|connection to server at)\b:?\s{1,3})"
    r"[\"'‘“(]?[\w.-]{1,253}[\"'’”)]?(?: port \d+| on [\d.<>hos]{1,30}(?::\d+)?)?"
)
_HEX = re.compile(r"\b0[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]{0,64}\d)(?=\d{0,64}[a-fA-F])[0-9a-fA-F]{6,128}\b")
_ID = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{0,40}(?:\d{1,20}[A-Za-z]{1,40}){2,20}\d{0,20}(?![A-Za-z0-9])|(?<![A-Za-z0-9.])\d{1,20}[A-Za-z]{1,40}\d{1,20}(?![A-Za-z0-9])"
)
_QUOTED = re.compile(
    r"(?<![\w)])(?:'([^'\n]{0,200})'|\"([^\"\n]{0,200})\"|`([^`'\n]{0,200})[`']|‘([^’\n]{0,200})’|“([^”\n]{0,200})”)(?!\w)"
)
_NAME = re.compile(r"^[@$A-Za-z_*-][\w.$:@*+<>\[\],&-]{0,59}(?:\(\))?$")
_SERIAL = re.compile(
    r"(?<=[_-])\d+|\d{4,}|(?:(?<=job)|(?<=user)|(?<=node)|(?<=host)|(?<=worker)|(?<=server)|(?<=shard)|(?<=part)|(?<=file)|(?<=row)|(?<=task)|(?<=run)|(?<=order))\d+"
)
_CODE = re.compile(r"::|\(\)")
_SCOPED = re.compile(r"^@[\w.-]{1,60}/[\w.-]{1,60}$")
_VERSION = re.compile(r"(?:[=<>~!]=?=|@)[\^~=]{0,2}(?:[\d*x][\w.*+-]{0,40}|latest)?$")
_PIN = re.compile(r"(?<=[\w\]])(?:[=<>~!]=|@)[\^~]?\d[\w.*+-]{0,40}")
_VALUE_BEFORE = re.compile(
    r"(?:base \d+|to (?:float|int|integer|number|date|bool)|invalid(?: \w+)? value(?: in (?:line|row|field|column)[\w <>,]{0,40}:)?|invalid input syntax for \w+(?: \w+)*|\bparsing|"
    r"for input string|invalid (?:date|time|number|literal|integer|float)|date string|time data|"
    r"\b(?:user|account|customer|order|job|task|record|file|path|folder|pathspec|role|container|"
    r"server|host|hostname|machine|node|pod|session|device|token|input|email|address|url|"
    r"line|line \d+|project|tenant|id|pull))[\s:=(]{0,3}$",
    re.IGNORECASE,
)
_VALUE_AFTER = (" is not of type", " is not one of", " does not match", " is too ")
_SHORT_ID = re.compile(
    r"(?<![\w.<'\"-])(?!(?i:utf|iso|sha|cve|cwe|ora|rfc|sql|md|crc|err)-)[A-Za-z]{1,3}-\d{1,8}(?![\w.'\"-])"
)
_NAME_SIGN = re.compile(r"[\d_-]")
_NAMED = re.compile(
    r"\b([A-Za-z]{2,11})((?: id| name)?[ :#]{1,2})(?=[\w.-]{0,60}[\d_-])(?!<)[A-Za-z0-9][\w.-]{1,60}(?<![.-])(?![\w/(=])"
)
_NOUNS = frozenset(
    [
        "user",
        "account",
        "customer",
        "client",
        "tenant",
        "project",
        "order",
        "job",
        "task",
        "host",
        "server",
        "node",
        "pod",
        "bucket",
        "container",
        "device",
        "session",
        "shard",
        "partition",
        "worker",
        "instance",
        "cluster",
        "volume",
        "record",
        "run",
        "batch",
        "request",
        "transaction",
        "ticket",
        "invoice",
        "patient",
        "sample",
        "charge",
        "payment",
    ]
)
"""What has a name or a number of its own: which one it is does not decide the fix."""
_FIELD = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]{0,40}=)(?!<|=|\d{1,3}\b)[\w.+:-]{0,80}\d[\w.+:/-]{0,120}")
_FIELD_KEPT = re.compile(
    r"(?:code|status|errno|error|exit|rc|signal|sqlstate|AF|type|dtype)=$", re.IGNORECASE
)
_ERRNO_TEXT = re.compile(
    r"No such file or directory|Permission denied|Is a directory|Not a directory|File exists|Directory not empty|Operation not permitted|"
    r"Read-only file system|Text file busy|Too many open files|No space left on device|Disk quota exceeded|cannot (?:stat|open|access|read|find or open)|"
    r"Cannot (?:stat|open)|can't open|not in gzip format|unexpected end of file|File format not recognized"
)
_OPENED = re.compile(r"(?<=can't open )[^\s:'\"‘`<]{1,200}$")
_OPERAND = re.compile(
    r"(?<=: )(?:can(?:'t|not) open |cannot create )?([^\s:'\"‘`<]{1,200})(?=: (?:No such file or directory|Permission denied|Is a directory|Not a directory|File exists|"
    r"Directory not empty|Operation not permitted|No space left|Cannot (?:stat|open)|Directory nonexistent|not in gzip|unexpected end of file))"
)
_BAD_BYTE = re.compile(r"invalid (?:start|continuation) byte")
_WITH_EXTENSION = re.compile(r"<path>\.\w{1,8}")
_PATHS = re.compile(r"<path>(?:\.\w{1,8}){0,3}(?:(?:,| or|, or| and)? <path>(?:\.\w{1,8}){0,3})+")
_SUBJECT = re.compile(r"^((?:(?:zstd|lz4|bzip2|xz|unzip): )?)<path>\.\w{1,8}: (?!No such)")
_LISTED = re.compile(
    r"^[^\s:'\"]{1,200}(?= : no such file or directory$)|^[^\s:'\"]{1,200}\.\w{1,8}(?=: FAILED\b)"
)
_NO_SUCH_FILE = re.compile(r"No such file$")
_SHIELD = {ord(c): 0xE000 + ord(c) for c in "0123456789/."}
_UNSHIELD = {shielded: plain for plain, shielded in _SHIELD.items()}
_NUMBER = re.compile(r"\d+(?:[.,:_]\d+)*")
_KEEP_BEFORE = re.compile(
    r"(?:\bHTTP(?:/\d(?:\.\d)?)?|\bstatus(?: code)?(?: of)?|\boccurred|\bcode|[a-z]Code|\berrno|\berror|\berr|\bexit(?:ed)?(?: with)?(?: status| code)?|\bsignal|\b(?:ORA|TNS|PLS|SQL|CWE|UTF|SHA)(?=-)|curl:|\breturned"
    r"|\brc|\bSQLSTATE|\bnpm|\banswered|\breplied|\bresponse(?: code)?|\bstatusCode)[\s:=#(\[-]{0,3}-?$",
    re.IGNORECASE,
)
_CODE_BEFORE = re.compile(r"(?:^|[^A-Za-z0-9_])[A-Z]{1,5}$")
_REASON_AFTER = re.compile(
    r"\s?[:-]?\s?\(?(?:Client Error|Server Error|Service Unavailable|Not Found|Bad Request|Bad Gateway|Gateway Time|Internal Server|"
    r"Unauthori[sz]ed|Forbidden|Too Many|Conflict|Gone|Request Timeout|Method Not|Unprocessable|Payment|Payload|Content Too|Length Req|Locked|URI Too|Precondition|Not Acceptable)",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(
    r"^(?:[\w.-]{1,20}: )?(?:[`'\"‘]?([\w./+-]{1,80})[`'\"’]?: (?:command not found|not found|inaccessible or not found)"
    r"|command not found: ([\w./+-]{1,80})|(?:[\w.-]{1,20}: )?(?:[Uu]n|No )known command:? ([\w./+-]{1,80}))$"
)
_EXEC = re.compile(
    r"^(?:make(?:\[\d+\])?: ([\w+-]{1,40}): No such file or directory|(?:\S{0,40}/)?(?:env|timeout|nice|nohup|xargs|sudo|exec)(?:: failed to run command)?:? [‘'\"]?([\w+-]{1,40})[’'\"]?: (?:No such file or directory|command not found))$"
)
_SPAWN = re.compile(r'exec: "([^"]{1,80})": executable file not found|\bspawn ([\w./+-]{1,80}) ENOENT')
_CRASH = re.compile(
    r"^(?:\w{1,10}: line \d+: +)?(?:\s{0,8}\d+ )?(Segmentation fault|Killed|Terminated|Aborted|Bus error|Floating point exception|Illegal instruction|"
    r"Trace/breakpoint trap|File size limit exceeded|CPU time limit exceeded)(?: {1,4}\(core dumped\))?(?: {2,}.*)?$"
)
_CRASH_SIGNALS = {
    "Segmentation fault": "SIGSEGV", "Killed": "SIGKILL", "Terminated": "SIGTERM", "Aborted": "SIGABRT", "Bus error": "SIGBUS",
    "Floating point exception": "SIGFPE", "Illegal instruction": "SIGILL", "Trace/breakpoint trap": "SIGTRAP",
    "File size limit exceeded": "SIGXFSZ", "CPU time limit exceeded": "SIGXCPU",
}  # fmt: skip


def template_of(text: str) -> str:
    """The message with its variable parts masked; the same for every failure that one fix would cure."""
    s = text.strip()[:MAX_CHARS]
    if "://" in s:
        s = _URL.sub("<url>", s)
    s = _without_place(s)
    known = _well_known(s)
    if known:
        return known
    if "(Caused by " in s:
        s = _inner_cause(s)
    s = _places(s)
    if _NAME_SIGN.search(s):
        s = _NAMED.sub(_named, s)
    if "'" in s or '"' in s or "`" in s or "‘" in s or "“" in s:
        operands = _ERRNO_TEXT.search(s) is not None and "[Errno" not in s
        s = _QUOTED.sub(lambda m: _quoted(m, operands=operands), s)
    if ": " in s:
        s = _OPERAND.sub(lambda m: m.group(0).replace(m.group(1), path_word(m.group(1))), s)
    if "invalid " in s:
        s = _BAD_BYTE.sub("invalid byte", s)
    if ": FAILED" in s or " : no such" in s:
        s = _LISTED.sub("<path>", s)
    if "can't open " in s:
        s = _OPENED.sub(lambda m: path_word(m.group(0)), s)
    if "/" in s or "." in s:
        s = PATH.sub(path_at, s)
    if s.count("<path>") > 1:
        s = _PATHS.sub(
            lambda m: m.group(0).split(" ", 1)[0].rstrip(","), s
        )  # several of them are as good as one
    if "ermission denied" in s or "not permitted" in s:
        s = _WITH_EXTENSION.sub("<path>", s)  # a right is missing, whatever the file
    s = _SUBJECT.sub(r"\1<path>: ", s)
    if "=" in s:
        s = _FIELD.sub(_field, s)
    if "=" in s or "@" in s:
        s = _PIN.sub("", s)
    s = _NUMBER.sub(_number, s)
    return _NO_SUCH_FILE.sub("No such file or directory", " ".join(s.translate(_UNSHIELD).split()))


def _without_place(s: str) -> str:
    """Drop what stands before the message: time, level, thread, program's folder, file and line."""
    if s[:1] in "EF" and (m := _KLOG.match(s)):
        s = s[m.end() :]
    if _TWO_DIGITS.search(s):
        s = _TIME.sub("<t>", s)
    if s.startswith("<t>") and (m := _SYSLOG.match(s)):
        s = f"{m.group(1)}: " + s[m.end() :]
    s = _PLAIN_LOGGER.sub("", s)
    s = _without_logger(_LEAD_TIME.sub("", s))
    s = _SQL_PLACE.sub("", s)
    s = _LEVEL.sub("", s, count=1)
    s = _THREAD.sub("", s)
    s = _PROGRAM.sub(r"\1: ", s)
    s = _LOCATION.sub("", s)
    s = _SHELL_LOCATION.sub("", s)
    s = _LEVEL.sub("", s, count=1)
    if " line " in s:
        s = _PERL_AT.sub("", s)
    if s.startswith("rsync: ["):
        s = _RSYNC.sub(r"rsync: \1 ", s)
    if "UnknownHostException" in s:
        s = s.removesuffix(": Name or service not known").removesuffix(
            ": Temporary failure in name resolution"
        )
    s = _TOLD_BY.sub("", s)
    return _ASIDE.sub(r"\1", s) if any(mark in s for mark in _ASIDE_MARKS) else s


def _without_logger(s: str) -> str:
    """Drop what a logger puts before a message: thread, level in capitals, name, place."""
    m = _LOGGER.match(s[:240])
    if m is None or m.end() == len(s):
        return s
    rest = s[m.end() :]
    return _LOGGER_NAME.sub("", rest, count=1)


def _well_known(s: str) -> str | None:
    """Facts that programs word differently."""
    if "not found" in s or "nown command" in s or "No such file" in s:
        m = _NOT_FOUND.match(s) or _EXEC.match(s)
        if m:
            name = next(group for group in m.groups() if group)
            is_script = (
                "/" in name and name[0] != "/"
            )  # a file of the job's own, that may also lack its interpreter
            return f"command not found: {path_word(name) if is_script else name.rsplit('/', 1)[-1]}"
    if ("exec: " in s or "spawn " in s) and (m := _SPAWN.search(s)):
        return f"command not found: {next(group for group in m.groups() if group).rsplit('/', 1)[-1]}"
    if "Assertion" in s and (m := _ASSERTION.search(s)):
        return f"assertion failed: {m.group(1)}"
    if fact := next((fact for fact in _FACTS if fact in s), None):
        return fact
    if m := _CRASH.match(s):
        return f"signal {_CRASH_SIGNALS[m.group(1)]}"
    return None


def _inner_cause(s: str) -> str:
    head, _, cause = s.partition("(Caused by ")
    return f"{head.split(': ', 1)[0]}: {cause.rstrip(')')}"


def _places(s: str) -> str:
    """Mask where: addresses, hosts, ids."""
    if "@" in s:
        s = _MAIL.sub("<mail>", s)
    if "-" in s:
        s = _UUID.sub("<id>", s)
    if "." in s or ":" in s:
        s = _HOST.sub("<host>", s)
    if any(mark in s for mark in ("host", "lookup", "getaddrinfo", "server at")):
        s = _HOST_AFTER.sub(r"\1<host>", s)
    if "-" in s:
        s = _SHORT_ID.sub("<n>", s)
    if not _TWO_DIGITS.search(s) and not _LETTER_DIGIT.search(s):
        return s
    s = _HEX.sub("<hex>", s)
    return _ID.sub("<id>", s)


def _quoted(m: re.Match[str], *, operands: bool) -> str:
    inner = next(group for group in m.groups() if group is not None)
    opening, closing = m.group(0)[0], m.group(0)[-1]
    if operands and (_CODE.search(inner) or _ERRNO_TEXT.search(inner)):
        return f"'{_kept(inner)}'"
    if (
        operands
        or m.string.startswith(_VALUE_AFTER, m.end())
        or _VALUE_BEFORE.search(m.string[max(0, m.start() - 60) : m.start()])
    ):
        word = path_word(inner) if operands or extension(inner) else "<v>"
    elif inner.startswith("<") and inner.endswith(">"):
        word = inner
    elif not any(c.isalnum() for c in inner) and len(inner) <= 4:
        return f"{opening}{inner}{closing}"
    elif _SCOPED.match(name := _VERSION.sub("", inner)) or (_NAME.match(name) and not is_path(name)):
        word = _kept(_SERIAL.sub("<n>", name))
    elif is_path(inner):
        word = path_word(inner)
    elif inner.count(" ") > 1 or inner[:3].isdigit():
        word = inner  # a sentence: what varies in it is masked with the rest
    else:
        word = "<v>"
    return f"'{word}'"


def _named(m: re.Match[str]) -> str:
    noun, between = m.groups()
    return f"{noun}{between}<n>" if noun.lower() in _NOUNS else m.group(0)


def _field(m: re.Match[str]) -> str:
    """`name=value` with a digit in the value: the value varies, but for codes."""
    return m.group(0) if _FIELD_KEPT.search(m.group(1)) else f"{m.group(1)}<n>"


def _kept(name: str) -> str:
    """A name that later steps must not take for a path or a number."""
    return name.translate(_SHIELD)


def _number(m: re.Match[str]) -> str:
    """Mask a number unless it decides the fix: HTTP 503, errno 28, exit status 2, curl: (7), E0425."""
    start, word = m.start(), m.group(0)
    before = m.string[max(0, start - 24) : start]
    if "<path>." in before[-14:] and before.rpartition("<path>.")[2].isalnum():
        return word  # of an extension
    if len(word) <= 5 and word.isdigit():
        if _KEEP_BEFORE.search(before) or _CODE_BEFORE.search(before):
            return word
        if len(word) == 3 and word[0] in "45" and _REASON_AFTER.match(m.string, m.end()):
            return word
    return "<n>"
