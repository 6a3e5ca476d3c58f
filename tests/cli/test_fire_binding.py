"""Fire binds exactly the values that were understood, whatever they look like, and runs nothing itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from harness import size
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queuectl.cli.argv import understand
from queuectl.cli.binding import Call, bind, literals
from queuectl.cli.table import command, functions

NASTY = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.text(alphabet="\"'\\#,:=[]{}()-_ \t\n0123456789eExXTrueFalsNo.$`~;&|<>*?!%@^+/", max_size=25),
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(
        ["-", "--", "--help", "-h", "--trace", "True", "None", "1e5", "0x1f", "a b", "\x00", "\u2028"]
    ),
)


class Keeper:
    def verb(
        self, text: str, *words: str, several: list[str] | None = None, n: int = 0, x: float = 0.0
    ) -> Any: ...


KEEPER = functions(Keeper)


@pytest.mark.sized
@settings(max_examples=size(1000, 10_000), deadline=None)
@given(NASTY, st.lists(NASTY, max_size=3), st.integers(-(2**63), 2**63 - 1))
@example("--name='x'", ["--", "-"], 0)
def test_text_survives_words_fire_and_back(text: str, words: list[str], number: int) -> None:
    argv = [
        "verb",
        f"--several={text}",
        *[f"--several={w}" for w in words],
        f"--n={number}",
        "--",
        text,
        *words,
    ]
    request = understand(argv, KEEPER)
    assert request.command is not None
    call = bind(request.command, request.options)
    assert call.options == {"several": [text, *words], "n": number, "text": text} | (
        {"words": words} if words else {}
    )


@pytest.mark.sized
@settings(max_examples=size(500, 10_000), deadline=None)
@given(st.floats(0, 1e15, allow_nan=False))
def test_numbers_survive_words_fire_and_back(number: float) -> None:
    request = understand(["verb", "t", f"--x={number:.6f}"], KEEPER)
    assert request.command is not None
    assert bind(request.command, request.options).options["x"] == float(f"{number:.6f}")


def test_fire_finds_no_member_to_chain_into() -> None:
    call = Call(command(("verb",), Keeper.verb), {})
    assert dir(call) == []


def test_values_are_written_as_literals() -> None:
    verb = command(("dlq", "retry"), Keeper.verb)
    assert literals(verb, {"text": "a,b #", "n": -3}) == ["dlq", "retry", "--text='a,b #'", "--n=-3"]


def test_words_that_fire_reads_differently_run_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.cli.binding.literals", lambda *_: ["verb", "--text=123"])
    with pytest.raises(RuntimeError, match="nothing was run"):
        bind(command(("verb",), Keeper.verb), {"text": "123"})


def test_raw_fire_would_fail_this_suite() -> None:
    """The control: without the literals Fire changes most of these texts (in a process whose Fire is whole)."""
    program = """
import asyncio, fire
texts = ("123", "True", "[1, 2]", "{a: b}", "a, b", "make #all", '"q"', "1e5")
print(sum(fire.Fire(lambda text: text, [t], serialize=lambda _: None) == t for t in texts))
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(out) < 3


@pytest.mark.parametrize("asyncio_first", [False, True])
def test_fire_is_whole_where_asyncio_is_in_use_and_light_where_it_is_not(asyncio_first: bool) -> None:
    program = f"""
import sys
{"import asyncio" if asyncio_first else ""}
from queuectl.cli.binding import import_fire
fire = import_fire()
print(hasattr(fire.core.helptext, "HelpText"), "asyncio" in sys.modules, "fire.console" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == (["True", "True", "True"] if asyncio_first else ["False", "False", "False"])
