"""The panel's logic without widgets: what it shows, what a click does, what it says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import fake_queue
import panel_demo
import pytest

from queuectl.errors import DatabaseBusy, InvalidValue
from queuectl.model import State
from queuectl.panel import code, reads
from queuectl.panel.controller import LEASE_S, SHOWN, Controller, as_text
from queuectl.panel.controller import wall_ms as now_ms
from queuectl.panel.view import TABS, View
from queuectl.store import Store

Ask = Callable[..., dict[str, Any]]


def test_every_tab_is_plain_json(control: Controller, ask: Ask) -> None:
    for tab in TABS:
        ask("view", patch={"tab": tab})
        assert control.body["tab"] == tab and "error" not in control.body
        json.dumps([control.head, control.body, control.detail, control.log])


def test_the_head_counts_and_knows_who_works(control: Controller) -> None:
    head = control.head
    assert head["counts"]["dead"] == 68 and head["total"] == sum(head["counts"].values())
    assert len(head["workers"]) == 4 and len(head["spark"]) == reads.SPARK and head["trouble"] is None


def test_a_new_filter_starts_at_the_first_page(control: Controller, ask: Ask) -> None:
    ask("view", patch={"key": control.body["after"], "back": False})
    assert control.body["before"] is not None
    ask("view", patch={"query": "state:completed"})
    assert control.view.key is None and {r["state"] for r in control.body["rows"]} == {"completed"}


def test_paging_there_and_back_shows_the_same_rows(control: Controller, ask: Ask) -> None:
    first = [r["id"] for r in control.body["rows"]]
    ask("view", patch={"key": control.body["after"], "back": False})
    second = [r["id"] for r in control.body["rows"]]
    assert not set(first) & set(second)
    ask("view", patch={"key": control.body["before"], "back": True})
    assert [r["id"] for r in control.body["rows"]] == first


def test_a_filter_that_is_not_understood_says_so_and_breaks_nothing(control: Controller, ask: Ask) -> None:
    ask("view", patch={"query": "stat:dead"})
    assert "did you mean state:" in control.body["error"] and control.head["trouble"] is None


@pytest.mark.parametrize(
    "patch",
    [
        {"size": 10**9},
        {"order": "id; drop table jobs"},
        {"tab": "<b>"},
        {"key": "1; drop table jobs"},
        {"open": 3},
        {"__class__": 1},
        {"interval": 0.001},
        {"query": None},
        {"size": True},
    ],
)
def test_a_view_that_the_browser_should_not_ask_for_is_refused(
    control: Controller, patch: dict[str, Any]
) -> None:
    before = control.view
    answer = control.handle({"kind": "view", "patch": patch, "rid": "7"})
    assert not answer["ok"] and answer["rid"] == "7" and control.view == before


def test_an_unknown_message_is_refused(control: Controller) -> None:
    assert not control.handle({"kind": "eval", "code": "1"})["ok"]


def test_a_retry_of_ids_is_done_told_and_given_as_code(
    control: Controller, ask: Ask, calls: list[Any]
) -> None:
    ids = control.ids("state:dead")[:2] + control.ids("state:completed")[:1]
    control.picked = ids
    answer = ask("act", verb="retry", scope={"ids": ids}, dry=False)
    assert (answer["done"], answer["left_alone"]) == (2, 1) and answer["skipped"] == [
        {"why": "is completed", "n": 1, "ids": ids[2:]}
    ]
    assert calls == [("retry", (tuple(ids[:2]),), {})]
    assert (
        control.notice["text"] == "2 jobs requeued, 1 skipped"
        and control.notice["code"] == f"q.retry({ids[0]!r}, {ids[1]!r})"
    )
    assert control.picked == [] and control.head["counts"]["dead"] == 66


def test_a_dry_run_changes_nothing(control: Controller, ask: Ask, calls: list[Any]) -> None:
    answer = ask("act", verb="delete", scope={"query": "state:dead"}, dry=True)
    assert answer["dry"] and answer["done"] == 68 and calls == [] and control.notice == {}
    control.refresh()
    assert control.head["counts"]["dead"] == 68


def test_everything_that_the_filter_matches_is_chosen_on_the_server(control: Controller, ask: Ask) -> None:
    answer = ask("act", verb="retry", scope={"query": "state:dead cmd:curl"}, dry=False)
    assert answer["done"] == 30 and answer["code"] == "q.retry(q.panel().ids('state:dead cmd:curl'))"
    assert control.ids("state:dead cmd:curl") == []


def test_one_cause_is_retried_by_its_signature(control: Controller, ask: Ask) -> None:
    sig = panel_demo.sig_of(panel_demo.CAUSES[1][0])
    answer = ask("act", verb="retry", scope={"sig": sig}, dry=False)
    assert answer["done"] == 14 and answer["code"] == f"q.retry(sig='{sig}', state='dead')"
    again = ask("act", verb="retry", scope={"sig": sig}, dry=True)
    assert again["done"] == 0


def test_nothing_selected_does_nothing_and_says_so(control: Controller, ask: Ask, calls: list[Any]) -> None:
    assert ask("act", verb="cancel", scope={"ids": []}, dry=False)["done"] == 0
    assert calls == [] and control.notice["text"] == "Nothing cancelled"


def test_the_form_enqueues_what_was_filled_in(control: Controller, ask: Ask, calls: list[Any]) -> None:
    answer = ask(
        "enqueue",
        fields={"command": "echo 'a b'", "priority": "3", "timeout": "90s", "queue": "", "evil": "x"},
    )
    assert calls == [("enqueue", ("echo 'a b'",), {"priority": 3, "timeout": "90s"})]
    assert (
        answer["code"] == "q.enqueue(\"echo 'a b'\", priority=3, timeout='90s')"
        and control.notice["id"] == answer["id"]
    )


@pytest.mark.parametrize(
    "fields", [{"command": " "}, {"command": "x", "priority": "high"}, {"command": "x", "timeout": "soon"}]
)
def test_a_form_with_a_wrong_word_enqueues_nothing(
    control: Controller, fields: dict[str, str], calls: list[Any]
) -> None:
    total = control.head["total"]
    answer = control.handle({"kind": "enqueue", "fields": fields})
    control.refresh()
    assert not answer["ok"] and answer["error"] and control.head["total"] == total


def test_workers_are_started_and_stopped(control: Controller, ask: Ask, calls: list[Any]) -> None:
    ask("start", n="2", queues="slow, fast")
    assert calls[-1] == ("start_workers", (2,), {"queues": ["slow", "fast"]})
    ask("stop", ids=["wk3f9a2b"], now=True)
    assert (
        calls[-1] == ("stop_workers", ("wk3f9a2b",), {"now": True})
        and control.notice["code"] == "q.stop_workers('wk3f9a2b', now=True)"
    )
    assert (
        not control.handle({"kind": "start", "n": 65})["ok"]
        and not control.handle({"kind": "stop", "ids": []})["ok"]
    )


def test_a_setting_is_checked_before_it_is_saved(control: Controller, ask: Ask) -> None:
    ask("config", key="max-retries", value="5")
    ask("view", patch={"tab": "config"})
    row = next(s for s in control.body["settings"] if s["key"] == "max-retries")
    assert (
        row["value"] == "5"
        and row["changed"]
        and control.body["backoff"]["delays"] == [2000, 4000, 8000, 16000]
    )
    assert (
        "whole number" in control.handle({"kind": "config", "key": "max-retries", "value": "three"})["error"]
    )


@pytest.mark.parametrize(
    "message",
    [{"kind": "act", "verb": "retry", "scope": {"query": ""}, "dry": False}, {"kind": "enqueue", "fields": {"command": "x"}}, {"kind": "start", "n": 1}, {"kind": "stop", "ids": ["a"]},
     {"kind": "pause", "on": True}, {"kind": "config", "key": "max-retries", "value": "1"}],
)  # fmt: skip
def test_a_read_only_panel_looks_and_changes_nothing(
    path: str, filled: Store, message: dict[str, Any], calls: list[Any]
) -> None:
    control = Controller(path, lambda: fake_queue.FakeQueue(path), read_only=True)
    control.refresh()
    answer = control.handle(message)
    assert not answer["ok"] and "read-only" in answer["error"] and calls == []
    assert (
        control.handle({"kind": "view", "patch": {"query": "state:dead"}})["ok"]
        and control.body["total"] == 68
    )


def test_the_drawer_has_runs_output_and_where_settings_came_from(control: Controller, ask: Ask) -> None:
    job_id = control.ids("state:dead cmd:train")[0]
    ask("view", patch={"open": job_id})
    assert [r["run"] for r in control.detail["run_list"]] == [1, 2, 3] and control.log["run"] == 3
    assert "OutOfMemoryError" in control.log["text"]
    ask("view", patch={"run": 1, "stream": "stdout"})
    assert (control.log["run"], control.log["text"]) == (1, "starting\n")
    assert ["backoff-base", "2", "built in"] in control.detail["settings"]


def test_a_job_that_is_gone_says_so(control: Controller, ask: Ask) -> None:
    job_id = control.ids("state:dead")[0]
    ask("view", patch={"open": job_id})
    ask("act", verb="delete", scope={"ids": [job_id]}, dry=False)
    assert control.detail == {"id": job_id, "gone": True} and control.log == {}


def test_a_page_with_selected_rows_stays_while_the_head_goes_on(control: Controller, ask: Ask) -> None:
    before = control.body
    control.picked = [before["rows"][0]["id"]]
    fake = fake_queue.FakeQueue(control.path)
    fake.enqueue("echo new")
    fake.close()
    control.tick()
    assert control.body == before and control.head["counts"]["pending"] == 13
    control.picked = []
    control.tick()
    assert control.body["rows"][0]["cmd"] == "echo new"


def test_only_what_is_different_is_told(control: Controller) -> None:
    told: list[frozenset[str]] = []
    control.on_change = told.append
    control.refresh()
    assert told == [] or told == [frozenset({"head"})]  # the clock in the head


def test_a_viewers_lease_runs_out(path: str, filled: Store) -> None:
    at = [0.0]
    control = Controller(path, lambda: fake_queue.FakeQueue(path), clock=lambda: at[0])
    assert not control.is_watched()
    control.lease("a", True)
    control.lease("b", True)
    control.lease("a", False)
    at[0] = LEASE_S - 1
    assert control.is_watched()
    at[0] = LEASE_S + 1
    assert not control.is_watched()


def test_a_panel_just_shown_waits_for_its_viewer(control: Controller) -> None:
    control.lease(SHOWN, True)
    control.lease("a", False)  # its view is laid out, but not yet in sight
    assert control.is_watched()
    control.lease("a", True)
    control.lease("a", False)
    assert not control.is_watched()


@pytest.mark.parametrize("kind", ["missing", "locked", "newer"])
def test_a_database_in_trouble_is_named_and_the_last_data_stay(
    control: Controller, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rows = control.body["rows"]
    match kind:
        case "missing":
            os.rename(control.path, control.path + ".away")
        case "newer":
            store.connection.rows("pragma user_version = 999")
        case _:
            monkeypatch.setattr(
                "queuectl.panel.controller.Store",
                lambda *_a, **_k: (_ for _ in ()).throw(DatabaseBusy("locked by another program")),
            )
    control.refresh()
    assert (
        control.head["trouble"]["kind"] == kind
        and control.head["trouble"]["text"]
        and control.body["rows"] == rows
    )
    if kind == "newer":
        store.connection.rows("pragma user_version = 1")
    elif kind == "missing":
        os.rename(control.path + ".away", control.path)
    monkeypatch.undo()
    control.refresh()
    assert control.head["trouble"] is None


def test_a_panel_never_makes_a_database(tmp_path: Any) -> None:
    path = str(tmp_path / "data" / "queue.db")
    control = Controller(path, lambda: fake_queue.FakeQueue(path))
    control.refresh()
    assert control.head["trouble"]["kind"] == "missing" and not os.path.exists(path)


def test_secrets_are_masked_in_every_view(path: str, store: Store) -> None:
    panel_demo.insert(store, [panel_demo.job(State.PENDING, "deploy --password=hunter2", 1)])
    control = Controller(path, lambda: fake_queue.FakeQueue(path))
    control.refresh()
    control.handle({"kind": "view", "patch": {"open": control.body["rows"][0]["id"]}})
    assert "hunter2" not in json.dumps([control.body, control.detail]) and "***" in control.detail["cmd"]


def test_long_output_is_cut_at_its_beginning(control: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "OUTPUT_CHARS", 10)
    control.handle(
        {"kind": "view", "patch": {"open": control.ids("state:dead cmd:train")[0], "stream": "stdout"}}
    )
    assert control.log["text"] == "starting\n"[-10:]
    control.handle({"kind": "view", "patch": {"stream": "stderr"}})
    assert len(control.log["text"]) == 10 and control.log["left_out"] > 100


def test_output_of_any_kind_becomes_text() -> None:
    assert (
        as_text(iter([b"\xe2\x82", b"\xac\xff"])) == "€\\xff" and as_text("x") == "x" and as_text(None) == ""
    )


def test_what_was_done_to_many_jobs_at_once_is_one_line(control: Controller, ask: Ask, filled: Store) -> None:
    ask("view", patch={"tab": "activity"})
    before = control.body["events"]
    now = now_ms()
    with filled.write() as sql:
        sql.executemany(
            "insert into events (at_ms, actor, verb, job_id, detail) values (?, ?, ?, ?, ?)",
            [
                *((now, "panel", "retry", f"j{n}", None) for n in range(1000)),
                (now, "panel", "cancel", "j1", None),
                (now, "cli", "cancel", "j2", None),
                *((now, "cli", "pause", None, "mail") for _ in range(2)),
                (now + 60_000, "cli", "retry", "j3", None),
                (now + 120_000, "cli", "retry", "j4", None),
            ],
        )
    control.refresh()
    told = [(who, verb, job, n) for _, who, verb, job, _, n in control.body["events"]]
    assert told[:7] == [
        ("cli", "retry", "j4", 1), ("cli", "retry", "j3", 1), ("cli", "pause", None, 1), ("cli", "pause", None, 1), ("cli", "cancel", "j2", 1),
        ("panel", "cancel", "j1", 1), ("panel", "retry", "j999", 1000),
    ]  # fmt: skip
    assert control.body["events"][7:] == before


def test_pages_of_what_happened_show_each_thing_once(control: Controller, ask: Ask, filled: Store) -> None:
    now = now_ms()
    with filled.write() as sql:
        sql.executemany(
            "insert into events (at_ms, actor, verb, job_id, detail) values (?, 'cli', ?, ?, null)",
            [(now + n, f"verb{n}", "j") for n in range(120)],
        )
    ask("view", patch={"tab": "activity"})
    seen = [e[2] for e in control.body["events"]]
    while control.body["next"]:
        ask("view", patch={"before": control.body["next"]})
        seen += [e[2] for e in control.body["events"]]
    assert len(seen) == 128 and seen[:120] == [f"verb{n}" for n in reversed(range(120))]


def test_code_is_python_that_means_the_same() -> None:
    odd = 'it\'s "odd" \\ \n'
    assert eval(
        code.call("enqueue", odd, queue=odd, tag=None),
        {"q": type("Q", (), {"enqueue": staticmethod(lambda *a, **k: (a, k))})},
    ) == ((odd,), {"queue": odd})
    many = [str(n) for n in range(201)]
    assert code.on_ids("retry", many) == f"q.retry({many!r})"


def test_a_view_knows_its_fields() -> None:
    assert View().changed({"open": "a", "run": 2}).changed({"open": "b"}).run is None
    with pytest.raises(InvalidValue, match="window"):
        View().changed({"window": "2h"})


def test_times_are_spread_over_columns() -> None:
    found = reads.spread([5, 10, 99, 1000, 10**9])
    assert (
        found is not None
        and sum(found["counts"]) == 5
        and found["counts"][0] == 1
        and found["counts"][-1] == 1
        and found["p50"] == 99
    )
    assert reads.spread([]) is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -m reports.daily --x", "python reports.daily"),
        ("/usr/bin/curl -fsS x", "curl"),
        ("A=1 make html", "make html"),
        ("", ""),
        ("bin/x", "x"),
    ],
)
def test_a_command_has_a_short_name(command: str, name: str) -> None:
    assert reads.program(command) == name


def test_a_setting_with_a_choice_shows_one_of_its_choices(control, ask):
    for word in ("yes", "no"):
        ask("config", key="keep-children", value=word)
        ask("view", patch={"tab": "config"})
        chosen = {
            r["key"]: (r["kind"].split("|"), r["value"], r["default"])
            for r in control.body["settings"]
            if "|" in r["kind"]
        }
        assert set(chosen) == {"keep-children", "on-dep-fail"}
        assert all({value, default} <= set(kinds) for kinds, value, default in chosen.values())
        assert chosen["keep-children"][1] == word
