"""Untrusted text, made safe to look at: on a terminal, in HTML, in a spreadsheet.

Commands, output and ids are data. Nothing that a job is called or prints may move the cursor, turn the text
around, become markup or a formula, or show a password. Pure functions, text in and text out; what is stored
is never changed.
"""

from __future__ import annotations

import re
from functools import cache

MASK = "***"

# C0 and C1 controls, DEL, bidirectional marks and overrides, zero-width space and byte order mark, the line
# and paragraph separators, and halves of surrogate pairs (undecodable bytes).
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_UNSAFE_LINE = f"[{_UNSAFE}]"
_UNSAFE_BLOCK = f"(?![\n\t])[{_UNSAFE}]"
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile on first use: 4 ms that most commands need not spend."""
    return re.compile(pattern)


def escape_terminal(text: str, *, multiline: bool = False) -> str:
    r"""Return text with every control and direction character spelt out, such as `\x1b` or `\u202e`.

    Args:
        text: Anything.
        multiline: Keep line ends and tabs as they are; otherwise the result is one line.
    """
    if text.isprintable():
        return text
    return _compiled(_UNSAFE_BLOCK if multiline else _UNSAFE_LINE).sub(_spelt_out, text)


def _spelt_out(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _NAMED.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def escape_html(text: str) -> str:
    """Return text for HTML elements and quoted attributes, where it shows as it is, controls spelt out."""
    text = escape_terminal(text, multiline=True)
    for char, entity in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ('"', "&quot;"),
        ("'", "&#x27;"),
        ("$", "&#36;"),
    ):
        text = text.replace(char, entity)  # `$` begins mathematics in Jupyter
    return text


def csv_cell(value: object) -> object:
    """Return a value for a CSV cell: text that a spreadsheet would take for a formula gets a leading `'`.

    Source: OWASP, "CSV Injection": cells that begin with = + - @, a tab or a carriage return.
    """
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and value:
        return f"'{value}"
    return value


def truncate(text: str, length: int) -> str:
    """Return the first `length` characters, and how many were left out."""
    if len(text) <= length:
        return text
    return f"{text[:length]}… ({len(text) - length:,} more characters)"


def preview(text: str, length: int = 60) -> str:
    """Return a command or message as one short, safe line: secrets masked, controls spelt out, cut."""
    return truncate(escape_terminal(mask_secrets(text)), length)


# -- secrets -------------------------------------------------------------------------------------

_WORD = (
    r"(?:passwords?|passwd|passphrase|(?<![a-z])pass|pwd|secrets?|token|credentials?|api[_-]?keys?|access[_-]?keys?"
    r"|auth[_-]?keys?|private[_-]?keys?|secret[_-]?keys?|account[_-]?keys?|encryption[_-]?keys?)"
)
# --db-password=, --token VALUE, GITHUB_TOKEN=, ?access_token=, "password": "…", X-Api-Key: …
_NAMED_SECRET = rf"""(?ix)
    (?<![a-z0-9_-]) -{{1,2}} (?:[a-z0-9]+[_-]){{0,6}} {_WORD} (?: \s*=\s* | \s+ (?!-) )      # an option
    | (?<![a-z0-9]) (?:[a-z0-9]+[_-]){{0,6}} [a-z0-9]{{0,20}}? {_WORD} (?:_[a-z0-9]+)?       # a name
      \\?["']? \s? [=:] \s?
    | \b authorization \\?["']? \s? [:=] \s? ["']? (?:(?:basic|bearer|token|digest|negotiate)\s+)?
    | \b bearer \s+
    | (?<![\w-]) (?:-u|--user|--proxy-user) (?:\s+|=) ["']? (?![0-9]+:[0-9]+(?:\s|$)) (?=[^\s:"']+:)
    """
_PLAIN_SECRET = r"""(?x)
    (?<=://) [^\s/@'"?\#<>|]+ (?=@)                                      # the user's part of a URL
    | \b (?:AKIA|ASIA|AROA) [0-9A-Z]{8,}                                 # AWS
    | \b gh[opsur]_ \w{4,} | \b github_pat_ \w{4,} | \b glpat- [\w-]{4,}
    | \b xox[abeoprs]- [\w-]{4,}
    | (?<![\w-]) sk-(?:[a-z]+-)* [A-Za-z0-9_]{16,} | \b [sr]k_(?:live|test)_ \w{8,}
    | \b AIza [\w-]{20,} | \b hf_ [A-Za-z0-9]{16,} | \b npm_ [A-Za-z0-9]{16,} | \b pypi- [\w-]{16,}
    | (?<![\w-]) eyJ [\w-]{8,} \. [\w-]{8,} (?: \. [\w-]* )?            # JSON web token
    | -----BEGIN [A-Z ]* PRIVATE\ KEY----- (?s:.*?) (?: -----END [A-Z ]* PRIVATE\ KEY----- | \Z )
    """
_SUSPECT = (
    r"(?i)pass|pwd|secret|token|credential|key|authorization|bearer|-u|--proxy-user|://|AKIA|ASIA|AROA|gh[opsur]_"
    r"|github_pat_|glpat-|xox|sk-|[sr]k_|AIza|hf_|npm_|pypi-|eyJ"
)
_REFERENCE = r"""["']?\$(?:\w+|\{\w+\})["']?"""
_BARE = r"""(?s)(?:\\.|[^\s"'\\;&|<>)])+"""


def mask_secrets(text: str) -> str:
    """Return text with passwords, tokens and keys replaced by `***`; `$NAME` hides nothing and stays.

    It errs on the side of hiding. What is stored is not touched.
    """
    if not _compiled(_SUSPECT).search(text):
        return text
    return _compiled(_PLAIN_SECRET).sub(MASK, _mask_named(text))


def _mask_named(text: str) -> str:
    out: list[str] = []
    position, quote = 0, ""
    while match := _compiled(_NAMED_SECRET).search(text, position):
        quote = _open_quote(text, position, match.end(), quote)
        end = _value_end(text, match.end(), quote)
        value = text[match.end() : end]
        out += [
            text[position : match.end()],
            value if not value or _compiled(_REFERENCE).fullmatch(value) else MASK,
        ]
        quote = _open_quote(text, match.end(), end, quote)
        position = max(end, match.end())
    return "".join([*out, text[position:]])


def _open_quote(text: str, start: int, end: int, quote: str) -> str:
    """Return the quote character that is still open at `end`, or ''."""
    i = start
    while i < end:
        char = text[i]
        if char == "\\" and quote != "'":
            i += 1
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        i += 1
    return quote


def _value_end(text: str, start: int, quote: str) -> int:
    """Return where a shell word that starts inside or outside quotes ends."""
    i = start
    if quote:  # "…?token=abc&x=1" or "password=two words": the quote ends the word at the latest
        bare = _compiled(_BARE).match(text, i)
        return bare.end() if bare else _quoted_end(text, i)
    while i < len(text):
        if text[i] in "\"'":
            i = _closing(text, i + 1, text[i]) + 1
        elif bare := _compiled(_BARE).match(text, i):
            i = bare.end()
        else:
            break
    return min(i, len(text))


def _quoted_end(text: str, start: int) -> int:
    """Return the end of an inner quoted value, as in `"{'token': 'abc'}"`; its quotes may be escaped."""
    for opening in ('\\"', "\\'", '"', "'"):
        if text.startswith(opening, start):
            found = text.find(opening, start + len(opening))
            return len(text) if found < 0 else found + len(opening)
    return start


def _closing(text: str, start: int, quote: str) -> int:
    i = start
    while i < len(text) and text[i] != quote:
        i += 2 if text[i] == "\\" and quote == '"' else 1
    return i
