"""The module alone in a blank page, bridged to a controller: mouse, keyboard, hostile text, states, and nothing left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_queue
import panel_demo
import pytest
from browser_tools import state_of
from playwright.sync_api import expect

from queuectl.model import State
from queuectl.panel.controller import Controller
from queuectl.store import Store

Mount = Callable[..., Any]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "data" / "queue.db")


@pytest.fixture
def store(path: str) -> Any:
    opened = Store(path)
    yield opened
    opened.close()


@pytest.fixture
def calls() -> list[Any]:
    fake_queue.CALLS.clear()
    return fake_queue.CALLS


def control_of(path: str, **options: Any) -> Controller:
    made = Controller(path, lambda: fake_queue.FakeQueue(path), **options)
    made.refresh()
    return made


@pytest.fixture
def control(path: str, store: Store, calls: list[Any]) -> Controller:
    panel_demo.fill(store, now_ms=now_ms())
    return control_of(path)


def rows(panel: Any) -> Any:
    return panel.locator(".qp-grid tbody tr")


def test_a_filter_narrows_and_a_chip_filters(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    expect(rows(panel)).to_have_count(25)
    panel.get_by_label("Filter", exact=True).fill("state:dead cmd:migrate")
    expect(rows(panel)).to_have_count(5)
    panel.get_by_role("button", name=re.compile("^failed")).click()
    expect(rows(panel)).to_have_count(0)  # the chip replaces only the state
    panel.get_by_role("button", name="Clear the filter").first.click()
    expect(rows(panel)).to_have_count(25)
    panel.get_by_label("Filter", exact=True).fill("stat:dead")
    expect(panel.get_by_text("did you mean state:")).to_be_visible()


def test_pages_turn_there_and_back(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    first = rows(panel).first.get_attribute("data-id")
    expect(panel.get_by_role("button", name="Newer")).to_be_disabled()
    panel.get_by_role("button", name="Older").click()
    expect(rows(panel).first).not_to_have_attribute("data-id", first)
    panel.get_by_role("button", name="Newer").click()
    expect(rows(panel).first).to_have_attribute("data-id", first)


def test_selected_jobs_are_retried_and_the_result_stays(
    page: Any, mount: Mount, control: Controller, calls: list[Any]
) -> None:
    panel = mount(controller=control)
    panel.get_by_label("Filter", exact=True).fill("state:dead cmd:curl")
    expect(panel.get_by_text("30 jobs")).to_be_visible()
    for box in panel.get_by_role("checkbox", name="Select job").all()[:2]:
        box.check()
    expect(panel.get_by_text("2 selected")).to_be_visible()
    expect(panel.get_by_text("paused (rows selected)")).to_be_visible()
    panel.get_by_role("toolbar", name="Selected jobs").get_by_role("button", name="Retry", exact=True).click()
    expect(panel.get_by_role("status")).to_contain_text("2 jobs requeued")
    assert calls[0][0] == "retry"
    expect(panel.get_by_text("q.retry(")).to_be_visible()
    expect(panel.get_by_text("28 jobs")).to_be_visible()


def test_all_that_match_are_deleted_only_after_a_confirmation(
    page: Any, mount: Mount, control: Controller, calls: list[Any]
) -> None:
    panel = mount(controller=control)
    panel.get_by_label("Filter", exact=True).fill("state:dead,failed cmd:curl")
    expect(panel.get_by_text("32 jobs")).to_be_visible()
    panel.get_by_role("checkbox", name="Select all rows of this page").check()
    panel.get_by_role("button", name="Select all 32 matching").click()
    panel.get_by_role("button", name="Delete", exact=True).click()
    question = panel.get_by_role("alertdialog")
    expect(question).to_contain_text("Delete 32 jobs matching")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert calls == []
    panel.get_by_role("button", name="Delete", exact=True).click()
    panel.get_by_role("button", name="Delete 32 jobs").click()
    expect(panel.get_by_role("status")).to_contain_text("32 jobs deleted")
    assert [c[0] for c in calls] == ["delete"] and control.ids("cmd:curl") == []


def test_only_what_applies_is_offered(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    panel.get_by_label("Filter", exact=True).fill("state:completed")
    expect(panel.get_by_text("700 jobs")).to_be_visible()
    panel.get_by_role("checkbox", name="Select job").first.check()
    bar = panel.get_by_role("toolbar", name="Selected jobs")
    expect(bar.get_by_role("button", name="Delete")).to_be_visible()
    for name in ("Retry", "Cancel jobs", "Set priority"):
        expect(bar.get_by_role("button", name=name)).to_have_count(0)


def test_the_whole_table_can_be_worked_by_keyboard(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    focused = lambda: page.evaluate("document.activeElement.dataset.id")  # noqa: E731
    ids = [r.get_attribute("data-id") for r in rows(panel).all()]
    rows(panel).first.focus()
    for key, at in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 24), ("Home", 0)):
        page.keyboard.press(key)
        assert focused() == ids[at], key
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    expect(panel.get_by_text("3 selected")).to_be_visible()
    assert control.selected_ids() == ids[:3]
    page.keyboard.press("Escape")
    expect(panel.get_by_text("3 selected")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(panel.get_by_role("complementary", name="Job details")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel.get_by_role("complementary", name="Job details")).to_be_hidden()
    page.keyboard.press("PageDown")
    expect(panel.get_by_role("button", name="Newer")).to_be_enabled()
    page.wait_for_function(
        "(old) => document.activeElement.dataset.id && !old.includes(document.activeElement.dataset.id)",
        arg=ids,
    )
    page.keyboard.press("/")
    expect(panel.get_by_label("Filter", exact=True)).to_be_focused()
    page.keyboard.type("a/?b")
    expect(panel.get_by_label("Filter", exact=True)).to_have_value("a/?b")
    panel.get_by_role("tab", name="Jobs").focus()
    page.keyboard.press("ArrowRight")
    expect(panel.get_by_role("tab", name="Failures")).to_be_focused()
    page.keyboard.press("?")
    expect(panel.get_by_role("region", name="Help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel.get_by_role("region", name="Help")).to_be_hidden()


def test_a_result_is_in_sight_wherever_the_page_stands(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    page.evaluate(
        """() => { const r = document.getElementById('r'), outer = document.createElement('div');
          Object.assign(outer.style, { height: '420px', overflow: 'auto', marginTop: '40px' }); r.style.overflow = 'auto';  // as a notebook's output is
          r.before(outer); outer.append(r); outer.append(Object.assign(document.createElement('div'), { style: 'height: 1500px' })); window.outer = outer; }"""
    )
    panel.get_by_label("Filter", exact=True).fill("state:dead cmd:curl")
    expect(panel.get_by_text("30 jobs")).to_be_visible()
    panel.get_by_role("checkbox", name="Select job").first.check()
    panel.get_by_role("toolbar", name="Selected jobs").get_by_role("button", name="Retry", exact=True).click()
    said = panel.get_by_role("status")
    expect(said).to_contain_text("1 job requeued")
    inside = """() => { const bar = document.querySelector('.qp-result').getBoundingClientRect(), box = window.outer.getBoundingClientRect();
      return bar.bottom <= box.bottom + 1 && bar.top >= box.top; }"""
    for top in (0, 150, 300):
        page.evaluate("(top) => { window.outer.scrollTop = top; }", top)
        page.wait_for_function(inside)
    page.evaluate("() => { window.outer.scrollTop = 2000; }")  # past the panel it stays at the panel's end
    page.wait_for_function("() => document.querySelector('.qp-result').style.transform === ''")
    panel.get_by_role("button", name="Dismiss").click()
    expect(said).to_be_hidden()


def test_one_row_is_in_the_tab_order(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    assert panel.locator(".qp-grid tbody tr[tabindex='0']").count() == 1


def test_plain_keys_stay_in_the_panel_and_others_pass(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    page.evaluate(
        "() => { window.reached = []; document.addEventListener('keydown', (e) => window.reached.push((e.ctrlKey ? 'C-' : '') + e.key), true); }"
    )
    rows(panel).first.focus()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("Control+b")
    page.keyboard.press("Tab")
    assert [k for k in page.evaluate("window.reached") if not k.endswith("Control")] == ["C-b", "Tab"]
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("d")
    assert page.evaluate("window.reached.at(-1)") == "d"  # outside, the notebook has its keys


def test_a_refresh_moves_neither_focus_nor_selection(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    rows(panel).nth(2).focus()
    kept = page.evaluate("document.activeElement.dataset.id")
    fake = fake_queue.FakeQueue(control.path)
    fake.enqueue("echo new")
    fake.close()
    control.refresh()
    page.evaluate("(s) => window.take(s)", state_of(control))
    expect(rows(panel).first).to_contain_text("echo new")
    assert page.evaluate("document.activeElement.dataset.id") == kept


def test_a_cause_is_retried_after_its_dry_run(
    page: Any, mount: Mount, control: Controller, calls: list[Any]
) -> None:
    panel = mount(controller=control)
    panel.get_by_role("tab", name="Failures").click()
    panel.get_by_role("button", name=re.compile("psycopg")).click()
    expect(panel.get_by_role("region", name="Example output")).to_contain_text("UndefinedColumn")
    panel.get_by_role("button", name="Retry all 5 of this cause").click()
    expect(panel.get_by_role("alertdialog")).to_contain_text("Retry 5 jobs of this cause?")
    panel.get_by_role("button", name="Retry 5 jobs").click()
    expect(panel.get_by_role("status")).to_contain_text("5 jobs requeued")
    sig = panel_demo.sig_of(panel_demo.CAUSES[5][0])
    expect(panel.get_by_text(f"q.retry(sig='{sig}', state='dead')")).to_be_visible()
    expect(panel.get_by_role("button", name="None of them is dead now")).to_be_disabled()


def test_the_form_adds_a_job_and_says_what_is_wrong(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    panel.get_by_role("button", name="New job").click()
    form = panel.get_by_role("form", name="New job")
    form.get_by_label("Command").fill("echo 'it works'")
    form.get_by_label("Timeout").fill("soon")
    form.get_by_role("button", name="Enqueue").click()
    expect(form.get_by_role("alert")).to_contain_text("timeout")
    form.get_by_label("Timeout").fill("90s")
    page.keyboard.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("added")
    expect(rows(panel).first).to_contain_text("echo 'it works'")


def test_a_job_can_be_given_a_time_and_jobs_to_wait_for(
    page: Any, mount: Mount, control: Controller, calls: list[Any]
) -> None:
    panel = mount(controller=control)
    panel.get_by_role("button", name="New job").click()
    form = panel.get_by_role("form", name="New job")
    form.get_by_label("Command").fill("make report")
    form.get_by_label("Run at").fill("2030-01-01 08:00")
    form.get_by_label("After").fill("aaaa1111, bbbb2222")
    form.get_by_label("Tag").fill("nightly, slow")
    form.get_by_role("button", name="Enqueue").click()
    expect(panel.get_by_role("status")).to_contain_text("added")
    fields = {"run_at": "2030-01-01 08:00", "after": "aaaa1111,bbbb2222", "tag": "nightly,slow"}
    assert calls == [("enqueue", ("make report",), fields)]
    expect(panel.get_by_text("q.enqueue('make report', run_at='2030-01-01 08:00'")).to_be_visible()


def test_a_running_job_shows_how_far_it_is(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    panel.get_by_label("Filter", exact=True).fill("state:processing")
    expect(rows(panel)).to_have_count(3)
    bar = (
        rows(panel).filter(has_text="train.py").locator("[role=progressbar]")
    )  # out of sight beside an open job
    expect(bar).to_have_attribute("aria-valuenow", "37")
    expect(panel.get_by_role("progressbar")).to_have_count(1)
    rows(panel).filter(has_text="train.py").click()
    details = panel.get_by_role("complementary", name="Job details")
    expect(details).to_contain_text("37 of 100")
    expect(details).to_contain_text("epoch 4 of 10")
    with control._store() as store, store.write() as sql:
        sql.execute("update jobs set progress_done = 80 where state = 'processing' and progress_total = 100")
    control.refresh()
    page.evaluate("(s) => window.take(s)", state_of(control))
    expect(bar).to_have_attribute("aria-valuenow", "80")
    expect(details).to_contain_text("80 of 100")


def test_paused_queues_are_resumed_one_by_one_or_all(page: Any, mount: Mount, control: Controller) -> None:
    fake = fake_queue.FakeQueue(control.path)
    for name in ("mail", "gpu", "slow"):
        fake.pause(name)
    fake.close()
    control.refresh()
    panel = mount(controller=control)
    expect(panel.get_by_text("Paused: ")).to_contain_text("mail")
    panel.get_by_role("button", name="Resume gpu").click()
    expect(panel.get_by_role("button", name="Resume gpu")).to_have_count(0)
    assert sorted(control.head["paused"]) == ["mail", "slow"]
    panel.get_by_role("button", name="Resume all").click()
    expect(panel.get_by_text("Paused: ")).to_have_count(0)
    assert control.head["paused"] == []


def test_an_opened_job_is_in_sight_where_the_panel_is_narrow(
    page: Any, mount: Mount, control: Controller
) -> None:
    panel = mount(controller=control, width=800)
    rows(panel).nth(20).click()
    details = panel.get_by_role("complementary", name="Job details")
    expect(details).to_be_visible()
    inside = """() => { const box = document.querySelector('.qp-gridbox').getBoundingClientRect(), row = document.querySelector('.qp-opened').getBoundingClientRect();
      return row.top >= box.top && row.bottom <= box.bottom + 1; }"""
    page.wait_for_function(inside)
    assert details.evaluate("e => e.getBoundingClientRect().top") < 600
    page.keyboard.press("End")  # a row further down comes into sight, with the keyboard too
    page.keyboard.press("Enter")
    page.wait_for_function(inside)


def test_a_repair_needs_no_mouse(page: Any, mount: Mount, control: Controller, calls: list[Any]) -> None:
    panel = mount(controller=control)
    press = page.keyboard.press
    panel.get_by_role("tab", name="Jobs").focus()
    press("/")
    page.keyboard.type("state:dead cmd:migrate")
    press("Enter")
    expect(rows(panel)).to_have_count(5)
    press("ArrowDown")
    press("Space")
    press("Shift+ArrowDown")
    expect(panel.get_by_text("2 selected")).to_be_visible()

    def tab_to(name: str) -> None:
        for _ in range(60):
            if page.evaluate("document.activeElement.textContent") == name:
                return
            press("Shift+Tab")
        raise AssertionError(f"{name} cannot be reached with the keyboard")

    tab_to("Delete")
    press("Enter")
    expect(panel.get_by_role("alertdialog").get_by_role("button", name="Cancel")).to_be_focused()
    press("Enter")  # back, unharmed
    expect(panel.get_by_role("alertdialog")).to_have_count(0)
    assert calls == []
    tab_to("Retry")
    press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("2 jobs requeued")


def test_workers_are_started_stopped_and_killed_only_when_confirmed(
    page: Any, mount: Mount, control: Controller, calls: list[Any]
) -> None:
    panel = mount(controller=control)
    panel.get_by_role("tab", name="Workers").click()
    panel.get_by_label("How many").fill("2")
    panel.get_by_role("button", name="Start in the background").click()
    expect(panel.get_by_role("status")).to_contain_text("2 workers started")
    panel.get_by_role("button", name="Kill wk3f9a2b now").click()
    expect(panel.get_by_role("alertdialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")  # the focus is on Cancel, whose press is the browser's own
    panel.get_by_role("button", name="Kill wk3f9a2b now").click()
    panel.get_by_role("button", name="Kill it").click()
    expect(panel.get_by_role("status")).to_contain_text("stopped now")
    assert [c for c in calls if c[0] == "stop_workers"] == [("stop_workers", ("wk3f9a2b",), {"now": True})]


def test_a_setting_is_saved_or_says_why_not(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(controller=control)
    panel.get_by_role("tab", name="Config").click()
    box = panel.get_by_role("textbox", name="backoff-base")
    box.fill("lots")
    page.keyboard.press("Enter")
    expect(panel.get_by_role("alert").filter(has_text="backoff-base")).to_be_visible()
    box.fill("3")
    page.keyboard.press("Enter")
    expect(panel.get_by_role("status")).to_contain_text("backoff-base saved")
    expect(panel.get_by_text("It waits 3 s, 9 s between them")).to_be_visible()
    panel.get_by_role("button", name="Reset backoff-base").click()
    expect(panel.get_by_text("It waits 2 s, 4 s between them")).to_be_visible()


def test_hostile_text_stays_text_everywhere(
    page: Any, mount: Mount, path: str, store: Store, axe: Callable[..., list[str]]
) -> None:
    panel_demo.hostile(store, now_ms=now_ms() - 5000)
    fake_queue.FakeQueue(path).pause(panel_demo.HOSTILE[:60])
    control = control_of(path)
    panel = mount(controller=control)
    look = "async (patch) => window.model.send({ kind: 'view', rid: 'x', patch })"
    for patch in (
        {"open": "<b>id</b>"},
        {"open": "<i>going</i>"},
        {"open": "<b>id</b>"},
        {"stream": "stdout"},
        {"tab": "failures", "cause": "deadbeef"},
        {"tab": "workers"},
        {"tab": "activity"},
        {"tab": "config"},
        {"tab": "jobs", "query": panel_demo.HOSTILE},
    ):
        page.evaluate(look, patch)
        page.wait_for_timeout(30)
        assert page.evaluate("window.PWNED") is None
        assert panel.locator("img, script, a, iframe, b:has(script)").count() == 0
        shown = panel.inner_text()
        assert "\u202e" not in shown and "\x1b" not in shown
    page.evaluate(look, {"tab": "jobs", "query": "", "open": "<b>id</b>", "stream": "stderr"})
    expect(panel.get_by_role("region", name="Output", exact=True)).to_contain_text(
        "<script>window.PWNED=2</script>"
    )
    expect(panel.get_by_role("region", name="Output", exact=True)).not_to_contain_text(
        "evil"
    )  # the link's address is dropped, its text kept
    assert axe() == [] and page.js_errors == [] and page.left == []


def test_colours_become_classes_and_everything_else_is_dropped(
    page: Any, mount: Mount, control: Controller
) -> None:
    mount(controller=control)
    text = "\x1b[31mred\x1b[0m \x1b[1;38;5;46mbold green\x1b[m\n10%\r20%\r\n\x1b[2J\x1b]0;title\x07\x1b[38;2;0;0;255mblue\x1b[0m\x07\u202eevil \x9b32mc1 green"
    source = Path("queuectl/panel/static")
    root = Path(__file__).parent.parent.parent / source
    script = (root / "dom.js").read_text() + re.sub(
        r"^import .*\n", "", (root / "ansi.js").read_text(), flags=re.M
    )
    pieces = page.evaluate(
        "async ([src, text]) => (await import('data:text/javascript;charset=utf-8,' + encodeURIComponent(src))).parseAnsi(text)",
        [script, text],
    )
    assert [(p["text"], p["cls"]) for p in pieces] == [
        ("red", "qp-a-red"), (" ", ""), ("bold green", "qp-a-bold qp-a-green"), ("\n20%\n", ""), ("blue", "qp-a-blue"), ("\\x07\\u202eevil ", ""), ("c1 green", "qp-a-green"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "word"),
    [({}, "live"), ({"trouble": {"kind": "locked", "text": "locked by another program"}}, "database locked"), ({"trouble": {"kind": "newer", "text": "made by a newer queuectl"}}, "newer database"),
     ({"trouble": {"kind": "missing", "text": "there is no database here"}}, "no database")],
)  # fmt: skip
def test_the_dot_says_what_is_the_matter(
    page: Any, mount: Mount, control: Controller, state: dict[str, Any], word: str
) -> None:
    control.head = {**control.head, **state}
    panel = mount(state_of(control))
    expect(panel.locator(".qp-live")).to_have_text(word)
    if state:
        expect(panel.get_by_text(state["trouble"]["text"])).to_be_visible()


def test_silence_is_stale_and_then_no_kernel(page: Any, mount: Mount, control: Controller) -> None:
    page.clock.install()
    panel = mount(state_of(control))
    expect(panel.locator(".qp-live")).to_have_text("live")
    page.clock.run_for(12_000)
    expect(panel.locator(".qp-live")).to_contain_text("stale 1")
    page.clock.run_for(30_000)
    expect(panel.locator(".qp-live")).to_contain_text("no kernel, data from ")


def test_hidden_panels_say_so_and_give_up_their_lease(page: Any, mount: Mount, control: Controller) -> None:
    panel = mount(state_of(control))
    page.wait_for_function("window.sent.some((m) => m.kind === 'lease' && m.on)")
    page.evaluate("() => { document.querySelector('main').style.display = 'none'; }")
    page.wait_for_function("window.sent.at(-1).kind === 'lease' && !window.sent.at(-1).on")
    assert panel.locator(".qp-live").text_content() == "paused (hidden)"


def test_waiting_jobs_without_a_worker_are_a_click_from_help(
    page: Any, mount: Mount, path: str, store: Store, calls: list[Any]
) -> None:
    panel_demo.insert(store, [panel_demo.job(State.PENDING, f"echo {n}", now_ms()) for n in range(12)])
    panel = mount(controller=control_of(path))
    expect(panel.get_by_text("12 waiting and no worker is running")).to_be_visible()
    panel.get_by_role("button", name="Start 1").click()
    expect(panel.get_by_role("status")).to_contain_text("1 worker started")
    expect(panel.get_by_text("12 waiting")).to_have_count(0)


def test_an_empty_queue_shows_where_to_begin(
    page: Any, mount: Mount, path: str, store: Store, axe: Callable[..., list[str]]
) -> None:
    panel = mount(controller=control_of(path))
    expect(panel.get_by_text("No jobs yet")).to_be_visible()
    assert axe() == []
    panel.get_by_label("Filter", exact=True).fill("nothing like this")
    page.keyboard.press("Enter")
    expect(panel.get_by_text("No job matches")).to_be_visible()


def test_a_read_only_panel_offers_no_deed(page: Any, mount: Mount, control: Controller) -> None:
    control.read_only = True
    control.refresh()
    panel = mount(controller=control)
    expect(panel.get_by_text("Read-only")).to_be_visible()
    panel.get_by_role("checkbox", name="Select job").first.check()
    rows(panel).nth(1).click()
    for name in ("New job", "Retry", "Delete", "Cancel jobs", "Cancel job"):
        expect(panel.get_by_role("button", name=name, exact=True)).to_have_count(
            0
        ) if name != "New job" else expect(panel.get_by_role("button", name=name)).to_be_hidden()


def test_taking_the_view_away_leaves_no_listener(page: Any, mount: Mount, control: Controller) -> None:
    mount(state_of(control))
    assert page.evaluate("window.listeners()") > 0
    page.evaluate("window.off()")
    assert page.evaluate("window.listeners()") == 0
    assert page.evaluate("window.sent.at(-1)")["on"] is False


def test_the_accessibility_check_bites(
    page: Any, mount: Mount, control: Controller, axe: Callable[..., list[str]]
) -> None:
    panel = mount(controller=control)
    panel.evaluate(
        "e => { const b = document.createElement('button'); e.append(b); e.style.color = '#999'; e.querySelector('.qp-db').style.color = '#bbb'; }"
    )
    found = " ".join(axe())
    assert "button-name" in found and "color-contrast" in found
