"""Rules of the panel's sources: text never becomes markup, and the modules join into one."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from queuectl.panel import widget

STATIC = Path(str(resources.files("queuectl.panel"))) / "static"
PYTHON = STATIC.parent
BANNED = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|\beval\s*\(|new Function|setTimeout\(\s*[\"'`]|javascript:"
)


def complaints(text: str) -> list[str]:
    return BANNED.findall(text)


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda f: f.name)
def test_no_module_turns_text_into_markup(file: Path) -> None:
    assert complaints(file.read_text()) == []


def test_the_ban_bites() -> None:
    for bad in (
        "a.innerHTML = x",
        "node.insertAdjacentHTML('x', y)",
        "document.write(x)",
        "eval (x)",
        "setTimeout('x', 1)",
    ):
        assert complaints(bad)


def unescaped(tree: ast.AST) -> list[int]:
    """Lines on which an `HTML` widget gets text, or its `value` f-string a part that is neither escaped nor a number of ours."""
    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "HTML"
            and (node.args or any(k.arg == "value" for k in node.keywords))
        ):
            found.append(node.lineno)
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr == "value" for t in node.targets
        ):
            found += [
                node.lineno
                for part in ast.walk(node.value)
                if isinstance(part, ast.FormattedValue) and not safe(part.value)
            ]
    return found


def safe(part: ast.expr) -> bool:
    if isinstance(part, ast.Call):
        return getattr(part.func, "id", "") == "escape_html"
    if isinstance(part, ast.IfExp):
        return safe(part.body) and safe(part.orelse)
    return isinstance(part, ast.Name) and part.id in {
        "at",
        "counts",
        "titles",
        "lines",
        "note",
    }  # made of escaped parts


@pytest.mark.parametrize("file", sorted(PYTHON.glob("*.py")), ids=lambda f: f.name)
def test_no_html_widget_gets_raw_text(file: Path) -> None:
    assert unescaped(ast.parse(file.read_text())) == []


def test_the_rule_for_html_bites() -> None:
    assert unescaped(ast.parse("w.HTML(f'<b>{x}</b>')")) and unescaped(
        ast.parse("a.value = f'<b>{job.command}</b>'")
    )


def test_every_module_is_joined_after_what_it_imports() -> None:
    assert sorted(widget.MODULES) == sorted(f.stem for f in STATIC.glob("*.js"))
    for at, name in enumerate(widget.MODULES):
        for needed in re.findall(r'from "\./(\w+)\.js"', (STATIC / f"{name}.js").read_text()):
            assert needed in widget.MODULES[:at], f"{name} needs {needed}"


def test_the_joined_module_has_no_import_left_and_one_default_export() -> None:
    text = widget.source()
    assert not re.search(r"^import ", text, re.M) and len(re.findall(r"^export ", text, re.M)) == 1
    names = re.findall(r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", text, re.M)
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on this machine")
def test_the_joined_module_parses() -> None:
    found = subprocess.run(
        ["node", "--check", "--input-type=module", "-"],
        input=widget.source(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


def test_nothing_is_loaded_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        urls = re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"']*", file.read_text())
        assert [u for u in urls if "www.w3.org" not in u] == [], file.name


def test_traits_do_not_clash_with_the_widgets_own() -> None:
    import anywidget

    own = set(widget.Panel.__dict__) & set(dir(anywidget.AnyWidget))
    allowed = {"_esm", "_css", "close", "__init__", "__doc__", "__module__", "__repr__", "_repr_mimebundle_", "_trait_default_generators", "_static_immutable_initial_values",
               "_all_trait_default_generators", "_traits", "_descriptors", "_instance_inits", "__qualname__", "__annotations__", "__firstlineno__", "__static_attributes__"}  # fmt: skip
    assert own <= allowed, own - allowed
