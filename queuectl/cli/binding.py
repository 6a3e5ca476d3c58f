"""Fire, told to bind and not to run.

The words were understood already; here they take Fire's own unambiguous form, `--name=literal`, and Fire
binds them to the method's parameters. What it calls returns a `Call` without members, so that there is
nothing to chain into or to print, and nothing has run if Fire objects.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from queuectl.cli.table import Command


class Call:
    """A command with its values, ready to run."""

    __slots__ = ("command", "options")

    def __init__(self, command: Command, options: dict[str, Any]) -> None:
        self.command = command
        self.options = options

    def __dir__(self) -> list[str]:
        return []  # Fire finds members with dir(); there are none to find

    def on(self, queue: Any) -> Any:
        """Run the command on a queue and return what it returns."""
        *groups, verb = (word.replace("-", "_") for word in self.command.path)
        owner = getattr(queue, groups[0]) if groups else queue
        options = dict(self.options)
        many = [options.pop(p.name, []) for p in self.command.parameters if p.many]
        return getattr(owner, verb)(*(many[0] if many else ()), **options)


def bind(command: Command, options: dict[str, Any]) -> Call:
    """Return the call that Fire makes of a command and its values."""
    fire = import_fire()

    def call(**given: Any) -> Call:
        return Call(command, given)

    kind = inspect.Parameter.KEYWORD_ONLY
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind) for name in options]
    )
    tree: Any = call
    for word in reversed(command.path):
        tree = {word: tree}
    try:
        bound = fire.Fire(tree, command=literals(command, options), name="queuectl", serialize=_print_nothing)
    except SystemExit:  # FireExit
        bound = None
    if not isinstance(bound, Call) or bound.options != options:
        raise RuntimeError(f"Fire understood {command.name} differently; nothing was run")
    return bound


def literals(command: Command, options: dict[str, Any]) -> list[str]:
    """Return the words that Fire cannot misread: the path, and each value as a Python literal."""
    return [*command.path, *(f"--{name}={value!r}" for name, value in options.items())]


def _print_nothing(_: object) -> None:
    """Print nothing: the result is rendered after it has run."""


# What Fire imports for coroutines, pager, help pages, REPL, its own flags and completion, and Windows: three
# quarters of its import. We use none of it, and asyncio alone brings ssl, logging and concurrent.futures.
_UNUSED = (
    "argparse",
    "asyncio",
    "fire.completion",
    "fire.console",
    "fire.console.console_io",
    "fire.docstrings",
    "fire.formatting_windows",
    "fire.helptext",
    "fire.interact",
)


def import_fire() -> Any:
    """Import Fire, in a command's own process without the modules that are only for what we never ask of it.

    A process that has asyncio (a notebook, a test run) is somebody else's: there Fire is imported as it is.
    """
    if "fire" in sys.modules or "asyncio" in sys.modules:
        import fire

        return fire
    stubs = {name: ModuleType(name) for name in _UNUSED if name not in sys.modules}
    sys.modules.update(stubs)
    sys.modules["fire.console"].console_io = stubs["fire.console.console_io"]  # type: ignore[attr-defined]
    try:
        import fire
        import fire.inspectutils
        import fire.parser
    finally:
        for name in stubs:
            del sys.modules[name]
    fire.inspectutils.IsCoroutineFunction = _no_coroutines
    fire.inspectutils.GetFileAndLine = _nowhere  # it reads the source file of whatever it is given
    fire.parser.CreateParser = _NoFireFlags  # for flags after `--`; imports shutil and its compressors
    return fire


class _NoFireFlags:
    """Stands for the parser of the flags after `--`, of which we pass none."""

    help = trace = verbose = interactive = False
    completion = None
    separator = "-"

    def parse_known_args(self, words: list[str]) -> tuple[_NoFireFlags, list[str]]:
        return self, words


def _no_coroutines(_: object) -> bool:
    return False


def _nowhere(_: object) -> tuple[None, None]:
    return None, None
