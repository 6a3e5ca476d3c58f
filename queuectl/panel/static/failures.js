// The tab Failures: of so many failed runs, which few causes; then retry one cause once it is fixed.

import { h, setText, num, plural, percentOf, span, age, brief, select, button, moment, roomIn } from "./dom.js";
import { paretoChart, heatMap, heatLegend, sparkline } from "./charts.js";
import { perform } from "./confirm.js";
import { renderAnsi } from "./ansi.js";

export const WINDOWS = [["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["all", "All time"]];

export function makeFailures(ctx) {
  const windowBox = select("Window", WINDOWS, "24h", (v) => ctx.look({ window: v }));
  const lead = h("p", { class: "qp-lead" });
  const pareto = h("figure", { class: "qp-figure" }), heat = h("figure", { class: "qp-figure" });
  const list = h("ol", { class: "qp-causes", "aria-label": "Causes of failures, most frequent first" });
  const titles = h("div", { class: "qp-cause-titles", "aria-hidden": "true" }, ["#", "Cause", "Trend", "Runs", "Share", "Last seen"].map((text, i) => h("span", { text, class: i > 2 ? "qp-right" : null })));
  const more = h("p", { class: "qp-quiet qp-more", hidden: true });
  const none = h("div", { class: "qp-emptybox", hidden: true }, h("p", { class: "qp-empty-title", text: "No failures in this window" }), h("p", { text: "Choose a longer one to look further back." }));
  const charts = h("div", { class: "qp-charts" }, pareto, heat);
  const node = h("div", { class: "qp-failures" }, h("div", { class: "qp-toolbar" }, lead, h("span", { class: "qp-grow" }), windowBox), charts, none, titles, list, more);
  const items = new Map();
  let drawn = "";

  function update() {
    const body = ctx.model.get("body"), view = ctx.model.get("view");
    windowBox.value = view.window;
    if (body.tab !== "failures") return;
    const key = JSON.stringify([body.causes, body.heat, ctx.resized]);
    none.hidden = body.causes.length > 0;
    charts.hidden = list.hidden = titles.hidden = !body.causes.length;
    more.hidden = !body.left_out;
    setText(more, `and ${plural(body.left_out, "more cause")}, each less frequent than these`);
    if (key === drawn && body.window === view.window) return drawItems(body, view);
    drawn = key;
    const first = body.causes[0];
    setText(lead, first ? `${plural(body.runs, "failed run")}, ${plural(body.causes.length + body.left_out, "cause")}; the first explains ${percentOf(first.share)}` : "");
    if (first) {
      pareto.replaceChildren(h("figcaption", { text: "Failed runs by cause, and what they add up to" }), paretoChart(body.causes, body.runs, roomIn(pareto)));
      const notes = [body.heat.left_out && `${plural(body.heat.left_out, "more command")} not shown`, body.heat.every > 1 && `estimated from 1 job in ${num(body.heat.every)}`].filter(Boolean).join("; ");
      heat.replaceChildren(h("figcaption", {}, `Failures by command and time${notes ? ` (${notes})` : ""}`, heatLegend(body.heat)), heatMap(body.heat, body.start, body.end, roomIn(heat)));
    }
    drawItems(body, view);
  }

  function drawItems(body, view) {
    const seen = new Set(body.causes.map((c) => c.sig));
    for (const [sig, item] of items) if (!seen.has(sig)) { item.node.remove(); items.delete(sig); }
    body.causes.forEach((cause, i) => {
      let item = items.get(cause.sig);
      if (!item) items.set(cause.sig, (item = makeCause(ctx, cause.sig)));
      item.update(cause, i, view);
      if (list.children[i] !== item.node) list.insertBefore(item.node, list.children[i] || null);
    });
  }
  return { node, update };
}

function makeCause(ctx, sig) {
  const rank = h("span", { class: "qp-rank qp-num" }), message = h("span", { class: "qp-message" }), mark = h("span", { class: "qp-new", text: "new", hidden: true });
  const n = h("span", { class: "qp-num qp-big" }), share = h("span", { class: "qp-num qp-quiet" }), trend = h("span", {}), last = h("span", { class: "qp-quiet qp-lastseen" });
  const toggle = h("button", { type: "button", class: "qp-cause-head", "aria-expanded": "false", on: { click: () => ctx.look({ cause: ctx.model.get("view").cause === sig ? null : sig }) } },
    rank, h("span", { class: "qp-cause-text" }, message, mark), trend, n, share, last);
  const retry = button("", () => perform(ctx, place, "retry", { sig }, { mustAsk: true, what: "of this cause" }), { class: "qp-btn qp-primary" });
  const facts = h("p", { class: "qp-quiet" }), line = h("pre", { class: "qp-log qp-example", tabIndex: 0, role: "region", "aria-label": "Example output" }), from = h("p", { class: "qp-quiet" });
  const place = h("div", {});
  const show = button("Show its jobs", () => ctx.look({ tab: "jobs", query: `err:${sig}`, order: "newest" }));
  const openJob = button("Open the example", () => ctx.look({ tab: "jobs", query: `err:${sig}`, open: cause.example }));
  const body = h("div", { class: "qp-cause-body", hidden: true }, facts, from, line, h("div", { class: "qp-actions" }, retry, show, openJob), place);
  const node = h("li", { class: "qp-cause", "data-sig": sig }, toggle, body);
  let cause = {}, exampleOf = null;

  function update(next, i, view) {
    cause = next;
    const open = view.cause === sig, head = ctx.model.get("head");
    setText(rank, i + 1);
    setText(message, cause.message);
    message.title = cause.message;
    mark.hidden = !cause.new;
    setText(n, num(cause.count));
    setText(share, percentOf(cause.share));
    trend.replaceChildren(sparkline(cause.trend, { width: 72, height: 18, label: "Trend", cls: "qp-spark-bad" }));
    last.replaceChildren(age(cause.last, (ms) => `${brief(ms)} ago`));
    toggle.setAttribute("aria-expanded", String(open));
    body.hidden = !open;
    const parts = [plural(cause.jobs, "job"), `${num(cause.dead)} dead`, cause.failed && `${num(cause.failed)} waiting for a retry`, `first seen ${moment(cause.first)}`, cause.wasted && `${span(cause.wasted)} of run time lost`, `cause ${sig}`];
    setText(facts, parts.filter(Boolean).join(" · "));
    setText(from, cause.commands.length ? `In: ${cause.commands.join("  ·  ")}` : "");
    setText(retry, cause.dead ? `Retry all ${num(cause.dead)} of this cause` : "None of them is dead now");
    retry.disabled = !cause.dead;
    retry.hidden = Boolean(head.read_only);
    openJob.hidden = !cause.example;
    if (open && exampleOf !== cause.example) showExample();
  }

  async function showExample() {
    exampleOf = cause.example;
    if (!line.textContent) setText(line, cause.line);
    if (!cause.example) return;
    const answer = await ctx.call("stderr", { id: cause.example });
    if (answer.ok && answer.text) renderAnsi(line, answer.text.split("\n").slice(-20).join("\n"));
  }
  return { node, update };
}
