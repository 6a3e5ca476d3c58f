// One job in full: its command, what happened run by run, what each run printed, and where its settings came from.

import { h, setText, num, span, bytes, moment, clock, stateBadge, button, iconButton, copyText, age, brief, s, progressBar } from "./dom.js";
import { renderAnsi } from "./ansi.js";
import { perform } from "./confirm.js";

const OUTCOME = { ok: "completed", running: "processing", failed: "failed", timeout: "failed", killed: "failed", spawn: "failed", lost: "cancelled", cancelled: "cancelled", snoozed: "scheduled" };

export function makeDrawer(ctx, { close }) {
  const title = h("h3", { class: "qp-drawer-title", tabIndex: -1 });
  const badge = h("span", {});
  const actions = h("div", { class: "qp-actions" });
  const place = h("div", {});
  const going = progressBar("Progress");
  const facts = h("div", {});
  const log = makeLog(ctx);
  const rest = h("div", {});
  const node = h("aside", { class: "qp-drawer", "aria-label": "Job details", hidden: true, key: (e) => e.key === "Escape" && (close(), true) },
    h("div", { class: "qp-drawer-head" }, title, badge, h("span", { class: "qp-grow" }), iconButton("close", "Close details", close)),
    going, actions, place, facts, log.node, rest);
  let shown = "", shownJob = null;

  function update() {
    const view = ctx.model.get("view"), job = ctx.model.get("detail");
    node.hidden = !view.open;
    ctx.root.classList.toggle("qp-with-drawer", Boolean(view.open) && view.tab === "jobs");
    if (!view.open || job.id !== view.open) return;
    if (job.gone) {
      setText(title, job.id);
      badge.replaceChildren();
      for (const part of [actions, facts, rest]) part.replaceChildren();
      facts.append(h("p", { class: "qp-quiet", text: "This job is gone: it was deleted or pruned." }));
      log.node.hidden = going.hidden = true;
      return;
    }
    const key = JSON.stringify(job) + JSON.stringify([view.run, view.stream, ctx.model.get("head").read_only]);
    if (key !== shown) draw(job, view);
    shown = key;
    shownJob = job.id;
    log.update(job);
  }

  function draw(job, view) {
    if (job.id !== shownJob) place.replaceChildren();
    setText(title, job.id);
    badge.replaceChildren(stateBadge(job.state));
    drawActions(job);
    going.hidden = job.state !== "processing" || !job.progress;
    if (!going.hidden) going.qpTo(job.progress, `(${num(job.progress[0])} of ${num(job.progress[1])})${job.progress[2] ? " " + job.progress[2] : ""}`);
    const holder = h("div", { class: "qp-cmd" }, h("pre", { text: job.cmd, tabIndex: 0, role: "region", "aria-label": "Command" }), iconButton("copy", "Copy the command", () => ctx.copied(job.cmd)));
    const why = job.error || job.reason;
    facts.replaceChildren(holder,
      why && job.state !== "completed" ? h("p", { class: "qp-why", "data-state": job.state, text: job.error && job.reason && job.error !== job.reason ? `${job.reason}: ${job.error}` : why }) : "",
      summary(job), timeline(ctx, job, view));
    const settings = h("table", { class: "qp-mini" }, h("tbody", {}, job.settings.map(([name, value, origin]) =>
      h("tr", {}, h("th", { scope: "row", text: name }), h("td", { class: "qp-num", text: value }), h("td", { class: "qp-quiet", text: origin })))));
    const events = h("ol", { class: "qp-events" }, job.events.map(([at, who, verb, note]) => h("li", {}, h("time", { class: "qp-num", text: moment(at) }), " ", h("b", { text: verb }), ` by ${who}`, note ? `: ${note}` : "")));
    const openNow = [...rest.querySelectorAll("details")].map((d) => d.open);
    rest.replaceChildren(
      h("details", {}, h("summary", { text: "Settings, and where they came from" }), settings),
      job.params || job.result ? h("details", {}, h("summary", { text: "Parameters and result" }), job.params && h("pre", { text: job.params }), job.result && h("pre", { text: job.result })) : "",
      job.events.length ? h("details", {}, h("summary", { text: "What people did to it" }), events) : "");
    [...rest.querySelectorAll("details")].forEach((d, i) => { d.open = Boolean(openNow[i]); });
  }

  function drawActions(job) {
    const head = ctx.model.get("head"), can = head.can || {}, ids = { ids: [job.id] };
    const focus = actions.contains(document.activeElement) ? document.activeElement.textContent : null;
    actions.replaceChildren();
    if (head.read_only) return;
    const add = (verb, text, props) => can[verb]?.includes(job.state) && actions.append(button(text, () => perform(ctx, place, verb, ids), props));
    add("retry", job.state === "dead" || job.state === "cancelled" ? "Retry" : "Run now", { class: "qp-btn qp-primary" });
    add("bump", "Move to the front");
    add("cancel", "Cancel job");
    add("delete", "Delete");
    if (focus) [...actions.children].find((b) => b.textContent === focus)?.focus();
  }
  return { node, update, focus: () => title.focus() };
}

function summary(job) {
  const waited = job.started && job.created ? span(Math.max(0, job.started - job.created)) : null;
  const rows = [
    ["Enqueued", moment(job.created)], job.due && ["scheduled", "failed"].includes(job.state) && ["Due", moment(job.due)],
    ["Attempts", `${job.attempts} of ${Math.max(1, job.max)}`], ["Queue", job.queue + (job.prio ? `, priority ${job.prio}` : "")],
    job.finished && job.started && ["Latest run", span(job.finished - job.started)], job.runs === 1 && waited && ["Waited", waited],
    job.worker && ["Worker", job.worker], job.tags.length && ["Tags", job.tags.join(", ")], job.retry_of && ["Retry of", job.retry_of], job.sig && ["Cause", job.sig],
    job.interruptions && ["Interrupted", `${job.interruptions} times`], ["Folder", job.cwd],
  ].filter(Boolean);
  return h("dl", { class: "qp-facts" }, rows.map(([k, v]) => h("div", {}, h("dt", { text: k }), h("dd", { text: v, title: v }))));
}

// The runs on one line of time, and as a list: a bar as long as the run took.
function timeline(ctx, job, view) {
  const runs = job.run_list;
  if (!runs.length) return h("p", { class: "qp-quiet", text: job.state === "pending" ? "Not started yet: the next free worker takes it." : "Not started yet." });
  const begin = Math.min(job.created, ...runs.map((r) => r.started || r.finished)), end = Math.max(...runs.map((r) => r.finished || Date.now()), begin + 1);
  const at = (ms) => ((ms - begin) / (end - begin)) * 100;
  const current = view.run && runs.some((r) => r.run === view.run) ? view.run : runs[runs.length - 1].run;
  const bars = s("svg", { class: "qp-timeline", width: "100%", height: 14, role: "img", "aria-label": `Runs over ${span(end - begin)}` },
    s("line", { x1: "0%", x2: "100%", y1: 7, y2: 7, class: "qp-axis" }),
    runs.map((r) => s("rect", { x: `${at(r.started || r.finished).toFixed(2)}%`, y: 2, height: 10, rx: 2, width: `${Math.max(0.8, at(r.finished || Date.now()) - at(r.started || r.finished)).toFixed(2)}%`, class: "qp-runbar", "data-state": OUTCOME[r.outcome] }, s("title", { text: `run ${r.run}: ${r.outcome}` }))));
  const rows = runs.slice(-12).map((r) => h("tr", { class: r.run === current ? "qp-current" : null },
    h("td", {}, h("button", { type: "button", class: "qp-link", "aria-pressed": String(r.run === current), text: `Run ${r.run}`, on: { click: () => ctx.look({ run: r.run }) } })),
    h("td", {}, h("span", { class: "qp-state", "data-state": OUTCOME[r.outcome] }, h("i", { class: "qp-dot", "aria-hidden": "true" }), h("span", { text: r.outcome }))),
    h("td", { class: "qp-num", text: r.started ? clock(r.started) : "–", title: moment(r.started) }),
    h("td", { class: "qp-num" }, r.finished ? (r.started ? span(r.finished - r.started) : "–") : age(r.started, span)),
    h("td", { class: "qp-num qp-wide", text: r.rss ? bytes(r.rss) : "" , title: r.cpu !== null && r.cpu !== undefined ? `peak memory; CPU ${span(r.cpu)}` : "peak memory" }),
    h("td", { class: "qp-quiet qp-ellipsis", text: r.reason || "", title: r.reason || "" })));
  return h("div", {}, bars, runs.length > 12 ? h("p", { class: "qp-quiet", text: `The newest 12 of ${runs.length} runs` }) : "",
    h("table", { class: "qp-mini qp-runs", "aria-label": "Runs" }, h("tbody", {}, rows)));
}

function makeLog(ctx) {
  const pre = h("pre", { class: "qp-log", tabIndex: 0, role: "region", "aria-label": "Output" });
  const tabs = ["stdout", "stderr"].map((name) => h("button", { type: "button", class: "qp-seg", text: name, on: { click: () => ctx.look({ stream: name }) } }));
  const note = h("span", { class: "qp-quiet" });
  const follow = h("input", { type: "checkbox", checked: true });
  const text = () => ctx.model.get("output").text || "";
  const node = h("div", { class: "qp-logbox" },
    h("div", { class: "qp-logbar" }, h("div", { class: "qp-segs", role: "group", "aria-label": "Stream" }, tabs), note, h("span", { class: "qp-grow" }),
      h("label", { class: "qp-check" }, follow, "Follow"), button("Copy", () => ctx.copied(text()))),
    pre);
  let drawn = null;
  function update(job) {
    const output = ctx.model.get("output"), view = ctx.model.get("view");
    node.hidden = !job.run_list.length;
    tabs.forEach((t) => t.setAttribute("aria-pressed", String(t.textContent === view.stream)));
    const run = job.run_list.find((r) => r.run === output.run);
    const size = run ? run[view.stream] : 0;
    setText(note, output.left_out ? `the last ${num(text().length)} of ${num(text().length + output.left_out)} characters` : size ? bytes(size) : "");
    if (output.id !== job.id || drawn === output) return;
    drawn = output;
    pre.classList.toggle("qp-empty", !text());
    if (text()) renderAnsi(pre, text());
    else setText(pre, run?.outcome === "running" ? "Nothing printed yet" : `Nothing on ${output.stream}`);
    if (follow.checked) pre.scrollTop = pre.scrollHeight;
  }
  pre.addEventListener("scroll", () => { if (pre.scrollTop + pre.clientHeight < pre.scrollHeight - 40) follow.checked = false; });
  return { node, update };
}
