"""The table of faults tells the truth: every test it names exists, and every fault has one or says in plain words why not."""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "guarantees.md"
FAULTS = 42


def rows():
    found = re.findall(r"^\| (F\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {number: (promise, tests) for number, _, promise, tests in found}


@functools.cache
def functions(path):
    return {
        n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef)
    }


def named(text):
    return re.findall(r"`([a-z_/]+\.py)::(test_\w+)`", text)


def test_every_fault_has_a_row():
    assert list(rows()) == [f"F{n}" for n in range(1, FAULTS + 1)]


def test_every_row_names_a_test_or_says_why_not():
    for number, (promise, tests) in rows().items():
        assert named(tests) or promise.startswith(("*open*: ", "*not here*: ")), number


def test_what_may_be_skipped_names_a_test_that_may_not():
    said = [
        (file, [ast.literal_eval(a) for a in mark.args])
        for file in TESTS.rglob("test_*.py")
        for mark in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.equivalent"
    ]
    assert len(said) >= 3
    for _, (name,) in said:
        file, _, function = name.partition("::")
        found = next(
            n
            for n in ast.parse((TESTS / file).read_text(encoding="utf-8")).body
            if getattr(n, "name", "") == function
        )
        assert "skip" not in ast.unparse(found)


def test_every_test_that_the_page_names_exists():
    pairs = named(PAGE.read_text(encoding="utf-8"))
    assert len(pairs) > 60
    missing = [f"{file}::{name}" for file, name in pairs if name not in functions(TESTS / file)]
    assert missing == []
