// The tab Jobs: a filter, the page, what can be done with what is selected, a new job.

import { h, setText, num, plural, button, iconButton, icon, select, field } from "./dom.js";
import { makeGrid } from "./grid.js";
import { makeDrawer } from "./drawer.js";
import { perform } from "./confirm.js";

export function makeJobs(ctx) {
  let opened = null;
  let land = null; // where the focus goes when a page has turned
  const filter = h("input", { type: "text", class: "qp-input qp-filter", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-label": "Filter", "aria-describedby": ctx.id + "-filter",
    placeholder: "state:dead cmd:curl exit:7 age:<1h text", on: { input: later },
    key: (e) => { if (e.key === "Enter") apply(); else if (e.key === "Escape" && filter.value) { filter.value = ""; apply(); } else if (e.key === "ArrowDown") grid.focusFirst(); else return false; return true; } });
  const complaint = h("p", { class: "qp-complaint", id: ctx.id + "-filter", "aria-live": "polite" });
  const order = select("Sort", [["newest", "Newest first"], ["oldest", "Oldest first"], ["ended", "Recently ended"], ["next", "Next to run"]], "newest", (v) => ctx.look({ order: v }));
  const size = select("Rows per page", [25, 50, 100, 200].map((n) => [n, `${n} rows`]), 25, (v) => ctx.look({ size: Number(v) }));
  const grid = makeGrid(ctx, { open: openJob, turn });
  const drawer = makeDrawer(ctx, { close: () => openJob(null) });
  const empty = h("div", { class: "qp-emptybox" });
  const count = h("span", { class: "qp-num qp-count" });
  const newer = button("", () => turn(-1)), older = button("", () => turn(1));
  newer.append(icon("left"), h("span", { text: "Newer" }));
  older.append(h("span", { text: "Older" }), icon("right"));
  const pager = h("nav", { class: "qp-pager", "aria-label": "Pages of jobs" }, count, h("span", { class: "qp-grow" }), size, h("span", { class: "qp-btns" }, newer, older));
  const bulk = makeBulk(ctx);
  const form = makeForm(ctx);
  const node = h("div", { class: "qp-jobs" },
    h("div", { class: "qp-toolbar" }, h("div", { class: "qp-filterbox" }, icon("search"), filter, iconButton("close", "Clear the filter", () => { filter.value = ""; apply(); filter.focus(); }, { class: "qp-btn qp-iconbtn qp-clear" })), order, form.opener),
    complaint, form.node, bulk.node,
    h("div", { class: "qp-split" }, h("div", { class: "qp-tablebox" }, grid.node, empty, pager), drawer.node));

  let timer = null;
  function later() {
    clearTimeout(timer);
    timer = setTimeout(apply, 350);
  }
  function apply() {
    clearTimeout(timer);
    if (filter.value !== ctx.model.get("view").query) ctx.look({ query: filter.value });
  }

  function turn(step) {
    const body = ctx.model.get("body");
    const key = step > 0 ? body.after : body.before;
    if (!key) return;
    land = grid.hasFocus();
    ctx.look({ key, back: step < 0 });
  }

  function openJob(id) {
    const was = ctx.model.get("view").open;
    if (!id && !was) return;
    const inside = drawer.node.contains(document.activeElement);
    ctx.look({ open: id });
    if (!id && (inside || document.activeElement === document.body)) grid.focusOn(was);
  }

  function update() {
    const body = ctx.model.get("body"), view = ctx.model.get("view"), head = ctx.model.get("head");
    if (document.activeElement !== filter && filter.value !== view.query) filter.value = view.query;
    order.value = view.order;
    size.value = String(view.size);
    form.opener.hidden = head.read_only;
    if (body.tab === "jobs") {
      setText(complaint, body.error || "");
      filter.setAttribute("aria-invalid", String(Boolean(body.error)));
      grid.update(body.rows);
      drawEmpty(body, view, head);
      drawPager(body, view);
      if (land !== null && body.rows.length) { if (land) grid.focusFirst(); land = null; }
    }
    bulk.update();
    drawer.update();
    if (view.open !== opened) grid.showOpened();
    opened = view.open;
  }

  function drawEmpty(body, view, head) {
    const none = !body.rows.length && !body.error;
    empty.hidden = !none;
    grid.node.hidden = none;
    if (!none) return;
    const kind = body.searched ? "searching" : body.everything && !head.total ? "empty" : "nomatch";
    if (empty.dataset.kind === kind + view.query) return;
    empty.dataset.kind = kind + view.query;
    empty.replaceChildren(...{
      empty: () => [h("p", { class: "qp-empty-title", text: "No jobs yet" }), h("p", { text: "Add the first one here, or with q.enqueue(\"echo Hello World\")." }), !head.read_only && button("New job", () => form.open(), { class: "qp-btn qp-primary" })],
      nomatch: () => [h("p", { class: "qp-empty-title", text: "No job matches" }), h("p", { text: view.query || view.order }), button("Clear the filter", () => ctx.look({ query: "", order: "newest" }))],
      searching: () => [h("p", { class: "qp-empty-title", text: "Nothing so far" }), h("p", { text: "Go on with Older: the search stops now and then so as not to keep you waiting." })],
    }[kind]().filter(Boolean));
  }

  function drawPager(body, view) {
    const total = body.exact ? plural(body.total, "job") : `at least ${plural(body.total, "job")}`;
    setText(count, body.searched ? `${total}; searched ${num(body.searched)} so far` : total);
    setText(newer.querySelector("span"), view.order === "oldest" || view.order === "next" ? "Earlier" : "Newer");
    setText(older.querySelector("span"), view.order === "oldest" || view.order === "next" ? "Later" : "Older");
    newer.disabled = !body.before;
    older.disabled = !body.after;
  }
  return { node, update, focusFilter: () => filter.focus(), newJob: () => form.open() };
}

// What can be done with the selected rows; a button shows only where it applies to one of them.
function makeBulk(ctx) {
  const word = h("span", { class: "qp-num" });
  const everything = h("button", { type: "button", class: "qp-link", on: { click: () => ctx.pick([...ctx.model.get("picked")], true) } });
  const buttons = h("span", { class: "qp-btns" });
  const priority = h("input", { type: "number", class: "qp-input qp-narrow", "aria-label": "New priority", value: "10" });
  const place = h("div", {});
  const node = h("div", { class: "qp-bulkbox", hidden: true, key: (e) => e.key === "Escape" && (ctx.pick([]), true) },
    h("div", { class: "qp-bulk", role: "toolbar", "aria-label": "Selected jobs" }, word, everything, h("span", { class: "qp-grow" }), buttons, button("Clear", () => ctx.pick([]))), place);
  let shown = "";

  function update() {
    const picked = ctx.model.get("picked"), all = ctx.model.get("picked_all"), body = ctx.model.get("body"), head = ctx.model.get("head");
    node.hidden = !picked.length && !all;
    if (node.hidden) { place.replaceChildren(); shown = ""; return; }
    const total = body.total || 0;
    setText(word, all ? `All ${body.exact ? num(total) : ""} matching selected` : `${num(picked.length)} selected`);
    everything.hidden = all || body.error || (body.exact && total <= picked.length);
    setText(everything, body.exact ? `Select all ${num(total)} matching` : "Select all matching");
    const states = new Set((body.rows || []).filter((r) => all || picked.includes(r.id)).map((r) => r.state));
    const known = (body.rows || []).filter((r) => picked.includes(r.id)).length === picked.length && !all;
    const verbs = Object.entries(head.can || {}).filter(([, ok]) => !known || [...states].some((s) => ok.includes(s))).map(([v]) => v);
    const key = JSON.stringify([verbs, all, head.read_only]);
    if (key === shown) return;
    shown = key;
    buttons.replaceChildren();
    if (head.read_only) return;
    const run = (verb, options) => {
      const whole = ctx.model.get("picked_all"), query = ctx.model.get("view").query;
      return perform(ctx, place, verb, whole ? { query } : { ids: ctx.model.get("picked") }, { options, mustAsk: whole, what: whole ? (query ? `matching “${query}”` : "in the queue") : "" });
    };
    if (verbs.includes("retry")) buttons.append(button("Retry", () => run("retry"), { class: "qp-btn qp-primary" }));
    if (verbs.includes("bump")) buttons.append(button("Move to the front", () => run("bump")));
    if (verbs.includes("edit")) buttons.append(h("span", { class: "qp-joined" }, priority, button("Set priority", () => run("edit", { priority: Number(priority.value) }))));
    if (verbs.includes("cancel")) buttons.append(button("Cancel jobs", () => run("cancel")));
    if (verbs.includes("delete")) buttons.append(button("Delete", () => run("delete")));
  }
  return { node, update };
}

function makeForm(ctx) {
  const opener = button("New job", () => (node.hidden ? open() : shut()), { class: "qp-btn qp-primary", "aria-expanded": "false", "aria-controls": ctx.id + "-form" });
  const command = h("textarea", { class: "qp-input qp-code", rows: 2, spellcheck: "false", required: true, placeholder: "python train.py --lr 0.1" });
  const text = (placeholder) => h("input", { type: "text", class: "qp-input", spellcheck: "false", placeholder });
  const inputs = { queue: text("default"), priority: text("0"), timeout: text("none"), max_retries: text("3"), delay: text("none"), run_at: text("2026-12-31 08:00"), after: text("none"), tag: text("none") };
  const complaint = h("p", { class: "qp-complaint", role: "alert" });
  const node = h("form", { class: "qp-form", id: ctx.id + "-form", hidden: true, "aria-label": "New job", on: { submit: send }, key: (e) => { if (e.key === "Escape") { shut(); return true; } if (e.key === "Enter" && e.target.tagName === "INPUT") { send(); return true; } return false; } },
    field("Command", command), h("div", { class: "qp-fields" },
      field("Queue", inputs.queue), field("Priority", inputs.priority, "higher first"), field("Timeout", inputs.timeout, "90s, 10m, 2h"), field("Max retries", inputs.max_retries, "failed attempts"),
      field("Delay", inputs.delay, "30s, 1h"), field("Run at", inputs.run_at, "or a date and time"), field("After", inputs.after, "ids it waits for"), field("Tag", inputs.tag, "names, by commas")),
    complaint, h("div", { class: "qp-actions" }, h("button", { type: "submit", class: "qp-btn qp-primary", text: "Enqueue" }), button("Close", shut)));
  function open() {
    node.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    command.focus();
  }
  function shut() {
    node.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  }
  async function send(e) {
    e?.preventDefault();
    setText(complaint, "");
    const fields = { command: command.value };
    for (const [name, input] of Object.entries(inputs)) if (input.value.trim()) fields[name] = input.value.trim();
    const answer = await ctx.call("enqueue", { fields });
    if (!answer.ok) return setText(complaint, answer.error);
    command.value = "";
    command.focus();
  }
  return { node, opener, open };
}
