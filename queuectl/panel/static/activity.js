// The tab Activity: what happened, by whom and when; how long jobs waited and ran.

import { h, setText, num, plural, moment, select, button, roomIn } from "./dom.js";
import { stacked, spreadChart } from "./charts.js";
import { WINDOWS } from "./failures.js";

export function makeActivity(ctx) {
  const windowBox = select("Window", WINDOWS, "24h", (v) => ctx.look({ window: v }));
  const lead = h("p", { class: "qp-lead" });
  const ended = h("figure", { class: "qp-figure qp-whole" }), waits = h("figure", { class: "qp-figure" }), took = h("figure", { class: "qp-figure" });
  const body = h("tbody", {});
  const table = h("table", { class: "qp-table", "aria-label": "What happened, newest first" },
    h("thead", {}, h("tr", {}, ["When", "By", "What", "Job", "Note"].map((text) => h("th", { scope: "col", text })))), body);
  const empty = h("div", { class: "qp-emptybox" }, h("p", { class: "qp-empty-title", text: "Nothing has happened yet" }));
  const first = button("Newest", () => ctx.look({ before: null })), older = button("Older", () => ctx.look({ before: ctx.model.get("body").next }));
  const pager = h("nav", { class: "qp-pager", "aria-label": "Pages of events" }, h("span", { class: "qp-grow" }), h("span", { class: "qp-btns" }, first, older));
  const node = h("div", { class: "qp-activity" }, h("div", { class: "qp-toolbar" }, lead, h("span", { class: "qp-grow" }), windowBox),
    h("div", { class: "qp-charts" }, ended, waits, took), table, empty, pager);
  let drawn = "";

  function update() {
    const data = ctx.model.get("body"), view = ctx.model.get("view");
    windowBox.value = view.window;
    if (data.tab !== "activity") return;
    const charts = JSON.stringify([data.ended, data.waits, data.durations, ctx.resized]);
    if (charts !== drawn) drawCharts(data);
    drawn = charts;
    setText(lead, `${plural(data.runs, "run")} ended`);
    table.hidden = !data.events.length;
    empty.hidden = data.events.length > 0;
    first.disabled = !data.before;
    older.disabled = !data.next;
    pager.hidden = first.disabled && older.disabled;
    body.replaceChildren(...data.events.map(([at, who, verb, job, note, n]) => h("tr", {},
      h("td", { class: "qp-num qp-nowrap", text: moment(at) }), h("td", { text: who }), h("td", { text: verb }),
      h("td", {}, n > 1 ? `${plural(n, "job")}` : job ? h("button", { type: "button", class: "qp-link", text: job, on: { click: () => ctx.look({ tab: "jobs", query: `id:${job}`, open: job }) } }) : ""),
      h("td", { class: "qp-quiet qp-ellipsis", text: note || "", title: note || "" }))));
  }

  function drawCharts(data) {
    const newest = data.sample < data.runs ? ` (the newest ${num(data.sample)} runs)` : "";
    ended.replaceChildren(h("figcaption", {}, "Runs that ended ", h("span", { class: "qp-legend" }, h("i", { class: "qp-key-ok", "aria-hidden": "true" }), "not failed ", h("i", { class: "qp-key-bad", "aria-hidden": "true" }), "failed")), stacked(data.ended.ok, data.ended.bad, data.start, data.end, roomIn(ended)));
    waits.replaceChildren(h("figcaption", { text: `Wait for the first start${newest}` }), spreadChart(data.waits, "Wait for the first start", roomIn(waits)));
    took.replaceChildren(h("figcaption", { text: `Run time${newest}` }), spreadChart(data.durations, "Run time", roomIn(took)));
  }
  return { node, update };
}
