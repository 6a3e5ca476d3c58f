"""`scripts/panel`: the panel as a page of its own, for one queue, on loopback, shut to whoever has no token."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_tools import ROOT, await_server, end_server
from playwright.sync_api import expect

from queuectl.queue import Queue


@pytest.fixture
def served(tmp_path: Path, home: tuple[dict[str, str], Path]) -> Iterator[tuple[str, str, Path]]:
    """The page's address and token, and the database it is for."""
    place, log = tmp_path / "data" / "queue.db", tmp_path / "log"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "panel"), "--db", str(place)],
        env=home[0], cwd=tmp_path, stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip

    def address() -> re.Match[str] | None:
        return re.search(r"(http://127\.0\.0\.1:\d+/)\?token=(\S+)", log.read_text())

    def ready() -> bool:
        found = address()
        return found is not None and status(found[1]) is not None

    try:
        await_server(ready, process, log)
        found = address()
        assert found is not None and "run commands as you" in log.read_text()
        yield found[1], found[2], place
    finally:
        end_server(process)
        assert status(found[1]) is None  # with the script, its page has ended


def status(url: str) -> tuple[int, str] | None:
    """Return the answer's status and where it led; None when nobody answers. Voilà's `/` without a token starts no kernel."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status), str(answer.url)
    except urllib.error.HTTPError as e:
        return e.code, url
    except OSError:
        return None


def test_the_page_is_for_one_queue_and_for_who_has_the_token(
    page: Any, served: tuple[str, str, Path]
) -> None:
    base, token, place = served
    refused = status(base)
    assert refused is not None and (refused[0] in (401, 403) or "/login" in refused[1])
    wrong = status(f"{base}?token=wrong")
    assert wrong is not None and (wrong[0] in (401, 403) or "/login" in wrong[1])
    assert not place.exists()
    port = int(base.rsplit(":", 1)[1].strip("/"))
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    assert f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue

    queue = Queue(place)
    queue.enqueue("echo here", id="mine")
    page.goto(f"{base}?token={token}")
    panel = page.locator(".qp")
    expect(panel).to_be_visible(timeout=60_000)
    expect(panel.locator(".qp-live")).to_have_text("live", timeout=30_000)
    expect(panel.locator("tr[data-id=mine]")).to_contain_text("echo here")
    expect(page.get_by_text("tempfile")).to_have_count(0)  # no code on the page
    queue.enqueue("echo there", id="other")
    expect(panel.locator("tr[data-id=other]")).to_be_visible(timeout=15_000)
    queue.close()
