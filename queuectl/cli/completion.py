"""Completion scripts for bash, zsh and fish, generated from the same table as the commands."""

from __future__ import annotations

from queuectl.cli.argv import Functions
from queuectl.cli.help import read
from queuectl.cli.table import GLOBALS, Command, Flag, Parameter, command
from queuectl.cli.usage import UsageError, nearest
from queuectl.model import State
from queuectl.records import NamedTuple
from queuectl.settings import OF_A_QUEUE, SETTINGS

SHELLS = ("bash", "zsh", "fish")


def script(words: list[str], functions: Functions) -> str:
    """Return the script for the shell that `words` name."""
    if len(words) != 1 or words[0] not in SHELLS:
        hint = nearest(words[0], SHELLS) if words else ""
        raise UsageError(f"completion: expected bash, zsh or fish, got {' '.join(words) or 'nothing'}{hint}")
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[words[0]]
    return write(tree(functions))


def candidates(before: list[str], functions: Functions) -> list[str]:
    """Return the words that may follow these, with no regard to how the next one begins; files are left to others."""
    entries = {e.path: e for e in tree(functions)}
    path: tuple[str, ...] = ()
    for word in before:
        if (*path, word) in entries:
            path = (*path, word)
    entry = entries[path]
    for option in entry.options:
        if option.takes_value and before[-1:] and before[-1] in option.names:
            return [v for v in option.values if v[0] != "<"]
    flags = [name for option in entry.options for name in option.names]
    return [w for w in (*entry.words, *flags) if w[0] != "<"]


class Option(NamedTuple):
    """A flag, the words that may follow it, and what it is for."""

    names: tuple[str, ...]
    takes_value: bool
    values: tuple[str, ...]  # "<file>" or "<folder>" stand for those
    help: str


class Entry(NamedTuple):
    """A command or group with what may follow it."""

    path: tuple[str, ...]
    help: str
    words: tuple[str, ...]
    options: tuple[Option, ...]


def tree(functions: Functions) -> list[Entry]:
    """Return what can be typed after every word or pair of words."""
    commands = [command(path, function) for path, function in functions.items()]
    top = sorted({c.path[0] for c in commands} | {"completion", "help"})
    entries = [Entry((), "", tuple(top), tuple(_option(None, p) for p in GLOBALS) + _ALWAYS)]
    for group in sorted({c.path[0] for c in commands if len(c.path) > 1}):
        verbs = tuple(sorted(c.path[1] for c in commands if c.path[0] == group and len(c.path) > 1))
        entries.append(Entry((group,), f"{', '.join(verbs)}", verbs, _ALWAYS))
    entries.append(Entry(("completion",), "Print a completion script for a shell", SHELLS, _ALWAYS))
    entries.append(Entry(("help",), "Say what a command does", tuple(w for w in top if w != "help"), ()))
    return entries + [_entry(c) for c in commands]


_ALWAYS = (Option(("--help", "-h"), False, (), "Say what this does"),)


def _entry(c: Command) -> Entry:
    doc = read(c.function.__doc__ or "")
    positional = [p for p in c.parameters if p.positional and not p.short]
    words = _values(c, positional[0]) if positional else ()
    shown = [p for p in c.parameters if not p.positional or p.short]
    options = [_option(c, p, doc.parameters.get(p.name, "")) for p in (*shown, *GLOBALS)]
    return Entry(c.path, doc.summary, words, (*options, *_ALWAYS))


def _option(c: Command | None, p: Parameter, text: str = "") -> Option:
    names = (p.flag, f"-{p.short}") if p.short else (p.flag,)
    if p.kind == Flag and p.default is True:
        names = (*names, f"--no{p.flag[1:]}")
    if p in GLOBALS:
        text = {"db": "The database", "json": "Print JSON Lines", "csv": "Print CSV"}[p.name]
    values = ("<file>",) if p.name == "db" else _values(c, p) if c else ()
    return Option(names, p.kind != Flag, values, text.partition(". ")[0].rstrip("."))


def _values(c: Command, p: Parameter) -> tuple[str, ...]:
    match c.extra.values.get(p.name):
        case "state":
            return tuple(str(s) for s in State)
        case "setting":
            return tuple(SETTINGS)
        case "queue setting":
            return tuple(OF_A_QUEUE)
        case "file":
            return ("<file>",)
        case "folder":
            return ("<folder>",)
    return ()


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _cases(entries: list[Entry]) -> list[str]:
    """Return the arms of a shell `case` over the path: its words, its flags, and the values of each flag."""
    arms = []
    for e in entries:
        flags = [name for o in e.options for name in o.names]
        values = [(name, o.values) for o in e.options if o.takes_value for name in o.names]
        arms += [
            f"    {_quote(' '.join(e.path))})",
            f"      words={_quote(' '.join(e.words))}",
            f"      flags={_quote(' '.join(flags))}",
        ]
        if values:
            arms += ['      case "$before" in']
            arms += [f"        {name}) takes=1 values={_quote(' '.join(v))} ;;" for name, v in values]
            arms += ["      esac"]
        arms += ["      ;;"]
    return arms


_BASH = r"""# bash completion for queuectl; generated by `queuectl completion bash`
_queuectl() {
  local cur=${COMP_WORDS[COMP_CWORD]} before='' path='' words='' flags='' values='' takes=''
  local i word skip='' open=''
  COMPREPLY=()
  (( COMP_CWORD > 0 )) && before=${COMP_WORDS[COMP_CWORD-1]}
  if [[ $cur == = ]]; then cur=''; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
  [[ ${COMP_WORDS[COMP_CWORD]} == = ]] && before=${COMP_WORDS[COMP_CWORD-1]}
  for (( i = 1; i < COMP_CWORD; i++ )); do
    word=${COMP_WORDS[i]}
    if [[ -n $skip ]]; then [[ $word == = ]] || skip=''; continue; fi
    case $word in
      --) return ;;
      --db) skip=1 ;;
      -*) ;;
      *)
        if [[ -z $path ]]; then path=$word; case $word in @GROUPS@) open=1 ;; *) open='' ;; esac
        elif [[ -n $open ]]; then path="$path $word"; open=''
        fi ;;
    esac
  done
  case $path in
@CASES@
  esac
  if [[ -n $takes ]]; then
    case $values in
      '<file>') compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
      '<folder>') compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
      *) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur") ;;
    esac
  elif [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
  elif [[ $words == '<file>' ]]; then
    compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  fi
}
complete -F _queuectl queuectl
"""

_ZSH = r"""#compdef queuectl
# zsh completion for queuectl; generated by `queuectl completion zsh`
_queuectl() {
  emulate -L zsh
  local cur=${words[CURRENT]} before='' path_='' flags='' values='' takes='' word skip='' open='' follow=''
  local -i i
  (( CURRENT > 1 )) && before=${words[CURRENT-1]}
  for (( i = 2; i < CURRENT; i++ )); do
    word=${words[i]}
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
      --) return ;;
      --db) skip=1 ;;
      -*) ;;
      *)
        if [[ -z $path_ ]]; then path_=$word; case $word in @GROUPS@) open=1 ;; *) open='' ;; esac
        elif [[ -n $open ]]; then path_="$path_ $word"; open=''
        fi ;;
    esac
  done
  if [[ $cur == --*=* ]]; then before=${cur%%=*}; compset -P '*='; fi
  case $path_ in
@CASES@
  esac
  if [[ -n $takes ]]; then
    case $values in
      '<file>') _files ;;
      '<folder>') _files -/ ;;
      *) compadd -- ${=values} ;;
    esac
  elif [[ $cur == -* ]]; then
    compadd -- ${=flags}
  elif [[ $follow == '<file>' ]]; then
    _files
  else
    compadd -- ${=follow}
  fi
}
compdef _queuectl queuectl
"""


def _groups(entries: list[Entry]) -> str:
    return "|".join(sorted({e.path[0] for e in entries if len(e.path) == 2} | {"help"}))


def _bash(entries: list[Entry]) -> str:
    return _BASH.replace("@GROUPS@", _groups(entries)).replace("@CASES@", "\n".join(_cases(entries)))


def _zsh(entries: list[Entry]) -> str:
    arms = [line.replace("      words=", "      follow=", 1) for line in _cases(entries)]
    return _ZSH.replace("@GROUPS@", _groups(entries)).replace("@CASES@", "\n".join(arms))


def _fish(entries: list[Entry]) -> str:
    lines = [
        "# fish completion for queuectl; generated by `queuectl completion fish`",
        _FISH_PATH.replace("@GROUPS@", _groups(entries).replace("|", " ")),
        "complete -c queuectl -f",
    ]
    known = {e.path: e.help for e in entries}
    for e in entries:
        when = _quote(f"__queuectl_at {_quote(' '.join(e.path))}")
        for word in e.words:
            if word in ("<file>", "<folder>"):
                lines += [f"complete -c queuectl -n {when} -F"]
                continue
            about = known.get((*e.path, word), "")
            lines += [
                f"complete -c queuectl -n {when} -a {_fish_text(word)}"
                + (f" -d {_fish_text(about)}" if about else "")
            ]
        for o in e.options:
            lines += [f"complete -c queuectl -n {when}{_fish_flags(o)}"]
    return "\n".join(lines) + "\n"


_FISH_PATH = r"""function __queuectl_at --description 'whether the words so far are this command'
  set -l words (commandline -opc)
  set -l path
  set -l skip 0
  for word in $words[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch $word
      case --
        return 1
      case --db
        set skip 1
      case '-*'
      case '*'
        if test (count $path) = 0
          set path $word
        else if test (count $path) = 1; and contains -- $path[1] @GROUPS@
          set path $path $word
        end
    end
  end
  test "$path" = "$argv[1]"
end"""


def _fish_flags(o: Option) -> str:
    text = ""
    for name in o.names:
        text += f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
    if o.takes_value:
        text += " -r"
        if o.values in (("<file>",), ("<folder>",)):
            text += " -F"
        elif o.values:
            text += f" -a {_fish_text(' '.join(o.values))}"
    return text + (f" -d {_fish_text(o.help)}" if o.help else "")


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
