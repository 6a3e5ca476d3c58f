"""A command with {names} in it: which values it needs, and the command that it becomes with each row of them.

Values are quoted for the shell. Quoting keeps a value one word only where the shell is not in the middle of quotes, a comment or a
here-document, so a name in such a place is refused: there a value could become a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from string import Formatter
from typing import Any

from queuectl import validate as v
from queuectl.errors import InvalidValue, QueuectlError
from queuectl.records import NamedTuple

_NUMBER = re.compile(r"-?[0-9.]+([eE][+-]?[0-9]+)?")
_BREAKS = ";&|()<>\n"


class Cell(NamedTuple):
    """One value: the text that a command gets, and what it is kept (and formatted) as."""

    text: str
    value: Any


class Piece(NamedTuple):
    """Some literal text, then a name with its format."""

    literal: str
    name: str | None
    spec: str = ""
    begins_a_word: bool = False
    after_dashes: bool = False  # `--` has ended the options


class Template:
    """A shell command with the names of parameters in braces.

    Args:
        text: such as `train.py --lr {lr:.3g}`; `{{` and `}}` are braces.

    Raises:
        InvalidValue: no name in it, braces that do not match, or a name where its value could not be kept one word.
    """

    def __init__(self, text: object) -> None:
        self.text = v.command(text)
        shell = _Shell()
        self.pieces = tuple(self._piece(shell, *p) for p in self._parsed())
        self.names = tuple(dict.fromkeys(p.name for p in self.pieces if p.name is not None))
        if not self.names:
            raise InvalidValue(f"template: expected a command with a {{name}} in it, got {self.text[:60]!r}")

    def _parsed(self) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(Formatter().parse(self.text))
        except ValueError as e:
            raise InvalidValue(
                f"template: {str(e).lower()}; write {{{{ and }}}} for braces that belong to the command"
            ) from None

    @staticmethod
    def _piece(
        shell: _Shell, literal: str, name: str | None, spec: str | None, conversion: str | None
    ) -> Piece:
        shell.read(literal)
        if name is None:
            return Piece(literal, None)
        if conversion or "{" in (spec or ""):
            raise InvalidValue(
                f"template: expected {{{name}}} or a plain format as in {{{name}:.3g}}, got more"
            )
        if not name:
            raise InvalidValue("template: expected a name between { and }; write {{ }} for braces themselves")
        why = shell.refuses()
        if why:
            raise InvalidValue(
                f"template: {{{name}}} stands {why}; put it where it is a word or part of one: values are quoted already"
            )
        piece = Piece(literal, name, spec or "", shell.begins_a_word(), shell.dashes)
        shell.read_value()
        return piece

    def command(self, row: Mapping[str, Cell]) -> str:
        """Return the command of one row.

        Raises:
            InvalidValue: a value does not fit its format, or would be read as an option.
        """
        out = []
        for piece in self.pieces:
            out.append(piece.literal)
            if piece.name is not None:
                out.append(self._quoted(piece, row[piece.name]))
        return v.command("".join(out))

    @staticmethod
    def _quoted(piece: Piece, cell: Cell) -> str:
        text, name = cell.text, piece.name
        if piece.spec:
            try:
                text = format(cell.value, piece.spec)
            except (ValueError, TypeError) as e:
                raise InvalidValue(
                    f"{name}: {cell.value!r} does not fit {{{name}:{piece.spec}}} ({e})"
                ) from None
        if (
            text.startswith("-")
            and piece.begins_a_word
            and not piece.after_dashes
            and not _NUMBER.fullmatch(text)
        ):
            raise InvalidValue(
                f"{name}: {text[:40]!r} would be read as an option; write --{name}={{{name}}}, or -- before it"
            )
        return shlex.quote(text)


class _Shell:
    """How far a POSIX shell has come in reading a command: enough of it to say whether a quoted word may stand here."""

    def __init__(self) -> None:
        self.quote = ""  # ' or " when inside
        self.word = ""  # of the word so far, without quotes
        self.escaped = self.comment = self.backtick = False
        self.strange = ""  # something after which we no longer know
        self.dashes = False  # whether the word -- has ended the options of this command

    def read(self, text: str) -> None:
        """Go on over literal text."""
        for i, char in enumerate(text):
            self._one(char, text[i - 1 : i] if i else "", text[i : i + 3])

    def _one(self, char: str, before: str, ahead: str) -> None:
        if self.escaped:
            self.escaped = False
            self.word += char
        elif self.comment:
            self.comment = char != "\n"
        elif self.quote == "'":
            self._in_single(char)
        elif char == "\\":
            self.escaped = True
        elif char == "`":
            self.backtick = not self.backtick
        elif self.quote == '"':
            self._in_double(char)
        else:
            self._plain(char, before, ahead)

    def _in_single(self, char: str) -> None:
        self.quote = "" if char == "'" else self.quote
        self.word += char

    def _in_double(self, char: str) -> None:
        self.quote = "" if char == '"' else self.quote
        self.word += char

    def _plain(self, char: str, before: str, ahead: str) -> None:
        if char in "'\"":
            self.strange = "after $'" if char == "'" and before == "$" else self.strange
            self.quote = char
            self.word += char
        elif char == "#" and not self.word:
            self.comment = True
        elif char.isspace() or char in _BREAKS:
            self._end_of_word(char)
            if ahead.startswith("<<"):
                self.strange = "after << (a here-document)"
        else:
            self.word += char
            if ahead == "$((":
                self.strange = "after $(( (arithmetic)"

    def _end_of_word(self, char: str) -> None:
        self.dashes = (self.dashes or self.word == "--") and char not in _BREAKS
        self.word = ""

    def read_value(self) -> None:
        """Go on over a value, which is part of a word."""
        self.word += "x"

    def begins_a_word(self) -> bool:
        return not self.word

    def refuses(self) -> str:
        """Return where we are when a quoted value would not stay one word here, else nothing."""
        if self.quote:
            return f"between {self.quote} and {self.quote}"
        if self.escaped:
            return "after a backslash"
        if self.comment:
            return "in a comment"
        if self.backtick:
            return "between ` and `"
        if self.word.endswith("$"):
            return "after $ (for a variable write ${{NAME}})"
        return self.strange


def commands(template: Template, rows: list[Mapping[str, Cell]]) -> list[str]:
    """Return the command of each row.

    Raises:
        InvalidValue: the message names the row.
    """
    out = []
    for n, row in enumerate(rows, 1):
        try:
            out.append(template.command(row))
        except QueuectlError as e:
            raise InvalidValue(f"row {n}: {e}; nothing was enqueued") from None
    return out
