"""Every shipped notebook: runs from top to bottom without an error, and leaves neither worker nor folder; none is kept with outputs."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from harness import await_true

ROOT = Path(__file__).resolve().parent.parent.parent
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_they_are_all_there():
    wanted = {"00_quickstart", "01_control_panel", "02_failure_analysis", "03_incident"}
    assert {b.stem for b in BOOKS} == wanted


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_it_is_kept_without_outputs(path):
    book = json.loads(path.read_text())
    code = [c for c in book["cells"] if c["cell_type"] == "code"]
    assert [c["id"] for c in code if c["outputs"] or c["execution_count"] is not None] == []
    assert "widgets" not in book["metadata"] and all(set(c["metadata"]) == set() for c in book["cells"])
    nbformat.validate(nbformat.from_dict(book))


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_its_links_lead_somewhere(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)\)", "".join(cell["source"])):
                assert (path.parent / target).exists(), target


def left_of(folder):
    """Processes that still have to do with a folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_it_runs_and_leaves_nothing_behind(path, tmp_path, kernel_env, monkeypatch):
    from nbclient import NotebookClient

    for name in [n for n in os.environ if n.startswith(("JUPYTER", "IPYTHON", "QUEUECTL"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "tmp"
    folder.mkdir()
    for name, value in (kernel_env | {"TMPDIR": str(folder)}).items():
        monkeypatch.setenv(name, value)
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        shutdown_kernel="graceful",
    )
    client.execute()
    said = [
        o.get("text", "")
        for c in book.cells
        if c.cell_type == "code"
        for o in c.outputs
        if o.get("name") == "stderr"
    ]
    assert [t for t in said if "Traceback" in t or "Warning" in t] == []
    await_true(lambda: not left_of(folder), what="the end of all its workers")
    await_true(
        lambda: not [p for p in folder.iterdir() if p.name.startswith("queuectl-")],
        what="the end of its folder",
    )
