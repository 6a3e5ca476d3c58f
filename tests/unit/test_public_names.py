"""What `import queuectl` offers is there, and is what the type checker is told."""

import ast
from pathlib import Path

import pytest

import queuectl


def promised() -> dict[str, str]:
    """The names and modules of the block that only type checkers read."""
    tree = ast.parse(Path(queuectl.__file__).read_text())
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    return {name.asname or name.name: n.module for n in block.body if isinstance(n, ast.ImportFrom) for name in n.names}  # fmt: skip


@pytest.mark.parametrize("name", sorted(queuectl._PLACES))
def test_every_name_can_be_had(name):
    assert getattr(queuectl, name).__name__ == name


def test_the_checker_is_told_the_same_places():
    assert promised()
    for name, module in promised().items():
        assert f"queuectl.{queuectl._PLACES[name]}" == module
